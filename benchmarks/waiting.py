"""How the threads of a network wait for each other: on an idle machine, and beside a busy process on every core.

libgomp, the OpenMP of torch's Linux wheels, lets a waiting thread spin. Where another program has the core of the
thread that is waited for, the spinning takes the time that this one needs. $GOMP_SPINCOUNT says how long it spins; gen
sets it (gen/__init__.py). Each cell is the median of three processes: seconds for the same passes of a generator.
"""

import os
import statistics
import subprocess
import sys
import time

PASSES = """
import time, torch
from gen import AUGANPipeline
generator = AUGANPipeline.from_pretrained("augan-night2day").adverse_to_normal
image = torch.zeros(1, 3, 192, 320)
with torch.inference_mode():
    for number in range({passes} + 2):
        if number == 2:
            begin = time.perf_counter()
        generator(image)
print(time.perf_counter() - begin)
"""
COUNTS = {"libgomp's own": {"GOMP_SPINCOUNT": "300000"}, "10000": {"GOMP_SPINCOUNT": "10000"}}
COUNTS |= {"gen's": {}, "100": {"GOMP_SPINCOUNT": "100"}, "passive": {"OMP_WAIT_POLICY": "passive"}}
COUNTS |= {"one thread": {"OMP_NUM_THREADS": "1"}}


def seconds(environment: dict[str, str], passes: int) -> float:
    """Time of so many passes in a process of their own."""
    command = [sys.executable, "-c", PASSES.format(passes=passes)]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


def main() -> None:
    """Print a line for each way of waiting."""
    passes = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    busy = "while True: pass"
    print(f"{os.cpu_count()} cores, {passes} passes\n{'spin count':<16}{'idle':>8}{'busy':>8}")
    for name, environment in COUNTS.items():
        idle = statistics.median(seconds(environment, passes) for _ in range(3))
        neighbours = [subprocess.Popen([sys.executable, "-c", busy]) for _ in range(os.cpu_count() or 1)]
        time.sleep(0.5)
        try:
            beside = statistics.median(seconds(environment, passes) for _ in range(3))
        finally:
            for neighbour in neighbours:
                neighbour.kill()
        print(f"{name:<16}{idle:8.2f}{beside:8.2f}", flush=True)


if __name__ == "__main__":
    main()
