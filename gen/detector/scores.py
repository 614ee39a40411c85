"""What a detector finds in frames, frame by frame, so that every number can be resampled over the frames.

Average precision as COCO has it (Lin et al., "Microsoft COCO", ECCV 2014, and its evaluation code) at an intersection
over union of 0.5: the mean of the precision at 101 levels of recall, each the highest at that recall or above.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.ops import box_area, box_iou

from gen.metrics.detection import FOUND_SCORE, KEPT_IOU, KEPT_SCORE, Boxes, covered, invented

IOU = 0.5
"""Of a found and a labelled box that are the same object."""
RECALLS = np.linspace(0, 1, 101)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Matches:
    """The found objects of one group in many frames, compared with the labels; best score first."""

    frames: NDArray[np.int64]
    """(N,): the frame of each object."""
    scores: Floats
    hits: Floats
    """(N,): 1 if it is a labelled object, 0 if there is none."""
    labelled: Floats
    """(frames,): labelled objects in each frame."""

    def average_precision(self, weights: Floats) -> float:
        """AP of frames that count with these weights; NaN if no object is labelled in them."""
        weight = weights[self.frames]
        right, found = np.cumsum(weight * self.hits), np.cumsum(weight)
        total = float(weights @ self.labelled)
        if not total:
            return float("nan")
        if not len(found) or not found[-1]:
            return 0.0
        precision = np.maximum.accumulate((right / np.maximum(found, 1e-9))[::-1])[::-1]
        reached = np.searchsorted(right / total, RECALLS)
        return float(np.append(precision, 0.0)[reached].mean())

    def recall(self, weights: Floats) -> float:
        """Share of the labelled objects that are found with a score of at least `FOUND_SCORE`."""
        total = float(weights @ self.labelled)
        return float(weights[self.frames] @ (self.hits * (self.scores >= FOUND_SCORE))) / total if total else np.nan

    def precision(self, weights: Floats) -> float:
        """Share of the objects found with a score of at least `FOUND_SCORE` that are labelled."""
        weight = weights[self.frames] * (self.scores >= FOUND_SCORE)
        found = float(weight.sum())
        return float(weight @ self.hits) / found if found else np.nan


def match(found: Sequence[Boxes], labelled: Sequence[Boxes], crowds: Sequence[Boxes], group: int) -> Matches:
    """Compare the found objects of a group with its labels, frame by frame; within a frame, the best score first.

    Each takes the labelled object that it overlaps most, by at least `IOU`, and that no better one has taken. One that
    takes none but lies half or more in a crowd counts neither as right nor as wrong.
    """
    frames: list[int] = []
    scores: list[float] = []
    hits: list[float] = []
    for index, (boxes, truth, crowd) in enumerate(zip(found, labelled, crowds, strict=True)):
        boxes, truth, crowd = (_of(boxes, group), _of(truth, group), _of(crowd, group))
        boxes = Boxes(*(part[boxes.scores.argsort(descending=True, stable=True)] for part in boxes))
        overlap, inside = box_iou(boxes.corners, truth.corners), _share_inside(boxes, crowd)
        for row, score, hidden in zip(overlap, boxes.scores.tolist(), inside.tolist(), strict=True):
            best = int(row.argmax()) if len(row) else -1
            hit = best >= 0 and float(row[best]) >= IOU
            if hit:
                overlap[:, best] = -1
            if hit or not hidden:
                frames.append(index)
                scores.append(score)
                hits.append(float(hit))
    order = np.argsort(-np.array(scores), kind="stable")
    counts = np.array([len(_of(truth, group).scores) for truth in labelled], float)
    return Matches(np.array(frames, int)[order], np.array(scores, float)[order], np.array(hits, float)[order], counts)


def _of(boxes: Boxes, group: int) -> Boxes:
    keep = boxes.groups == group
    return Boxes(boxes.corners[keep], boxes.scores[keep], boxes.groups[keep])


def _share_inside(boxes: Boxes, crowd: Boxes) -> torch.Tensor:
    """(N,) bool: whether half of a box or more lies in one of the crowds."""
    corner = torch.maximum(boxes.corners[:, None, :2], crowd.corners[None, :, :2])
    other = torch.minimum(boxes.corners[:, None, 2:], crowd.corners[None, :, 2:])
    common = (other - corner).clamp(min=0).prod(-1)
    return (common >= 0.5 * box_area(boxes.corners)[:, None]).any(1)


@dataclass(frozen=True)
class Counts:
    """Objects of one group, by frame: found, found before, kept of those, and found where there was none."""

    found: Floats
    before: Floats
    kept: Floats
    invented: Floats

    def found_per_frame(self, weights: Floats) -> float:
        """Objects a frame with a score of at least `FOUND_SCORE`."""
        return float(weights @ self.found) / float(weights.sum())

    def share_kept(self, weights: Floats) -> float:
        """Share of the objects found before that are still there, with a score of at least `KEPT_SCORE`."""
        before = float(weights @ self.before)
        return float(weights @ self.kept) / before if before else np.nan

    def invented_per_frame(self, weights: Floats) -> float:
        """Objects a frame where the detector saw nothing before, not even faintly."""
        return float(weights @ self.invented) / float(weights.sum())


def count(found: Sequence[Boxes], before: Sequence[Boxes], group: int) -> Counts:
    """Count the objects of a group in frames, and compare them with the same frames before translation."""
    rows: list[tuple[int, int, int, int]] = []
    for now, then in zip(found, before, strict=True):
        now, then = _of(now, group), _of(then, group)
        new, sure = now.above(FOUND_SCORE), then.above(FOUND_SCORE)
        kept = int(covered(sure, now.above(KEPT_SCORE), KEPT_IOU).sum())
        rows.append((len(new.scores), len(sure.scores), kept, int(invented(new, then).sum())))
    return Counts(*np.array(rows, float).reshape(-1, 4).T)


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The middle 95 % of resampled values; NaN if there are none."""
    known = np.array([value for value in values if np.isfinite(value)])
    return (float(np.quantile(known, 0.025)), float(np.quantile(known, 0.975))) if len(known) else (np.nan, np.nan)
