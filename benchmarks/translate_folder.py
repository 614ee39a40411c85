"""Time per frame of `gen translate` on a folder: decoding, network, encoding and records, as a person runs it.

    python -m benchmarks.translate_folder

The rendered nights of samples/ (640x360) are copied under many names. Two folders of different sizes are translated and
their times subtracted, so that the start and the loading of the model do not count. Other programs make the time by the
clock longer; the processor time hardly changes.
"""

import argparse
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from gen.provenance import hardware_sentence, machine

ROOT = Path(__file__).parent.parent
FRAMES = 20_000


def copies(folder: Path, count: int) -> Path:
    """A folder of `count` frames of 640x360."""
    nights = sorted((ROOT / "samples" / "adverse").rglob("*.jpg"))
    folder.mkdir()
    for number in range(count):
        shutil.copy(nights[number % len(nights)], folder / f"{number:04d}.jpg")
    return folder


def translate(frames: Path, out: Path, model: str) -> tuple[float, float]:
    """Seconds by the clock and of all cores together."""
    command = [
        sys.executable,
        "-P",
        "-m",
        "gen.cli",
        "translate",
        str(frames),
        str(out),
        "--model",
        model,
        "--device",
        "cpu",
    ]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print seconds per frame and hours for 20,000."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="augan-night2day")
    parser.add_argument(
        "--frames", type=int, default=24, help="frames of the smaller folder; the larger has three times as many"
    )
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    walls: list[float] = []
    cores: list[float] = []
    with tempfile.TemporaryDirectory() as root:
        few, many = copies(Path(root) / "few", args.frames), copies(Path(root) / "many", 3 * args.frames)
        for number in range(args.repeats):
            short, long = (translate(f, Path(root) / f"{f.name}-{number}", args.model) for f in (few, many))
            walls.append((long[0] - short[0]) / (2 * args.frames))
            cores.append((long[1] - short[1]) / (2 * args.frames))
            print(f"{walls[-1]:.3f} s a frame by the clock, {cores[-1]:.3f} core-seconds", flush=True)
    clock, core = (FRAMES * statistics.median(seconds) / 3600 for seconds in (walls, cores))
    print(hardware_sentence(machine(torch.device("cpu"))))
    print(f"{FRAMES:,} frames of 640x360: {clock:.1f} hours by the clock, {core:.1f} core-hours.")


if __name__ == "__main__":
    main()
