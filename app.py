"""Open gen in a browser: python app.py --help lists the settings."""

import sys

from gen.cli import main

if __name__ == "__main__":
    sys.exit(main(["app", *sys.argv[1:]]))
