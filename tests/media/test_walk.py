"""Folder trees as people have them: links, loops, broken links, folders that must not be read."""

import logging
import os
import subprocess
from pathlib import Path

import pytest

from gen.media.folders import NOT_READ, find_stills, plan_jobs
from gen.media.walk import BROKEN_LINK, HIDDEN, READ_ALREADY, SPECIAL, describe_left_out, walk


def make(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def walked(root: Path, skip: Path | None = None) -> tuple[set[str], dict[str, str]]:
    left_out: dict[str, str] = {}
    return {path.relative_to(root).as_posix() for path in walk(root, left_out, skip)}, left_out


def test_linked_folders_and_files_are_followed(tmp_path):
    make(tmp_path, "in/own.jpg", "real/night/a.jpg", "real/b.jpg")
    (tmp_path / "in" / "night").symlink_to("../real/night")
    (tmp_path / "in" / "b.jpg").symlink_to("../real/b.jpg")
    assert walked(tmp_path / "in") == ({"own.jpg", "night/a.jpg", "b.jpg"}, {})
    (tmp_path / "link").symlink_to("in")
    assert walked(tmp_path / "link")[0] == {"own.jpg", "night/a.jpg", "b.jpg"}


def test_loops_end_and_are_named(tmp_path):
    make(tmp_path, "in/a.jpg", "in/sub/b.jpg", "out/c.jpg")
    (tmp_path / "in" / "self").symlink_to(".")
    (tmp_path / "in" / "sub" / "up").symlink_to("..")
    (tmp_path / "in" / "other").symlink_to("../out")
    (tmp_path / "out" / "back").symlink_to("../in")
    found, left_out = walked(tmp_path / "in")
    assert found == {"a.jpg", "sub/b.jpg", "other/c.jpg"}
    assert left_out == dict.fromkeys(["self", "sub/up", "other/back"], READ_ALREADY)


def test_folders_that_link_to_each_other_are_read_once_each(tmp_path):
    """Followed along every path, twelve folders would be read 12! times."""
    for i in range(12):
        make(tmp_path, f"{i}/a.jpg")
        for j in range(12):
            (tmp_path / str(i) / f"to{j}").symlink_to(f"../{j}")
    found, left_out = walked(tmp_path)
    assert found == {f"{i}/a.jpg" for i in range(12)}
    assert len(left_out) == 144


def test_the_real_folder_is_read_and_not_the_link_before_it(tmp_path):
    make(tmp_path, "z/a.jpg")
    (tmp_path / "a").symlink_to("z")
    assert walked(tmp_path) == ({"z/a.jpg"}, {"a": READ_ALREADY})


def test_what_cannot_be_read_is_named(tmp_path, monkeypatch):
    make(tmp_path, "a.jpg", ".hidden.jpg", ".thumbs/b.jpg", "locked/c.jpg")
    (tmp_path / "gone.jpg").symlink_to("nowhere.jpg")
    (tmp_path / "ring").symlink_to("ring")
    os.mkfifo(tmp_path / "pipe.jpg")
    scan = os.scandir

    def refuse(path):
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)  # root may read everything
    found, left_out = walked(tmp_path)
    assert found == {"a.jpg"}
    assert left_out.pop("ring").startswith(BROKEN_LINK)
    assert left_out == {
        ".hidden.jpg": HIDDEN,
        ".thumbs": HIDDEN,
        "gone.jpg": BROKEN_LINK,
        "locked": "the folder cannot be read (Permission denied)",
        "pipe.jpg": SPECIAL,
    }


def test_a_folder_to_skip_is_skipped_under_every_name(tmp_path):
    make(tmp_path, "a.jpg", "out/a.jpg")
    (tmp_path / "link").symlink_to("out")
    assert walked(tmp_path, tmp_path / "link") == ({"a.jpg"}, {})
    assert [job.source.name for job in plan_jobs(tmp_path, tmp_path / "out")] == ["a.jpg"]


def test_very_deep_trees(tmp_path):
    """Deeper than Python's recursion, as deep as a path may be long."""
    deep = "/".join(["d"] * 1500)
    path = str(tmp_path)
    for _ in range(1500):
        path += "/d"
        os.mkdir(path)
    (tmp_path / deep / "a.jpg").touch()
    try:
        assert walked(tmp_path) == ({f"{deep}/a.jpg"}, {})
    finally:
        subprocess.run(["rm", "-r", str(tmp_path / "d")], check=True)  # too deep for pytest to remove


def test_the_reasons_are_counted(tmp_path):
    names = [f"{i}.xyz" for i in range(7)]
    left_out = {**dict.fromkeys(names, NOT_READ), "a": BROKEN_LINK, "b.txt": NOT_READ}
    assert describe_left_out(left_out) == [
        "8 files not read (.txt, .xyz): not a picture or clip that gen reads",
        "1 file not read: broken link",
    ]


def test_a_folder_for_training_says_what_it_does_not_read(tmp_path, caplog):
    make(tmp_path, "a.jpg", "b.xyz", ".c.jpg")
    (tmp_path / "d.jpg").symlink_to("nowhere")
    with caplog.at_level(logging.WARNING):
        assert find_stills(tmp_path) == [tmp_path / "a.jpg"]
    assert {record.getMessage() for record in caplog.records} == {
        f"{tmp_path}: 1 file not read (.jpg): broken link",
        f"{tmp_path}: 1 file not read (.xyz): not a picture that gen reads",
    }
    caplog.clear()
    find_stills(tmp_path, quiet=True)
    assert not caplog.records


def test_planning_names_what_it_leaves_out(tmp_path):
    make(tmp_path, "in/a.jpg", "in/a.jpg.compare.jpg", "in/b.xyz", "in/out/a.jpg")
    left_out: dict[str, str] = {}
    jobs = plan_jobs(tmp_path / "in", tmp_path / "in" / "out", left_out=left_out)
    assert [job.source.name for job in jobs] == ["a.jpg"]
    assert set(left_out) == {"a.jpg.compare.jpg", "b.xyz"}


@pytest.mark.parametrize("link", ["day", "day/inner"])
def test_smos_and_shift_follow_links(tmp_path, link):
    from gen.shift.folders import find_images
    from gen.smos.benchmarks import find_benchmark

    make(tmp_path, "real/dog/1.jpg", "root/art/dog/1.jpg")
    (tmp_path / "root" / "day").symlink_to("../real") if link == "day" else (tmp_path / "root" / "day").mkdir()
    if link != "day":
        (tmp_path / "root" / "day" / "dog").symlink_to("../../real/dog")
    _, domains = find_benchmark(tmp_path / "root")
    assert set(domains) == {"art", "day"}
    assert len(find_images(tmp_path / "root", tmp_path / "out")) == 2
