"""Train a StyleGAN2 generator; the same as `gen train-stylegan2`."""

import sys

from gen.cli import main

if __name__ == "__main__":
    sys.exit(main(["train-stylegan2", *sys.argv[1:]]))
