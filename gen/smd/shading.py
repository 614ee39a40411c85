"""Colour and light of ray hits: noise, materials, sun, sky, lamps and glow.

Colours are linear and unbounded here, so that light adds up; `tone` makes them 8-bit sRGB at the very end.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gen.smd.raycast import Hits, Rays
from gen.smd.scene import Solids, Vector
from gen.smd.surface import Surface


@dataclass(frozen=True)
class Material:
    """What a solid is made of."""

    colour: Vector
    """Albedo, linear RGB in 0..1."""
    label: int = 0
    """Class of the solid in label maps."""
    pattern: int = 0
    """What the painter of the style draws on it."""
    scale: float = 1.0
    """Size of the pattern in units of the world."""
    seed: float = 0.0
    """Makes two solids of one pattern differ."""
    gloss: float = 0.0
    """Strength of the highlight, 0..1."""
    glow: Vector = (0, 0, 0)
    """Light that it sends out itself, linear RGB."""


COLOUR, LABEL, PATTERN, SCALE, SEED, GLOSS, GLOW = slice(0, 3), 3, 4, 5, 6, 7, slice(8, 11)
"""Columns of a material's row."""


def material_rows(scenes: Sequence[Solids[Material]]) -> Tensor:
    """(S, K, 11) rows of the solids' materials, padded with zeros."""
    rows = [torch.tensor([_row(m) for m in s.materials], dtype=torch.float32) for s in scenes]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)


def _row(material: Material) -> list[float]:
    m = material
    return [*m.colour, m.label, m.pattern, m.scale, m.seed, m.gloss, *m.glow]


