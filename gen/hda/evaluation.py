"""Compare adaptation methods: every method, hybrid and seed in one table, scored by networks that are not in the loss.

Each run ends at the same mean progress. Otherwise a method that adapts less would look better in every measure of how
much of the source is kept.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gen.devices import pick_device
from gen.errors import BadSetting, unknown
from gen.hda.attributes import ATTRIBUTES, attribute_progress
from gen.hda.domains import parse_domains
from gen.hda.encoders import network_of
from gen.hda.export import save_adaptation
from gen.hda.parsing import adaptation_file, made_for
from gen.hda.pipeline import HDAPipeline, load_source
from gen.hda.recognition import SUNGLASSES, Recogniser
from gen.hda.references import load_references
from gen.hda.scoring import EDGE_IMAGES, Scorer
from gen.hda.settings import METHODS, EvaluateSettings, HDASettings
from gen.hda.sheets import sheet
from gen.hda.training import HDATrainer
from gen.markdown import markdown_table
from gen.media.files import write_atomically
from gen.media.resize import to_uint8
from gen.metrics.edges import load_edges
from gen.metrics.paired import load_perceptual
from gen.output import output_folder
from gen.provenance import measured_on
from gen.training.experiment import Experiment, mean_and_deviation, read_run, write_results, write_text
from gen.weights import name_of

SHOWN = 10
"""Columns of an image grid."""

log = logging.getLogger(__name__)

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
    """`gen evaluate-hda`: train what is missing, score it, write the table. Returns what results.json holds.

    Raises `KeyboardInterrupt` if Ctrl-C stopped a run; the same call continues it.
    """
    s = replace(settings, encoder=settings.encoder or HDASettings.encoders)
    for name, (value, least) in {"runs": (s.seeds, 1), "samples": (s.samples, 2), "jobs": (s.jobs, 1)}.items():
        if value < least:
            raise BadSetting(f"{name} must be at least {least}, not {value}.")
    if s.adaptation is not None:
        return measure_attributes(s, s.adaptation)
    methods = check_settings(s)
    with output_folder(s.out):
        return _evaluate_methods(s, methods)


def _evaluate_methods(s: EvaluateSettings, methods: Sequence[str]) -> dict[str, Any]:
    runs = experiment(s, methods)
    runs.check()
    if not train_all(runs, s.jobs):
        raise KeyboardInterrupt
    recorded = {**vars(s), "out": s.out.name, "source": name_of(s.source), "hybrid": [_names(h) for h in s.hybrid]}
    results: dict[str, Any] = {"settings": recorded, "machine": measured_on(pick_device(s.device))}
    results["diversity"] = load_perceptual().title
    results["hybrids"] = {_names(h): score_hybrid(s, h, methods) for h in s.hybrid}
    text = table(results)
    write_results(s.out, results, text)
    print(f"{text}\nwrote {s.out / 'results.json'}")
    return results


def check_settings(s: EvaluateSettings) -> list[str]:
    """The methods to compare. Raises `BadSetting` if the comparison makes no sense."""
    if network_of(s.judge) in {network_of(name) for name in s.encoder}:
        raise BadSetting(
            f"judge {s.judge}: it is also an encoder of the loss, so its scores would be too good; choose another."
        )
    methods = [name.strip() for name in s.methods.split(",")]
    for name in methods:
        if name not in METHODS:
            raise BadSetting(unknown("method", name, METHODS))
    titles = [_names(h) for h in s.hybrid]
    if len(set(titles)) < len(titles):
        raise BadSetting(f"hybrid: the names of the hybrids must be different, not {', '.join(titles)}.")
    for name in s.hybrid:
        if any(d.folder is None for d in parse_domains(tuple(name.split(",")))):
            raise BadSetting(
                f"hybrid {name}: domains given by words cannot be scored, because they have no references."
            )
    return methods


def _names(hybrid: str) -> str:
    return " + ".join(d.name for d in parse_domains(tuple(hybrid.split(","))))


def experiment(s: EvaluateSettings, methods: Sequence[str]) -> Experiment[Job, str]:
    """All runs of the comparison, with seeds as the outermost loop: the first seed is complete first."""
    jobs = [Job(h, t, m, n) for n in range(s.seeds) for t in s.target_progress for h in s.hybrid for m in methods]
    source = load_source(s.source)
    size = source.generator.size
    folders = {d.folder for h in s.hybrid for d in parse_domains(tuple(h.split(","))) if d.folder is not None}
    references = {folder: load_references(folder, size) for folder in sorted(folders)}
    for warning in (warning for found in references.values() for warning in found.warnings):
        log.warning(warning)
    hashes = {folder: found.hashes for folder, found in references.items()}
    return Experiment(jobs, partial(train_one, s), partial(finished, s, source.fingerprint, hashes))


def train_all(runs: Experiment[Job, str], workers: int) -> bool:
    """Do every run that has no adaptation yet, `workers` at a time; False if Ctrl-C stopped it."""

    def tell(number: int, job: Job, ending: str) -> None:
        print(f"{job.folder}: {ending}", flush=True)

    return runs.run_in_order(tell) if workers == 1 else runs.run_in_processes(workers, tell)


def run_settings(s: EvaluateSettings, job: Job) -> HDASettings:
    """The settings of one job; a short EMA half-life, because runs end early."""
    settings = HDASettings(
        source=s.source, domains=tuple(job.hybrid.split(",")), encoders=s.encoder, out=s.out / job.folder,
        seed=job.seed, images=s.images, lr=s.lr, target_progress=job.target, stop_when_stalled=False,
        decay=0.0, structure_weight=0.0, grid_weight=0.0, sample_every=s.images, checkpoint_every=s.images,
        ema_half_life=40, device=s.device,
    )  # fmt: skip
    return replace(settings, **METHODS[job.method])


def finished(s: EvaluateSettings, source: str, hashes: Mapping[Path, Sequence[str]], job: Job) -> str | None:
    """Text that says so if the job has its adaptation, else None.

    `source`: fingerprint of the source generator; `hashes`: of the references, by folder. Raises `BadSetting` if the
    folder of the job holds a run with other settings, of another generator or with other references.
    """
    settings = run_settings(s, job)
    # Stricter than for a resumed run: all runs of a table have the same length and target.
    record = read_run(settings, may_change={"preset", "out", "device"})
    if record is None:
        return None
    if (found := record.get("data", {}).get("source", source)) != source:
        raise BadSetting(
            f"model: {settings.out} was adapted from the generator {found}, but {s.source} is {source} now; choose "
            "another output folder."
        )
    recorded = record.get("data", {}).get("references", {})
    for domain in parse_domains(settings.domains):
        assert domain.folder is not None
        if domain.name in recorded and list(hashes[domain.folder]) != recorded[domain.name]["hashes"]:
            raise BadSetting(
                f"{domain.folder}: these are not the images that {settings.out} was trained on; choose another "
                "output folder."
            )
    return "done before" if (settings.out / "adaptation.safetensors").is_file() else None


def train_one(s: EvaluateSettings, job: Job) -> str | None:
    """Do one run; returns how it ended, None if Ctrl-C stopped it."""
    if s.jobs > 1:
        torch.set_num_threads(1)  # each process has one core
    trainer = HDATrainer(run_settings(s, job), HDAPipeline.from_pretrained(s.source).generator)
    trainer.fit()
    if not trainer.finished:
        return None
    save_adaptation(trainer)
    return trainer.ending()


def measure_attributes(s: EvaluateSettings, adaptation: Path) -> dict[str, Any]:
    """Progress of each attribute by domain, on latents that no run has seen, truncated as for display."""
    folders = {d.name: d.folder for d in parse_domains(tuple(",".join(s.hybrid).split(","))) if d.folder}
    if not folders:
        raise BadSetting(f"hybrid {','.join(s.hybrid)}: give domains with references; words cannot be measured.")
    file = adaptation_file(str(adaptation))
    source = made_for(file) or s.source
    pipe = load_source(source).to(pick_device(s.device))
    latents = pipe.latents(range(FIRST_SEED, FIRST_SEED + s.samples))
    before = draw_images(pipe, latents)
    loaded = pipe.adaptations[pipe.load_adaptation(file)]
    after = draw_images(pipe, latents)
    references = {name: load_references(folder, before.shape[-1]).images for name, folder in folders.items()}
    results = {name: attribute_progress(before, after, images) for name, images in references.items()}
    rows = [(name, *(f"{100 * value:.0f} %" for value in row.values())) for name, row in results.items()]
    spread = float(after.std(0).mean() / before.std(0).mean())
    text = markdown_table(("progress towards", *ATTRIBUTES), rows)
    text += f"\n\n{adaptation} of {name_of(source)}: {s.samples} latents; diversity {spread:.2f} times the source's.\n"
    encoders = loaded.record.get("encoders")
    judged = isinstance(encoders, list) and "squeezenet" not in [network_of(str(name)) for name in encoders]
    if judged and any("sunglass" in name.lower() for name in references):
        text += f"\n{_recognised({'the source': before, 'the adapted generator': after} | references)}\n"
    with output_folder(s.out):
        write_text(s.out / "attributes.md", text)
    print(f"{text}\nwrote {s.out / 'attributes.md'}")
    return results


def _recognised(pictures: Mapping[str, Tensor]) -> str:
    """In how many pictures of each kind a classifier sees sunglasses."""
    recogniser = Recogniser(next(iter(pictures.values())).device)
    shares = {name: recogniser.share(images, SUNGLASSES) for name, images in pictures.items()}
    of = ", ".join(f"{100 * share:.0f} % of {name}" for name, share in shares.items())
    return f"SqueezeNet, which no loss used, has ImageNet's sunglasses among its first five classes in {of}."


def score_hybrid(
    s: EvaluateSettings, hybrid: str, methods: Sequence[str]
) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Scores of the source and of every run, by target and method; writes an image grid of the first seed."""
    pipe = HDAPipeline.from_pretrained(s.source).to(pick_device(s.device))
    latents = pipe.latents(range(FIRST_SEED, FIRST_SEED + s.samples), truncation=1.0)
    source = draw_images(pipe, latents)
    scorer = Scorer(s, hybrid, source)
    unadapted: dict[str, Any] = scorer.scores(source) | {"samples": 0}
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
                kept = {k: record.get(k) for k in ("samples", "seconds", "reached", "hardware")}  # once without it
                rows[method].append(scores | kept)
                if seed == 0:
                    images[method] = draw_images(pipe, shown)
        pipe.set_strengths(0.0)
        tables[f"{target:g}"] = rows
        references = {name: refs[:SHOWN] for name, refs in scorer.references.items()}
        name = f"{_names(hybrid).replace(' ', '')}-{target:g}.png"
        with write_atomically(s.out / name) as partial:
            labelled_grid({**references, **images}).save(partial)
    return tables


