"""The folder tool on real trees: every kind of file, broken ones between them, killed and taken up again."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from gen import AUGANPipeline
from gen.augan.networks import AUGANGenerator
from gen.cli import main
from gen.media.ahead import batches, iterate_ahead, map_ahead
from gen.media.images import decode_still
from gen.media.video import ClipFrame, ClipReader
from gen.translation.clips import split_at_cuts
from gen.translation.maps import decode_uncertainty_raw
from gen.translation.network import Network
from tests.conftest import street
from tests.media.test_images import write_with_broken_exif
from tests.media.test_video import make_clip, moving_bars, show_times

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model")
    shape = {"width": 4, "blocks": 1, "reconstruction": False}
    AUGANPipeline(
        AUGANGenerator(transfer_blocks=1, uncertainty=True, **shape),
        AUGANGenerator(transfer_blocks=0, uncertainty=False, **shape),
        trained_height=32,
        trained_width=56,
    ).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def tree(tmp_path) -> Path:
    """What a person's folder holds: good files of all kinds, and bad ones."""
    root = tmp_path / "in"
    (root / "rear").mkdir(parents=True)
    night = street(np.random.default_rng(0), 48, 64, True)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (52.0, 30.0, 0.0)
    Image.fromarray(night).save(root / "turned.jpg", exif=exif)
    Image.fromarray(night).save(root / "rear" / "夜 été.png")
    Image.fromarray(night).convert("CMYK").save(root / "cmyk.jpg")
    Image.fromarray(night[..., 0].astype(np.uint16) * 257).save(root / "deep.png")
    alpha = Image.fromarray(np.linspace(0, 255, 48 * 64).reshape(48, 64).astype(np.uint8))
    glass = Image.fromarray(night)
    glass.putalpha(alpha)
    glass.save(root / "rear" / "alpha.webp", lossless=True)
    (root / "corrupt.jpg").write_bytes((root / "cmyk.jpg").read_bytes()[:300])
    (root / "zero.png").touch()
    make_clip(root / "rear" / "drive.mp4", moving_bars(6), sound="aac")
    data = make_clip(root / "cut.mp4", moving_bars(20)).read_bytes()
    (root / "cut.mp4").write_bytes(data[: len(data) // 2])
    (root / "notes.txt").write_text("not a picture")
    return root


BAD = {"corrupt.jpg", "zero.png", "cut.mp4"}
GOOD = {"turned.jpg", "rear/夜 été.png", "cmyk.jpg", "deep.png", "rear/alpha.webp", "rear/drive.mp4"}


def files_below(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def report_of(out: Path) -> dict[str, dict]:
    return {Path(f["input"]).name: f for f in json.loads((out / "report.json").read_text())["files"]}


def test_a_tree_with_good_and_bad_files(tree, tmp_path, model, capsys):
    out = tmp_path / "out"
    assert main(["translate", str(tree), str(out), "--model", model]) == 1
    assert files_below(out) == GOOD | {"report.json"}
    report = report_of(out)
    assert {Path(name).name for name in BAD} == {n for n, f in report.items() if f["status"] == "failed"}
    for name in BAD:
        assert Path(name).name in report[Path(name).name]["error"]
    assert decode_still(out / "turned.jpg").rgb.shape == (64, 48, 3)
    exif = Image.open(out / "turned.jpg").getexif()
    assert exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] == (52.0, 30.0, 0.0)
    assert "not a photograph" in exif[ExifTags.Base.ImageDescription]
    assert decode_still(out / "rear" / "alpha.webp").alpha is not None
    assert report["deep.png"]["mean_uncertainty"] >= 12.75
    assert report["deep.png"]["p95_uncertainty"] >= report["deep.png"]["mean_uncertainty"] - 1e-3
    assert report["drive.mp4"]["frames"] == 6
    errors = {f"{which}_warp_error" for which in ("source", "output", "added")}
    assert set(report["drive.mp4"]["flicker"]) == errors | {"source_e_warp", "output_e_warp"}
    told = capsys.readouterr().out
    assert re.search(
        r"drive.mp4: 6 frames, source_warp_error .*added_warp_error -?[\d.]+ grey levels, source_e_warp ", told
    )
    e_warp = report["drive.mp4"]["flicker"]["output_e_warp"]
    assert f"output_e_warp {e_warp:.2g}\n" in told  # in squares of 0 to 1, of which two decimals are nothing


def test_the_translation_is_the_pipelines(tree, tmp_path, model):
    main(["translate", str(tree / "rear" / "夜 été.png"), str(tmp_path / "day.png"), "--model", model])
    by_hand = AUGANPipeline.from_pretrained(model)(tree / "rear" / "夜 été.png", output_type="np")
    np.testing.assert_array_equal(decode_still(tmp_path / "day.png").rgb, by_hand.images[0])
    report = json.loads((tmp_path / "day.report.json").read_text())["files"][0]
    assert report["mean_uncertainty"] == pytest.approx(by_hand.uncertainty[0].mean(), rel=1e-5)


def test_finished_files_are_not_done_again_and_missing_ones_are(tree, tmp_path, model):
    out = tmp_path / "out"
    arguments = ["translate", str(tree), str(out), "--model", model]
    main(arguments)
    before = {name: (out / name).stat().st_ctime_ns for name in GOOD}
    (out / "deep.png").unlink()
    main(arguments)
    after = {name: (out / name).stat().st_ctime_ns for name in GOOD}
    assert {name for name in GOOD if before[name] != after[name]} == {"deep.png"}
    assert {n for n, f in report_of(out).items() if f["status"] == "done"} == {"deep.png"}
    assert report_of(out)["cmyk.jpg"]["seconds"] > 0  # kept from the first run
    main([*arguments, "--overwrite"])
    assert all((out / name).stat().st_ctime_ns > after[name] for name in GOOD)


@pytest.mark.parametrize("kind", ["map", "overlay", "raw"])
def test_side_files(tree, tmp_path, model, kind):
    out = tmp_path / "out"
    arguments = ["translate", str(tree), str(out), "--model", model, "--uncertainty", kind, "--compare"]
    assert main(arguments) == 1
    still, clip = {
        "map": ("deep.png.uncertainty.png", "rear/drive.mp4.uncertainty.mp4"),
        "overlay": ("deep.png.overlay.png", "rear/drive.mp4.overlay.mp4"),
        "raw": ("deep.png.uncertainty.png", "rear/drive.mp4.uncertainty.zip"),
    }[kind]
    made = files_below(out)
    assert {still, clip, "deep.png.compare.png", "rear/drive.mp4.compare.mp4"} <= made
    assert len(made) == 3 * len(GOOD) + 1
    assert decode_still(out / "deep.png.compare.png").rgb.shape == (48, 3 * 64, 3)
    if kind == "raw":
        mean = decode_uncertainty_raw(out / still).mean()
        assert mean == pytest.approx(report_of(out)["deep.png"]["mean_uncertainty"], abs=0.01)
    with ClipReader(out / "rear" / "drive.mp4.compare.mp4") as reader:
        assert (reader.height, reader.width, len(list(reader))) == (48, 192, 6)
    (out / still).unlink()
    main(arguments)
    assert {n for n, f in report_of(out).items() if f["status"] == "done"} == {"deep.png"}
    assert main(["translate", str(out), str(tmp_path / "again"), "--model", model]) == 0
    assert not [n for n in files_below(tmp_path / "again") if "uncertainty" in n or "compare" in n or "overlay" in n]


def test_formats_and_metadata_options(tree, tmp_path, model):
    out = tmp_path / "out"
    main(["translate", str(tree), str(out), "--model", model, "--format", "png", "--strip-metadata"])
    assert "turned.png" in files_below(out)
    exif = Image.open(out / "turned.png").getexif()
    assert not exif.get_ifd(ExifTags.IFD.GPSInfo)
    assert "not a photograph" in exif[ExifTags.Base.ImageDescription]


def test_clips_keep_time_sound_and_size(tmp_path, model):
    clip = make_clip(tmp_path / "in.mkv", moving_bars(7, 47, 63), sound="aac", times=[0, 40, 80, 200, 240, 500, 540])
    assert main(["translate", str(clip), str(tmp_path / "out.mkv"), "--model", model, "--batch-size", "3"]) == 0
    with ClipReader(tmp_path / "out.mkv") as out:
        assert (out.height, out.width) == (47, 63)
        assert out.container.streams.audio[0].codec_context.name == "aac"
    np.testing.assert_allclose(show_times(tmp_path / "out.mkv"), show_times(clip), atol=2e-3)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_smoothing_is_on_for_clips_and_can_be_turned_off(tmp_path, model, batch_size):
    """A lamp that flashes: with smoothing the translation adds less change of its own."""
    frames = [np.clip(f * 0.4 + (30 if i % 2 else 0) * (np.arange(64) > 48)[None, :, None], 0, 255).astype(np.uint8)
              for i, f in enumerate([moving_bars(1)[0]] * 12)]  # fmt: skip
    clip = make_clip(tmp_path / "in.mp4", frames)
    added = {}
    for seconds, share in (("0.5", "0"), ("0", "0"), ("0", "0.5")):
        out = tmp_path / f"out{seconds}{share}.mp4"
        command = ["translate", str(clip), str(out), "--model", model, "--smooth", seconds, "--steady", share]
        assert main([*command, "--batch-size", str(batch_size)]) == 0
        report = json.loads(out.with_name(f"{out.stem}.report.json").read_text())["files"][0]
        added[seconds, share] = report["flicker"]["added_warp_error"]
    assert added["0.5", "0"] < added["0", "0"]
    assert added["0", "0.5"] < added["0", "0"]


def interrupt(tmp_path: Path, model: str, number: signal.Signals) -> tuple[Path, Path, int, str]:
    """Translate 150 pictures in a process of its own, and signal it when the first is done."""
    night, out = tmp_path / "in", tmp_path / "out"
    night.mkdir()
    for i in range(150):
        Image.fromarray(street(np.random.default_rng(i), 120, 200, True)).save(night / f"{i:03d}.png")
    command = [sys.executable, str(REPOSITORY / "scripts" / "translate.py"), str(night), str(out), "--model", model]
    # A shell's background job is born deaf to Ctrl-C, and so would be its children: the tests may be such a job.
    listening = partial(signal.signal, signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, preexec_fn=listening
    ) as process:
        while not list(out.glob("[0-9]*.png")) and process.poll() is None:
            time.sleep(0.005)
        process.send_signal(number)
        errors = process.communicate()[1]
    return night, out, process.returncode, errors


def test_a_killed_run_leaves_no_half_file_and_is_taken_up_again(tmp_path, model):
    night, out, status, _ = interrupt(tmp_path, model, signal.SIGKILL)
    assert status == -signal.SIGKILL
    finished = {p.name for p in out.glob("[0-9]*.png")}
    assert 0 < len(finished) < 150
    for name in finished:
        assert decode_still(out / name).rgb.shape == (120, 200, 3)
    assert main(["translate", str(night), str(out), "--model", model]) == 0
    assert files_below(out) == {p.name for p in night.iterdir()} | {"report.json"}
    skipped = {n for n, f in report_of(out).items() if f["status"] == "skipped"}
    assert skipped == finished
    for name in finished:
        assert (out / name).stat().st_mtime_ns == (night / name).stat().st_mtime_ns


def test_ctrl_c_writes_the_report_and_leaves_130(tmp_path, model):
    _, out, status, errors = interrupt(tmp_path, model, signal.SIGINT)
    assert status == 130
    assert "Traceback" not in errors
    done = {n for n, f in report_of(out).items() if f["status"] == "done"}
    assert 0 < len(done) < 150
    assert not [p for p in out.iterdir() if "partial" in p.name]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--direction", "normal_to_adverse", "--uncertainty", "map"], "has none"),
        (["--resolution", "big"], "resolution"),
        (["--resolution", "0x5"], "resolution"),
        (["--quality", "0"], "quality"),
        (["--workers", "0"], "workers"),
        (["--smooth", "-1"], "smooth"),
        (["--steady", "1"], "steady"),
        (["--model", "nowhere"], "unknown model 'nowhere'"),
        (["--device", "cuda:9"], "device"),
    ],
)
def test_wrong_settings_are_told_in_a_sentence_before_any_work(tree, tmp_path, model, capsys, more, message):
    assert main(["translate", str(tree), str(tmp_path / "out"), "--model", model, *more]) == 1
    assert message in capsys.readouterr().err
    assert not files_below(tmp_path / "out")


