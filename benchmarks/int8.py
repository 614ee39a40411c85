"""What 8-bit integers cost and save: speed and quality of `gen export --int8` beside the same network in fp32.

    python -m benchmarks.int8 CALIBRATION NIGHT DAY [MODEL]

CALIBRATION: night frames for the scales; NIGHT and DAY: others, to measure with. Both networks run in OpenVINO, within
the whole pipeline. Kernel distances to DAY, in the features of SqueezeNet, as shares of the untouched frames'.
"""

import sys
import tempfile
import time
from pathlib import Path

import torch

from gen.augan.measures import FrameSet, Measures
from gen.metrics.distances import list_images, read_frame
from gen.metrics.features import load_features
from gen.translation import registry
from gen.translation.runtimes.export import export
from gen.translation.runtimes.int8 import PART
from gen.translation.runtimes.runner import Runner
from gen.translation.runtimes.sessions import load_session
from gen.translation.settings import ExportSettings

ROUNDS = 30
"""Calls of each network whose fastest counts; the two take turns."""


def main(calibration: Path, night: Path, day: Path, model: str = "augan-night2day") -> None:
    """Measure and print."""
    pipe = registry.load(model, "cpu", torch.float32)
    with tempfile.TemporaryDirectory() as folder:
        networks = {name: Path(folder) / name for name in ("fp32", "int8")}
        for name, out in networks.items():
            frames = calibration if name == "int8" else None
            export(ExportSettings(model, out, to="openvino", int8=frames))
        sizes = {name: (out / f"{PART}.bin").stat().st_size / 1e6 for name, out in networks.items()}
        threads = torch.get_num_threads()
        runners = {
            name: Runner(load_session("openvino", out / f"{PART}.xml", "fp32", threads))
            for name, out in networks.items()
        }
    rows = pipe.capabilities.auto_height
    image = pipe.padded(torch.rand(1, 3, rows, round(rows * 16 / 9)) * 2 - 1)
    fastest = dict.fromkeys(runners, float("inf"))
    for _ in range(ROUNDS):
        for name, runner in runners.items():
            began = time.perf_counter()
            runner(image)
            fastest[name] = min(fastest[name], time.perf_counter() - began)
    print(f"{model} at {image.shape[3]}x{image.shape[2]}, {threads} threads, OpenVINO:")
    for name in runners:
        print(f"  {name}: {1000 * fastest[name]:.1f} ms, {sizes[name]:.1f} MB")
    print(f"  int8 is {fastest['fp32'] / fastest['int8']:.2f} times as fast")
    quality(pipe, runners, night, day)


def quality(pipe, runners: dict[str, Runner], night: Path, day: Path) -> None:
    """Print the kernel distance and structure of the translations by each runner."""
    measures = Measures([load_features("squeezenet")])
    sets = {name: FrameSet(measures) for name in ("day", "untouched", *runners)}
    for path in list_images(day):
        sets["day"].add(read_frame(path)[None])
    apart = []
    for path in list_images(night):
        frame = read_frame(path)[None]
        sets["untouched"].add(frame)
        made = {}
        for name, runner in runners.items():
            pipe.runners[PART] = runner
            made[name] = pipe.translate_frames(frame, PART)[0]
            sets[name].add(made[name], frame)
        apart.append((made["int8"].float() - made["fp32"].float()).abs().mean().item())
    mean = sum(apart) / len(apart)
    print(f"  on {len(apart)} frames int8 is {mean:.2f} grey levels from fp32, on one frame {max(apart):.2f}")
    whole = None
    for name in ("untouched", *runners):
        found = sets[name].distances(sets["day"], 100, 0)["squeezenet"]
        whole = whole or found["kernel"]
        kept = "" if name == "untouched" else f", structure kept {sets[name].numbers()['structure']:.3f}"
        print(f"  {name}: kernel distance {found['kernel'] / whole:.3f} ± {found['kernel_std'] / whole:.3f}{kept}")


if __name__ == "__main__":
    if not 4 <= len(sys.argv) <= 5:
        sys.exit(__doc__)
    main(*map(Path, sys.argv[1:4]), *sys.argv[4:])
