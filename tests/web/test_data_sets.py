"""Data sets of several domains among uploads."""

import zipfile
from pathlib import Path

import pytest

from gen.web.data_sets import count_domains, data_set_in
from gen.web.settings import WebSettings
from gen.web.uploads import SLASH, gather
from tests.web.test_limits import picture

IMAGES = [f"{domain}/{label}/1.png" for domain in ("art", "photo") for label in ("cat", "dog")]


def zipped(file: Path, names: list[str]) -> str:
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, picture())
    return str(file)


def given(form: str, folder: Path) -> list[str]:
    """The same data set, as visitors may have it."""
    match form:
        case "zip":
            return [zipped(folder / "set.zip", IMAGES)]
        case "zip of a folder":
            return [zipped(folder / "set.zip", [f"my set/{name}" for name in IMAGES])]
        case "a zip of each domain":
            return [zipped(folder / f"{d}.zip", [n.partition("/")[2] for n in IMAGES[:2]]) for d in ("art", "photo")]
        case "a zip of the folder of each domain":
            return [zipped(folder / f"{d}.zip", [n for n in IMAGES if n.startswith(d)]) for d in ("art", "photo")]
        case _:
            files = [folder / str(number) / f"set/{name}".replace("/", SLASH) for number, name in enumerate(IMAGES)]
            for file in files:
                file.parent.mkdir()
                file.write_bytes(picture())
            return list(map(str, files))


@pytest.mark.parametrize(
    "form", ["zip", "zip of a folder", "a zip of each domain", "a zip of the folder of each domain", "a folder"]
)
def test_a_data_set_is_found_however_it_is_packed(tmp_path, form):
    files = given(form, tmp_path)
    assert count_domains(files) == 2
    taken, refused = gather(files, tmp_path / "in", WebSettings(), clips=False)
    assert (len(taken), refused) == (4, [])
    root = data_set_in(tmp_path / "in")
    assert sorted(file.relative_to(root).as_posix() for file in root.rglob("*.png")) == IMAGES


def test_what_is_no_data_set_has_no_domains(tmp_path):
    (tmp_path / "broken.zip").write_bytes(b"PK\3\4" * 100)
    assert count_domains([]) == 0
    assert count_domains([str(tmp_path / "broken.zip"), "a.png", "b.png"]) == 0