@pytest.mark.parametrize("place", ["under a file", "read-only"])
def test_an_output_that_cannot_be_written(tree, tmp_path, model, capsys, place):
    out = tmp_path / "out"
    if place == "under a file":
        out.write_text("a file")
        out = out / "sub"
    else:
        out.mkdir()
        out.chmod(0o555)
        if os.access(out, os.W_OK):
            pytest.skip("this user may write anywhere")
    assert main(["translate", str(tree), str(out), "--model", model]) == 1
    assert str(out) in capsys.readouterr().err


def test_an_input_is_never_written_over(tree, model, capsys):
    before = {p: p.read_bytes() for p in tree.rglob("*") if p.is_file()}
    assert main(["translate", str(tree), str(tree), "--model", model]) == 1
    assert before == {p: p.read_bytes() for p in tree.rglob("*") if p.is_file()}


def test_one_impossible_clip_does_not_end_the_run(tmp_path, model, monkeypatch):
    """A failure that nobody foresaw, in the midst of a clip."""
    (tmp_path / "in").mkdir()
    for name in ("a.mp4", "b.mp4"):
        make_clip(tmp_path / "in" / name, moving_bars(3))

    def surprised(self, frames, smoother=None, work=Network.__call__, seen=[]):  # noqa: B006
        seen.append(1)
        if len(seen) == 2:
            raise ZeroDivisionError("a surprise")
        return work(self, frames, smoother)

    monkeypatch.setattr(Network, "__call__", surprised)
    assert main(["translate", str(tmp_path / "in"), str(tmp_path / "out"), "--model", model]) == 1
    report = report_of(tmp_path / "out")
    assert (report["a.mp4"]["status"], report["b.mp4"]["status"]) == ("failed", "done")
    assert "a.mp4: a surprise" in report["a.mp4"]["error"]
    assert files_below(tmp_path / "out") == {"b.mp4", "report.json"}


