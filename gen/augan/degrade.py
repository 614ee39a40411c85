"""Degrade a clean frame like a real camera: underexposure, noise, blur, crushed blacks and JPEG compression.

The order is that of a camera: exposure, noise of photons and electronics, gain, smoothing (of colour more than of
brightness), tone curve, compression.

Images are float RGB tensors (3, H, W) in [0, 1]: `linear` ones are proportional to light, the others are sRGB.
"""

from dataclasses import dataclass
from io import BytesIO
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from kornia.color import linear_rgb_to_rgb, rgb_to_linear_rgb, rgb_to_ycbcr, ycbcr_to_rgb
from kornia.filters import gaussian_blur2d
from PIL import Image
from torch import Tensor

from gen.media.resize import to_float, to_uint8


@dataclass(frozen=True)
class Degradation:
    """Parameters of the degradation of one frame; `draw` samples them."""

    stops: float
    """Underexposure: 2^-stops of the light falls on the sensor; 0: as rendered."""
    gain: float
    """Share of the missing stops that the camera's gain restores, 0..1; it amplifies the noise too."""
    shot: float
    """Photon noise: variance per unit of linear light, full scale 1."""
    read: float
    """Read noise: standard deviation, linear, full scale 1."""
    blur: float
    """Blur by lens and noise reduction: standard deviation in pixels."""
    chroma_blur: float
    """Additional blur of the colour differences: standard deviation in pixels."""
    black: float
    """Grey level below which the tone curve crushes blacks."""
    floor: float
    """Grey level to which `black` is mapped; values below end in 0..floor."""
    quality: int
    """JPEG quality, 1 to 100."""

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Self:
        """Sample parameters. The ranges make rendered nights match the brightness and noise of dash-cam nights."""
        return cls(
            stops=rng.uniform(0, 3),
            gain=rng.uniform(0, 0.8),
            shot=log_uniform(rng, 1e-5, 1e-3),
            read=log_uniform(rng, 3e-5, 1e-3),
            blur=rng.uniform(0, 0.8),
            chroma_blur=rng.uniform(0, 3),
            black=rng.uniform(0, 40),
            floor=rng.uniform(0, 8),
            quality=int(rng.integers(40, 96)),
        )


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Sample a number in [low, high] with uniformly distributed logarithm."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def degrade(image: Tensor, how: Degradation, seed: int) -> Tensor:
    """Degrade a frame (3, H, W) in [-1, 1]; the noise is a function of `seed`."""
    light = rgb_to_linear_rgb((image + 1) / 2) * 2**-how.stops
    light = sensor_noise(light, how.shot, how.read, seed) * 2 ** (how.gain * how.stops)
    picture = smooth(linear_rgb_to_rgb(light.clamp(0, 1)), how.blur, how.chroma_blur)
    picture = crush_blacks(picture, how.black / 255, how.floor / 255)
    return compress(picture * 2 - 1, how.quality)


def degrade_at_random(image: Tensor, seed: int, spared: float) -> Tensor:
    """`degrade` with parameters drawn from `seed`; for a share `spared` of the seeds, return the frame unchanged."""
    rng = np.random.default_rng((seed, 7))  # 7: a stream of its own, independent of other uses of the seed
    return image if rng.random() < spared else degrade(image, Degradation.draw(rng), seed)


def sensor_noise(linear: Tensor, shot: float, read: float, seed: int) -> Tensor:
    """Add independent normal noise of variance shot x + read^2 to each value x of linear light.

    The Poissonian-Gaussian model of Foi et al., "Practical Poissonian-Gaussian noise modeling and fitting for
    single-image raw-data", IEEE TIP 17 (2008). Not clamped: real sensors give negative values too.
    """
    noise = torch.randn(linear.shape, generator=torch.Generator().manual_seed(seed)).to(linear)
    return linear + noise * (shot * linear.clamp_min(0) + read**2).sqrt()


def smooth(image: Tensor, blur: float, chroma_blur: float) -> Tensor:
    """Blur sRGB by `blur` pixels, and its colour differences (Rec. 601) additionally by `chroma_blur` pixels."""
    y, colour = rgb_to_ycbcr(gaussian(image, blur)).split([1, 2])
    return ycbcr_to_rgb(torch.cat([y, gaussian(colour, chroma_blur)])).clamp(0, 1)


def gaussian(image: Tensor, sigma: float) -> Tensor:
    """Blur (C, H, W) with a Gaussian of standard deviation `sigma` in pixels."""
    if sigma < 0.1:  # no visible effect: less than 1/200 of a pixel's light reaches its neighbours
        return image
    size = 2 * int(np.ceil(3 * sigma)) + 1  # covers 99.7 % of the Gaussian
    return gaussian_blur2d(image[None], (size, size), (sigma, sigma), border_type="replicate")[0]


def broad_gaussian(image: Tensor, sigma: float) -> Tensor:
    """Approximate `gaussian` for a `sigma` of many pixels: blur at a quarter of the size, which is far cheaper."""
    small = gaussian(F.avg_pool2d(image, 4, ceil_mode=True), sigma / 4)
    return F.interpolate(small[None], image.shape[-2:], mode="bilinear", align_corners=False)[0]


def crush_blacks(image: Tensor, black: float, floor: float) -> Tensor:
    """Apply the piecewise linear tone curve through (0, 0), (black, min(floor, black)) and (1, 1) to [0, 1]."""
    if black == 0:
        return image
    floor = min(floor, black)
    above = floor + (image - black) * ((1 - floor) / (1 - black))
    return torch.where(image < black, image * (floor / black), above)


def compress(image: Tensor, quality: int) -> Tensor:
    """Compress a frame (3, H, W) in [-1, 1] as JPEG with 4:2:0 chroma, as cameras do, and decode it."""
    buffer = BytesIO()
    pixels = to_uint8(image[None])[0].permute(1, 2, 0).cpu().numpy()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
    decoded = torch.from_numpy(np.array(Image.open(buffer)))
    return to_float(decoded.permute(2, 0, 1)).to(image.device)
