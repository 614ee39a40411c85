"""Clips in and out: times, rotation, sound, colour, odd sizes, and clips that break off."""

import gc
import re
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
    seconds: int = 1,
    pixel_shape: Fraction | None = None,
    matrix: int | None = None,
    tagged: bool = True,
    metadata: dict[str, str] | None = None,
) -> Path:
    """A clip as a camera would write it: `seconds` of sound; `times` in milliseconds make the frame rate vary."""
    height, width = frames[0].shape[:2]
    with av.open(str(path), "w") as out:
        out.metadata.update(metadata or {})
        stream = out.add_stream(codec, rate=rate)
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuv420p" if height % 2 == width % 2 == 0 else "yuv444p"
        stream.options = {"crf": "10"} if codec == "libx264" else {"qscale": "2"}
        base = Fraction(1, 1000) if times else 1 / rate
        stream.codec_context.time_base = base
        code = 1 if bt709 else 6
        if tagged:
            stream.codec_context.colorspace = stream.codec_context.color_primaries = code
            stream.codec_context.color_trc = code
        if pixel_shape:
            stream.codec_context.sample_aspect_ratio = pixel_shape
        noise = out.add_stream(sound, rate=48000) if sound else None
        if noise:
            noise.layout = "mono"
        for i, rgb in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame = frame.reformat(format=stream.pix_fmt, dst_colorspace=matrix or (1 if bt709 else 5))
            if not tagged:
                frame.colorspace = 2
            frame.pts, frame.time_base = (times[i] if times else i), base
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if noise:
            wave = (np.sin(np.arange(48000 * seconds) / 20) * 8000).astype(np.int16)[None]
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


def turn_clip(clip: Path) -> Path:
    """The display matrix of the picture's track header (ISO 14496-12, 8.3.2): from identity to a quarter turn."""
    data = bytearray(clip.read_bytes())
    one, zero, minus = (v.to_bytes(4, "big", signed=True) for v in (65536, 0, -65536))
    last = (0x40000000).to_bytes(4, "big")
    start = data.index(b"tkhd") + 44  # a shape of pixels changes the first value of the matrix: not searched for
    assert data[start + 32 : start + 36] == last
    data[start : start + 36] = zero + one + zero + minus + zero * 4 + last
    clip.write_bytes(data)
    return clip


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


@pytest.mark.parametrize(
    ("codec", "suffix", "target", "expected"),
    [
        ("aac", ".mp4", ".mp4", "aac"),
        ("mp3", ".mkv", ".mp4", "mp3"),
        ("pcm_s16le", ".avi", ".mp4", "aac"),
        ("pcm_s16le", ".mov", ".mov", "pcm_s16le"),
        ("libopus", ".mkv", ".mkv", "opus"),
        ("libopus", ".mkv", ".mov", "aac"),
    ],
)
def test_sound_is_kept(tmp_path, codec, suffix, target, expected):
    """Copied where players expect the codec in the container, else anew as AAC."""
    make_clip(tmp_path / f"in{suffix}", moving_bars(25), sound=codec, codec="mpeg4" if suffix == ".avi" else "libx264")
    copy_clip(tmp_path / f"in{suffix}", tmp_path / f"out{target}")
    with av.open(str(tmp_path / f"out{target}")) as out:
        assert out.streams.audio[0].codec_context.codec.canonical_name == expected
        assert out.streams.audio[0].codec_context.layout.nb_channels == 1
        frames = list(out.decode(audio=0))
    assert sum(f.samples for f in frames) == pytest.approx(48000, rel=0.1)
    assert max(np.abs(f.to_ndarray()).max() for f in frames) > 0


