"""Zips that are odd, broken or hostile: each is a sentence, soon."""

import io
import struct
import time
import zipfile
from pathlib import Path

import pytest

from gen.errors import BadInput
from gen.web.archives import MAX_DEPTH, MAX_DIRECTORY, unpack
from gen.web.results import pack
from gen.web.settings import WebSettings
from tests.web.test_limits import picture, zipped

SETTINGS = WebSettings(megapixels=1, files=5000, unpacked_mb=50)


def written(path: Path, names: list[str], data: bytes | None = None) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, picture() if data is None else data)
    return path


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_4000_files_of_one_name_take_a_time_that_grows_with_their_number(tmp_path):
    times = []
    for count in (1000, 4000):
        archive = written(tmp_path / f"{count}.zip", ["a.png"] * count)
        began = time.process_time()
        taken, refused = unpack(archive, tmp_path / f"out{count}", SETTINGS)
        times.append(time.process_time() - began)
        assert (len(set(taken)), refused) == (count, [])
    assert times[1] < 10 * times[0] + 1


def test_files_keep_the_times_that_the_zip_gives_them(tmp_path):
    times = {"a.png": (2019, 7, 14, 21, 30, 2), "b.png": (1980, 0, 0, 0, 0, 0)}
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name, at in times.items():
            archive.writestr(zipfile.ZipInfo(name, at), picture())
    (first, _), refused = unpack(tmp_path / "a.zip", tmp_path / "out", SETTINGS)
    assert (time.localtime(first.stat().st_mtime)[:6], refused) == (times["a.png"], [])
    pack(tmp_path / "results.zip", tmp_path / "out")
    assert zipfile.ZipFile(tmp_path / "results.zip").getinfo("a.png").date_time == times["a.png"]


def test_a_file_and_a_folder_of_one_name(tmp_path):
    archive = zipped(tmp_path / "a.zip", {"a.jpg": picture(), "a.jpg/b.jpg": picture(), "c.png": picture()})
    taken, refused = unpack(archive, tmp_path / "out", SETTINGS)
    assert [p.name for p in taken] == ["a.jpg", "c.png"]
    assert refused == ["a.zip: a.jpg/b.jpg: the zip has a file of the name of this file's folder."]


def test_a_folder_and_then_a_file_of_its_name(tmp_path):
    archive = zipped(tmp_path / "a.zip", {"a.jpg/b.png": picture(), "a.jpg": picture()})
    taken, _ = unpack(archive, tmp_path / "out", SETTINGS)
    assert [p.relative_to(tmp_path / "out").as_posix() for p in taken] == ["a.jpg/b.png", "a-2.jpg"]


def test_encrypted(tmp_path):
    archive = zipped(tmp_path / "a.zip", {"a.png": picture()})
    data = bytearray(archive.read_bytes())
    for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(signature) + offset] |= 1
    archive.write_bytes(data)
    with pytest.raises(BadInput, match=r"^a\.zip: the zip is encrypted; upload one without a password\.$"):
        unpack(archive, tmp_path / "out", SETTINGS)


def test_one_damaged_file_costs_only_itself(tmp_path):
    archive = zipped(tmp_path / "a.zip", {"a.png": picture(), "b.png": picture()})
    data = bytearray(archive.read_bytes())
    data[40] ^= 0xFF  # inside the packed bytes of the first
    archive.write_bytes(data)
    taken, refused = unpack(archive, tmp_path / "out", SETTINGS)
    assert [p.name for p in taken] == ["b.png"]
    assert refused[0].startswith("a.zip: a.png: damaged in the zip")
    assert not (tmp_path / "out" / "a.png").exists()


@pytest.mark.parametrize("data", [b"", b"PK", b"PK\5\6" + bytes(18), b"x" * 100_000])
def test_no_zip_or_nothing_in_it(tmp_path, data):
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(BadInput, match=r"^a\.zip: (this zip cannot be unpacked|the zip holds no files)") as error:
        unpack(tmp_path / "a.zip", tmp_path / "out", SETTINGS)
    assert str(tmp_path) not in str(error.value)


def test_a_list_of_a_million_files_is_not_read(tmp_path):
    """Each costs half a kilobyte of memory, and 46 bytes in the zip."""
    entry = struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    count = MAX_DIRECTORY // len(entry) + 1
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 9, 9, count * len(entry), 0, 0)
    (tmp_path / "a.zip").write_bytes(entry * count + end)
    with pytest.raises(BadInput, match="list of contents is too long"):
        unpack(tmp_path / "a.zip", tmp_path / "out", SETTINGS)


def test_entries_without_a_name(tmp_path):
    entry = struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(entry), 0, 0)
    (tmp_path / "a.zip").write_bytes(entry + end)
    with pytest.raises(BadInput, match="the zip holds no files"):
        unpack(tmp_path / "a.zip", tmp_path / "out", SETTINGS)


@pytest.mark.parametrize(
    "name",
    [
        "n" * 60_000 + ".png",
        "ü" * 300 + ".png",
        "con.png",
        "a\u202egnp.exe.png",
        "tab\there.png",
        "a/" * (MAX_DEPTH - 1) + "ä" * 500 + ".png",
        "a:b?.png",
    ],
)
def test_names_that_no_file_system_takes_are_made_safe(tmp_path, name):
    (one,), refused = unpack(written(tmp_path / "a.zip", [name]), tmp_path / "out", SETTINGS)
    assert refused == []
    assert one.is_relative_to(tmp_path / "out")
    assert one.suffix == ".png"


def test_too_deep(tmp_path):
    with pytest.raises(BadInput, match="nested more than"):
        unpack(written(tmp_path / "a.zip", ["a/" * 3000 + "b.png"]), tmp_path / "out", SETTINGS)


def test_names_in_an_old_code_page(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("zzz.png", picture())
    (tmp_path / "a.zip").write_bytes(buffer.getvalue().replace(b"zzz.png", b"\xff\xfe\x81.png"))
    (one,), _ = unpack(tmp_path / "a.zip", tmp_path / "out", SETTINGS)
    assert one.suffix == ".png"
