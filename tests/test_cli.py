"""The command line before any command is chosen, and the house rules."""

import subprocess
import sys
from pathlib import Path

import pytest

from gen.cli import COMMANDS, main

HEAVY = {"torch", "diffusers", "kornia", "accelerate", "numpy", "PIL", "av", "cv2", "tyro", "matplotlib"}


def test_help_names_every_command_and_imports_nothing_heavy():
    """`gen --help` must answer within 0.3 s; torch alone takes a second to import."""
    code = "import sys, gen.cli; gen.cli.main(['--help']); print(sorted(m for m in sys.modules if '.' not in m))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for name in COMMANDS:
        assert name in out
    assert not HEAVY & set(out.splitlines()[-1].strip("[]").replace("'", "").split(", "))


def test_as_a_person_starts_it(gen_command):
    done = subprocess.run([*gen_command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0.2.0"
    assert subprocess.run([*gen_command], capture_output=True, check=False).returncode == 2


@pytest.mark.parametrize("arguments", [["--help"], ["translate", "--help"]])
def test_a_reader_that_goes_away_ends_it_quietly(gen_command, arguments):
    """As `gen --help | head -0`."""
    process = subprocess.Popen([*gen_command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 141


def test_an_unknown_command_is_told(capsys):
    assert main(["trasnlate"]) == 2
    assert "unknown command 'trasnlate'; did you mean translate?" in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name, capsys):
    with pytest.raises(SystemExit) as left:
        main([name, "--help"])
    assert left.value.code == 0
    assert f"gen {name}" in capsys.readouterr().out


def test_imports_run_one_way():
    """The contracts in pyproject.toml: web -> wings -> metrics, training -> media, weights."""
    code = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


def test_files_that_the_shell_names_are_told_to_be_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["translate", "in/a.jpg", "in/b.jpg", "in/c.jpg", "out", "--model", "x"]) == 1
    assert "4 names were given, but there is one input and one output" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ("train-augan", "--adverse", "x" * 3000, "--normal", "y", "--out", "out"),
        ("simulate-weather", "x" * 3000, "out"),
        ("train-smos", "--data", "x" * 3000, "--out", "out"),
    ],
    ids=lambda words: words[0],
)
def test_a_path_that_cannot_be_opened_is_one_sentence(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    assert capsys.readouterr().err == f"gen {arguments[0]}: {'x' * 77}...: the name is too long.\n"