def test_a_model_without_a_head_says_so_and_compares_two_panels(tmp_path, model):
    plain = tmp_path / "plain"
    one_way = AUGANGenerator(width=4, blocks=1, transfer_blocks=0, uncertainty=False, reconstruction=False)
    AUGANPipeline(one_way, None, trained_height=32, trained_width=56).save_pretrained(plain)
    clip = make_clip(tmp_path / "in.mp4", moving_bars(3))
    arguments = ["translate", str(clip), str(tmp_path / "out.mp4"), "--model", str(plain)]
    assert main([*arguments, "--uncertainty", "map"]) == 1
    assert not (tmp_path / "out.mp4").exists()
    assert main([*arguments, "--compare"]) == 0
    with ClipReader(tmp_path / "out.mp4.compare.mp4") as reader:
        assert (reader.height, reader.width) == (48, 128)


def test_smoothing_begins_anew_after_a_cut(tmp_path):
    left, right = moving_bars(2), [np.flip(255 - f, axis=1) for f in moving_bars(2)]
    frames = [ClipFrame(rgb, i) for i, rgb in enumerate([*left, *right, *left])]
    assert [scene for scene, _ in split_at_cuts(frames)] == [0, 0, 1, 1, 2, 2]


def test_side_files_of_pictures_with_one_stem_are_apart(tmp_path, model):
    (tmp_path / "in").mkdir()
    for suffix in ("jpg", "png"):
        Image.fromarray(street(np.random.default_rng(0), 48, 64, True)).save(tmp_path / "in" / f"a.{suffix}")
    arguments = [str(tmp_path / "in"), str(tmp_path / "out"), "--model", model, "--uncertainty", "map", "--compare"]
    assert main(["translate", *arguments]) == 0
    assert len(files_below(tmp_path / "out")) == 2 * 3 + 1


