"""Are the domains nearer to one another in the features of a trained network, and where they are, is it more right?

Three measures between two domains: the Jensen-Shannon divergence between their mean softmax(features), the same
within each class, and the proxy A-distance of Ben-David et al. (2010): 2 (1 - 2 e), e the error of a linear probe
that tells the domains apart.
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
from scipy.stats import spearmanr
from torch import Tensor, nn
from tqdm import tqdm

from gen.errors import BadInput, BadSetting
from gen.media.files import write_atomically
from gen.smos.backbones import Backbone, load_backbone
from gen.smos.datasets import DomainSet, load_domains, split_domain
from gen.smos.export import load_classifier
from gen.smos.losses import jensen_shannon
from gen.shift.plots import draw_embedding

FEWEST = 20


@dataclass(frozen=True)
class Seen:
    """A domain in the features of one network."""

    features: Tensor
    """(images, d)."""
    labels: NDArray[np.int64]


def js_divergence(a: Seen, b: Seen) -> float:
    """D_JS between the mean softmax(features) of two domains, 0..ln 2."""
    p, q = (F.softmax(d.features.double(), 1).mean(0) for d in (a, b))
    return float(jensen_shannon(p, q))


def class_js_divergence(a: Seen, b: Seen) -> float:
    """The mean of the same over the classes that both have."""
    common = sorted(set(a.labels.tolist()) & set(b.labels.tolist()))
    parts = [[Seen(d.features[torch.from_numpy(d.labels == c)], d.labels) for d in (a, b)] for c in common]
    return float(np.mean([js_divergence(x, y) for x, y in parts]))


def proxy_a_distance(a: Seen, b: Seen, seed: int = 0) -> float:
    """2 (1 - 2 e): 0 where a linear probe cannot tell the domains apart, 2 where it never errs.

    The probe is a logistic regression with a small weight penalty on standardised features, trained on half of each
    domain, as many of one as of the other, and tested on the other half; less than chance counts as chance.
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
        value = value + 1e-2 * probe.weight.square().sum()
        value.backward()
        return value

    optimizer.step(loss)  # pyright: ignore[reportArgumentType]  # torch's stub wants a float
    with torch.no_grad():
        error = float(((probe((test - mean) / std)[:, 0] > 0).double() != y).double().mean())
    return max(0.0, 2 * (1 - 2 * error))


MEASURES = {"JS": js_divergence, "class JS": class_js_divergence, "A-distance": proxy_a_distance}


