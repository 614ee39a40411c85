"""The picture of a copied clip is what ffmpeg shows of the source: one property over many kinds of clip, and HDR."""

import os
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gen.errors import BadSetting
from gen.media.video import ClipReader, ClipWriter, Encoding, check_encoding
from tests.media.odd_clips import Odd, make_odd, shown

CODECS = {
    ".mp4": ("libx264", "libx265", "mpeg4"),
    ".mov": ("libx264", "mjpeg", "prores_ks"),
    ".mkv": ("libx264", "ffv1", "libx265"),
    ".avi": ("mjpeg", "mpeg4", "ffv1", "libx264"),
    ".ts": ("libx264", "mpeg2video"),
    ".m2ts": ("libx264",),
    ".webm": ("libvpx-vp9",),
    ".wmv": ("wmv2",),
    ".mpg": ("mpeg2video",),
    ".flv": ("libx264",),
    ".3gp": ("libx264",),
    ".m4v": ("mpeg4",),
}
FORMATS = {
    "libx264": ("yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "gray"),
    "libx265": ("yuv420p", "yuv444p", "yuv420p10le", "yuv422p12le", "gbrp"),
    "ffv1": ("yuv420p", "yuv411p", "yuv440p", "yuv420p16le", "yuva420p", "bgra", "gray10le"),
    "mjpeg": ("yuvj420p", "yuvj422p", "yuvj444p"),
    "prores_ks": ("yuv422p10le", "yuv444p10le"),
    "libvpx-vp9": ("yuv420p", "yuv444p"),
}
VARYING = (".mp4", ".mov", ".mkv", ".webm", ".3gp", ".ts", ".m2ts")
"""Containers with display times of their own."""
UNTAGGED = ("mpeg4", "mpeg2video", "wmv2", "mjpeg")
"""Codecs of which most say nothing of colour, so that the clip must be in what players assume."""


@st.composite
def odd_clips(draw: st.DrawFn) -> Odd:
    suffix = draw(st.sampled_from(sorted(CODECS)))
    codec = draw(st.sampled_from(CODECS[suffix]))
    pixel_format = draw(st.sampled_from(FORMATS.get(codec, ("yuv420p",))))
    full = pixel_format.startswith("yuvj") or (codec in ("libx264", "ffv1") and draw(st.booleans()))
    steps = draw(st.lists(st.sampled_from([20, 40, 40, 40, 60, 200]), min_size=5, max_size=8))
    vary = suffix in VARYING and codec not in ("mpeg4", "mpeg2video", "libx265") and draw(st.booleans())
    times = [0] if suffix in (".ts", ".m2ts") else [draw(st.sampled_from([0, 0, 40, 500]))] if vary else [0]
    for step in steps if vary else [40] * len(steps):
        times.append(times[-1] + step)
    turnable = suffix in (".mp4", ".mov", ".3gp", ".m4v")
    interlaced = codec in ("libx264", "mpeg2video") and pixel_format == "yuv420p" and not full
    return Odd(
        suffix,
        codec,
        pixel_format,
        # x265 corrupts its memory at a width of 48.
        size=draw(st.sampled_from([(48, 64), (72, 128), *([(64, 48)] if codec != "libx265" else [])])),
        matrix=5 if codec in UNTAGGED else draw(st.sampled_from([1, 2, 5, 6, 9])),
        full=full,
        rotation=draw(st.sampled_from([0, 90, 180, 270])) if turnable else 0,
        mirrored=turnable and draw(st.booleans()),
        times=tuple(times),
        pixel_shape=draw(st.sampled_from([Fraction(1), Fraction(4, 3), Fraction(8, 9)])),
        fields=draw(st.sampled_from([None, None, "tff", "bff"])) if interlaced else None,
        frame_options=(("bf", "0"),) if vary and codec == "libx264" else (),
    )


H264 = Encoding()


def copied(source: Path, target: Path, encoding: Encoding = H264) -> ClipReader:
    with (
        ClipReader(source, keep_fields=encoding.keeps_fields) as reader,
        ClipWriter(target, reader, (reader.height, reader.width), encoding=encoding) as writer,
    ):
        for frame in reader:
            writer.write(frame.rgb, frame.pts)
    return reader


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(odd=odd_clips(), target=st.sampled_from([".mp4", ".mov", ".mkv"]))
def test_a_copied_clip_is_what_ffmpeg_shows_of_the_source(tmp_path, odd, target):
    source, out = make_odd(tmp_path / f"in{odd.suffix}", odd), tmp_path / f"out{target}"
    reader = copied(source, out, Encoding(crf=4))  # what is lost by compression is no matter here
    before, after = shown(source), shown(out)
    assert len(after.rgb) == len(before.rgb) == len(odd.times)
    assert after.rgb[0].shape == before.rgb[0].shape
    turned = odd.rotation % 180 or odd.mirrored or odd.rotation
    for a, b in zip(before.rgb, after.rgb, strict=True):
        assert np.abs(a.astype(int) - b).mean() < (6 if odd.fields and turned else 2)
        assert np.abs((a.astype(int) - b).mean((0, 1))).max() < 1.5  # no tint
    # AVI has no times for frames out of order; Matroska rounds to milliseconds.
    times = [i / 25 for i in range(len(odd.times))] if odd.suffix == ".avi" else before.times
    assert after.times == pytest.approx(times, abs=2.1e-3)
    # Of MPEG streams and WMV ffmpeg guesses the duration.
    assert min(abs(after.end - before.end), abs(after.end - after.times[-1] - 0.04)) < 6e-3
    assert after.pixel_shape == before.pixel_shape
    assert after.fields == (None if turned else before.fields)
    assert bool(odd.fields and turned) == ("The clip is interlaced; the output is deinterlaced." in reader.warnings)
    assert (before.depth > after.depth) == any("bit depth" in words for words in reader.left_out)
    assert ("yuva" in odd.pixel_format or "bgra" in odd.pixel_format) == ("transparency" in reader.left_out)


def signal(nits: np.ndarray, transfer: int) -> np.ndarray:
    """Display light (..., 3) in cd/m2 -> PQ or HLG signal, 0..1: ITU-R BT.2100-2, tables 4 and 5, inverted."""
    if transfer == 16:
        y = (nits / 10000) ** 0.1593017578125
        return ((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375
    luminance = nits @ [0.2627, 0.6780, 0.0593]
    scene = nits / 1000 * ((luminance / 1000) ** (-1 / 6))[..., None]
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9))
                    + 0.55991073)  # fmt: skip


