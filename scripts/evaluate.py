"""`evaluate.py hda ...` is `gen evaluate-hda ...`; `evaluate.py augan ...`, or without a name, `gen evaluate-augan`."""

import sys

from gen.cli import main

if __name__ == "__main__":
    named = sys.argv[1:2] if sys.argv[1:2] in (["augan"], ["hda"]) else []
    sys.exit(main([f"evaluate-{(named or ['augan'])[0]}", *sys.argv[1 + len(named) :]]))