@torch.no_grad()
def look(body: Backbone, data: DomainSet, count: int, seed: int) -> dict[str, Seen]:
    """At most `count` images of each domain's held-out fifth of this seed, which no network of the seed has learnt."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    body.eval().to(device)
    seen: dict[str, Seen] = {}
    for place, domain in enumerate(data.domains):
        chosen = split_domain(len(domain), seed, place).outer[:count]
        parts = np.array_split(chosen, -(-len(chosen) // 16))
        features = torch.cat([body(domain.images(part).to(device).float() / 255).pooled.cpu() for part in parts])
        seen[domain.name] = Seen(features, domain.labels[chosen])
    return seen


def distances(seen: Mapping[str, Seen]) -> dict[str, dict[str, float]]:
    """By measure and pair "a, b"."""
    pairs = list(combinations(seen, 2))
    return {m: {f"{a}, {b}": f(seen[a], seen[b]) for a, b in pairs} for m, f in MEASURES.items()}


def to_target(figures: Mapping[str, float], target: str) -> float:
    """Mean over the pairs that the target is in."""
    return float(np.mean([v for pair, v in figures.items() if target in pair.split(", ")]))


def analyse(table: Path, data: Path, out: Path, count: int, cache: Path | None = None) -> dict[str, Any]:
    """Every cell of a table: distances between domains before and after training, and their tie to accuracy.

    Writes analysis.json, analysis.md and an embedding of the first seed's networks for each target.
    """
    record = json.loads((table / "results.json").read_text()) if (table / "results.json").is_file() else {}
    if count < FEWEST:
        raise BadSetting(f"--images {count}: {FEWEST} of a domain are the least that say anything.")
    if "settings" not in record:
        raise BadInput(f"{table}: no results.json of a table here; give the --out folder of gen train-smos.")
    s = record["settings"]
    domains = load_domains(data, int(s["size"]), cache or table / "cache", s["dataset"])
    out.mkdir(parents=True, exist_ok=True)
    untrained = load_backbone(s["backbone"], s["weights"])
    before: dict[int, dict[str, Seen]] = {}
    start: dict[int, dict[str, dict[str, float]]] = {}
    cells: list[dict[str, Any]] = []
    for path in tqdm(sorted(table.glob("*/*/model/config.json")), unit="model", disable=None):
        told = json.loads((path.parent.parent / "results.json").read_text())
        method, target, seed = path.parts[-4], told["target"], int(told["seed"])
        if target not in domains.names:
            raise BadInput(f"{data}: it has no domain {target}, which {path.parent.parent} left out.")
        if seed not in before:
            before[seed] = look(untrained, domains, count, seed)
            start[seed] = distances(before[seed])
        seen = look(load_classifier(path.parent).body, domains, count, seed)
        after = distances(seen)
        cells.append(
            {
                "method": method, "target": target, "seed": seed,
                "accuracy": told["rules"][told["model"]]["accuracy"], "distances": after,
                "to target": {m: to_target(after[m], target) for m in MEASURES},
                "change": {m: to_target(after[m], target) - to_target(start[seed][m], target) for m in MEASURES},
            }
        )  # fmt: skip
        if seed == min(before):
            both = {"before": _embeddable(before[seed]), method: _embeddable(seen)}
            draw_embedding(out / f"embedding-{method}-{target}.png", both)
    if not cells:
        raise BadInput(f"{table}: no cell of the table has a model yet; let gen train-smos finish one.")
    told = {
        "images": count,
        "domains": domains.names,
        "before": start,
        "cells": cells,
        "correlation": correlations(cells),
    }
    with write_atomically(out / "analysis.json") as partial:
        partial.write_text(json.dumps(told, indent=2))
    with write_atomically(out / "analysis.md") as partial:
        partial.write_text(as_markdown(told))
    return told


def _embeddable(seen: Mapping[str, Seen]) -> dict[str, NDArray[np.float32]]:
    """Both principal components of all domains together: (images, 2) each."""
    together = torch.cat([d.features for d in seen.values()]).double()
    centred = together - together.mean(0)
    axes = torch.linalg.svd(centred, full_matrices=False).Vh[:2]
    flat = (centred @ axes.T).float().numpy()
    sizes = np.cumsum([len(d.features) for d in seen.values()])[:-1]
    return dict(zip(seen, np.split(flat, sizes), strict=True))


def correlations(cells: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Spearman's rho between how much nearer the target came than with erm, and how much more was right.

    Within each target and seed, so that an easy target does not count; negative: nearer goes with more right. No
    p-value: the cells of a target and seed share the run of erm that they are compared with, so they are no sample.
    """
    base = {(c["target"], c["seed"]): c for c in cells if c["method"] == "erm"}
    others = [c for c in cells if c["method"] != "erm" and (c["target"], c["seed"]) in base]
    found: dict[str, dict[str, float]] = {}
    for measure in MEASURES if len(others) >= 3 else ():
        pairs = [(c, base[c["target"], c["seed"]]) for c in others]
        nearer = [c["to target"][measure] - b["to target"][measure] for c, b in pairs]
        result: Any = spearmanr(nearer, [c["accuracy"] - b["accuracy"] for c, b in pairs])
        found[measure] = {"rho": float(result.statistic), "cells": len(others)}
    return found


def as_markdown(told: Mapping[str, Any]) -> str:
    """Mean distance of the target to the sources, by method and target, and the correlation."""
    measures = list(MEASURES)
    lines = [
        f"Distance between the target and the sources, mean over the pairs, in the features of the weights that each "
        f"run kept; at most {told['images']} images of each domain that were not trained on.",
        "",
        f"| method | target | seed | accuracy | {' | '.join(f'{m} (before)' for m in measures)} |",
        "|---|---|---|---|" + "---|" * len(measures),
    ]
    for c in told["cells"]:
        figures = [f"{c['to target'][m]:.4g} ({c['to target'][m] - c['change'][m]:.4g})" for m in measures]
        lines.append(f"| {c['method']} | {c['target']} | {c['seed']} | {c['accuracy']:.1%} | {' | '.join(figures)} |")
    lines.append("")
    for measure, r in told["correlation"].items():
        lines.append(
            f"- {measure}: Spearman {r['rho']:.2f} ({r['cells']} cells) between the change against erm "
            f"and the gain in accuracy; a claim that nearer domains are the reason wants it negative."
        )
    return "\n".join([*lines, ""])
