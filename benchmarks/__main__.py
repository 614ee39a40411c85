"""Ratios to what people would use instead, each measured in one run on one machine.

    python -m benchmarks                 # all rows
    python -m benchmarks runtimes hosts  # some

Writes benchmarks/results/MACHINE.json and the table of that machine in docs/performance.md. Run it on an idle machine.
"""

import json
import re
import sys
from datetime import UTC, datetime
from pathlib import Path

import torch

from benchmarks import other_steps, page, reading, scale, training, translation
from benchmarks.limits import limits
from gen.markdown import markdown_table
from gen.provenance import commit, machine, versions

ROWS = {
    "folders": translation.folders,
    "hosts": translation.hosts,
    "clips": translation.clips,
    "runtimes": translation.runtimes,
    "steps": training.steps,
    "other_steps": other_steps.other_steps,
    "reading": reading.reading,
    "scale": scale.scale,
    "page": page.page,
}
RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
START, END = "<!-- table: python -m benchmarks -->", "<!-- end -->"


def main(wanted: list[str]) -> None:
    """Measure, and write the results after each row."""
    if unknown := [name for name in wanted if name not in ROWS]:
        sys.exit(f"unknown rows: {', '.join(unknown)}; there are {', '.join(ROWS)}.")
    about = machine(torch.device("cpu")) | {"threads": torch.get_num_threads()} | versions(("openvino", "onnxruntime"))
    name = re.sub(r"\W+", "-", f"{about['cpu']} {about['cores']} cores").strip("-").lower()
    file = RESULTS / f"{name}.json"
    results = json.loads(file.read_text()) if file.is_file() else {}
    if results.get("machine") != about:  # rows of other versions or threads would stand under these
        results = {"rows": {}}
    results |= {"machine": about, "limits": {k: round(v, 1) for k, v in limits().items()}}
    for key in wanted or ROWS:
        rows = []
        for row in ROWS[key]():
            rows.append(row._asdict() | {"ratio": row.theirs / row.ours})
            print(f"{row.name}: {row.ours:.4f} s, {row.theirs / row.ours:.2f} times as fast as {row.what}", flush=True)
        results["rows"][key] = {"date": datetime.now(UTC).strftime("%Y-%m-%d"), "commit": commit(), "rows": rows}
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(results, indent=1) + "\n")
    write_page()


def write_page() -> None:
    """Put the tables of all machines into docs/performance.md."""
    parts = []
    for file in sorted(RESULTS.glob("*.json")):
        results = json.loads(file.read_text())
        about = results["machine"]
        limit = "; ".join(f"{name}: {value:,.0f}" for name, value in results["limits"].items())
        rows = [
            (row["name"], row["what"], f"{1000 * row['ours']:.0f}", f"{1000 * row['theirs']:.0f}",
             f"{row['ratio']:.2f}", "" if row["goal"] is None else f"{row['goal']:g}",
             group["date"], group.get("commit") or "")
            for group in results["rows"].values() for row in group["rows"]
        ]  # fmt: skip
        head = ("what", "against", "ms", "ms, theirs", "times as fast", "goal", "date", "commit")
        parts.append(
            f"### {about['cpu']}, {about['cores']} cores, torch {about['torch']}, {about['threads']} threads\n\n"
            f"Limits of the machine: {limit}.\n\n{markdown_table(head, rows)}"
        )
    text = PAGE.read_text()
    before, after = text.partition(START)[0], text.partition(END)[2]
    PAGE.write_text(f"{before}{START}\n\n" + "\n\n".join(parts) + f"\n\n{END}{after}")


if __name__ == "__main__":
    main(sys.argv[1:])
