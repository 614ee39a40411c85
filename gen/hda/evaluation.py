"""Do methods differ at the same adaptation? Every method, hybrid and seed in one table, scored by other networks.

Each run ends where its mean progress reaches the same target, because what adapts less keeps more of the source.
"""

import json
import multiprocessing
import statistics
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F
import tyro
from PIL import Image
from torch import Tensor
from torchvision.utils import make_grid

from gen.errors import BadSetting
from gen.hda.attributes import ATTRIBUTES
from gen.hda.encoders import Encoder, load_encoder
from gen.hda.export import save_adaptation
from gen.hda.pipeline import HDAPipeline
from gen.hda.references import load_references, parse_domains
from gen.hda.subspace import fit_flat
from gen.hda.training import HDASettings, HDATrainer
from gen.media.files import write_atomically
from gen.media.resize import to_uint8
from gen.metrics.distances import frechet_distance
from gen.metrics.edges import load_edges, structure_consistency
from gen.metrics.paired import load_perceptual
from gen.provenance import machine

METHODS: dict[str, dict[str, Any]] = {
    "sequential": {"sequential": True, "direction_weight": 0.0},
    "NADA-style": {"method": "nada"},
    "mean point": {"rank": 0, "direction_weight": 0.0},
    "HDA λ=0": {"direction_weight": 0.0},
    "HDA λ=0.1": {"direction_weight": 0.1},
    "HDA λ=0.5": {"direction_weight": 0.5},
    "HDA λ=2": {"direction_weight": 2.0},
}
"""Settings that make each method of the common trainer."""

EDGE_IMAGES, EDGE_SIZE = 64, 128
"""HED is a VGG-16: it takes longer for a picture than all other measures together."""

FIRST_SEED = 1_000_000
"""Of the latents that methods are compared on; training draws its own."""


@dataclass(frozen=True)
class EvaluateSettings:
    """Compare adaptation methods on hybrids of domains, at matched progress. The same command again goes on."""

    hybrid: Annotated[tuple[str, ...], tyro.conf.UseAppendAction]
    """Domains of a hybrid with commas between: sketch=DIR,sunglasses=DIR. May be given several times."""
    out: Path
    """Folder for the runs, table.md, results.json and a grid for each hybrid."""
    source: str = "stylegan2-faces64"
    """The generator to begin with."""
    methods: str = ",".join(METHODS)
    """Which methods, with commas between."""
    seeds: int = 3
    """Runs of each method and hybrid."""
    target_progress: float = 0.3
    """Mean progress at which each run ends; what does not get there within `images` is marked."""
    images: int = 4800
    """Samples that a run may draw."""
    lr: float = 0.0016
    """Adam's learning rate."""
    encoder: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ("efficientnet-lite0@128",)
    """Encoders of the loss."""
    judge: str = "squeezenet"
    """Encoder of the scores; it must not be one of the loss."""
    samples: int = 256
    """Pictures that a method is scored on, the same latents for all."""
    jobs: int = 1
    """Runs at a time, each on its own core."""


@dataclass(frozen=True)
class Job:
    """One run."""

    hybrid: str
    method: str
    seed: int

    @property
    def folder(self) -> str:
        """Its place below `out`."""
        names = "+".join(part.partition("=")[0] for part in self.hybrid.split(","))
        method = "".join(c if c.isalnum() or c == "." else "-" for c in self.method.replace("λ", "lambda"))
        return f"{names}/{method}-{self.seed}"


