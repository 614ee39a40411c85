"""What the page says of a job's length before it starts."""

from pathlib import Path

from gen.web.estimate import Pace, count_frames, kind_of
from gen.web.settings import WebSettings
from tests.media.test_video import make_clip, moving_bars

NIGHT = "samples/adverse/night/000010.jpg"


def test_a_forecast_is_the_speed_of_the_last_run_of_its_kind():
    pace = Pace()
    assert pace.forecast("a", "auto", "still", 0) == ""
    assert "once some of them are done" in pace.forecast("a", "auto", "still", 10)
    pace.note("a", "auto", "still", 4, 8.0)
    pace.note("a", "auto", "still", 0, 5.0)  # nothing was done: nothing is known
    assert pace.forecast("a", "auto", "still", 100) == "100 frames, about 3 min 20 s at the speed of the last run."
    for other in (("b", "auto", "still"), ("a", "native", "still"), ("a", "auto", "clip")):
        assert "once some of them are done" in pace.forecast(*other, 1)


def test_frames_are_counted_by_headers(tmp_path):
    clip = str(make_clip(tmp_path / "a.mp4", moving_bars(7)))
    (tmp_path / "b.mp4").write_bytes(b"no clip")
    (tmp_path / "c.txt").write_text("no picture")
    files = [clip, NIGHT, str(tmp_path / "b.mp4"), str(tmp_path / "c.txt"), str(Path(tmp_path) / "missing.mp4")]
    assert count_frames(files, WebSettings()) == 8
    assert kind_of(files) == "clip"
    assert kind_of([NIGHT]) == "still"


def test_a_clip_that_is_too_large_to_open_counts_as_none(tmp_path):
    clip = str(make_clip(tmp_path / "a.mp4", moving_bars(7)))
    assert count_frames([clip], WebSettings(megapixels=0.001)) == 0
