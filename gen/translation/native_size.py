"""Frames at the size that a network runs at, and the way back to their own size."""

from torch import Tensor

from gen.media.resize import (
    resize,
    shrink_by_rows,
    shrink_in_bands,
    to_float,
    to_uint8,
    transfer_change,
    transfer_change_by_opencv,
    transfer_change_in_bands,
)

LARGE = 25_000_000
"""Pixels above which a picture gets no float copy at native size, which takes 12 bytes a pixel several times over."""


class Resized:
    """Frames at another size. What a network changes there is carried to the frames at their own size."""

    def __init__(self, frames: Tensor, size: tuple[int, int]) -> None:
        """`frames`: uint8 (B, H, W, 3), on the network's device; `size`: (h, w) that the network runs at."""
        height, width = frames.shape[1], frames.shape[2]
        smaller = size[0] < height and size[1] < width
        large, by_rows = smaller and height * width > LARGE, smaller and frames.device.type == "cpu"
        self.frames, self.large = frames, large
        # Rows of RGB pixels are the channels-last layout already.
        self.native = None if large or by_rows else to_float(frames.permute(0, 3, 1, 2))
        """(B, 3, H, W) in [-1, 1]; None where the change is carried without it."""
        if self.native is None:
            self.small = shrink_in_bands(frames, size) if large else shrink_by_rows(frames, size)
            """(B, 3, h, w) in [-1, 1]: what the network takes."""
        else:
            self.small = resize(self.native, size)

    def back(self, translated: Tensor) -> Tensor:
        """The translation (B, 3, h, w) of `small` -> uint8 (B, H, W, 3) on the CPU."""
        if self.native is None:
            transfer = transfer_change_in_bands if self.large else transfer_change_by_opencv
            return transfer(self.frames, self.small, translated).cpu()
        if self.small.shape != self.native.shape:
            translated = transfer_change(self.native, self.small, translated)
        return to_uint8(translated).permute(0, 2, 3, 1).contiguous().cpu()
