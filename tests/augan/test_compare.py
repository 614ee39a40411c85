"""Recipes at equal cost: real short trainings, judged in one table."""

import json
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import gen.cli
from gen import BadInput, weights
from gen.augan.arguments import CompareSettings
from gen.augan.compare import prepare, read_recipes, split_frames
from gen.provenance import fingerprint_file
from gen.training.averaged import load_last_state
from gen.translation.registry import load
from gen.translation.settings import DIRECTIONS
from tests.test_docs import WHOLE_FILES

TINY = """
plain:
wide:
  width: 8
"""


@pytest.fixture
def recipes(tmp_path: Path) -> Path:
    path = tmp_path / "recipes.yaml"
    path.write_text(TINY)
    return path


def command(recipes: Path, two_domains: tuple[Path, Path], out: Path, *more: str) -> list[str]:
    folders = ["--adverse", str(two_domains[0]), "--normal", str(two_domains[1]), "--out", str(out)]
    return ["compare-augan", str(recipes), *folders, "--preset", "tiny", "--core-minutes", "0.01", *more]


def test_recipes_are_trained_and_judged_in_one_table(recipes, two_domains, tmp_path):
    """As a comparison grows: some recipes, all of them, more seeds; and what was unequal is named."""
    out = tmp_path / "out"
    train = command(recipes, two_domains, out, "--hold-out", "4")

    def written(*more: str) -> str:
        assert gen.cli.main([*train, *more]) == 0
        return (out / "README.md").read_text()

    def record(name: str, **changes: object) -> dict[str, Any]:
        path = out / "models" / name / "training.json"
        values = json.loads(path.read_text()) | changes
        path.write_text(json.dumps(values))
        return values

    assert gen.cli.main([*train, "--only", "wide"]) == 0
    assert not (out / "README.md").exists()
    text = written("--judge-now")
    assert "Not trained yet: plain." in text
    assert "| wide | width=8 |" in text
    assert "| plain |" not in text
    assert (out / "sheet.jpg").is_file()

    min((out / "frames" / "train" / "adverse").iterdir()).resolve().unlink()
    text = written()
    assert "| plain | none |" in text
    assert "| wide | width=8 |" in text
    assert "histogram matching" in text
    assert "this model" not in text
    assert "\n| plain | 4 |" in text
    assert "\n| wide | 4 |" in text
    assert "over the seeds" not in text
    sizes = {name: record(name)["data"]["adverse"]["bytes"] for name in ("plain", "wide")}
    told = f"plain 7 ({sizes['plain']:,} bytes), wide 8 ({sizes['wide']:,} bytes)"
    assert f"The adverse frames were not the same: {told}." in text
    assert "The normal frames" not in text
    for name, frames in {"plain": 7, "wide": 8}.items():
        assert record(name)["core_seconds"] >= 0.6
        assert record(name)["data"]["adverse"]["count"] == frames

    text = written("--seeds", "2")  # the first seed is looked at again, and not trained again
    assert f"The adverse frames were not the same: {told}, plain@1 7 ({sizes['plain']:,} bytes), wide@1 7 (" in text
    for word in ("not equal", "machine"):
        assert word not in text
    assert record("wide@1")["settings"]["seed"] == 1
    assert "| wide@1 | width=8, seed=1 |" in text
    rows = json.loads((out / "evaluation.json").read_text())["adverse_to_normal"]
    for name, seeds in {"plain": ("model", "plain@1"), "wide": ("wide", "wide@1")}.items():
        one, other = (rows[seed]["luma"] for seed in seeds)
        mean, spread = (one + other) / 2, abs(one - other) / 2**0.5
        assert re.search(rf"\| {name} \| 2 \| .* \| {mean:.1f} ± {spread:.2g} \|\n", text)
        assert f"\n| {name}@1 | 4 |" in text

    (out / "models" / "wide@1" / "training.json").unlink()
    assert gen.cli.main([*train, "--seeds", "2", "--core-minutes", "0.02", "--only", "plain"]) == 0
    record("plain@1", seconds=90, core_seconds=60)
    record("wide", hardware=record("wide")["hardware"] | {"cpu": "another"})
    data = record("wide")["data"]
    record("wide", data=data | {"normal": data["normal"] | {"bytes": 7}})  # others of the same number
    text = written("--seeds", "2", "--judge-now")
    assert "The cost was not equal; core-minutes: plain 0.02, wide 0.01, plain@1 0.02." in text
    assert "The machines were not the same: plain " in text
    assert re.search(r"The normal frames were not the same: plain 6 .*, wide 6 \(7 bytes\)", text)
    assert "The machine was busy or waited: plain@1 1.5 minutes for 1.0 core-minutes." in text
    assert "Not trained yet: wide@1." in text
    assert re.search(rf"\| wide \| 1 \| .* \| {rows['wide']['luma']:.1f} \|\n", text)


