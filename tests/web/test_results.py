"""The zip of a job's results."""

import os
import zipfile
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gen.errors import BadInput
from gen.web import results, scenes, translate_job
from gen.web.jobs import Stopped
from gen.web.messages import hide_folders
from gen.web.results import RESULTS, pack
from gen.web.settings import WebSettings


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


def test_what_a_job_has_done_is_packed_though_the_servers_folder_is_gone(tmp_path: Path) -> None:
    """After a restart."""
    (tmp_path / "output").mkdir()
    (tmp_path / "output" / "report.json").write_text('{"files": [], "warnings": []}')
    (tmp_path / "output" / "a.jpg").write_bytes(b"picture")
    settings = {"direction": "adverse_to_normal", "model": "augan-night2day"}
    job = SimpleNamespace(inputs={"source": str(tmp_path / "gone"), "settings": settings})
    context: Any = SimpleNamespace(job=job, folder=tmp_path, closing=False, report=print)
    service: Any = SimpleNamespace(settings=WebSettings(results=tmp_path), device=lambda: "cpu")
    with pytest.raises(BadInput, match="no such file or folder"):
        translate_job.run(service, context)
    with zipfile.ZipFile(tmp_path / RESULTS) as archive:
        assert archive.namelist() == ["a.jpg", "report.json"]


@pytest.mark.parametrize(
    ("raised", "closing", "packed"),
    [
        (None, False, True),
        (None, True, True),  # the server is told to stop while the last batch is at work: the job is done
        (Stopped, False, True),
        (Stopped, True, False),  # it goes on after the restart
        (KeyboardInterrupt, True, False),
        (BadInput, True, True),
    ],
)
def test_results_are_kept_unless_the_job_goes_on_after_a_restart(
    raised: type[BaseException] | None, closing: bool, packed: bool
) -> None:
    context: Any = SimpleNamespace(closing=False)
    kept = list[bool]()
    with suppress(Stopped, KeyboardInterrupt, BadInput), results.kept(context, lambda: kept.append(True)):
        context.closing = closing
        if raised is not None:
            raise raised
    assert kept == [True] * packed


def test_a_data_set_that_ends_while_the_server_stops_is_packed(tmp_path: Path) -> None:
    settings = {"styles": ["8bit"], "scenes": ["snow"], "per_class": 1, "size": 16, "seed": 0}
    context: Any = SimpleNamespace(job=SimpleNamespace(inputs={"settings": settings}), folder=tmp_path, closing=True)
    context.stop_if_cancelled = context.report = lambda *args, **kwargs: None
    scenes.run_scenes(SimpleNamespace(), context)  # pyright: ignore[reportArgumentType]
    with zipfile.ZipFile(tmp_path / RESULTS) as archive:
        assert len([name for name in archive.namelist() if name.endswith(".jpg")]) == 1


def test_a_report_does_not_tell_where_the_servers_folder_lies(tmp_path: Path) -> None:
    drive, report = Path("/srv/shared/drive"), tmp_path / "report.json"
    report.write_text(f'{{"settings": {{"input": "{drive}"}}, "files": [{{"input_path": "{drive}/a.jpg"}}]}}')
    translate_job._edit_report(report, [drive, tmp_path], [])  # pyright: ignore[reportPrivateUsage]
    assert report.read_text() == '{"settings": {"input": "drive"}, "files": [{"input_path": "a.jpg"}]}'


def test_messages_can_be_sent() -> None:
    text = hide_folders("/a/b/" + os.fsdecode(b"nacht\xe9.jpg: broken"), ["/a/b"])
    assert text.encode("utf-8") == b"nacht%E9.jpg: broken"
