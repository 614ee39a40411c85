"""What a folder's files were made with: recorded from the first file on, never guessed, never mixed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from gen import BadSetting
from gen.cli import main
from gen.locks import locked
from gen.media import files
from gen.media.images import Still, decode_still, encode_still
from gen.media.mark import Header, Mark, read_header
from gen.translation import batch, stills
from gen.translation.foreign import is_foreign
from gen.translation.record import record_path
from gen.translation.report import MEASURED
from gen.translation.run import UNMEASURED, Run
from gen.translation.settings import TranslateSettings
from gen.translation.watch import Watch
from tests.media.test_video import make_clip, moving_bars
from tests.translation.identity import Identity, picture, report_of, run, statuses
from tests.translation.test_weathers import save_tiny

REPOSITORY = Path(__file__).parents[2]
OTHER = {"direction": "normal_to_adverse"}


@pytest.fixture
def night(tmp_path) -> Path:
    """Two pictures, one of them in a format without metadata."""
    picture(tmp_path / "in" / "a.jpg")
    picture(tmp_path / "in" / "sub" / "b.bmp")
    return tmp_path / "in"


@pytest.mark.parametrize("spelling", ["relative", "absolute", "linked", "dotted"])
def test_every_spelling_of_a_folder_is_one_folder(night, tmp_path, monkeypatch, spelling):
    monkeypatch.chdir(night)
    run(Path("."), Path("../o"))
    (tmp_path / "link").symlink_to("o")
    again = {
        "relative": Path("../o"),
        "absolute": tmp_path / "o",
        "linked": tmp_path / "link",
        "dotted": Path("sub/../../o"),
    }[spelling]
    with pytest.raises(BadSetting, match="was made with"):
        run(Path("."), again, **OTHER)
    assert set(statuses(run(night, again)).values()) == {"skipped"}
    monkeypatch.chdir(tmp_path)
    assert set(statuses(run(Path("in"), Path("o"))).values()) == {"skipped"}


def test_auto_takes_what_the_other_precision_has_finished(night, tmp_path):
    out = tmp_path / "o"
    run(night, out, precision="bf16")
    assert ", bf16" in read_header(out / "a.jpg").mark.made_with
    with pytest.raises(BadSetting, match=r"was made with .*bf16"):
        run(night, out, precision="fp32")
    before = report_of(out)
    assert set(statuses(run(night, out)).values()) == {"skipped"}
    assert all(file["made_with"] == before[name]["made_with"] for name, file in report_of(out).items())
    (night / "a.jpg").unlink()  # the other has no mark
    with pytest.raises(BadSetting, match=r"was made with .*bf16"):
        run(night, out, precision="fp32")


def test_the_command_of_the_shared_case(tmp_path, monkeypatch):
    case = REPOSITORY.parent / "shared" / "cases" / "made-with"
    model = save_tiny(tmp_path / "tiny", ["night"])
    picture(tmp_path / "made-with" / "a.jpg")
    monkeypatch.chdir(case if case.is_dir() else tmp_path / "made-with")
    out = tmp_path / "o"
    assert main(["translate", ".", os.path.relpath(out), "--model", model]) == 0
    before = (out / "report.json").read_text()
    assert main(["translate", ".", str(out), "--model", model, "--direction", "normal_to_adverse"]) == 1
    assert (out / "report.json").read_text() == before


def test_a_later_input_of_an_outputs_name_does_not_inherit_that_output(tmp_path):
    """OUT/a.png, of a.gif, must not pass for the translation of the a.png that came later."""
    night, out = tmp_path / "in", tmp_path / "o"
    picture(night / "a.gif")
    picture(night / "b.jpg")
    run(night, out, compare=True)
    assert set(report_of(out)) == {"a.png", "b.jpg"}
    picture(night / "a.png", 1)
    picture(night / "b.png", 1)
    assert statuses(run(night, out)) == {"a.gif.png": "done", "a.png.png": "done", "b.jpg": "skipped", "b.png": "done"}
    assert set(report_of(out)) == {"a.gif.png", "a.png.png", "b.jpg", "b.png"}
    found = {path.name for path in out.iterdir() if path.suffix in (".png", ".jpg")}
    assert found == {"a.gif.png", "a.png.png", "b.jpg", "b.png", "b.jpg.compare.jpg"}
    (night / "a.png").rename(tmp_path / "a.png")
    assert statuses(run(night, out))["a.png"] == "done"
    (tmp_path / "a.png").rename(night / "a.png")  # as with a card that is pulled out for a while
    assert statuses(run(night, out))["a.gif.png"] == "skipped"
    assert set(report_of(out)) == {"a.gif.png", "a.png.png", "b.jpg", "b.png"}
    run(night, out, format="jpg")  # what another format has left, under its input's own name, stays
    assert (out / "b.jpg").is_file()
    assert report_of(out)["b.jpg.jpg"]["status"] == "done"
    run(picture(tmp_path / "more" / "c.gif").parent, tmp_path / "p")
    picture(tmp_path / "more" / "c.png", 1)
    run(tmp_path / "more", tmp_path / "p", **OTHER)  # what another model has left, only `overwrite` may remove
    assert set(report_of(tmp_path / "p")) == {"c.gif.png", "c.png", "c.png.png"}
    run(tmp_path / "more", tmp_path / "p", overwrite=True)
    assert set(report_of(tmp_path / "p")) == {"c.gif.png", "c.png.png"}


def test_reports_are_merged_over_runs_with_other_inputs(night, tmp_path):
    run(night, tmp_path / "o")
    picture(tmp_path / "more" / "c.bmp")
    run(tmp_path / "more", tmp_path / "o")
    assert set(report_of(tmp_path / "o")) == {"a.jpg", "sub/b.bmp", "c.bmp"}
    with pytest.raises(BadSetting, match="was made with"):
        run(night, tmp_path / "o", **OTHER)
    (tmp_path / "o" / "c.bmp").unlink()
    run(night, tmp_path / "o")
    assert set(report_of(tmp_path / "o")) == {"a.jpg", "sub/b.bmp"}  # nothing is said of what is gone


def test_where_the_report_is_silent_the_mark_speaks(night, tmp_path):
    out = tmp_path / "o"
    run(night, out)
    (out / "report.json").unlink()
    (out / "sub" / "b.bmp").unlink()
    with pytest.raises(BadSetting, match=r"a\.jpg was made with same, adverse_to_normal"):
        run(night, out, **OTHER)
    with pytest.raises(BadSetting, match=r"made with .*resolution auto, not .*resolution native"):
        run(night, out, resolution="native")
    assert statuses(run(night, out)) == {"a.jpg": "skipped", "b.bmp": "done"}


def test_a_file_that_another_run_replaced_is_known_by_its_mark(night, tmp_path):
    out = tmp_path / "o"
    run(night, out)
    run(night / "a.jpg", out / "a.jpg", overwrite=True, **OTHER)  # its report lies beside it, and not in report.json
    with pytest.raises(BadSetting, match=r"a\.jpg was made with same, normal_to_adverse"):
        run(night, out)


def test_nothing_measured_on_another_translation_is_said_of_one_that_was_copied_over_it(night, tmp_path):
    run(night, tmp_path / "o", **OTHER)
    run(night / "a.jpg", tmp_path / "day.jpg")
    shutil.copy2(tmp_path / "day.jpg", tmp_path / "o" / "a.jpg")
    assert run(night / "a.jpg", tmp_path / "o" / "a.jpg").count("skipped") == 1
    told = report_of(tmp_path / "o")
    assert (told["a.jpg"]["seconds"], told["a.jpg"]["width"]) == (0, None)
    assert run(night / "sub", tmp_path / "o" / "sub", **OTHER).count("skipped") == 1
    assert report_of(tmp_path / "o")["sub/b.bmp"]["width"] == 32


@pytest.mark.parametrize("how", ["stopped", "stopped twice", "failed", "changed"])
def test_what_was_measured_stays_when_a_rerun_of_the_file_is_not_finished(night, tmp_path, monkeypatch, how):
    out = tmp_path / "o"
    run(night, out)
    before = report_of(out)["a.jpg"]
    if how == "failed":
        with monkeypatch.context() as patched:
            patched.setattr(stills, "encode_still", lambda *_, **__: 1 / 0)
            run(night, out, overwrite=True)
    else:
        for compare in {"stopped twice": (True, False)}.get(how, (True,)):
            with pytest.raises(KeyboardInterrupt):
                run(night, out, Watch(stop=lambda: True), overwrite=not compare, compare=compare)
    if how == "changed":  # as by a run that was killed before it recorded the file
        before |= {"seconds": 0, "runtime": None, "width": None, "height": None, "frames": None}
        before |= {"warnings": [UNMEASURED]}
        with (out / "a.jpg").open("ab") as file:
            file.write(b"more")
    assert statuses(run(night, out)) == {"a.jpg": "skipped", "b.bmp": "done"}
    told = report_of(out)["a.jpg"]
    assert {value: told[value] for value in MEASURED} == {value: before[value] for value in MEASURED}
    assert "before" not in told


FOREIGN = {
    "another": '{"tests": []}',
    "lines": '{"a": 1}\n{"a": 2}\n',
    "marked": '\ufeff{"totals": {"done": 1}, "settings": {}, "files": []}',
    "coverage": '{"files": {"a.py": {"cov": 3}}, "totals": 5}',
    "entries": '{"totals": {"done": 1}, "settings": {}, "files": [{"path": "a.jpg", "covered": 3}]}',
    "listed": '{"files": [{"path": "a.jpg", "input": "a.jpg", "output": "a.jpg", "kind": "still", "status": "done"}]}',
    "comment": '{"run": 7, // my notes\n"x": 1}',
    "cut off": '{"tests": [1, 2',
    "text": "my notes",
    "Latin": '{"caf\xe9": 1',
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("single", [False, True])
def test_the_report_of_another_program_is_refused_and_stays(night, tmp_path, content, single):
    own = tmp_path / "o" / ("d.report.json" if single else "report.json")
    own.parent.mkdir()
    own.write_text(content, encoding="latin-1" if "\xe9" in content else "utf-8")
    before = own.read_bytes()
    given = (night / "a.jpg", tmp_path / "o" / "d.jpg") if single else (night, tmp_path / "o")
    with pytest.raises(BadSetting, match=r"report\.json is not a report of gen"):
        run(*given)
    assert own.read_bytes() == before
    assert [path.name for path in own.parent.iterdir() if not path.name.startswith(".")] == [own.name]


@pytest.mark.parametrize("content", ["", "\0" * 500, "{", '{\n "tot', '{\n "totals": {\n  "done": 1'])
def test_a_report_that_a_lost_machine_has_cut_off_is_replaced(night, tmp_path, content):
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "report.json").write_text(content)
    assert set(statuses(run(night, tmp_path / "o")).values()) == {"done"}


def test_every_beginning_of_a_report_is_known_as_one(night, tmp_path):
    run(night, tmp_path / "o")
    report = tmp_path / "o" / "report.json"
    whole = report.read_bytes()
    assert not is_foreign(report)
    for end in range(0, len(whole), 7):
        report.write_bytes(whole[:end])
        assert not is_foreign(report)


def test_the_report_of_another_program_in_a_sub_folder_stays(night, tmp_path):
    """The run of a folder takes over the reports of its parts, and removes them."""
    own = tmp_path / "o" / "sub" / "report.json"
    own.parent.mkdir(parents=True)
    own.write_text('{"files": [{"path": "b.bmp", "covered": 3}]}')
    run(night, tmp_path / "o")
    assert own.read_text() == '{"files": [{"path": "b.bmp", "covered": 3}]}'


def test_no_comparison_is_replaced_by_the_translation_of_another_input(tmp_path):
    source, out = tmp_path / "in", tmp_path / "o"
    picture(source / "a.gif", 0)
    run(source, out, compare=True)
    assert (out / "a.png.compare.png").is_file()
    picture(source / "a.png.compare.png", 1)  # comes later, and takes the place of what belongs to the first
    for expected in (
        {"a.gif.png": "done", "a.png.compare.png": "done"},
        {"a.gif.png": "skipped", "a.png.compare.png": "skipped"},
    ):
        assert statuses(run(source, out, compare=True)) == expected
        names = {path.name for path in out.glob("*.png")}
        assert names == {
            f"{name}{mark}" for name in ("a.gif.png", "a.png.compare.png") for mark in ("", ".compare.png")
        }
        assert decode_still(out / "a.png.compare.png").rgb.shape == (24, 32, 3)
        assert decode_still(out / "a.gif.png.compare.png").rgb.shape == (24, 64, 3)


def test_another_folder_s_translation_does_not_replace_a_comparison_nor_the_reverse(tmp_path):
    first, second = picture(tmp_path / "x" / "a.gif", 0), picture(tmp_path / "y" / "a.png.compare.png", 1)
    for name, (one, other) in {"o": (first, second), "p": (second, first)}.items():
        out = tmp_path / name
        run(one.parent, out, compare=one == first)
        before = (out / "a.png.compare.png").read_bytes()
        with pytest.raises(BadSetting, match=r"a\.png\.compare\.png (was made of|is the translation of another)"):
            run(other.parent, out, compare=other == first)
        assert (out / "a.png.compare.png").read_bytes() == before


def test_an_unknown_file_is_refused_and_stays(night, tmp_path):
    own = picture(tmp_path / "o" / "a.jpg", 7).read_bytes()
    with pytest.raises(BadSetting, match=r"a\.jpg is not known to be a translation.*overwrite"):
        run(night, tmp_path / "o")
    assert (tmp_path / "o" / "a.jpg").read_bytes() == own
    assert statuses(run(night, tmp_path / "o", overwrite=True))["a.jpg"] == "done"


def test_a_file_copied_over_an_output_without_a_mark_is_refused_and_stays(night, tmp_path):
    run(night, tmp_path / "o")
    run(night, tmp_path / "o")  # a run that skips the file keeps its size in the record
    other = tmp_path / "o" / "sub" / "b.bmp"
    Image.new("RGB", (50, 50)).save(other)
    before = other.read_bytes()
    with pytest.raises(BadSetting, match=r"b\.bmp is not known to be a translation of gen"):
        run(night, tmp_path / "o")
    assert other.read_bytes() == before
    assert set(statuses(run(night, tmp_path / "o", overwrite=True)).values()) == {"done"}


def test_originals_are_not_taken_for_translations(tmp_path):
    """`gen translate x x/out` and then `gen translate x/out x`."""
    picture(tmp_path / "x" / "a.jpg")
    run(tmp_path / "x", tmp_path / "x" / "out")
    before = (tmp_path / "x" / "a.jpg").read_bytes()
    with pytest.raises(BadSetting, match="not known"):
        run(tmp_path / "x" / "out", tmp_path / "x")
    assert (tmp_path / "x" / "a.jpg").read_bytes() == before


def test_a_translation_of_a_translation_says_so(night, tmp_path, capsys):
    model = save_tiny(tmp_path / "tiny", ["night"])
    make_clip(night / "c.mp4", list(moving_bars(3)))
    for out in ("first", "second"):  # the second run finds the first one's output among its inputs
        assert main(["translate", str(night), str(night / out), "--model", model]) == 0
    said = "warning: The source is no photograph: it was translated by gen. (2 files, for example"
    assert said in capsys.readouterr().out
    warned = {path for path, file in report_of(night / "second").items() if file["warnings"]}
    assert warned == {"first/a.jpg", "first/c.mp4"}  # a BMP has no mark


def test_a_translation_of_a_rendered_or_simulated_frame_says_so(tmp_path):
    marks = {"a.jpg": "rendered, night", "b.png": "clear day with simulated fog; source 0123abcd", "c.jpg": "clear day"}
    (tmp_path / "in").mkdir()
    for name, mark in marks.items():
        encode_still(tmp_path / "in" / name, Still(np.zeros((8, 8, 3), np.uint8)), mark=f"gen: {mark}")
    run(tmp_path / "in", tmp_path / "o")
    assert {name: file["warnings"] for name, file in report_of(tmp_path / "o").items()} == {
        "a.jpg": ["The source is no photograph: it was rendered by gen."],
        "b.png": ["The source is no photograph: it was simulated by gen."],
        "c.jpg": [],
    }


def test_an_unknown_side_file_is_refused(night, tmp_path):
    picture(tmp_path / "o" / "a.jpg.compare.jpg", 7)
    with pytest.raises(BadSetting, match=r"compare\.jpg is not known"):
        run(night, tmp_path / "o", compare=True)


def old_report(out: Path, output: str, **entry) -> None:
    """As version 0.1 wrote it: no path, no input's time, and the output as it was given."""
    report = json.loads((out / "report.json").read_text())
    report["settings"]["output"] = output
    keep = ("input", "kind", "status", "made_with", "seconds")
    report["files"] = [{**{k: f[k] for k in keep}, "output": f"{output}/{f['path']}", **entry} for f in report["files"]]
    (out / "report.json").write_text(json.dumps(report))


