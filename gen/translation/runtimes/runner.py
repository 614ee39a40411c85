"""A direction's network in another runtime than torch, in place of the network."""

import threading
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from gen.translation.norm import StatisticsSmoother
from gen.translation.runtimes.graph import DECAY, IMAGES, PAST
from gen.translation.runtimes.sessions import Session


class Runner:
    """Runs a graph of `write_graph`; a `Network`."""

    _begun: ClassVar[set[type]] = set()
    _first: ClassVar[threading.Lock] = threading.Lock()
    """Held in the first runs of a process: OpenVINO then prepares numpy, and two threads at once wait for ever."""

    def __init__(self, session: Session) -> None:
        self.session, self.channels = session, session.width(PAST)
        self.smoother: StatisticsSmoother | None = None

    def __call__(self, images: Tensor) -> tuple[Tensor, ...]:
        """Images (B, 3, H, W) in [-1, 1] of the CPU -> float32 outputs."""
        if self.channels is None:
            return self._run(images)
        if self.smoother is None:
            return self._run(images, torch.zeros(1, 2, self.channels), 0.0)[:-1]
        frames: list[tuple[Tensor, ...]] = []
        for frame in images.split(1):  # in order: each is normalised with the averages up to it
            (past,) = self.smoother.past.get(self, (None,))
            first = past is None
            past = torch.zeros(1, 2, self.channels) if past is None else past
            *outputs, now = self._run(frame, past, 0.0 if first else self.smoother.decay)
            self.smoother.past[self] = (now,)
            frames.append(tuple(outputs))
        return tuple(torch.cat(parts) for parts in zip(*frames, strict=True))

    def _run(self, images: Tensor, past: Tensor | None = None, decay: float = 0.0) -> tuple[Tensor, ...]:
        inputs = {IMAGES: images.float().contiguous().numpy()}
        if past is not None:
            inputs |= {PAST: past.numpy(), DECAY: np.array(decay, np.float32)}
        kind = type(self.session)
        with nullcontext() if kind in self._begun else self._first:
            outputs = self.session.run(inputs)
        self._begun.add(kind)
        return tuple(map(torch.from_numpy, outputs))

    @contextmanager
    def smoothed(self, smoother: StatisticsSmoother | None) -> Generator[None]:
        """Within the block, the norms take their statistics through this smoother."""
        self.smoother = smoother
        try:
            yield
        finally:
            self.smoother = None
