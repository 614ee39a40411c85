"""What goes with the picture: sound, subtitles, data, further pictures, chapters, metadata, and what is left out."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from gen.media.video import ClipReader, ClipWriter, Part
from gen.media.video.boxes import XMP
from tests.media.odd_clips import waves
from tests.media.test_video import make_clip, moving_bars

MS = Fraction(1, 1000)


def add_picture(out, codec: str = "libx264", size: tuple[int, int] = (48, 64)) -> av.VideoStream:
    stream = out.add_stream(codec, rate=25)
    stream.height, stream.width = size
    stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    return stream


def pictures(stream: av.VideoStream, count: int) -> list[av.Packet]:
    frames = [av.VideoFrame.from_ndarray(waves(i, stream.height, stream.width), format="rgb24") for i in range(count)]
    return [p for f in [*frames, None] for p in stream.encode(f)]


def sounds(stream: av.AudioStream, seconds: float, level: int = 8000) -> list[av.Packet]:
    rate = stream.codec_context.sample_rate
    wave = (np.sin(np.arange(int(rate * seconds)) / 20) * level).astype(np.int16)[None]
    frame = av.AudioFrame.from_ndarray(wave, format="s16", layout="mono")
    frame.sample_rate, frame.pts = rate, 0
    return stream.encode(frame) + stream.encode(None)


def text(stream: object, at: int, length: int, content: bytes) -> av.Packet:
    packet = av.Packet(content)
    packet.pts = packet.dts = at
    packet.duration, packet.time_base, packet.is_keyframe, packet.stream = length, MS, True, stream
    return packet


def movtext(words: str) -> bytes:
    return struct.pack(">H", len(words)) + words.encode()


def mux(out: av.container.OutputContainer, *packets: av.Packet) -> None:
    for packet in sorted(packets, key=lambda p: p.dts * p.time_base):
        out.mux(packet)


WHOLE = Part()


def copied(source: Path, target: Path, part: Part = WHOLE, strip: bool = False) -> ClipReader:
    with (
        ClipReader(source, part) as reader,
        ClipWriter(target, reader, (reader.height, reader.width), "made by gen", strip) as writer,
    ):
        for frame in reader:
            writer.write(frame.rgb, frame.pts)
    return reader


def subtitles(path: Path) -> list[tuple[float, bytes]]:
    with av.open(str(path)) as clip:
        stream = clip.streams.subtitles[0]
        return [(float(p.pts * p.time_base), bytes(p)) for p in clip.demux(stream) if p.size > 2]


@pytest.fixture
def full(tmp_path) -> Path:
    """An mp4 with all that one can hold."""
    path = tmp_path / "full.mp4"
    with av.open(str(path), "w", options={"movflags": "use_metadata_tags"}) as out:
        out.metadata.update(title="drive", location="+48.0000+011.0000/", creation_time="2024-05-06T07:08:09.000000Z")
        out.metadata["com.android.version"] = "13"
        out.metadata["comment"] = "a comment"
        front = add_picture(out)
        front.metadata["timecode"] = "10:11:12:00"
        rear = add_picture(out, size=(24, 32))
        rear.disposition = 0
        german = out.add_stream("aac", rate=8000, layout="mono")
        german.metadata["language"] = "deu"
        english = out.add_stream("aac", rate=8000, layout="mono")
        english.metadata["language"] = "eng"
        english.disposition = 0
        gps = out.add_mux_stream("mov_text", time_base=MS)
        gps.metadata["language"] = "fra"
        chapter = {"id": 1, "start": 0, "end": 1000, "time_base": MS, "metadata": {"title": "one"}}
        out.set_chapters([chapter, {**chapter, "id": 2, "start": 1000, "end": 2000, "metadata": {"title": "two"}}])
        packets = pictures(front, 50) + pictures(rear, 50) + sounds(german, 2) + sounds(english, 2, 100)
        mux(out, *packets, *(text(gps, 500 * i, 500, movtext(f"N48 {i}")) for i in range(4)))
    return path


def test_all_tracks_are_kept(full, tmp_path):
    reader = copied(full, tmp_path / "out.mp4")
    assert reader.left_out == []
    assert reader.warnings == ["picture track 1 (h264) is copied as it is, not translated."]
    with av.open(str(full)) as source, av.open(str(tmp_path / "out.mp4")) as out:
        kinds = [s.type for s in out.streams]
        assert kinds.count("video") == 2
        assert kinds.count("audio") == 2
        assert [s.language for s in out.streams.audio] == ["deu", "eng"]
        assert [int(s.disposition) for s in out.streams.audio] == [1, 0]
        assert out.streams.subtitles[0].language == "fra"
        assert out.streams.video[0].metadata["timecode"] == "10:11:12:00"
        assert kinds.count("data") == 2  # the time code's and the chapters' own tracks
        for key in ("title", "location", "creation_time", "com.android.version"):
            assert out.metadata[key] == source.metadata[key]
        assert out.metadata["comment"] == "made by gen | a comment"
        assert [c["metadata"]["title"] for c in out.chapters()] == ["one", "two"]
        assert out.duration == source.duration
    assert subtitles(tmp_path / "out.mp4") == subtitles(full)
    for kind in ("audio", "video"):
        with av.open(str(full)) as source, av.open(str(tmp_path / "out.mp4")) as out:
            a, b = (getattr(c.streams, kind)[1] for c in (source, out))
            assert [bytes(p) for p in source.demux(a)] == [bytes(p) for p in out.demux(b)]


def test_a_part_of_a_clip(full, tmp_path):
    """Times, sound and all other tracks are cut to it."""
    reader = copied(full, tmp_path / "out.mp4", Part(Fraction(3, 4), Fraction(1)))
    assert "time code, which is that of the clip's beginning" in reader.left_out
    assert "picture track 1 (h264): no key frame of it lies in this part" in reader.left_out
    with av.open(str(tmp_path / "out.mp4")) as out:
        times = [f.time for f in out.decode(video=0)]
        assert times == pytest.approx([i / 25 + 0.01 for i in range(25)], abs=2e-3)
        chapters = [(c["start"] * c["time_base"], c["end"] * c["time_base"]) for c in out.chapters()]
        assert chapters == [(0, Fraction(1, 4)), (Fraction(1, 4), 1)]
        assert not any("timecode" in stream.metadata for stream in out.streams)
        assert out.duration / 1e6 == pytest.approx(1, abs=0.1)
    for index in (0, 1):
        with av.open(str(tmp_path / "out.mp4")) as out:
            samples = sum(f.samples for f in out.decode(audio=index))
            assert samples / 8000 == pytest.approx(1, abs=0.26)
    shown = [(at, words[2:]) for at, words in subtitles(tmp_path / "out.mp4")]
    assert shown == [(0, b"N48 1"), (0.25, b"N48 2"), (0.75, b"N48 3")]
    with ClipReader(full, Part(Fraction(3, 4), Fraction(1))) as reader:
        part = [f.rgb for f in reader]
        assert reader.expected_frames == 25
    with ClipReader(full) as reader:
        whole = [f.rgb for f in reader]
    np.testing.assert_array_equal(part, whole[19:44])


def test_a_part_has_the_cover_and_names_what_a_second_picture_lacks(tmp_path):
    with av.open(str(tmp_path / "in.mp4"), "w") as out:
        front, rear, cover = add_picture(out), add_picture(out, size=(24, 32)), add_picture(out, "mjpeg")
        rear.disposition, cover.disposition = 0, Disposition.attached_pic
        rear.options = {"g": "20", "keyint_min": "20", "sc_threshold": "0"}
        mux(out, *pictures(front, 50), *pictures(rear, 50), *pictures(cover, 1))
    reader = copied(tmp_path / "in.mp4", tmp_path / "out.mp4", Part(Fraction(1, 2), Fraction(1)))
    assert reader.left_out == ["the first 0.30 s of picture track 1 (h264), before a key frame"]
    with av.open(str(tmp_path / "in.mp4")) as source, av.open(str(tmp_path / "out.mp4")) as out:
        assert [next(iter(c.decode(c.streams.video[1]))).time for c in (source, out)] == pytest.approx(
            [0, 0.3], abs=0.01
        )
        shown = [bytes(next(iter(c.demux(c.streams.video[2])))) for c in (source, out)]
        assert shown[0] == shown[1]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".avi", ".mov", ".webm"])
def test_a_part_begins_at_its_frame_in_any_container(tmp_path, suffix):
    codec = {".avi": "mpeg4", ".webm": "libvpx"}.get(suffix, "libx264")
    clip = make_clip(tmp_path / f"in{suffix}", moving_bars(50), codec=codec, metadata={})
    with ClipReader(clip) as reader:
        whole = [f.rgb for f in reader]
    with ClipReader(clip, Part(Fraction(6, 5), Fraction(1, 5))) as reader:
        part = list(reader)
    np.testing.assert_array_equal([f.rgb for f in part], whole[30:35])
    assert [float(f.pts * reader.time_base) for f in part] == pytest.approx([0, 0.04, 0.08, 0.12, 0.16], abs=2e-3)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".avi", ".mpg"])
@pytest.mark.parametrize("codec", ["mpeg4", "mpeg2video", "libx264"])
def test_a_part_begins_at_any_frame(tmp_path, suffix, codec):
    """Before, at and after key frames: some containers seek past the frame, or to one that needs frames before it."""
    clip = make_clip(tmp_path / f"in{suffix}", moving_bars(50), codec=codec, metadata={})
    with ClipReader(clip) as reader:
        whole = [f.rgb for f in reader]
    for first in range(1, 40):
        with ClipReader(clip, Part(Fraction(first, 25), Fraction(1, 5))) as reader:
            np.testing.assert_array_equal([f.rgb for f in reader], whole[first : first + 5])
        assert reader.warnings == []


@pytest.mark.parametrize("suffix", [".ts", ".mpg", ".mp4"])
def test_half_a_second_at_30_frames_a_second_is_15_frames(tmp_path, suffix):
    """The clock of the first two begins at a time that is no whole number of microseconds."""
    clip = make_clip(tmp_path / f"in{suffix}", moving_bars(60), Fraction(30))
    with ClipReader(clip) as reader:
        whole = [f.rgb for f in reader]
    for first in (0, 15, 30):
        with ClipReader(clip, Part(Fraction(first, 30), Fraction(1, 2))) as reader:
            np.testing.assert_array_equal([f.rgb for f in reader], whole[first : first + 15])


def test_a_part_of_an_avi_whose_frames_are_reordered(tmp_path):
    """As XviD writes it: frames before a key frame in time come after it, and cannot be decoded after a seek."""
    with av.open(str(tmp_path / "in.avi"), "w") as out:
        picture = add_picture(out, "mpeg4")
        picture.options = {"g": "12", "bf": "2"}
        mux(out, *pictures(picture, 50))
    with ClipReader(tmp_path / "in.avi") as reader:
        whole = [f.rgb for f in reader]
    for first in (11, 12, 13, 25, 37):
        with ClipReader(tmp_path / "in.avi", Part(Fraction(first, 25), Fraction(1, 5))) as reader:
            np.testing.assert_array_equal([f.rgb for f in reader], whole[first : first + 5])


def test_a_part_of_a_programme_stream_has_its_sound_from_the_first_sample_on(tmp_path):
    clip = make_clip(tmp_path / "in.mpg", moving_bars(250), codec="mpeg2video", sound="mp2", seconds=10)
    reader = copied(clip, tmp_path / "out.mp4", Part(Fraction(51, 25), Fraction(2)))
    with av.open(str(tmp_path / "out.mp4")) as out:
        heard = list(out.decode(audio=0))
    assert heard[0].time == pytest.approx(0, abs=0.03)
    assert sum(f.samples for f in heard) / 48000 == pytest.approx(2, abs=0.06)
    assert reader.warnings == []


def test_a_part_that_begins_before_the_first_packet_of_a_track(tmp_path):
    """FLV refuses to seek there."""
    with av.open(str(tmp_path / "in.flv"), "w") as out:
        picture, sound = add_picture(out), out.add_stream("mp3", rate=44100, layout="mono", format="s16p")
        late = sounds(sound, 1)
        for packet in late:
            packet.pts, packet.dts = packet.pts + 44100, packet.dts + 44100
        mux(out, *pictures(picture, 50), *late)
    copied(tmp_path / "in.flv", tmp_path / "out.mp4", Part(Fraction(1, 2)))
    with av.open(str(tmp_path / "out.mp4")) as out:
        assert next(out.decode(audio=0)).time == pytest.approx(0.5, abs=0.06)


def test_stripped_clips_keep_their_sound_alone(full, tmp_path):
    """Subtitles and data may hold places."""
    reader = copied(full, tmp_path / "out.mp4", strip=True)
    with av.open(str(tmp_path / "out.mp4")) as out:
        assert [s.type for s in out.streams] == ["video", "audio", "audio"]
        assert out.metadata["comment"] == "made by gen"
        assert not {"title", "location", "com.android.version"} & set(out.metadata)
        assert out.chapters() == []
    assert "subtitle track 4 (mov_text, fra): metadata is stripped" in reader.left_out


@pytest.mark.parametrize(("codec", "suffix"), [("aac", ".mkv"), ("aac", ".mp4"), ("pcm_s16le", ".mp4")])
def test_stripped_sound_keeps_its_language_alone(tmp_path, codec, suffix):
    with av.open(str(tmp_path / "in.mkv"), "w") as out:
        stream = add_picture(out)
        sound = out.add_stream(codec, rate=8000, layout="mono")
        sound.metadata.update(language="fra", title="secret interview", location="secret place", handler_name="secret")
        mux(out, *pictures(stream, 25), *sounds(sound, 1))
    copied(tmp_path / "in.mkv", tmp_path / f"out{suffix}", strip=True)
    assert b"secret" not in (tmp_path / f"out{suffix}").read_bytes()
    with av.open(str(tmp_path / f"out{suffix}")) as out:
        assert out.streams.audio[0].language == "fra"


def test_matroska_keeps_subtitles_attachments_and_covers(tmp_path):
    with av.open(str(tmp_path / "in.mkv"), "w") as out:
        stream = add_picture(out)
        words = out.add_mux_stream("subrip", time_base=MS)
        words.metadata.update(language="ger", title="log")
        words.disposition = av.stream.Disposition.forced
        out.add_attachment("font.ttf", "application/x-truetype-font", b"a font")
        out.add_attachment("cover.jpg", "image/jpeg", jpeg())
        mux(out, *pictures(stream, 25), text(words, 100, 500, b"hello"), text(words, 100, 500, b"at the same time"))
    reader = copied(tmp_path / "in.mkv", tmp_path / "out.mkv")
    assert (reader.left_out, reader.warnings) == ([], [])
    assert subtitles(tmp_path / "out.mkv") == [(0.1, b"hello"), (0.1, b"at the same time")]
    with av.open(str(tmp_path / "out.mkv")) as out:
        assert out.streams.subtitles[0].metadata["title"] == "log"
        assert out.streams.subtitles[0].disposition & av.stream.Disposition.forced
        assert [s.name for s in out.streams if s.type == "attachment"] == ["font.ttf"]
        covers = [s for s in out.streams.video if s.disposition & av.stream.Disposition.attached_pic]
        assert [bytes(p) for p in out.demux(covers[0]) if p.size] == [jpeg()]


def jpeg() -> bytes:
    with av.open("/dev/null", "w", format="null") as out:
        stream = add_picture(out, "mjpeg", (480, 640))
        frame = av.VideoFrame.from_ndarray(waves(0, 480, 640), format="rgb24")
        return bytes(stream.encode(frame)[0])


def test_a_cover_is_not_the_picture(tmp_path):
    """Though it is larger, and comes first."""
    with av.open(str(tmp_path / "in.mp4"), "w") as out:
        cover = add_picture(out, "mjpeg", (480, 640))
        cover.disposition = av.stream.Disposition.attached_pic
        stream = add_picture(out)
        out.start_encoding()
        out.mux(cover.encode(av.VideoFrame.from_ndarray(waves(0, 480, 640), format="rgb24")))
        mux(out, *pictures(stream, 5))
    reader = copied(tmp_path / "in.mp4", tmp_path / "out.mp4")
    assert (reader.height, reader.width) == (48, 64)
    assert (reader.left_out, reader.warnings) == ([], [])
    with av.open(str(tmp_path / "in.mp4")) as source, av.open(str(tmp_path / "out.mp4")) as out:
        covers = [s for s in out.streams.video if s.disposition & av.stream.Disposition.attached_pic]
        old = [s for s in source.streams.video if s.disposition & av.stream.Disposition.attached_pic]
        assert [bytes(p) for p in out.demux(covers[0])] == [bytes(p) for p in source.demux(old[0])]


def test_what_the_container_cannot_hold_is_named(tmp_path):
    with av.open(str(tmp_path / "in.webm"), "w") as out:
        stream = add_picture(out, "libvpx")
        sound = out.add_stream("libopus", rate=48000, layout="mono")
        words = out.add_mux_stream("webvtt", time_base=MS)
        words.metadata["language"] = "ger"
        mux(out, *pictures(stream, 25), *sounds(sound, 1), text(words, 100, 500, b"hello"))
    reader = copied(tmp_path / "in.webm", tmp_path / "out.mp4")
    assert reader.left_out == ["subtitle track 2 (webvtt, ger): .mp4 cannot hold it"]
    with av.open(str(tmp_path / "out.mp4")) as out:
        assert out.streams.audio[0].codec_context.name == "opus"


def data_track(path: Path, kind: bytes) -> Path:
    """An mp4 with a track of a camera's own data: a subtitle track with other names in its header."""
    with av.open(str(path), "w") as out:
        stream = add_picture(out)
        track = out.add_mux_stream("mov_text", time_base=MS)
        mux(out, *pictures(stream, 50), *(text(track, 500 * i, 500, movtext(f"N48 {i}")) for i in range(4)))
    path.write_bytes(path.read_bytes().replace(b"tx3g", kind).replace(b"sbtl", b"meta"))
    return path


