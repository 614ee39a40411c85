"""How the threads of a network wait for each other: on an idle machine, and beside one and two busy programs a core.

libgomp, the OpenMP of torch's Linux wheels, lets a waiting thread spin. Where another program has the core of the
thread that is waited for, the spinning takes the time that this one needs; without spinning, each of a network's many
small operations waits for the system to wake its threads. $GOMP_SPINCOUNT says how long a thread spins; gen sets it
(gen/__init__.py). Each cell is the median of three processes: seconds for the same work.

python benchmarks/waiting.py [translate|invert]
"""

import os
import statistics
import subprocess
import sys

ROUNDS = 3
TIMED = """
import time, torch
{setup}
work(2)
begin = time.perf_counter()
work(10)
print(time.perf_counter() - begin)
"""
WORK = {
    "translate": """
from gen import AUGANPipeline
generator, image = AUGANPipeline.from_pretrained("augan-night2day").adverse_to_normal, torch.zeros(1, 3, 192, 320)
def work(passes):
    with torch.inference_mode():
        for _ in range(passes):
            generator(image)
""",
    "invert": """
from gen import HDAPipeline
from gen.metrics.paired import load_perceptual
from gen.stylegan2.projector import project
generator = HDAPipeline.from_pretrained("stylegan2-faces64").generator.requires_grad_(False)
image, perceptual = torch.rand(1, 3, 64, 64) * 2 - 1, load_perceptual()
def work(steps):
    project(generator, image, perceptual, steps)
""",
}
WAYS: dict[str, dict[str, str]] = {
    "300000, libgomp's own": {"GOMP_SPINCOUNT": "300000"},
    "gen's": {},
    "1000": {"GOMP_SPINCOUNT": "1000"},
    "100": {"GOMP_SPINCOUNT": "100"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}


def seconds(environment: dict[str, str], work: str) -> float:
    """Time of the work in a process of its own."""
    command = [sys.executable, "-c", TIMED.format(setup=WORK[work])]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


def main() -> None:
    """Print a row for each way of waiting, a column for each number of busy programs."""
    work, cores = sys.argv[1] if len(sys.argv) > 1 else "translate", os.cpu_count() or 1
    columns: dict[int, dict[str, float]] = {}
    for programs in (0, cores, 2 * cores):
        neighbours = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(programs)]
        try:
            rounds = [{name: seconds(environment, work) for name, environment in WAYS.items()} for _ in range(ROUNDS)]
        finally:
            for neighbour in neighbours:
                neighbour.kill()
        columns[programs] = {name: statistics.median(times[name] for times in rounds) for name in WAYS}
    title = "".join(f"{programs:>10}" for programs in columns)
    print(f"{work}, {cores} cores, seconds; busy programs beside it:\n{'':<24}{title}")
    for name in WAYS:
        print(f"{name:<24}" + "".join(f"{times[name]:10.2f}" for times in columns.values()))


if __name__ == "__main__":
    main()
