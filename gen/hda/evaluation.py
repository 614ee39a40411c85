"""Compare adaptation methods: every method, hybrid and seed in one table, scored by other networks than the loss has.

Each run ends at the same mean progress. Otherwise a method that adapts less would look better in every measure of how
much of the source is kept.
"""

import json
import multiprocessing
import statistics
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from gen.errors import BadSetting
from gen.hda.attributes import ATTRIBUTES, attribute_progress
from gen.hda.domains import parse_domains
from gen.hda.encoders import network_of
from gen.hda.export import save_adaptation
from gen.hda.pipeline import HDAPipeline
from gen.hda.references import load_references
from gen.hda.scoring import EDGE_IMAGES, Scorer
from gen.hda.settings import METHODS, EvaluateSettings, HDASettings
from gen.hda.training import HDATrainer
from gen.media.files import write_atomically
from gen.media.resize import to_uint8
from gen.metrics.edges import load_edges
from gen.metrics.paired import load_perceptual
from gen.provenance import machine
from gen.training.settings import check_same_settings

SHOWN = 10
"""Columns of an image grid."""

FIRST_SEED = 1_000_000
"""First seed of the latents for scoring; runs of any practical length draw others in training."""


@dataclass(frozen=True)
class Job:
    """One run of the comparison."""

    hybrid: str
    target: float
    method: str
    seed: int

    @property
    def folder(self) -> str:
        """Its run directory, relative to `out`."""
        names = "+".join(part.partition("=")[0] for part in self.hybrid.split(","))
        method = "".join(c if c.isalnum() or c == "." else "-" for c in self.method.replace("λ", "lambda"))
        return f"{names}/at-{self.target:g}/{method}-{self.seed}"


def evaluate_table(settings: EvaluateSettings) -> dict[str, Any]:
    """`gen evaluate-hda`: train what is missing, score it, write the table. Returns what results.json holds."""
    s = replace(settings, encoder=settings.encoder or HDASettings.encoders)
    if s.adaptation is not None:
        return measure_attributes(s, s.adaptation)
    if network_of(s.judge) in {network_of(name) for name in s.encoder}:
        raise BadSetting(
            f"judge {s.judge}: it is also an encoder of the loss, which would flatter the result; choose another."
        )
    methods = [name.strip() for name in s.methods.split(",")]
    for name in methods:
        if name not in METHODS:
            raise BadSetting(f"methods: {name} is unknown; available: {', '.join(METHODS)}.")
    titles = [_names(h) for h in s.hybrid]
    if len(set(titles)) < len(titles):
        raise BadSetting(f"hybrid: each one needs its own domain names, but they are {', '.join(titles)}.")
    for name in s.hybrid:
        if any(d.folder is None for d in parse_domains(tuple(name.split(",")))):
            raise BadSetting(
                f"hybrid {name}: domains given by words cannot be scored, because they have no references."
            )
    jobs = [Job(h, t, m, n) for n in range(s.seeds) for t in s.target_progress for h in s.hybrid for m in methods]
    size = HDAPipeline.from_pretrained(s.source).generator.size
    for job in jobs:
        check_not_stale(s, job, size)
    train_all(s, jobs)
    recorded = {**vars(s), "out": s.out.name, "source": Path(s.source).name, "hybrid": [_names(h) for h in s.hybrid]}
    results: dict[str, Any] = {"settings": recorded, "machine": machine(torch.device("cpu"))}
    results["diversity"] = load_perceptual().title
    results["hybrids"] = {_names(h): score_hybrid(s, h, methods) for h in s.hybrid}
    with write_atomically(s.out / "results.json") as partial:
        partial.write_text(json.dumps(results, indent=2))
    text = table(results)
    with write_atomically(s.out / "table.md") as partial:
        partial.write_text(text)
    print(text)
    return results


def _names(hybrid: str) -> str:
    return " + ".join(d.name for d in parse_domains(tuple(hybrid.split(","))))


