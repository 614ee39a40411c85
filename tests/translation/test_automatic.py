"""`--model auto` on a folder of all weathers: what is translated by which model, what is left, a second run."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gen import BadSetting, weights
from gen.cli import main
from gen.media.video import ClipReader, write_clip
from gen.translation import automatic
from gen.translation.automatic import LEFT
from gen.translation.settings import TranslateSettings
from gen.translation.weather import WeatherClassifier
from tests.media.test_video import make_clip, moving_bars
from tests.translation.identity import Identity, picture, run
from tests.translation.test_weathers import save_tiny

SAMPLES = Path(__file__).parents[2] / "samples"


@pytest.fixture
def models(tmp_path, monkeypatch) -> Path:
    """A model for nights, and none for fog; of what is shipped, the classifier alone."""
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "weather").symlink_to(weights.SHIPPED / "weather")
    monkeypatch.setattr(weights, "weight_folders", lambda: [folder])
    save_tiny(folder / "tiny-night", ["night"])
    return folder


@pytest.fixture(scope="module")
def foggy(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("fog")
    assert main(["render-street", str(folder), "--weather", "fog", "--frames", "1", "--size", "192x108", "--seed", "7",
                 "--no-depth", "--workers", "1"]) == 0  # fmt: skip
    return folder / "adverse" / "fog" / "000007.jpg"


@pytest.fixture
def tree(tmp_path, foggy) -> Path:
    root = tmp_path / "in"
    (root / "sub").mkdir(parents=True)
    for name, sample in (("night.jpg", "adverse/night/000010.jpg"), ("sub/day.jpg", "day/000010.jpg")):
        with Image.open(SAMPLES / sample) as picture:
            picture.resize((192, 108)).save(root / name, quality=95)
    shutil.copy(foggy, root / "fog.jpg")
    (root / "broken.jpg").write_text("no picture")
    return root


def report_of(out: Path) -> dict[str, dict]:
    return {Path(f["input"]).name: f for f in json.loads((out / "report.json").read_text())["files"]}


def statuses(out: Path) -> dict[str, str]:
    return {name: f["status"] for name, f in report_of(out).items()}


def test_each_picture_by_its_weather(models, tree, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["translate", str(tree), str(out), "--model", "auto"]) == 1  # for the broken one
    report = report_of(out)
    assert statuses(out) == {"night.jpg": "done", "day.jpg": "left", "fog.jpg": "left", "broken.jpg": "failed"}
    assert report["night.jpg"]["made_with"].startswith("tiny-night,")
    assert [report[f"{w}.jpg"]["weather"] for w in ("night", "day", "fog")] == ["night", "day", "fog"]
    assert all(0.25 < report[f"{w}.jpg"]["probability"] <= 1 for w in ("night", "day", "fog"))
    assert report["day.jpg"]["note"] == "copied unchanged: a clear day"
    assert report["fog.jpg"]["note"] == "copied unchanged: fog, for which no model is available"
    assert report["fog.jpg"]["made_with"] == LEFT
    for name in ("sub/day.jpg", "fog.jpg"):
        assert (out / name).read_bytes() == (tree / name).read_bytes()
    assert list(json.loads((out / "report.json").read_text())["licences"]) == ["tiny-night"]
    by_hand = tmp_path / "by hand.jpg"
    main(["translate", str(tree / "night.jpg"), str(by_hand), "--model", "tiny-night"])
    assert (out / "night.jpg").read_bytes() == by_hand.read_bytes()
    printed = capsys.readouterr().out
    for line in (
        "weather: 1 day, 1 fog, 1 night",
        "Licence: not stated.",
        "1 done, 0 finished before, 2 not translated, 1 failed",
    ):
        assert line in printed


def test_a_second_run_does_nothing_again_and_a_new_model_does_what_was_left(models, tree, tmp_path, monkeypatch):
    out = tmp_path / "out"
    command = ["translate", str(tree), str(out), "--model", "auto"]
    main(command)
    before = {p: p.stat().st_ctime_ns for p in out.rglob("*.jpg")}
    first = report_of(out)
    with monkeypatch.context() as patch:
        looked: list[object] = []
        patch.setattr(WeatherClassifier, "predict", lambda self, frames: looked.append(frames))
        main(command)
        assert not looked  # what is finished is not even looked at
    assert {p: p.stat().st_ctime_ns for p in out.rglob("*.jpg")} == before
    assert statuses(out) == {"night.jpg": "skipped", "day.jpg": "left", "fog.jpg": "left", "broken.jpg": "failed"}
    for name in ("night.jpg", "day.jpg", "fog.jpg"):
        for key in ("weather", "probability", "made_with", "note", "width"):
            assert report_of(out)[name][key] == first[name][key]
    save_tiny(models / "tiny-fog", ["fog"])
    main(command)
    assert statuses(out)["fog.jpg"] == "done"
    assert report_of(out)["fog.jpg"]["made_with"].startswith("tiny-fog,")
    changed = {p.name for p in out.rglob("*.jpg") if p.stat().st_ctime_ns != before[p]}
    assert changed == {"fog.jpg"}


def test_a_killed_run_without_its_report_is_taken_up(models, tree, tmp_path):
    out = tmp_path / "out"
    command = ["translate", str(tree), str(out), "--model", "auto"]
    main(command)
    before = {p: p.stat().st_ctime_ns for p in out.rglob("*.jpg")}
    (out / "report.json").unlink()
    save_tiny(models / "tiny-fog", ["fog"])
    main(command)
    assert statuses(out) == {"night.jpg": "skipped", "day.jpg": "left", "fog.jpg": "done", "broken.jpg": "failed"}
    assert {p.name for p in out.rglob("*.jpg") if p.stat().st_ctime_ns != before[p]} == {"fog.jpg"}


def test_another_model_for_the_same_weather_is_not_mixed_in(models, tree, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["translate", str(tree), str(out), "--model", "auto"]
    main(command)
    before = (out / "report.json").read_bytes()
    save_tiny(models / "another-night", ["night"], seed=1)
    assert main(command) == 1
    assert "made with tiny-night" in capsys.readouterr().err
    assert (out / "report.json").read_bytes() == before
    assert main([*command, "--overwrite"]) == 1  # only the broken one
    assert report_of(out)["night.jpg"]["made_with"].startswith("another-night,")


def test_a_run_that_is_stopped_keeps_what_an_earlier_report_says(models, tree, tmp_path, monkeypatch):
    out = tmp_path / "out"
    main(["translate", str(tree), str(out), "--model", "tiny-night"])  # says nothing of weathers
    made = {name: entry["made_with"] for name, entry in report_of(out).items()}

    def stopped(self, frames):
        raise KeyboardInterrupt

    monkeypatch.setattr(WeatherClassifier, "predict", stopped)
    assert main(["translate", str(tree), str(out), "--model", "auto"]) == 130
    kept = report_of(out)
    assert {name: entry["made_with"] for name, entry in kept.items() if name != "broken.jpg"} == {
        name: text for name, text in made.items() if name != "broken.jpg"
    }


def test_a_copy_in_another_format_or_without_metadata(models, tree, tmp_path):
    exif = Image.Exif()
    exif[271] = "a camera"
    with Image.open(tree / "sub" / "day.jpg") as day:
        day.save(tree / "sub" / "day.jpg", exif=exif)
    out = tmp_path / "out"
    main(["translate", str(tree), str(out), "--model", "auto", "--format", "png", "--strip-metadata", "--compare"])
    with Image.open(out / "sub" / "day.png") as copy, Image.open(tree / "sub" / "day.jpg") as day:
        assert np.array_equal(np.asarray(copy), np.asarray(day))
        assert not dict(copy.getexif())
    assert sorted(p.name for p in out.rglob("*.compare.png")) == ["night.png.compare.png"]
    main(["translate", str(tree), str(out), "--model", "auto", "--format", "png", "--strip-metadata", "--compare"])
    assert statuses(out)["night.jpg"] == "skipped"
    kept = tmp_path / "kept"
    main(["translate", str(tree / "sub"), str(kept), "--model", "auto"])
    assert main(["translate", str(tree / "sub"), str(kept), "--model", "auto", "--strip-metadata"]) == 1  # not left


def test_clips_are_decided_by_most_of_their_frames(models, tmp_path):
    root, out = tmp_path / "in", tmp_path / "out"
    root.mkdir()
    night, day = (
        np.asarray(Image.open(SAMPLES / name).resize((320, 180)))
        for name in ("adverse/night/000010.jpg", "day/000010.jpg")
    )
    write_clip(root / "mostly-night.mp4", [day] * 3 + [night] * 7, 10)
    write_clip(root / "mostly-day.mp4", [day] * 7 + [night] * 3, 10)
    assert main(["translate", str(root), str(out), "--model", "auto"]) == 0
    report = report_of(out)
    assert (report["mostly-night.mp4"]["status"], report["mostly-night.mp4"]["weather"]) == ("done", "night")
    assert (report["mostly-day.mp4"]["status"], report["mostly-day.mp4"]["weather"]) == ("left", "day")
    assert (out / "mostly-day.mp4").read_bytes() == (root / "mostly-day.mp4").read_bytes()
    assert main(["translate", str(root / "mostly-day.mp4"), str(tmp_path / "x.mkv"), "--model", "auto"]) == 0
    with ClipReader(tmp_path / "x.mkv") as reader:
        assert (reader.height, reader.width, len(list(reader))) == (180, 320, 10)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--direction", "normal_to_adverse"], "set model to a name"),
        (["--uncertainty", "map"], "tiny-night has no"),
        (["--quality", "0"], "quality"),
    ],
)
def test_wrong_settings_are_told_before_any_work(models, tree, tmp_path, capsys, more, message):
    assert main(["translate", str(tree), str(tmp_path / "out"), "--model", "auto", *more]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.fixture
def seen(monkeypatch) -> dict[str, str]:
    """Weather by file name, instead of a classifier; the network of the one model, for night, changes nothing."""
    weathers: dict[str, str] = {}

    class Nothing:
        weathers = ("day", "night")
        fingerprint = "first"

        def to(self, device):
            return self

    monkeypatch.setattr(automatic.WeatherClassifier, "from_pretrained", Nothing)
    monkeypatch.setattr(
        automatic, "see", lambda eyes, job, *_: automatic.Sight(weathers[job.source.name], 1.0, eyes.fingerprint)
    )
    monkeypatch.setattr(automatic, "models_by_weather", lambda weathers: {"night": "same"})
    return weathers


def run_auto(source: Path, out: Path, **settings) -> dict[str, str]:
    report = automatic.translate(TranslateSettings(source, out, model="auto", **settings), lambda settings: Identity())
    return {Path(entry.input).name: entry.status for entry in report.entries}


def test_copies_count_as_finished_only_if_they_are_whole(seen, tmp_path):
    """Cut by a full disk, or made of an input of which size and time are still the same."""
    source, out = picture(tmp_path / "in" / "a.bmp"), tmp_path / "out"
    seen["a.bmp"] = "day"
    run_auto(source.parent, out, hash=True)
    (out / "a.bmp").write_bytes(source.read_bytes()[:999])
    assert run_auto(source.parent, out) == {"a.bmp": "left"}
    assert (out / "a.bmp").read_bytes() == source.read_bytes()
    times = source.stat()
    picture(source, 1)
    os.utime(source, ns=(times.st_atime_ns, times.st_mtime_ns))
    run_auto(source.parent, out, hash=True)
    assert (out / "a.bmp").read_bytes() == source.read_bytes()


@pytest.mark.parametrize("weather", ["day", "night"])
def test_a_translation_in_place_of_a_copy_is_refused_and_stays(seen, tmp_path, monkeypatch, weather):
    source, out = picture(tmp_path / "in" / "a.jpg"), tmp_path / "out"
    seen["a.jpg"] = weather
    monkeypatch.setattr(automatic, "models_by_weather", lambda weathers: {})
    assert run_auto(source.parent, out) == {"a.jpg": "left"}
    run(source, tmp_path / "other.jpg")
    shutil.copy(tmp_path / "other.jpg", out / "a.jpg")
    monkeypatch.setattr(automatic, "models_by_weather", lambda weathers: {"night": "same"})
    with pytest.raises(BadSetting, match=r"a\.jpg was made with same, adverse_to_normal"):
        run_auto(source.parent, out)
    assert (out / "a.jpg").read_bytes() == (tmp_path / "other.jpg").read_bytes()


def test_a_translation_in_place_of_a_copy_in_another_format_is_refused_and_stays(seen, tmp_path):
    source, out = picture(tmp_path / "in" / "a.png"), tmp_path / "out"
    seen["a.png"] = "day"
    assert run_auto(source.parent, out, format="jpg") == {"a.png": "left"}
    run(source, tmp_path / "other.jpg")
    shutil.copy(tmp_path / "other.jpg", out / "a.jpg")
    with pytest.raises(BadSetting, match=r"a\.jpg was made with same, adverse_to_normal"):
        run_auto(source.parent, out, format="jpg")
    assert (out / "a.jpg").read_bytes() == (tmp_path / "other.jpg").read_bytes()


def test_what_a_copy_in_another_format_lacks_is_still_told_after_a_second_run(seen, tmp_path):
    source, out = picture(tmp_path / "in" / "a.gif"), tmp_path / "out"
    frames = [Image.fromarray(np.full((8, 8), value, np.uint8)) for value in (0, 99)]
    frames[0].save(source, save_all=True, append_images=frames[1:])
    seen["a.gif"] = "day"
    for _ in range(2):
        assert run_auto(source.parent, out) == {"a.gif": "left"}
        assert report_of(out)["a.gif"]["left_out"] == ["1 further frame"]
        assert any("encoded anew" in sentence for sentence in report_of(out)["a.gif"]["warnings"])


def test_a_copy_of_what_gen_made_says_so_after_a_second_run_too(seen, tmp_path):
    """Its translations look like clear days; those of an earlier run may lie in the input folder."""
    run(picture(tmp_path / "a.jpg"), tmp_path / "in" / "a.jpg")
    seen["a.jpg"] = "day"
    for _ in range(2):
        assert run_auto(tmp_path / "in", tmp_path / "out") == {"a.jpg": "left"}
        warnings = report_of(tmp_path / "out")["a.jpg"]["warnings"]
        assert warnings == ["The source is no photograph: it was translated by gen."]


def test_a_translation_of_the_size_and_time_of_its_input_is_no_copy(seen, tmp_path):
    source, out = picture(tmp_path / "in" / "a.bmp"), tmp_path / "out"
    (tmp_path / "out").mkdir()
    seen["a.bmp"] = "day"
    made = picture(out / "a.bmp", 1)
    os.utime(made, ns=(source.stat().st_atime_ns, source.stat().st_mtime_ns))
    with pytest.raises(BadSetting, match="not known to be a translation"):
        run_auto(source.parent, out)


def test_a_clip_copied_into_another_format_has_the_codec_of_the_settings(seen, tmp_path):
    source, out = tmp_path / "in" / "a.ts", tmp_path / "out"
    source.parent.mkdir()
    make_clip(source, moving_bars(3))
    seen["a.ts"] = "day"
    assert run_auto(source.parent, out) == run_auto(source.parent, out) == {"a.ts": "left"}
    with pytest.raises(BadSetting, match=r"was made with .*, codec hevc"):
        run_auto(source.parent, out, codec="hevc")
    (out / "a.mp4").write_bytes((out / "a.mp4").read_bytes()[:99])
    assert run_auto(source.parent, out) == {"a.ts": "left"}
    assert len(list(ClipReader(out / "a.mp4"))) == 3


def test_a_copy_of_another_camera_is_not_overwritten_when_a_model_comes(seen, tmp_path, monkeypatch):
    seen["1.png"] = "fog"
    front, rear = picture(tmp_path / "front" / "1.png"), picture(tmp_path / "rear" / "1.png", 1)
    run_auto(front.parent, tmp_path / "out")
    monkeypatch.setattr(automatic, "models_by_weather", lambda weathers: {"fog": "same"})
    with pytest.raises(BadSetting, match="was made of"):
        run_auto(rear.parent, tmp_path / "out")
    assert (tmp_path / "out" / "1.png").read_bytes() == front.read_bytes()


def test_a_classifier_that_is_trained_anew_looks_again(seen, tmp_path, monkeypatch):
    names = ("a.png", "b.png", "c.bmp")
    for number, name in enumerate(names):
        picture(tmp_path / "in" / name, number)
    seen |= dict(zip(names, ("day", "night", "day"), strict=True))
    first = run_auto(tmp_path / "in", tmp_path / "out")
    assert first == {"a.png": "left", "b.png": "done", "c.bmp": "left"}
    seen["a.png"] = "night"  # it had missed it
    assert run_auto(tmp_path / "in", tmp_path / "out")["a.png"] == "left"  # nothing is looked at again
    monkeypatch.setattr(automatic.WeatherClassifier.from_pretrained, "fingerprint", "second")
    again = {"a.png": "done", "b.png": "skipped", "c.bmp": "left"}
    assert run_auto(tmp_path / "in", tmp_path / "out") == again
    assert {file["classifier"] for file in report_of(tmp_path / "out").values()} == {"second"}
    assert run_auto(tmp_path / "in", tmp_path / "out") == again | {"a.png": "skipped"}
    seen["b.png"] = "day"
    monkeypatch.setattr(automatic.WeatherClassifier.from_pretrained, "fingerprint", "third")
    with pytest.raises(BadSetting, match=r"b\.png was made with same"):
        run_auto(tmp_path / "in", tmp_path / "out")
