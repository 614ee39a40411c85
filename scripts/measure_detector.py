"""Tell whether translations help or hurt an object detector; the same as `gen measure-detector`."""

import sys

from gen.cli import main

if __name__ == "__main__":
    sys.exit(main(["measure-detector", *sys.argv[1:]]))
