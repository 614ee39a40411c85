"""Find directions that change faces; the same as `gen directions`."""

import sys

from gen.cli import main

if __name__ == "__main__":
    sys.exit(main(["directions", *sys.argv[1:]]))
