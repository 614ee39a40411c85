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
from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from gen.errors import BadSetting
from gen.hda.attributes import ATTRIBUTES, ways
from gen.hda.encoders import Encoder, load_encoder, network_of
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
from gen.training.settings import as_record, check_same_run

METHODS: dict[str, dict[str, Any]] = {
    "sequential": {"sequential": True, "direction_weight": 0.0},
    "NADA-style": {"method": "nada"},
    "mean point": {"rank": 0, "direction_weight": 0.0},
    "HDA λ=0": {"direction_weight": 0.0},
    "HDA λ=0.1": {"direction_weight": 0.1},
    "HDA λ=0.5": {"direction_weight": 0.5},
    "HDA λ=2": {"direction_weight": 2.0},
    "HDA λ=0.1 + structure": {"direction_weight": 0.1, "structure_weight": 0.1},
}
"""Settings that make each method of the common trainer; the last one is what `gen adapt` does if not told otherwise."""

EDGE_IMAGES, EDGE_SIZE = 64, 128
"""HED is a VGG-16: it takes longer for a picture than all other measures together."""

SHOWN = 10
"""Columns of a grid."""

FIRST_SEED = 1_000_000
"""Of the latents that methods are compared on; training draws its own."""


DEFAULTS = HDASettings(source="stylegan2-faces64", domains=(), out=Path())


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
    target_progress: tuple[float, ...] = (0.1,)
    """Mean progress at which each run ends, a table each; what does not get there within `images` is marked."""
    images: int = 3200
    """Samples that a run may draw."""
    lr: float = 0.0016
    """Adam's learning rate."""
    encoder: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Encoders of the loss; none: those of `gen adapt`."""
    judge: str = "squeezenet"
    """Encoder of the scores; it must not be one of the loss."""
    samples: int = 256
    """Pictures that a method is scored on, the same latents for all."""
    jobs: int = 1
    """Runs at a time, each on its own core."""
    adaptation: Path | None = None
    """Compare nothing; write attributes.md: how far this adaptation has gone by measures without a network."""


@dataclass(frozen=True)
class Job:
    """One run."""

    hybrid: str
    target: float
    method: str
    seed: int

    @property
    def folder(self) -> str:
        """Its place below `out`."""
        names = "+".join(part.partition("=")[0] for part in self.hybrid.split(","))
        method = "".join(c if c.isalnum() or c == "." else "-" for c in self.method.replace("λ", "lambda"))
        return f"{names}/at-{self.target:g}/{method}-{self.seed}"


def evaluate_table(settings: EvaluateSettings) -> dict[str, Any]:
    """`gen evaluate-hda`: train what is missing, score it, write the table. Returns what results.json holds."""
    s = replace(settings, encoder=settings.encoder or DEFAULTS.encoders)
    if s.adaptation is not None:
        return measure_attributes(s, s.adaptation)
    if network_of(s.judge) in {network_of(name) for name in s.encoder}:
        raise BadSetting(f"--judge {s.judge}: it is an encoder of the loss; the score would flatter what it trained.")
    chosen = [name.strip() for name in s.methods.split(",")]
    for name in chosen:
        if name not in METHODS:
            raise BadSetting(f"--methods {name}: choose from {', '.join(METHODS)}.")
    titles = [_names(h) for h in s.hybrid]
    if len(set(titles)) < len(titles):
        raise BadSetting(f"--hybrid: every one needs names of its own, but they are {', '.join(titles)}.")
    for name in s.hybrid:
        if any(d.folder is None for d in parse_domains(tuple(name.split(",")))):
            raise BadSetting(f"--hybrid {name}: domains given by words have no references to be scored against.")
    jobs = [Job(h, t, m, n) for n in range(s.seeds) for t in s.target_progress for h in s.hybrid for m in chosen]
    size = HDAPipeline.from_pretrained(s.source).generator.size
    for job in jobs:
        check_not_stale(s, job, size)
    train_all(s, jobs)
    told = {**vars(s), "out": s.out.name, "source": Path(s.source).name, "hybrid": [_names(h) for h in s.hybrid]}
    results: dict[str, Any] = {"settings": told, "machine": machine(torch.device("cpu"))}
    results["diversity"] = load_perceptual().title
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


def run_settings(s: EvaluateSettings, job: Job) -> HDASettings:
    """The settings of one job. The averaged weights follow closely, because runs end early."""
    settings = HDASettings(
        source=s.source, domains=tuple(job.hybrid.split(",")), encoders=s.encoder, out=s.out / job.folder,
        seed=job.seed, images=s.images, lr=s.lr, target_progress=job.target, stop_when_stalled=False,
        structure_weight=0.0, sample_every=s.images, checkpoint_every=s.images, ema_half_life=40,
    )  # fmt: skip
    return replace(settings, **METHODS[job.method])


def check_not_stale(s: EvaluateSettings, job: Job, size: int) -> None:
    """Raises `BadSetting` where a run of other settings or other references lies in the job's folder."""
    path = s.out / job.folder / "settings.json"
    if not path.is_file():
        return
    record, settings = json.loads(path.read_text()), run_settings(s, job)
    check_same_run(record["settings"], as_record(settings), {"preset", "out", "device"})
    for domain in parse_domains(settings.domains):
        assert domain.folder is not None
        now = load_references(domain.folder, size).hashes
        if list(now) != record["data"]["references"][domain.name]["hashes"]:
            raise BadSetting(f"{domain.folder}: its pictures are not those of {path.parent}; take another --out.")


