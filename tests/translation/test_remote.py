"""`gen translate` with URLs: memory:// as a store without atomic writes, and one on the disk that may fail."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import fsspec
import pytest
from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from PIL import Image

from gen import BadInput, BadSetting, GenError
from gen.cli import main
from gen.media.folders import Stamp, stamp_of
from gen.media.mark import read_header
from gen.translation import automatic, batch
from gen.translation.remote import placeholders, store
from gen.translation.remote.names import is_url, shown, urls_in
from gen.translation.remote.run import translate_urls
from gen.translation.remote.stamps import stamp_in
from gen.translation.report import Report
from gen.translation.runtimes.choice import cache
from gen.translation.settings import TranslateSettings
from tests.media.test_video import make_clip, moving_bars
from tests.translation.identity import Identity, picture


class Shelf(LocalFileSystem):
    """Files on the disk behind shelf://, which notes what is moved and fails where it is told to."""

    protocol = ("shelf",)
    got: ClassVar[list[str]] = []
    put: ClassVar[list[str]] = []
    broken_up: ClassVar[set[str]] = set()
    broken_down: ClassVar[set[str]] = set()
    after_put = staticmethod(lambda path: None)

    def get_file(self, path1, path2, **kwargs):
        if Path(path1).name in self.broken_down:
            raise ConnectionResetError("the line is dead")
        self.got.append(Path(path1).name)
        super().get_file(path1, path2, **kwargs)

    def mv(self, path1, path2, **kwargs):
        if Path(path2).name in self.broken_up:
            raise ConnectionResetError("the line is dead")
        self.put.append(Path(path2).name)
        super().mv(path1, path2, **kwargs)
        type(self).after_put(path2)


@pytest.fixture(autouse=True)
def stores(monkeypatch):
    fsspec.register_implementation("shelf", Shelf, clobber=True)
    monkeypatch.setattr(Shelf, "got", [])
    monkeypatch.setattr(Shelf, "put", [])
    monkeypatch.setattr(Shelf, "broken_up", set())
    monkeypatch.setattr(Shelf, "broken_down", set())
    monkeypatch.setattr(Shelf, "after_put", staticmethod(lambda path: None))
    forget()
    yield
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]
    forget()


def forget() -> None:
    """As on another machine."""
    shutil.rmtree(cache() / "stages", ignore_errors=True)


def run(source: str, out: str, **settings) -> Report:
    """`gen translate` with the identity."""
    report, _ = translate_urls(
        TranslateSettings(Path(source), Path(out), **{"model": "same", **settings}),
        urls_in([source, out]),
        lambda chosen, watch: batch.translate(chosen, lambda settings: Identity(), watch),
    )
    return report


def statuses(report: Report) -> dict[str, str]:
    return {entry.output: entry.status for entry in report.entries}


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def put(path: str, local: Path) -> None:
    fsspec.filesystem("memory").pipe_file(path, local.read_bytes())


def moved() -> tuple[list[str], list[str]]:
    """What was fetched and uploaded since the last call, without the report."""
    found = sorted(Shelf.got), sorted(set(Shelf.put) - {"report.json"})
    Shelf.got.clear()
    Shelf.put.clear()
    return found


@pytest.fixture
def shelf(tmp_path) -> Path:
    """Two pictures, a clip and a text on the shelf."""
    picture(tmp_path / "in" / "a.jpg")
    picture(tmp_path / "in" / "rear" / "b.png", 1)
    make_clip(tmp_path / "in" / "c.mp4", moving_bars(4))
    (tmp_path / "in" / "notes.txt").write_text("not a picture")
    picture(tmp_path / "in" / ".hidden" / "d.jpg")
    return tmp_path


REPOSITORY = Path(__file__).parents[2]
ALL = ["a.jpg", "b.png", "c.mp4"]
FAST = ["--model", "fast", "--resolution", "native"]


def test_what_a_url_is():
    assert all(map(is_url, ["s3://b/night", "gs://b", "memory://x", "simplecache::s3://b/x", "FILE:///x"]))
    assert not any(map(is_url, ["night", "/s3:/b", "C://night", "C:\\night", "s3:/b", "./s3://b"]))
    assert urls_in(["s3://b/night/", "out"]) == {Path("s3:/b/night"): "s3://b/night/"}