def evaluate_table(settings: EvaluateSettings) -> dict[str, Any]:
    """`gen evaluate-hda`: train what is missing, score it, write the table. Returns what results.json holds."""
    s = settings
    if s.judge.partition("@")[0] in {e.partition("@")[0] for e in s.encoder}:
        raise BadSetting(f"--judge {s.judge}: it is an encoder of the loss; the score would flatter what it trained.")
    chosen = [name.strip() for name in s.methods.split(",")]
    for name in chosen:
        if name not in METHODS:
            raise BadSetting(f"--methods {name}: choose from {', '.join(METHODS)}.")
    jobs = [Job(h, m, seed) for seed in range(s.seeds) for h in s.hybrid for m in chosen]
    train_all(s, jobs)
    told = {**vars(s), "out": s.out.name, "source": Path(s.source).name, "hybrid": [_names(h) for h in s.hybrid]}
    results: dict[str, Any] = {"settings": told, "machine": machine(torch.device("cpu"))}
    results["hybrids"] = {_names(h): score_hybrid(s, h, chosen) for h in s.hybrid}
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
    """Every run that has no adaptation yet, `jobs` at a time, each in a process of its own."""
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


def train_one(s: EvaluateSettings, job: Job) -> str:
    """Run one job to its end; returns how it ended."""
    if s.jobs > 1:
        torch.set_num_threads(1)
    settings = HDASettings(
        source=s.source, domains=tuple(job.hybrid.split(",")), encoders=s.encoder, out=s.out / job.folder,
        seed=job.seed, images=s.images, lr=s.lr, target_progress=s.target_progress, stop_when_stalled=False,
        sample_every=s.images, checkpoint_every=s.images, ema_half_life=40,
    )  # fmt: skip
    trainer = HDATrainer(replace(settings, **METHODS[job.method]), HDAPipeline.from_pretrained(s.source).generator)
    trainer.fit()
    save_adaptation(trainer)
    return f"{job.folder}: {trainer.ending()}"


class Scorer:
    """Scores pictures of one hybrid against its references and against the source's pictures of the same latents."""

    def __init__(self, s: EvaluateSettings, hybrid: str, source: Tensor) -> None:
        """`source` (B, 3, size, size) in [-1, 1]: what the source draws of the latents that are scored."""
        self.domains = parse_domains(tuple(hybrid.split(",")))
        self.references = {
            d.name: load_references(d.folder, source.shape[-1]).images for d in self.domains if d.folder is not None
        }
        self.judge = load_encoder(s.judge)
        self.trained = [load_encoder(name) for name in s.encoder]
        self.edges, self.perceptual = load_edges(), load_perceptual()
        self.source, self.source_edges = source, self._edges(source)

    @torch.no_grad()
    def scores(self, images: Tensor) -> dict[str, float]:
        """Pictures (B, 3, size, size) of the same latents -> figures by name."""
        features = in_batches(self.judge, images)
        similarity = {
            f"similarity {name}": float((features @ self.judge(refs).T).mean())
            for name, refs in self.references.items()
        }
        figures = similarity | {"similarity, minimum": min(similarity.values())}
        figures["structure"] = float(structure_consistency(self.source_edges, self._edges(images)).mean())
        figures["diversity"] = self._diversity(images)
        figures |= {name: float(measure(images).mean()) for name, measure in ATTRIBUTES.items()}
        if len(self.references) == 1:
            (refs,) = self.references.values()
            figures["Fréchet distance to the references"] = frechet_distance(features, self.judge(refs))
        return figures | self._progress(images)

    def _edges(self, images: Tensor) -> Tensor:
        """Of the first pictures, at 128 pixels at least: smaller ones are beneath what HED was trained on."""
        some = images[:EDGE_IMAGES]
        if some.shape[-1] < EDGE_SIZE:
            some = F.interpolate(some, (EDGE_SIZE, EDGE_SIZE), mode="bilinear")
        return in_batches(self.edges, some)

    def _diversity(self, images: Tensor, most: int = 50) -> float:
        """Intra-LPIPS (CDC, CVPR 2021): mean LPIPS between pictures that are nearest to the same reference."""
        refs = torch.cat(list(self.references.values()))
        nearest = torch.stack([self._lpips(images, ref[None]) for ref in refs], 1).argmin(1)
        means: list[float] = []
        for index in nearest.unique():
            members = images[nearest == index][:most]
            if len(members) > 1:
                a, b = torch.triu_indices(len(members), len(members), 1)
                means.append(float(self._lpips(members[a], members[b]).mean()))
        return statistics.fmean(means) if means else 0.0

    def _lpips(self, a: Tensor, b: Tensor) -> Tensor:
        b = b.expand(len(a), -1, -1, -1)
        return torch.cat([self.perceptual(x, y).flatten() for x, y in zip(a.split(64), b.split(64), strict=True)])

    def _progress(self, images: Tensor) -> dict[str, float]:
        """In the encoders of the loss, on latents that training did not see: the way gone towards each flat, and the
        leak, the part of the features' movement that lies within the flats (|B^T D| / |D|)."""
        shares: dict[str, list[float]] = {name: [] for name in self.references}
        leaks: list[float] = []
        for encoder in self.trained:
            before, after = in_batches(encoder, self.source), in_batches(encoder, images)
            moved = after - before
            for name, refs in self.references.items():
                flat = fit_flat(encoder(refs)).to(dtype=torch.float32)
                shares[name].append(1 - float(flat.distance(after).mean() / flat.distance(before).mean()))
                leaks.append(float(((moved @ flat.basis).norm(dim=1) / moved.norm(dim=1).clamp_min(1e-9)).mean()))
        progress = {f"progress {name}": statistics.fmean(values) for name, values in shares.items()}
        return progress | {"leak": statistics.fmean(leaks)}


