"""Game scenes as training data, rendered during training: no image is shown twice."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from gen.smd.dataset import Levels, Sample, SMDDataset
from gen.smd.names import SCENES
from gen.smd.styles import STYLES

LEVELS = 1_000_000
"""Levels per class; more than a run can show."""


class SceneStream:
    """Samples n in all styles; in each style a different class and level, by (seed, style, n)."""

    def __init__(self, size: int, seed: int, workers: int, processes: int = 1) -> None:
        """`workers`: processes that render ahead for each of `processes` that train."""
        self.styles, self.classes = tuple(STYLES), SCENES
        self.dataset = SMDDataset(LEVELS, Levels(seed, "train", size))
        self.seed, self.workers, self.processes = seed, workers, processes
        self._ahead: Iterator[list[Sample]] | None = None
        self._next = -1

    def indices(self, samples: Sequence[int]) -> list[int]:
        """Indices into the data set, style by style."""
        found: list[int] = []
        for position, style in enumerate(self.dataset.styles):
            for n in samples:
                scene = int(np.random.default_rng((self.seed, style.number, n)).integers(len(self.classes)))
                # Styles start at different levels, so that no batch shows a level in two styles.
                found.append(self.dataset.index(position, scene, (style.first_level + n) % LEVELS))
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
            # A forked child of a process that uses a GPU cannot use it, and may hang; a spawned one starts in seconds.
            multiprocessing_context="spawn" if self.workers and torch.cuda.is_initialized() else None,
        )
        return iter(loader)