def test_a_folder_with_sub_folders(shelf):
    source, out = f"shelf://{shelf}/in", f"shelf://{shelf}/out"
    report = run(source, out, compare=True)
    assert statuses(report) == {f"{out}/{name}": "done" for name in ("a.jpg", "c.mp4", "rear/b.png")}
    assert report.left_out == {"notes.txt": "not a picture or clip that gen reads", ".hidden": "hidden file or folder"}
    beside = {f"{name}.compare.{name[-3:]}" for name in ("a.jpg", "c.mp4", "rear/b.png")}
    assert files(shelf / "out") == {"a.jpg", "c.mp4", "rear/b.png", "report.json"} | beside
    written = json.loads((shelf / "out" / "report.json").read_text())
    assert written["left_out"] == report.left_out
    assert written["settings"]["input"] == source
    entry = next(file for file in written["files"] if file["path"] == "rear/b.png")
    assert entry["input"] == entry["input_path"] == f"{source}/rear/b.png"
    assert entry["output"] == f"{out}/rear/b.png"
    assert str(cache()) not in (shelf / "out" / "report.json").read_text()
    assert read_header(shelf / "out" / "rear" / "b.png").mark is not None


def test_what_is_finished_is_neither_fetched_nor_translated_again(shelf):
    source, out = f"shelf://{shelf}/in", f"shelf://{shelf}/out"
    run(source, out)
    assert moved() == (ALL, ALL)
    assert set(statuses(run(source, out)).values()) == {"skipped"}
    assert moved() == ([], [])
    picture(shelf / "in" / "a.jpg", 7)
    picture(shelf / "in" / "new.jpg", 8)
    assert statuses(run(source, out))[f"{out}/a.jpg"] == "done"
    assert moved() == (["a.jpg", "new.jpg"], ["a.jpg", "new.jpg"])


def test_another_machine_goes_on(shelf):
    """It fetches outputs, to see what they say of themselves, and inputs only of what is not finished."""
    source, out = f"shelf://{shelf}/in", f"shelf://{shelf}/out"
    run(source, out)
    written = json.loads((shelf / "out" / "report.json").read_text())
    seconds = {file["path"]: file["seconds"] for file in written["files"]}
    (shelf / "out" / "c.mp4").unlink()
    moved()
    forget()
    found = statuses(run(source, out))
    assert found == {f"{out}/a.jpg": "skipped", f"{out}/rear/b.png": "skipped", f"{out}/c.mp4": "done"}
    assert moved() == (["a.jpg", "b.png", "c.mp4", "report.json"], ["c.mp4"])
    written = json.loads((shelf / "out" / "report.json").read_text())
    assert {f["path"]: f["seconds"] for f in written["files"] if f["status"] == "skipped"}.items() <= seconds.items()


def test_a_finished_stage_takes_no_room(shelf):
    big = Image.effect_noise((900, 700), 90).convert("RGB")
    big.save(shelf / "in" / "big.png")
    size = (shelf / "in" / "big.png").stat().st_size
    source, out = f"shelf://{shelf}/in", f"shelf://{shelf}/out"
    run(source, out)
    (stage,) = (path for path in (cache() / "stages").iterdir() if path.is_dir())
    for path in (stage / "in" / "big.png", stage / "out" / "big.png"):
        assert placeholders.is_placeholder(path)
        assert path.stat().st_blocks * 512 < size / 2
    assert statuses(run(source, out))[f"{out}/big.png"] == "skipped"
    moved()
    run(source, out, verify=True)  # which decodes the store's own
    assert "big.png" in moved()[0]
    run(source, out, overwrite=True)
    assert Image.open(shelf / "out" / "big.png").tobytes() == big.tobytes()


