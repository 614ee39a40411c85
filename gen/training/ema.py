"""The exponential moving average (EMA) of a network's weights: theta_ema <- d theta_ema + (1 - d) theta."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

from diffusers.training_utils import EMAModel
from torch import Tensor, nn

from gen.training.settings import EMASettings


class WeightAverage:
    """Averaged weights of one network, beside the weights that are trained.

    The decay follows from a half-life in images, as in EDM's training loop (Karras et al. 2022): how far back the
    average reaches does not depend on the batch.
    """

    def __init__(self, network: nn.Module, settings: EMASettings, batch: int) -> None:
        """`batch`: images in a step. The average starts at the network's present weights."""
        self.network, self.settings, self.batch = network, settings, batch
        self.restart()

    def restart(self) -> None:
        """Start again from the network's present weights."""
        self._model = EMAModel(self.network.parameters(), decay=self.decay(0), foreach=True)

    def decay(self, images_shown: int) -> float:
        """Share of the old average that a step keeps after `images_shown`: 0.5^(batch / half-life).

        With `ema_ramp` the half-life grows with the run: early weights are far from the final ones, and a long average
        would hold on to them.
        """
        s = self.settings
        half_life = s.ema_half_life if s.ema_ramp is None else min(s.ema_half_life, s.ema_ramp * images_shown)
        return 0.5 ** (self.batch / half_life) if half_life else 0.0

    def update(self, images_shown: int) -> None:
        """Take in the network's weights after a step that began at `images_shown`."""
        # Both limits, because diffusers raises the decay from the lower to the upper one by a schedule of its own. Only
        # its first step, which copies the weights, is left of that.
        self._model.decay = self._model.min_decay = self.decay(images_shown)
        self._model.step(self.network.parameters())

    @property
    def weights(self) -> list[Tensor]:
        """The averaged weights, in the order of the network's parameters."""
        return self._model.shadow_params

    @contextmanager
    def applied(self) -> Generator[None]:
        """Within the block, the network has the averaged weights."""
        self._model.store(self.network.parameters())
        self._model.copy_to(self.network.parameters())
        try:
            yield
        finally:
            self._model.restore(self.network.parameters())

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint, in the form of diffusers' `EMAModel`."""
        return self._model.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._model.load_state_dict(dict(state))
