"""`python scripts/evaluate.py` is `gen evaluate-augan`: the same settings, the same table."""

import sys

from gen.cli import main

if __name__ == "__main__":
    sys.exit(main(["evaluate-augan", *sys.argv[1:]]))