def test_memory_and_files_of_this_machine(tmp_path):
    put("/night/a.jpg", picture(tmp_path / "x.jpg"))
    put("/night/[rear] 1/b.jpg", picture(tmp_path / "y.jpg", 1))
    out = tmp_path / "out"
    assert set(statuses(run("memory://night", str(out)))) == {f"{out}/a.jpg", f"{out}/[rear] 1/b.jpg"}
    text = (out / "report.json").read_text()
    assert '"input_path": "memory://night/[rear] 1/b.jpg"' in text
    assert str(cache()) not in text
    assert set(statuses(run("memory://night/", str(out))).values()) == {"skipped"}
    report = run(str(out), "memory://day")  # the other way
    assert statuses(report) == {"memory://day/a.jpg": "done", "memory://day/[rear] 1/b.jpg": "done"}
    found = set(fsspec.filesystem("memory").find("/day"))
    assert found == {"/day/a.jpg", "/day/[rear] 1/b.jpg", "/day/report.json"}
    assert set(statuses(run(f"file://{out}", f"file://{tmp_path}/o")).values()) == {"done"}
    assert str(tmp_path / "out" / "a.jpg") in (tmp_path / "o" / "report.json").read_text()


@pytest.mark.parametrize("name", ["a.jpg", "c.mp4"])
def test_a_single_file(shelf, name):
    other = picture(shelf / "day" / "other.jpg", 5).read_bytes()
    source, out = f"shelf://{shelf}/in/{name}", f"shelf://{shelf}/day/x{name[-4:]}"
    assert statuses(run(source, out)) == {out: "done"}
    assert files(shelf / "day") == {f"x{name[-4:]}", "x.report.json", "other.jpg"}
    assert (shelf / "day" / "other.jpg").read_bytes() == other
    assert json.loads((shelf / "day" / "x.report.json").read_text())["files"][0]["input"] == source
    moved()
    assert statuses(run(source, out)) == {out: "skipped"}
    assert moved() == ([], ["x.report.json"])
    assert statuses(run(source, f"shelf://{shelf}/folder")) == {f"shelf://{shelf}/folder/{name}": "done"}


def test_a_foreign_output_is_not_replaced(shelf):
    foreign = picture(shelf / "out" / "a.jpg", 9).read_bytes()
    source, out = f"shelf://{shelf}/in", f"shelf://{shelf}/out"
    with pytest.raises(BadSetting, match=r"^shelf://\S+/out/a.jpg is not known to be a translation of gen"):
        run(source, out)
    assert files(shelf / "out") == {"a.jpg"}
    assert (shelf / "out" / "a.jpg").read_bytes() == foreign
    (shelf / "out" / "a.jpg").unlink()
    (shelf / "out" / "report.json").write_text('{"mine": 1}')
    with pytest.raises(BadSetting, match="is not a report of gen"):
        run(source, out)
    assert (shelf / "out" / "report.json").read_text() == '{"mine": 1}'


def test_an_output_that_another_program_writes_meanwhile_is_kept(shelf, monkeypatch, capsys):
    source, out = f"shelf://{shelf}/in", f"shelf://{shelf}/out"
    foreign = picture(shelf / "mine.png", 9).read_bytes()

    def write(path):
        if path.endswith("/a.jpg"):
            (shelf / "out" / "rear").mkdir()
            (shelf / "out" / "rear" / "b.png").write_bytes(foreign)

    monkeypatch.setattr(Shelf, "after_put", staticmethod(write))
    assert statuses(run(source, out))[f"{out}/rear/b.png"] == "failed"
    assert (shelf / "out" / "rear" / "b.png").read_bytes() == foreign
    assert f"{out}/rear/b.png: another program has written this file meanwhile" in capsys.readouterr().err


def test_the_output_of_another_camera_is_kept(shelf):
    out = f"shelf://{shelf}/out"
    run(f"shelf://{shelf}/in", out)
    picture(shelf / "other" / "a.jpg", 3)
    before = (shelf / "out" / "a.jpg").read_bytes()
    with pytest.raises(BadSetting, match=rf"{out}/a.jpg was made of shelf://{shelf}/in/a.jpg, not"):
        run(f"shelf://{shelf}/other", out)
    assert (shelf / "out" / "a.jpg").read_bytes() == before