@pytest.mark.parametrize("codec", ["aac", "pcm_s16le"])
def test_sound_lies_beside_the_picture_it_belongs_to(tmp_path, codec):
    """In the order of the file, so that a player need not seek; copied, and encoded anew."""
    suffix = ".mp4" if codec == "aac" else ".mkv"
    make_clip(tmp_path / f"in{suffix}", moving_bars(150), rate=Fraction(5), sound=codec, seconds=30)
    copy_clip(tmp_path / f"in{suffix}", tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as out:
        packets = [p for p in out.demux() if p.pos is not None and p.pts is not None]
        reached = {"video": 0.0, "audio": 0.0}
        for packet in sorted(packets, key=lambda p: p.pos):
            reached[packet.stream.type] = float(packet.dts * packet.time_base)
            assert abs(reached["video"] - reached["audio"]) < 2


@pytest.mark.parametrize("turned", [False, True])
def test_the_shape_of_pixels_is_kept(tmp_path, turned):
    clip = make_clip(tmp_path / "in.mp4", moving_bars(3), pixel_shape=Fraction(4, 3))
    if turned:
        turn_clip(clip)
    copy_clip(clip, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as out:
        assert out.streams.video[0].sample_aspect_ratio == (Fraction(3, 4) if turned else Fraction(4, 3))


def test_an_untagged_clip_is_taken_as_players_take_it(tmp_path):
    """BT.709 in high definition, BT.601 below."""
    for height, width, matrix in ((720, 64, 1), (48, 64, 5)):
        frames = moving_bars(2, height, width)
        make_clip(tmp_path / "in.mp4", frames, matrix=matrix, tagged=False)
        seen = copy_clip(tmp_path / "in.mp4", tmp_path / "out.mp4")
        assert np.abs(seen[0].astype(int) - frames[0]).mean() < 4
        with ClipReader(tmp_path / "out.mp4") as out:
            assert out.format.colour.matrix == (1 if matrix == 1 else 6)
        with av.open(str(tmp_path / "out.mp4")) as out:
            assert out.streams.video[0].codec_context.colorspace == (1 if matrix == 1 else 6)


def test_frames_at_one_time_are_set_apart(tmp_path):
    make_clip(tmp_path / "in.mp4", moving_bars(6))
    with (
        ClipReader(tmp_path / "in.mp4") as reader,
        ClipWriter(tmp_path / "out.mp4", reader, (48, 64)) as writer,
    ):
        step = round(1 / reader.rate / reader.time_base)
        for i, frame in enumerate(reader):
            writer.write(frame.rgb, frame.pts - (step if i == 3 else 0))
    times = show_times(tmp_path / "out.mp4")
    assert len(times) == 6
    assert times == sorted(set(times))


def test_a_name_that_looks_like_an_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_clip(tmp_path / "in.mp4", moving_bars(3)).rename("12:30.mp4")
    assert len(copy_clip(Path("12:30.mp4"), Path("out:1.mp4"))) == 3
    assert (tmp_path / "out:1.mp4").exists()


def test_rotation_is_applied(tmp_path):
    """A phone held upright: stored lying, shown standing; the copy is stored standing."""
    clip = turn_clip(make_clip(tmp_path / "in.mp4", moving_bars(3)))
    with ClipReader(clip) as reader:
        assert (reader.height, reader.width) == (64, 48)
        upright = next(iter(reader)).rgb
    assert np.abs(upright.astype(int) - np.rot90(moving_bars(1)[0], -1)).mean() < 4
    copy_clip(clip, tmp_path / "out.mp4")
    with ClipReader(tmp_path / "out.mp4") as out:
        assert not out.format.orientation.transposed
        assert np.abs(next(iter(out)).rgb.astype(int) - upright).mean() < 4


@pytest.mark.parametrize("strip", [False, True])
def test_the_mark_is_in_the_container(tmp_path, strip):
    make_clip(tmp_path / "in.mkv", moving_bars(2), metadata={"title": "drive", "comment": "mine"})
    with (
        ClipReader(tmp_path / "in.mkv") as reader,
        ClipWriter(tmp_path / "out.mp4", reader, (48, 64), "made by gen", strip) as writer,
    ):
        for frame in reader:
            writer.write(frame.rgb, frame.pts)
    with av.open(str(tmp_path / "out.mp4")) as out:
        assert out.metadata["comment"] == ("made by gen" if strip else "made by gen | mine")
        assert out.metadata.get("title") == (None if strip else "drive")


@pytest.mark.parametrize("kept", [0, 40, 0.5])
def test_broken_clips_are_named(tmp_path, kept):
    """Empty, a bare header, and a recording that was cut off (the index of these files is at their end)."""
    clip = make_clip(tmp_path / "broken.mp4", moving_bars(20))
    data = clip.read_bytes()
    clip.write_bytes(data[: kept if isinstance(kept, int) else int(len(data) * kept)])
    with pytest.raises(BadInput, match=r"broken\.mp4"):
        ClipReader(clip)


def test_a_clip_with_its_index_in_front_that_breaks_off(tmp_path):
    """What is there is read, and the rest is missed."""
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
    with ClipReader(tmp_path / "broken.mp4") as reader:
        assert 5 <= len(list(reader)) <= 12
    assert any(re.search(r"ends early: its header declares 20 frames, and \d+ are", w) for w in reader.warnings)


@pytest.mark.parametrize(("codec", "suffix"), [("libx264", ".mkv"), ("libvpx", ".webm"), ("mpeg4", ".avi")])
def test_a_cut_recording_is_told_in_any_container(tmp_path, codec, suffix):
    """mkv and webm declare a length and no number of frames, and end early without an error."""
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(60)]
    clip = make_clip(tmp_path / f"broken{suffix}", frames, codec=codec)
    with ClipReader(clip) as reader:
        assert len(list(reader)) == 60
    assert not reader.warnings
    data = clip.read_bytes()
    clip.write_bytes(data[: len(data) // 2])
    with ClipReader(clip) as reader:
        assert 15 <= len(list(reader)) <= 45
    assert any(re.search(r"ends early.*: its header declares (60|2\.4) .*, and .* are", w) for w in reader.warnings)


@pytest.mark.parametrize(
    ("suffix", "words"), [(".mkv", "Frames are missing for"), (".avi", "frames inside are missing")]
)
def test_a_hole_in_a_clip_is_told_in_full(tmp_path, suffix, words):
    """Of a hole the decoder sees at most the frame at its edge."""
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(100)]
    clip = make_clip(tmp_path / f"hole{suffix}", frames, codec="ffv1")
    data = bytearray(clip.read_bytes())
    data[len(data) * 4 // 10 : len(data) * 6 // 10] = bytes(len(data) * 6 // 10 - len(data) * 4 // 10)
    clip.write_bytes(data)
    with ClipReader(clip) as reader:
        assert 60 <= len(list(reader)) <= 95
    assert any(words in sentence for sentence in reader.warnings), reader.warnings


@pytest.mark.parametrize("keep", [0.5, 0.9])
def test_a_cut_avi_is_told_though_ffmpeg_shortens_its_duration(tmp_path, keep):
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(60)]
    clip = make_clip(tmp_path / "cut.avi", frames, codec="ffv1", sound="mp3")
    with ClipReader(clip) as reader:
        assert len(list(reader)) == 60
    assert not reader.warnings
    data = clip.read_bytes()
    clip.write_bytes(data[: int(len(data) * keep)])
    with ClipReader(clip) as reader:
        assert 20 < len(list(reader)) < 59
    assert not reader.whole
    assert any("its header declares 2.4 s, and" in sentence for sentence in reader.warnings), reader.warnings


def test_a_cut_wmv_is_told(tmp_path):
    clip = make_clip(tmp_path / "broken.wmv", moving_bars(60), codec="wmv2")
    with ClipReader(clip) as reader:
        assert len(list(reader)) == 60
    assert not reader.warnings
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    with ClipReader(clip) as reader:
        assert len(list(reader)) < 60
    assert "The file is not as long as its header declares; it may be cut or damaged." in reader.warnings


def test_a_trimmed_clip_is_whole(tmp_path):
    """Cut without encoding anew, as phones do it: frames before the cut are in the file and not shown."""
    make_clip(tmp_path / "in.mp4", moving_bars(60))
    with av.open(str(tmp_path / "in.mp4")) as source, av.open(str(tmp_path / "trimmed.mp4"), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        shift = round(Fraction(10, 25) / source.streams.video[0].time_base)
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, stream
                out.mux(packet)
    with ClipReader(tmp_path / "trimmed.mp4") as reader:
        assert reader.declared_frames == 60
        assert len(list(reader)) == 50


def test_a_container_that_refuses_leaves_nothing(tmp_path):
    make_clip(tmp_path / "in.mp4", moving_bars(2))
    with (
        ClipReader(tmp_path / "in.mp4") as reader,
        pytest.raises(BadInput, match=r"out\.mp4: the clip cannot be written"),
        ClipWriter(tmp_path / "out.mp4", reader, (0, 0)) as writer,
    ):
        writer.write(moving_bars(1)[0], 0)
    assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]


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


def test_frames_leave_the_memory_as_they_are_read(tmp_path):
    """Without waiting for the search for cycles, which comes after hundreds of frames."""
    make_clip(tmp_path / "a.mp4", moving_bars(20))
    gc.collect()
    gc.disable()
    try:
        with ClipReader(tmp_path / "a.mp4") as reader:
            count = sum(1 for _ in reader)
            kept = sum(type(thing) is av.VideoFrame for thing in gc.get_objects())
    finally:
        gc.enable()
    assert count == 20
    assert kept < 5
