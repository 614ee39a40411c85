"""Make nights of day frames; the same as `gen simulate-night`."""

import sys

from gen.cli import main

if __name__ == "__main__":
    sys.exit(main(["simulate-night", *sys.argv[1:]]))
