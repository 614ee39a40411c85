"""Distances between domains in the features of trained networks, and their correlation with accuracy.

Three measures of a pair of domains: the Jensen-Shannon divergence of their mean softmax(features), its mean over
classes, and the proxy A-distance of Ben-David et al. (2010), 2 (1 - 2 e) with the error e of a linear probe that
classifies the domain.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from gen.bars import progress_bar
from gen.devices import pick_device
from gen.errors import BadInput, BadSetting
from gen.formats.json_files import read_json
from gen.markdown import markdown_table
from gen.metrics.calibration import rank_correlation
from gen.output import output_folder
from gen.shift.measures import jsd
from gen.shift.plots import draw_embedding
from gen.smos.backbones import Backbone, load_backbone
from gen.smos.classifiers import load_classifier
from gen.smos.datasets import DomainSet, load_domains, split_domain
from gen.smos.markdown import preset_in_words
from gen.smos.training import RESULTS
from gen.training.data_record import HELD_OUT
from gen.training.experiment import write_text
from gen.training.settings import read_record

FEWEST = 20
"""Images per domain below which the measures are noise."""


@dataclass(frozen=True)
class DomainFeatures:
    """A domain's images in the features of one network."""

    features: Tensor
    """(images, d)."""
    labels: NDArray[np.int64]


def js_divergence(a: DomainFeatures, b: DomainFeatures) -> float:
    """D_JS between the mean softmax(features) of two domains, 0..ln 2."""
    p, q = (F.softmax(d.features.double(), 1).mean(0) for d in (a, b))
    return float(jsd(p.numpy(), q.numpy()))


def class_js_divergence(a: DomainFeatures, b: DomainFeatures) -> float:
    """The mean of `js_divergence` over the classes that both have."""
    common = sorted(set(a.labels.tolist()) & set(b.labels.tolist()))
    parts = [[DomainFeatures(d.features[torch.from_numpy(d.labels == c)], d.labels) for d in (a, b)] for c in common]
    return float(np.mean([js_divergence(x, y) for x, y in parts]))