def labelled_grid(rows: Mapping[str, Tensor]) -> Image.Image:
    """One row per name, which is written on the left: images (n, 3, size, size) in [-1, 1]."""
    return sheet([list(to_uint8(images).permute(0, 2, 3, 1).numpy()) for images in rows.values()], list(rows))


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
            cells = [(_marked(method, runs), *map(_cell, _columns(runs, columns))) for method, runs in rows.items()]
            title = f"### {hybrid}, at a mean progress of {target}"
            lines += ["", title, "", markdown_table(("method", *columns), cells)]
    return "\n".join(lines) + "\n"


def _marked(method: str, runs: Sequence[Mapping[str, Any]]) -> str:
    """The name of a method, with an asterisk if one of its runs did not reach the target."""
    return method if all(run.get("reached", True) for run in runs) else f"{method} *"


def _columns(runs: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> list[list[float]]:
    return [[run[column] for run in runs] for column in columns]


def _cell(values: Sequence[float]) -> str:
    """Mean ± standard deviation with three significant digits of the mean, at most three decimals."""
    mean, deviation = mean_and_deviation(values)
    digits = max(0, 2 - int(np.floor(np.log10(abs(mean))))) if mean else 2
    digits = min(digits, 3)
    spread = "" if deviation is None else f" ± {deviation:.{digits}f}"
    return f"{mean:.{digits}f}{spread}"
