"""The quota of the disk, and what becomes of old uploads."""

import os
import shutil
import time
from collections import namedtuple

import pytest

from gen.errors import BadInput
from gen.web.storage import BLOCK, RESERVE, Storage


def write(path, size: int, age: float = 0.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_the_limit_counts_everything_below_the_folder(tmp_path):
    write(tmp_path / "uploads" / "a" / "1.png", 600_000)
    write(tmp_path / "jobs" / "b" / "output" / "1.png", 300_000)
    storage = Storage(tmp_path, 0.001)
    folders = 5 * BLOCK
    assert (storage.used(), storage.left()) == (900_000 + folders, 100_000 - folders)
    storage.check(100_000 - folders)
    with pytest.raises(BadInput, match="no room for more files"):
        storage.check(100_001 - folders)


def test_uploads_that_arrive_count(tmp_path, monkeypatch):
    storage = Storage(tmp_path, 0.001)
    storage.begin(700_000)
    assert storage.left() == 300_000
    storage.end(700_000)
    assert storage.left() == 300_000  # until the folder is looked at again
    later = time.monotonic() + 3600
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert storage.left() == 1_000_000
    assert storage.left() == 1_000_000


def test_uploads_begin_and_end_while_the_folder_is_looked_at(tmp_path):
    storage = Storage(tmp_path, 0.001)
    with storage._looking:  # it takes seconds with a million files, and the event loop must not wait
        storage.begin(5)
        storage.end(5)
    assert storage.used() == 0  # looked at again: nothing has come


def test_empty_files_count(tmp_path):
    for name in "abc":
        write(tmp_path / name, 0)
    assert Storage(tmp_path, 1).used() == 3 * BLOCK


def test_what_an_interrupted_upload_left_goes_when_no_other_arrives(tmp_path):
    storage, part = Storage(tmp_path, 1), write(tmp_path / "uploads" / "tmpx", 10)
    whole = write(tmp_path / "uploads" / ("0" * 64) / "a.png", 10)
    storage.begin(10)
    storage.begin(10)
    storage.end(10)
    assert part.exists()
    storage.end(10)
    assert not part.exists()
    assert whole.exists()


def test_the_disk_keeps_a_reserve(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, RESERVE + 5))
    assert Storage(tmp_path, 100).left() == 5


def test_old_and_abandoned_uploads_go(tmp_path):
    storage, hour = Storage(tmp_path, 1), 3600
    new = write(tmp_path / "uploads" / ("0" * 64) / "1.png", 1)
    arriving = write(tmp_path / "uploads" / "tmp1", 1)
    abandoned = write(tmp_path / "uploads" / "tmp2", 1, age=hour)
    storage.delete_old(24 * hour)
    assert new.exists()
    assert arriving.exists()
    assert not abandoned.exists()
    os.utime(new.parent, (0, 0))
    storage.delete_old(24 * hour)
    assert new.exists()  # its folder is old, but it was uploaded again
    storage.delete_old(-1)
    assert not new.parent.exists()


def test_folders_that_are_no_uploads_stay(tmp_path):
    """--results may name any folder."""
    mine = write(tmp_path / "uploads" / "mine" / "thesis.txt", 1, age=10**6)
    Storage(tmp_path, 1).delete_old(1)
    assert mine.exists()
