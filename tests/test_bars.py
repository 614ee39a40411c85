"""Progress in a log."""

import sys

import pytest
from tqdm import tqdm

from gen import bars
from gen.bars import LineBar, progress_bar


class Clock:
    """Stands in for the module `time` in gen.bars."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(bars, "time", made)
    return made


def step(bar: LineBar, clock: Clock, seconds: float, count: int) -> None:
    clock.now += seconds
    bar.update(count)
    bar.refresh()


def test_a_line_every_ten_seconds_with_rate_and_time_left(capsys: pytest.CaptureFixture[str], clock: Clock) -> None:
    with progress_bar(total=400, desc="street", unit="frame", smoothing=0) as bar:
        for _ in range(30):
            step(bar, clock, 1, 4)
    assert capsys.readouterr().err.splitlines() == [
        "street: 40 of 400 frames, 4 a second, 01:30 left",
        "street: 80 of 400 frames, 4 a second, 01:20 left",
        "street: 120 of 400 frames, 4 a second, 01:10 left",
    ]


def test_short_work_prints_nothing(capsys: pytest.CaptureFixture[str], clock: Clock) -> None:
    for _ in progress_bar(range(50), desc="quick"):
        clock.now += 0.1
    assert capsys.readouterr().err == ""


def test_without_a_total_there_is_no_estimate(capsys: pytest.CaptureFixture[str], clock: Clock) -> None:
    with progress_bar(unit="frame") as bar:
        step(bar, clock, 20, 10)
    assert capsys.readouterr().err == "10 frames, 0.5 a second\n"


def test_a_resumed_run_counts_its_rate_from_where_it_goes_on(capsys: pytest.CaptureFixture[str], clock: Clock) -> None:
    with progress_bar(total=2000, initial=1000, unit="img") as bar:
        bar.set_postfix({"loss": "0.5"}, refresh=False)
        step(bar, clock, 10, 100)
    assert capsys.readouterr().err == "1,100 of 2,000 images, 10 a second, 01:30 left, loss=0.5\n"


def test_messages_between_stand_on_their_own_lines(capsys: pytest.CaptureFixture[str], clock: Clock) -> None:
    with progress_bar(total=40, unit="file") as bar:
        step(bar, clock, 10, 10)
        bar.write("failed: a.jpg", file=sys.stderr)
    assert capsys.readouterr().err.splitlines() == ["10 of 40 files, 1 a second, 00:30 left", "failed: a.jpg"]


def test_a_terminal_has_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress_bar(total=3) as bar:
        assert type(bar) is tqdm