def test_maps_of_like_names_do_not_meet(tmp_path, model):
    root, out = tmp_path / "in", tmp_path / "out"
    root.mkdir()
    for i, name in enumerate(["a.png", "a.bmp"]):
        Image.fromarray(street(np.random.default_rng(i), 48, 64, True)).save(root / name)
    arguments = ["translate", str(root), str(out), "--model", model, "--uncertainty", "raw"]
    assert main(arguments) == 0
    for name in ("a.png", "a.bmp"):
        mean = decode_uncertainty_raw(out / f"{name}.uncertainty.png").mean()
        assert mean == pytest.approx(report_of(out)[name]["mean_uncertainty"], abs=0.01)
    main(arguments)
    assert {f["status"] for f in report_of(out).values()} == {"skipped"}


def test_an_output_inside_the_input_is_taken_up_again(tree, model, monkeypatch):
    """First named in full, then from the folder itself: what was translated is not translated again."""
    arguments = ["--model", model, "--uncertainty", "map", "--compare"]
    assert main(["translate", str(tree), str(tree / "day"), *arguments]) == 1
    made = files_below(tree / "day")
    monkeypatch.chdir(tree)
    assert main(["translate", ".", str(tree / "day"), *arguments]) == 1
    assert files_below(tree / "day") == made
    assert {n for n, f in report_of(tree / "day").items() if f["status"] == "skipped"} == {Path(n).name for n in GOOD}


