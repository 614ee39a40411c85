"""Game scenes as training data, rendered during training: no image is shown twice."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from gen.smd.dataset import Levels, Sample, SMDDataset
from gen.smd.styles import STYLES
from gen.smd.world import SCENES

LEVELS = 1_000_000
"""Levels per class; more than a run can show."""


class SceneStream:
    """Sample n of every style; each style shows another class and level, by (seed, style, n)."""

    def __init__(self, size: int, seed: int, workers: int, processes: int = 1) -> None:
        """`workers`: rendering processes for each of the `processes` that train."""
        self.styles, self.classes = STYLES, SCENES
        self.dataset = SMDDataset(LEVELS, Levels(seed, "train", size))
        self.seed, self.workers, self.processes = seed, workers, processes
        self._ahead: Iterator[list[Sample]] | None = None
        self._next = -1

    def indices(self, samples: Sequence[int]) -> list[int]:
        """Indices into the data set, style by style."""
        found: list[int] = []
        for style in range(len(self.styles)):
            for n in samples:
                scene = int(np.random.default_rng((self.seed, style, n)).integers(len(self.classes)))
                # Styles start at different levels, so that no batch shows a level in two styles.
                level = (style * LEVELS // len(self.styles) + n) % LEVELS
                found.append((style * len(self.classes) + scene) * LEVELS + level)
        return found

    def batch(self, samples: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Images (styles · B, 3, S, S) uint8 and labels. In order, they are rendered ahead."""
        if self._ahead is None or samples[0] != self._next:
            self._ahead = self._render_from(samples[0], len(samples))
        self._next = samples[0] + len(samples) * self.processes
        rendered = next(self._ahead)
        return torch.stack([s.image for s in rendered]), torch.tensor([s.scene for s in rendered])

    def _render_from(self, first: int, count: int) -> Iterator[list[Sample]]:
        starts = range(first, LEVELS, count * self.processes)
        loader = DataLoader(
            self.dataset,
            batch_sampler=(self.indices(range(n, n + count)) for n in starts),  # pyright: ignore[reportArgumentType]
            num_workers=self.workers,
            collate_fn=list,
        )
        return iter(loader)
