"""Motion between the frames of a clip, and a filter that keeps what is added to them steady along it."""

from collections.abc import Callable
from typing import NamedTuple, cast

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]

AGREES = 8.0
"""Grey levels by which a place may differ from the last frame and still count as the same place."""


class Motion(NamedTuple):
    """From one frame of a clip to the frame before, both reduced to (h, w)."""

    now: Image
    """(h, w, 3), RGB."""
    past: Image
    """The frame before; of the first frame, the same again."""
    flow: Floats
    """(h, w, 2), pixels: what is at x now was at x + flow(x)."""
    seen: NDArray[np.bool_]
    """(h, w): where the flow can be trusted; nowhere for a first frame and behind a cut."""


FlowMethod = Callable[[MatLike, MatLike], Floats]
"""Two grey pictures (h, w) -> where each pixel of the first lies in the second, relative to it: (h, w, 2) pixels."""


def dense_inverse_search(first: MatLike, second: MatLike) -> Floats:
    """Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016."""
    method = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return cast(Floats, method.calc(first, second, cast(Floats, None)))


def farneback(first: MatLike, second: MatLike) -> Floats:
    """Farnebäck, "Two-Frame Motion Estimation Based on Polynomial Expansion", SCIA 2003."""
    return cast(Floats, cv2.calcOpticalFlowFarneback(first, second, cast(Floats, None), 0.5, 4, 15, 3, 5, 1.2, 0))


class MotionFinder:
    """Feed it the frames of one clip in order; it holds one of them.

    Frames are reduced to at most `width` pixels across (area average), where the flow is cheap.
    """

    def __init__(self, width: int = 320, flow: FlowMethod = dense_inverse_search) -> None:
        self.width, self.flow = width, flow
        self._past: Image | None = None

    def update(self, frame: Image) -> Motion:
        """The next frame, uint8 (H, W, 3), RGB. `ValueError` if the size changes."""
        now, past = reduced(frame, self._size(frame)), self._past
        self._past = now
        if past is None:
            return Motion(now, now, np.zeros((*now.shape[:2], 2), np.float32), np.zeros(now.shape[:2], bool))
        if past.shape != now.shape:
            raise ValueError(f"a clip has one frame size: {now.shape} after {past.shape}")
        before, after = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (past, now))
        backward, forward = self.flow(after, before), self.flow(before, after)
        return Motion(now, past, backward, visible(backward, forward))

    def _size(self, frame: Image) -> tuple[int, int]:
        """(width, height) to work at. DIS needs a few patches of 8 pixels: at least 32 on a side."""
        height, width = frame.shape[:2]
        scale = min(1.0, self.width / width)
        return max(32, round(width * scale)), max(32, round(height * scale))


class Steadier:
    """Takes the flicker out of a translated clip; feed it the frames in order, one `Steadier` a scene.

    What translation adds to a frame, d = output - source, follows what it added to the frame before, moved along the
    flow of the source: s = d + k (warp(s of the frame before) - d), with k = `share` where source and flow agree, less
    where they do not. Only the reduced pictures are filtered, so that fine texture stays each frame's own. In the
    manner of Bonneel et al., "Blind Video Temporal Consistency", SIGGRAPH Asia 2015.
    """

    def __init__(self, share: float) -> None:
        """`share` in [0, 1) of the last frame's change that a frame keeps; 0 leaves every frame as it is."""
        self.share = share
        self._past: Floats | None = None

    def update(self, motion: Motion, output: Image) -> Image:
        """The translation uint8 (H, W, 3) of the frame that `motion` ends in -> the same, steadied."""
        small = reduced(output, (motion.now.shape[1], motion.now.shape[0]))
        change = small.astype(np.float32) - motion.now.astype(np.float32)
        if self._past is None or self.share == 0:
            self._past = change
            return output
        kept = self.share * agreement(motion)[..., None]
        steady = (change + kept * (warp(self._past, motion.flow) - change)).astype(np.float32)
        self._past = steady
        correction = cv2.resize(steady - change, (output.shape[1], output.shape[0]), interpolation=cv2.INTER_LINEAR)
        return np.rint(output + correction).clip(0, 255).astype(np.uint8)


def agreement(motion: Motion) -> Floats:
    """(h, w), 0 to 1: how sure it is that a place is the one that the flow leads to."""
    apart = np.abs(motion.now - warp(motion.past, motion.flow)).mean(-1)
    return np.exp(-np.square(apart / np.float32(AGREES)), dtype=np.float32) * motion.seen.astype(np.float32)


def warp(image: NDArray[np.generic], flow: Floats) -> Floats:
    """`image` (H, W, C) looked up at x + flow(x), bilinear, border repeated; `flow` (H, W, 2) in pixels."""
    height, width = flow.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    floats = image.astype(np.float32)
    looked_up = cv2.remap(floats, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return cast(Floats, looked_up)


def visible(backward: Floats, forward: Floats) -> NDArray[np.bool_]:
    """(H, W): where the flow present -> past, followed by past -> present, comes back to where it started.

    |b + f(x + b)|² <= 0.01 (|b|² + |f|²) + 0.5 (Sundaram et al., ECCV 2010) and x + b inside the picture.
    """
    height, width = backward.shape[:2]
    there = warp(forward, backward)
    apart = np.square(backward + there).sum(-1)
    bound = 0.01 * (np.square(backward).sum(-1) + np.square(there).sum(-1)) + 0.5
    x = np.arange(width)[None] + backward[..., 0]
    y = np.arange(height)[:, None] + backward[..., 1]
    return (apart <= bound) & (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)


def reduced(frame: Image, size: tuple[int, int]) -> Image:
    """`frame` (H, W, 3) at `size` (width, height), by area average."""
    return cast(Image, cv2.resize(frame, size, interpolation=cv2.INTER_AREA))
