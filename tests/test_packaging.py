"""The package works when it is installed from a wheel, outside the repository."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def pip(*arguments: object) -> None:
    command = [sys.executable, "-m", "pip", *map(str, arguments), "--quiet", "--no-deps", "--disable-pip-version-check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The folder that the wheel is installed in."""
    folder = tmp_path_factory.mktemp("wheel")
    sources = folder / "sources"
    sources.mkdir()
    for name in ("gen", "pyproject.toml", "README.md", "LICENSE"):  # a build writes beside the sources
        (sources / name).symlink_to(ROOT / name)
    pip("wheel", "--no-build-isolation", "--wheel-dir", folder, sources)
    (wheel,) = folder.glob("*.whl")
    missing = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "gen").rglob("*")
        if path.suffix in (".py", ".yaml", ".json", ".css", ".js", ".svg", ".typed") and "__pycache__" not in path.parts
    } - set(zipfile.ZipFile(wheel).namelist())
    assert not missing
    pip("install", "--target", folder / "site", wheel)
    return folder / "site"


def run(installed: Path, folder: Path, *words: object, **environment: str) -> str:
    """What `gen` prints, which must be the installed one."""
    code = "import sys, gen, gen.cli; print(gen.__file__); sys.exit(gen.cli.main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, *map(str, words)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(installed)} | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    where, _, printed = done.stdout.partition("\n")
    assert where.startswith(str(installed))
    return printed


def test_pictures_are_translated_with_weights_of_another_folder(installed, tmp_path):
    night = ROOT / "samples" / "adverse" / "night" / "000010.jpg"
    printed = run(installed, tmp_path, "translate", night, "day.jpg", GEN_WEIGHTS=str(ROOT / "weights"))
    assert "1 done" in printed
    assert (tmp_path / "day.jpg").stat().st_size > 0


def test_scenes_are_rendered_without_weights(installed, tmp_path):
    run(installed, tmp_path, "render-smd", "scenes", "--preview")
    assert (tmp_path / "scenes" / "preview.jpg").is_file()


def test_presets_are_there(installed, tmp_path):
    printed = run(installed, tmp_path, "train-smos", "--help")
    assert all(preset in printed for preset in ("cpu", "domainbed", "swad", "miro", "smos"))
