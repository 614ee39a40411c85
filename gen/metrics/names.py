"""Names of the feature networks, for settings: this module is free of torch, so that help texts answer at once."""

from typing import Literal

FeatureName = Literal["auto", "inception", "efficientnet-lite0", "squeezenet"]
