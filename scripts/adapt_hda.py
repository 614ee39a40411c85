"""Adapt a generator to few-shot domains; the same as `gen adapt`."""

import sys

from gen.cli import main

if __name__ == "__main__":
    sys.exit(main(["adapt", *sys.argv[1:]]))
