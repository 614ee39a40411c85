"""Turn a training run into a model folder; the same as `gen export-augan`."""

import sys

from gen.cli import main

if __name__ == "__main__":
    sys.exit(main(["export-augan", *sys.argv[1:]]))