def test_a_failure_of_any_kind_concerns_its_file_alone(tmp_path, model):
    """WebP ends at 16383 pixels: the picture fits, three beside each other do not. A camera with odd EXIF."""
    root, out = tmp_path / "in", tmp_path / "out"
    root.mkdir()
    Image.fromarray(np.full((8, 6000, 3), 40, np.uint8)).save(root / "wide.webp")
    Image.fromarray(np.full((8, 60, 3), 40, np.uint8)).save(root / "usual.webp")
    write_with_broken_exif(root / "odd.jpg")
    assert main(["translate", str(root), str(out), "--model", model, "--compare"]) == 1
    assert {n: f["status"] for n, f in report_of(out).items()} == {
        "odd.jpg": "done",
        "usual.webp": "done",
        "wide.webp": "failed",
    }
    assert "wide.webp.compare.webp" in report_of(out)["wide.webp"]["error"]
    made = {"usual.webp", "usual.webp.compare.webp", "odd.jpg", "odd.jpg.compare.jpg"}
    assert files_below(out) == made | {"report.json"}


def test_failures_go_to_the_error_stream_and_one_line_sums_up(tree, tmp_path, model, capsys):
    main(["translate", str(tree), str(tmp_path / "out"), "--model", model])
    printed = capsys.readouterr()
    assert printed.out.splitlines()[-1].startswith(f"{len(GOOD)} done, 0 finished before, {len(BAD)} failed")
    assert "failed" not in "".join(printed.out.splitlines()[:-1])
    for name in BAD:
        assert printed.err.count(f"failed: {tree / name}:") == 1


def test_a_folder_does_not_mix_pictures_of_two_kinds(tree, tmp_path, model, capsys):
    arguments = ["translate", str(tree), str(tmp_path / "out"), "--model", model]
    main(arguments)
    before = (tmp_path / "out" / "report.json").read_text()
    assert main([*arguments, "--direction", "normal_to_adverse"]) == 1
    assert "made with" in capsys.readouterr().err
    assert (tmp_path / "out" / "report.json").read_text() == before
    assert main([*arguments, "--direction", "normal_to_adverse", "--overwrite"]) == 1  # only the broken files
    assert report_of(tmp_path / "out")["deep.png"]["status"] == "done"


def test_day_to_night(tree, tmp_path, model):
    arguments = [str(tree / "cmyk.jpg"), str(tmp_path / "night.jpg"), "--direction", "normal_to_adverse"]
    assert main(["translate", *arguments, "--model", model, "--compare"]) == 0
    assert decode_still(tmp_path / "night.jpg.compare.jpg").rgb.shape == (48, 128, 3)


def test_look_ahead_is_in_order_and_within_bounds():
    from concurrent.futures import ThreadPoolExecutor

    drawn: list[int] = []

    def source():
        for i in range(50):
            drawn.append(i)
            yield i

    with ThreadPoolExecutor(2) as pool:
        for consumed, value in enumerate(map_ahead(pool, lambda i: i * i, source(), window=5)):
            assert value == consumed * consumed
            assert len(drawn) <= consumed + 5
    drawn.clear()
    with ThreadPoolExecutor(1) as pool:
        for consumed, value in enumerate(iterate_ahead(pool, source(), window=5)):
            assert value == consumed
            assert len(drawn) <= consumed + 6
    assert [list(b) for b in batches([1, 3, 5, 2, 7, 9, 11, 13], 3, lambda i: i % 2)] == [
        [1, 3, 5],
        [2],
        [7, 9, 11],
        [13],
    ]


