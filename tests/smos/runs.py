"""Tiny runs of algorithms by name, for the tests of each."""

from pathlib import Path
from typing import Any

import torch

from gen.smos.algorithms.base import Batch
from gen.smos.backbones import Features, Prediction
from gen.smos.settings import SMOSSettings
from gen.smos.training import SMOSTrainer


def trainer(domains: Path, out: Path, algorithm: str, **settings: Any) -> SMOSTrainer:
    """A trainer on two sources of the tiny domains, which has not trained yet."""
    usual = {
        "data": domains, "out": out, "cache": out.parent / "cache", "target": "ink", "size": 32, "device": "cpu",
        "backbone": "efficientnet-lite0", "batch": 4, "steps": 4, "evaluate_every": 2, "lr": 1e-3, "log_every": 4,
        "checkpoint_every": 1000, "algorithm": algorithm,
    }  # fmt: skip
    return SMOSTrainer(SMOSSettings(**{**usual, **settings}))


def weights(run: SMOSTrainer) -> dict[str, torch.Tensor]:
    """All weights of all networks."""
    return {f"{n}/{k}": v.clone() for n, network in run.raw.items() for k, v in network.state_dict().items()}


def same(a: SMOSTrainer, b: SMOSTrainer, network: str = "student") -> bool:
    """Whether a network has the same weights in both, bit by bit."""
    states = [run.raw[network].state_dict() for run in (a, b)]
    return all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def random_batch(
    domains: int = 3, size: int = 4, classes: int = 5, width: int = 6, step: int = 0, seed: int = 0
) -> Batch:
    """A batch whose prediction is random, in float64, with gradients."""
    g = torch.Generator().manual_seed(seed)
    count = domains * size
    logits = torch.randn(count, classes, generator=g, dtype=torch.float64, requires_grad=True)
    pooled = torch.rand(count, width, generator=g, dtype=torch.float64, requires_grad=True)
    prediction = Prediction(logits, pooled, [], pooled)
    labels = torch.randint(0, classes, (count,), generator=g)
    reference = Features(torch.rand(count, width, generator=g, dtype=torch.float64), [])
    return Batch(torch.zeros(count, 3, 8, 8), labels, domains, lambda _: prediction, lambda _: reference, step)