@pytest.mark.parametrize("output", ["../o", "/elsewhere/o", "o"])
def test_reports_of_version_0_1_are_understood(night, tmp_path, output):
    out = tmp_path / "o"
    run(night, out)
    for path in (out / "a.jpg", out / "sub" / "b.bmp"):
        with Image.open(path) as opened:
            opened.copy().save(path)  # without the mark, and with a time of its own
    old_report(out, output)
    with pytest.raises(BadSetting, match="was made with"):
        run(night, out, **OTHER)
    assert set(statuses(run(night, out)).values()) == {"skipped"}
    picture(night / "a.jpg", 1)
    old_report(out, output)
    assert statuses(run(night, out)) == {"a.jpg": "done", "b.bmp": "skipped"}


def test_marks_of_version_0_1_do_not_say_enough(night, tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = "Translated by gen (same, adverse_to_normal): not a photograph"
    picture(tmp_path / "o" / "a.jpg", exif=exif)
    with pytest.raises(BadSetting, match="was made with same, adverse_to_normal, not"):
        run(night, tmp_path / "o")


def test_models_are_told_apart_by_their_weights(night, tmp_path, monkeypatch):
    def translate(model: str, *more: str) -> int:
        return main(["translate", str(night), str(tmp_path / "o"), "--model", model, *more])

    save_tiny(tmp_path / "a" / "mine", ["night"])
    save_tiny(tmp_path / "b" / "mine", ["night"], seed=1)
    assert translate(str(tmp_path / "a" / "mine")) == 0
    monkeypatch.chdir(tmp_path)
    assert translate("a/mine") == 0  # another spelling
    assert {f["status"] for f in report_of(tmp_path / "o").values()} == {"skipped"}
    assert translate("b/mine") == 1
    save_tiny(tmp_path / "a" / "mine", ["night"], seed=1)  # trained further
    assert translate("a/mine") == 1
    (tmp_path / "o" / "report.json").unlink()
    (tmp_path / "o" / "sub" / "b.bmp").unlink()
    assert translate("a/mine") == 1  # by the mark
    assert str(tmp_path) not in read_header(tmp_path / "o" / "a.jpg").mark.text()


def test_a_model_of_the_hub_is_known_by_its_weights(night, tmp_path, monkeypatch, capsys):
    snapshot, out = tmp_path / "snapshot", tmp_path / "o"
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(snapshot))
    save_tiny(snapshot, ["night"])
    command = ["translate", str(night), str(out), "--model", "ann/tiny"]
    assert main(command) == 0
    assert main(command) == 0
    assert {file["status"] for file in report_of(out).values()} == {"skipped"}
    save_tiny(snapshot, ["night"], seed=1)
    (night / "a.jpg").unlink()  # the other has no mark
    assert main(command) == 1
    assert "was made with ann/tiny" in capsys.readouterr().err


