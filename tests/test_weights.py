"""From a name to a folder, and the shipped models."""

import numpy as np
import pytest

from gen import AUGANPipeline, BadInput, weights


def test_names_paths_and_hub_ids(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "model_index.json").write_text("{}")
    monkeypatch.setenv("GEN_WEIGHTS", str(tmp_path))
    assert weights.resolve("mine") == str(tmp_path / "mine")
    assert weights.resolve(tmp_path / "mine") == str(tmp_path / "mine")
    assert weights.resolve("someone/their-model") == "someone/their-model"
    assert "mine" in weights.available()
    with pytest.raises(BadInput, match=r"unknown model 'nothing'.*mine"):
        weights.resolve("nothing")


SHIPPED_KINDS = {
    "augan-fog2clear": "AUGANPipeline",
    "augan-night2day": "AUGANPipeline",
    "augan-night2day-fast": "AUGANPipeline",
    "augan-night2day-rendered": "AUGANPipeline",
    "augan-rain2clear": "AUGANPipeline",
    "mobilestylegan-faces128": "HDAPipeline",
    "smd-precursor": "Classifier",
    "squeezenet1_1": None,
    "stylegan2-faces64": "HDAPipeline",
    "stylegan2-streets64": "HDAPipeline",
    "weather": "WeatherHead",
}


class TestEntries:
    def test_the_shipped_folders(self):
        assert {name: weights.kind(weights.SHIPPED / name) for name in SHIPPED_KINDS} == SHIPPED_KINDS
        assert set(weights.models_of("AUGANPipeline")) >= {"augan-night2day", "augan-fog2clear"}
        assert "stylegan2-faces64" in weights.models_of("AUGANPipeline", "HDAPipeline")

    def test_a_shipped_entry(self):
        entry = weights.describe(weights.SHIPPED / "augan-night2day")
        assert (entry.name, entry.kind) == ("augan-night2day", "AUGANPipeline")
        assert entry.weathers == ("night", "rainy night")
        assert 0.5 < entry.megabytes < 100
        assert entry.licence == "research use only"
        assert entry.table.startswith("| domain | folder |")
        assert entry.table.count("\n") == 7

    def test_a_folder_that_only_mentions_another_kind(self, tmp_path):
        """A name in some value is no kind."""
        (tmp_path / "model_index.json").write_text('{"_class_name": "MyPipeline", "note": "HDAPipeline"}')
        assert weights.kind(tmp_path) == "MyPipeline"

    @pytest.mark.parametrize("text", [None, "", "{", "[]", '{"a": 1}', '{"_class_name": ["x"]}'])
    def test_what_does_not_say_its_kind(self, tmp_path, text):
        if text is not None:
            (tmp_path / "model_index.json").write_text(text)
        assert weights.kind(tmp_path) is None
        assert weights.kind("someone/their-model") is None
        entry = weights.describe(tmp_path)
        assert (entry.weathers, entry.table) == ((), None)

    def test_the_pipelines_index_comes_before_a_networks_configuration(self, tmp_path):
        (tmp_path / "config.json").write_text('{"_class_name": "Part"}')
        assert weights.kind(tmp_path) == "Part"
        (tmp_path / "model_index.json").write_text('{"_class_name": "Whole"}')
        assert weights.kind(tmp_path) == "Whole"

    @pytest.mark.parametrize(
        ("card", "licence"),
        [
            ("---\nlicense: mit\n---\n# m\n", "mit"),
            ("---\nlicense: other\n---\nLicence of the weights: CC BY 4.0\n", "CC BY 4.0"),
            ("---\nlicense: mit\n---\nThe data are for research use.\n", "research use only; see its card"),
            ("# m\n", "not stated; see its card"),
        ],
    )
    def test_licences(self, tmp_path, card, licence):
        (tmp_path / "MODEL_CARD.md").write_text(card)
        assert weights.describe(tmp_path).licence == licence

    def test_the_licence_of_a_model_that_was_exported_and_not_measured_yet(self, tmp_path):
        assert weights.describe(tmp_path).licence == "not stated"
        (tmp_path / "training.json").write_text('{"weights_license": "apache-2.0"}')
        assert weights.describe(tmp_path).licence == "Apache-2.0, any use"

    def test_a_card_in_the_encoding_of_an_old_editor(self, tmp_path):
        (tmp_path / "MODEL_CARD.md").write_bytes("# m\n\nLicence of the weights: für alle.\n".encode("cp1252"))
        assert weights.describe(tmp_path).licence == "für alle"
        (tmp_path / "MODEL_CARD.md").write_bytes("---\nlicense: mit\n---\n".encode("utf-8-sig"))
        assert (weights.read_card(tmp_path) or "").startswith("---\n")

    def test_folders_of_all_kinds_and_the_first_of_a_name(self, tmp_path, monkeypatch):
        monkeypatch.setenv("GEN_WEIGHTS", str(tmp_path))
        for name, file in (("weather", "config.json"), ("mine", "model_index.json"), ("nothing", "notes.md")):
            (tmp_path / name).mkdir()
            (tmp_path / name / file).write_text("{}")
        folders = weights.model_folders()
        assert folders["weather"] == tmp_path / "weather"
        assert set(folders) >= {"mine", "squeezenet1_1"}
        assert "nothing" not in folders


