"""What is let in, and what is refused with which words."""

import io
import stat
import warnings
import zipfile
import zlib
from pathlib import Path
from struct import pack

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gen.errors import BadInput, BadSetting
from gen.media.video import write_clip
from gen.web.archives import unpack
from gen.web.limits import check_clip, check_number, check_still, inside
from gen.web.names import MAX_NAME, safe_name
from gen.web.settings import WebSettings, check_root, logins
from gen.web.uploads import gather

SETTINGS = WebSettings(megapixels=1, clip_seconds=2, files=5, unpacked_mb=5)


def png(path: Path, size: tuple[int, int] = (32, 24)) -> Path:
    Image.new("RGB", size, "navy").save(path)
    return path


def bomb(path: Path, side: int = 20_000) -> Path:
    """A PNG of `side` x `side` pixels in a few kilobytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return pack(">I", len(data)) + kind + data + pack(">I", zlib.crc32(kind + data))

    header = pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * (side // 8 + 1) * 100, 9)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))
    return path


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 24), "navy").save(buffer, "PNG")
    return buffer.getvalue()


class TestStills:
    def test_a_picture_passes(self, tmp_path):
        assert check_still(png(tmp_path / "a.png"), SETTINGS) == tmp_path / "a.png"

    def test_what_is_no_picture_is_named(self, tmp_path):
        (tmp_path / "a.png").write_text("hello")
        with pytest.raises(BadInput, match=r"a\.png: not a readable image"):
            check_still(tmp_path / "a.png", SETTINGS)

    def test_too_many_pixels(self, tmp_path):
        with pytest.raises(BadInput, match="at most 1 megapixels"):
            check_still(png(tmp_path / "a.png", (1200, 1000)), SETTINGS)

    def test_a_bomb_is_refused_from_its_header(self, tmp_path):
        file = bomb(tmp_path / "bomb.png")
        assert file.stat().st_size < 100_000
        with pytest.raises(BadInput, match="megapixels"):
            check_still(file, SETTINGS)

    def test_just_above_pillows_own_limit(self, tmp_path, monkeypatch):
        """There Pillow warns, which the page makes an error; one such file must not take the others with it."""
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", SETTINGS.pixels)
        files = [png(tmp_path / "ok.png"), png(tmp_path / "large.png", (1200, 1000))]
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            taken, refused = gather(map(str, files), tmp_path / "in", SETTINGS)
        assert [p.name for p in taken] == ["ok.png"]
        assert "large.png: larger than 1 megapixels" in refused[0]

    def test_a_file_with_too_many_bytes_is_called_too_large(self, tmp_path: Path) -> None:
        path = tmp_path / "a.webp"
        Image.new("RGB", (32, 24), "navy").save(path)
        with path.open("ab") as file:
            file.truncate(5_000_000)
        with pytest.raises(BadInput, match=r"a\.webp: larger than 1 megapixels"):
            check_still(path, SETTINGS)

    def test_formats_that_run_programs_are_not_opened(self, tmp_path):
        (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
        with pytest.raises(BadInput, match="not a readable image"):
            check_still(tmp_path / "a.png", SETTINGS)


class TestClips:
    def clip(self, path: Path, frames: int) -> Path:
        write_clip(path, (np.full((48, 64, 3), i, np.uint8) for i in range(frames)), 10)
        return path

    def test_length(self, tmp_path):
        assert check_clip(self.clip(tmp_path / "a.mp4", 12), SETTINGS)
        with pytest.raises(BadInput, match="at most 2 s"):
            check_clip(self.clip(tmp_path / "b.mp4", 40), SETTINGS)

    def test_size(self, tmp_path):
        with pytest.raises(BadInput, match="megapixels"):
            check_clip(self.clip(tmp_path / "a.mp4", 2), WebSettings(megapixels=0.001))

    def test_no_clip(self, tmp_path):
        (tmp_path / "a.mp4").write_bytes(b"nothing")
        with pytest.raises(BadInput, match="not a readable clip"):
            check_clip(tmp_path / "a.mp4", SETTINGS)

    def test_a_clip_is_measured_and_not_believed(self, tmp_path):
        """The header says one frame of two seconds; the packets say otherwise."""
        file = self.clip(tmp_path / "a.mp4", 40)
        data = file.read_bytes()
        for box in (b"mvhd", b"mdhd"):  # a version 0 box: kind, flags, two dates, time scale, duration
            at = data.index(box) + 4
            data = data[: at + 16] + (1).to_bytes(4, "big") + data[at + 20 :]
        forged = tmp_path / "b.mp4"
        forged.write_bytes(data)
        with pytest.raises(BadInput, match="at most 2 s"):
            check_clip(forged, SETTINGS)

    def test_frames_per_second_without_end(self, tmp_path):
        file = tmp_path / "a.mkv"
        write_clip(file, (np.full((48, 64, 3), i, np.uint8) for i in range(60)), 1000)
        with pytest.raises(BadInput, match="more than 50 frames"):
            check_clip(file, WebSettings(clip_frames=50))

    def test_a_header_of_small_frames_over_large_ones(self, tmp_path):
        """Motion JPEG: each frame has its own size, and the header another."""
        with av.open(str(tmp_path / "a.avi"), "w") as container:
            stream = container.add_stream("mjpeg", rate=10)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
            for _ in range(3):
                container.mux(stream.encode(av.VideoFrame(64, 48, "yuvj420p")))
            container.mux(stream.encode())
        buffer = io.BytesIO()
        Image.new("RGB", (2000, 1000)).save(buffer, "JPEG")
        data = (tmp_path / "a.avi").read_bytes()
        at = data.index(b"\xff\xd8")
        size = int.from_bytes(data[at - 4 : at], "little")
        large = buffer.getvalue()
        chunk = len(large).to_bytes(4, "little") + large + b"\0" * (len(large) % 2)
        (tmp_path / "b.avi").write_bytes(data[: at - 4] + chunk + data[at + size + size % 2 :])
        with pytest.raises(BadInput, match="megapixels"):
            check_clip(tmp_path / "b.avi", SETTINGS)

    @pytest.mark.parametrize(
        "text", ["#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "ffconcat version 1.0\nfile '/etc/passwd'\n"]
    )
    def test_playlists_are_not_opened(self, tmp_path, text):
        (tmp_path / "a.mp4").write_text(text)
        with pytest.raises(BadInput, match="not a readable clip"):
            check_clip(tmp_path / "a.mp4", SETTINGS)


@pytest.mark.parametrize("suffix", ["png", "mp4"])
def test_an_empty_file_is_called_empty(tmp_path, suffix):
    file = tmp_path / f"a.{suffix}"
    file.write_bytes(b"")
    with pytest.raises(BadInput, match=r"the file is empty\.$"):
        gather([str(file)], tmp_path / "in", SETTINGS)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1, 1.01, None, "1", 1e308])
def test_numbers_out_of_range(value):
    with pytest.raises(BadSetting, match="share must be a number from 0 to 1"):
        check_number("share", value, 0, 1)


def shared(path: Path, count: int, size: int) -> Path:
    """A zip whose list names one packed file many times."""
    data = zipped(path, {"a.png": bytes(size)}).read_bytes()
    start, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    entry = data[start:end]
    ending = pack("<4s4H2IH", b"PK\x05\x06", 0, 0, count, count, len(entry) * count, start, 0)
    path.write_bytes(data[:start] + entry * count + ending)
    return path


class TestZips:
    def test_pictures_come_out_and_the_rest_is_told(self, tmp_path):
        files = {"x/1.png": picture(), "x/read.txt": b"no", ".old/2.png": picture()}
        archive = zipped(tmp_path / "a.zip", files | {"__MACOSX/x/1.png": b"no", "x/.DS_Store": b"no"})
        taken, refused = unpack(archive, tmp_path / "out", SETTINGS)
        assert [p.relative_to(tmp_path / "out").as_posix() for p in taken] == ["x/1.png"]
        assert len(refused) == 2
        assert "read.txt" in refused[0]
        assert refused[1] == "a.zip: .old/2.png: hidden file or folder."
        assert sorted(p.name for p in (tmp_path / "out").rglob("*") if p.is_file()) == ["1.png"]

    @pytest.mark.parametrize(
        "name", ["../evil.png", "/etc/evil.png", "a/../../evil.png", "..\\evil.png", "C:\\evil.png"]
    )
    def test_slip(self, tmp_path, name):
        archive = zipped(tmp_path / "a.zip", {"good.png": picture(), name: picture()})
        with pytest.raises(BadInput, match="leads out of the zip"):
            unpack(archive, tmp_path / "deep" / "out", SETTINGS)
        assert not list(tmp_path.rglob("*.png"))

    def test_links(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            link = zipfile.ZipInfo("a.png")
            link.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(link, "/etc/passwd")
        with pytest.raises(BadInput, match="is a symbolic link"):
            unpack(tmp_path / "a.zip", tmp_path / "out", SETTINGS)

    def test_bombs(self, tmp_path):
        with pytest.raises(BadInput, match="bomb"):
            unpack(zipped(tmp_path / "a.zip", {"a.png": bytes(4_000_000)}), tmp_path / "out", SETTINGS)
        with pytest.raises(BadInput, match="bomb"):
            unpack(shared(tmp_path / "c.zip", 5, 600_000), tmp_path / "out", SETTINGS)
        with pytest.raises(BadInput, match="larger than 5 MB"):
            unpack(zipped(tmp_path / "b.zip", {"a.png": bytes(6_000_000)}), tmp_path / "out", SETTINGS)

    def test_too_many_files(self, tmp_path):
        archive = zipped(tmp_path / "a.zip", {f"{i}.png": picture() for i in range(6)})
        with pytest.raises(BadInput, match="at most 5 are allowed"):
            unpack(archive, tmp_path / "out", SETTINGS)

    def test_broken(self, tmp_path):
        (tmp_path / "a.zip").write_bytes(b"PK\3\4 nothing")
        with pytest.raises(BadInput, match=r"a\.zip: this zip cannot be unpacked"):
            unpack(tmp_path / "a.zip", tmp_path / "out", SETTINGS)


class TestGather:
    def test_equal_names_do_not_meet(self, tmp_path):
        for folder in ("a", "b"):
            (tmp_path / folder).mkdir()
            png(tmp_path / folder / "1.png")
        taken, _ = gather([str(tmp_path / f / "1.png") for f in ("a", "b")], tmp_path / "in", SETTINGS)
        assert sorted(p.name for p in taken) == ["1-2.png", "1.png"]

    def test_nothing_left(self, tmp_path):
        (tmp_path / "a.txt").write_text("no")
        with pytest.raises(BadInput, match=r"a\.txt: unsupported file type"):
            gather([str(tmp_path / "a.txt")], tmp_path / "in", SETTINGS)


class TestServerFolders:
    def test_only_below_the_root(self, tmp_path):
        (tmp_path / "root" / "day").mkdir(parents=True)
        (tmp_path / "secret").mkdir()
        (tmp_path / "root" / "link").symlink_to(tmp_path / "secret")
        root = tmp_path / "root"
        assert inside(root, "day") == (root / "day").resolve()
        for text in ("../secret", "link", str(tmp_path / "secret"), "day/../../secret", "none"):
            with pytest.raises(BadInput, match="no such folder"):
                inside(root, text)
        with pytest.raises(BadInput, match="shares no folders"):
            inside(None, "day")


@given(st.text(st.characters()))
def test_a_safe_name_is_one_harmless_part(text):
    name = safe_name(text)
    assert name
    assert not name.startswith(".")
    assert not set("/\\\0:") & set(name)
    assert len(name.encode()) <= MAX_NAME + 1
    assert safe_name(name) == name


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("NUL", "_NUL"),
        ("com1.tar.png", "_com1.tar.png"),
        ("console.png", "console.png"),
        ("..", "unnamed"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("a\udcff.png", "a_.png"),
        ("x" * 300 + ".png", "x" * 176 + ".png"),
        ("日" * 100 + ".png", "日" * 58 + ".png"),
        ("a. .", "a"),
    ],
)
def test_names_that_some_systems_refuse(name, safe):
    assert safe_name(name) == safe


def test_zips_share_one_limit(tmp_path):
    files = [zipped(tmp_path / f"{n}.zip", {f"{i}.png": picture() for i in range(3)}) for n in "ab"]
    with pytest.raises(BadInput, match="3 files in the zip; at most 2 are allowed"):
        gather(map(str, files), tmp_path / "in", SETTINGS)
    assert not (tmp_path / "in").exists()


def test_the_open_folder_is_not_that_of_the_results(tmp_path):
    (tmp_path / "data").mkdir()
    check_root(WebSettings(root=tmp_path / "data", results=tmp_path / "results"))
    for root in (tmp_path, tmp_path / "results" / "jobs"):
        root.mkdir(parents=True, exist_ok=True)
        with pytest.raises(BadSetting, match="must be apart"):
            check_root(WebSettings(root=root, results=tmp_path / "results"))


class TestLogin:
    def test_needed_when_others_can_reach_the_page(self, monkeypatch):
        monkeypatch.delenv("GEN_USERS", raising=False)
        assert logins(WebSettings()) is None
        for settings in (WebSettings(host="0.0.0.0"), WebSettings(share=True)):
            with pytest.raises(BadSetting, match="GEN_USERS"):
                logins(settings)

    def test_from_the_environment(self, monkeypatch):
        monkeypatch.setenv("GEN_USERS", "ann:one,bob:t:wo")
        assert logins(WebSettings(host="0.0.0.0")) == [("ann", "one"), ("bob", "t:wo")]
        monkeypatch.setenv("GEN_USERS", "ann")
        with pytest.raises(BadSetting, match="name:password"):
            logins(WebSettings())