def test_an_upload_that_fails_is_told_and_tried_again(shelf, capsys):
    source, out = f"shelf://{shelf}/in", f"shelf://{shelf}/out"
    Shelf.broken_up = {"a.jpg"}
    report = run(source, out)
    assert statuses(report) == {f"{out}/a.jpg": "failed", f"{out}/rear/b.png": "done", f"{out}/c.mp4": "done"}
    assert report.count("failed") == 1
    assert files(shelf / "out") == {"rear/b.png", "c.mp4", "report.json"}
    written = json.loads((shelf / "out" / "report.json").read_text())
    assert written["totals"] == {"done": 2, "skipped": 0, "left": 0, "failed": 1}
    (failed,) = (file for file in written["files"] if file["status"] == "failed")
    assert failed["error"].startswith(f"{out}/a.jpg: ConnectionResetError: the line is dead. It was not uploaded")
    assert f"failed: {failed['error']}" in capsys.readouterr().err
    Shelf.broken_up = set()
    moved()
    assert set(statuses(run(source, out)).values()) == {"skipped"}
    assert moved() == ([], ["a.jpg"])
    assert read_header(shelf / "out" / "a.jpg").mark is not None
    totals = json.loads((shelf / "out" / "report.json").read_text())["totals"]
    assert totals == {"done": 0, "skipped": 3, "left": 0, "failed": 0}


def test_a_report_that_cannot_be_uploaded_ends_the_run_with_one_sentence(shelf):
    source, out = f"shelf://{shelf}/in", f"shelf://{shelf}/out"
    Shelf.broken_up = {"report.json"}
    with pytest.raises(BadSetting, match=rf"^{out}/report.json: ConnectionResetError: the line is dead\."):
        run(source, out)
    Shelf.broken_up = set()
    run(source, out)
    assert {file["status"] for file in json.loads((shelf / "out" / "report.json").read_text())["files"]} == {"skipped"}


def test_an_input_that_cannot_be_fetched_fails_alone(shelf, capsys):
    source, out = f"shelf://{shelf}/in", f"shelf://{shelf}/out"
    Shelf.broken_down = {"a.jpg"}
    assert statuses(run(source, out))[f"{out}/a.jpg"] == "failed"
    assert f"failed: {source}/a.jpg: ConnectionResetError: the line is dead." in capsys.readouterr().err
    Shelf.broken_down = set()
    assert statuses(run(source, out))[f"{out}/a.jpg"] == "done"


def test_a_broken_picture_fails_alone(shelf, capsys):
    source, out = f"shelf://{shelf}/in", f"shelf://{shelf}/out"
    data = (shelf / "in" / "a.jpg").read_bytes()
    (shelf / "in" / "a.jpg").write_bytes(data[:100])
    (shelf / "in" / "zero.png").touch()
    found = statuses(run(source, out))
    assert {name for name, status in found.items() if status == "failed"} == {f"{out}/a.jpg", f"{out}/zero.png"}
    told = capsys.readouterr().err
    assert f"failed: {source}/a.jpg: " in told
    assert str(cache()) not in told
    assert files(shelf / "out") == {"c.mp4", "rear/b.png", "report.json"}


def test_ctrl_c_uploads_what_is_finished(shelf):
    """And the same command goes on."""
    source, out = f"shelf://{shelf}/in", f"shelf://{shelf}/out"

    def translate(settings, watch):
        told = []
        stopping = replace(watch, tell=lambda progress: (told.append(1), watch.tell(progress)), stop=lambda: bool(told))
        return batch.translate(settings, lambda settings: Identity(), stopping)

    with pytest.raises(KeyboardInterrupt):
        translate_urls(TranslateSettings(Path(source), Path(out), model="same"), urls_in([source, out]), translate)
    finished = files(shelf / "out") & {"a.jpg", "rear/b.png", "c.mp4"}
    assert 0 < len(finished) < 3
    written = json.loads((shelf / "out" / "report.json").read_text())
    assert written["stopped"] == "cancelled"
    assert {file["path"] for file in written["files"]} == finished
    again = statuses(run(source, out))
    assert {name for name, status in again.items() if status == "skipped"} == {f"{out}/{name}" for name in finished}
    assert files(shelf / "out") == {"a.jpg", "rear/b.png", "c.mp4", "report.json"}


