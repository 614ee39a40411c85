"""Train an invention map; the same as `gen train-invention`. On several GPUs, put `accelerate launch` before it."""

import sys

from gen.cli import main

if __name__ == "__main__":
    sys.exit(main(["train-invention", *sys.argv[1:]]))
