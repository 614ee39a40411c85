"""The weather classifier: its layer, its training, and what the shipped one sees."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from gen import BadInput, BadSetting
from gen.cli import main
from gen.metrics.distances import list_images, read_batches
from gen.translation.weather import WeatherClassifier, WeatherHead, spread
from gen.translation.weather_settings import WeatherSettings
from gen.translation.weather_training import Source, confusion, cross_confusion, fit, groups, label_of, train
from tests.conftest import write_streets
from tests.translation.test_weathers import save_tiny

SAMPLES = Path(__file__).parents[2] / "samples"


@pytest.fixture(scope="module")
def shipped() -> WeatherClassifier:
    return WeatherClassifier.from_pretrained()


def seen(classifier: WeatherClassifier, paths) -> list[str]:
    return [classifier.name(p)[0] for batch in read_batches(paths) for p in classifier.predict(batch)]


class TestShipped:
    def test_the_samples(self, shipped):
        assert set(seen(shipped, list_images(SAMPLES / "adverse", 4))) == {"night"}
        assert set(seen(shipped, list_images(SAMPLES / "day", 3))) == {"day"}
        assert set(seen(shipped, list_images(SAMPLES / "day_real"))) == {"day"}

    def test_real_frames_that_it_has_not_learnt_from(self, shipped, shared_data):
        for weather in ("day", "night"):
            names = seen(shipped, list_images(shared_data / "driving" / "val" / weather, 24))
            assert names.count(weather) >= 22

    def test_what_it_returns(self, shipped):
        frames = torch.randint(0, 256, (3, 40, 64, 3), dtype=torch.uint8)
        probabilities = shipped.predict(frames)
        assert shipped.weathers == ["day", "night", "fog", "rain"]
        assert probabilities.shape == (3, 4)
        torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(3))
        torch.testing.assert_close(shipped.predict(frames[1:2]), probabilities[1:2], atol=1e-5, rtol=1e-4)

    def test_the_foot_of_a_tall_frame_does_not_count(self, shipped):
        tall = torch.randint(0, 256, (1, 48, 64, 3), dtype=torch.uint8)
        other = tall.clone()
        other[:, 36:] = 255
        torch.testing.assert_close(shipped.predict(tall), shipped.predict(other))
        other[:, 30:36] = 255
        assert not torch.equal(shipped.predict(tall), shipped.predict(other))

    def test_no_such_classifier(self, tmp_path):
        (tmp_path / "config.json").write_text("{}")
        with pytest.raises(BadInput, match=r"config\.json: no model can be built from these values"):
            WeatherClassifier.from_pretrained(tmp_path)


@pytest.mark.parametrize(("length", "expected"), [(1, 1), (5, 5), (15, 15), (16, 8), (31, 8), (1000, 8)])
def test_frames_are_spread_evenly_over_a_clip_of_any_length(length, expected):
    indices = spread((torch.tensor([i]) for i in range(length)), 8, lambda frame: frame)[:, 0].tolist()
    assert expected <= len(indices) <= 15
    steps = set(np.diff(indices))
    assert indices[0] == 0
    assert len(steps) <= 1
    assert indices[-1] + max(steps, default=1) >= length


def test_a_clip_shows_what_most_of_its_frames_show():
    """A layer that reads the brightness of the frame; its features are the frame's mean."""
    head = WeatherHead(["day", "night"], 1)
    with torch.no_grad():
        head.linear.weight.copy_(torch.tensor([[4.0], [-4.0]]))
        head.linear.bias.copy_(torch.tensor([-2.0, 2.0]))

    def brightness(frames):
        return frames.float().mean(dim=(1, 2, 3))[:, None] / 255

    classifier = WeatherClassifier(head, brightness)  # type: ignore[arg-type]
    bright, dark = (torch.full((9, 16, 3), value, dtype=torch.uint8) for value in (250, 5))
    assert classifier.of_clip([dark, bright, dark])[0] == "night"
    weather, probability = classifier.of_clip([bright, bright, dark])
    singles = classifier.predict(torch.stack([bright, bright, dark]))[:, 0]
    assert (weather, probability) == ("day", pytest.approx(singles.mean().item()))