def test_a_killed_run_is_taken_up_again(shelf):
    """On the same machine, and on another."""
    source, out = f"shelf://{shelf}/in", f"shelf://{shelf}/out"
    done = subprocess.run([sys.executable, "-m", "tests.translation.test_remote", source, out], cwd=REPOSITORY)
    assert done.returncode == 9
    (name,) = files(shelf / "out")
    shutil.copytree(shelf / "out", shelf / "left")
    for _ in range(2):
        found = statuses(run(source, out))
        assert found.pop(f"{out}/{name}") == "skipped"
        assert "failed" not in found.values()
        assert files(shelf / "out") == {"a.jpg", "rear/b.png", "c.mp4", "report.json"}
        assert all(read_header(shelf / "out" / path).mark for path in ("a.jpg", "rear/b.png", "c.mp4"))
        forget()
        shutil.rmtree(shelf / "out")
        shutil.copytree(shelf / "left", shelf / "out")


def test_what_killed_uploads_left_is_removed_a_day_later(shelf):
    (shelf / "out").mkdir()
    for name, age in (("old", 2), ("new", 0)):
        path = shelf / "out" / f".gen-upload-{name}.partial"
        path.touch()
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime - age * 24 * 3600))
    run(f"shelf://{shelf}/in/a.jpg", f"shelf://{shelf}/out")
    assert files(shelf / "out") == {".gen-upload-new.partial", "a.jpg", "report.json"}


def test_what_is_removed_behind_the_urls(shelf):
    """An output is made again, and an input's entry stays as long as its output."""
    source, out = f"shelf://{shelf}/in", f"shelf://{shelf}/out"
    run(source, out)
    (shelf / "out" / "a.jpg").unlink()
    (shelf / "in" / "c.mp4").unlink()
    assert statuses(run(source, out)) == {f"{out}/a.jpg": "done", f"{out}/rear/b.png": "skipped"}
    assert {file["path"] for file in json.loads((shelf / "out" / "report.json").read_text())["files"]} == {
        "a.jpg",
        "rear/b.png",
        "c.mp4",
    }


def test_maps_of_earlier_settings_are_removed_behind_the_url(shelf):
    source, out = f"shelf://{shelf}/in", f"shelf://{shelf}/out"
    run(source, out, compare=True)
    assert (shelf / "out" / "a.jpg.compare.jpg").exists()
    run(source, out, overwrite=True)
    assert files(shelf / "out") == {"a.jpg", "rear/b.png", "c.mp4", "report.json"}


def test_outputs_and_inputs_stay_apart(shelf):
    source = f"shelf://{shelf}/in"
    with pytest.raises(BadInput, match="the output would overwrite an input"):
        run(source, source)
    with pytest.raises(BadInput, match="the output would overwrite an input"):
        run(f"{source}/a.jpg", f"{source}/a.jpg")
    picture(shelf / "in" / "in" / "e.jpg")
    with pytest.raises(BadInput, match="the output would lie among the inputs"):
        run(source, f"shelf://{shelf}")
    assert set(statuses(run(source, f"{source}/out"))) == {
        f"{source}/out/{name}" for name in ("a.jpg", "rear/b.png", "c.mp4", "in/e.jpg")
    }
    assert set(statuses(run(source, f"{source}/out")).values()) == {"skipped"}  # its own outputs are no inputs


