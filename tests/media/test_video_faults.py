"""Faulty clips: a small fault costs a small thing, and is said."""

import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from gen import BadInput
from gen.media.video import ClipLimits, ClipReader
from gen.media.video.clock import FrameClock, PacketClock
from tests.media.odd_clips import Odd, make_odd, waves
from tests.media.test_video import copy_clip, make_clip, moving_bars, show_times


def rewrite(source: Path, target: Path, change: Callable[[int, av.Packet], av.Packet | None]) -> Path:
    """Copy a clip packet by packet; `change` gets the number of each picture packet."""
    with av.open(str(source)) as read, av.open(str(target), "w") as out:
        streams = {s.index: out.add_stream_from_template(s, opaque=True) for s in read.streams}
        count = 0
        for packet in read.demux():
            if packet.dts is None:
                continue
            stream = streams[packet.stream.index]
            changed: av.Packet | None = packet
            if packet.stream.type == "video":
                changed = change(count, packet)
                count += 1
            if changed is not None:
                changed.stream = stream
                out.mux(changed)
    return target


def damaged(packet: av.Packet) -> av.Packet:
    """The packet with random bytes after its first few."""
    rng = np.random.default_rng(1)
    data = bytearray(bytes(packet))
    data[5:] = rng.integers(0, 256, len(data) - 5, dtype=np.uint8).tobytes()
    new = av.Packet(bytes(data))
    new.pts, new.dts, new.time_base, new.is_keyframe = packet.pts, packet.dts, packet.time_base, packet.is_keyframe
    return new


@pytest.mark.parametrize("bad", [20, 57, 58, 59])
def test_a_damaged_packet_costs_its_frame(tmp_path, bad):
    """Also at the very end, where decoders with threads would lose all frames under way."""
    make_odd(tmp_path / "whole.mp4", Odd(times=tuple(range(0, 2400, 40))))
    clip = rewrite(tmp_path / "whole.mp4", tmp_path / "in.mp4", lambda i, p: damaged(p) if i == bad else p)
    with ClipReader(clip) as reader:
        frames = list(reader)
    assert 56 <= len(frames) <= 59
    assert reader.warnings == [
        f"{60 - len(frames)} frame{'s' * (len(frames) < 59)} could not be decoded; the frame before is shown instead."
    ]
    copy_clip(clip, tmp_path / "out.mp4")
    times = show_times(tmp_path / "out.mp4")
    assert len(times) == len(frames)
    with av.open(str(tmp_path / "out.mp4")) as out, av.open(str(clip)) as source:
        # The frame before is held, at the end too.
        assert out.duration / 1e6 == pytest.approx(source.duration / 1e6, abs=0.01)


def test_a_damaged_key_packet_costs_its_frames_and_mixes_up_none(tmp_path):
    make_odd(tmp_path / "whole.mp4", Odd(times=tuple(range(0, 2400, 40)), frame_options=(("g", "15"),)))
    clip = rewrite(tmp_path / "whole.mp4", tmp_path / "in.mp4", lambda i, p: damaged(p) if i == 30 else p)
    copy_clip(clip, tmp_path / "out.mp4")
    times = show_times(tmp_path / "out.mp4")
    assert 40 <= len(times) <= 59
    original = [i * 0.04 for i in range(60)]
    assert all(min(abs(time - o) for o in original) < 1e-3 for time in times)
    assert times[-1] == pytest.approx(59 * 0.04, abs=0.1)


def test_a_clip_without_one_good_frame(tmp_path):
    make_odd(tmp_path / "whole.mp4", Odd())
    clip = rewrite(tmp_path / "whole.mp4", tmp_path / "in.mp4", lambda i, p: damaged(p))
    with pytest.raises(BadInput, match=r"in\.mp4: no frame can be decoded \(Invalid data"):
        ClipReader(clip)


