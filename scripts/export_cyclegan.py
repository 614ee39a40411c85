"""Turn a run of CycleGAN or CUT into a model folder; the same as `gen export-cyclegan`."""

import sys

from gen.cli import main

if __name__ == "__main__":
    sys.exit(main(["export-cyclegan", *sys.argv[1:]]))