@pytest.mark.parametrize(
    ("source", "out", "settings", "message"),
    [
        ("nope://b/x", "out", {}, r"nope://b/x: Protocol not known: nope; s3, gs, .* are usual ones\."),
        ("s3://", "out", {}, r"s3://: a bucket or folder is missing after ://\."),
        ("memory://not/there", "out", {}, r"memory://not/there: no such file or folder\."),
        ("memory://empty", "out", {}, r"memory://empty: no images .* found\."),
        ("memory://full", "memory://full/x.txt", {}, r"out: memory://full/x.txt is a file; give a folder\."),
        ("memory://full", "out", {"watch": True}, r"watch: .* leave out --watch\."),
        ("in", "memory://out", {"engine": "ray"}, r"engine=ray: .* leave out --engine ray\."),
    ],
)
def test_what_cannot_be_is_told_in_one_sentence(source, out, settings, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fsspec.filesystem("memory").mkdir("/empty")
    put("/full/x.txt", picture(tmp_path / "x.jpg"))
    with pytest.raises(GenError, match=f"^{message}$"):
        run(source, out, **settings)


@pytest.mark.skipif(find_spec("s3fs") is not None, reason="s3fs is installed")
def test_a_missing_package_is_named():
    with pytest.raises(BadSetting, match=r"^s3://b/x: s3:// needs an optional package: `pip install s3fs`\.$"):
        run("s3://b/x", "out")


def test_an_output_that_cannot_be_written_is_told_before_the_work(shelf, monkeypatch):
    def refuse(self, path, value, **kwargs):
        raise PermissionError(path)

    monkeypatch.setattr(Shelf, "pipe_file", refuse)
    with pytest.raises(BadSetting, match=r"/out: permission is denied\.$"):
        run(f"shelf://{shelf}/in", f"shelf://{shelf}/out")
    assert moved() == ([], [])


def test_too_little_room_is_told_before_the_work(shelf, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=100))
    with pytest.raises(
        BadSetting, match=r"/in: 0\.\d MB must be fetched, but 0\.0 MB are free on the disk of the cache"
    ):
        run(f"shelf://{shelf}/in", f"shelf://{shelf}/out")
    assert moved() == ([], [])


def test_two_runs_into_one_url(shelf):
    """Of the same input or of another: they would write one report."""
    source, out = f"shelf://{shelf}/in", f"shelf://{shelf}/out"
    found = []

    def second(path):
        if path.endswith("/a.jpg"):
            with pytest.raises(BadSetting) as error:
                run(f"{source}/rear", out)
            found.append(str(error.value))

    Shelf.after_put = staticmethod(second)
    run(source, out)
    assert len(found) == 1
    assert found[0].startswith(f"{out}: another run is writing to this folder")


class Bucket(AsyncFileSystemWrapper):
    """As an object store: what is put is there as a whole, and several files are moved at once."""

    protocol = "bucket"

    def __init__(self, **options):
        super().__init__(MemoryFileSystem(), **options)

    @classmethod
    def _strip_protocol(cls, path):
        return MemoryFileSystem._strip_protocol(path.removeprefix("bucket://"))


def test_an_object_store(tmp_path, monkeypatch):
    fsspec.register_implementation("bucket", Bucket, clobber=True)
    monkeypatch.setattr(store, "ATOMIC", {Bucket().protocol})
    monkeypatch.setattr(Bucket, "mv", None)
    monkeypatch.setattr(Bucket, "makedirs", None)
    for number in range(12):
        put(f"/b/night/{number}.jpg", picture(tmp_path / "x.jpg", number))
    assert set(statuses(run("bucket://b/night", "bucket://b/day")).values()) == {"done"}
    memory = fsspec.filesystem("memory")
    assert {Path(path).name for path in memory.find("/b/day")} == {"report.json", *(f"{n}.jpg" for n in range(12))}
    assert set(statuses(run("bucket://b/night", "bucket://b/day")).values()) == {"skipped"}


def test_a_password_is_shown_nowhere():
    assert shown("sftp://ann:secret@host/night") == "sftp://ann@host/night"
    assert shown("https://host/a.mp4?signature=1") == "https://host/a.mp4"


def test_times_that_stores_tell():
    noon = datetime(2026, 5, 1, 12, tzinfo=UTC)
    expected = int(noon.timestamp()) * 10**9
    told = (
        {"LastModified": noon},
        {"mtime": noon.timestamp()},
        {"updated": "2026-05-01T12:00:00Z"},
        {"modify": "20260501120000"},
        {"modificationTime": int(noon.timestamp()) * 1000},
    )
    for info in told:
        assert stamp_in({"size": 5, **info}) == (5, expected)
    one, other = (stamp_in({"size": 5, "ETag": tag}) for tag in "ab")
    assert one != other == stamp_in({"size": 5, "ETag": "b"})
    assert stamp_in({"size": None}) == (0, 0)