def test_a_run_of_one_step_has_its_cost(recipes, two_domains, tmp_path):
    recipes.write_text("plain:\n")
    out = tmp_path / "out"
    assert gen.cli.main(command(recipes, two_domains, out, "--hold-out", "4", "--core-minutes", "0.00001")) == 0
    cost = re.search(r"\| plain \| none \| 2 \| (\S+) \| (\S+) \| (\S+) \|", (out / "README.md").read_text())
    assert cost
    assert all(float(value) > 0 for value in cost.groups())


def test_a_recipe_that_has_changed_since_is_not_judged(recipes, two_domains, tmp_path, capsys):
    out = tmp_path / "out"
    judge = command(recipes, two_domains, out, "--hold-out", "4")
    assert gen.cli.main([*judge, "--only", "wide"]) == 0
    recipes.write_text(TINY.replace("width: 8", "width: 16"))
    assert gen.cli.main([*judge, "--judge-now"]) == 1
    assert "recipe wide is not evaluated" in capsys.readouterr().err
    assert not (out / "README.md").exists()


def test_a_recipe_whose_schedule_is_changed_when_it_has_ended_is_refused(recipes, two_domains, tmp_path, capsys):
    train = command(recipes, two_domains, tmp_path / "out", "--only", "wide", "--hold-out", "4")
    assert gen.cli.main(train) == 0
    model = tmp_path / "out" / "models" / "wide" / "training.json"
    before = model.read_bytes()
    recipes.write_text(TINY.replace("width: 8", "width: 8\n  decay: 0.25"))
    assert gen.cli.main(train) == 1
    assert "decay was 0.5 when this run began and is 0.25 now" in capsys.readouterr().err
    assert model.read_bytes() == before


PEER = """
plain:
peer:
  method: cyclegan
  width: 4
  blocks: 5
  discriminator_width: 4
  load_height: 64
  crop: [64, 64]
"""


def test_another_method_is_a_row_at_equal_cost(two_domains, tmp_path):
    recipes, out = tmp_path / "recipes.yaml", tmp_path / "out"
    recipes.write_text(PEER)
    assert gen.cli.main(command(recipes, two_domains, out, "--hold-out", "4")) == 0
    text = (out / "README.md").read_text()
    assert "| peer | method=cyclegan, width=4," in text
    assert "\n| peer | 4 |" in text
    assert weights.kind(out / "models" / "peer") == "CycleGANPipeline"


def test_a_recipe_of_one_direction_takes_the_other_from_no_recipe(two_domains, tmp_path):
    recipes, out = tmp_path / "recipes.yaml", tmp_path / "out"
    one_way = "  directions: adverse_to_normal\n  cycle_weight: 0\n  nce_weight: 1\n"
    recipes.write_text(PEER.replace("plain:\n", "") + one_way + "plain:\n")
    assert gen.cli.main(command(recipes, two_domains, out, "--hold-out", "4", "--seeds", "2")) == 0
    there, back = (out / "README.md").read_text().split("over the seeds\n")[1:]
    assert "\n| peer | 2 |" in there
    assert "\n| plain | 2 |" in there
    assert "\n| plain | 2 |" in back
    assert "\n| peer | 2 |" not in back


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("method: none", "unknown method 'none'; available: augan, cyclegan"),
        ("{method: cyclegan, cycle_weight: 0}", "recipe odd: cycle_weight, nce_weight"),
    ],
)
def test_a_recipe_that_cannot_work_is_named_before_any_training(two_domains, tmp_path, capsys, recipe, message):
    recipes = tmp_path / "recipes.yaml"
    recipes.write_text(f"plain:\nodd:\n  {recipe}\n" if recipe[0] != "{" else f"plain:\nodd: {recipe}\n")
    assert gen.cli.main(command(recipes, two_domains, tmp_path / "out", "--hold-out", "4")) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out" / "runs").exists()


