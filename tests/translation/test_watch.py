"""`gen translate IN OUT --watch`: new files as they come, whole, until Ctrl-C."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gen import BadSetting
from gen.translation import engine
from gen.translation.record import record_path
from gen.translation.report import Report
from gen.translation.watch import Watch
from tests.translation.identity import picture, report_of, run, statuses

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(engine, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(engine, "SETTLE_SECONDS", 0.15)


class Watching:
    """A run in a thread that watches."""

    def __init__(self, source: Path, out: Path, **settings) -> None:
        self.stopped, self.found = threading.Event(), []
        self.thread = threading.Thread(target=self._run, args=(source, out, settings))

    def _run(self, source, out, settings) -> None:
        try:
            self.found.append(run(source, out, Watch(stop=self.stopped.is_set), watch=True, **settings))
        except Exception as error:
            self.found.append(error)

    def __enter__(self) -> "Watching":
        self.thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.stopped.set()
        self.thread.join()

    @property
    def report(self) -> Report:
        assert isinstance(self.found[0], Report), self.found
        return self.found[0]


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def record(out: Path) -> str:
    """What the run has noted so far."""
    path = record_path(out / "report.json")
    return path.read_text() if path.exists() else ""


def test_a_new_file_that_wants_the_output_of_another(tmp_path):
    source, out = tmp_path / "in", tmp_path / "o"
    picture(source / "a.gif")
    with Watching(source, out) as watching:
        wait_for((out / "a.png").exists)
        picture(source / "a.png", 1)
        wait_for(lambda: not (out / "a.png").exists() and (out / "a.gif.png").exists() and (out / "a.png.png").exists())
    assert statuses(watching.report) == {"a.gif.png": "done", "a.png.png": "done"}
    assert set(report_of(out)) == {"a.gif.png", "a.png.png"}


def test_files_are_translated_as_they_come(tmp_path):
    """Those of the beginning, new ones, in new folders, and behind new links; the model is loaded once."""
    source, out = tmp_path / "in", tmp_path / "o"
    picture(source / "a.jpg")
    picture(tmp_path / "card" / "d.jpg")
    with Watching(source, out) as watching:
        wait_for((out / "a.jpg").exists)
        picture(source / "b.jpg", 1)
        picture(source / "new" / "c.jpg", 2)
        wait_for(lambda: (out / "b.jpg").exists() and (out / "new" / "c.jpg").exists())
        (source / "card").symlink_to(tmp_path / "card")
        wait_for((out / "card" / "d.jpg").exists)
    assert statuses(watching.report) == dict.fromkeys(["a.jpg", "b.jpg", "c.jpg", "d.jpg"], "done")
    assert set(report_of(out)) == {"a.jpg", "b.jpg", "new/c.jpg", "card/d.jpg"}
    assert run(source, out).count("skipped") == 4


def test_a_folder_may_be_empty_at_first_or_go_away(tmp_path):
    source, out = tmp_path / "in", tmp_path / "o"
    source.mkdir()
    with Watching(source, out) as watching:
        time.sleep(0.1)
        source.rmdir()
        time.sleep(0.1)
        picture(source / "a.jpg")
        wait_for((out / "a.jpg").exists)
    assert statuses(watching.report) == {"a.jpg": "done"}


def test_a_file_that_still_grows_is_not_read(tmp_path):
    source, out = tmp_path / "in", tmp_path / "o"
    data = picture(tmp_path / "whole.jpg").read_bytes()
    source.mkdir()
    with Watching(source, out) as watching:
        with (source / "a.jpg").open("wb") as file:
            for byte in range(0, len(data), len(data) // 20 + 1):
                file.write(data[byte : byte + len(data) // 20 + 1])
                file.flush()
                time.sleep(0.03)
                assert not (out / "a.jpg").exists()
        wait_for((out / "a.jpg").exists)
    assert statuses(watching.report) == {"a.jpg": "done"}


def test_files_that_have_come_too_late_are_named(tmp_path, monkeypatch):
    source, out = tmp_path / "in", tmp_path / "o"
    picture(source / "a.jpg")
    with Watching(source, out) as watching:
        wait_for((out / "a.jpg").exists)
        monkeypatch.setattr(engine, "SETTLE_SECONDS", 60)
        picture(source / "b.jpg")
        time.sleep(0.1)
    late = f"1 file not translated yet, for example {source / 'b.jpg'}; run the same command again."
    assert watching.report.warnings == [late]
    assert f"warning: {late}" in watching.report.remarks()
    assert run(source, out).warnings == []


def test_a_file_that_has_changed_too_late_is_named(tmp_path, monkeypatch):
    source, out = tmp_path / "in", tmp_path / "o"
    picture(source / "a.jpg")
    with Watching(source, out) as watching:
        wait_for((out / "a.jpg").exists)
        monkeypatch.setattr(engine, "SETTLE_SECONDS", 60)
        picture(source / "a.jpg", seed=1, quality=30)
        time.sleep(0.1)
    late = f"1 file not translated yet, for example {source / 'a.jpg'}; run the same command again."
    assert watching.report.warnings == [late]


def test_a_broken_file_is_tried_again_when_it_changes(tmp_path):
    source, out = tmp_path / "in", tmp_path / "o"
    source.mkdir()
    (source / "a.jpg").write_text("no picture")
    with Watching(source, out) as watching:
        wait_for(lambda: '"failed"' in record(out))
        picture(source / "a.jpg")
        wait_for((out / "a.jpg").exists)
    assert statuses(watching.report) == {"a.jpg": "done"}
    assert len(report_of(out)) == 1


def test_a_file_that_vanishes_is_a_failed_entry(tmp_path, monkeypatch):
    source, out = tmp_path / "in", tmp_path / "o"
    picture(source / "a.jpg")
    jobs = engine.settled_jobs

    def vanishing(run, handed):
        for new in jobs(run, handed):
            if new[0].source.name == "a.jpg":
                (source / "a.jpg").unlink()
            yield new

    monkeypatch.setattr(engine, "settled_jobs", vanishing)
    with Watching(source, out) as watching:
        wait_for(lambda: not (source / "a.jpg").exists())
        picture(source / "b.jpg")
        wait_for((out / "b.jpg").exists)
    assert statuses(watching.report) == {"a.jpg": "failed", "b.jpg": "done"}


def test_outputs_of_another_direction(tmp_path):
    """At the beginning they end the run; later they are failures of their own."""
    source, out = tmp_path / "in", tmp_path / "o"
    picture(source / "a.jpg")
    run(source, out, direction="normal_to_adverse")
    with pytest.raises(BadSetting, match="was made with"):
        run(source, out, watch=True)
    with Watching(source, tmp_path / "o2") as watching:
        wait_for((tmp_path / "o2" / "a.jpg").exists)
        shutil.copy(out / "a.jpg", tmp_path / "o2" / "b.jpg")
        picture(source / "b.jpg")
        picture(source / "c.jpg")
        wait_for((tmp_path / "o2" / "c.jpg").exists)
    assert statuses(watching.report) == {"a.jpg": "done", "b.jpg": "failed", "c.jpg": "done"}


def test_a_refused_output_stays_what_it_was(tmp_path):
    """It has no mark: were the refusal recorded as made with the new settings, the next run would replace it."""
    source, out = tmp_path / "in", tmp_path / "o"
    picture(source / "a.jpg")
    with Watching(source, out) as watching:
        wait_for((out / "a.jpg").exists)
        own = picture(out / "b.bmp", 7).read_bytes()
        picture(source / "b.bmp")
        wait_for(lambda: '"failed"' in record(out))
    assert statuses(watching.report)["b.bmp"] == "failed"
    with pytest.raises(BadSetting, match="something unknown"):
        run(source, out)
    assert (out / "b.bmp").read_bytes() == own


def test_one_file_cannot_be_watched(tmp_path):
    with pytest.raises(BadSetting, match="must be a folder"):
        run(picture(tmp_path / "a.jpg"), tmp_path / "o", watch=True)


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_ctrl_c_ends_with_status_0_and_a_summary(tmp_path, number):
    from tests.translation.test_weathers import save_tiny

    picture(tmp_path / "in" / "a.jpg")
    command = [sys.executable, "-m", "gen.cli", "translate", str(tmp_path / "in"), str(tmp_path / "o"), "--watch"]
    process = subprocess.Popen(
        [*command, "--model", save_tiny(tmp_path / "tiny", ["night"])],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    wait_for(lambda: '"done"' in record(tmp_path / "o"), 250)
    process.send_signal(number)
    printed, errors = process.communicate()
    assert process.returncode == 0, errors
    assert "1 done, 0 finished before, 0 failed" in printed
    assert "Ctrl-C ends" in errors
    assert set(report_of(tmp_path / "o")) == {"a.jpg"}