def train_one(s: EvaluateSettings, job: Job) -> str:
    """Run one job to its end; returns how it ended."""
    if s.jobs > 1:
        torch.set_num_threads(1)
    trainer = HDATrainer(run_settings(s, job), HDAPipeline.from_pretrained(s.source).generator)
    trainer.fit()
    save_adaptation(trainer)
    return f"{job.folder}: {trainer.ending()}"


def measure_attributes(s: EvaluateSettings, adaptation: Path) -> dict[str, Any]:
    """Shares of the way to each domain's references, on latents that no run has seen, truncated as they are shown."""
    pipe = HDAPipeline.from_pretrained(s.source)
    latents = pipe.latents(range(FIRST_SEED, FIRST_SEED + s.samples))
    before = drawn(pipe, latents)
    pipe.load_adaptation(adaptation)
    after = drawn(pipe, latents)
    domains = parse_domains(tuple(",".join(s.hybrid).split(",")))
    told = {
        d.name: ways(before, after, load_references(d.folder, before.shape[-1]).images) for d in domains if d.folder
    }
    lines = [f"| of the way to | {' | '.join(ATTRIBUTES)} |", "|---" * (len(ATTRIBUTES) + 1) + "|"]
    lines += [f"| {name} | {' | '.join(f'{100 * v:.0f} %' for v in row.values())} |" for name, row in told.items()]
    spread = float(after.std(0).mean() / before.std(0).mean())
    text = "\n".join(
        [*lines, "", f"{s.samples} latents; the pictures differ {spread:.2f} times as much as before.", ""]
    )
    s.out.mkdir(parents=True, exist_ok=True)
    (s.out / "attributes.md").write_text(text)
    print(text)
    return told


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
        """Mean perceptual distance of pictures nearest to the same reference, as CDC (CVPR 2021) has intra-LPIPS."""
        see = self.perceptual.vectors
        vectors = in_batches(see, images)
        nearest = torch.cdist(vectors, in_batches(see, torch.cat(list(self.references.values())))).argmin(1)
        members = [vectors[nearest == index][:most] for index in nearest.unique()]
        means = [float(F.pdist(m).square().mean()) for m in members if len(m) > 1]
        return statistics.fmean(means) if means else 0.0

    def _progress(self, images: Tensor) -> dict[str, float]:
        """In the encoders of the loss, on latents that training did not see: the way gone towards each flat; and of
        the movement D = f_t - f_s, the leak (|B^T D| / |D|, its part within the flats), the heading (its cosine with
        the way from f_s to the flat) and the cosine that the direction loss looks at (with the way from f_t)."""
        shares: dict[str, list[float]] = {name: [] for name in self.references}
        told: dict[str, list[float]] = {"leak": [], "heading": [], "cosine": []}
        for encoder in self.trained:
            before, after = in_batches(encoder, self.source), in_batches(encoder, images)
            moved = after - before
            for name, refs in self.references.items():
                flat = fit_flat(encoder(refs)).to(dtype=torch.float32)
                shares[name].append(1 - float(flat.distance(after).mean() / flat.distance(before).mean()))
                inside = (moved @ flat.basis).norm(dim=1) / moved.norm(dim=1).clamp_min(1e-9)
                told["leak"].append(float(inside.mean()))
                told["heading"].append(float(F.cosine_similarity(moved, flat.perpendicular(before)).mean()))
                told["cosine"].append(float(F.cosine_similarity(moved, flat.perpendicular(after)).mean()))
        progress = {f"progress {name}": statistics.fmean(values) for name, values in shares.items()}
        progress["progress"] = statistics.fmean(progress.values())
        return progress | {name: statistics.fmean(values) for name, values in told.items()}


