"""Train an invention map; the same as `gen train-invention`. `accelerate launch scripts/train_invention.py ...`."""

import sys

from gen.cli import main

if __name__ == "__main__":
    sys.exit(main(["train-invention", *sys.argv[1:]]))