def test_another_method_has_presets_of_its_own(recipes, two_domains, tmp_path):
    """That of the same name, or the published one, or the recipe's."""
    recipes.write_text("plain: {method: cyclegan}\nfull: {method: cyclegan, preset: cyclegan}\n")
    night, day = two_domains
    settings = CompareSettings(recipes=recipes, adverse=night, normal=day, out=tmp_path / "out", preset="tiny")
    found = {name: prepare(settings, name, recipe).settings for name, recipe in read_recipes(recipes).items()}
    assert (found["plain"].preset, found["plain"].width) == ("tiny", 16)
    assert (found["full"].preset, found["full"].width) == ("cyclegan", 64)
    larger = prepare(replace(settings, preset="small"), "plain", {"method": "cyclegan"}).settings
    assert larger.preset == "cyclegan"


def test_nothing_to_judge(recipes, two_domains, tmp_path, capsys):
    assert gen.cli.main(command(recipes, two_domains, tmp_path / "out", "--hold-out", "4", "--judge-now")) == 1
    assert "no recipe is trained yet" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--judge-now", "--only", "wide"], "leave out one of them"),
        (["--hold-out", "0"], "hold_out must be at least 1"),
        (["--seeds", "0"], "seeds must be at least 1"),
    ],
)
def test_options_that_make_no_sense(recipes, two_domains, tmp_path, capsys, more, words):
    assert gen.cli.main(command(recipes, two_domains, tmp_path / "out", *more)) == 1
    assert words in capsys.readouterr().err


def test_a_readme_of_others_is_not_replaced(recipes, two_domains, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "README.md").write_text("# My project")
    assert gen.cli.main(command(recipes, two_domains, tmp_path / "out", "--hold-out", "4")) == 1
    assert "README.md is not of gen compare-augan" in capsys.readouterr().err
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["README.md"]


def test_a_recipe_that_lacks_its_pairs_is_named_before_any_trains(two_domains, tmp_path, capsys):
    path = tmp_path / "recipes.yaml"
    path.write_text("plain:\npairs:\n  pairs_first: 5\n")
    assert gen.cli.main(command(path, two_domains, tmp_path / "out", "--hold-out", "4")) == 1
    assert "recipe pairs: pairs_first=5, but there are no pairs" in capsys.readouterr().err
    assert not (tmp_path / "out" / "runs").exists()


@pytest.mark.slow
def test_nights_are_made_of_days_that_train_and_a_recipe_may_do_without(two_domains, tmp_path):
    recipes = tmp_path / "recipes.yaml"
    recipes.write_text("simulated:\n  simulated_share: 0.5\nreal:\n  simulated_share: 0\nlater:\n")
    out = tmp_path / "out"
    train = command(recipes, two_domains, out, "--hold-out", "4", "--simulate", "night")
    assert gen.cli.main([*train, "--only", "simulated", "real"]) == 0
    days = {p.name.removesuffix(".jpg") for p in (out / "frames" / "simulated" / "day").iterdir()}
    assert days == {p.name for p in (out / "frames" / "train" / "normal").iterdir()}
    records = {n: json.loads((out / "models" / n / "training.json").read_text()) for n in ("simulated", "real")}
    assert "simulated day" in records["simulated"]["data"]
    assert "simulated day" not in records["real"]["data"]


def test_frames_judge_or_train_and_never_both(two_domains, tmp_path):
    split_frames(two_domains[0], tmp_path / "frames", "adverse", 5)
    train, hold = (
        {p.resolve() for p in (tmp_path / "frames" / part / "adverse").iterdir()} for part in ("train", "hold")
    )
    assert len(hold) == 5
    assert not train & hold
    assert train | hold == {p.resolve() for p in two_domains[0].iterdir()}


def test_a_frame_that_is_there_twice_is_one_frame(two_domains, tmp_path):
    """By a link to it: else it could judge under one name and train under the other."""
    folder = tmp_path / "linked"
    shutil.copytree(two_domains[0], folder)
    for frame in sorted(folder.iterdir()):
        (folder / f"zz{frame.name}").symlink_to(frame)
    split_frames(folder, tmp_path / "frames", "adverse", 5)
    train, hold = (
        [p.resolve() for p in (tmp_path / "frames" / part / "adverse").iterdir()] for part in ("train", "hold")
    )
    assert len(hold) == 5
    assert sorted(train + hold) == sorted({p.resolve() for p in folder.iterdir()})


