"""Objects that a detector finds in frames, and which of them a translation kept or invented.

YOLOX (Ge et al., "YOLOX: Exceeding YOLO Series in 2021", arXiv 2107.08430) through onnxruntime: any ONNX file with
that head on COCO's 80 classes. The counts come from one small detector: they compare rows of one table and are not
the true number of objects.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.ops import batched_nms, box_iou

from gen.errors import BadInput

GROUPS: dict[str, tuple[int, ...]] = {"vehicles": (2, 3, 5, 7), "people": (0,), "lights": (9,)}
"""COCO classes that are counted together: car, motorcycle, bus, truck; person, riders included; traffic light."""

FOUND_SCORE = 0.3
"""A box with at least this score counts as found."""

KEPT_SCORE = 0.1
"""A source box counts as kept if the translation has a matching box of at least this score. Lower than `FOUND_SCORE`,
so that a small drop in confidence does not count as a lost object."""

FAINT_SCORE = 0.05
"""A source box of at least this score shows that an object may have been there, so a box over it is not invented."""

KEPT_IOU, NEAR_IOU, SAME_IOU = 0.5, 0.3, 0.45
"""Intersection over union (IoU) above which a box is the same object in both frames, two boxes are near each other, and
two boxes of one frame are one object (non-maximum suppression, YOLOX's own value)."""

STRIDES = (8, 16, 32)
FILL = 114  # as in YOLOX's own preprocessing
"""Grey level of the part of YOLOX's square input that the frame does not cover."""


class Boxes(NamedTuple):
    """Objects found in one frame."""

    corners: Tensor
    """(N, 4) float32: left, top, right, bottom in pixels of the frame."""
    scores: Tensor
    """(N,) float32, 0 to 1."""
    groups: Tensor
    """(N,) int64: index into `GROUPS`."""

    def above(self, score: float) -> "Boxes":
        """The boxes with at least this score."""
        keep = self.scores >= score
        return Boxes(self.corners[keep], self.scores[keep], self.groups[keep])


class Detector:
    """YOLOX from an ONNX file: frames (B, H, W, 3) uint8 -> the boxes of each, scores from `FAINT_SCORE` on."""

    def __init__(self, path: Path) -> None:
        """Raises `BadInput` if the file is not an ONNX model with that head (one fixed input size, 80 classes)."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()  # its default pool takes every core
        try:
            self._session: Any = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            self._input = self._session.get_inputs()[0]
            height, width = self._input.shape[2:]
            self.size = (int(height), int(width))
            empty = self._raw(np.full((1, 3, *self.size), FILL, np.float32))
        except Exception as error:  # onnxruntime raises many types of its own
            reason = str(error).splitlines()[0]
            raise BadInput(
                f"{path}: not a usable detector ({reason}); give a YOLOX ONNX file with a fixed input size."
            ) from error
        self._grid = anchors(self.size)
        if empty.shape != (len(self._grid), 85):
            raise BadInput(f"{path}: the output shape is {empty.shape}, but YOLOX on COCO has {(len(self._grid), 85)}.")
        # Some exports decode the boxes, most do not. Decoded centres are spread over the whole picture (mean about half
        # its width); raw ones are offsets of a few cells. An eighth of the width separates the two.
        self.decoded = bool(np.abs(empty[:, 0]).mean() > self.size[1] / 8)

    def __call__(self, frames: Tensor) -> list[Boxes]:
        """One `Boxes` per frame, in order."""
        return [self._find(frame.cpu().numpy()) for frame in frames]

    def _find(self, frame: NDArray[np.uint8]) -> Boxes:
        picture, scale = letterbox(frame, self.size)
        raw = torch.from_numpy(self._raw(picture))
        boxes = raw[:, :4] if self.decoded else decode(raw[:, :4], self._grid)
        return select(boxes / scale, raw[:, 4:5] * raw[:, 5:])

    def _raw(self, picture: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._session.run(None, {self._input.name: picture})[0][0]


def letterbox(frame: NDArray[np.uint8], size: tuple[int, int]) -> tuple[NDArray[np.float32], float]:
    """RGB frame (H, W, 3) -> YOLOX's input (1, 3, *size), BGR 0 to 255, and the scale in input pixels per frame pixel.

    The frame keeps its aspect ratio and lies at the top left; the rest is grey.
    """
    scale = min(size[0] / frame.shape[0], size[1] / frame.shape[1])
    height, width = (max(1, int(side * scale)) for side in frame.shape[:2])
    square = np.full((*size, 3), FILL, np.uint8)
    square[:height, :width] = cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(square[..., ::-1].transpose(2, 0, 1), dtype=np.float32)[None], scale


def anchors(size: tuple[int, int]) -> Tensor:
    """(N, 3): column, row and stride of every cell, finest grid first, row by row."""
    cells: list[Tensor] = []
    for stride in STRIDES:
        rows, columns = (torch.arange(side // stride) for side in size)
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        cells.append(torch.stack([x, y, torch.full_like(x, stride)], -1).flatten(0, 1))
    return torch.cat(cells).float()


def decode(raw: Tensor, grid: Tensor) -> Tensor:
    """The head's (N, 4) -> centre x, y, width, height in input pixels: (xy + cell) · stride, exp(wh) · stride."""
    stride = grid[:, 2:]
    return torch.cat([(raw[:, :2] + grid[:, :2]) * stride, raw[:, 2:].exp() * stride], 1)


def select(boxes: Tensor, scores: Tensor) -> Boxes:
    """Boxes (N, 4) as centre and size, class scores (N, 80) -> the boxes of `GROUPS`, one per object.

    Each cell counts for its best class only. Of overlapping boxes of one group (IoU above `SAME_IOU`) the one with the
    highest score stays: a van detected as both car and truck is one vehicle.
    """
    best, classes = scores.max(1)
    group = torch.full((scores.shape[1],), -1)
    for index, members in enumerate(GROUPS.values()):
        group[list(members)] = index
    groups = group[classes]
    candidates = torch.nonzero((groups >= 0) & (best >= FAINT_SCORE)).flatten()
    centre, half = boxes[candidates, :2], boxes[candidates, 2:] / 2
    found = Boxes(torch.cat([centre - half, centre + half], 1), best[candidates], groups[candidates])
    keep = batched_nms(found.corners, found.scores, found.groups, SAME_IOU)
    return Boxes(found.corners[keep], found.scores[keep], found.groups[keep])


def covered(boxes: Boxes, by: Boxes, iou: float) -> Tensor:
    """(N,) bool: which of `boxes` overlap one of `by`, of the same group, by at least `iou`."""
    overlap = box_iou(boxes.corners, by.corners)
    return ((overlap >= iou) & (boxes.groups[:, None] == by.groups[None])).any(1)


def invented(new: Boxes, source: Boxes) -> Tensor:
    """(N,) bool: the boxes of a translation with no source box near them, not even one of `FAINT_SCORE`."""
    return ~covered(new, source.above(FAINT_SCORE), NEAR_IOU)


class DetectionScores:
    """Counts of objects in a set of frames and, for translations, of those kept from the sources and invented."""

    def __init__(self) -> None:
        self.frames = 0
        self.found = torch.zeros(len(GROUPS), dtype=torch.long)
        self._source = self._kept = self._invented = 0
        self._pairs = False

    def add(self, found: Sequence[Boxes], source: Sequence[Boxes] | None = None) -> None:
        """Add the boxes of some frames and, for translations, the boxes of their source frames."""
        self.frames += len(found)
        for boxes in found:
            self.found += torch.bincount(boxes.above(FOUND_SCORE).groups, minlength=len(GROUPS))
        if source is not None:
            self._pairs = True
            for now, before in zip(found, source, strict=True):
                self._compare(now, before)

    def _compare(self, now: Boxes, before: Boxes) -> None:
        sure, new = before.above(FOUND_SCORE), now.above(FOUND_SCORE)
        self._source += len(sure.scores)
        self._kept += int(covered(sure, now.above(KEPT_SCORE), KEPT_IOU).sum())
        self._invented += int(invented(new, before).sum())

    def numbers(self) -> dict[str, float]:
        """Boxes per frame by group; `kept`, the share of source boxes kept; `invented` boxes per frame.

        `kept` is absent if the sources have no boxes.
        """
        means = (self.found / self.frames).tolist()
        numbers: dict[str, float] = dict(zip(GROUPS, cast(list[float], means), strict=True))
        if self._source:
            numbers["kept"] = self._kept / self._source
        if self._pairs:
            numbers["invented"] = self._invented / self.frames
        return numbers