def test_a_model_given_from_inside_its_folder_is_named(night, tmp_path, monkeypatch):
    model = save_tiny(tmp_path / "tiny", ["night"])
    monkeypatch.chdir(model)
    for given in (".", "../tiny", "../tiny/."):
        assert main(["translate", str(night), str(tmp_path / "o"), "--model", given]) == 0
    assert read_header(tmp_path / "o" / "a.jpg").mark.made_with.startswith("tiny, adverse_to_normal, ")
    assert report_of(tmp_path / "o")["a.jpg"]["made_with"].startswith("../tiny/., ")
    assert main(["translate", str(night), str(tmp_path / "o"), "--model", ".", "--overwrite"]) == 0
    assert report_of(tmp_path / "o")["a.jpg"]["made_with"].startswith(f"{tmp_path}/tiny, adverse_to_normal")


def test_a_model_that_changes_before_it_is_loaded_is_refused(night, tmp_path):
    """Finished files may take hours to look at; the mark would name other weights than those that were loaded."""
    model = save_tiny(tmp_path / "mine", ["night"])
    run(night, tmp_path / "o", model=model)
    picture(night / "new.jpg", 1)

    def load(settings: TranslateSettings) -> Identity:
        save_tiny(tmp_path / "mine", ["night"], seed=1)  # exported again
        return Identity()

    with pytest.raises(BadSetting, match="has changed since the run began"):
        batch.translate(TranslateSettings(night, tmp_path / "o", model=model), load)
    assert not (tmp_path / "o" / "new.jpg").exists()