def test_data_tracks_are_kept_or_named(tmp_path):
    """GoPro's (gpmd) has a place in mp4 by ffmpeg; Apple's and Sony's have none."""
    assert copied(data_track(tmp_path / "gopro.mp4", b"gpmd"), tmp_path / "out.mp4").left_out == []
    with av.open(str(tmp_path / "out.mp4")) as out:
        stream = out.streams[1]
        assert stream.type == "data"
        found = [(p.pts * p.time_base, bytes(p)) for p in out.demux(stream) if p.size > 2]
    assert found == [(Fraction(i, 2), movtext(f"N48 {i}")) for i in range(4)]
    for kind in (b"mebx", b"rtmd"):
        reader = copied(data_track(tmp_path / "other.mp4", kind), tmp_path / "out.mp4")
        assert reader.left_out == ["data track 1 (unknown codec): .mp4 cannot hold it"]


def test_data_inside_the_picture_is_named(tmp_path):
    """As cars note their speed: SEI messages of unregistered user data (ITU-T H.264, D.1.7)."""
    clip = make_clip(tmp_path / "plain.mp4", moving_bars(5))
    assert copied(clip, tmp_path / "out.mp4").left_out == []  # x264's own message is nothing that is missed
    message = bytes([6, 5, 20]) + bytes(range(16)) + b"88.0" + b"\x80"
    with av.open(str(clip)) as read, av.open(str(tmp_path / "in.mp4"), "w") as out:
        stream = out.add_stream_from_template(read.streams.video[0])
        for packet in read.demux(video=0):
            if packet.dts is not None:
                new = av.Packet(len(message).to_bytes(4, "big") + message + bytes(packet))
                new.pts, new.dts, new.time_base = packet.pts, packet.dts, packet.time_base
                new.is_keyframe, new.stream = packet.is_keyframe, stream
                out.mux(new)
    assert copied(tmp_path / "in.mp4", tmp_path / "out.mp4").left_out == ["data inside the picture track (SEI)"]


