"""What messages are made of."""

from gen.errors import unknown


def test_the_nearest_names_come_first() -> None:
    assert unknown("scene", "dessert", ["snow", "desert"]) == (
        "unknown scene 'dessert'; did you mean desert? Available: snow, desert."
    )


def test_a_path_is_compared_by_its_last_part() -> None:
    assert "did you mean augan-night2day?" in unknown("model", "weights/augan-nigth2day", ["augan-night2day"])


def test_no_guess_for_a_name_that_is_near_to_none() -> None:
    assert unknown("scene", "q", ["snow"], " or all") == "unknown scene 'q'; available: snow or all."
    assert unknown("model", "q", []) == "unknown model 'q'; available: none."


def test_a_foreign_name_is_one_short_line() -> None:
    text = unknown("name", "a\nb" + "x" * 500, ["ab"])
    assert "\n" not in text
    assert len(text) < 130


def test_a_long_list_is_left_out_where_one_name_is_near():
    names = [f"width{n}" for n in range(30)] + ["pair_weight"]
    assert unknown("setting", "pair_weigth", names) == "unknown setting 'pair_weigth'; did you mean pair_weight?"
    assert "available: width0" in unknown("setting", "q", names)


def test_names_that_begin_with_what_was_written_come_first():
    names = ["strict", "start_from", *map(str, range(20))]
    assert unknown("setting", "start", names) == "unknown setting 'start'; did you mean start_from or strict?"