def test_a_resolution_is_width_by_height_and_the_old_order_is_refused(tmp_path, model, capsys):
    """Reports of version 0.1, which said HEIGHTxWIDTH, still count for the same size."""
    picture, out = tmp_path / "in.png", tmp_path / "out"
    Image.fromarray(street(np.random.default_rng(0), 48, 64, True)).save(picture)
    assert main(["translate", str(picture), str(out), "--model", model, "--resolution", "32x64"]) == 1
    assert "did you mean 64x32?" in capsys.readouterr().err
    assert main(["translate", str(picture), str(out), "--model", model, "--resolution", "64x32"]) == 0
    by_hand = AUGANPipeline.from_pretrained(model)(picture, resolution=(32, 64), output_type="np")
    np.testing.assert_array_equal(decode_still(out / "in.png").rgb, by_hand.images[0])
    report = json.loads((out / "report.json").read_text())
    report["files"][0]["made_with"] = f"{model}, adverse_to_normal, resolution 32x64"  # as version 0.1 wrote it
    (out / "report.json").write_text(json.dumps(report))
    assert main(["translate", str(picture), str(out), "--model", model, "--resolution", "64x32"]) == 0
    assert report_of(out)["in.png"]["status"] == "skipped"
    assert main(["translate", str(picture), str(out), "--model", model, "--resolution", "60x30"]) == 1
    assert "60 wide 30 high" in capsys.readouterr().err


def test_seconds_are_the_pictures_own_and_not_its_wait(tmp_path, model, monkeypatch):
    source = tmp_path / "in"
    source.mkdir()
    for n in range(6):
        Image.fromarray(street(np.random.default_rng(n), 32, 56, True)).save(source / f"{n}.png")
    work = Network.__call__

    def slow(self, frames, smoother=None):
        time.sleep(0.3)
        return work(self, frames, smoother)

    monkeypatch.setattr(Network, "__call__", slow)
    assert main(["translate", str(source), str(tmp_path / "one"), "--model", model]) == 0
    assert main(["translate", str(source), str(tmp_path / "three"), "--model", model, "--batch-size", "3"]) == 0
    alone, shared = ([f["seconds"] for f in report_of(tmp_path / name).values()] for name in ("one", "three"))
    assert all(0.3 <= seconds < 1 for seconds in alone)  # the last one waited for 1.5 seconds
    assert all(0.1 <= seconds < 0.3 for seconds in shared)


@pytest.mark.parametrize(("resolution", "warned"), [("auto", 0), ("56x32", 0), ("native", 1), ("112x64", 1)])
def test_sizes_far_beyond_the_trained_rows_draw_one_warning(tmp_path, model, capsys, resolution, warned):
    source = tmp_path / "in"
    source.mkdir()
    for n in range(2):
        Image.fromarray(street(np.random.default_rng(n), 64, 112, True)).save(source / f"{n}.png")
    command = ["translate", str(source), str(tmp_path / "out"), "--model", model, "--resolution", resolution]
    for _ in range(2):  # the second run finds them finished
        assert main(command) == 0
        assert capsys.readouterr().out.count("was trained at 32 rows and ran at 64 rows") == warned
        assert [len(file["warnings"]) for file in report_of(tmp_path / "out").values()] == [warned, warned]


@pytest.mark.parametrize(
    ("options", "named"), [((), ""), (("--start", "1", "--duration", "2"), "--start and --duration")]
)
def test_a_part_of_no_clip_is_told(tmp_path, model, capsys, options, named):
    source = tmp_path / "in"
    source.mkdir()
    Image.fromarray(street(np.random.default_rng(0), 32, 56, True)).save(source / "a.png")
    assert main(["translate", str(source), str(tmp_path / "out"), "--model", model, *options]) == 0
    said = capsys.readouterr().out
    assert (f"there is no clip, so {named} changed nothing" in said) == bool(named)


@pytest.mark.parametrize(
    ("output", "format", "told"),
    [
        ("x.png", "jpg", True),
        ("x.png", "png", False),
        ("x.JPEG", "jpg", False),
        ("x.png", "keep", False),
        ("folder", "jpg", False),
    ],
)
def test_a_format_that_the_output_s_name_overrules_is_told(tmp_path, model, capsys, output, format, told):
    Image.fromarray(street(np.random.default_rng(0), 32, 56, True)).save(tmp_path / "a.png")
    out = tmp_path / output
    assert main(["translate", str(tmp_path / "a.png"), str(out), "--model", model, "--format", format]) == 0
    assert (f"--format {format} changed nothing: the name {out} says" in capsys.readouterr().out) == told


def test_how_much_was_made_up_is_said():
    from gen.translation.report import Entry, Report

    report = Report({})
    assert report.invented() is None
    for name, share in {"a": 0.1, "b": 0.4, "c": None}.items():
        report.add(Entry(name, f"out/{name}", "still", "done", "x", mean_invented=share))
    assert report.invented() == "made up: 25% of a frame on average, most in out/b (40%)"
