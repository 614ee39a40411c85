"""Measure how far apart domains are in trained networks; the same as `gen analyse-smos`."""

import sys

from gen.cli import main

if __name__ == "__main__":
    sys.exit(main(["analyse-smos", *sys.argv[1:]]))
