"""Flicker of a translated clip: the optical-flow warp error beyond the source's own.

Lai et al., "Learning Blind Video Temporal Consistency", ECCV 2018, section 5: warp the previous output onto
the current one along the optical flow of the *source*, and take the difference where the flow is valid.
"""

import numpy as np
from numpy.typing import NDArray

from gen.media.motion import Floats, Image, Motion, over_channels, reduced, warp


class FlickerMeter:
    """Measures one clip; call `update` for its frames in order. Keeps one output in memory.

    Outputs are reduced to the size of the motion, because no flow follows fine texture to the pixel, and its error
    would count as flicker.
    """

    def __init__(self) -> None:
        self.absolute, self.squared = np.zeros(3), np.zeros(3)
        """Of each error, sums over the pairs, as clips may be long: source, output, number of pairs."""
        self._previous: Image | None = None

    def update(self, motion: Motion, output: Image) -> None:
        """Add the next frame: the source's `Motion` up to it, and its translation, uint8 (H, W, 3), RGB."""
        previous = self._previous
        current = self.skip(motion, output)
        if previous is None or not motion.valid.any():  # the first frame of a clip or scene has none to compare with
            return
        changes = (motion.change, current - warp(previous, motion.flow))
        self.absolute += [*(warp_error(change, motion) for change in changes), 1]
        if (inside := inside_motion(motion)).any():
            self.squared += [*(e_warp(change, inside) for change in changes), 1]

    def skip(self, motion: Motion, output: Image) -> Image:
        """Only compare the frame after this one with it. Returns the output at the size of the motion."""
        self._previous = reduced(output, (motion.current.shape[1], motion.current.shape[0]))
        return self._previous

    def add(self, later: "FlickerMeter") -> None:
        """Add what was measured on another part of the clip."""
        self.absolute += later.absolute
        self.squared += later.squared

    @property
    def measured(self) -> bool:
        """Whether there was a pair of frames; a clip of one frame has none."""
        return bool(self.absolute[2])

    def result(self) -> dict[str, float]:
        """Mean absolute errors in grey levels (0 to 255) over all pairs of frames; zeros if there are none.

        `source_warp_error`: of the source (camera noise, flow errors, flashing lamps); `output_warp_error`: of the
        output along the same flow; `added_warp_error`: output minus source, the flicker that translation added.
        `source_e_warp`, `output_e_warp`: E_warp as the paper defines it, see `e_warp`.
        """
        source, output, _ = self.absolute / max(self.absolute[2], 1)
        source_e_warp, output_e_warp, _ = self.squared / max(self.squared[2], 1)
        return {
            "source_e_warp": float(source_e_warp),
            "output_e_warp": float(output_e_warp),
            "source_warp_error": float(source),
            "output_warp_error": float(output),
            "added_warp_error": float(output - source),
        }


def warp_error(change: Floats, motion: Motion) -> float:
    """Mean of |change| over the channels and the pixels with valid flow, in grey levels.

    `change`: (h, w, 3), current - warped previous.
    """
    return float(over_channels(np.abs(change))[motion.valid].mean()) / 3


def e_warp(change: Floats, inside: NDArray[np.bool_]) -> float:
    """E_warp of a pair: the mean of |current - warped previous|² over pixels, summed over channels in 0..1.

    `inside`: `inside_motion`. With the flow of `MotionFinder` and at its size, so compare it with other figures by this
    program alone.
    """
    return float(over_channels(np.square(change))[inside].mean()) / 255**2


def inside_motion(motion: Motion) -> NDArray[np.bool_]:
    """(h, w): pixels with valid flow w = (u, v), and not at the edges of moving things.

    Those are |∇u|² + |∇v|² > 0.01 |w|² + 0.002 (Ruder et al., "Artistic Style Transfer for Videos", GCPR 2016, as in
    Lai et al.).
    """
    down, right = np.gradient(motion.flow, axis=(0, 1))
    slopes = over_channels(np.square(down) + np.square(right))
    return motion.valid & (slopes <= 0.01 * over_channels(np.square(motion.flow)) + 0.002)
