"""What files say besides the pixels: kept where the output's format can hold it, named where it cannot."""

import hashlib
import os
import struct
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from gen.media import ifd, jpeg
from gen.media.images import Metadata, Still, decode_still, encode_still
from tests.media.identity import translate_unchanged
from tests.media.test_images import gradient

XMP = (
    b'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf='
    b'"http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description xmlns:GPano="http://ns.google.com/photos/1.0/'
    b'panorama/" xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" GPano:Projection'
    b'Type="equirectangular" exif:GPSLatitude="52,30.0N"%s/></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
)
IPTC = b"\x1c\x02\x19\x00\x07drive12\x1c\x02\x00\x00\x02\x00\x04"
WRITTEN = (".jpg", ".png", ".webp", ".tif", ".avif", ".bmp")
NANOSECONDS = 1_500_000_000_123_456_700


def with_everything() -> Still:
    exif = ifd.Directory()
    exif.put_text(271, "Kamera Müller")
    exif.put_text(ifd.SOFTWARE, "HDR+ 1.0")
    exif.put_text(ifd.IMAGE_DESCRIPTION, "Nacht, Straße")
    exif.children[ifd.EXIF] = ifd.Directory(fields={33434: ifd.Field(ifd.RATIONAL, 1, struct.pack("<II", 1, 30))})
    gps = ifd.Directory()
    gps.put(2, ifd.RATIONAL, 52, 1, 30, 1, 0, 1)
    exif.children[ifd.GPS] = gps
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    metadata = Metadata(
        XMP % b"", None, IPTC, "drive 12", (("Title", "night"), ("Author", "é")), (300.0, 300.0), (), NANOSECONDS
    )
    return Still(gradient(), exif=ifd.write_exif(exif), icc=profile, metadata=metadata)


@pytest.mark.parametrize("suffix", WRITTEN)
@pytest.mark.parametrize("again", WRITTEN)
def test_each_part_is_kept_or_named(tmp_path, suffix, again):
    """From any format to any other, so that each is read back from what another program could have written."""
    encode_still(tmp_path / f"a{suffix}", with_everything())
    source = decode_still(tmp_path / f"a{suffix}")
    lost = "; ".join(encode_still(tmp_path / f"b{again}", source, mark="made"))
    found = decode_still(tmp_path / f"b{again}")
    for name in ("xmp", "iptc"):
        part = getattr(source.metadata, name)
        assert getattr(found.metadata, name) == part or (part and name.upper() in lost)
    if source.metadata.dpi and again not in (".webp", ".avif"):
        assert found.metadata.dpi == pytest.approx(source.metadata.dpi, rel=0.01)
    if source.metadata.text:
        assert set(source.metadata.text) <= set(found.metadata.text) or "PNG text (Author, Title)" in lost
    if source.exif and again != ".bmp":
        before, after = ifd.read_exif(source.exif), ifd.read_exif(found.exif or b"")
        assert after.text(271) == "Kamera Müller"
        assert after.text(ifd.IMAGE_DESCRIPTION) == "made"
        assert after.children[ifd.GPS] == before.children[ifd.GPS]
        assert after.children[ifd.EXIF].fields[33434] == before.children[ifd.EXIF].fields[33434]
        comment = after.children[ifd.EXIF].fields[ifd.USER_COMMENT].data
        assert "Nacht, Straße".encode("utf-16-le") in comment or "EXIF description" in lost
        assert "HDR+ 1.0" in after.text(ifd.SOFTWARE)
    elif source.exif:
        assert "EXIF" in lost
    if source.icc and again != ".bmp":
        assert found.icc == source.icc
    assert abs((tmp_path / f"b{again}").stat().st_mtime_ns - NANOSECONDS) < 1000
    with Image.open(tmp_path / f"b{again}") as picture:
        picture.load()
        assert np.abs(np.asarray(picture.convert("RGB")).astype(int) - source.rgb).mean() < 4