class TestFit:
    def source(self, rng, centres, count) -> Source:
        names = [name for name in centres for _ in range(count)]
        points = np.array([centres[name] for name in names]) + rng.normal(0, 1, (len(names), 2))
        return Source("drawn", torch.from_numpy(points).float(), names)

    def test_no_small_step_is_better(self):
        """The optimum of a convex loss, written down again without standardising the features."""
        rng = np.random.default_rng(0)
        source = self.source(rng, {"day": (0, 0), "fog": (2, 1)}, 40)
        rare = self.source(rng, {"night": (0, 3)}, 10)
        names, decay = ["day", "night", "fog"], 0.01
        head = fit([source, rare], names, decay)
        x = torch.cat([source.features, rare.features])
        y = torch.tensor([names.index(n) for n in [*source.weathers, *rare.weathers]])
        deviation = x.std(dim=0) + 1e-3

        def loss(weight, bias):
            per_class = [F.cross_entropy(x[y == c] @ weight.T + bias, y[y == c]) for c in range(3)]
            return torch.stack(per_class).mean() + decay * (weight * deviation).square().sum()

        least = loss(head.linear.weight, head.linear.bias)
        for _ in range(50):
            step, shift = 0.02 * torch.randn(3, 2), 0.02 * torch.randn(3)
            assert loss(head.linear.weight + step, head.linear.bias + shift) > least

    def test_confusion_counts(self):
        head = fit(
            [Source("a", torch.tensor([[0.0], [1.0], [9.0], [10.0]]), ["day", "day", "fog", "fog"])], ["day", "fog"], 0
        )
        table = confusion(head, [Source("b", torch.tensor([[0.5], [9.5], [9.9]]), ["day", "day", "snow"])])
        assert table == {"day": {"day": 1, "fog": 1}, "snow": {"day": 0, "fog": 1}}

    def test_groups_of_look_alikes_stay_together(self):
        centres = torch.randn(8, 5) * 20
        features = centres.repeat_interleave(15, dim=0) + 0.1 * torch.randn(120, 5)
        found = groups(features).reshape(8, 15)
        assert (found == found[:, :1]).all()
        assert len(set(found[:, 0].tolist())) == 8

    def test_a_held_out_group_is_not_learnt_from(self):
        """Each group has a weather at random, so that only a layer that has seen the group could know it."""
        centres = torch.randn(16, 40) * 20
        features = centres.repeat_interleave(15, dim=0) + 0.1 * torch.randn(240, 40)
        names = np.random.default_rng(0).permutation(["day", "fog"] * 8).repeat(15).tolist()
        sources = [Source(w, features[[n == w for n in names]], [w] * names.count(w)) for w in ("day", "fog")]
        rows = confusion(fit(sources, ["day", "fog"], 1e-3), sources)
        assert rows["day"]["day"] + rows["fog"]["fog"] == 240
        rows = cross_confusion([], sources, ["day", "fog"], 1e-3)
        assert 60 < rows["day"]["day"] + rows["fog"]["fog"] < 200


def test_labels():
    learnt = ["day", "night", "rain"]
    assert [label_of("day", seen, learnt) for seen in (None, "clear", "rain", "snow", "unsure", "twilight")] == [
        "day", "day", "rain", None, None, None,
    ]  # fmt: skip
    assert [label_of("night", seen, learnt) for seen in (None, "rain", "unsure", "twilight")] == [
        "night", "night", "night", None,
    ]  # fmt: skip