SRGB = [(64, 64, 64), (128, 128, 128), (255, 48, 32), (240, 240, 240), (20, 90, 200)]
TO_2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
"""Linear BT.709 -> BT.2020: ITU-R BT.2087, table 2."""


def make_hdr(path: Path, transfer: int) -> Path:
    """Patches of SRGB at 203 cd/m2 for white, and one of 1000 cd/m2, as a telephone writes them."""
    light = np.array(SRGB) / 255
    linear = np.where(light <= 0.04045, light / 12.92, ((light + 0.055) / 1.055) ** 2.4)
    nits = np.vstack([linear @ TO_2020.T * 203, [[1000.0] * 3]])
    codes = np.round(signal(nits, transfer) * 65535).astype(np.uint16)
    picture = np.repeat(np.repeat(codes[None], 64, axis=0), 32, axis=1)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx265", rate=10)
        stream.height, stream.width = picture.shape[:2]
        stream.pix_fmt, stream.options = "yuv420p10le", {"crf": "2", "x265-params": "log-level=none"}
        context = stream.codec_context
        context.colorspace, context.color_primaries, context.color_trc, context.color_range = 9, 9, transfer, 1
        for index in range(3):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb48le")
            frame = frame.reformat(format="yuv420p10le", dst_colorspace=9, src_color_range=2)
            frame.pts, frame.time_base = index, Fraction(1, 10)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_hdr_becomes_sdr_with_white_at_203_nits(tmp_path, transfer, name):
    reader = copied(make_hdr(tmp_path / "in.mp4", transfer), tmp_path / "out.mp4")
    assert reader.warnings == [f"The clip is HDR ({name}); the output is SDR, with white at 203 cd/m2."]
    assert reader.left_out == ["bit depth: 10 bits in the source, 8 in the output"]
    found = shown(tmp_path / "out.mp4").rgb[0][32, 16::32]
    np.testing.assert_allclose(found, [*SRGB, (255, 255, 255)], atol=4)
    with av.open(str(tmp_path / "out.mp4")) as out:
        context = out.streams.video[0].codec_context
        assert (context.colorspace, context.color_primaries, context.color_trc) == (1, 1, 1)


