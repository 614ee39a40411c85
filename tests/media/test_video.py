"""Clips in and out: times, rotation, sound, colour, odd sizes, and clips that break off."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from gen import BadInput
from gen.media.video import ClipReader, ClipWriter


def moving_bars(count: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
    """Smooth colours that move: compressed with little loss."""
    y, x = np.mgrid[:height, :width]
    frames = []
    for i in range(count):
        waves = [np.sin((x + 3 * i) / 12), np.cos((y - 2 * i) / 10), np.sin((x + y + i) / 15)]
        frames.append(np.stack([(w * 90 + 128) for w in waves], axis=-1).astype(np.uint8))
    return frames


def make_clip(
    path: Path,
    frames: list[np.ndarray],
    rate: Fraction = Fraction(25),
    sound: str | None = None,
    times: list[int] | None = None,
    bt709: bool = False,
    codec: str = "libx264",
) -> Path:
    """A clip as a camera would write it; `times` in milliseconds make the frame rate vary."""
    height, width = frames[0].shape[:2]
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=rate)
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuv420p" if height % 2 == width % 2 == 0 else "yuv444p"
        stream.options = {"crf": "10"} if codec == "libx264" else {"qscale": "2"}
        base = Fraction(1, 1000) if times else 1 / rate
        stream.codec_context.time_base = base
        code = 1 if bt709 else 6
        stream.codec_context.colorspace = stream.codec_context.color_primaries = code
        stream.codec_context.color_trc = code
        noise = out.add_stream(sound, rate=48000) if sound else None
        if noise:
            noise.layout = "mono"
        for i, rgb in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame = frame.reformat(format=stream.pix_fmt, dst_colorspace=1 if bt709 else 5)
            frame.pts, frame.time_base = (times[i] if times else i), base
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if noise:
            wave = (np.sin(np.arange(48000) / 20) * 8000).astype(np.int16)[None]
            audio = av.AudioFrame.from_ndarray(wave, format="s16", layout="mono")
            audio.sample_rate, audio.pts = 48000, 0
            resampler = av.AudioResampler(format=noise.codec_context.format, layout="mono", rate=48000)
            fifo = av.AudioFifo()
            for part in resampler.resample(audio):
                fifo.write(part)
            while part := fifo.read(noise.codec_context.frame_size or 1024, partial=True):
                out.mux(noise.encode(part))
            out.mux(noise.encode(None))
    return path


def copy_clip(source: Path, target: Path, mark: str | None = None) -> list[np.ndarray]:
    with ClipReader(source) as reader, ClipWriter(target, reader, (reader.height, reader.width), mark) as writer:
        frames = []
        for frame in reader:
            frames.append(frame.rgb)
            writer.write(frame.rgb, frame.pts)
    return frames


def show_times(path: Path) -> list[float]:
    with av.open(str(path)) as clip:
        return [float(f.pts * f.time_base) for f in clip.decode(video=0)]


@pytest.mark.parametrize("bt709", [False, True])
def test_an_untouched_clip_keeps_its_colours(tmp_path, bt709):
    frames = moving_bars(6)
    make_clip(tmp_path / "in.mp4", frames, bt709=bt709)
    seen = copy_clip(tmp_path / "in.mp4", tmp_path / "out.mp4")
    with ClipReader(tmp_path / "out.mp4") as again:
        found = [f.rgb for f in again]
    assert len(found) == len(seen) == 6
    for original, a, b in zip(frames, seen, found, strict=True):
        assert np.abs(a.astype(int) - original).mean() < 4
        assert np.abs(b.astype(int) - a).mean() < 3


@pytest.mark.parametrize("rate", [Fraction(25), Fraction(24000, 1001), Fraction(30000, 1001), Fraction(10)])
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_rate_and_times_are_kept(tmp_path, rate, suffix):
    make_clip(tmp_path / f"in{suffix}", moving_bars(8), rate=rate)
    copy_clip(tmp_path / f"in{suffix}", tmp_path / f"out{suffix}")
    with ClipReader(tmp_path / f"out{suffix}") as out:
        assert float(out.rate) == pytest.approx(float(rate), rel=1e-3)
    np.testing.assert_allclose(show_times(tmp_path / f"out{suffix}"), show_times(tmp_path / f"in{suffix}"), atol=2e-3)


def test_a_varying_frame_rate_is_kept(tmp_path):
    times = [0, 40, 80, 200, 240, 500, 540]
    make_clip(tmp_path / "in.mkv", moving_bars(7), times=times)
    copy_clip(tmp_path / "in.mkv", tmp_path / "out.mkv")
    np.testing.assert_allclose(show_times(tmp_path / "out.mkv"), np.array(times) / 1000, atol=2e-3)


@pytest.mark.parametrize(("height", "width"), [(47, 63), (48, 63), (47, 64), (2, 2)])
def test_odd_sizes_stay(tmp_path, height, width):
    make_clip(tmp_path / "in.mp4", moving_bars(3, height, width))
    copy_clip(tmp_path / "in.mp4", tmp_path / "out.mp4")
    with ClipReader(tmp_path / "out.mp4") as out:
        assert (out.height, out.width) == (height, width)
        assert len(list(out)) == 3


@pytest.mark.parametrize(("codec", "suffix"), [("aac", ".mp4"), ("mp3", ".mkv"), ("pcm_s16le", ".avi")])
def test_sound_is_kept(tmp_path, codec, suffix):
    make_clip(tmp_path / f"in{suffix}", moving_bars(25), sound=codec, codec="mpeg4" if suffix == ".avi" else "libx264")
    copy_clip(tmp_path / f"in{suffix}", tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as out:
        frames = list(out.decode(audio=0))
    assert sum(f.samples for f in frames) == pytest.approx(48000, rel=0.1)
    assert max(np.abs(f.to_ndarray()).max() for f in frames) > 0


def test_rotation_is_applied(tmp_path):
    """A phone held upright: stored lying, shown standing; the copy is stored standing."""
    clip = make_clip(tmp_path / "in.mp4", moving_bars(3))
    data = bytearray(clip.read_bytes())
    # The display matrix of the picture's track header (ISO 14496-12, 8.3.2): from identity to a quarter turn.
    one, zero, minus = (v.to_bytes(4, "big", signed=True) for v in (65536, 0, -65536))
    last = (0x40000000).to_bytes(4, "big")
    identity = one + zero * 3 + one + zero * 3 + last
    quarter = zero + one + zero + minus + zero * 4 + last
    place = data.index(identity, data.index(b"tkhd"))
    data[place : place + 36] = quarter
    clip.write_bytes(data)
    with ClipReader(clip) as reader:
        assert (reader.height, reader.width) == (64, 48)
        upright = next(iter(reader)).rgb
    assert np.abs(upright.astype(int) - np.rot90(moving_bars(1)[0], -1)).mean() < 4
    copy_clip(clip, tmp_path / "out.mp4")
    with ClipReader(tmp_path / "out.mp4") as out:
        assert out.quarter_turns == 0
        assert np.abs(next(iter(out)).rgb.astype(int) - upright).mean() < 4


def test_the_mark_is_in_the_container(tmp_path):
    make_clip(tmp_path / "in.mp4", moving_bars(2))
    copy_clip(tmp_path / "in.mp4", tmp_path / "out.mp4", mark="made by gen")
    with av.open(str(tmp_path / "out.mp4")) as out:
        assert out.metadata["comment"] == "made by gen"


@pytest.mark.parametrize("kept", [0, 40, 0.5])
def test_broken_clips_are_named(tmp_path, kept):
    """Empty, a bare header, and a recording that was cut off (the index of these files is at their end)."""
    clip = make_clip(tmp_path / "broken.mp4", moving_bars(20))
    data = clip.read_bytes()
    clip.write_bytes(data[: kept if isinstance(kept, int) else int(len(data) * kept)])
    with pytest.raises(BadInput, match=r"broken\.mp4"):
        ClipReader(clip)


def test_a_clip_with_its_index_in_front_that_breaks_off(tmp_path):
    rng = np.random.default_rng(0)
    make_clip(tmp_path / "whole.mp4", [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(20)])
    with (
        av.open(str(tmp_path / "whole.mp4")) as source,
        av.open(str(tmp_path / "broken.mp4"), "w", options={"movflags": "faststart"}) as out,
    ):
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    data = (tmp_path / "broken.mp4").read_bytes()
    (tmp_path / "broken.mp4").write_bytes(data[: len(data) // 2])
    with (
        ClipReader(tmp_path / "broken.mp4") as reader,
        pytest.raises(BadInput, match=r"broken\.mp4.* breaks off after \d+"),
    ):
        list(reader)


def test_an_error_leaves_no_clip(tmp_path):
    make_clip(tmp_path / "in.mp4", moving_bars(3))

    def fail():
        with ClipReader(tmp_path / "in.mp4") as reader, ClipWriter(tmp_path / "out.mp4", reader, (48, 64)) as writer:
            frame = next(iter(reader))
            writer.write(frame.rgb, frame.pts)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]
