"""Translate images, folder trees and clips; the same as `gen translate`."""

import sys

from gen.cli import main

if __name__ == "__main__":
    sys.exit(main(["translate", *sys.argv[1:]]))