@pytest.mark.parametrize("codec", ["hevc", "av1"])
@pytest.mark.parametrize("depth", [8, 10])
def test_other_codecs(tmp_path, codec, depth):
    """Fields become frames, and depth is as asked."""
    source = make_odd(tmp_path / "in.mp4", Odd(fields="tff", size=(64, 96)))
    reader = copied(source, tmp_path / "out.mp4", Encoding(codec, bit_depth=depth))
    assert reader.warnings == ["The clip is interlaced; the output is deinterlaced."]
    before, after = shown(source), shown(tmp_path / "out.mp4")
    assert (after.fields, after.depth) == (None, depth)
    assert np.abs(np.array(before.rgb).astype(int) - after.rgb).mean() < 4
    assert after.times == pytest.approx(before.times, abs=1e-3)
    with av.open(str(tmp_path / "out.mp4")) as out:
        assert out.streams.video[0].codec_context.codec.canonical_name == codec


def test_times_in_nanoseconds_fit_into_an_mp4(tmp_path):
    """Matroska may have them; mp4 has 32 bits for the time between two frames."""
    source = make_odd(tmp_path / "in.mkv", Odd(".mkv"))
    with ClipReader(source) as reader:
        reader.decoder.time_base = Fraction(1, 10**9)
        with ClipWriter(tmp_path / "out.mp4", reader, (48, 64)) as writer:
            for index, frame in enumerate(reader):
                writer.write(frame.rgb, 10 * 10**9 * index)
    assert shown(tmp_path / "out.mp4").times == pytest.approx([0, 10, 20, 30, 40, 50])


def test_quality(tmp_path):
    source = make_odd(tmp_path / "in.mp4", Odd(size=(144, 256)))
    copied(source, tmp_path / "good.mp4", Encoding(crf=10))
    copied(source, tmp_path / "bad.mp4", Encoding(crf=45))
    assert (tmp_path / "good.mp4").stat().st_size > 2 * (tmp_path / "bad.mp4").stat().st_size


@pytest.mark.parametrize("count", [1, 2, 3])
def test_decode_times_of_a_clip_shorter_than_what_hevc_reorders(tmp_path, count):
    """x265 leaves them unset in about half of such clips; mp4 then refuses them."""
    source = make_odd(tmp_path / "a.mp4", Odd(size=(48, 128), times=tuple(range(0, 40 * count, 40))))
    for attempt in range(4):
        copied(source, tmp_path / f"{attempt}.mp4", Encoding("hevc"))
        assert shown(tmp_path / f"{attempt}.mp4").times == pytest.approx(shown(source).times)


@pytest.mark.parametrize(
    ("codec", "size", "message"),
    [
        ("hevc", (64, 48), "libx265 needs frames that are at least 64 pixels wide and 1 high; use h264"),
        ("av1", (2, 64), "libsvtav1 needs frames that are at least 4 pixels wide and 4 high; use h264"),
    ],
)
def test_an_encoder_refuses_frames_that_are_too_small(tmp_path, codec, size, message):
    source = make_odd(tmp_path / "in.mp4", Odd(size=size))
    with pytest.raises(BadSetting, match=f"codec: {message}"):
        copied(source, tmp_path / "out.mp4", Encoding(codec))


def test_ten_bits_in_and_out(tmp_path):
    source = make_odd(tmp_path / "in.mkv", Odd(".mkv", pixel_format="yuv420p10le"))
    reader = copied(source, tmp_path / "out.mkv", Encoding(bit_depth=10))
    assert reader.left_out == ["precision beyond 8 bits: models work in 8 bits"]
    assert shown(tmp_path / "out.mkv").depth == 10


def test_encoders_are_checked_before_the_work():
    check_encoding(Encoding("hevc"))
    check_encoding(Encoding(encoder="ffv1"))
    with pytest.raises(BadSetting, match=r"encoder: 'h264_nonsense' is no video encoder .* libx264"):
        check_encoding(Encoding(encoder="h264_nonsense"))
    with pytest.raises(BadSetting, match="encoder: 'aac' is no video encoder"):
        check_encoding(Encoding(encoder="aac"))
    with pytest.raises(BadSetting, match=r"codec: \.mov cannot hold what libsvtav1 makes"):
        check_encoding(Encoding("av1"), ".mov")
    with pytest.raises(BadSetting, match="bit_depth: mpeg4 cannot write 10 bits"):
        check_encoding(Encoding(encoder="mpeg4", bit_depth=10))


@pytest.mark.skipif(sys.platform != "linux", reason="looks at Linux's list of threads")
def test_encoders_leave_no_real_time_threads(tmp_path):
    """As root, libsvtav1 makes the thread that opens it one, and the machine then does nothing else."""
    check_encoding(Encoding("av1"))
    threads = map(int, os.listdir("/proc/self/task"))
    assert {os.sched_getscheduler(thread) for thread in threads} == {os.SCHED_OTHER}