def train_all(s: EvaluateSettings, jobs: Sequence[Job]) -> None:
    """Do every run that has no adaptation yet, `s.jobs` at a time, each in its own process."""
    missing = [job for job in jobs if not (s.out / job.folder / "adaptation.safetensors").is_file()]
    if s.jobs == 1:
        for job in missing:
            print(train_one(s, job))
        return
    pool = ProcessPoolExecutor(s.jobs, mp_context=multiprocessing.get_context("spawn"))
    try:
        for done in as_completed([pool.submit(train_one, s, job) for job in missing]):
            print(done.result(), flush=True)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def run_settings(s: EvaluateSettings, job: Job) -> HDASettings:
    """The settings of one job; a short EMA half-life, because runs end early."""
    settings = HDASettings(
        source=s.source, domains=tuple(job.hybrid.split(",")), encoders=s.encoder, out=s.out / job.folder,
        seed=job.seed, images=s.images, lr=s.lr, target_progress=job.target, stop_when_stalled=False,
        structure_weight=0.0, sample_every=s.images, checkpoint_every=s.images, ema_half_life=40,
    )  # fmt: skip
    return replace(settings, **METHODS[job.method])


def check_not_stale(s: EvaluateSettings, job: Job, size: int) -> None:
    """Raises `BadSetting` if the folder of the job holds a run with other settings or other references."""
    path = s.out / job.folder / "settings.json"
    if not path.is_file():
        return
    record, settings = json.loads(path.read_text()), run_settings(s, job)
    check_same_settings(record["settings"], settings, {"preset", "out", "device"})
    for domain in parse_domains(settings.domains):
        assert domain.folder is not None
        now = load_references(domain.folder, size).hashes
        if list(now) != record["data"]["references"][domain.name]["hashes"]:
            raise BadSetting(
                f"{domain.folder}: not the images that {path.parent} was trained on; choose another output folder."
            )


def train_one(s: EvaluateSettings, job: Job) -> str:
    """Do one run; returns a line that says how it ended."""
    if s.jobs > 1:
        torch.set_num_threads(1)  # each process has one core
    trainer = HDATrainer(run_settings(s, job), HDAPipeline.from_pretrained(s.source).generator)
    trainer.fit()
    save_adaptation(trainer)
    return f"{job.folder}: {trainer.ending()}"


def measure_attributes(s: EvaluateSettings, adaptation: Path) -> dict[str, Any]:
    """Progress of each attribute by domain, on latents that no run has seen, truncated as for display."""
    pipe = HDAPipeline.from_pretrained(s.source)
    latents = pipe.latents(range(FIRST_SEED, FIRST_SEED + s.samples))
    before = draw_images(pipe, latents)
    pipe.load_adaptation(adaptation)
    after = draw_images(pipe, latents)
    domains = parse_domains(tuple(",".join(s.hybrid).split(",")))
    results = {
        d.name: attribute_progress(before, after, load_references(d.folder, before.shape[-1]).images)
        for d in domains
        if d.folder
    }
    lines = [f"| progress towards | {' | '.join(ATTRIBUTES)} |", "|---" * (len(ATTRIBUTES) + 1) + "|"]
    lines += [f"| {name} | {' | '.join(f'{100 * v:.0f} %' for v in row.values())} |" for name, row in results.items()]
    spread = float(after.std(0).mean() / before.std(0).mean())
    text = "\n".join([*lines, "", f"{s.samples} latents; diversity {spread:.2f} times that of the source.", ""])
    s.out.mkdir(parents=True, exist_ok=True)
    (s.out / "attributes.md").write_text(text)
    print(text)
    return results


