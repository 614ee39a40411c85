"""Measure how far apart image domains are; the same as `gen measure-shift`."""

import sys

from gen.cli import main

if __name__ == "__main__":
    sys.exit(main(["measure-shift", *sys.argv[1:]]))
