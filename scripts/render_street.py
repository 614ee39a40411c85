"""Render dash-cam frames of synthetic streets; the same as `gen render-street`."""

import sys

from gen.cli import main

if __name__ == "__main__":
    sys.exit(main(["render-street", *sys.argv[1:]]))
