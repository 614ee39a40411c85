"""Clips through the engine with an identity network: options, report, limits, copies."""

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from gen import BadInput
from gen.errors import BadSetting
from gen.media.folders import Job
from gen.media.video import ClipLimits
from gen.translation import batch
from gen.translation.automatic import copy
from gen.translation.protocol import Capabilities
from gen.translation.report import Report
from gen.translation.settings import TranslateSettings, check_settings, clip_options, parse_time
from gen.translation.watch import Watch
from tests.media.odd_clips import Odd, make_odd, shown
from tests.media.test_video import make_clip, moving_bars


class Identity:
    """A translator that returns its frames."""

    device = torch.device("cpu")
    capabilities = Capabilities({"adverse_to_normal": ()}, 1, (32, 48), 32, smooths=False)

    def shown_map(self, direction: str, which: str = "auto") -> None:
        return None

    def translate_frames(self, frames: torch.Tensor, direction: str, **_: object) -> tuple[torch.Tensor, None]:
        return frames, None


def translated(source: Path, output: Path, limits: ClipLimits | None = None, **settings: object) -> Report:
    watch = Watch(limits=limits) if limits else None
    return batch.translate(TranslateSettings(source, output, **settings), lambda _: Identity(), watch)


def test_every_kind_of_clip_is_done_and_right(tmp_path):
    """All that the engine adds to a copy: threads, cuts, batches, the report."""
    odd = {
        "turned.mp4": Odd(rotation=90, mirrored=True),
        "fields.ts": Odd(".ts", fields="tff"),
        "full.avi": Odd(".avi", "mjpeg", "yuvj422p", full=True, matrix=5),
        "deep.mkv": Odd(".mkv", pixel_format="yuv420p10le", matrix=9),
        "varying.mov": Odd(".mov", times=(0, 40, 80, 240, 280, 500), frame_options=(("bf", "0"),)),
        "wide.webm": Odd(".webm", "libvpx-vp9", pixel_shape=Fraction(4, 3)),
    }
    (tmp_path / "in").mkdir()
    for name, kind in odd.items():
        make_odd(tmp_path / "in" / name, kind)
    report = translated(tmp_path / "in", tmp_path / "out", crf=4, batch_size=3)
    assert {entry.status for entry in report.entries} == {"done"}
    for entry in report.entries:
        before, after = shown(Path(entry.input)), shown(Path(entry.output))
        assert np.abs(np.array(before.rgb).astype(int) - after.rgb).mean() < 2
        assert after.times == pytest.approx(before.times, abs=2e-3)
        assert (after.fields, after.pixel_shape) == (before.fields, before.pixel_shape)
        assert entry.frames == len(before.times)
        lost = ["bit depth: 10 bits in the source, 8 in the output"] if "deep" in entry.input else []
        assert (entry.left_out, entry.warnings) == (lost, [])


def test_options_change_the_clip_and_are_in_made_with(tmp_path):
    source = make_clip(tmp_path / "in.mp4", moving_bars(50, 48, 64), sound="aac", seconds=2)
    options = {"codec": "hevc", "crf": 30, "bit_depth": 10, "start": "0:00:00.4", "duration": "1"}
    report = translated(source, tmp_path / "out.mp4", **options)
    made = report.entries[0].made_with
    assert ", codec hevc, crf 30, bit depth 10, start 0:00:00.4, duration 1" in made
    with av.open(str(tmp_path / "out.mp4")) as out:
        picture = out.streams.video[0]
        assert (picture.codec_context.name, picture.codec_context.pix_fmt) == ("hevc", "yuv420p10le")
        assert len(list(out.decode(picture))) == 25
        assert out.duration / 1e6 == pytest.approx(1, abs=0.05)
    assert clip_options(TranslateSettings(source, source)) == ""  # reports of earlier versions agree
    with pytest.raises(BadSetting, match=r"was made with .*codec hevc.*, not "):
        translated(source, tmp_path / "out.mp4")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("start", "1:2:3:4", "start must be seconds or HH:MM:SS, for example 90 or 0:01:30"),
        ("duration", "-1", "duration must be seconds or HH:MM:SS"),
        ("duration", "0", "duration must be above 0 seconds"),
        ("start", "9" * 30, "start must be seconds or HH:MM:SS"),
        ("duration", "1." + "9" * 5000, "duration must be seconds or HH:MM:SS"),
        ("crf", 52, r"crf must be from 0 \(best\) to 51"),
        ("encoder", "h264_nonsense", "encoder: 'h264_nonsense' is no video encoder"),
        ("encoder", "h264_qsv", "encoder: h264_qsv does not work on this machine"),
    ],
)
def test_impossible_options_are_one_sentence_before_the_work(tmp_path, name, value, message):
    with pytest.raises(BadSetting, match=message):
        check_settings(replace(TranslateSettings(tmp_path, tmp_path), **{name: value}))


