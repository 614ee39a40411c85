"""Flicker of a translated clip: the optical-flow warp error beyond the source's own.

Lai et al., "Learning Blind Video Temporal Consistency", ECCV 2018, section 5: warp the previous output onto
the present one along the flow of the *source* and take the difference where the flow can be trusted.
"""

from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]


class FlickerMeter:
    """Feed it the frames of one clip in order, source and output; it holds one frame of each.

    Frames are reduced to at most `width` pixels across (area average), where the flow is cheap and fine
    texture, which no flow follows to the pixel, does not count as flicker.
    """

    def __init__(self, width: int = 320) -> None:
        self.width = width
        self.total = np.zeros(2)  # of source and output; a sum, because clips may be long
        self.pairs = 0
        self._past: tuple[Image, Image] | None = None
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def update(self, source: Image, output: Image) -> None:
        """The next frame: `source` and `output` uint8 (H, W, 3), RGB. `ValueError` if the size changes."""
        size = self._size(source)
        now = (_reduce(source, size), _reduce(output, size))
        if self._past is not None:
            if self._past[0].shape != now[0].shape:
                raise ValueError(f"a clip has one frame size: {now[0].shape} after {self._past[0].shape}")
            self._compare(self._past, now)
        self._past = now

    def result(self) -> dict[str, float]:
        """Mean absolute errors, grey levels (0 to 255), over all pairs of frames; zeros if there is no pair.

        `source_warp_error`: of the source (camera noise, flow errors, lamps that flash); `output_warp_error`:
        of the output, along the same flow; `added_warp_error`: output minus source, what translation added.
        """
        source, output = self.total / max(self.pairs, 1)
        return {
            "source_warp_error": float(source),
            "output_warp_error": float(output),
            "added_warp_error": float(output - source),
        }

    def _size(self, frame: Image) -> tuple[int, int]:
        """(width, height) to work at. DIS needs a few patches of 8 pixels: at least 32 on a side."""
        height, width = frame.shape[:2]
        scale = min(1.0, self.width / width)
        return max(32, round(width * scale)), max(32, round(height * scale))

    def _compare(self, past: tuple[Image, Image], now: tuple[Image, Image]) -> None:
        before, after = (cv2.cvtColor(frames[0], cv2.COLOR_RGB2GRAY) for frames in (past, now))
        no_start = cast(Floats, None)
        backward = cast(Floats, self._flow.calc(after, before, no_start))
        forward = cast(Floats, self._flow.calc(before, after, no_start))
        seen = visible(backward, forward)
        if not seen.any():  # a cut: nothing of the last frame is left to compare with
            return
        self.total += [warp_error(p, n, backward, seen) for p, n in zip(past, now, strict=True)]
        self.pairs += 1


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


def warp_error(past: Image, now: Image, backward: Floats, seen: NDArray[np.bool_]) -> float:
    """Mean over `seen` pixels and channels of |now - past warped onto now|, in grey levels."""
    return float(np.abs(now.astype(np.float32) - warp(past, backward))[seen].mean())


def _reduce(frame: Image, size: tuple[int, int]) -> Image:
    return cast(Image, cv2.resize(frame, size, interpolation=cv2.INTER_AREA))
