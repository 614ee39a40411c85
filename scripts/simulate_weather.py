"""Simulate night, fog or rain on clear-day frames; the same as `gen simulate-weather`."""

import sys

from gen.cli import main

if __name__ == "__main__":
    sys.exit(main(["simulate-weather", *sys.argv[1:]]))
