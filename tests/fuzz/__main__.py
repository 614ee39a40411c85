"""The long form: `python -m tests.fuzz --cases 100000 --seed 1`, for `make fuzz`.

Two processes share the cases, in blocks. A block that hangs or dies is ended; its last case, written down before it
ran, is the finding. Findings are counted by where they happen, and printed with a case that Hypothesis made as small
as it could. The exit status is 1 if there are any.
"""

import argparse
import base64
import json
import pickle
import re
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings

BLOCK = 4000
"""Cases of one block."""
HANGS = 60.0
"""Seconds after which a case counts as hanging; the processor may be shared."""
STARTS = 600.0
"""Seconds that a process may take until its first case."""


def where(error: BaseException) -> str:
    """The place of an error: its kind and the deepest line of gen."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "/gen/" in f.filename] or list(frames)
    return f"{type(error).__name__} at {Path(own[-1].filename).name}:{own[-1].lineno}"


def finding(name: str, place: str, trace: str, case: Any) -> dict[str, Any]:
    """What is reported of one; `case` can be read back with pickle."""
    return {"target": name, "where": place, "trace": trace, "case": base64.b64encode(pickle.dumps(case)).decode()}


def work(name: str, cases: int, number: int, record: Path) -> None:
    """One block, in a process of its own. Prints a line of JSON for each finding, and one with the count."""
    from tests.fuzz.guard import run_case
    from tests.fuzz.targets import TARGETS

    target, known, done = TARGETS[name], set[str](), 0

    def block(count: int, salt: int) -> None:
        nonlocal done

        @seed(number * 1000 + salt)
        @settings(max_examples=count, database=None, deadline=None, suppress_health_check=list(HealthCheck),
                  phases=[Phase.generate, Phase.shrink], report_multiple_bugs=False,
                  verbosity=Verbosity.quiet)  # fmt: skip
        @given(target.cases)
        def check(case: Any) -> None:
            nonlocal done, smallest
            done += 1
            record.write_bytes(pickle.dumps(case))
            try:
                run_case(target, case)
            except BaseException as error:
                if where(error) in known or isinstance(error, KeyboardInterrupt):
                    return
                smallest = (case, error)
                raise

        smallest: tuple[Any, BaseException] | None = None
        try:
            check()
        except BaseException:
            if smallest is None:
                raise
            case, error = smallest
            known.add(where(error))
            lines = [line for line in traceback.format_exception(error) if "hypothesis" not in line]
            print(json.dumps(finding(name, where(error), "".join(lines)[-2000:], case)), flush=True)

    salt = 0
    while done < cases:
        before = done
        block(cases - done, salt)
        salt += 1
        if done == before:
            break
    print(json.dumps({"target": name, "done": done}), flush=True)


def supervise(name: str, cases: int, number: int) -> list[dict[str, Any]]:
    """Run one block, and end it if a case hangs. Returns its findings and counts."""
    with tempfile.TemporaryDirectory() as folder:
        record, log = Path(folder) / "case", Path(folder) / "log"
        record.touch()
        command = [sys.executable, "-m", "tests.fuzz", "--block", name, "--cases", str(cases), "--seed", str(number),
                   "--record", str(record)]  # fmt: skip
        with log.open("w") as out, (Path(folder) / "err").open("w") as err:
            process = subprocess.Popen(command, stdout=out, stderr=err)
            hung = False
            while process.poll() is None:
                time.sleep(0.2)
                state = record.stat()
                if time.time() - state.st_mtime > (HANGS if state.st_size else STARTS):
                    process.kill()
                    hung = True
        lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
        if process.returncode:
            case = pickle.loads(record.read_bytes()) if record.stat().st_size else None
            what = "hangs" if hung else f"process ended with {process.returncode}"
            lines.append(finding(name, what, (Path(folder) / "err").read_text()[-2000:], case))
        return lines


def shown(line: dict[str, Any], keep: Path | None) -> str:
    """The case of a finding, as text or in a file of the folder `keep`."""
    content = base64.b64decode(line["case"])
    if keep is None:
        return f"case: {pickle.loads(content)!r:.2000}"
    keep.mkdir(parents=True, exist_ok=True)
    file = keep / f"{line['target']}-{re.sub(r'[^a-zA-Z0-9.]+', '-', line['where'])}.pickle"
    file.write_bytes(content)
    return f"case: {file}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--target", action="append", default=[], help="only this one; default: all")
    parser.add_argument("--minutes", type=float, default=600.0, help="start no further block after so long")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="folder for the cases of findings, as pickles")
    parser.add_argument("--block", help=argparse.SUPPRESS)
    parser.add_argument("--record", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.block:
        work(args.block, args.cases, args.seed, args.record)
        return 0
    from tests.fuzz.targets import TARGETS

    names = args.target or list(TARGETS)
    whole = sum(TARGETS[name].share for name in names)
    left = {name: round(args.cases * TARGETS[name].share / whole) for name in names}
    blocks = [(name, min(BLOCK, left[name] - start)) for name in names for start in range(0, left[name], BLOCK)]
    # In turns, so that a run that is cut short has seen something of every target.
    order = sorted(range(len(blocks)), key=lambda i: (sum(b[0] == blocks[i][0] for b in blocks[:i]), i))
    began, done, found = time.time(), Counter[str](), dict[tuple[str, str], dict[str, Any]]()

    def run(index: int) -> list[dict[str, Any]]:
        name, count = blocks[index]
        return supervise(name, count, args.seed * 100_000 + index) if time.time() - began < args.minutes * 60 else []

    with ThreadPoolExecutor(args.jobs) as pool:
        for lines in pool.map(run, order):
            for line in lines:
                if "done" in line:
                    done[line["target"]] += line["done"]
                elif (line["target"], line["where"]) not in found:
                    found[line["target"], line["where"]] = line
                    print(f"\n{line['target']}: {line['where']}\n{line['trace']}\n{shown(line, args.keep)}", flush=True)
    print(f"\n{'target':12}{'cases':>9}{'findings':>10}")
    for name in names:
        print(f"{name:12}{done[name]:9}{sum(target == name for target, _ in found):10}")
    print(f"{'all':12}{done.total():9}{len(found):10}   {time.time() - began:.0f} s")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
