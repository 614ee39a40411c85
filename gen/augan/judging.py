"""The judges of a table, and what each of them has seen: one `View` a row."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from gen.augan.arguments import SPACES, Space
from gen.errors import BadSetting
from gen.metrics.detection import Boxes, DetectionScores, Detector
from gen.metrics.distances import Population
from gen.metrics.features import Features, load_features
from gen.metrics.structure import edge_correlation, luma_of_frames

log = logging.getLogger(__name__)


class Judges:
    """The feature networks, and a detector where there is one."""

    def __init__(self, spaces: Sequence[Features], detector: Detector | None = None) -> None:
        self.spaces = spaces
        self.detector = detector

    def find(self, frames: Tensor) -> list[Boxes] | None:
        """What the detector finds in each of the frames (B, H, W, 3) uint8; none without one."""
        return self.detector(frames) if self.detector is not None else None


class View:
    """One set of frames as the judges see it; of translations also what they kept of their sources."""

    def __init__(self, judges: Judges) -> None:
        self.judges = judges
        self.populations = {space.name: Population(space) for space in judges.spaces}
        self.luma: list[float] = []
        self.structure: list[float] = []
        self.detections = DetectionScores()

    def add(
        self, frames: Tensor, source: Tensor | None = None, source_boxes: list[Boxes] | None = None
    ) -> list[Boxes] | None:
        """Frames, and what they were translated from, (B, H, W, 3) uint8, with the boxes of that.

        Returns the boxes of the frames themselves.
        """
        for population in self.populations.values():
            population.add(frames)
        self.luma += luma_of_frames(frames).mean(dim=(1, 2, 3)).tolist()
        if source is not None:
            self.structure += edge_correlation(source, frames).tolist()
        boxes = self.judges.find(frames)
        if boxes is not None:
            self.detections.add(boxes, source_boxes)
        return boxes

    def numbers(self) -> dict[str, Any]:
        """How many images, their mean luma (0 to 255), and where they were measured structure kept and detections."""
        numbers: dict[str, Any] = {"images": len(self.luma), "luma": mean(self.luma)}
        if self.structure:
            numbers["structure"] = mean(self.structure)
        return numbers | (self.detections.numbers() if self.detections.frames else {})

    def distances(self, target: "View", subset_size: int, seed: int) -> dict[str, dict[str, float]]:
        """By space: Fréchet and kernel distance from the target, and the kernel's spread over subsets.

        Subsets are at most half of the smaller set: larger ones would be all the same, and their spread nothing.
        """
        size = max(2, min(subset_size, len(self.luma) // 2, len(target.luma) // 2))
        return {
            name: population.distance(target.populations[name], size, seed)._asdict()
            for name, population in self.populations.items()
        }


def load_spaces(names: Sequence[Space]) -> list[Features]:
    """The feature networks of these names; of all where there is none, without Inception if it cannot be had.

    Raises `BadSetting` if one that was named cannot be had.
    """
    spaces: list[Features] = []
    for name in dict.fromkeys(names or SPACES):
        try:
            spaces.append(load_features(name))
        except BadSetting as error:
            if names:
                raise
            log.warning("no distances in Inception's features, so no FID: %s", error)
    return spaces


def feature_networks(model: Path) -> list[str]:
    """The feature spaces that the training of a model folder looked through, by its training.json; none unless told."""
    record = model / "training.json"
    if not record.is_file():
        return []
    return list(json.loads(record.read_text(encoding="utf-8")).get("feature_networks", []))


def mean(values: list[float]) -> float:
    """Arithmetic mean of at least one number."""
    return sum(values) / len(values)