@pytest.mark.parametrize("suffix", WRITTEN)
def test_stripped_of_everything_but_the_mark(tmp_path, suffix):
    encode_still(tmp_path / f"x{suffix}", with_everything(), mark="made", strip_metadata=True)
    found = decode_still(tmp_path / f"x{suffix}")
    kept = found.metadata
    assert (kept.xmp, kept.iptc, kept.comment, found.icc) == (None,) * 4
    assert kept.dpi is None or suffix == ".bmp"  # its header always has one
    assert set(kept.text) <= {("Software", kept.text[0][1] if kept.text else ""), ("Description", "made")}
    assert kept.modified_ns != NANOSECONDS
    if suffix != ".bmp":
        exif = ifd.read_exif(found.exif or b"")
        assert set(exif.fields) == {ifd.SOFTWARE, ifd.IMAGE_DESCRIPTION}
        assert not exif.children
    data = (tmp_path / f"x{suffix}").read_bytes()
    assert not [word for word in (b"drive", b"Nacht", b"GPano", b"HDR+") if word in data]


def test_a_translation_translated_again_has_one_mark(tmp_path):
    encode_still(tmp_path / "a.png", with_everything(), mark="first")
    encode_still(tmp_path / "b.png", decode_still(tmp_path / "a.png"), mark="second")
    found = decode_still(tmp_path / "b.png")
    assert dict(found.metadata.text)["Description"] == "second"
    assert [key for key, _ in found.metadata.text].count("Description") == 1
    assert "first" not in str(found.metadata.text)
    assert ifd.read_exif(found.exif or b"").text(ifd.SOFTWARE).count("gen") == 1


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif"])
@pytest.mark.parametrize("orientation", [3, 6])
def test_the_orientation_in_xmp_does_not_turn_a_picture_twice(tmp_path, suffix, orientation):
    packet = XMP % b' tiff:Orientation="%d"' % orientation
    if suffix == ".tif":
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation], exif[700] = orientation, packet
        Image.fromarray(gradient()).save(tmp_path / "a.tif", exif=exif)
    else:
        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", packet.decode())
        Image.fromarray(gradient()).save(tmp_path / f"a{suffix}", xmp=packet, pnginfo=info, quality=95)
    still = decode_still(tmp_path / f"a{suffix}")
    turned = np.rot90(gradient(), {3: 2, 6: -1}[orientation])
    assert still.rgb.shape == turned.shape
    assert np.abs(still.rgb.astype(int) - turned).mean() < 3
    assert b"GPano" in (still.metadata.xmp or b"")
    assert b"Orientation=" not in (still.metadata.xmp or b"")


def test_the_size_in_exif_is_that_of_the_upright_picture(tmp_path):
    exif = ifd.Directory(children={ifd.EXIF: ifd.Directory()})
    for tag, value in zip(ifd.PIXEL_DIMENSIONS, (40, 24), strict=True):
        exif.children[ifd.EXIF].put(tag, ifd.SHORT, value)
    block = Image.Exif()
    block.load(ifd.write_exif(exif))
    block[ExifTags.Base.Orientation] = 6
    Image.fromarray(gradient()).save(tmp_path / "x.jpg", exif=block)
    encode_still(tmp_path / "y.jpg", decode_still(tmp_path / "x.jpg"))
    found = ifd.read_exif(decode_still(tmp_path / "y.jpg").exif or b"").children[ifd.EXIF]
    assert [found.numbers(tag) for tag in ifd.PIXEL_DIMENSIONS] == [(24,), (40,)]


def test_a_large_profile_or_text_of_a_png_is_read(tmp_path):
    info = PngInfo()
    info.add_text("Title", "x" * 3_000_000, zip=True)
    Image.fromarray(gradient()).save(tmp_path / "x.png", pnginfo=info)
    assert len(dict(decode_still(tmp_path / "x.png").metadata.text)["Title"]) == 3_000_000


