"""The networks that measure, and the measurements of one table row, a `FrameSet`."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from gen import weights
from gen.augan.arguments import SPACES, Space
from gen.errors import BadSetting
from gen.formats.json_files import read_json
from gen.metrics.detection import Boxes, DetectionScores, Detector
from gen.metrics.distances import Population
from gen.metrics.features import Features, load_features
from gen.metrics.structure import edge_correlation, luma_of_frames

log = logging.getLogger(__name__)


class Measures:
    """The feature networks and, optionally, a detector."""

    def __init__(self, spaces: Sequence[Features], detector: Detector | None = None) -> None:
        self.spaces = spaces
        self.detector = detector

    def find(self, frames: Tensor) -> list[Boxes] | None:
        """The objects in each of the frames (B, H, W, 3) uint8; None without a detector."""
        return self.detector(frames) if self.detector is not None else None


class FrameSet:
    """Measurements of one set of frames; for translations, also of what they kept from their sources."""

    def __init__(self, measures: Measures) -> None:
        self.measures = measures
        self.populations = {space.name: Population(space) for space in measures.spaces}
        self.luma: list[float] = []
        self.structure: list[float] = []
        self.detections = DetectionScores()

    def add(
        self, frames: Tensor, source: Tensor | None = None, source_boxes: list[Boxes] | None = None
    ) -> list[Boxes] | None:
        """Add frames (B, H, W, 3) uint8; for translations, also their source frames and the boxes of those.

        Returns the boxes of `frames`.
        """
        for population in self.populations.values():
            population.add(frames)
        self.luma += luma_of_frames(frames).mean(dim=(1, 2, 3)).tolist()
        if source is not None:
            self.structure += edge_correlation(source, frames).tolist()
        boxes = self.measures.find(frames)
        if boxes is not None:
            self.detections.add(boxes, source_boxes)
        return boxes

    def numbers(self) -> dict[str, Any]:
        """Number of images, mean luma (0 to 255) and, if measured, structure kept and detections."""
        numbers: dict[str, Any] = {"images": len(self.luma), "luma": mean(self.luma)}
        if self.structure:
            numbers["structure"] = mean(self.structure)
        return numbers | (self.detections.numbers() if self.detections.frames else {})

    def distances(self, target: "FrameSet", subset_size: int, seed: int) -> dict[str, dict[str, float]]:
        """By feature space: Fréchet and kernel distance from `target`, and the kernel distance's standard deviation.

        Subsets have at most half of the images of the smaller set. Larger ones would share most of their images, and
        the standard deviation over subsets would be too small.
        """
        size = max(2, min(subset_size, len(self.luma) // 2, len(target.luma) // 2))
        return {
            name: population.distance(target.populations[name], size, seed)._asdict()
            for name, population in self.populations.items()
        }


def load_spaces(names: Sequence[Space]) -> list[Features]:
    """The feature networks with these names; without names, all that are available.

    Raises `BadSetting` if a named one is not available.
    """
    spaces: list[Features] = []
    for name in dict.fromkeys(names or SPACES):
        try:
            spaces.append(load_features(name))
        except BadSetting:
            if names:
                raise
            log.warning("no FID without Inception's weights; --features inception says where to get them")
    return spaces


def feature_networks(model: Path) -> list[str]:
    """The feature spaces that a model's training used, from its training.json; empty if there is no record."""
    record = model / "training.json"
    if not record.is_file():
        return []
    return weights.texts(read_json(record).get("feature_networks"))


def mean(values: list[float]) -> float:
    """Arithmetic mean of at least one number."""
    return sum(values) / len(values)
