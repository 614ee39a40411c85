"""Conversion between images (uint8) and network tensors (float, [-1, 1]), and resizing."""

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from kornia.filters import box_blur
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from gen.tensors import constant

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in BT.601 luma."""

WINDOW = 7
"""Side in small pixels of the guided filter's window: enough pixels (49) for a stable fit of two coefficients."""

EDGE_VARIANCE = 1e-3
"""The guided filter's epsilon: variance of luma (range [-1, 1]) above which a window counts as an edge. 1e-3 is a
standard deviation of 4 grey levels, above typical sensor noise."""

CACHED_ROWS = 8
"""Rows that OpenCV's way carries the change to at once."""

BAND_ROWS = 256
"""Rows that are converted at once in pictures that are too large for float copies of the whole."""


def to_chw(pixels: NDArray[np.uint8]) -> Tensor:
    """A picture (H, W, 3) -> tensor (3, H, W); both share their memory."""
    return torch.from_numpy(pixels).permute(2, 0, 1)


def to_picture(image: Tensor) -> Image.Image:
    """uint8 (3, H, W) -> Pillow's image."""
    return Image.fromarray(image.permute(1, 2, 0).cpu().numpy())


def to_float(images: Tensor) -> Tensor:
    """uint8 (B, 3, H, W) in 0..255 -> float32 in [-1, 1]."""
    return images.float().div_(127.5).sub_(1.0)


def to_uint8(images: Tensor) -> Tensor:
    """Float (B, 3, H, W) in [-1, 1] -> uint8 in 0..255, rounded and clamped."""
    return images.float().add(1.0).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)


def pad_to_multiple(images: Tensor, multiple: int) -> Tensor:
    """Pad (B, C, H, W) at the bottom and right so that both sides are multiples of `multiple`.

    By reflection if the image is large enough, else by repeating the last row and column. The inverse is
    `images[..., :H, :W]`.
    """
    height, width = images.shape[-2:]
    pad = (0, -width % multiple, 0, -height % multiple)
    if not any(pad):
        return images
    mode = "reflect" if pad[1] < width and pad[3] < height else "replicate"
    return F.pad(images, pad, mode=mode)


def resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, C, H, W) -> (B, C, *size), bilinear, antialiased for smaller sizes."""
    if tuple(images.shape[-2:]) == tuple(size):
        return images
    return _antialiased(images, size)


def _antialiased(images: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(images, size=size, mode="bilinear", antialias=True, align_corners=False)


def _enlarge(images: Tensor, size: tuple[int, int]) -> Tensor:
    """`resize`. Without the antialiasing, which does nothing for larger sizes, it takes a third of the time."""
    if images.shape[2] > size[0] or images.shape[3] > size[1]:
        return resize(images, size)
    return F.interpolate(images, size=size, mode="bilinear")


def transfer_change(native: Tensor, small: Tensor, translated: Tensor) -> Tensor:
    """Upsample a translation made at a small size to the size of `native`, along the edges of `native`.

    A fast guided filter (He and Sun 2015, arXiv 1505.00996). Around each small pixel, the change `translated - small`
    (B, 3, h, w) is fitted as a linear function of the frame's luma. Slopes, offsets and the residual of the fit, which
    is detail that the translation added or removed, are enlarged, and the slopes are applied to the luma of `native`
    (B, 3, H, W). So the native frame keeps its fine detail, and the change follows its edges rather than the small
    grid; at equal sizes the result is the translation. (kornia's `guided_blur` needs the change at native size, where
    enlarging has already blurred its edges.) Returns (B, 3, H, W) in [-1, 1].
    """
    size = (native.shape[2], native.shape[3])
    slope, rest = (_enlarge(x, size) for x in _fit_change(small, translated))
    return _apply_change(native, slope, rest)


def _fit_change(small: Tensor, translated: Tensor) -> tuple[Tensor, Tensor]:
    """Slope (B, 3, h, w) of the change as a function of luma, and the rest of the change: offset and residual."""
    guide, change = luma(small), translated - small
    means = _window_mean(torch.cat([guide, change, guide * change, guide * guide], dim=1))
    guide_mean, change_mean, product_mean, square_mean = means.split([1, 3, 3, 1], dim=1)
    covariance = product_mean - guide_mean * change_mean
    variance = square_mean - guide_mean * guide_mean
    # As in the guided filter, each pixel takes the mean of all windows that contain it. The offset need not be known:
    # it is enlarged like the residual, and both together are the change without the slope's part.
    slope = _window_mean(covariance / (variance + EDGE_VARIANCE))
    return slope, change - slope * guide


def _apply_change(native: Tensor, slope: Tensor, rest: Tensor) -> Tensor:
    changed = torch.addcmul(rest, slope, luma(native))
    return changed.add_(native).clamp_(-1, 1)


def shrink_in_bands(frames: Tensor, size: tuple[int, int]) -> Tensor:
    """uint8 (B, H, W, 3) -> float (B, 3, *size) in [-1, 1]: `resize(to_float(...))` without a float copy of the frames.

    The width of some rows at a time, then the height: the filter is separable.
    """
    rows = range(0, frames.shape[1], BAND_ROWS)
    bands = (to_float(frames[:, row : row + BAND_ROWS].permute(0, 3, 1, 2)) for row in rows)
    narrow = torch.cat([resize(band, (band.shape[2], size[1])) for band in bands], dim=2)
    return resize(narrow, size)


def shrink_by_rows(frames: Tensor, size: tuple[int, int]) -> Tensor:
    """uint8 (B, H, W, 3) -> float (B, 3, *size) in [-1, 1]: `resize(to_float(...))` in half of the time on a CPU.

    The height first, with rows as they lie in memory: all their numbers go through the filter in the same way.
    """
    count, height, width, _ = frames.shape
    rows = _antialiased(frames.reshape(count, 1, height, 3 * width).float(), (size[0], 3 * width))
    return to_float(resize(rows.view(count, size[0], width, 3).permute(0, 3, 1, 2), size))


def transfer_change_by_opencv(frames: Tensor, small: Tensor, translated: Tensor) -> Tensor:
    """uint8 (B, H, W, 3) -> uint8 of the same shape, on a CPU: `to_uint8(transfer_change(...))` in half of the time.

    A pixel may differ by one, where it lies between two grey levels. For sizes of at least those of `small`.
    """
    height, width = frames.shape[1:3]
    out = torch.empty_like(frames)
    for frame, slope, rest, result in zip(frames.numpy(), *_fit_change(small, translated), out.numpy(), strict=True):
        slope, rest = to_pixels(slope), 127.5 * to_pixels(rest - slope)  # of luma in 0..255
        slope, rest = (cv2.resize(x, (width, height), interpolation=cv2.INTER_LINEAR) for x in (slope, rest))
        for row in range(0, height, CACHED_ROWS):  # so few at a time stay in the cache
            rows = slice(row, row + CACHED_ROWS)
            grey = cv2.cvtColor(frame[rows].astype(np.float32), cv2.COLOR_RGB2GRAY)
            change = cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB)
            change *= slope[rows]
            change += rest[rows]
            cv2.add(frame[rows], change, result[rows], dtype=cv2.CV_8U)  # rounded, 0 to 255
    return out


def to_pixels(image: Tensor) -> NDArray[np.float32]:
    """Floats (C, H, W) -> (H, W, C) in one piece of memory."""
    return np.ascontiguousarray(image.permute(1, 2, 0).numpy())


def transfer_change_in_bands(frames: Tensor, small: Tensor, translated: Tensor) -> Tensor:
    """uint8 (B, H, W, 3) -> uint8 of the same shape: `to_uint8(transfer_change(...))`, some rows at a time."""
    height, width = frames.shape[1:3]
    fitted = _fit_change(small, translated)
    wide = [_enlarge(x, (x.shape[2], width)) for x in fitted]
    out = torch.empty_like(frames)
    for row in range(0, height, BAND_ROWS):
        band = to_float(frames[:, row : row + BAND_ROWS].permute(0, 3, 1, 2))
        slope, rest = (_rows_of(x, height, row, band.shape[2]) for x in wide)
        out[:, row : row + BAND_ROWS] = to_uint8(_apply_change(band, slope, rest)).permute(0, 2, 3, 1)
    return out


def _rows_of(images: Tensor, height: int, first: int, count: int) -> Tensor:
    """`count` rows from `first` on of (B, C, h, W) enlarged bilinearly to `height` rows."""
    rows = images.shape[2]
    place = torch.arange(first, first + count, device=images.device, dtype=torch.float64)
    place = ((place + 0.5) * (rows / height) - 0.5).clamp(0, rows - 1)
    above = place.floor().long()
    below = (above + 1).clamp(max=rows - 1)
    weight = (place - above).float()[:, None]
    return torch.lerp(images[:, :, above], images[:, :, below], weight)


def luma(images: Tensor) -> Tensor:
    """Floats (B, 3, H, W) -> BT.601 luma (B, 1, H, W), in the range of the input."""
    return (images * constant(LUMA, images).view(1, 3, 1, 1)).sum(1, keepdim=True)


def _window_mean(images: Tensor) -> Tensor:
    return box_blur(images, (WINDOW, WINDOW), border_type="replicate")
