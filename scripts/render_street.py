"""Render dash-cam frames of made-up streets; the same as `gen render-street`."""

import sys

from gen.cli import main

if __name__ == "__main__":
    sys.exit(main(["render-street", *sys.argv[1:]]))