@pytest.mark.parametrize("codec", ["mjpeg", "libx264"])
@pytest.mark.parametrize("sound", [None, "pcm_s16le"])
def test_time_goes_on_where_the_clock_steps_back(tmp_path, codec, sound):
    """Parts that each start at zero, as recorders join them; the sound stays with its picture."""
    pixel_format = {"mjpeg": "yuvj420p", "libx264": "yuv420p"}[codec]
    with av.open(str(tmp_path / "in.mkv"), "w", options={"cluster_time_limit": "990"}) as out:
        picture = out.add_stream(codec, rate=30)
        picture.width, picture.height, picture.pix_fmt = 64, 48, pixel_format
        picture.codec_context.time_base = Fraction(1, 1000)
        picture.options = {"g": "30", "bf": "2"} if codec == "libx264" else {}
        noise = out.add_stream(sound, rate=8000, layout="mono") if sound else None
        packets = []
        for i in range(60):
            frame = av.VideoFrame.from_ndarray(waves(i, 48, 64), format="rgb24").reformat(format=pixel_format)
            frame.pts, frame.time_base = round(i * 1000 / 30), Fraction(1, 1000)
            packets += picture.encode(frame)
            if noise:
                part = av.AudioFrame.from_ndarray(np.full((1, 267), i * 100, np.int16), format="s16", layout="mono")
                part.sample_rate, part.pts, part.time_base = 8000, round(i * 8000 / 30), Fraction(1, 8000)
                packets += noise.encode(part)
        packets += picture.encode(None)
        packets.sort(key=lambda p: p.dts * p.time_base)
        for packet in packets:
            out.mux(packet)
    data = bytearray((tmp_path / "in.mkv").read_bytes())
    halves = step_back(data, tmp_path / "back.mkv")
    assert halves > 0
    seen = copy_clip(tmp_path / "back.mkv", tmp_path / "out.mkv")
    times = np.array(show_times(tmp_path / "out.mkv"))
    assert len(seen) == len(times) == 60
    np.testing.assert_allclose(times, np.arange(60) / 30, atol=0.04)
    with ClipReader(tmp_path / "back.mkv") as reader:
        list(reader)
    assert reader.warnings == ["The clip's clock jumps once; time goes on there by one frame."]
    if sound:
        with av.open(str(tmp_path / "out.mkv")) as out:
            ends = [f.time + f.samples / 8000 for f in out.decode(audio=0)]
        assert max(ends) == pytest.approx(2, abs=0.1)
        assert ends == sorted(ends)


def step_back(data: bytearray, target: Path) -> int:
    """Move the second half of a Matroska file to its start: the times of its clusters (element E7)."""
    changed = 0
    clusters = [i for i in range(len(data) - 4) if data[i : i + 4] == b"\x1f\x43\xb6\x75"]
    for start in clusters:
        at = data.index(b"\xe7", start + 5)
        length = data[at + 1] & 0x7F
        time = int.from_bytes(data[at + 2 : at + 2 + length], "big")
        if time >= 900:
            data[at + 2 : at + 2 + length] = (time - 900).to_bytes(length, "big")
            changed += 1
    target.write_bytes(data)
    return changed


class TestClocks:
    def run(self, *times: int | None, step: int = 40) -> list[int]:
        clock = FrameClock(step)
        return [clock.next(time) for time in times]

    def test_good_times_stay(self):
        assert self.run(0, 40, 80, 200, 210) == [0, 40, 80, 200, 210]
        assert self.run(-80, -40, 0) == [-80, -40, 0]

    def test_a_repeated_time_comes_half_a_frame_later(self):
        assert self.run(0, 40, 40, 80, 120) == [0, 40, 60, 80, 120]

    def test_a_clock_that_stands_still_goes_on(self):
        assert self.run(0, 0, 0, 0, 0) == [0, 20, 60, 100, 140]

    def test_jitter_is_smoothed_and_caught_up_with(self):
        assert self.run(0, 40, 35, 80, 120) == [0, 40, 60, 80, 120]

    def test_gaps_are_measured_in_clips_of_steady_rate(self):
        steady, varying = FrameClock(40), FrameClock(40)
        for time in (*range(0, 400, 40), *range(1000, 1400, 40)):
            steady.next(time)
        for time in (0, 40, 500, 540, 1000, 1040):
            varying.next(time)
        assert (steady.gaps, varying.gaps) == (600, 0)

    def test_missing_times_are_one_frame_later(self):
        assert self.run(None, None, 100, None) == [0, 40, 100, 140]

    def test_packets_step_back_with_the_picture(self):
        def packet(time: int) -> av.Packet:
            made = av.Packet(b"x")
            made.pts = made.dts = time
            made.time_base, made.duration, made.is_keyframe = Fraction(1, 1000), 40, True
            return made

        def run(clock: PacketClock, times: list[int]) -> list[int]:
            packets = [packet(time) for time in times]
            for p in packets:
                clock.fix(p)
            return [p.dts for p in packets]

        picture = PacketClock(40, 60, 10_000)
        assert run(picture, [0, 40, 80, 0, 40, 80, 120, 0]) == [0, 40, 80, 120, 160, 200, 240, 280]
        assert run(PacketClock(40, 60, 10_000), [0, 40, 50_000, 120]) == [0, 40, 80, 120]  # one time was damaged
        assert run(PacketClock(40, 60, None), [0, 40, 50_000]) == [0, 40, 50_000]
        sound = PacketClock(40, 60, 10_000, picture)
        assert run(sound, [0, 40, 79, 1, 41]) == [0, 40, 79, 121, 161]


