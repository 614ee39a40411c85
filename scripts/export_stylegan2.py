"""Turn a training run into a model folder; the same as `gen export-stylegan2`."""

import sys

from gen.cli import main

if __name__ == "__main__":
    sys.exit(main(["export-stylegan2", *sys.argv[1:]]))
