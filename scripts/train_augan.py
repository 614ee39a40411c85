"""Train AU-GAN; the same as `gen train-augan`. On several GPUs: `accelerate launch scripts/train_augan.py ...`."""

import sys

from gen.cli import main

if __name__ == "__main__":
    sys.exit(main(["train-augan", *sys.argv[1:]]))