def test_sound_that_cannot_be_decoded_costs_the_sound(tmp_path):
    clip = make_clip(tmp_path / "in.mov", moving_bars(10), sound="aac")
    data = bytearray(clip.read_bytes())
    start = data.index(b"soun")
    data[start:] = data[start:].replace(b"mp4a", b"apac").replace(b"esds", b"free")
    clip.write_bytes(data)
    reader = copied(clip, tmp_path / "out.mov")
    assert reader.left_out == ["sound track 1 (unknown codec): .mov cannot hold it"]
    assert reader.warnings == ["sound track 1 (unknown codec) cannot be decoded; the output is without it."]
    with av.open(str(tmp_path / "out.mov")) as out:
        assert [s.type for s in out.streams] == ["video"]


@pytest.mark.parametrize(
    ("format", "channels", "rate", "why"),
    [
        (0x2001, 1, 48_000, "sound track 1 (dts): it cannot be decoded"),
        (1, 60, 48_000, "sound track 1 (pcm_s16le): it cannot be decoded"),
        (1, 1, 1, "sound track 1 (pcm_s16le): .mp4 cannot hold it"),  # it would become hours
    ],
)
def test_damaged_headers_of_sound_cost_the_sound(tmp_path, format, channels, rate, why):
    clip = make_clip(tmp_path / "in.avi", moving_bars(10), sound="pcm_s16le")
    data = bytearray(clip.read_bytes())
    struct.pack_into("<HHI", data, data.index(b"strf", data.index(b"auds")) + 8, format, channels, rate)
    clip.write_bytes(data)
    reader = copied(clip, tmp_path / "out.mp4")
    assert reader.left_out == [why]
    with av.open(str(tmp_path / "out.mp4")) as out:
        assert [(s.type, s.frames) for s in out.streams] == [("video", 10)]