def in_batches(function: Encoder | Any, images: Tensor) -> Tensor:
    """The function of all images, 8 at a time: on a CPU larger layers cost more to allocate than to compute."""
    with torch.no_grad():
        return torch.cat([function(part) for part in images.split(8)])


def score_hybrid(s: EvaluateSettings, hybrid: str, methods: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Figures of the source and of every run, by method; writes the grid of the first seed."""
    pipe = HDAPipeline.from_pretrained(s.source)
    latents = pipe.latents(range(FIRST_SEED, FIRST_SEED + s.samples), truncation=1.0)
    source = drawn(pipe, latents)
    scorer = Scorer(s, hybrid, source)
    rows: dict[str, list[dict[str, Any]]] = {"source": [scorer.scores(source) | {"samples": 0}]}
    shown = pipe.latents(range(10))
    pictures = [drawn(pipe, shown)]
    for method in methods:
        rows[method] = []
        for seed in range(s.seeds):
            folder = s.out / Job(hybrid, method, seed).folder
            pipe.load_adaptation(folder / "adaptation.safetensors", name="run")  # in the place of the one before
            record = pipe.adaptations["run"].record
            figures = scorer.scores(drawn(pipe, latents))
            rows[method].append(figures | {k: record[k] for k in ("samples", "seconds", "reached")})
            if seed == 0:
                pictures.append(drawn(pipe, shown))
    sheet = make_grid(to_uint8(torch.cat(pictures)), nrow=10, padding=2, pad_value=255)
    s.out.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sheet.permute(1, 2, 0).numpy()).save(s.out / f"{_names(hybrid).replace(' ', '')}.png")
    return rows


def drawn(pipe: HDAPipeline, latents: Tensor) -> Tensor:
    """Images (B, 3, size, size) in [-1, 1] as the pipeline draws them now."""
    return torch.stack(pipe(latents=latents, output_type="pt").images) * 2 - 1


def table(results: Mapping[str, Any]) -> str:
    """The results as Markdown: mean ± standard deviation over the seeds."""
    s = results["settings"]
    edges = load_edges().title
    lines = [
        f"Source `{s['source']}`, {s['seeds']} seeds, each run ended at a mean progress of {s['target_progress']:g} "
        f"(or after {s['images']} samples: marked *). Scored on {s['samples']} latents by {s['judge']}; the loss used "
        f"{', '.join(s['encoder'])}. Structure: SCS of {edges} edges with the source's pictures, for the first "
        f"{EDGE_IMAGES}. Diversity: intra-LPIPS.",
    ]
    for hybrid, rows in results["hybrids"].items():
        columns = list(next(iter(rows.values()))[0])
        lines += ["", f"### {hybrid}", "", f"| method | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
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
