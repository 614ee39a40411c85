"""Imports of HDA and StyleGAN2: no torch before a command does its work, and no wing below."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import gen

ROOT = Path(gen.__file__).parent

USAGES: dict[str, list[list[str]]] = {
    "train-stylegan2": [
        ["--data", "x", "--out", "y", "--preset", "huge"],
        ["--data", "x", "--out", "y", "--set", "lr=a"],
    ],
    "export-stylegan2": [["run", "out", "--distance-images", "many"]],
    "adapt": [
        ["--source", "x", "--domain", "red", "--out", "y"],
        ["--source", "x", "--domain", "a=b", "--out", "y", "--set", "rank=-1"],
    ],
    "generate": [["--truncation", "much"], ["--seeds", "a"], ["--strengths", "a"], ["--morph"]],
    "invert": [["a.jpg", "--steps", "many"], ["a.jpg", "--adaptation", "x:y"]],
    "evaluate-hda": [["--hybrid", "a=b", "--out", "x", "--seeds", "few"]],
}
"""Mistakes in the use of each command; help and an unknown flag come in addition."""

SCRIPT = """
import contextlib, io, sys
from gen.cli import main
for arguments in {usages!r}:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as error:
        try:
            status = main(arguments)
        except SystemExit as left:
            status = left.code
    assert bool(status) == (arguments[1:] != ["--help"]), (arguments, status)
    heavy = {{"torch", "diffusers", "numpy"}} & sys.modules.keys()
    assert not heavy, (arguments, heavy)
"""


@pytest.mark.parametrize("command", USAGES)
def test_help_and_usage_errors_do_not_import_torch(command: str) -> None:
    usages = [[command, *rest] for rest in (["--help"], ["--no-such-flag"], *USAGES[command])]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(usages=usages)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def imported_modules(path: Path) -> set[str]:
    """All gen modules that a file imports, inside functions and under TYPE_CHECKING, too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def test_stylegan2_imports_no_wing() -> None:
    wings = ("gen.hda", "gen.augan", "gen.smos", "gen.web")
    for path in (ROOT / "stylegan2").rglob("*.py"):
        assert not [name for name in imported_modules(path) if name.startswith(wings)], path