def test_extended_xmp_in_several_segments(tmp_path):
    extension = b"<depth>" + bytes(range(32, 127)) * 2000 + b"</depth>"
    guid = hashlib.md5(extension, usedforsecurity=False).hexdigest().upper().encode()
    packet = XMP % b' xmlns:xmpNote="http://ns.adobe.com/xmp/note/" xmpNote:HasExtendedXMP="%s"' % guid
    still = replace(with_everything(), metadata=Metadata(packet, extension))
    assert encode_still(tmp_path / "a.jpg", still) == ()
    data = (tmp_path / "a.jpg").read_bytes()
    assert data.count(jpeg.XMP_EXTENSION) == 3
    found = decode_still(tmp_path / "a.jpg")
    assert (found.metadata.xmp, found.metadata.xmp_extension) == (packet, extension)
    assert encode_still(tmp_path / "b.jpg", found) == ()
    assert decode_still(tmp_path / "b.jpg").metadata.xmp_extension == extension
    assert encode_still(tmp_path / "b.webp", found) == ("extended XMP (only JPEG holds it)",)


@pytest.mark.parametrize("suffix", WRITTEN[:-1])
def test_a_maker_note_stays_where_its_offsets_point(tmp_path, suffix):
    """Canon and others count the offsets inside their note from the start of the block."""
    exif = ifd.read_exif(with_everything().exif or b"")
    exif.children[ifd.EXIF].fields[ifd.MAKER_NOTE] = ifd.Field(ifd.UNDEFINED, 9, b"EF24-70mm", place=901)
    still = replace(with_everything(), exif=ifd.write_exif(exif))
    assert encode_still(tmp_path / f"a{suffix}", replace(still, metadata=Metadata()), mark="made") == ()
    found = decode_still(tmp_path / f"a{suffix}")
    assert found.left_out == ()
    assert (found.exif or b"")[6:][901:910] == b"EF24-70mm"
    tags = ifd.read_exif(found.exif or b"")
    assert (tags.text(271), tags.text(ifd.IMAGE_DESCRIPTION)) == ("Kamera Müller", "made")
    with Image.open(tmp_path / f"a{suffix}") as image:
        assert image.getexif().get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.MakerNote] == b"EF24-70mm"


def test_a_maker_note_that_cannot_stay_is_named(tmp_path):
    exif = ifd.read_exif(with_everything().exif or b"")
    exif.children[ifd.EXIF].fields[ifd.MAKER_NOTE] = ifd.Field(ifd.UNDEFINED, 9, b"EF24-70mm", place=40_000)
    encode_still(tmp_path / "a.tif", replace(with_everything(), exif=ifd.write_exif(exif)))
    found = decode_still(tmp_path / "a.tif")
    assert any(name.startswith("EXIF maker note") for name in found.left_out)
    assert ifd.MAKER_NOTE not in ifd.read_exif(found.exif or b"").children[ifd.EXIF].fields


def test_texts_of_older_programs_keep_their_letters(tmp_path):
    exif = ifd.Directory()
    exif.put_bytes(ifd.IMAGE_DESCRIPTION, "Straße bei Nacht".encode("latin-1"), ifd.ASCII)
    options = {"comment": "Fußgänger".encode("latin-1"), "exif": ifd.write_exif(exif)}
    Image.fromarray(gradient()).save(tmp_path / "a.jpg", **options)
    encode_still(tmp_path / "b.jpg", decode_still(tmp_path / "a.jpg"), mark="made")
    found = decode_still(tmp_path / "b.jpg")
    assert found.metadata.comment == "Fußgänger"
    details = ifd.read_exif(found.exif or b"").children[ifd.EXIF]
    assert "Straße bei Nacht".encode("utf-16-le") in details.fields[ifd.USER_COMMENT].data


def test_what_is_too_long_for_a_jpeg_is_named_and_the_rest_kept(tmp_path):
    still = with_everything()
    exif = ifd.read_exif(still.exif or b"")
    exif.children[ifd.EXIF].put_bytes(37500, b"x" * 70_000)
    long = replace(still.metadata, text=(), xmp=b"x" * 70_000, iptc=b"\x1c" * 70_000, comment="x" * 70_000)
    lost = encode_still(tmp_path / "x.jpg", replace(still, exif=ifd.write_exif(exif), metadata=long), mark="made")
    assert set(lost) == {
        "EXIF maker note (too long for JPEG)",
        "XMP (too long for JPEG)",
        "IPTC (too long for JPEG)",
        "end of the comment (too long for JPEG)",
    }
    found = ifd.read_exif(decode_still(tmp_path / "x.jpg").exif or b"")
    assert (found.text(271), found.text(ifd.IMAGE_DESCRIPTION)) == ("Kamera Müller", "made")
    assert encode_still(tmp_path / "x.png", replace(still, exif=ifd.write_exif(exif), metadata=long)) == ()
    assert len(decode_still(tmp_path / "x.png").metadata.xmp or b"") == 70_000


