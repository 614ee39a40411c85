"""Convert public CycleGAN and CUT generators (.pth); the same as `gen convert`."""

import sys

from gen.cli import main

if __name__ == "__main__":
    sys.exit(main(["convert", *sys.argv[1:]]))