def test_the_first_table_of_a_text():
    text = "a | b\n\n| x | y |\n| - | :-: |\n| 1 | 2 |\n| 3 | 4 |\n\nmore\n\n| z |\n|---|\n"
    assert weights.first_table(text) == "| x | y |\n| - | :-: |\n| 1 | 2 |\n| 3 | 4 |"
    assert weights.first_table("| no | table |\n| of | dashes |\n") is None


def test_the_shipped_model_brightens_a_night_and_knows_where_lamps_are(shared_data):
    pipe = AUGANPipeline.from_pretrained("augan-night2day")
    frames = sorted((shared_data / "driving" / "val" / "night").glob("*.jpg"))[::25]
    days = sorted((shared_data / "driving" / "val" / "day").glob("*.jpg"))[::25]
    out = pipe(frames, direction="adverse_to_normal", output_type="np")
    before = np.mean([pipe_input(f).mean() for f in frames])
    after = np.mean([image.mean() for image in out.images])
    real = np.mean([pipe_input(f).mean() for f in days])
    assert abs(after - real) < 0.35 * abs(before - real)
    ratios = []
    for frame, scale in zip(frames, out.uncertainty, strict=True):
        lamps = pipe_input(frame).max(axis=2) > 240
        if 50 < lamps.sum() < lamps.size / 4:
            ratios.append(scale[lamps].mean() / scale[~lamps].mean())
    assert np.mean(ratios) > 1.2
    night = pipe(days[0], direction="normal_to_adverse", output_type="np").images[0]
    assert night.mean() < 0.6 * pipe_input(days[0]).mean()


@pytest.mark.parametrize("name", ["augan-night2day", "augan-fog2clear"])
def test_the_shipped_maps_say_that_what_cannot_be_seen_is_made_up(shared_data, name):
    """On real frames: half of each is blacked out (night) or whited out (fog)."""
    pipe = AUGANPipeline.from_pretrained(name)
    folder = {"augan-night2day": "driving/val/night", "augan-fog2clear": "motorway/fog"}[name]
    frames = [pipe_input(path) for path in sorted((shared_data / folder).glob("*.jpg"))[::60]]
    for frame in frames:
        frame[:, : frame.shape[1] // 2] = 0 if name == "augan-night2day" else 200
    shares = [np.split(share, 2, axis=1) for share in pipe(frames, output_type="np").invented]
    hidden, seen = (np.mean([half[side].mean() for half in shares]) for side in (0, 1))
    assert hidden > seen + 0.1


def test_the_shipped_fog_weights_clear_the_air(shared_data):
    pipe = AUGANPipeline.from_pretrained("augan-fog2clear")
    frames = sorted((shared_data / "motorway" / "fog").glob("*.jpg"))[::40]
    images = pipe(frames, output_type="np").images
    before, after = ([contrast(picture) for picture in pictures] for pictures in (map(pipe_input, frames), images))
    assert np.mean(after) > 1.1 * np.mean(before)
    for frame, image in zip(frames, images, strict=True):
        sky = slice(0, len(image) // 4)
        assert image[sky].mean() < pipe_input(frame)[sky].mean() + 5  # no brighter


def contrast(picture: np.ndarray) -> float:
    """Mean difference between places four pixels apart, grey levels."""
    grey = picture.astype(float).mean(2)
    return np.abs(grey[:, 4:] - grey[:, :-4]).mean()


def pipe_input(path) -> np.ndarray:
    from gen.media.images import decode_still

    return decode_still(path).rgb


def test_without_any_model_the_command_says_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GEN_WEIGHTS", raising=False)
    monkeypatch.setattr(weights, "SHIPPED", tmp_path / "weights")
    with pytest.raises(BadInput, match=r"set \$GEN_WEIGHTS to it"):
        weights.resolve("augan-night2day")