def test_a_placeholder_is_never_taken_for_a_file(tmp_path):
    placeholders.write_placeholder(tmp_path / "a.jpg", Stamp(1 << 20, 10**18))
    assert stamp_of(tmp_path / "a.jpg") == (1 << 20, 10**18)
    shutil.copy(tmp_path / "a.jpg", tmp_path / "b.jpg")
    assert placeholders.is_empty(tmp_path / "b.jpg")
    Image.effect_noise((900, 700), 90).save(tmp_path / "c.jpg", quality=95)
    whole = tmp_path / "c.jpg"
    before = stamp_of(whole), read_header(whole)
    placeholders.empty_middle(whole)
    assert (stamp_of(whole), read_header(whole)) == before
    assert placeholders.is_placeholder(whole)
    assert not placeholders.is_empty(whole)
    picture(tmp_path / "d.jpg")
    assert not placeholders.is_placeholder(tmp_path / "d.jpg")


def test_the_command_line(shelf, capsys):
    source, out = f"shelf://{shelf}/in", f"shelf://{shelf}/out"
    (shelf / "in" / "zero.png").touch()
    assert main(["translate", *FAST, source, out]) == 1
    told = capsys.readouterr()
    assert f"3 done, 0 finished before, 1 failed; see {out}/report.json" in told.out
    assert f"{out}/c.mp4: 4 frames" in told.out
    assert str(cache()) not in told.out + told.err
    (shelf / "in" / "zero.png").unlink()
    Shelf.broken_up = {"a.jpg"}
    assert main(["translate", source, out, *FAST, "--overwrite"]) == 1
    assert "2 done, 0 finished before, 1 failed" in capsys.readouterr().out
    Shelf.broken_up = set()
    assert main(["translate", source, out, *FAST]) == 0
    assert main(["translate", "nope://x", out]) == 1
    assert capsys.readouterr().err.endswith("are usual ones.\n")


def test_model_auto(shelf):
    """It looks at all files again, but translates none again."""
    source, out = f"shelf://{shelf}/in", f"shelf://{shelf}/out"
    settings = TranslateSettings(Path(source), Path(out), model="auto")
    load = lambda settings: Identity()  # noqa: E731
    for expected in ({"done", "left"}, {"skipped", "left"}):
        report, _ = translate_urls(
            settings, urls_in([source, out]), lambda chosen, watch: automatic.translate(chosen, load, watch)
        )
        assert set(statuses(report).values()) <= expected
        assert files(shelf / "out") == {"a.jpg", "rear/b.png", "c.mp4", "report.json"}
    assert sorted(Shelf.got) == ALL


if __name__ == "__main__":  # IN OUT: a run that is killed when it has uploaded a file
    fsspec.register_implementation("shelf", Shelf)
    Shelf.after_put = staticmethod(lambda path: os._exit(9))
    run(sys.argv[1], sys.argv[2])


def test_a_stage_that_vanishes_takes_nothing_with_it(shelf):
    """As when a cache is cleaned during a run: what it does not know to be removed by gen stays behind the URL."""
    source, out = f"shelf://{shelf}/in", f"shelf://{shelf}/out"
    run(source, out)
    (shelf / "out" / "foreign.txt").write_text("mine")
    before = files(shelf / "out")
    picture(shelf / "in" / "late.jpg", 2)
    Shelf.after_put = staticmethod(
        lambda path: [shutil.rmtree(out, True) for out in (cache() / "stages").glob("*/out")]
    )
    with suppress(GenError, OSError):
        run(source, out)
    assert files(shelf / "out") >= before


def test_room_is_freed_while_a_run_goes_on(shelf):
    """The clip comes last: by then, the pictures are uploaded, and their inputs are placeholders again."""
    seen: list[bool] = []

    def look(path: str) -> None:
        if Path(path).name == "c.mp4":
            seen.extend(placeholders.is_empty(file) for file in (cache() / "stages").glob("*/in/a.jpg"))

    Shelf.after_put = staticmethod(look)
    run(f"shelf://{shelf}/in", f"shelf://{shelf}/out")
    assert seen == [True]


def test_urls_that_are_refused(shelf):
    with pytest.raises(BadSetting, match="no URL inside another one"):
        run("zip://night::file:///x.zip", str(shelf / "out"))


def test_file_urls_are_paths(shelf):
    (shelf / "in").rename(shelf / "a b")
    assert len(run(f"file://localhost{shelf}/a%20b", str(shelf / "out")).entries) == 3
