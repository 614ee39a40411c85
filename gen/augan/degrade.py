"""Make a rendered frame as poor as a real camera's: dim, noisy, with crushed blacks, blurred and compressed.

In the order of a camera: light falls on the sensor (exposure), photons and electronics add noise, gain makes it
brighter, the processor smooths (colour more than brightness), the tone curve crushes the blacks, JPEG compresses.
Images are float tensors (3, H, W), RGB; `linear` ones are proportional to light in [0, 1], the others sRGB in [0, 1].
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
    """What is done to one frame; `draw` makes one at random."""

    stops: float
    """Light that is missing: 2^-stops of it falls on the sensor. 0: as rendered."""
    gain: float
    """Share of the missing stops that the camera's amplifier gives back, 0..1, with the noise."""
    shot: float
    """Variance of the photon noise per unit of linear light, full scale 1."""
    read: float
    """Standard deviation of the noise of the electronics, linear, full scale 1."""
    blur: float
    """Standard deviation of the blur of lens and noise reduction, pixels."""
    chroma_blur: float
    """Standard deviation of the blur of the colour differences alone, pixels."""
    black: float
    """Grey level below which the tone curve crushes."""
    floor: float
    """Grey level that `black` falls to: what was below ends in 0..floor."""
    quality: int
    """Of the JPEG compression, 1 to 100."""

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Self:
        """Ranges chosen so that rendered nights come to lie over the brightness and the noise of dash-cam nights."""
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
    """A number between these two whose logarithm is uniform."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def degrade(image: Tensor, how: Degradation, seed: int) -> Tensor:
    """Frame (3, H, W) in [-1, 1] -> the same, degraded; the noise is a function of `seed` alone."""
    light = rgb_to_linear_rgb((image + 1) / 2) * 2**-how.stops
    light = sensor_noise(light, how.shot, how.read, seed) * 2 ** (how.gain * how.stops)
    picture = smooth(linear_rgb_to_rgb(light.clamp(0, 1)), how.blur, how.chroma_blur)
    picture = crush_blacks(picture, how.black / 255, how.floor / 255)
    return compress(picture * 2 - 1, how.quality)


def degrade_at_random(image: Tensor, seed: int, spared: float) -> Tensor:
    """`degrade` by a `Degradation` drawn from `seed`; the share `spared` of the seeds leaves the frame as it is."""
    rng = np.random.default_rng((seed, 7))
    return image if rng.random() < spared else degrade(image, Degradation.draw(rng), seed)


def sensor_noise(linear: Tensor, shot: float, read: float, seed: int) -> Tensor:
    """Linear light + n, n normal with variance shot x + read^2, in each pixel and channel by itself.

    The Poissonian-Gaussian model of Foi et al., "Practical Poissonian-Gaussian noise modeling and fitting for
    single-image raw-data", IEEE TIP 17 (2008). Not clamped: negative values are the sensor's.
    """
    noise = torch.randn(linear.shape, generator=torch.Generator().manual_seed(seed)).to(linear)
    return linear + noise * (shot * linear.clamp_min(0) + read**2).sqrt()


def smooth(image: Tensor, blur: float, chroma_blur: float) -> Tensor:
    """sRGB -> blurred by `blur` pixels, the colour differences (Rec. 601) by `chroma_blur` pixels more."""
    y, colour = rgb_to_ycbcr(gaussian(image, blur)).split([1, 2])
    return ycbcr_to_rgb(torch.cat([y, gaussian(colour, chroma_blur)])).clamp(0, 1)


def gaussian(image: Tensor, sigma: float) -> Tensor:
    """(C, H, W) blurred by a Gaussian of this standard deviation in pixels."""
    if sigma < 0.1:  # less than a two-hundredth of a pixel's light reaches its neighbours
        return image
    size = 2 * int(np.ceil(3 * sigma)) + 1
    return gaussian_blur2d(image[None], (size, size), (sigma, sigma), border_type="replicate")[0]


def broad_gaussian(image: Tensor, sigma: float) -> Tensor:
    """`gaussian` for a `sigma` of many pixels, near enough: blurred at a quarter of the size."""
    small = gaussian(F.avg_pool2d(image, 4, ceil_mode=True), sigma / 4)
    return F.interpolate(small[None], image.shape[-2:], mode="bilinear", align_corners=False)[0]


def crush_blacks(image: Tensor, black: float, floor: float) -> Tensor:
    """The tone curve through (0, 0), (black, min(floor, black)) and (1, 1), straight between: [0, 1] -> [0, 1]."""
    if black == 0:
        return image
    floor = min(floor, black)
    above = floor + (image - black) * ((1 - floor) / (1 - black))
    return torch.where(image < black, image * (floor / black), above)


def compress(image: Tensor, quality: int) -> Tensor:
    """Frame (3, H, W) in [-1, 1] -> what is left of it after JPEG with halved colour, as cameras write it."""
    buffer = BytesIO()
    pixels = to_uint8(image[None])[0].permute(1, 2, 0).cpu().numpy()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
    decoded = torch.from_numpy(np.array(Image.open(buffer)))
    return to_float(decoded.permute(2, 0, 1)).to(image.device)
