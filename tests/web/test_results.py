"""The zip of a job's results."""

import os
import zipfile
from pathlib import Path

from gen.web.messages import hide_folders
from gen.web.results import pack


def test_files_of_any_time_and_name_are_packed(tmp_path: Path) -> None:
    """Cameras whose clock was lost, and names of before UTF-8, from the server's shared folder."""
    folder = tmp_path / "output"
    folder.mkdir()
    for name in ("old.jpg", os.fsdecode(b"nacht\xe9.jpg")):
        (folder / name).write_bytes(b"picture")
    os.utime(folder / "old.jpg", (0, 0))
    pack(tmp_path / "results.zip", folder)
    with zipfile.ZipFile(tmp_path / "results.zip") as archive:
        assert archive.namelist() == ["nacht%E9.jpg", "old.jpg"]
        assert archive.getinfo("old.jpg").date_time[0] == 1980
        assert archive.testzip() is None


def test_messages_can_be_sent() -> None:
    text = hide_folders("/a/b/" + os.fsdecode(b"nacht\xe9.jpg: broken"), ["/a/b"])
    assert text.encode("utf-8") == b"nacht%E9.jpg: broken"
