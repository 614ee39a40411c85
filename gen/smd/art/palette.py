"""Palettes: each style has its own colours and time of day for the same class of scenes.

Games on different consoles colour the same kind of place differently. So a
classifier that relies on hue or brightness in one style fails in the next; shapes carry over. Within a style, colour is
a weak cue: nearly half of the levels have the colours of some other class.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gen.smd.names import SCENES
from gen.smd.world import World

Rgb = tuple[int, int, int]
YIQ = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
"""BT.601 luma, and the two axes of chroma of NTSC."""


class Dye(NamedTuple):
    """What becomes of a colour: its chroma is turned, then moved towards a hue."""

    turn: float = 0.0
    """In degrees in the plane of I and Q: 60 makes green teal, 120 blue, -90 brown."""
    hue: Rgb = (255, 255, 255)
    share: float = 0.0
    """0: chroma is only turned; 1: the hue replaces it."""


class Palette(NamedTuple):
    """How a style paints a class."""

    land: Dye
    """For ground, plants and all else that belongs to the place."""
    zenith: Rgb
    """Hue of the sky overhead, and of darkness indoors."""
    horizon: Rgb
    light: float
    """What `exposed` does to the whole picture: night in one style, day in another."""


OWN = 0.5
"""Share of levels that surely have the colours of their class; of the others, one in eight draws them by chance."""


def palette_of(world: World, palettes: Mapping[str, Palette]) -> Palette:
    """A level's palette: that of its class, or the colours of any class at the brightness of its own."""
    rng = np.random.default_rng([world.seed, 79, SCENES.index(world.scene)])
    own, other = palettes[world.scene], palettes[SCENES[rng.integers(len(SCENES))]]
    return own if rng.random() < OWN else other._replace(light=own.light)


def dyed(colours: NDArray[np.floating], dye: Dye) -> NDArray[np.floating]:
    """8-bit sRGB colours (..., 3) dyed at their own luma."""
    angle = np.deg2rad(dye.turn)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), np.sin(angle)], [0, -np.sin(angle), np.cos(angle)]])
    colours, hue = np.asarray(colours, np.float64), np.asarray(dye.hue)
    luma = colours @ YIQ[0][:, None]
    turned = colours @ (np.linalg.inv(YIQ) @ turn @ YIQ).T
    chroma = (1 - dye.share) * (turned - luma) + dye.share * luma * (hue / (YIQ[0] @ hue) - 1)
    return _fitted(luma, chroma)


def exposed(picture: NDArray[np.floating], light: float) -> NDArray[np.floating]:
    """A picture (..., 3) in 0..255, darker by the factor `light`; above 1 brighter: by it in the dark, less towards
    white, which nothing passes. Hue and, as far as it fits, saturation stay.
    """
    if light <= 1:
        return picture * light
    luma = picture @ YIQ[0].astype(picture.dtype)[:, None]
    raised = 255 * (1 - (1 - luma / 255) ** light)
    return _fitted(raised, (picture - luma) * raised / np.maximum(luma, 1e-3))


def _fitted(luma: NDArray[np.floating], chroma: NDArray[np.floating]) -> NDArray[np.floating]:
    """Luma (..., 1) and chroma (..., 3) as RGB; chroma that does not fit into 0..255 is scaled down."""
    room = np.where(chroma > 0, 255 - luma, luma) / np.maximum(np.abs(chroma), 1e-6)
    return luma + chroma * np.minimum(1, room.min(-1, keepdims=True))


def hued(colour: Rgb, hue: Rgb, share: float = 1.0) -> Rgb:
    """`colour` moved by `share` towards the hue of another, at its own luma."""
    red, green, blue = (int(v) for v in np.rint(dyed(np.array(colour), Dye(0, hue, share))))
    return red, green, blue


def of_hue(luma: int, hue: Rgb) -> Rgb:
    """The colour of a hue at a luma."""
    return hued((luma, luma, luma), hue)


BIT16: dict[str, Palette] = {
    "grassland": Palette(Dye(120), (120, 60, 170), (250, 190, 220), 0.55),
    "cave": Palette(Dye(0, (150, 100, 50), 0.7), (60, 36, 16), (90, 60, 30), 1.8),
    "underwater": Palette(Dye(100), (150, 80, 200), (60, 20, 100), 2.0),
    "fortress": Palette(Dye(0, (70, 120, 150), 0.8), (20, 40, 60), (40, 80, 90), 3.2),
    "sky": Palette(Dye(-75), (190, 90, 40), (255, 220, 130), 1.05),
    "snow": Palette(Dye(0, (130, 110, 220), 0.7), (70, 50, 150), (190, 130, 220), 0.5),
    "desert": Palette(Dye(60), (40, 150, 140), (170, 235, 200), 1.0),
    "haunted": Palette(Dye(-90, (170, 60, 40), 0.5), (80, 16, 20), (170, 70, 40), 2.4),
}
LOWPOLY: dict[str, Palette] = {
    "grassland": Palette(Dye(-75), (190, 100, 60), (255, 220, 150), 0.45),
    "cave": Palette(Dye(0, (70, 130, 60), 0.6), (20, 44, 24), (40, 70, 40), 1.9),
    "underwater": Palette(Dye(-60), (110, 180, 60), (60, 110, 30), 2.7),
    "fortress": Palette(Dye(0, (90, 90, 190), 0.7), (30, 30, 70), (50, 50, 90), 1.9),
    "sky": Palette(Dye(120), (70, 30, 130), (210, 160, 240), 0.65),
    "snow": Palette(Dye(0, (150, 240, 170), 0.6), (40, 130, 110), (190, 240, 200), 0.85),
    "desert": Palette(Dye(180), (80, 90, 180), (190, 210, 250), 1.1),
    "haunted": Palette(Dye(60, (40, 150, 160), 0.5), (10, 60, 80), (50, 140, 150), 2.6),
}