def test_a_recipe_whose_name_is_no_text_is_told(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("yes: {width: 8}")
    with pytest.raises(BadInput, match=r"recipe name True is not text in YAML; put it in quotes"):
        read_recipes(path)


def test_a_folder_that_was_split_otherwise_is_refused(two_domains, tmp_path):
    split_frames(two_domains[0], tmp_path / "frames", "adverse", 5)
    split_frames(two_domains[0], tmp_path / "frames", "adverse", 5)
    with pytest.raises(BadInput, match="has another split"):
        split_frames(two_domains[0], tmp_path / "frames", "adverse", 4)


def test_too_few_frames(two_domains, tmp_path):
    with pytest.raises(BadInput, match=r"hold_out must be less than the 12 frames in .*, not 12"):
        split_frames(two_domains[0], tmp_path / "frames", "adverse", 12)


def test_an_unknown_recipe_is_named(recipes, two_domains, tmp_path, capsys):
    assert gen.cli.main(command(recipes, two_domains, tmp_path / "out", "--only", "narrow")) == 1
    assert "available: plain, wide" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text", ["- a\n- b\n", "", "a: 3\n", "a/b: {}\n", "a: [unclosed\n", "a: {seed: 1}\n", "gamma: {}\n", "..: {}\n"]
)
def test_a_file_that_holds_no_recipes(tmp_path, text):
    path = tmp_path / "recipes.yaml"
    path.write_text(text)
    with pytest.raises(BadInput, match=r"recipes\.yaml"):
        read_recipes(path)


@pytest.mark.parametrize(("file", "preset"), [("recipes", "fast"), ("claims", "bdd")])
def test_the_recipes_of_the_docs_have_settings_that_exist(file, preset, two_domains, tmp_path):
    night, day = two_domains
    path = Path(f"docs/augan/{file}.yaml")
    settings = CompareSettings(recipes=path, adverse=night, normal=day, preset=preset, out=tmp_path, simulate="night")
    for name, recipe in read_recipes(settings.recipes).items():
        assert prepare(settings, name, recipe).settings.adverse == tmp_path / "frames" / "train" / "adverse"


@pytest.fixture
def own_modules():
    yield
    for name in ("edge_loss", "my_method"):
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("own_modules")
def test_rows_may_be_ones_own_trainer_and_method(two_domains, tmp_path, monkeypatch, capsys):
    """Both examples of docs/methods.md."""
    for name in ("edge_loss.py", "my_method.py"):
        (tmp_path / name).write_text(WHOLE_FILES[name])
    monkeypatch.setenv("GEN_PLUGINS", str(tmp_path / "my_method.py"))
    monkeypatch.setattr(sys, "path", sys.path[:])
    recipes = tmp_path / "recipes.yaml"
    recipes.write_text(
        f"edges:\n  trainer: {tmp_path}/edge_loss.py:EdgeTrainer\n  edge_weight: 0.5\n"
        "own:\n  method: exponent\n  load_height: 64\n  crop: [64, 64]\n"
    )
    out = tmp_path / "out"
    assert gen.cli.main(command(recipes, two_domains, out, "--hold-out", "4", "--core-minutes", "0.03")) == 0
    text = (out / "README.md").read_text()
    for row in ("edges", "own"):
        assert f"\n| {row} | 4 |" in text
    records = {row: json.loads((out / "models" / row / "training.json").read_text()) for row in ("edges", "own")}
    assert records["edges"]["trainer"]["class"] == "edge_loss:EdgeTrainer"
    assert records["own"]["trainer"]["class"] == "my_method:GammaTrainer"
    model, state = out / "models" / "own", load_last_state(out / "runs" / "own")
    index, (height, width) = weights.read_index(model), records["own"]["data"]["adverse"]["cached_size"]
    assert (index["trained_height"], index["trained_width"]) == (height, width)
    saved = [load(model).generator(direction).log_exponent for direction in DIRECTIONS]
    assert saved == state["ema"]["shadow_params"]  # the averaged weights
    learned = json.loads((out / "evaluation.json").read_text())["adverse_to_normal"]["own"]
    assert learned["luma"] > json.loads((out / "evaluation.json").read_text())["adverse_to_normal"]["untouched"]["luma"]

    card, sha = (out / "models" / "own" / "MODEL_CARD.md").read_text(), fingerprint_file(tmp_path / "my_method.py")
    assert f"Trained by `my_method:GammaTrainer`, a file of its own (SHA-256 begins with {sha})" in card
    assert "| load_height | `64` |" in card
    assert "This card has no measurements;" in card  # also when evaluation.json comes beside it
    assert gen.cli.main(["export-augan", str(out / "runs" / "own"), str(tmp_path / "wrong")]) == 1
    assert "the run of my_method:GammaTrainer trained other networks" in capsys.readouterr().err
    assert not (tmp_path / "wrong").exists()
