"""Train the weather classifier; the same as `gen train-weather`."""

import sys

from gen.cli import main

if __name__ == "__main__":
    sys.exit(main(["train-weather", *sys.argv[1:]]))