def test_a_track_without_a_readable_packet_is_named(tmp_path):
    clip = make_clip(tmp_path / "in.mkv", moving_bars(10), sound="libopus")
    data = clip.read_bytes()
    clip.write_bytes(data.replace(b"OpusHead\1" + data.partition(b"OpusHead\1")[2][:1], b"OpusHead\1\xff"))
    assert copied(clip, tmp_path / "out.mkv").left_out == ["sound track 1 (opus): no packet of it can be read"]


def test_sound_that_begins_late_in_a_broadcast_is_kept(tmp_path):
    """Its rate is not known when the file is opened."""
    parts = []
    for start, with_sound in ((0, False), (150, True)):
        with av.open(str(tmp_path / f"{start}.ts"), "w") as out:
            stream = add_picture(out)
            sound = out.add_stream("mp2", rate=48_000, layout="mono") if with_sound else None
            packets = pictures(stream, 150 if start == 0 else 25)
            for packet in packets:
                packet.pts, packet.dts = packet.pts + start, packet.dts + start
            others = sounds(sound, 1) if sound else []
            for packet in others:
                packet.pts = packet.dts = packet.pts + 6 * 48_000
            mux(out, *packets, *others)
        parts.append((tmp_path / f"{start}.ts").read_bytes())
    (tmp_path / "in.ts").write_bytes(b"".join(parts))
    reader = copied(tmp_path / "in.ts", tmp_path / "out.mp4")
    assert reader.left_out == []
    with av.open(str(tmp_path / "out.mp4")) as out:
        assert next(out.decode(audio=0)).time == pytest.approx(6, abs=0.2)