def test_one_damaged_tag_costs_one_tag(tmp_path):
    exif = ifd.read_exif(with_everything().exif or b"")
    exif.fields[315] = ifd.Field(ifd.ASCII, 6, b"artist")
    block = bytearray(ifd.write_exif(exif))
    place = block.index(struct.pack("<HHI", 315, 2, 6)) + 8
    block[place : place + 4] = struct.pack("<I", 10_000_000)
    Image.fromarray(gradient()).save(tmp_path / "x.png", exif=bytes(block))
    still = decode_still(tmp_path / "x.png")
    assert "EXIF tags (damaged)" in still.left_out
    assert ifd.read_exif(still.exif or b"").text(271) == "Kamera Müller"


@pytest.mark.parametrize(
    "block", [b"", b"II*\0", b"II*\0\xff\xff\xff\xff", b"nothing" * 20, b"MM\0*\0\0\0\x08\xff\xff" * 9]
)
def test_damaged_exif_is_named(tmp_path, block):
    Image.fromarray(gradient()).save(tmp_path / "x.jpg", quality=95)
    data = (tmp_path / "x.jpg").read_bytes()
    (tmp_path / "x.jpg").write_bytes(data[:2] + jpeg.segment(jpeg.APP1, jpeg.EXIF + block) + data[2:])
    still = decode_still(tmp_path / "x.jpg")
    assert "EXIF" in "".join(still.left_out)
    encode_still(tmp_path / "y.jpg", still, mark="made")


def test_other_segments_and_chunks_are_named(tmp_path):
    Image.fromarray(gradient()).save(tmp_path / "x.jpg")
    data = (tmp_path / "x.jpg").read_bytes()
    resources = (
        b"8BIM" + struct.pack(">HHI", 0x0409, 0, 4) + b"jpeg" + b"8BIM" + struct.pack(">HHI", 2000, 0, 4) + b"path"
    )
    added = (
        jpeg.segment(jpeg.APP11, b"JP\0\1jumb")
        + jpeg.segment(0xE5, b"SPMP\0tv")
        + jpeg.segment(jpeg.APP13, jpeg.PHOTOSHOP + resources)
    )
    added += jpeg.segment(jpeg.COMMENT, b"one") + jpeg.segment(jpeg.COMMENT, b"two")
    added += jpeg.segment(jpeg.APP1, jpeg.XMP + XMP % b' GCamera:MotionPhoto="1" hdrgm:Version="1.0"')
    (tmp_path / "x.jpg").write_bytes(data[:2] + added + data[2:])
    still = decode_still(tmp_path / "x.jpg")
    assert set(still.left_out) == {
        "content credentials (C2PA)",
        "JPEG segment APP5 (SPMP)",
        "embedded preview",
        "Photoshop resources",
        "clip of a motion photo",
        "HDR gain map",
    }
    assert still.metadata.comment == "one\ntwo"
    info = PngInfo()
    info.add(b"caBX", b"jumb")
    info.add(b"vpAg", b"\0" * 9)
    Image.fromarray(gradient()).save(tmp_path / "x.png", pnginfo=info)
    assert set(decode_still(tmp_path / "x.png").left_out) == {"content credentials (C2PA)", "PNG chunk vpAg"}


def test_the_preview_of_the_source_is_not_kept(tmp_path):
    """It would show the night beside the translation, and viewers would show it in its place."""
    exif = ifd.read_exif(with_everything().exif or b"")
    block = bytearray(ifd.write_exif(exif))
    (count,) = struct.unpack("<H", block[14:16])
    block[16 + 12 * count : 20 + 12 * count] = struct.pack("<I", len(block) - 6)
    block += b"\0" * (len(block) % 2) + struct.pack("<HHHII", 1, 513, 4, 1, 8) + bytes(4)
    Image.fromarray(gradient()).save(tmp_path / "x.jpg", exif=bytes(block))
    still = decode_still(tmp_path / "x.jpg")
    assert "embedded preview" in still.left_out
    assert ifd.read_exif(still.exif or b"").pages == 1


