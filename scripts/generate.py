"""Generate images, grids and clips; the same as `gen generate`."""

import sys

from gen.cli import main

if __name__ == "__main__":
    sys.exit(main(["generate", *sys.argv[1:]]))
