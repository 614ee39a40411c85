"""Train with each domain left out in turn; the same as `gen train-smos`."""

import sys

from gen.cli import main

if __name__ == "__main__":
    sys.exit(main(["train-smos", *sys.argv[1:]]))
