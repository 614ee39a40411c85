"""Full disks, vanished and read-only outputs, signals: one sentence, and nothing half-written is called done."""

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from gen import BadSetting
from gen.media.images import decode_still
from gen.translation.record import record_path
from tests.media.test_video import make_clip, moving_bars
from tests.translation.identity import Identity, picture, report_of, run, statuses

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def many(tmp_path) -> Path:
    for number in range(40):
        picture(tmp_path / "in" / f"{number:02d}.png", number)
    return tmp_path / "in"


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 1.1 MB, where this user may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1100k", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this user may not mount a small disk")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def all_whole(out: Path) -> int:
    """Decode every picture of a folder; returns their number. Nothing else may lie there but our records."""
    pictures = [p for p in out.iterdir() if not p.name.startswith(".gen-") and p.name != "report.json"]
    for path in pictures:
        decode_still(path)
    assert not list(out.glob("*partial*"))
    return len(pictures)


def test_a_full_disk_is_one_sentence_and_the_same_command_goes_on(tmp_path, many, small_disk, capfd):
    out = small_disk / "o"
    filler = small_disk / "filler"
    out.mkdir()
    filler.write_bytes(bytes(1_000_000))
    with pytest.raises(BadSetting, match=rf"{out}: the output cannot be written any more, because the disk is full"):
        run(many, out, workers=1)
    assert capfd.readouterr().err.count("failed:") <= 1
    found = all_whole(out)
    assert found < 40
    filler.unlink()
    report = run(many, out)
    assert report.count("done") + report.count("skipped") == 40
    assert report.count("skipped") == found
    assert not record_path(out / "report.json").exists()
    assert len(report_of(out)) == all_whole(out) == 40


@pytest.mark.parametrize(
    ("number", "reason"),
    [(errno.ENOSPC, "the disk is full"), (errno.EDQUOT, "quota is used up"), (errno.EROFS, "system is read-only")],
)
def test_a_disk_that_fills_up_amid_the_run(tmp_path, many, monkeypatch, number, reason, capfd):
    replace, fallocate, left = os.replace, os.posix_fallocate, [5]

    def full(source, target):
        if Path(target).suffix == ".png":
            if not left[0]:
                raise OSError(number, os.strerror(number))
            left[0] -= 1
        replace(source, target)

    def none_left(*arguments):
        if not left[0]:
            raise OSError(number, os.strerror(number))
        fallocate(*arguments)

    out = tmp_path / "o"
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        patch.setattr(os, "posix_fallocate", none_left)
        with pytest.raises(BadSetting, match=f"any more, because .*{reason}"):
            run(many, out, workers=1)
    assert capfd.readouterr().err.count("failed:") == 0
    assert all_whole(out) == 5
    assert reason in json.loads((out / "report.json").read_text())["stopped"]
    assert run(many, out).count("done") == 35


def test_clips_on_a_full_disk(tmp_path, small_disk):
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        make_clip(tmp_path / "in.mp4", moving_bars(3))
        (tmp_path / "in").mkdir(exist_ok=True)
        shutil.copy(tmp_path / "in.mp4", tmp_path / "in" / name)
    (small_disk / "filler").write_bytes(bytes(1_116_000))
    (small_disk / "o").mkdir()
    with pytest.raises(BadSetting, match="the disk is full"):
        run(tmp_path / "in", small_disk / "o")
    assert not list((small_disk / "o").glob("*.mp4"))


@pytest.mark.slow
def test_a_size_limit_fails_the_files_that_are_too_large(tmp_path, many):
    """`ulimit -f`: the small ones are written."""
    Image.effect_noise((2000, 2000), 100).save(many / "large.png")
    script = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 21, 1 << 21));"
        "from pathlib import Path; from tests.translation.identity import run, statuses;"
        "print(sorted(k for k, v in statuses(run(Path(sys.argv[1]), Path(sys.argv[2]))).items() if v == 'failed'))"
    )
    command = [sys.executable, "-c", script, str(many), str(tmp_path / "o")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.stdout == "['large.png']\n", done.stderr
    assert "File too large" in done.stderr
    assert all_whole(tmp_path / "o") == 40
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_an_output_folder_that_vanishes(tmp_path, many, monkeypatch):
    out = tmp_path / "o"
    work, seen = Identity.translate_frames, []

    def vanish(self, frames, direction, **options):
        seen.append(1)
        if len(seen) == 20:
            out.rename(tmp_path / "gone")  # at once: writers are at work
        return work(self, frames, direction, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Identity, "translate_frames", vanish)
        with pytest.raises(BadSetting, match=r"o: the output cannot be written any more, because the folder has vani"):
            run(many, out, workers=1)
    assert not out.exists()
    assert len(seen) < 40
    assert run(many, out).count("done") == 40


def test_an_input_folder_that_vanishes(tmp_path, many, monkeypatch):
    work = Identity.translate_frames

    def vanish(self, frames, direction, **options):
        shutil.rmtree(many, ignore_errors=True)
        return work(self, frames, direction, **options)

    monkeypatch.setattr(Identity, "translate_frames", vanish)
    report = run(many, tmp_path / "o", workers=1)
    assert report.count("done") + report.count("failed") == 40
    assert report.count("done") == all_whole(tmp_path / "o") > 0


def test_a_read_only_output(tmp_path, many, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    with pytest.raises(BadSetting, match="not writable"):
        run(many, tmp_path / "o")


@pytest.mark.slow
def test_sigterm_ends_like_ctrl_c(tmp_path, many):
    """As the command line does: the report is written, and nothing half-written is left."""
    script = (
        "import signal, sys; signal.signal(signal.SIGTERM, signal.default_int_handler);"
        "from pathlib import Path; from tests.translation.identity import Identity, run; import time;"
        "work = Identity.translate_frames;"
        "Identity.translate_frames = lambda self, *a, **o: (time.sleep(0.05), work(self, *a, **o))[1];"
        "run(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    out = tmp_path / "o"
    command = [sys.executable, "-c", script, str(many), str(out)]
    with subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True) as process:
        while not list(out.glob("[0-9]*.png")) and process.poll() is None:
            time.sleep(0.005)
        process.send_signal(signal.SIGTERM)
        said = process.communicate()[1]
    found = all_whole(out)
    assert 0 < found < 40
    written = json.loads((out / "report.json").read_text())
    done = written["totals"]["done"]
    assert (
        0 <= found - done <= 4
    )  # each encoder may have written a file that is not counted yet; the next run takes it up
    assert f"KeyboardInterrupt: {done} done, 0 finished before, 0 failed; run the same command to go on" in said
    assert written["stopped"] == "Ctrl-C"
    report = run(many, out)
    assert statuses(report) == {path.name: statuses(report)[path.name] for path in many.iterdir()}
    assert report.count("skipped") == found