def test_a_model_stays_the_same_when_it_is_measured(night, tmp_path):
    model = Path(save_tiny(tmp_path / "mine", ["night"]))
    command = ["translate", str(night), str(tmp_path / "o"), "--model", str(model)]
    assert main(command) == 0
    (model / "evaluation.json").write_text('{"date": "2026-11-27"}')  # as gen evaluate-augan leaves it
    assert main(command) == 0
    assert {f["status"] for f in report_of(tmp_path / "o").values()} == {"skipped"}


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tiff", "a.mp4", "a.mkv", "a.mov"])
def test_a_mark_is_read_back(tmp_path, name):
    source, out = tmp_path / "in" / name, tmp_path / "o"
    if name.endswith(("g", "p", "f")):
        picture(source)
    else:
        source.parent.mkdir()
        make_clip(source, moving_bars(3))
    run(source.parent, out, which_map="cycle")
    mark = read_header(out / name).mark
    assert mark is not None
    assert mark.made_with.startswith("same, adverse_to_normal, resolution auto, map cycle")
    assert mark.source
    assert Mark.parse(mark.text()) == mark
    assert read_header(source).mark is None
    (out / "report.json").unlink()
    assert statuses(run(source.parent, out, which_map="cycle")) == {name: "skipped"}


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tiff", "a.mp4", "a.mkv"])
def test_the_mark_is_of_the_last_translation(tmp_path, name):
    (tmp_path / "in").mkdir()
    if name.startswith("a.m"):
        make_clip(tmp_path / "in" / name, moving_bars(3))
    else:
        picture(tmp_path / "in" / name)
    run(tmp_path / "in", tmp_path / "o")
    run(tmp_path / "o", tmp_path / "back", **OTHER)
    assert "normal_to_adverse" in read_header(tmp_path / "back" / name).mark.text()
    (tmp_path / "back" / "report.json").unlink()
    assert statuses(run(tmp_path / "o", tmp_path / "back", **OTHER)) == {name: "skipped"}


def test_what_is_no_file_of_its_kind_has_no_mark(tmp_path):
    for name in ("a.jpg", "b.mp4", "c.zip"):
        (tmp_path / name).write_text("Translated by gen (same, adverse_to_normal): not a photograph")
        assert read_header(tmp_path / name) == Header(False, None)
    assert read_header(tmp_path / "none.jpg") == Header(False, None)


# What counts as finished


@pytest.mark.parametrize("content", [b"", b"no picture"])
def test_an_output_that_cannot_be_opened_is_made_again(night, tmp_path, content):
    run(night, tmp_path / "o")
    (tmp_path / "o" / "a.jpg").write_bytes(content)
    assert statuses(run(night, tmp_path / "o")) == {"a.jpg": "done", "b.bmp": "skipped"}


def test_an_empty_file_of_nobody_is_replaced(night, tmp_path):
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "a.jpg").touch()
    assert statuses(run(night, tmp_path / "o"))["a.jpg"] == "done"


def test_a_folder_under_an_outputs_name_is_a_sentence(night, tmp_path):
    (tmp_path / "o" / "a.jpg").mkdir(parents=True)
    report = run(night, tmp_path / "o")
    assert statuses(report) == {"a.jpg": "failed", "b.bmp": "done"}
    assert "a.jpg is a folder" in str(report.entries[0].error)
    (tmp_path / "o2").mkdir()
    (tmp_path / "o2" / "sub").touch()
    assert statuses(run(night, tmp_path / "o2")) == {"a.jpg": "done", "b.bmp": "failed"}
    (tmp_path / "o3" / "report.json").mkdir(parents=True)
    with pytest.raises(BadSetting, match="is a folder"):
        run(night, tmp_path / "o3")