@pytest.mark.parametrize(
    ("text", "seconds"), [(None, None), ("90", 90), ("1.5", 1.5), ("2:30", 150), ("01:00:00.25", 3600.25)]
)
def test_times(text, seconds):
    assert parse_time("start", text) == seconds


def test_a_start_after_the_end(tmp_path):
    source = make_clip(tmp_path / "in.mp4", moving_bars(5))
    report = translated(source, tmp_path / "out.mp4", start="7")
    assert report.entries[0].status == "failed"
    assert "in.mp4: no frame begins at 7 s or later; choose an earlier start" in str(report.entries[0].error)


def test_the_flicker_of_one_frame_is_not_known(tmp_path):
    for count in (1, 2):
        source = make_clip(tmp_path / f"{count}.mp4", moving_bars(count))
        (entry,) = translated(source, tmp_path / "out" / source.name).entries
        assert entry.frames == count
        assert (entry.flicker is None) == (count == 1)


def test_a_part_in_which_no_frame_starts(tmp_path):
    source = make_odd(tmp_path / "in.mp4", Odd(times=(0, 1000, 2000)))
    report = translated(source, tmp_path / "out.mp4", start="0.2", duration="0.5")
    assert "in.mp4: no frame starts between 0.2 and 0.7 s" in str(report.entries[0].error)


def test_what_is_left_out_and_wrong_is_in_the_report(tmp_path):
    (tmp_path / "in").mkdir()
    clip = make_clip(tmp_path / "in" / "cut.mkv", moving_bars(60))
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    make_odd(tmp_path / "in" / "deep.mp4", Odd(pixel_format="yuv420p10le"))
    translated(tmp_path / "in", tmp_path / "out")
    files = {Path(f["input"]).name: f for f in json.loads((tmp_path / "out" / "report.json").read_text())["files"]}
    assert files["deep.mp4"]["left_out"] == ["bit depth: 10 bits in the source, 8 in the output"]
    assert files["cut.mkv"]["status"] == "done"
    assert any("The file ends early" in words for words in files["cut.mkv"]["warnings"])


def test_limits_of_whoever_watches(tmp_path):
    source = make_clip(tmp_path / "in.mp4", moving_bars(20))
    report = translated(source, tmp_path / "out.mp4", ClipLimits(frames=10))
    assert "in.mp4: more than 10 frames, which is the limit" in str(report.entries[0].error)
    assert not (tmp_path / "out.mp4").exists()


def test_a_clip_that_is_left_is_cut_too(tmp_path):
    source = make_clip(tmp_path / "in.mp4", moving_bars(50), sound="aac", seconds=2)
    job = Job(source, tmp_path / "out.mp4", "clip")
    assert copy(job, TranslateSettings(source, job.target)) == {}
    assert job.target.read_bytes() == source.read_bytes()
    notes = copy(job, TranslateSettings(source, job.target, start="1", duration="0.4"))
    assert len(shown(job.target).rgb) == 10
    assert notes["warnings"] == ["The clip is encoded anew, because its format, its length or its metadata changes."]
    with pytest.raises(BadInput):
        copy(job, TranslateSettings(source, job.target, start="9"))
