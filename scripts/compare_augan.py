"""Train AU-GAN recipes at equal cost and compare them; the same as `gen compare-augan`."""

import sys

from gen.cli import main

if __name__ == "__main__":
    sys.exit(main(["compare-augan", *sys.argv[1:]]))