@pytest.mark.parametrize("silent", [False, True])
def test_an_input_that_was_replaced_is_translated_again(night, tmp_path, silent):
    run(night, tmp_path / "o")
    if silent:
        (tmp_path / "o" / "report.json").unlink()
        (tmp_path / "o" / "sub" / "b.bmp").unlink()
    picture(night / "a.jpg", 1)
    again = run(night, tmp_path / "o")
    assert statuses(again)["a.jpg"] == "done"
    entry = report_of(tmp_path / "o")["a.jpg"]
    found = (night / "a.jpg").stat()
    assert (entry["input_bytes"], entry["input_mtime_ns"]) == (found.st_size, found.st_mtime_ns)


@pytest.mark.parametrize("relative", [False, True])
def test_two_cameras_that_number_alike_do_not_overwrite_each_other(tmp_path, monkeypatch, relative):
    out, odd = tmp_path / "o", os.fsdecode(b"\xff.jpg")
    for number, card in enumerate(("front", "rear")):
        picture(tmp_path / card / "0001.jpg", number)
        picture(tmp_path / card / odd, number)
    monkeypatch.chdir(tmp_path / "front")
    run(Path("."), Path("../o")) if relative else run(tmp_path / "front", out)
    monkeypatch.chdir(tmp_path / "rear")
    with pytest.raises(BadSetting, match=r"0001\.jpg was made of .*front/0001\.jpg, not "):
        run(Path("."), Path("../o")) if relative else run(tmp_path / "rear", out)
    with pytest.raises(BadSetting, match="was made of"):
        run(tmp_path / "rear" / odd, out)
    shutil.copytree(tmp_path / "front", tmp_path / "copy")
    assert set(statuses(run(tmp_path / "copy", out)).values()) == {"skipped"}
    shutil.rmtree(tmp_path / "front")
    (tmp_path / "copy").rename(tmp_path / "front")
    assert set(statuses(run(tmp_path / "rear", out, overwrite=True)).values()) == {"done"}


@pytest.mark.parametrize("name", ["latest", "latest/0001.jpg"])
def test_a_link_that_leads_to_another_day_does_not_overwrite_the_day_before(tmp_path, name):
    out = tmp_path / ("o.jpg" if name.endswith(".jpg") else "o")
    for number, day in enumerate(("monday", "tuesday")):
        picture(tmp_path / day / "0001.jpg", number)
    (tmp_path / "latest").symlink_to("monday")
    run(tmp_path / name, out)
    (tmp_path / "latest").unlink()
    (tmp_path / "latest").symlink_to("tuesday")
    with pytest.raises(BadSetting, match=r"was made of .*monday/0001\.jpg, not "):
        run(tmp_path / name, out)


@pytest.mark.parametrize("place", [".", "sub"])
def test_a_single_file_of_a_folder_is_recorded_in_the_folders_report(tmp_path, monkeypatch, place):
    source, out, name = tmp_path / "in", tmp_path / "out", (Path(place) / "a.jpg").as_posix()
    picture(source / place / "a.jpg")
    picture(source / "b.jpg", 1)
    run(source, out)
    monkeypatch.chdir(out / place)
    run(source / name, Path("a.jpg"), overwrite=True, **OTHER)
    assert [p.name for p in out.rglob("*.json")] == ["report.json"]
    made = {path: entry["made_with"] for path, entry in report_of(out).items()}
    assert made.keys() == {name, "b.jpg"}
    assert "normal_to_adverse" in made[name]
    assert "adverse_to_normal" in made["b.jpg"]


@pytest.mark.parametrize("part", ["out/sub", "link"])
def test_a_sub_folder_is_recorded_in_the_folders_report(night, tmp_path, part):
    out = tmp_path / "out"
    run(night, out)
    (tmp_path / "link").symlink_to("out/sub")
    run(night / "sub", tmp_path / part, overwrite=True, **OTHER)  # a BMP, which has no mark
    assert [p.name for p in out.rglob("*.json")] == ["report.json"]
    assert "normal_to_adverse" in report_of(out)["sub/b.bmp"]["made_with"]
    with pytest.raises(BadSetting, match="was made with"):
        run(night, out)


def test_a_folder_knows_what_runs_of_its_sub_folders_made(night, tmp_path):
    out = tmp_path / "out"
    run(night / "sub", out / "sub")  # a BMP, which has no mark
    assert statuses(run(night, out)) == {"a.jpg": "done", "b.bmp": "skipped"}
    run(night, out, overwrite=True, **OTHER)
    with pytest.raises(BadSetting, match="was made with"):  # the sub-folder's own report is older
        run(night / "sub" / "b.bmp", out / "sub" / "b.bmp")


def test_a_run_of_a_folder_takes_over_the_reports_of_its_parts(night, tmp_path):
    out = tmp_path / "o"
    run(night / "sub", out / "sub")
    run(night / "a.jpg", out / "a.jpg")
    picture(tmp_path / "more" / "c.bmp")
    run(tmp_path / "more", out / "sub")
    run(night, out, overwrite=True, **OTHER)
    assert [p.name for p in out.rglob("*.json")] == ["report.json"]
    assert {p.name for p in out.rglob(".gen-*")} == set()
    made = {name: "normal_to_adverse" in entry["made_with"] for name, entry in report_of(out).items()}
    assert made == {"a.jpg": True, "sub/b.bmp": True, "sub/c.bmp": False}


def test_a_run_of_a_part_keeps_what_the_report_says_of_the_folder(night, tmp_path):
    out = tmp_path / "o"
    for place in (night, night / "sub"):
        (place / "notes.txt").touch()
    run(night, out)
    (night / "sub" / "notes.txt").rename(night / "sub" / "more.txt")
    run(night / "sub", out / "sub", overwrite=True, **OTHER)
    run(night / "a.jpg", out / "a.jpg", overwrite=True, **OTHER)
    run(night / "a.jpg", out, overwrite=True, **OTHER)
    report = json.loads((out / "report.json").read_text())
    assert report["left_out"].keys() == {"notes.txt", "sub/more.txt"}
    assert report["settings"]["input"] == str(night)
    assert report["settings"]["direction"] == "adverse_to_normal"
    (night / "notes.txt").unlink()
    run(night, out, overwrite=True)
    assert json.loads((out / "report.json").read_text())["left_out"].keys() == {"sub/more.txt"}


