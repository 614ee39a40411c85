"""One direction of an evaluation: all its rows, measured in one pass over the frames."""

import filecmp
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gen.augan.arguments import EvaluateSettings
from gen.augan.cycle_calibration import CalibrationMeter
from gen.augan.measures import FrameSet, Measures
from gen.augan.rows import able, translators
from gen.bars import progress_bar
from gen.errors import BadSetting
from gen.media.left_out import LeftOut
from gen.metrics import rivals
from gen.metrics.distances import evenly, list_images, read_batches
from gen.translation.pipeline import TranslationPipeline
from gen.translation.settings import Direction, Resolution, parse_resolution

log = logging.getLogger(__name__)


class DirectionEvaluation:
    """All measurements in one direction. Keeps features, boxes and numbers in memory, but no frames."""

    def __init__(
        self,
        direction: Direction,
        pipes: dict[str, TranslationPipeline],
        measures: Measures,
        settings: EvaluateSettings,
        target: list[Path],
        left_out: LeftOut,
    ) -> None:
        """`target`: real frames of the target domain. Images that cannot be read are added to `left_out`.

        A rival that lacks the direction is left out with a warning. Raises `BadSetting` if only this direction is
        wanted and the model lacks it.
        """
        self.direction: Direction = direction
        self.pipes = able(pipes, direction)
        self.measures = measures
        self.settings = settings
        self.left_out = left_out
        if settings.direction == direction:
            pipes["model"].generator(direction)  # raises now, rather than after hours
        self.translates = settings.direction in ("both", direction) and "model" in self.pipes
        missing = [name for name in pipes if name not in self.pipes]
        if missing and settings.direction in ("both", direction):
            log.warning("%s: %s cannot translate it and is left out", direction, ", ".join(missing))
        reference = settings.normal_reference if direction == "adverse_to_normal" else settings.adverse_reference
        self.reference = other_images(reference, target) if self.translates and reference is not None else []
        """Frames of the target domain for the floor, none of them of the target itself."""
        self.tone = rivals.tone(read_batches(target, settings.batch, left_out))
        self.resolution: Resolution = parse_resolution(settings.resolution)
        self.translators = translators(self.pipes, direction, self.tone, self.resolution) if self.translates else {}
        self.untouched = FrameSet(measures)
        self.translated = {name: FrameSet(measures) for name in self.translators}
        self.calibration = CalibrationMeter()

    def run(self, paths: list[Path]) -> None:
        """Translate and measure every frame once with every translator."""
        with progress_bar(total=len(paths), desc=self.direction, unit="frame") as bar:
            for frames in read_batches(paths, self.settings.batch, self.left_out):
                boxes = self.untouched.add(frames)
                for name, translate in self.translators.items():
                    self.translated[name].add(translate(frames), source=frames, source_boxes=boxes)
                if self.translates and self.direction == "adverse_to_normal":
                    self.calibration.add(self.pipes["model"], frames)
                bar.update(len(frames))

    def rows(self, target: FrameSet) -> dict[str, dict[str, Any]]:
        """The table of this direction; `target`: real frames of the target domain.

        Every row except the target has, by feature space, its distances from the target and their ratios to those of
        the untouched frames. The floor uses as many `reference` frames as were translated, because distances depend on
        the number of images.
        """
        sets = {"untouched": self.untouched, **self.translated}
        if self.reference:
            floor = sets["floor"] = FrameSet(self.measures)
            images = evenly(self.reference, len(self.untouched.luma))
            for frames in read_batches(images, self.settings.batch, self.left_out):
                floor.add(frames)
        size, seed = self.settings.subset_size, self.settings.seed
        rows: dict[str, dict[str, Any]] = {
            n: row.numbers() | {"distances": row.distances(target, size, seed)} for n, row in sets.items()
        }
        untouched = rows["untouched"]["distances"]
        for row in rows.values():
            for space, distance in row["distances"].items():
                for kind in ("kernel", "frechet"):
                    distance[f"{kind}_ratio"] = ratio(distance[kind], untouched[space][kind])
        return rows | {"target": target.numbers()}


def other_images(folder: Path, than: Sequence[Path]) -> list[Path]:
    """The images of a folder that are not, by their content, among `than`. Raises `BadSetting` for less than two."""
    alike: dict[int, list[Path]] = {}
    for path in than:
        alike.setdefault(path.stat().st_size, []).append(path)
    images = list_images(folder)
    others = [
        image
        for image in images
        if not any(filecmp.cmp(image, path, shallow=False) for path in alike.get(image.stat().st_size, ()))
    ]
    if len(others) < 2:  # no distance then
        raise BadSetting(f"{folder}: a reference needs two frames at least that are not those to measure with.")
    if left := len(images) - len(others):
        log.warning("%s: %d frames are those to measure with, and are left out of the reference", folder, left)
    return others


def ratio(distance: float, untouched: float) -> float | None:
    """A distance as a share of that of the untouched frames; None if that is not above 0.

    An unbiased kernel distance falls below 0 by chance where two sets are of one domain.
    """
    return distance / untouched if untouched > 0 else None
