"""Moods: the light, the air and the stuffs of each class of levels in the 3D styles, and their changes of hue."""

from dataclasses import dataclass, replace

import numpy as np

from gen.smd.art.palette import Palette, Rgb, hued
from gen.smd.world import World


@dataclass(frozen=True)
class Mood:
    """Light and air of a class; colours in 8-bit sRGB."""

    zenith: Rgb
    horizon: Rgb
    sun: Rgb
    strength: float
    """Of the sun."""
    ambient: float
    top: str
    """Stuff of the ground's top."""
    body: str
    """Stuff of the ground below."""
    floor: str | None
    """Stuff of the land behind the lane."""
    fog: float
    """Extinction, 1/block."""
    block: str = "wood"
    """Stuff of platforms."""
    lamp: float = 0.0
    """How strongly lanterns and torches light the place."""


MOODS: dict[str, Mood] = {
    "grassland": Mood((44, 100, 196), (196, 222, 240), (255, 240, 206), 1.5, 0.75, "turf", "soil", "turf", 0.008),
    "cave": Mood(
        (36, 33, 44), (52, 50, 66), (170, 180, 230), 0.9, 3.0, "darkrock", "darkrock", None, 0.022, "rock", 9,
    ),
    "underwater": Mood(
        (60, 170, 196), (22, 92, 134), (170, 230, 230), 1.0, 0.75, "seabed", "rock", "seabed", 0.045, "rock",
    ),
    "fortress": Mood(
        (56, 46, 48), (66, 52, 52), (255, 210, 170), 0.9, 1.5, "brick", "darkbrick", None, 0.010, "brick", 9,
    ),
    "sky": Mood((26, 74, 176), (196, 222, 244), (255, 246, 226), 1.5, 0.95, "turf", "soil", None, 0.012, "cloud"),
    "snow": Mood((70, 108, 164), (206, 218, 232), (255, 236, 216), 1.05, 0.80, "snow", "rock", "snow", 0.014, "ice"),
    "desert": Mood(
        (58, 112, 180), (232, 196, 146), (255, 226, 176), 1.7, 0.70, "sand", "sandstone", "sand", 0.008, "sandstone",
    ),
    "haunted": Mood(
        (24, 26, 66), (104, 84, 132), (150, 164, 220), 1.2, 0.9, "moss", "soil", "moss", 0.024, "deadwood", 7,
    ),
}  # fmt: skip


HOURS: tuple[tuple[Rgb, Rgb, Rgb], ...] = (
    ((44, 100, 196), (196, 222, 240), (255, 240, 206)),  # noon
    ((110, 96, 176), (248, 190, 184), (255, 196, 176)),  # dawn
    ((96, 60, 120), (250, 150, 80), (255, 160, 90)),  # sunset
    ((70, 78, 92), (150, 158, 166), (206, 212, 222)),  # storm
    ((24, 30, 110), (60, 80, 170), (150, 170, 240)),  # night
    ((10, 70, 70), (80, 190, 150), (160, 235, 205)),  # northern lights
)
"""Colours of zenith, horizon and sun; only their hues count."""
ENCLOSED = ("cave", "underwater", "fortress")


def under_any_sky(world: World) -> Mood:
    """The class's mood in the hues of a random hour, at its own brightness, so that the sky does not tell the class.

    Enclosed places get half of the hue.
    """
    rng = np.random.default_rng([world.seed, 78])
    mood, share = MOODS[world.scene], 0.5 if world.scene in ENCLOSED else 1.0
    zenith, horizon, sun = HOURS[int(rng.integers(len(HOURS)))]
    return replace(
        mood,
        zenith=hued(mood.zenith, zenith, share),
        horizon=hued(mood.horizon, horizon, share),
        sun=hued(mood.sun, sun, share),
        fog=mood.fog * float(rng.uniform(0.8, 1.5)),
    )


def in_palette(mood: Mood, palette: Palette) -> Mood:
    """The mood under a palette's sky."""
    return replace(
        mood,
        zenith=hued(mood.zenith, palette.zenith),
        horizon=hued(mood.horizon, palette.horizon),
        sun=hued(mood.sun, palette.horizon, 0.3),
    )
