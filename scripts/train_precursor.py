"""Train a scene classifier as a reference for other networks; the same as `gen train-precursor`."""

import sys

from gen.cli import main

if __name__ == "__main__":
    sys.exit(main(["train-precursor", *sys.argv[1:]]))
