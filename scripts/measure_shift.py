"""Measure how far image domains are apart; the same as `gen measure-shift`."""

import sys

from gen.cli import main

if __name__ == "__main__":
    sys.exit(main(["measure-shift", *sys.argv[1:]]))