@dataclass
class Pixels:
    """The rays that hit something, in a flat list of n. Vectors are (3, n): their components are contiguous, and dot
    products run along memory."""

    where: Tensor
    """(S, P, N) bool: which rays they are."""
    scene: Tensor
    """(n,) int64."""
    solid: Tensor
    """(n,) int64."""
    distance: Tensor
    """(n,)."""
    view: Tensor
    """(3, n) direction of the ray."""
    point: Tensor
    """(3, n)."""
    normal: Tensor
    """(3, n) of length 1."""
    local: Tensor
    """(3, n): `Surface.local`."""
    face: Tensor
    """(3, n): `Surface.face`."""
    row: Tensor
    """(11, n) the material."""
    footprint: Tensor
    """(n,) width of a pixel on the surface, seen straight on: finer patterns must fade."""

    @classmethod
    def of(cls, rays: Rays, hits: Hits, surface: Surface, rows: Tensor, pixel: float) -> Self:
        """`rows` (S, K, 11) are the materials, `pixel` the angle of a pixel in radians."""
        where = hits.found
        at = where.flatten().nonzero()[:, 0]
        scene = at // where[0].numel()
        vectors = (value.movedim(2, 0).flatten(1).index_select(1, at) for value in (rays.direction, *surface))
        view, point, normal, local, face = vectors
        distance, solid = hits.distance.flatten()[at], hits.solid.flatten()[at]
        row = rows.movedim(2, 0).flatten(1).index_select(1, scene * rows.shape[1] + solid)
        return cls(where, scene, solid, distance, view, point, normal, local, face, row, distance * pixel)

    def spread(self, values: Tensor, background: Tensor | float = 0.0) -> Tensor:
        """Flat values (C, n) at their rays, (S, P, C, N), before `background` (C, S, P, N)."""
        full = torch.empty(len(values), *self.where.shape, device=values.device)
        full[:] = background
        full[:, self.where] = values
        return full.movedim(0, 2)

    def each(self, values: Tensor) -> Tensor:
        """Values (S, C) of the scenes -> (C, n) of their pixels; (C, 1) of a single scene."""
        return values.T if len(values) == 1 else values.T[:, self.scene]

    def some(self, at: Tensor) -> Self:
        """The pixels with the indices `at`."""
        flat = (self.scene, self.solid, self.distance, self.view, self.point, self.normal, self.local, self.face)
        rest = (*flat, self.row, self.footprint)
        return type(self)(self.where, *(value[..., at] for value in rest))


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner products (n,) of vectors (3, n)."""
    return (a * b).sum(0)


def unit(vectors: Tensor) -> Tensor:
    """Vectors (3, n) at length 1."""
    return vectors * dot(vectors, vectors).clamp(min=1e-18).rsqrt()


@functools.cache
def _noise_tile(device: torch.device) -> Tensor:
    """A tileable fractal noise of 256 x 256 cells in 0..1, uniformly distributed."""
    rng = np.random.default_rng(7)  # fixed: the same texture in every process
    total = np.zeros((256, 256))
    for octave in range(6):
        cells = 8 << octave
        spectrum = np.fft.fft2(rng.standard_normal((256, 256)))
        # Blurred by its Fourier transform, which wraps around: so the tile has no seam.
        fx, fy = np.meshgrid(np.fft.fftfreq(256), np.fft.fftfreq(256))
        total += np.fft.ifft2(spectrum * np.exp(-((np.hypot(fx, fy) * 256 / cells) ** 2))).real * (256 / cells) * 0.7
    # Values are replaced by their ranks: a threshold of 0.7 then covers 30 % of any surface.
    ranks = total.ravel().argsort().argsort().reshape(256, 256)
    return torch.from_numpy(ranks / 65535.0).float().flatten().to(device)


def noise(u: Tensor, v: Tensor) -> Tensor:
    """Fractal noise in 0..1 at any points; its largest blobs are about 32 wide, its finest detail about 1."""
    tile = _noise_tile(u.device)
    i, j = u.floor(), v.floor()
    a, b = u - i, v - j
    a, b = a * a * (3 - 2 * a), b * b * (3 - 2 * b)  # smoothstep: no creases at the borders of cells
    i, j = i.long() & 255, j.long() & 255
    right, down = (i + 1) & 255, (j + 1) & 255
    top = torch.lerp(tile[j * 256 + i], tile[j * 256 + right], a)
    bottom = torch.lerp(tile[down * 256 + i], tile[down * 256 + right], a)
    return torch.lerp(top, bottom, b)


def scatter(*cells: Tensor) -> Tensor:
    """A number in 0..1 for each tuple of whole numbers, without visible order: the sine hash of GLSL shaders."""
    total = torch.zeros_like(cells[0])
    for index, cell in enumerate(cells):
        total = total + cell * (12.9898, 78.233, 37.719, 4.581)[index]
    return (total.sin() * 43758.5453).frac().abs()


def on_face(pixels: Pixels) -> tuple[Tensor, Tensor]:
    """Two coordinates (n,) on the side that was hit, in units of the world: across and up (or along z on top)."""
    x, y, z = pixels.local
    a, b, c = pixels.face.abs()
    across, top = (a >= b) & (a >= c), (b > a) & (b >= c)
    return torch.where(across, z, x), torch.where(top, z, y)


class Sunlight(NamedTuple):
    """Far light on S scenes."""

    towards: Tensor
    """(S, 3) direction to the sun, of length 1."""
    sun: Tensor
    """(S, 3) its colour; zeros for an overcast sky."""
    sky: Tensor
    """(S, 3) light from above."""
    ground: Tensor
    """(S, 3) light from below."""

    def to(self, device: torch.device | str) -> "Sunlight":
        """The same on another device."""
        return Sunlight(*(value.to(device) for value in self))


class Lamps(NamedTuple):
    """L near lights in each of S scenes."""

    position: Tensor
    """(S, L, 3)."""
    colour: Tensor
    """(S, L, 3) light at a distance of one unit."""
    direction: Tensor
    """(S, L, 3) of length 1, of a cone's axis."""
    spread: Tensor
    """(S, L) cosine of the angle at which a cone is at half its light; -1 or less: shines everywhere."""

    def to(self, device: torch.device | str) -> "Lamps":
        """The same on another device."""
        return Lamps(*(value.to(device, non_blocking=True) for value in self))


