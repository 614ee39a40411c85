"""Names of the feature networks, used in settings. Does not import torch, so that `--help` is fast."""

from typing import Literal

FeatureName = Literal["auto", "inception", "efficientnet-lite0", "squeezenet"]
