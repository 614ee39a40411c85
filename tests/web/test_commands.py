"""`gen app` before the page is built."""

import subprocess
import sys

import pytest

CODE = """
import sys
from gen.cli import main
try:
    status = main(["app", *sys.argv[1:]])
except SystemExit as left:
    status = left.code
print("heavy:", sorted({"torch", "gradio", "diffusers", "numpy", "PIL", "av"} & set(sys.modules)), file=sys.stderr)
sys.exit(status)
"""


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--help"], 0, "--clip-seconds"),
        (["--port", "many"], 2, "port"),
        (["--no-such-option"], 2, "no-such-option"),
        (["--host", "0.0.0.0"], 1, "gen app: host=0.0.0.0: others could reach the page; set GEN_USERS"),
        (["--share"], 1, "gen app: share=True: others could reach the page; set GEN_USERS"),
        (["--root", "no/such/folder"], 1, "gen app: root=no/such/folder: no such folder."),
    ],
)
def test_help_and_usage_errors_import_neither_torch_nor_gradio(arguments, status, words, monkeypatch):
    monkeypatch.delenv("GEN_USERS", raising=False)
    done = subprocess.run([sys.executable, "-c", CODE, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert words in done.stdout + done.stderr
    assert "heavy: []" in done.stderr