def test_the_shared_case_through_the_folder_tool(tmp_path):
    """../shared/cases/metadata, made anew: XMP, IPTC, comment, PNG text, resolution and file time stay."""
    folder = tmp_path / "in"
    folder.mkdir()
    picture, packet = Image.fromarray(gradient()), XMP % b""
    info = PngInfo()
    info.add_text("Comment", "drive 12")
    info.add_itxt("XML:com.adobe.xmp", packet.decode())
    picture.save(folder / "text.png", pnginfo=info, dpi=(300, 300))
    extra = jpeg.segment(jpeg.APP13, jpeg.PHOTOSHOP + jpeg.iptc_resource(IPTC))
    picture.save(folder / "xmp.jpg", xmp=packet, comment="drive 12", dpi=(300, 300), extra=extra)
    picture.save(folder / "xmp.webp", xmp=packet)
    for path in folder.iterdir():
        os.utime(path, ns=(NANOSECONDS, NANOSECONDS))
    entries = translate_unchanged(folder, tmp_path / "out")
    assert [entry.left_out for entry in entries.values()] == [[], [], []]
    with Image.open(tmp_path / "out" / "text.png") as png, Image.open(tmp_path / "out" / "xmp.jpg") as jpg:
        assert png.info["Comment"] == "drive 12"
        assert png.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        assert jpg.info["comment"] == b"drive 12"
        assert jpg.info["dpi"] == (300, 300)
        assert jpg.info["photoshop"][jpeg.IPTC_RESOURCE] == IPTC
    for path in folder.iterdir():
        with Image.open(tmp_path / "out" / path.name) as found:
            assert found.info["xmp"] == packet
        assert abs((tmp_path / "out" / path.name).stat().st_mtime_ns - NANOSECONDS) < 1000
    stripped = translate_unchanged(folder, tmp_path / "bare", strip_metadata=True)
    assert {entry.status for entry in stripped.values()} == {"done"}
    assert not [p for p in Path(tmp_path / "bare").glob("*.*g") if b"drive" in p.read_bytes()]


PHONE = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:GCamera="http://ns.google.com/photos/1.0/camera/"
 xmlns:Container="http://ns.google.com/photos/1.0/container/" xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/"
 xmlns:Item="http://ns.google.com/photos/1.0/container/item/" xmlns:dc="http://purl.org/dc/elements/1.1/"
 GCamera:MotionPhoto="%d" GCamera:MotionPhotoVersion="1" hdrgm:Version="1.0"><dc:format>image/jpeg</dc:format>
<Container:Directory><rdf:Seq><rdf:li rdf:parseType="Resource"><Container:Item Item:Semantic="GainMap"
 Item:Mime="image/jpeg" Item:Length="9"/></rdf:li></rdf:Seq></Container:Directory>
</rdf:Description></rdf:RDF></x:xmpmeta>"""


@pytest.mark.parametrize("motion", [0, 1])
def test_the_copy_of_a_phones_picture_does_not_speak_of_what_it_lacks(tmp_path, motion):
    """The clip and the gain map behind the picture, which the XMP packet describes."""
    buffer = BytesIO()
    Image.fromarray(gradient()).save(buffer, "JPEG", xmp=PHONE % motion)
    (tmp_path / "phone.jpg").write_bytes(buffer.getvalue())
    still = decode_still(tmp_path / "phone.jpg")
    assert list(still.left_out) == ["clip of a motion photo"] * motion + ["HDR gain map"]
    for name in ("copy.jpg", "copy.png", "copy.webp"):
        encode_still(tmp_path / name, still)
        copy = decode_still(tmp_path / name)
        assert not copy.left_out
        words = copy.metadata.xmp
        assert b"<dc:format>image/jpeg</dc:format>" in words
        assert not any(word in words for word in (b"MotionPhoto", b"hdrgm:Version", b"GainMap"))
        ElementTree.fromstring(words.decode())
