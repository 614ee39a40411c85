"""Clips that are encoded in parts and joined from their packets."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from gen.media.video import CannotJoin, ClipReader, ClipWriter, EncodedPart, Encoding, PartWriter
from gen.media.video.joining import Coded, with_decode_times
from tests.media.odd_clips import Odd, make_odd
from tests.media.test_video import make_clip, moving_bars

NOTHING = np.zeros((0, 0, 3), np.uint8)


def both(source: Path, suffix: str, encoding: Encoding, borders: list[int]) -> tuple[Path, Path, list[np.ndarray]]:
    """The clip as one encoder writes it, as it is joined from parts that begin at these frames, and its frames."""
    whole, joined = source.with_name(f"whole{suffix}"), source.with_name(f"joined{suffix}")
    with ClipReader(source) as reader:
        size = (reader.height, reader.width)
        with ClipWriter(whole, reader, size, "a mark", encoding=encoding) as writer:
            frames = list(reader)
            for frame in frames:
                writer.write(*frame)
    with ClipReader(source) as reader:
        parts: list[EncodedPart] = []
        for begin, end in zip([0, *borders], [*borders, len(frames)], strict=True):
            with PartWriter(source.with_name(f"{begin}.part"), suffix, reader, size, encoding) as part:
                for frame in frames[begin:end]:
                    part.write(*frame)
            parts.append(part.part)
        times = reader.skim()
        assert times == [frame.pts for frame in frames]
        with ClipWriter(joined, reader, size, "a mark", encoding=encoding, parts=parts) as writer:
            for time in times:
                writer.write(NOTHING, time)
    return whole, joined, [frame.rgb for frame in frames]


def shown(path: Path) -> tuple[list[int], list[np.ndarray]]:
    with av.open(str(path)) as clip:
        frames = list(clip.decode(video=0))
        return [frame.pts for frame in frames], [frame.to_ndarray(format="rgb24").astype(np.int16) for frame in frames]


def packets(path: Path, kind: str) -> list[tuple[int | None, int | None, bytes]]:
    with av.open(str(path)) as clip:
        found = [packet for packet in clip.demux(clip.streams.get(**{kind: 0})) if packet.size]
        return [(packet.pts, packet.dts, bytes(packet)) for packet in found]


@pytest.mark.parametrize(
    ("codec", "suffix"),
    [
        ("h264", ".mp4"),
        ("h264", ".mov"),
        ("h264", ".mkv"),
        ("hevc", ".mp4"),
        ("hevc", ".mkv"),
        ("av1", ".mp4"),
        ("av1", ".mkv"),
    ],
)
def test_a_joined_clip_is_as_near_to_its_frames_as_a_whole_one(tmp_path, codec, suffix):
    """Two encoders of other frames lose other things, but each as little as the other, at the borders too."""
    source = make_clip(tmp_path / "in.mp4", moving_bars(90, 64, 80), sound="aac", seconds=4)
    whole, joined, frames = both(source, suffix, Encoding(codec), [12, 30, 47])
    (times, ours), (same, theirs) = shown(joined), shown(whole)
    assert times == same
    losses = [[np.abs(one - frame).mean() for one, frame in zip(clip, frames, strict=True)] for clip in (ours, theirs)]
    assert np.mean(losses[0]) < 1.05 * np.mean(losses[1])
    assert max(losses[0]) < 1.3 * max(losses[1])
    assert packets(joined, "audio") == packets(whole, "audio")
    assert [dts for _, dts, _ in packets(joined, "video")] == [dts for _, dts, _ in packets(whole, "video")]
    with av.open(str(whole)) as first, av.open(str(joined)) as second:
        assert first.metadata == second.metadata
        assert "a mark" in second.metadata.get("comment", second.metadata.get("COMMENT", ""))
        one, other = first.streams.video[0], second.streams.video[0]
        for name in ("duration", "frames", "average_rate", "time_base", "metadata"):
            assert getattr(one, name) == getattr(other, name)
        for name in ("extradata", "pix_fmt", "colorspace", "color_primaries", "color_trc", "color_range"):
            assert getattr(one.codec_context, name) == getattr(other.codec_context, name)


def test_nothing_is_lost_where_nothing_is_lost_by_a_whole_one(tmp_path):
    source = make_odd(tmp_path / "in.mkv", Odd(times=(0, 40, 60, 180, 190, 280, 400, 440), pixel_shape=Fraction(4, 3)))
    whole, joined, _ = both(source, ".mp4", Encoding(crf=0), [3, 5])
    (times, ours), (same, theirs) = shown(joined), shown(whole)
    assert times == same
    assert np.array_equal(ours, theirs)


def test_packets_of_another_encoder_are_not_joined(tmp_path):
    source = make_clip(tmp_path / "in.mp4", moving_bars(8))
    with ClipReader(source) as reader:
        size = (reader.height, reader.width)
        with PartWriter(tmp_path / "a.part", ".mp4", reader, size, Encoding()) as part:
            part.write(np.zeros((*size, 3), np.uint8), 0)
        parts = [part.part, part.part._replace(header=b"another")]

        def join() -> None:
            with ClipWriter(tmp_path / "out.mp4", reader, size, parts=parts) as writer:
                writer.write(NOTHING, 0)
                writer.write(NOTHING, 1)

        with pytest.raises(CannotJoin, match="encoders of different versions"):
            join()
    assert {path.name for path in tmp_path.iterdir()} == {"in.mp4", "a.part"}


def test_decode_times_go_on_over_the_border():
    """Of an encoder that decodes two frames ahead, where the second part's own guess would go back in time."""
    parts = [
        EncodedPart(Path("a"), (2, 2), b"", [Coded(0, -2, 1, True), Coded(3, -1, 1, False), Coded(1, 0, 1, False)]),
        EncodedPart(Path("b"), (2, 2), b"", [Coded(5, -9, 1, True), Coded(11, 4, 1, False), Coded(6, 5, 1, False)]),
    ]
    assert [coded.dts for coded in with_decode_times(parts)] == [-2, -1, 0, 1, 3, 5]
    late = parts[1]._replace(packets=[Coded(5, 3, 1, True), Coded(7, 5, 1, False), Coded(8, 6, 1, False)])
    early = late._replace(packets=[*late.packets, Coded(4, 7, 1, False)])
    with pytest.raises(CannotJoin, match="reorders frames"):
        with_decode_times([parts[0]._replace(packets=[Coded(0, 0, 1, True)]), early])
