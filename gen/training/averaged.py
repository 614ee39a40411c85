"""The averaged weights of a checkpoint."""

from collections.abc import Mapping
from typing import Any

from diffusers.training_utils import EMAModel
from torch import nn


def load_averaged(network: nn.Module, state: Mapping[str, Any]) -> None:
    """Give `network`, built as for training, the averaged (EMA) weights of a checkpoint's `state`."""
    averaged = EMAModel(network.parameters())
    averaged.load_state_dict(state["ema"])
    averaged.copy_to(network.parameters())
