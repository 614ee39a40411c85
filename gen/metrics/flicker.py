"""Flicker of a translated clip: the optical-flow warp error beyond the source's own.

Lai et al., "Learning Blind Video Temporal Consistency", ECCV 2018, section 5: warp the previous output onto
the current one along the optical flow of the *source*, and take the difference where the flow is valid.
"""

import numpy as np

from gen.media.motion import Image, Motion, reduced, warp


class FlickerMeter:
    """Measures one clip; call `update` for its frames in order. Keeps one output in memory.

    Outputs are reduced to the size of the motion, because no flow follows fine texture to the pixel, and its error
    would count as flicker.
    """

    def __init__(self) -> None:
        self.total = np.zeros(4)  # both errors of source and output; sums, because clips may be long
        self.pairs = 0
        self._previous: Image | None = None

    def update(self, motion: Motion, output: Image) -> None:
        """Add the next frame: the source's `Motion` up to it, and its translation, uint8 (H, W, 3), RGB."""
        current, previous = reduced(output, (motion.current.shape[1], motion.current.shape[0])), self._previous
        self._previous = current
        if previous is None or not motion.valid.any():  # the first frame of a clip or scene has none to compare with
            return
        pairs = ((motion.previous, motion.current), (previous, current))
        self.total += [error(*pair, motion) for error in (warp_error, e_warp) for pair in pairs]
        self.pairs += 1

    def result(self) -> dict[str, float]:
        """Mean absolute errors in grey levels (0 to 255) over all pairs of frames; zeros if there are none.

        `source_warp_error`: of the source (camera noise, flow errors, flashing lamps); `output_warp_error`: of the
        output along the same flow; `added_warp_error`: output minus source, the flicker that translation added.
        `source_e_warp`, `output_e_warp`: E_warp as the paper defines it, see `e_warp`.
        """
        source, output, source_e_warp, output_e_warp = self.total / max(self.pairs, 1)
        return {
            "source_e_warp": float(source_e_warp),
            "output_e_warp": float(output_e_warp),
            "source_warp_error": float(source),
            "output_warp_error": float(output),
            "added_warp_error": float(output - source),
        }


def warp_error(previous: Image, current: Image, motion: Motion) -> float:
    """Mean of |current - warped previous| over the channels and the pixels with valid flow, in grey levels."""
    return float(np.abs(current - warp(previous, motion.flow))[motion.valid].mean())


def e_warp(previous: Image, current: Image, motion: Motion) -> float:
    """E_warp of a pair: the mean of |current - warped previous|² over pixels, summed over channels in 0..1.

    Over pixels with valid flow that are not at the edges of moving things, |∇u|² + |∇v|² > 0.01 |w|² + 0.002 of the
    flow w = (u, v) (Ruder et al., "Artistic Style Transfer for Videos", GCPR 2016, as in Lai et al.). 0 if there are
    none. With the flow of `MotionFinder` and at its size, so compare it with other figures by this program alone.
    """
    flow = motion.flow
    slopes = sum(np.square(np.gradient(flow[..., i])).sum(0) for i in (0, 1))
    inside = motion.valid & (slopes <= 0.01 * np.square(flow).sum(-1) + 0.002)
    if not inside.any():
        return 0.0
    return float(np.square((current - warp(previous, flow))[inside] / 255).sum(-1).mean())
