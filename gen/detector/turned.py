"""Labels of pictures that EXIF turns: some tools label the pixels as stored, others the upright picture."""

from collections.abc import Mapping
from pathlib import Path

import torch

from gen.detector.labels import Labels
from gen.media.images import TURNED, orientation_of, still_size
from gen.metrics.detection import Boxes


def find_turned(files: Mapping[str, Path], labels: Labels) -> tuple[dict[str, int], list[str]]:
    """Frames whose labels are of the stored picture, with its EXIF orientation; and frames where nothing tells.

    The labelled width and height tell it where the turn swaps them. `files`: the frames by their name in the labels.
    """
    stored: dict[str, int] = {}
    unknown: list[str] = []
    for name, file in files.items():
        orientation = orientation_of(file)
        if orientation == 1:
            continue
        height, width = still_size(file)
        across, down = labels.sizes.get(name, (0, 0))
        if orientation not in TURNED or across == down or width == height:
            unknown.append(name)
        elif (across > down) == (width > height):
            stored[name] = orientation
    return stored, unknown


def turn(boxes: Boxes, orientation: int) -> Boxes:
    """Boxes of a stored picture -> of the upright one; corners are shares of it. `orientation`: of `TURNED`."""
    left, top, right, bottom = boxes.corners.unbind(1)
    xs = (1 - bottom, 1 - top) if orientation in (6, 7) else (top, bottom)
    ys = (1 - right, 1 - left) if orientation in (7, 8) else (left, right)
    return boxes._replace(corners=torch.stack([xs[0], ys[0], xs[1], ys[1]], 1))
