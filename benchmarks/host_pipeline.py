"""Frames per second of decoding, resizing and encoding: `gen translate` against a simple loop, without a network.

python benchmarks/host_pipeline.py FRAMES [--repeats 3]
"""

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from gen.augan.networks import AUGANGenerator
from gen.augan.pipeline import AUGANPipeline
from gen.media.folders import find_stills, plan_jobs
from gen.provenance import machine
from gen.translation.batch import load_model, translate_jobs
from gen.translation.network import Network
from gen.translation.run import Run
from gen.translation.settings import TranslateSettings


class Identity(Network):
    """A translator that returns its input."""

    def __call__(self, frames, smoother=None):
        """The frames themselves."""
        batch = torch.from_numpy(np.stack(frames))
        return [(frame, None) for frame in batch.numpy()]


def usual_loop(frames: list[Path], out: Path) -> None:
    """The loop of most research code: PIL, bicubic to 512x256 and back, float tensors, PNG, one image at a time."""
    for path in frames:
        image = Image.open(path).convert("RGB")
        small = image.resize((512, 256), Image.Resampling.BICUBIC)
        tensor = torch.from_numpy(np.asarray(small).astype(np.float32) / 127.5 - 1).permute(2, 0, 1)[None]
        array = ((tensor[0].permute(1, 2, 0).numpy() + 1) * 127.5).round().clip(0, 255).astype(np.uint8)
        Image.fromarray(array).resize(image.size, Image.Resampling.LANCZOS).save(out / f"{path.stem}.png")


def ours(frames: Path, out: Path, model: Path, still_format: str) -> None:
    """The threads and files of `gen translate`."""
    settings = TranslateSettings(frames, out, model=str(model), format=still_format, batch_size=8)  # type: ignore[arg-type]
    jobs = plan_jobs(frames, out, still_format)
    for job in jobs:
        job.target.parent.mkdir(parents=True, exist_ok=True)
    run = Run(settings)
    with run.reporting(len(jobs)):
        translate_jobs(jobs, Identity(load_model(settings), settings), run)


def median_seconds(work: Callable[[Path], None], repeats: int) -> float:
    """Median time of `repeats` runs, each into an empty folder, after one warm-up run."""
    seconds = []
    for _ in range(repeats + 1):
        out = Path(tempfile.mkdtemp())
        began = time.perf_counter()
        work(out)
        seconds.append(time.perf_counter() - began)
        shutil.rmtree(out)
    return statistics.median(seconds[1:])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("frames", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    frames = find_stills(options.frames)
    model = Path(tempfile.mkdtemp())
    tiny = {"width": 4, "blocks": 1, "reconstruction": False}
    AUGANPipeline(AUGANGenerator(**tiny), AUGANGenerator(uncertainty=False, **tiny)).save_pretrained(model)
    print(machine(torch.device("cpu")), f"{len(frames)} frames of {Image.open(frames[0]).size}")
    usual = median_seconds(lambda out: usual_loop(frames, out), options.repeats)
    print(f"usual loop, PNG:   {len(frames) / usual:8.1f} frames/s   1.0x")
    for still_format in ("png", "jpg"):
        run = median_seconds(lambda out, f=still_format: ours(options.frames, out, model, f), options.repeats)
        print(f"gen, {still_format}:          {len(frames) / run:8.1f} frames/s {usual / run:5.1f}x")


if __name__ == "__main__":
    main()
