"""Render game scenes in the styles of game consoles; the same as `gen render-smd`."""

import sys

from gen.cli import main

if __name__ == "__main__":
    sys.exit(main(["render-smd", *sys.argv[1:]]))