def test_the_licences_of_all_pictures_stay_in_the_report(night, tmp_path):
    one, other = (save_tiny(tmp_path / name, ["night"]) for name in ("one", "other"))
    out = tmp_path / "o"

    def licences(source: Path, out_folder: Path, model: str, **more) -> list[str]:
        batch.translate(TranslateSettings(source, out_folder, model=model, **more))
        return list(json.loads((out / "report.json").read_text("utf-8"))["licences"])

    assert [licences(night, out, one) for _ in range(2)] == [[one], [one]]  # the second run finds all finished
    assert licences(night / "sub", out / "sub", other, overwrite=True) == [one, other]
    (out / "report.json").unlink()
    assert licences(night, out, other, overwrite=True) == [other]


def test_the_licence_of_weights_that_were_replaced_stays_while_their_pictures_do(night, tmp_path):
    out, model = tmp_path / "o", Path(save_tiny(tmp_path / "one", ["night"]))

    def licences(source: Path, out_folder: Path, licence: str) -> str:
        (model / "training.json").write_text(json.dumps({"weights_license": licence}))
        batch.translate(TranslateSettings(source, out_folder, model=str(model), overwrite=True))
        (text,) = json.loads((out / "report.json").read_text("utf-8"))["licences"].values()
        return text

    assert "research" in licences(night, out, "research-only")
    for _ in range(2):
        both = licences(night / "sub", out / "sub", "apache-2.0")
        assert (both.count("research"), both.count("Apache")) == (1, 1)
    assert "research" not in licences(night, out, "apache-2.0")


def test_nothing_is_said_of_the_size_of_what_was_not_made(tmp_path):
    (tmp_path / "in").mkdir()
    make_clip(tmp_path / "in" / "a.mp4", moving_bars(3))
    (tmp_path / "in" / "b.mp4").write_bytes(b"no clip")
    run(tmp_path / "in", tmp_path / "o")
    (tmp_path / "o" / "report.json").unlink()
    run(tmp_path / "in", tmp_path / "o")
    report = report_of(tmp_path / "o")
    assert report["a.mp4"]["status"] == "skipped"
    assert [[report[name][key] for key in ("width", "height", "frames")] for name in report] == [[None] * 3] * 2


def test_old_files_beside_a_translation_go_where_the_report_is_silent(tmp_path):
    source, out = picture(tmp_path / "in" / "a.png"), tmp_path / "o"
    make_clip(tmp_path / "in" / "b.mp4", list(moving_bars(3)))
    run(source.parent, out, compare=True)
    (out / "report.json").unlink()
    own = picture(out / "a.png.overlay.png")
    run(source.parent, out, overwrite=True)
    assert {p.name for p in out.iterdir()} == {"a.png", "b.mp4", "report.json", own.name}


def test_first_runs_of_a_folder_and_of_its_parts_do_not_write_one_file_at_once(night, tmp_path):
    out = tmp_path / "o"
    (out / "sub").mkdir(parents=True)
    with locked(out / "sub"):
        report = run(night, out)
    assert statuses(report) == {"a.jpg": "done", "b.bmp": "failed"}
    assert "another run is writing to this folder" in str(report.entries[1].error)
    shutil.rmtree(out)

    def begin_above(progress: object) -> None:
        with pytest.raises(BadSetting, match="another run is writing"):
            second.output().__enter__()

    second = Run(TranslateSettings(night / "sub", out / "sub", model="same"))
    run(night, out, Watch(tell=begin_above))


def test_a_failed_file_stays_in_the_report_while_its_input_is_there(tmp_path, monkeypatch):
    picture(tmp_path / "in" / "a.jpg").with_name("b.jpg").write_bytes(b"no picture")
    picture(tmp_path / "more" / "c.jpg")
    monkeypatch.chdir(tmp_path)
    run(Path("in"), Path("o"), compare=True)
    monkeypatch.chdir(tmp_path / "more")
    run(Path("."), tmp_path / "o")
    assert report_of(tmp_path / "o").keys() == {"a.jpg", "b.jpg", "c.jpg"}
    assert [report_of(tmp_path / "o")[name]["sides"] for name in ("a.jpg", "b.jpg")] == [["compare"], []]


@pytest.mark.parametrize("first", ["folder", "file"])
def test_a_single_file_and_a_folder_do_not_overwrite_each_other(tmp_path, first):
    picture(tmp_path / "in" / "a.jpg")
    commands = {
        "folder": (tmp_path / "in", tmp_path / "out"),
        "file": (picture(tmp_path / "other.jpg", 1), tmp_path / "out" / "a.jpg"),
    }
    run(*commands.pop(first))
    before = (tmp_path / "out" / "a.jpg").read_bytes()
    with pytest.raises(BadSetting, match=r"was made of .*, not .*"):
        run(*commands.popitem()[1])
    assert (tmp_path / "out" / "a.jpg").read_bytes() == before


