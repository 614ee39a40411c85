"""Optical flow between the frames of a clip, and a filter along it that removes flicker from a translation."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import cast

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]

AGREEMENT_SCALE = 8.0
"""Grey levels of difference along the flow at which `agreement` falls to 1/e: above noise, below most object edges."""


@dataclass(frozen=True, eq=False)
class Motion:
    """Motion from one frame of a clip to the previous one, both reduced to (h, w)."""

    current: Image
    """(h, w, 3), RGB."""
    previous: Image
    """The previous frame; for the first frame, that frame itself."""
    flow: Floats
    """(h, w, 2), pixels: the point at x in `current` is at x + flow(x) in `previous`."""
    valid: NDArray[np.bool_]
    """(h, w): where the flow is reliable (see `consistent`); False everywhere for a first frame."""

    @cached_property
    def change(self) -> Floats:
        """(h, w, 3): what is new in `current`, against `previous` warped onto it."""
        return self.current - warp(self.previous, self.flow)


FlowMethod = Callable[[MatLike, MatLike], Floats]
"""Two grey images (h, w) -> the displacement of each pixel of the first to its position in the second, (h, w, 2)."""


def dense_inverse_search(first: MatLike, second: MatLike) -> Floats:
    """Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016."""
    method = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return cast(Floats, method.calc(first, second, cast(Floats, None)))


def farneback(first: MatLike, second: MatLike) -> Floats:
    """Farnebäck, "Two-Frame Motion Estimation Based on Polynomial Expansion", SCIA 2003."""
    return cast(Floats, cv2.calcOpticalFlowFarneback(first, second, cast(Floats, None), 0.5, 4, 15, 3, 5, 1.2, 0))


class MotionFinder:
    """Optical flow of one clip; call `update`, or `pair`, for its frames in order. Keeps one frame in memory.

    Frames are first reduced to at most `width` pixels across (area average), to make the flow cheap.
    """

    def __init__(self, width: int = 320, flow: FlowMethod = dense_inverse_search) -> None:
        self.width, self.flow = width, flow
        self._previous: Image | None = None

    def update(self, frame: Image) -> Motion:
        """The motion from the next frame, uint8 (H, W, 3), RGB, to the one before. `ValueError` if the size changes."""
        return self.pair(frame)()

    def pair(self, frame: Image) -> Callable[[], Motion]:
        """As `update`, but returns the work as a function, which may run later and in any thread."""
        current, previous = reduced(frame, self._size(frame)), self._previous
        self._previous = current
        if previous is not None and previous.shape != current.shape:
            raise ValueError(f"all frames of a clip must have one size: {current.shape} after {previous.shape}")
        return partial(motion_between, previous, current, self.flow)

    def _size(self, frame: Image) -> tuple[int, int]:
        """(width, height) of the reduced frame. At least 32 each: DIS needs a few patches of 8 pixels."""
        height, width = frame.shape[:2]
        scale = min(1.0, self.width / width)
        return max(32, round(width * scale)), max(32, round(height * scale))


def motion_between(previous: Image | None, current: Image, flow: FlowMethod) -> Motion:
    """The motion of a pair of reduced frames; none is valid if there is no previous one."""
    if previous is None:
        size = current.shape[:2]
        return Motion(current, current, np.zeros((*size, 2), np.float32), np.zeros(size, bool))
    before, after = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (previous, current))
    backward, forward = flow(after, before), flow(before, after)
    return Motion(current, previous, backward, consistent(backward, forward))


class FlickerFilter:
    """Removes flicker from a translated clip; call `update` for the frames in order. Use a new one for each scene.

    A recursive filter of the change d = output - source along the source's optical flow:
    s = d + k (warp(s of the previous frame) - d), with k = `share` where source and flow agree and less where they do
    not (`agreement`). Only reduced images are filtered, so each frame keeps its own fine texture. Similar to Bonneel et
    al., "Blind Video Temporal Consistency", SIGGRAPH Asia 2015.
    """

    def __init__(self, share: float) -> None:
        """`share` in [0, 1): weight of the previous frame's change; 0 leaves every frame as it is."""
        self.share = share
        self._previous: Floats | None = None

    def update(self, motion: Motion, output: Image) -> Image:
        """Filter `output`, the translation uint8 (H, W, 3) of the frame `motion.current`."""
        small = reduced(output, (motion.current.shape[1], motion.current.shape[0]))
        change = small.astype(np.float32) - motion.current.astype(np.float32)
        if self._previous is None or self.share == 0:
            self._previous = change
            return output
        weight = self.share * agreement(motion)[..., None]
        steady = (change + weight * (warp(self._previous, motion.flow) - change)).astype(np.float32)
        self._previous = steady
        # Only the correction is enlarged and added, never the reduced image itself.
        correction = cv2.resize(steady - change, (output.shape[1], output.shape[0]), interpolation=cv2.INTER_LINEAR)
        return cast(Image, cv2.add(output, correction, dtype=cv2.CV_8U))  # rounded, 0 to 255


def agreement(motion: Motion) -> Floats:
    """(h, w), 0 to 1: confidence that each pixel and the one that the flow leads to show the same point."""
    difference = over_channels(np.abs(motion.change)) / np.float32(3 * AGREEMENT_SCALE)
    return np.exp(-np.square(difference)) * motion.valid


def warp(image: NDArray[np.generic], flow: Floats) -> Floats:
    """Sample `image` (H, W, C) at x + flow(x), bilinear, with the border repeated; `flow` (H, W, 2) in pixels."""
    place, none = _places(*flow.shape[:2]) + flow, cast(Floats, None)
    looked_up = cv2.remap(image.astype(np.float32), place, none, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return cast(Floats, looked_up)


@lru_cache(maxsize=4)
def _places(height: int, width: int) -> Floats:
    """(H, W, 2): x and y of each pixel."""
    return np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float32)


def over_channels(values: Floats) -> Floats:
    """(H, W, C) -> their sums (H, W). numpy's own sum over a short last axis takes several times as long."""
    return cast(Floats, sum(values[..., channel] for channel in range(values.shape[-1])))


def consistent(backward: Floats, forward: Floats) -> NDArray[np.bool_]:
    """(H, W): where the flow current -> previous followed by previous -> current returns to its start.

    |b + f(x + b)|² <= 0.01 (|b|² + |f|²) + 0.5 (Sundaram et al., ECCV 2010) and x + b inside the image.
    """
    height, width = backward.shape[:2]
    returned = warp(forward, backward)
    error = over_channels(np.square(backward + returned))
    bound = 0.01 * over_channels(np.square(backward) + np.square(returned)) + 0.5
    x, y = np.moveaxis(_places(height, width) + backward, -1, 0)
    return (error <= bound) & (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)


def reduced(frame: Image, size: tuple[int, int]) -> Image:
    """Resize `frame` (H, W, 3) to `size` (width, height) by area average."""
    return cast(Image, cv2.resize(frame, size, interpolation=cv2.INTER_AREA))
