"""Clips that are translated in parts and joined, without Ray: what comes of it is what a single run makes."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import av
import numpy as np
import pytest

from gen.media.folders import plan_jobs, stamp_of
from gen.media.video import UNLIMITED, CannotJoin, ClipLimits
from gen.translation import batch, clip_parts
from gen.translation.clip_parts import SplitClip, plan_parts, warm_up_seconds
from gen.translation.maps import decode_uncertainty_raw
from gen.translation.ray_worker import Collected
from gen.translation.report import Entry
from gen.translation.settings import TranslateSettings
from gen.translation.workers import Local, load_model
from tests.media.odd_clips import Odd, make_odd
from tests.media.test_video import make_clip, moving_bars
from tests.translation.test_batch import files_below, model  # noqa: F401  a fixture

RATE = 5
SECONDS = 30
CRF = 0
"""No loss, as in `tests.media.test_video_joining`. Elsewhere an encoder loses other things if one pixel is another."""
SAME_PICTURE = ("sample_aspect_ratio", "color_primaries", "color_trc", "colorspace", "pix_fmt", "extradata")


def drive(seconds: int = SECONDS) -> list[np.ndarray]:
    """Frames whose brightness swings, so that the averages over frames matter, with a cut in its middle."""
    frames = moving_bars(seconds * RATE, 36, 64)
    light = 0.6 + 0.35 * np.sin(np.arange(len(frames)) / 7)
    return [
        (frame * bright if number < len(frames) * 0.55 else 255 - frame[::-1, ::-1] * bright).astype(np.uint8)
        for number, (frame, bright) in enumerate(zip(frames, light, strict=True))
    ]


def drive_clip(path: Path, seconds: int = SECONDS, **options: Any) -> Path:
    path.parent.mkdir(exist_ok=True)
    return make_clip(path, drive(seconds), Fraction(RATE), seconds=seconds, **{"sound": "aac", **options})


def in_parts(source: Path, out: Path, model: str, parts: int = 3, **settings: Any) -> Entry:  # noqa: F811
    """Translate the parts of a clip, the last one first, and join them."""
    chosen = TranslateSettings(source, out, model=model, crf=CRF, **settings)
    (job,) = plan_jobs(source, out)
    job = replace(job, stamp=stamp_of(source))
    plan = plan_parts(job, chosen, UNLIMITED, parts)
    assert plan is not None
    assert len(plan.pieces) == parts
    split, local, run = SplitClip(job, plan, chosen), Local(load_model), Collected(chosen, UNLIMITED, threading.Event())
    local.load(chosen)
    out.parent.mkdir(exist_ok=True)
    for piece in reversed(plan.pieces):
        assert not split.complete
        split.add(piece, local.translate_piece(split.with_files(piece), chosen, run))
    with ExitStack() as closing:
        entry = split.join(run, closing)
    split.close()
    return entry


def alone(source: Path, out: Path, model: str, **settings: Any) -> Entry:  # noqa: F811
    """Translate the clip in a single run."""
    (entry,) = batch.translate(TranslateSettings(source, out, model=model, crf=CRF, **settings)).entries
    return entry


def assert_same_clip(one: Path, other: Path) -> None:
    """The same frames at the same times, within a grey level; the rest exactly."""
    with av.open(str(one)) as first, av.open(str(other)) as second:
        assert first.metadata == second.metadata
        assert [s.type for s in first.streams] == [s.type for s in second.streams]
        for ours, theirs in zip(first.streams.video, second.streams.video, strict=True):
            about = [
                [getattr(stream, name) for name in ("duration", "frames", "average_rate", "metadata", "time_base")]
                + [getattr(stream.codec_context, name) for name in SAME_PICTURE]
                for stream in (ours, theirs)
            ]
            assert about[0] == about[1]
    assert list(packets(one, "audio")) == list(packets(other, "audio"))
    # Which frame is decoded at each of these times is the encoder's choice.
    decoded = [[dts for _, dts, _ in packets(path, "video")] for path in (one, other)]
    assert decoded[0] == decoded[1]
    for (pts, ours), (same, theirs) in zip(frames_of(one), frames_of(other), strict=True):
        assert pts == same
        assert np.abs(ours - theirs).mean() < 1, pts


def packets(path: Path, kind: str) -> Iterator[tuple[int | None, int | None, bytes]]:
    with av.open(str(path)) as clip:
        for packet in clip.demux(clip.streams.get(**{kind: 0})):
            if packet.size:
                yield packet.pts, packet.dts, bytes(packet)


def frames_of(path: Path) -> Iterator[tuple[int, np.ndarray]]:
    with av.open(str(path)) as clip:
        for frame in clip.decode(video=0):
            yield frame.pts, frame.to_ndarray(format="rgb24").astype(np.int16)


def assert_same_entry(one: Entry, other: Entry) -> None:
    """But for the time taken, and what is measured in floating point."""
    loose = ("flicker", "mean_uncertainty", "p95_uncertainty", "mean_invented", "p95_invented")
    apart = {"seconds": 0, "output": "", "output_bytes": None, **dict.fromkeys(loose)}
    assert replace(one, **apart) == replace(other, **apart)
    measured = [
        {name: getattr(entry, name) for name in loose if getattr(entry, name) is not None} for entry in (one, other)
    ]
    assert measured[0].keys() == measured[1].keys()
    for name, value in measured[0].items():
        assert value == pytest.approx(measured[1][name], rel=5e-3, abs=1e-3), name


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        (".mkv", {"compare": True, "uncertainty": "map"}),
        (".mov", {"strip_metadata": True, "smooth": 0.1, "steady": 0.6}),
    ],
)
def test_joined_parts_are_the_clip_of_a_single_run(tmp_path, model, suffix, options):  # noqa: F811
    about = {"title": "a drive", "location": "+52+13/"}
    source = drive_clip(tmp_path / f"in{suffix}", bt709=True, pixel_shape=Fraction(4, 3), metadata=about)
    joined = in_parts(source, tmp_path / "joined" / source.name, model, **options)
    single = alone(source, tmp_path / "single" / source.name, model, **options)
    assert_same_entry(joined, single)
    assert joined.frames == RATE * SECONDS
    made = files_below(tmp_path / "joined")
    assert made == files_below(tmp_path / "single") - {"in.report.json"}
    assert len(made) == 1 + 2 * bool(options.get("compare"))
    for name in made:
        assert_same_clip(tmp_path / "joined" / name, tmp_path / "single" / name)


def test_times_that_vary_and_raw_maps(tmp_path, model):  # noqa: F811
    steps = np.random.default_rng(0).integers(120, 280, RATE * SECONDS)
    source = drive_clip(tmp_path / "in.mp4", times=[int(t) for t in np.cumsum(steps)])
    joined = in_parts(source, tmp_path / "joined" / "a.mp4", model, 2, uncertainty="raw")
    single = alone(source, tmp_path / "single" / "a.mp4", model, uncertainty="raw")
    assert_same_entry(joined, single)
    assert_same_clip(tmp_path / "joined" / "a.mp4", tmp_path / "single" / "a.mp4")
    archives = [ZipFile(tmp_path / name / "a.mp4.uncertainty.zip") for name in ("joined", "single")]
    assert archives[0].namelist() == archives[1].namelist()
    assert len(archives[0].namelist()) == RATE * SECONDS
    for name in archives[0].namelist():
        maps = [decode_uncertainty_raw(archive.open(name)) for archive in archives]
        assert np.abs(maps[0] - maps[1]).mean() < 1


@pytest.mark.parametrize(
    ("odd", "settings"),
    [
        ({"suffix": ".ts"}, {}),
        ({"suffix": ".avi", "codec": "mjpeg", "pixel_format": "yuvj422p"}, {}),
        ({"suffix": ".mkv", "codec": "mpeg4"}, {}),
        ({"fields": "tff"}, {}),
        ({"fields": "tff", "rotation": 90}, {}),
        ({"times": (*range(0, 8000, 200), *range(9000, 33000, 200))}, {}),
        ({}, {"start": "1"}),
        ({}, {"duration": "30"}),
        ({}, {"encoder": "h264_nvenc"}),
        ({}, {"smooth": 3.0}),
    ],
)
def test_what_cannot_be_joined_is_not_split(tmp_path, odd, settings):
    times = tuple(range(0, 32_000, 200))
    kind = Odd(**{"times": times, **odd})
    source = make_odd(tmp_path / f"in{kind.suffix}", kind)
    chosen = TranslateSettings(source, tmp_path / "out.mp4", **settings)
    (job,) = plan_jobs(source, chosen.output)
    assert plan_parts(job, chosen, UNLIMITED, 4) is None
    usual = make_odd(tmp_path / "usual.mp4", Odd(times=times))
    (job,) = plan_jobs(usual, chosen.output)
    plan = plan_parts(job, TranslateSettings(usual, chosen.output), UNLIMITED, 4)
    assert plan is not None
    assert len(plan.pieces) == 3
    assert plan_parts(job, TranslateSettings(usual, chosen.output), UNLIMITED, 1) is None
    assert plan_parts(job, TranslateSettings(usual, chosen.output), ClipLimits(frames=1000), 4) is None


def test_short_and_damaged_clips_are_not_split(tmp_path):
    for name, seconds in (("short.mp4", 19), ("cut.mkv", 30)):
        source = drive_clip(tmp_path / name, seconds)
        if name == "cut.mkv":
            source.write_bytes(source.read_bytes()[: source.stat().st_size * 3 // 4])
        (job,) = plan_jobs(source, tmp_path / "out.mp4")
        assert plan_parts(job, TranslateSettings(source, job.target), UNLIMITED, 4) is None


def test_the_warm_up_is_as_long_as_the_filters_remember():
    settings = TranslateSettings(Path("a"), Path("b"))
    assert warm_up_seconds(settings, Fraction(25)) == pytest.approx(0.5 * np.log(100))
    assert warm_up_seconds(replace(settings, smooth=0), Fraction(25)) == clip_parts.LEAST_WARM_UP
    assert warm_up_seconds(replace(settings, smooth=0, steady=0), Fraction(25)) == clip_parts.LEAST_WARM_UP
    assert 0.95 ** (25 * warm_up_seconds(replace(settings, smooth=0, steady=0.95), Fraction(25))) == pytest.approx(0.01)


class TestJoining:
    """A split clip whose parts are there, and what may be wrong then."""

    @pytest.fixture
    def split(self, tmp_path, model) -> SplitClip:  # noqa: F811
        source = drive_clip(tmp_path / "in.mp4", 20)
        chosen = TranslateSettings(source, tmp_path / "out.mp4", model=model)
        (job,) = plan_jobs(source, chosen.output)
        self.run = Collected(chosen, UNLIMITED, threading.Event())
        self.local, self.chosen = Local(load_model), chosen
        self.local.load(chosen)
        plan = plan_parts(job, chosen, UNLIMITED, 2)
        assert plan is not None
        return SplitClip(job, plan, chosen)

    def fill(self, split: SplitClip) -> None:
        for piece in split.plan.pieces:
            split.add(piece, self.local.translate_piece(split.with_files(piece), self.chosen, self.run))

    def join(self, split: SplitClip) -> None:
        with ExitStack() as closing:
            split.join(self.run, closing)

    def left(self, split: SplitClip) -> set[str]:
        split.close()
        return files_below(split.job.target.parent)

    def test_a_part_that_is_missing(self, split):
        """Frames that are lost are told, and nothing is left."""
        piece, other = split.plan.pieces
        done = self.local.translate_piece(split.with_files(piece), self.chosen, self.run)
        with pytest.raises(CannotJoin, match="not where its packets are"):
            split.add(other, done)
        assert not split.complete
        assert self.left(split) == {"in.mp4"}

    def test_a_file_that_is_not_whole(self, split):
        self.fill(split)
        hidden = min(split.job.target.parent.glob(".gen-*"))
        hidden.write_bytes(hidden.read_bytes()[:-1])
        with pytest.raises(CannotJoin, match="the file of a part is not whole"):
            self.join(split)
        assert self.left(split) == {"in.mp4"}

    def test_a_clip_that_has_changed(self, split):
        self.fill(split)
        drive_clip(split.job.source, 18)
        with pytest.raises(CannotJoin, match="the file has changed"):
            self.join(split)
        assert self.left(split) == {"in.mp4"}

    def test_a_clip_that_changes_its_picture(self, split):
        (first, _) = split.plan.pieces
        wrong = [
            (first._replace(looks=()), "of another kind later on"),
            (first._replace(header=b""), "encoders of different versions"),
            (first._replace(first=first.first + 1), "not where its packets are"),
        ]
        for piece, words in wrong:
            with pytest.raises(CannotJoin, match=words):
                self.local.translate_piece(split.with_files(piece), self.chosen, self.run)
        assert self.left(split) == {"in.mp4"}

    def test_stopped_on_the_way(self, split):
        self.fill(split)
        stopped = threading.Event()
        stopped.set()
        self.run = Collected(self.chosen, UNLIMITED, stopped)
        with pytest.raises(KeyboardInterrupt):
            self.join(split)
        assert self.left(split) == {"in.mp4"}
