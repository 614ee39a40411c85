"""Flicker of a translated clip: the optical-flow warp error beyond the source's own.

Lai et al., "Learning Blind Video Temporal Consistency", ECCV 2018, section 5: warp the previous output onto
the present one along the flow of the *source* and take the difference where the flow can be trusted.
"""

import numpy as np

from gen.media.motion import Image, Motion, reduced, warp


class FlickerMeter:
    """Feed it the frames of one clip in order, motion of the source and output; it holds one output.

    Outputs are reduced to the size of the motion: fine texture, which no flow follows to the pixel, is no flicker.
    """

    def __init__(self) -> None:
        self.total = np.zeros(2)  # of source and output; a sum, because clips may be long
        self.pairs = 0
        self._past: Image | None = None

    def update(self, motion: Motion, output: Image) -> None:
        """The next frame: the `Motion` that leads to it in the source, and its translation uint8 (H, W, 3), RGB."""
        now, past = reduced(output, (motion.now.shape[1], motion.now.shape[0])), self._past
        self._past = now
        if past is None or not motion.seen.any():  # after a cut, nothing of the last frame is left to compare with
            return
        self.total += [warp_error(motion.past, motion.now, motion), warp_error(past, now, motion)]
        self.pairs += 1

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


def warp_error(past: Image, now: Image, motion: Motion) -> float:
    """Mean over the pixels that can be trusted, and channels, of |now - past warped onto now|, in grey levels."""
    return float(np.abs(now - warp(past, motion.flow))[motion.seen].mean())