def test_by_hash_the_content_decides(night, tmp_path):
    out = tmp_path / "o"
    run(night, out)
    assert set(statuses(run(night, out, hash=True)).values()) == {"done"}  # no hash was recorded
    assert set(statuses(run(night, out, hash=True)).values()) == {"skipped"}
    os.utime(night / "a.jpg", (1, 1))
    for _ in range(2):  # the mark tells of the old time, and the record goes on to
        assert set(statuses(run(night, out, hash=True)).values()) == {"skipped"}
    times = (night / "sub" / "b.bmp").stat()
    picture(night / "sub" / "b.bmp", 1)  # of the same size
    os.utime(night / "sub" / "b.bmp", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert statuses(run(night, out)) == {"a.jpg": "done", "b.bmp": "skipped"}
    assert statuses(run(night, out, hash=True))["b.bmp"] == "done"


def test_by_hash_another_translation_that_was_copied_over_one_is_not_it(night, tmp_path):
    picture(night / "c.jpg", 5)
    run(night, tmp_path / "o", hash=True)
    before = (tmp_path / "o" / "a.jpg").read_bytes()
    shutil.copy2(tmp_path / "o" / "c.jpg", tmp_path / "o" / "a.jpg")
    assert statuses(run(night, tmp_path / "o", hash=True)) == {"a.jpg": "done", "b.bmp": "skipped", "c.jpg": "skipped"}
    assert (tmp_path / "o" / "a.jpg").read_bytes() == before


def test_by_hash_a_run_that_was_stopped_has_not_finished_what_it_began(night, tmp_path):
    """The record of a job that has begun has the new input's hash, and the output is still that of the old one."""
    run(night, tmp_path / "o", hash=True)
    picture(night / "a.jpg", 3)
    with pytest.raises(KeyboardInterrupt):
        run(night, tmp_path / "o", Watch(stop=lambda: True), hash=True)
    assert statuses(run(night, tmp_path / "o", hash=True))["a.jpg"] == "done"


def test_verify_finds_what_the_header_does_not_show(night, tmp_path):
    out = tmp_path / "o"
    make_clip(night / "c.mp4", moving_bars(10))
    run(night, out)
    for name in ("a.jpg", "c.mp4"):
        data = (out / name).read_bytes()
        middle = len(data) // 2
        (out / name).write_bytes(data[:middle] if name == "a.jpg" else data[:middle] + bytes(len(data) - middle))
    assert statuses(run(night, out, verify=True))["a.jpg"] == "done"
    assert set(statuses(run(night, out, verify=True)).values()) == {"skipped"}


def test_verify_takes_no_clip_for_damaged_in_whose_source_frames_were_missing(tmp_path):
    (tmp_path / "in").mkdir()
    times = [0, *range(1040, 2200, 40)]
    make_clip(tmp_path / "in" / "c.mkv", moving_bars(len(times)), times=times)
    report = run(tmp_path / "in", tmp_path / "o")
    assert report.entries[0].warnings == ["Frames are missing for 1.0 s in all; the frame before is shown instead."]
    assert statuses(run(tmp_path / "in", tmp_path / "o", verify=True)) == {"c.mkv": "skipped"}


def test_pictures_above_pillows_limit_are_finished_too(night, tmp_path, monkeypatch):
    """A comparison of pictures of 61 megapixels, and pictures of 200, which a new process opens first of all."""
    run(night, tmp_path / "o", compare=True)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert set(statuses(run(night, tmp_path / "o", compare=True)).values()) == {"skipped"}
    monkeypatch.setattr(decode_still, "__defaults__", (24 * 32,))
    assert set(statuses(run(night, tmp_path / "o", compare=True, verify=True)).values()) == {"skipped"}


def test_side_files_count_by_their_kind(night, tmp_path):
    out = tmp_path / "o"
    run(night, out)
    assert set(statuses(run(night, out, compare=True)).values()) == {"done"}
    assert set(statuses(run(night, out, compare=True)).values()) == {"skipped"}
    (out / "a.jpg.compare.jpg").write_bytes(b"")
    assert statuses(run(night, out, compare=True)) == {"a.jpg": "done", "b.bmp": "skipped"}
    assert set(statuses(run(night, out)).values()) == {"skipped"}


def test_files_beside_a_translation_that_were_deleted_are_not_listed(tmp_path):
    picture(tmp_path / "in" / "a.jpg")
    out = tmp_path / "o"
    run(tmp_path / "in", out, compare=True)
    (out / "a.jpg.compare.jpg").unlink()
    assert statuses(run(tmp_path / "in", out)) == {"a.jpg": "skipped"}
    assert report_of(out)["a.jpg"]["sides"] == []


def test_files_beside_a_translation_go_when_it_is_replaced(tmp_path):
    """They show another translation, of another model or of another input."""
    source, out = picture(tmp_path / "in" / "a.png"), tmp_path / "o"
    clip = make_clip(tmp_path / "in" / "b.mp4", list(moving_bars(3)))
    sides = {"a.png.compare.png", "b.mp4.compare.mp4"}
    run(source.parent, out, compare=True)
    assert sides < {p.name for p in out.iterdir()}
    picture(source, 1)
    source.write_bytes(source.read_bytes()[:-60])
    assert statuses(run(source.parent, out))["a.png"] == "failed"
    picture(source, 2)
    (told,) = run(source.parent, out).warnings
    assert told.startswith("1 file that earlier settings had left beside translations, such as maps, was removed: ")
    assert told.endswith("a.png.compare.png.")
    assert {p.name for p in out.iterdir()} == {"a.png", "b.mp4", "b.mp4.compare.mp4", "report.json"}
    run(clip.parent, out, overwrite=True)
    assert {p.name for p in out.iterdir()} == {"a.png", "b.mp4", "report.json"}


def test_a_map_is_not_taken_for_its_raw_values(tmp_path):
    """Both lie in a.png.uncertainty.png."""
    from tests.translation.test_batch import AUGANGenerator, AUGANPipeline

    generator = AUGANGenerator(width=4, blocks=1, transfer_blocks=0, uncertainty=True, reconstruction=False)
    AUGANPipeline(generator, None, trained_height=32, trained_width=56).save_pretrained(tmp_path / "model")
    picture(tmp_path / "in" / "a.png")
    command = ["translate", str(tmp_path / "in"), str(tmp_path / "o"), "--model", str(tmp_path / "model")]
    for kind, status in (("map", "done"), ("raw", "done"), ("raw", "skipped")):
        assert main([*command, "--uncertainty", kind]) == 0
        assert report_of(tmp_path / "o")["a.png"]["status"] == status
    with Image.open(tmp_path / "o" / "a.png.uncertainty.png") as opened:
        assert opened.mode.startswith("I")


def test_a_map_is_not_taken_for_the_raw_values_that_a_run_was_stopped_before_it_wrote(tmp_path):
    from tests.translation.test_batch import AUGANGenerator, AUGANPipeline

    generator = AUGANGenerator(width=4, blocks=1, transfer_blocks=0, uncertainty=True, reconstruction=False)
    AUGANPipeline(generator, None, trained_height=32, trained_width=56).save_pretrained(tmp_path / "model")
    picture(tmp_path / "in" / "a.png")
    settings = TranslateSettings(tmp_path / "in", tmp_path / "o", model=str(tmp_path / "model"))
    batch.translate(replace(settings, uncertainty="map"))
    with pytest.raises(KeyboardInterrupt):
        batch.translate(replace(settings, uncertainty="raw"), watch=Watch(stop=lambda: True))
    assert statuses(batch.translate(settings)) == {"a.png": "skipped"}
    assert report_of(tmp_path / "o")["a.png"]["sides"] == ["map"]
    assert statuses(batch.translate(replace(settings, uncertainty="raw"))) == {"a.png": "done"}


def test_metadata_that_is_to_be_removed_is_not_left_by_an_earlier_run(night, tmp_path):
    run(night, tmp_path / "o")
    with pytest.raises(BadSetting, match="metadata removed"):
        run(night, tmp_path / "o", strip_metadata=True)


def test_pictures_of_another_quality_are_not_left_by_an_earlier_run(night, tmp_path):
    run(night, tmp_path / "out", quality=10)
    assert set(statuses(run(night, tmp_path / "out", quality=10)).values()) == {"skipped"}
    for quality in (95, 30):
        with pytest.raises(BadSetting, match="quality 10"):
            run(night, tmp_path / "out", quality=quality)


def test_files_keep_their_times(night, tmp_path):
    os.utime(night / "a.jpg", ns=(10**18 + 1, 10**18 + 123_456_789))
    make_clip(night / "c.mp4", moving_bars(3))
    os.utime(night / "c.mp4", ns=(10**18, 10**18 + 5))
    run(night, tmp_path / "o")
    for name in ("a.jpg", "c.mp4", "sub/b.bmp"):
        assert (tmp_path / "o" / name).stat().st_mtime_ns == (night / name).stat().st_mtime_ns
    run(night, tmp_path / "bare", strip_metadata=True)
    assert (tmp_path / "bare" / "a.jpg").stat().st_mtime_ns > 10**18 + 10**9


def test_an_input_that_changes_while_it_is_read_is_not_done(night, tmp_path, monkeypatch):
    work = Identity.translate_frames

    def changed(self, frames, direction, **options):
        picture(night / "a.jpg", 5)
        return work(self, frames, direction, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Identity, "translate_frames", changed)
        report = run(night, tmp_path / "o", batch_size=1, workers=1)
    assert statuses(report) == {"a.jpg": "failed", "b.bmp": "done"}
    assert "changed while it was read" in str(report.entries[0].error)
    assert not (tmp_path / "o" / "a.jpg").exists()
    assert statuses(run(night, tmp_path / "o")) == {"a.jpg": "done", "b.bmp": "skipped"}


def test_nan_becomes_null(night, tmp_path, monkeypatch):
    nothing = torch.full((1, 24, 32), torch.nan)
    monkeypatch.setattr(Identity, "translate_frames", lambda self, frames, *_, **options: (frames, nothing))
    run(night, tmp_path / "o")
    text = (tmp_path / "o" / "report.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["files"][0]["mean_uncertainty"] is None


# Kills, and two runs at once


def start(source: Path, out: Path, *more: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "tests.translation.identity", str(source), str(out), *more]
    return subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def many(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    for number in range(200):
        picture(folder / f"{number:03d}.bmp", number)
    return folder


def kill_at(process: subprocess.Popen, out: Path, files: int) -> int:
    """Kill it when so many files are there; returns how many there are then."""
    while len(list(out.glob("[0-9]*"))) < files and process.poll() is None:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return len(list(out.glob("[0-9]*")))


def test_after_a_kill_before_the_first_report_another_direction_is_refused(many, tmp_path):
    out = tmp_path / "o"
    found = kill_at(start(many, out), out, 30)
    assert 0 < found < 200
    assert not (out / "report.json").exists()
    with pytest.raises(BadSetting, match="was made with same, adverse_to_normal"):
        run(many, out, **OTHER)
    report = run(many, out)
    assert report.count("skipped") + report.count("done") == 200
    assert report.count("skipped") > 0
    assert not record_path(out / "report.json").exists()
    assert {p.name for p in out.iterdir()} == {p.name for p in many.iterdir()} | {"report.json"}


def test_pictures_are_recorded_as_soon_as_they_are_written(tmp_path):
    """A kill costs the pictures that are at work, not those that wait behind them to be recorded."""
    for number in range(6):
        picture(tmp_path / "in" / f"{number}.jpg", number)
    out, recorded = tmp_path / "o", []

    class Slow(Identity):
        def translate_frames(self, frames, direction, **options):
            time.sleep(0.2)
            recorded.append(record_path(out / "report.json").read_text().count('"done"'))
            return frames, None

    batch.translate(TranslateSettings(tmp_path / "in", out, model="same"), lambda settings: Slow())
    assert recorded[-1] >= 3, recorded


def test_a_cut_off_line_of_the_record_costs_its_file_alone(night, tmp_path):
    out = tmp_path / "o"
    run(night, out)
    report = json.loads((out / "report.json").read_text())
    (out / "report.json").unlink()
    lines = "\n".join(json.dumps({**file, "status": "done"}, ensure_ascii=False) for file in report["files"])
    record_path(out / "report.json").write_bytes(f"{lines}\n".encode() + '{"path": "夜'.encode()[:-1])
    assert set(statuses(run(night, out)).values()) == {"skipped"}


def test_two_runs_at_once_do_not_mix(many, tmp_path):
    out = tmp_path / "o"
    processes = [start(many, out), start(many, out, "direction=normal_to_adverse")]
    errors = [process.communicate()[1] for process in processes]
    refused = [error for error in errors if "another run is writing" in error or "was made with" in error]
    assert len(refused) == 1
    assert len({file["made_with"] for file in report_of(out).values()}) == 1
    assert len(report_of(out)) == 200


def test_the_second_run_names_the_folder_and_the_process(night, tmp_path):
    (tmp_path / "o").mkdir()
    with locked(tmp_path / "o"), pytest.raises(BadSetting, match=rf"{tmp_path}/o: .*process {os.getpid()}"):
        run(night, tmp_path / "o")
    run(night, tmp_path / "o")


def test_single_files_of_one_folder_may_be_written_at_once(night, tmp_path):
    (tmp_path / "o").mkdir()
    with locked(tmp_path / "o"):
        run(night / "a.jpg", tmp_path / "o" / "a.jpg")
    assert {p.name for p in (tmp_path / "o").iterdir()} == {"a.jpg", "a.report.json"}


def test_what_killed_runs_leave_is_swept_below_too(night, tmp_path):
    left = tmp_path / "o" / "sub" / "deeper" / f"{files._prefix()}999999999-0123.partial.png"
    elsewhere = left.with_name(".gen-other-1-0123.partial.png")
    left.parent.mkdir(parents=True)
    left.touch()
    elsewhere.touch()
    run(night, tmp_path / "o")
    assert not left.exists()
    assert elsewhere.exists()  # another machine may still be at work
    os.utime(elsewhere, (1, 1))
    run(night, tmp_path / "o")
    assert not elsewhere.exists()
