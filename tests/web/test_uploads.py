"""Files that visitors upload, copied to the folder of a job."""

import shutil
from pathlib import Path

import pytest

from gen.web.names import Unused
from gen.web.settings import WebSettings
from gen.web.uploads import SLASH, gather

NIGHT = Path("samples/adverse/night/000010.jpg")


def uploaded(folder: Path, *names: str) -> list[str]:
    """Files as gradio stores them: each in a folder of its own, the path of a folder's file in its name."""
    files = [folder / str(number) / name.replace("/", SLASH) for number, name in enumerate(names)]
    for file in files:
        file.parent.mkdir(parents=True)
        shutil.copyfile(NIGHT, file)
    return [str(file) for file in files]


def test_a_folder_keeps_its_tree_and_equal_names_do_not_meet(tmp_path):
    names = ["drive/a/x.jpg", "drive/b/x.jpg", "x.jpg", "x.jpg"]
    unused = Unused()
    taken, refused = gather(uploaded(tmp_path, *names), tmp_path / "in", WebSettings(), unused=unused)
    assert not refused
    assert unused.told(tmp_path / "in") == ["x-2.jpg is another upload named x.jpg"]
    assert [path.relative_to(tmp_path / "in").as_posix() for path in taken] == [*names[:3], "x-2.jpg"]


@pytest.mark.parametrize("name", ["../../x.jpg", "/etc/x.jpg", "a/../../../x.jpg", "C:/x.jpg", "./.hidden/x.jpg"])
def test_no_path_leads_out_of_the_folder(tmp_path, name):
    (path,), _ = gather(uploaded(tmp_path, name), tmp_path / "in", WebSettings())
    assert path.resolve().is_relative_to(tmp_path / "in")
    assert ".." not in path.parts


def test_a_file_and_a_folder_of_one_name(tmp_path):
    taken, refused = gather(uploaded(tmp_path, "a.jpg", "a.jpg/b.jpg"), tmp_path / "in", WebSettings())
    assert [path.name for path in taken] == ["a.jpg"]
    assert len(refused) == 1
    assert "its folder has the name of another file" in refused[0]


def test_a_broken_zip_costs_itself(tmp_path):
    good, broken = tmp_path / "good.jpg", tmp_path / "broken.zip"
    shutil.copyfile(NIGHT, good)
    broken.write_bytes(b"PK\3\4" * 100)
    taken, refused = gather([str(broken), str(good)], tmp_path / "in", WebSettings())
    assert [path.name for path in taken] == ["good.jpg"]
    assert "broken.zip: this zip cannot be unpacked" in refused[0]
    assert [path.name for path in (tmp_path / "in").rglob("*") if path.is_file()] == ["good.jpg"]
