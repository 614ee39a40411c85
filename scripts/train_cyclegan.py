"""Train CycleGAN or CUT, like `gen train-cyclegan`. Several GPUs: `accelerate launch scripts/train_cyclegan.py`."""

import sys

from gen.cli import main

if __name__ == "__main__":
    sys.exit(main(["train-cyclegan", *sys.argv[1:]]))