def in_batches(function: Encoder | Any, images: Tensor) -> Tensor:
    """The function of all images, 8 at a time: on a CPU larger layers cost more to allocate than to compute."""
    with torch.no_grad():
        return torch.cat([function(part) for part in images.split(8)])


def score_hybrid(
    s: EvaluateSettings, hybrid: str, methods: Sequence[str]
) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Figures of the source and of every run, by target and method; writes the grids of the first seed."""
    pipe = HDAPipeline.from_pretrained(s.source)
    latents = pipe.latents(range(FIRST_SEED, FIRST_SEED + s.samples), truncation=1.0)
    source = drawn(pipe, latents)
    scorer = Scorer(s, hybrid, source)
    unadapted = scorer.scores(source) | {"samples": 0}
    shown = pipe.latents(range(SHOWN))
    first = drawn(pipe, shown)
    tables: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for target in s.target_progress:
        rows, pictures = {"source": [unadapted]}, {"source": first}
        for method in methods:
            rows[method] = []
            for seed in range(s.seeds):
                folder = s.out / Job(hybrid, target, method, seed).folder
                pipe.load_adaptation(folder / "adaptation.safetensors", name="run")  # in the place of the one before
                record = pipe.adaptations["run"].record
                figures = scorer.scores(drawn(pipe, latents))
                rows[method].append(figures | {k: record[k] for k in ("samples", "seconds", "reached")})
                if seed == 0:
                    pictures[method] = drawn(pipe, shown)
        pipe.set_strengths(0.0)
        tables[f"{target:g}"] = rows
        references = {name: refs[:SHOWN] for name, refs in scorer.references.items()}
        name = f"{_names(hybrid).replace(' ', '')}-{target:g}.png"
        s.out.mkdir(parents=True, exist_ok=True)
        labelled_grid({**references, **pictures}).save(s.out / name)
    return tables


def labelled_grid(rows: Mapping[str, Tensor]) -> Image.Image:
    """One row a name, written on the left: images (n, 3, size, size) in [-1, 1]."""
    size, count = next(iter(rows.values())).shape[-1], max(len(images) for images in rows.values())
    step, left = size + 2, 150
    font = ImageFont.truetype(font_manager.findfont("DejaVu Sans"), 12)  # Pillow's own font has no λ
    sheet = Image.new("RGB", (left + count * step, len(rows) * step), "white")
    draw = ImageDraw.Draw(sheet)
    for row, (name, images) in enumerate(rows.items()):
        draw.text((left - 8, row * step + size // 2), name, "black", font=font, anchor="rm")
        for column, picture in enumerate(to_uint8(images).permute(0, 2, 3, 1).numpy()):
            sheet.paste(Image.fromarray(picture), (left + column * step, row * step))
    return sheet


def drawn(pipe: HDAPipeline, latents: Tensor) -> Tensor:
    """Images (B, 3, size, size) in [-1, 1] as the pipeline draws them now."""
    return torch.stack(pipe(latents=latents, output_type="pt").images) * 2 - 1


def table(results: Mapping[str, Any]) -> str:
    """The results as Markdown: mean ± standard deviation over the seeds."""
    s = results["settings"]
    edges = load_edges().title
    lines = [
        f"Source `{s['source']}`, {s['seeds']} seeds, each run ended where the mean progress over the last ten steps "
        f"reached the target, or after {s['images']} samples (marked *). Scored on {s['samples']} latents that no run "
        f"has seen, by {s['judge']}; the loss used {', '.join(s['encoder'])}. Structure: SCS of {edges} edges with the "
        f"source's pictures, for the first {EDGE_IMAGES}. Diversity: {results['diversity']} between pictures that are "
        f"nearest to the same reference. Similarity: mean cosine with the references.",
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
