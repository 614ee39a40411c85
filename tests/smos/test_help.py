"""Settings of the commands import no torch, so that help and usage errors answer at once."""

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"torch", "diffusers", "kornia", "accelerate", "numpy", "PIL", "av", "cv2", "matplotlib", "scipy"}


@pytest.mark.parametrize("name", ["measure-shift", "train-smos", "train-precursor", "analyse-smos"])
def test_help_and_usage_errors_import_nothing_heavy(name: str) -> None:
    code = (
        "import sys, gen.cli\n"
        "for arguments in (['--help'], ['--no-such-option']):\n"
        f"    try: gen.cli.main([{name!r}, *arguments])\n"
        "    except SystemExit: pass\n"
        "print(sorted(m for m in sys.modules if '.' not in m))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = set(out.splitlines()[-1].strip("[]").replace("'", "").split(", "))
    assert "tyro" in loaded
    assert not HEAVY & loaded


@pytest.mark.parametrize("option", [["--method", "ERM"], ["--method", "erm", "--seeds", "0;1"],
                                    ["--method", "ERM", "--target", "inc"],
                                    ["--method", "ERM", "--data", "nowhere"]])  # fmt: skip
def test_mistakes_are_named_before_torch_is_imported_and_the_data_first(option: list[str], domains: Path) -> None:
    command = ["train-smos", "--data", str(domains), *option]
    code = f"import sys, gen.cli; print(gen.cli.main({command!r}), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1 False"
    assert option[-1] in done.stderr