def proxy_a_distance(a: DomainFeatures, b: DomainFeatures, seed: int = 0) -> float:
    """2 (1 - 2 e): 0 if a linear probe cannot distinguish the domains, 2 if it makes no error.

    The probe is a logistic regression with a small weight penalty on standardised features. It is trained on half of
    each domain, equally many images of both, and tested on the other half. Below chance counts as chance.
    """
    count = min(len(a.features), len(b.features)) // 2 * 2
    order = np.random.default_rng(seed)
    halves = [d.features[order.permutation(len(d.features))[:count]].double().split(count // 2) for d in (a, b)]
    x, test = (torch.cat([h[part] for h in halves]) for part in (0, 1))
    y = torch.cat([torch.zeros(count // 2), torch.ones(count // 2)]).double()
    mean, std = x.mean(0), x.std(0) + 1e-6
    probe = nn.Linear(x.shape[1], 1, dtype=torch.float64)
    nn.init.zeros_(probe.weight)
    nn.init.zeros_(probe.bias)
    optimizer = torch.optim.LBFGS(probe.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.binary_cross_entropy_with_logits(probe((x - mean) / std)[:, 0], y)
        # Without a penalty the probe of separable domains has no optimum: its weights grow for ever.
        value = value + 1e-2 * probe.weight.square().sum()
        value.backward()
        return value

    optimizer.step(loss)  # pyright: ignore[reportArgumentType]  # torch's stub wants a float
    with torch.no_grad():
        error = float(((probe((test - mean) / std)[:, 0] > 0).double() != y).double().mean())
    return max(0.0, 2 * (1 - 2 * error))


MEASURES = {"JS": js_divergence, "class JS": class_js_divergence, "A-distance": proxy_a_distance}


@torch.no_grad()
def extract_features(body: Backbone, data: DomainSet, count: int, seed: int) -> dict[str, DomainFeatures]:
    """Features of at most `count` images of each domain, from the fifth that no network of this seed trained on.

    Raises `BadInput` for a domain whose fifth is a single image.
    """
    device = pick_device()
    body.eval().to(device)
    found: dict[str, DomainFeatures] = {}
    for index, domain in enumerate(data.domains):
        indices = split_domain(len(domain), seed, index).outer[:count]
        if len(indices) < 2:  # one to train the probe, one to test it
            raise BadInput(f"{domain.frames.folder}: {len(domain)} images are too few to measure a fifth of them.")
        parts = np.array_split(indices, -(-len(indices) // 16))
        features = torch.cat([body(domain.images(part).to(device).float() / 255).pooled.cpu() for part in parts])
        found[domain.name] = DomainFeatures(features, domain.labels[indices])
    return found


def distances(features: Mapping[str, DomainFeatures]) -> dict[str, dict[str, float]]:
    """By measure and by pair, "a, b"."""
    pairs = list(combinations(features, 2))
    return {m: {f"{a}, {b}": f(features[a], features[b]) for a, b in pairs} for m, f in MEASURES.items()}


def to_target(figures: Mapping[str, float], target: str) -> float:
    """Mean over the pairs that contain the target."""
    return float(np.mean([v for pair, v in figures.items() if target in pair.split(", ")]))


class Analysis:
    """Measures the networks of a table, one cell after another."""

    def __init__(self, record: Mapping[str, Any], domains: DomainSet, count: int, out: Path) -> None:
        """`record`: the table's results.json. `count`: most images per domain. `out`: folder for the embeddings."""
        self.untrained = load_backbone(record["settings"]["backbone"], record["settings"]["weights"])
        self.domains, self.count, self.out = domains, count, out
        self.table = f"{record['dataset']}, {preset_in_words(record)}"
        self.features: dict[int, dict[str, DomainFeatures]] = {}
        """Of the untrained network, by seed: each seed holds out other images."""
        self.before: dict[int, dict[str, dict[str, float]]] = {}
        """Distances in these."""
        self.drawn = set[Path]()
        """Files of the embeddings."""

    def measure(self, folder: Path) -> dict[str, Any]:
        """Distances in the features of the network of one cell; draws the embedding if its seed is the first."""
        results = read_json(folder / RESULTS)
        method, target, seed = folder.parent.name, results["target"], int(results["seed"])
        if target not in self.domains.names:
            raise BadInput(f"{folder}: its target {target} is not a domain of the data set {self.domains.name}.")
        self._check_not_trained_on(folder)
        if seed not in self.before:
            self.features[seed] = extract_features(self.untrained, self.domains, self.count, seed)
            self.before[seed] = distances(self.features[seed])
        features = extract_features(load_classifier(folder / "model").body, self.domains, self.count, seed)
        before, after = self.before[seed], distances(features)
        if seed == min(self.before):
            panels = {"before": project(self.features[seed]), method: project(features)}
            embedding = self.out / f"embedding-{method}-{target}.png"
            draw_embedding(embedding, panels)
            self.drawn.add(embedding)
        return {
            "method": method,
            "target": target,
            "seed": seed,
            "accuracy": results["rules"][results["model"]]["accuracy"],
            "distances": after,
            "to target": {m: to_target(after[m], target) for m in MEASURES},
            "change": {m: to_target(after[m], target) - to_target(before[m], target) for m in MEASURES},
        }

    def _check_not_trained_on(self, folder: Path) -> None:
        """Raises `BadInput` if the images that are measured here may be those that the cell was trained on."""
        record = read_record(folder) or {}
        data, sizes = record.get("data", {}), self.domains.sizes()
        wrong = self.domains.differs_from(data)
        if val := record.get("settings", {}).get("val"):  # then nothing of its data set was held out
            if not wrong or data.get(HELD_OUT, sizes) != sizes:
                raise BadInput(f"{folder}: it was trained on all of its data set; give --data {val}, as it was then.")
        elif wrong:  # of another split, images would be measured that were trained on
            raise BadInput(f"{folder}: it was trained on other images than this data set has: {wrong}.")


def analyse(
    table: Path, data: Path, out: Path, count: int, cache: Path | None = None, baseline: str = "erm"
) -> dict[str, Any]:
    """Distances between domains for every cell of a table, before and after training, and their correlations.

    Writes analysis.json, analysis.md, and for each target an embedding by the networks of the first seed. `baseline`
    is the method that the others are compared with. Raises `BadSetting` or `BadInput`.
    """
    if count < FEWEST:
        raise BadSetting(f"images must be at least {FEWEST} per domain, not {count}.")
    record = read_json(table / RESULTS) if (table / RESULTS).is_file() else {}
    if "settings" not in record:
        raise BadInput(f"{table}: no results.json in this folder; give the output folder of gen train-smos.")
    s = record["settings"]
    domains = load_domains(data, int(s["size"]), cache or table / "cache", s["dataset"])
    # Only those of the table: the folder may also hold cells of an earlier one, trained with other settings.
    listed = {(m, t, s) for rows in record["accuracy"].values() for m, row in rows.items() for t in row for s in row[t]}
    folders = [table / method / f"{target}-{seed}" for method, target, seed in sorted(listed)]
    models = [model for folder in folders if (model := folder / "model" / "config.json").is_file()]
    if not models:
        raise BadInput(f"{table}: no cell has a model yet; finish at least one with gen train-smos.")
    with output_folder(out):
        return _analyse_models(Analysis(record, domains, count, out), models, baseline)


def _analyse_models(analysis: Analysis, models: Sequence[Path], baseline: str) -> dict[str, Any]:
    """Measure these models, and write the files."""
    cells = [analysis.measure(path.parent.parent) for path in progress_bar(models, unit="model")]
    for old in set(analysis.out.glob("embedding-*.png")) - analysis.drawn:  # of an earlier table
        old.unlink()
    results = {
        "table": analysis.table,
        "images": analysis.count,
        "domains": analysis.domains.names,
        "before": analysis.before,
        "cells": cells,
        "baseline": baseline,
        "correlation": correlations(cells, baseline),
    }
    write_text(analysis.out / "analysis.json", json.dumps(results, indent=2))
    write_text(analysis.out / "analysis.md", as_markdown(results))
    return results


def project(features: Mapping[str, DomainFeatures]) -> dict[str, NDArray[np.float32]]:
    """The first two principal components, fitted on all domains together: (images, 2) by domain."""
    together = torch.cat([d.features for d in features.values()]).double()
    centred = together - together.mean(0)
    axes = torch.linalg.svd(centred, full_matrices=False).Vh[:2]
    flat = (centred @ axes.T).float().numpy()
    sizes = np.cumsum([len(d.features) for d in features.values()])[:-1]
    return dict(zip(features, np.split(flat, sizes), strict=True))


def correlations(cells: Sequence[Mapping[str, Any]], baseline: str = "erm") -> dict[str, dict[str, float]]:
    """Spearman's rho between the difference to the baseline in distance to the target, and that in accuracy.

    Differences are taken within a target and seed, so that easy targets do not matter. Negative: nearer domains go
    with higher accuracy. No p-value, because the cells are not independent: those of a target and seed are compared
    with the same run.
    """
    base = {_compared(c): c for c in cells if c["method"].partition("@")[0] == baseline}
    others = [c for c in cells if c["method"].partition("@")[0] != baseline and _compared(c) in base]
    found: dict[str, dict[str, float]] = {}
    for measure in MEASURES if len(others) >= 3 else ():
        pairs = [(c, base[_compared(c)]) for c in others]
        nearer = [c["to target"][measure] - b["to target"][measure] for c, b in pairs]
        rho = rank_correlation(np.array(nearer), np.array([c["accuracy"] - b["accuracy"] for c, b in pairs]))
        found[measure] = {"rho": rho, "cells": len(others)}
    return found


def _compared(cell: Mapping[str, Any]) -> tuple[str, int, str]:
    """What two cells must have in common: target, seed, and processor time if that was their length."""
    return cell["target"], cell["seed"], cell["method"].partition("@")[2]


def as_markdown(analysis: Mapping[str, Any]) -> str:
    """Mean distance of the target from the sources, by method, target and seed, and the correlations."""
    measures = list(MEASURES)
    baseline = analysis.get("baseline", "erm")  # older files have none
    rows: list[tuple[object, ...]] = []
    for c in analysis["cells"]:
        figures = [f"{c['to target'][m]:.4g} ({c['to target'][m] - c['change'][m]:.4g})" for m in measures]
        rows.append((c["method"], c["target"], c["seed"], f"{c['accuracy']:.1%}", *figures))
    table = f"{analysis['table']}. " if "table" in analysis else ""  # nor this
    lines = [
        f"{table}Distance between the target and the sources, mean over the pairs, in the features of the weights that "
        f"each run kept; at most {analysis['images']} images of each domain that were not trained on.",
        "",
        markdown_table(("method", "target", "seed", "accuracy", *(f"{m} (before)" for m in measures)), rows),
    ]
    lines.append("")
    for measure, r in analysis["correlation"].items():
        lines.append(
            f"- {measure}: Spearman {r['rho']:.2f} ({r['cells']} cells) between the difference in distance to "
            f"{baseline} and that in accuracy; if nearer domains were the reason for the gain, it would be negative."
        )
    return "\n".join([*lines, ""])