def score_hybrid(
    s: EvaluateSettings, hybrid: str, methods: Sequence[str]
) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Scores of the source and of every run, by target and method; writes an image grid of the first seed."""
    pipe = HDAPipeline.from_pretrained(s.source)
    latents = pipe.latents(range(FIRST_SEED, FIRST_SEED + s.samples), truncation=1.0)
    source = draw_images(pipe, latents)
    scorer = Scorer(s, hybrid, source)
    unadapted = scorer.scores(source) | {"samples": 0}
    shown = pipe.latents(range(SHOWN))
    first = draw_images(pipe, shown)
    tables: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for target in s.target_progress:
        rows, images = {"source": [unadapted]}, {"source": first}
        for method in methods:
            rows[method] = []
            for seed in range(s.seeds):
                folder = s.out / Job(hybrid, target, method, seed).folder
                pipe.load_adaptation(folder / "adaptation.safetensors", name="run")  # replaces the one before
                record = pipe.adaptations["run"].record
                scores = scorer.scores(draw_images(pipe, latents))
                rows[method].append(scores | {k: record[k] for k in ("samples", "seconds", "reached")})
                if seed == 0:
                    images[method] = draw_images(pipe, shown)
        pipe.set_strengths(0.0)
        tables[f"{target:g}"] = rows
        references = {name: refs[:SHOWN] for name, refs in scorer.references.items()}
        name = f"{_names(hybrid).replace(' ', '')}-{target:g}.png"
        s.out.mkdir(parents=True, exist_ok=True)
        labelled_grid({**references, **images}).save(s.out / name)
    return tables


def labelled_grid(rows: Mapping[str, Tensor]) -> Image.Image:
    """One row per name, which is written on the left: images (n, 3, size, size) in [-1, 1]."""
    size, count = next(iter(rows.values())).shape[-1], max(len(images) for images in rows.values())
    step, left = size + 2, 150
    font = ImageFont.truetype(font_manager.findfont("DejaVu Sans"), 12)  # Pillow's own font has no λ
    sheet = Image.new("RGB", (left + count * step, len(rows) * step), "white")
    draw = ImageDraw.Draw(sheet)
    for row, (name, images) in enumerate(rows.items()):
        draw.text((left - 8, row * step + size // 2), name, "black", font=font, anchor="rm")
        for column, image in enumerate(to_uint8(images).permute(0, 2, 3, 1).numpy()):
            sheet.paste(Image.fromarray(image), (left + column * step, row * step))
    return sheet


def draw_images(pipe: HDAPipeline, latents: Tensor) -> Tensor:
    """Images (B, 3, size, size) in [-1, 1] at the present strengths of the pipeline."""
    return torch.stack(pipe(latents=latents, output_type="pt").images) * 2 - 1


def table(results: Mapping[str, Any]) -> str:
    """The results as Markdown tables: mean ± standard deviation over the seeds."""
    s = results["settings"]
    edges = load_edges().title
    lines = [
        f"Source `{s['source']}`, {s['seeds']} seeds. Each run ended when the mean progress over ten steps reached the "
        f"target, or after {s['images']} samples (marked *). Scored on {s['samples']} latents that no run has seen, by "
        f"{s['judge']}; the loss used {', '.join(s['encoder'])}. Structure: SCS of {edges} edges with the source, for "
        f"the first {EDGE_IMAGES} images. Diversity: {results['diversity']} between images nearest to the same "
        f"reference. Similarity: mean cosine with the references.",
    ]
    for hybrid, tables in results["hybrids"].items():
        for target, rows in tables.items():
            columns = list(next(iter(rows.values()))[0])
            lines += ["", f"### {hybrid}, at a mean progress of {target}", ""]
            lines += [f"| method | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
            for method, runs in rows.items():
                mark = "" if all(r.get("reached", True) for r in runs) else " *"
                cells = [_cell([run[column] for run in runs]) for column in columns]
                lines.append(f"| {method}{mark} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(values: Sequence[float]) -> str:
    mean = statistics.fmean(values)
    digits = max(0, 2 - int(np.floor(np.log10(abs(mean))))) if mean else 2
    digits = min(digits, 3)
    spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{mean:.{digits}f}{spread}"
