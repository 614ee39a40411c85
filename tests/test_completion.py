"""`gen completion`: the words that a line may go on with, and the script in a real bash."""

import subprocess
import sys
from pathlib import Path

import pytest

from gen.cli import COMMANDS, main
from gen.completion.candidates import candidates
from gen.completion.commands import SCRIPTS
from gen.translation.registry import translators


def test_commands() -> None:
    assert candidates([""]) == sorted([*COMMANDS, "--help", "--version"])
    assert candidates(["transl"]) == ["translate"]
    assert candidates(["nope", ""]) == []


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - {"completion", "models", "doctor"}))
def test_every_command_offers_its_options(command: str) -> None:
    assert "--help" in candidates([command, "-"])
    assert len(candidates([command, "--"])) > 1


def test_values() -> None:
    assert candidates(["translate", "in", "out", "--direction", ""]) == ["adverse_to_normal", "normal_to_adverse"]
    assert "tiny" in candidates(["train-augan", "--preset", ""])
    assert "augan-night2day" in candidates(["translate", "in", "out", "--model", "augan-n"])
    assert "--source" in candidates(["adapt", "--"])
    assert "--model" in candidates(["adapt", "--"])
    assert candidates(["translate", ""]) == []  # files, which the shell completes
    assert candidates(["evaluate-augan", "--detector", ""]) == []
    assert candidates(["translate", "--model=augan-f"]) == ["--model=augan-fog2clear"]
    assert candidates(["translate", "--model", "=", "augan-f"]) == ["augan-fog2clear"]  # as bash cuts it


def test_names_that_the_command_can_use() -> None:
    assert candidates(["translate", "a", "b", "--model", ""]) == translators()
    generators = ["mobilestylegan-faces128", "stylegan2-faces64", "stylegan2-streets64"]
    assert candidates(["adapt", "--model", ""]) == generators
    assert "efficientnet-lite0" in candidates(["adapt", "--encoder", ""])
    assert candidates(["invert", "a.jpg", "--encoder", ""]) == []
    assert "faces64-sketch-sunglasses" in candidates(["generate", "--adaptation", "faces"])


def test_settings() -> None:
    assert candidates(["train-augan", "--set", "lo"]) == ["load_height=", "log_every="]
    assert candidates(["train-augan", "--set", "lr=1e-4", "pool"]) == ["pool_size="]


def bash(line: str) -> list[str]:
    """What a bash with the script offers after `line`."""
    words = [*line.split(" ")]
    gen = Path(sys.executable).with_name("gen")
    script = f"""{SCRIPTS["bash"]}
COMP_WORDS=({" ".join(f'"{word}"' for word in [str(gen), *words[1:]])}); COMP_CWORD={len(words) - 1}
compopt() {{ :; }}; _gen; printf '%s\\n' "${{COMPREPLY[@]}}" """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_in_bash() -> None:
    assert bash("gen eval") == ["evaluate-augan", "evaluate-hda", "evaluate-invention"]
    assert bash("gen translate a b --uncertainty ") == ["map", "none", "overlay", "raw"]


def test_scripts_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    for shell, script in SCRIPTS.items():
        assert main(["completion", shell]) == 0
        assert capsys.readouterr().out == script