def test_limits_are_checked_on_what_is_decoded(tmp_path):
    """A header may say anything: here the frames grow, and the header does not know of it."""
    small = make_odd(tmp_path / "small.mkv", Odd(suffix=".mkv", codec="mjpeg", pixel_format="yuvj420p"))
    large = make_odd(tmp_path / "large.mkv", Odd(".mkv", "mjpeg", "yuvj420p", size=(480, 640)))
    with av.open(str(large)) as read:
        packets = [bytes(p) for p in read.demux(video=0) if p.size]

    def swap(index: int, packet: av.Packet) -> av.Packet:
        new = av.Packet(packets[index] if index >= 2 else bytes(packet))
        new.pts, new.dts, new.time_base, new.is_keyframe = packet.pts, packet.dts, packet.time_base, True
        return new

    clip = rewrite(small, tmp_path / "forged.mkv", swap)
    with ClipReader(clip) as reader:
        assert [f.rgb.shape for f in reader] == [(48, 64, 3)] * 6
    assert reader.warnings == ["The size changes within the clip; all frames are scaled to the first, 64x48."]
    with (
        ClipReader(clip, limits=ClipLimits(pixels=10_000)) as reader,
        pytest.raises(BadInput, match=r"forged\.mkv: frames of more than 0.01 megapixels"),
    ):
        list(reader)
    with pytest.raises(BadInput, match=r"large\.mkv: frames of (640x480|more than 0.01)"):
        ClipReader(large, limits=ClipLimits(pixels=10_000))
    for limits, words in ((ClipLimits(frames=3), "more than 3 frames"), (ClipLimits(seconds=0.1), "longer than 0.1 s")):
        with ClipReader(small, limits=limits) as reader, pytest.raises(BadInput, match=words):
            list(reader)


def test_the_expected_number_of_frames_is_never_negative(tmp_path):
    """Zero says that nobody knows: a recording without an index, as cut off or still being written."""
    clip = make_clip(tmp_path / "in.mkv", moving_bars(30))
    data = clip.read_bytes()
    at = data.index(b"\x44\x89\x88")  # the duration, a float of 8 bytes
    for value in (bytes(8), np.array(-5000.0, ">f8").tobytes()):
        clip.write_bytes(data[: at + 3] + value + data[at + 11 :])
        with ClipReader(clip) as reader:
            assert reader.expected_frames >= 0
            assert len(list(reader)) == 30


def test_a_file_that_is_still_written_is_told(tmp_path):
    clip = make_clip(tmp_path / "in.ts", moving_bars(30))
    with ClipReader(clip) as reader:
        frames = iter(reader)
        next(frames)
        with clip.open("ab") as file:
            file.write(bytes(188))
        os.utime(clip)
        list(frames)
    assert "The file changed while it was read; the output may lack its end." in reader.warnings


def test_clips_without_a_picture_are_one_sentence(tmp_path):
    with av.open(str(tmp_path / "sound.mp4"), "w") as out:
        stream = out.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    with pytest.raises(BadInput, match=r"sound\.mp4: the clip has no picture track\."):
        ClipReader(tmp_path / "sound.mp4")
    # The last one is a playlist, which would make ffmpeg open another file.
    make_odd(tmp_path / "other.mp4", Odd())
    playlist = b"ffconcat version 1.0\nfile other.mp4\n"
    bad = {"empty.mkv": b"", "text.mp4": b"no clip", "zero.avi": bytes(100_000), "list.mp4": playlist}
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadInput, match=rf"{name}: the clip cannot be read"):
            ClipReader(tmp_path / name)
    with pytest.raises(BadInput, match=r"none\.mp4: the clip cannot be read \(No such file"):
        ClipReader(tmp_path / "none.mp4")


@pytest.mark.parametrize("suffix", [".mp4", ".flv", ".mkv"])
def test_times_of_a_time_lapse_are_not_taken_for_damage(tmp_path, suffix):
    """With reordered frames, the display time is minutes after the decode time."""
    source = make_odd(tmp_path / f"in{suffix}", Odd(suffix, times=tuple(range(0, 480_000, 20_000))))
    with ClipReader(source) as reader:
        times = [float(frame.pts * reader.time_base) for frame in reader]
    assert np.diff(times) == pytest.approx(np.full(23, 20))


def test_a_colour_matrix_that_is_not_known_is_told(tmp_path):
    source = make_odd(tmp_path / "in.mp4", Odd(frame_options=(("x264-params", "colormatrix=ycgco"),)))
    with ClipReader(source) as reader:
        assert len(list(reader)) == 6
    assert reader.warnings == ["The clip's colours are stored as YCgCo, which is not known here; they will be wrong."]


def test_pixels_that_change_their_shape_are_told(tmp_path):
    """Broadcasts change between 4:3 and 16:9."""
    parts = [
        make_odd(tmp_path / f"{i}.ts", Odd(".ts", times=tuple(range(200 * i, 200 * i + 200, 40)), pixel_shape=shape))
        for i, shape in enumerate((Fraction(16, 15), Fraction(64, 45)))
    ]
    (tmp_path / "in.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    with ClipReader(tmp_path / "in.ts") as reader:
        assert len(list(reader)) == 10
        assert reader.pixel_shape == Fraction(16, 15)
        assert "The shape of the pixels changes within the clip" in "".join(reader.warnings)
