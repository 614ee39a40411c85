"""Evaluate: `evaluate.py hda ...` is `gen evaluate-hda ...`; `augan`, the default, is `gen evaluate-augan ...`."""

import sys

from gen.cli import main

if __name__ == "__main__":
    name = sys.argv[1:2] if sys.argv[1:2] in (["augan"], ["hda"]) else []
    sys.exit(main([f"evaluate-{(name or ['augan'])[0]}", *sys.argv[1 + len(name) :]]))