def test_the_command(tmp_path, monkeypatch, caplog):
    """Two kinds of drawn streets: a model folder with record and card, which loads and is right."""
    monkeypatch.chdir(tmp_path)
    write_streets(Path("night"), 10, True)
    write_streets(Path("day"), 10, False)
    Image.fromarray(np.zeros((20, 40, 3), np.uint8)).save("day/dark.png")
    Path("seen.csv").write_text("file,weather\nday/dark.png,unsure\n", "utf-8-sig")  # as spreadsheets write it
    Path("link").symlink_to("night")
    folders = ["--train", f"day={tmp_path / 'day'}", "--train", "night=night", "--test", f"night={tmp_path / 'night'}"]
    folders += ["--test", "night=link"]
    assert main(["train-weather", "out", *folders, "--labels", str(tmp_path / "seen.csv")]) == 0
    assert str(tmp_path) not in Path("out/training.json").read_text()  # as the records of all other trainings
    card = Path("out/MODEL_CARD.md").read_text()
    Path("moved").mkdir()
    Path("seen.csv").rename("moved/seen.csv")  # where its paths lead to nothing
    assert main(["train-weather", "out", *folders, "--labels", "moved/seen.csv"]) == 1
    assert Path("out/MODEL_CARD.md").read_text() == card
    assert "| `day` | 10 |  |" in card
    assert "On these frames, not all of them held out;" in card
    for name in ("night", "link"):
        assert f"| `{name}`, trained on | night | 0 | 10 | 100.0% |" in card
    classifier = WeatherClassifier.from_pretrained("out")
    assert seen(classifier, list_images(Path("day"), 3)) == ["day"] * 3
    Path("out/notes.md").write_text("Streets of my own.")
    assert main(["train-weather", "out", "--train", "day=day", "--train", "night=link"]) == 0
    assert "notes.md was written when the model was trained on day, night; it goes into" in caplog.text


def test_a_translator_is_not_replaced_by_a_classifier_nor_the_reverse(tmp_path):
    def told(folder: Path) -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    save_tiny(tmp_path / "translator", ["night"])
    write_streets(tmp_path / "night", 5, True)
    write_streets(tmp_path / "day", 5, False)
    before = told(tmp_path / "translator")
    frames = ["--train", f"night={tmp_path / 'night'}", "--train", f"day={tmp_path / 'day'}"]
    assert main(["train-weather", str(tmp_path / "translator"), *frames]) == 1
    assert told(tmp_path / "translator") == before
    assert main(["train-weather", str(tmp_path / "weather"), *frames]) == 0
    before = told(tmp_path / "weather")
    with pytest.raises(BadSetting, match="a model of another kind"):
        save_tiny(tmp_path / "weather", ["night"])
    assert told(tmp_path / "weather") == before


def test_frames_of_the_training_are_no_held_out_frames_wherever_they_are_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder, dark in (("night/one", True), ("night/two", True), ("day", False)):
        write_streets(Path(folder), 5, dark)
    write_streets(Path("other"), 5, True, height=90)
    Path("link").symlink_to("day")
    Path("copy").mkdir()
    shutil.copy(next(Path("night/one").iterdir()), "copy/renamed.png")
    named = {
        "--train": ["night=night", "day=day"],
        "--test": ["night=night/two", "day=link", "night=copy", "night=other"],
    }
    given = [word for option, folders in named.items() for folder in folders for word in (option, folder)]
    assert main(["train-weather", "out", *given]) == 0
    card = Path("out/MODEL_CARD.md").read_text()
    assert "On these frames, not all of them held out;" in card
    marked = [name for name in ("night/two", "link", "copy", "other") if f"`{name}`, trained on" in card]
    assert marked == ["night/two", "link", "copy"]
    with pytest.raises(BadSetting, match="frames of link are among those of train"):  # nor "other cameras"
        train(WeatherSettings(Path("out"), ("night=night", "day=day"), ("day=link", "night=other")))


@pytest.mark.parametrize(
    ("given", "message"), [(("night=there",), "day"), (("night",), "WEATHER=FOLDER"), (("day=x", "fog=x"), "no such")]
)
def test_wrong_settings(given, message):
    with pytest.raises((BadSetting, BadInput), match=message):
        train(WeatherSettings(Path("nowhere"), given))
