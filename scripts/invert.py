"""Invert photos into a generator; the same as `gen invert`."""

import sys

from gen.cli import main

if __name__ == "__main__":
    sys.exit(main(["invert", *sys.argv[1:]]))