def sunlit(pixels: Pixels, normal: Tensor, light: Sunlight, lit: Tensor | float) -> Tensor:
    """Light (3, n) that falls on the pixels from sun and sky; `lit` (n,) is 0 in shadow."""
    towards, sun, above, below = (pixels.each(value) for value in light)
    facing = dot(normal, towards).clamp(min=0) * lit
    return facing * sun + torch.lerp(below, above, (normal[1] + 1) / 2)


def highlight(view: Tensor, normal: Tensor, towards: Tensor, shine: float = 40.0) -> Tensor:
    """Blinn-Phong highlight (n,) of a light in direction `towards` (3, n): (normal . halfway)^shine."""
    return dot(unit(towards - view), normal).clamp(min=0) ** shine


def lamplit(pixels: Pixels, normal: Tensor, lamps: Lamps, gloss: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Diffuse light and highlights (3, n) each from the lamps, falling with the squared distance; without shadows."""
    diffuse, shiny = torch.zeros_like(normal), torch.zeros_like(normal)
    for index in lamps.colour.any(-1).any(0).nonzero()[:, 0].tolist():  # those that burn somewhere
        position, colour, axis = (pixels.each(v[:, index]) for v in lamps[:3])
        towards = position - pixels.point
        squared = dot(towards, towards)
        towards = towards * squared.rsqrt()
        # 24: from 10 to 90 % of the light within 0.18 of the cosine, a soft edge. 0.25: half a unit from a lamp and
        # nearer the light stops to grow, as it does for a lamp that is not a point.
        cone = torch.sigmoid(24 * (-dot(towards, axis) - pixels.each(lamps.spread[:, index, None])[0]))
        power = colour * (cone / (squared + 0.25))
        diffuse += dot(towards, normal).clamp(min=0) * power
        if gloss is not None:
            shiny += gloss * highlight(pixels.view, normal, towards) * power
    return diffuse, shiny


def blur(image: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of (S, C, H, W), `sigma` in pixels; a wide one is done at a lower resolution, to cost little.

    There sigma is 2 to 4 pixels, and the kernel of 9 cuts the Gaussian off at 1 to 2 sigma: a glow does not show it.
    """
    from kornia.filters import gaussian_blur2d

    height, width = image.shape[-2:]
    step = max(1, int(sigma / 2))
    small = F.interpolate(image, (max(8, height // step), max(8, width // step)), mode="area") if step > 1 else image
    small = gaussian_blur2d(small, (9, 9), (sigma / step, sigma / step), border_type="replicate")
    return F.interpolate(small, (height, width), mode="bilinear", align_corners=False)


def bloom(image: Tensor, strength: float, size: float) -> Tensor:
    """The glow that a lens and wet air spread around what is brighter than white; `size` in pixels."""
    bright = (image - 1).clamp(0, 40)  # clamped: one lamp in the picture must not veil all of it
    return image + strength * sum((blur(bright, size * s) for s in (1.0, 4.0, 14.0)), torch.zeros_like(image)) / 3


def tone(image: Tensor) -> Tensor:
    """Linear (S, 3, H, W) -> uint8 sRGB: x up to 0.5, then the shoulder 1 - 0.25 / x, which never clips to white."""
    x = image.clamp(min=0)
    x = torch.where(x < 0.5, x, 1 - 0.25 / (x.clamp(min=0.5)))  # equal in value and slope at 0.5
    srgb = torch.where(x <= 0.0031308, 12.92 * x, 1.055 * x.clamp(min=1e-6) ** (1 / 2.4) - 0.055)
    return (srgb * 255).round().clamp(0, 255).to(torch.uint8)


def linear(red: float, green: float, blue: float) -> Vector:
    """8-bit sRGB -> linear, as materials want it."""
    r, g, b = (((c / 255 + 0.055) / 1.055) ** 2.4 if c > 10 else c / 255 / 12.92 for c in (red, green, blue))
    return r, g, b


def srgb(value: float) -> float:
    """Linear -> sRGB, both 0..1."""
    return 12.92 * value if value < 0.0031308 else 1.055 * value ** (1 / 2.4) - 0.055