def test_sound_of_a_rate_that_aac_lacks_is_resampled(tmp_path):
    with av.open(str(tmp_path / "in.avi"), "w") as out:
        stream = add_picture(out, "mpeg4")
        sound = out.add_stream("pcm_s16le", rate=192_000, layout="mono")
        mux(out, *pictures(stream, 25), *sounds(sound, 1))
    reader = copied(tmp_path / "in.avi", tmp_path / "out.mp4")
    assert reader.warnings == ["Sound of 192000 Hz is resampled to 48000 Hz, which AAC can hold."]
    with av.open(str(tmp_path / "out.mp4")) as out:
        frames = list(out.decode(audio=0))
    assert {f.sample_rate for f in frames} == {48000}
    assert sum(f.samples for f in frames) / 48000 == pytest.approx(1, abs=0.05)


def test_a_gap_in_the_sound_stays_a_gap(tmp_path):
    """AAC has none: it is filled with silence, or all that follows would come too early."""
    with av.open(str(tmp_path / "in.mkv"), "w") as out:
        stream = add_picture(out)
        sound = out.add_stream("pcm_s16le", rate=8000, layout="mono")
        parts = []
        for at in (0.2, 0.3, 1.0, 1.1, 1.2):
            noise = (np.sin(np.arange(800)) * 20000).astype(np.int16)[None]
            frame = av.AudioFrame.from_ndarray(noise, format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 8000, int(at * 8000), Fraction(1, 8000)
            parts += sound.encode(frame)
        mux(out, *pictures(stream, 50), *parts)
    copied(tmp_path / "in.mkv", tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as out:
        frames = list(out.decode(audio=0))
        heard = np.zeros(16000)
        for f in frames:
            at = max(0, round(f.time * 8000))
            heard[at : at + f.samples] = np.abs(f.to_ndarray()[0])[: 16000 - at]
    loud = [heard[i : i + 800].mean() > 0.05 for i in range(0, 16000, 800)]
    assert [i for i, is_loud in enumerate(loud) if is_loud] in ([2, 3, 10, 11, 12], [2, 3, 4, 10, 11, 12, 13])


def test_boxes_that_ffmpeg_does_not_know_are_named_and_xmp_is_kept(tmp_path):
    clip = make_clip(tmp_path / "in.mp4", moving_bars(5))
    xmp = struct.pack(">I4s", 24 + 5, b"uuid") + XMP + b"<xmp>"
    other = struct.pack(">I4s", 24 + 5, b"uuid") + bytes(16) + b"maker"
    clip.write_bytes(clip.read_bytes() + xmp + other + struct.pack(">I4s", 12, b"gps ") + b"here")
    reader = copied(clip, tmp_path / "out.mp4")
    assert reader.left_out == ["metadata box uuid", "metadata box gps"]
    assert xmp in (tmp_path / "out.mp4").read_bytes()
    with ClipReader(tmp_path / "out.mp4") as out:
        assert len(list(out)) == 5
    assert copied(clip, tmp_path / "bare.mp4", strip=True).left_out == []
    assert xmp not in (tmp_path / "bare.mp4").read_bytes()


def test_what_dash_cams_hide_in_free_space_and_behind_the_clip_is_named(tmp_path):
    clip = make_clip(tmp_path / "in.mp4", moving_bars(5))
    data = clip.read_bytes()
    clip.write_bytes(data + struct.pack(">I4s", 1008, b"skip") + bytes(1000) + bytes(50))
    assert copied(clip, tmp_path / "out.mp4").left_out == []
    gps = b"[1520000000000]$GPRMC,174829.00,A,3359.1,N,".ljust(1000)
    clip.write_bytes(data + struct.pack(">I4s", 1008, b"free") + gps + b"\xff\xff\xff\xfftrailer of the maker")
    names = ["data in a box that is marked as free", "data behind the clip"]
    assert copied(clip, tmp_path / "out.mp4").left_out == names


def test_what_dash_cams_hide_in_avi_files_is_named(tmp_path):
    clip = make_clip(tmp_path / "in.avi", moving_bars(5))
    data, gps = clip.read_bytes(), b"[1520000000000]$GPRMC,174829.00,A,3359.1,N,".ljust(1000)
    assert copied(clip, tmp_path / "out.mp4").left_out == []

    def with_chunk(kind: bytes, content: bytes) -> bytes:
        size = struct.unpack("<I", data[4:8])[0] + 8 + len(content)
        return data[:4] + struct.pack("<I", size) + data[8:] + struct.pack("<4sI", kind, len(content)) + content

    for content, names in (
        (with_chunk(b"JUNK", bytes(1000)), []),
        (with_chunk(b"JUNK", b"name of a muxer".ljust(1000, b"\0")), []),
        (with_chunk(b"JUNK", gps), ["data in a chunk that is marked as JUNK"]),
        (with_chunk(b"gps0", gps), ["metadata chunk gps0"]),
        (data + gps, ["data behind the clip"]),
        (data[:4] + bytes(4) + data[8:] + gps, []),  # was cut off: nothing tells where it ends
    ):
        clip.write_bytes(content)
        assert copied(clip, tmp_path / "out.mp4").left_out == names


@pytest.mark.parametrize("suffix", [".ts", ".m2ts"])
def test_what_dash_cams_hide_between_the_packets_of_tracks_is_named(tmp_path, suffix):
    clip = make_clip(tmp_path / f"in{suffix}", moving_bars(5), sound="aac")
    assert copied(clip, tmp_path / "out.mp4").left_out == []
    before = b"" if suffix == ".ts" else bytes(4)  # a time
    gps = before + bytes([0x47, 0x43, 0x00, 0x10]) + b"$GPRMC,174829.00,A,3359.1,N,".ljust(184)
    clip.write_bytes(clip.read_bytes() + 3 * gps)
    assert copied(clip, tmp_path / "out.mp4").left_out == ["data in packets that belong to no track (PID 0x300)"]


def test_lost_metadata_is_named(tmp_path):
    with av.open(str(tmp_path / "in.mkv"), "w") as out:
        out.metadata.update(title="drive", dashcam_serial="0815")
        mux(out, *pictures(add_picture(out), 5))
    assert copied(tmp_path / "in.mkv", tmp_path / "out.mkv").left_out == []
    assert copied(tmp_path / "in.mkv", tmp_path / "out.mp4").left_out == []  # ffmpeg's own tags
    with av.open(str(tmp_path / "out.mp4")) as out:
        assert {k.lower(): v for k, v in out.metadata.items()}["dashcam_serial"] == "0815"


@pytest.mark.parametrize(("count", "layout"), [(4, "4.0"), (6, "5.1"), (16, "stereo")])
def test_sound_of_many_channels_without_a_layout_becomes_aac(tmp_path, count, layout):
    """AVI, Matroska and recorders give the number of channels alone."""
    with av.open(str(tmp_path / "in.mkv"), "w") as out:
        stream, sound = add_picture(out), out.add_stream("pcm_s16le", rate=8000)
        sound.layout = f"{count} channels"
        frame = av.AudioFrame.from_ndarray(np.full((1, 8000 * count), 4000, np.int16), "s16", f"{count} channels")
        frame.sample_rate, frame.pts = 8000, 0
        mux(out, *pictures(stream, 25), *sound.encode(frame), *sound.encode(None))
    reader = copied(tmp_path / "in.mkv", tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as out:
        assert out.streams.audio[0].layout.name == layout
    mixed = ["Sound of 16 channels is mixed to stereo, because AAC cannot hold so many."] if count == 16 else []
    assert (reader.left_out, reader.warnings) == ([], mixed)


def test_titles_of_tracks_are_kept_and_what_is_lost_of_tracks_and_chapters_is_named(tmp_path):
    with av.open(str(tmp_path / "in.mkv"), "w") as out:
        stream, sound = add_picture(out), out.add_stream("aac", rate=8000, layout="mono")
        sound.metadata.update({"title": "Mic 2", "comment": "by the window"})
        second = {"start": 0, "end": 1, "time_base": Fraction(1), "metadata": {"title": "One", "artist": "Ann"}}
        out.set_chapters([{"id": 1, **second}])
        mux(out, *pictures(stream, 25), *sounds(sound, 1))
    assert copied(tmp_path / "in.mkv", tmp_path / "same.mkv").left_out == []
    lost = ["metadata of tracks: comment", "metadata of chapters: artist"]
    assert copied(tmp_path / "in.mkv", tmp_path / "out.mp4").left_out == lost
    assert copied(tmp_path / "out.mp4", tmp_path / "again.mov").left_out == []
    with av.open(str(tmp_path / "again.mov")) as out:
        assert out.streams.audio[0].metadata["name"] == "Mic 2"
