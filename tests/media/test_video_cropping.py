"""Crops in the container, which are not applied, are named."""

import struct

import pytest

from tests.media.test_video import make_clip, moving_bars
from tests.media.test_video_tracks import copied

NAMED = ["the container's crop: the whole frames are there"]


def with_clap(data: bytes, width: int, height: int, *path: bytes) -> bytes:
    """The boxes with a clean aperture added to the sample entry at `path`."""
    out, at = b"", 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        content = data[at + 8 : at + size]
        if kind == path[0]:
            head = {b"stsd": 8, b"avc1": 78}.get(kind, 0)
            clap = struct.pack(">I4s8I", 40, b"clap", width, 1, height, 1, 0, 1, 0, 1)
            inner = content[head:] + clap if len(path) == 1 else with_clap(content[head:], width, height, *path[1:])
            content = content[:head] + inner
        out += struct.pack(">I4s", len(content) + 8, kind) + content
        at += size
    return out


@pytest.mark.parametrize(("aperture", "named"), [((64, 48), []), ((60, 48), NAMED), ((64, 40), NAMED)])
def test_a_clean_aperture_that_is_smaller_than_the_frames(tmp_path, aperture, named):
    clip = make_clip(tmp_path / "in.mov", moving_bars(3, 48, 64))
    path = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1")
    data = with_clap(clip.read_bytes(), *aperture, *path)
    assert len(data) == clip.stat().st_size + 40
    clip.write_bytes(data)
    assert copied(clip, tmp_path / "out.mov").left_out == named


def test_a_crop_of_matroska(tmp_path):
    clip = make_clip(tmp_path / "in.mkv", moving_bars(3, 48, 64))
    assert copied(clip, tmp_path / "plain.mkv").left_out == []
    data, unit = clip.read_bytes(), b"\x54\xb2\x81\x04"  # DisplayUnit, which no player needs
    assert data.count(unit) == 1
    clip.write_bytes(data.replace(unit, b"\x54\xbb\x81\x04"))  # PixelCropTop 4
    assert copied(clip, tmp_path / "out.mkv").left_out == NAMED
    clip.write_bytes(data.replace(unit, b"\x54\xbb\x81\x00"))
    assert copied(clip, tmp_path / "none.mkv").left_out == []
