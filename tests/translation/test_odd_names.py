"""File names that no one would choose cost nothing, and neither do trees with links or with files of other kinds."""

import io
import json
import os
import sys
from pathlib import Path

import pytest

from gen import BadSetting
from gen.cli import main
from gen.media.files import fit_name
from tests.media.test_video import make_clip, moving_bars
from tests.translation.identity import picture, report_of, run, statuses
from tests.translation.test_weathers import save_tiny

CASES = Path(__file__).parents[3] / "shared" / "cases"
LONG = "夜" * 83 + "ab"  # 251 bytes
ODD = [
    os.fsdecode(b"caf\xe9.jpg"),
    os.fsdecode(b"\xff\xfe.png"),
    "two\nlines.jpg",
    "100%d.png",
    "%s%n%08d.jpg",
    "-rf.jpg",
    "--help.png",
    " lead.jpg",
    "trail.jpg ",
    "a  b\t.png",
    "'\"`$(x).jpg",
    "<b>&amp;.jpg",
    "nul\u200b\u2028.png",
    "UPPER.JPG",
    f"{LONG}.jpg",
    "[1-9]*?.png",
    "http:..x.jpg",
    "12:30.png",
    "~.jpg",
    "con.jpg",
    "a.jpg.jpg",
]


@pytest.fixture
def model(tmp_path) -> str:
    return save_tiny(tmp_path / "tiny", ["night"])


def test_odd_names_cost_nothing(tmp_path, model, monkeypatch):
    for number, name in enumerate(ODD):
        picture(tmp_path / "in" / name, number)
    strict = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")  # a terminal of the C locale
    monkeypatch.setattr(sys, "stdout", strict)
    out = tmp_path / "out"
    assert main(["translate", str(tmp_path / "in"), str(out), "--model", model]) == 0
    made = {os.fsencode(path.name) for path in out.iterdir()}
    assert made == {os.fsencode(name.rstrip()) for name in ODD} | {b"report.json"}
    report = report_of(out)
    assert {entry["status"] for entry in report.values()} == {"done"}
    odd = report["caf\\udce9.jpg"]
    assert bytes.fromhex(odd["path_hex"]) == b"caf\xe9.jpg"
    assert bytes.fromhex(odd["input_hex"]) == os.fsencode(tmp_path / "in") + b"/caf\xe9.jpg"
    assert main(["translate", str(tmp_path / "in"), str(out), "--model", model]) == 0
    assert {entry["status"] for entry in report_of(out).values()} == {"skipped"}


def test_odd_names_of_clips_and_their_side_files(tmp_path):
    names = [os.fsdecode(b"caf\xe9.mp4"), "100%d.mkv", "two\nlines.mov", f"{LONG}.avi", "-i.mp4"]
    source = make_clip(tmp_path / "clip.mkv", moving_bars(3))
    (tmp_path / "in").mkdir()
    for name in names:
        make_clip(tmp_path / "x.mp4" if name.endswith(("avi", "mp4")) else source, moving_bars(3))
        os.rename(make_clip(tmp_path / f"x{Path(name).suffix}", moving_bars(3)), tmp_path / "in" / name)
    report = run(tmp_path / "in", tmp_path / "out", compare=True)
    assert set(statuses(report).values()) == {"done"}, [entry.error for entry in report.entries]
    made = [path for path in (tmp_path / "out").iterdir() if path.name != "report.json"]
    assert len(made) == 2 * len(names)
    assert set(statuses(run(tmp_path / "in", tmp_path / "out", compare=True)).values()) == {"skipped"}


def test_an_odd_name_that_fails_is_one_line_on_any_terminal(tmp_path, model, capfd):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / os.fsdecode(b"caf\xe9.jpg")).write_text("no picture")
    assert main(["translate", str(tmp_path / "in"), str(tmp_path / "out"), "--model", model]) == 1
    assert "caf\\udce9.jpg" in capfd.readouterr().err
    json.loads((tmp_path / "out" / "report.json").read_text("utf-8"))


def test_odd_folders(tmp_path):
    for number, name in enumerate([os.fsdecode(b"n\xe4cht"), "two\nlines", "trail ", "100%d", "-x", LONG]):
        picture(tmp_path / "in" / name / "a.jpg", number)
    run(tmp_path / "in", tmp_path / os.fsdecode(b"\xff out"))
    assert len(list((tmp_path / os.fsdecode(b"\xff out")).glob("*/a.jpg"))) == 6
    report = run(tmp_path / "in", tmp_path / os.fsdecode(b"\xff out"))
    assert report.count("skipped") == 6


def test_single_files_with_long_names(tmp_path):
    source = picture(tmp_path / f"{LONG}.png")
    run(source, tmp_path / "o" / f"{LONG}.jpg")
    assert run(source, tmp_path / "o" / f"{LONG}.jpg").count("skipped") == 1
    for out in (tmp_path / "o" / f"{LONG}.webp", tmp_path / f"{LONG}12345" / "a.png"):
        with pytest.raises(BadSetting, match="more than 255 bytes"):
            run(source, out)


def test_names_that_are_cut_stay_apart():
    long = ["夜" * 90 + end for end in "ab"]
    cut = {fit_name(stem, ".compare.jpg") for stem in long}
    assert len(cut) == 2
    assert all(len(os.fsencode(name)) <= 255 and name.endswith(".compare.jpg") for name in cut)
    assert fit_name("a", ".jpg") == "a.jpg"


# Nothing is left out in silence


def test_what_is_not_read_is_said_and_costs_nothing(tmp_path, model, capsys):
    picture(tmp_path / "in" / "plain.jpg")
    for number in range(7):
        (tmp_path / "in" / f"{number}.xyz").touch()
    (tmp_path / "in" / "gone.jpg").symlink_to("nowhere")
    assert main(["translate", str(tmp_path / "in"), str(tmp_path / "out"), "--model", model]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "7 files not read (.xyz): not a picture or clip that gen reads" in lines
    assert "1 file not read (.jpg): broken link" in lines
    left_out = json.loads((tmp_path / "out" / "report.json").read_text())["left_out"]
    assert len(left_out) == 8
    assert left_out["gone.jpg"] == "broken link"


def test_the_shared_case_of_files_that_were_left_out(tmp_path, model):
    source = CASES / "left-out" / "in"
    if not source.is_dir():
        pytest.skip(f"no {source}")
    main(["translate", str(source), str(tmp_path / "out"), "--model", model])
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    named = {Path(file["input"]).name for file in report["files"]} | set(report["left_out"])
    assert named == {path.name for path in source.iterdir()}


def test_the_shared_case_of_linked_folders(tmp_path, model):
    """Made anew, because links do not survive every copy."""
    picture(tmp_path / "real" / "night" / "a.jpg")
    picture(tmp_path / "in" / "own.jpg")
    (tmp_path / "in" / "night").symlink_to("../real/night")
    assert main(["translate", str(tmp_path / "in"), str(tmp_path / "out"), "--model", model]) == 0
    assert set(report_of(tmp_path / "out")) == {"own.jpg", "night/a.jpg"}
