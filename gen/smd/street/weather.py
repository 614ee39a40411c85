"""The weathers: what sky, air, road and camera are like in each.

Colours are linear RGB and may be brighter than 1: `gen.smd.shading.tone` maps them to a picture. Values without a unit
were chosen by eye on previews (`gen render-street OUT --preview`).
"""

from dataclasses import dataclass

from gen.smd.scene import Vector


@dataclass(frozen=True)
class Weather:
    """Sky, air, road and camera."""

    zenith: Vector
    """Colour of the sky overhead."""
    horizon: Vector
    """Colour of the sky at the horizon, and of fog."""
    sky: Vector
    """Light from above on level surfaces."""
    ground: Vector
    """Light from below, reflected by the ground."""
    sun: Vector = (0, 0, 0)
    """Light of the sun on a surface that faces it."""
    elevation: float = 40
    """Of the sun, degrees."""
    clouds: float = 0.5
    """0: none, 1: overcast."""
    lamps: float = 0.0
    """Brightness of street lamps, windows and headlights, 0..1."""
    fog: float = 0.0008
    """Extinction, 1/m. Visibility (5 % of the contrast left) is 3/fog: 3.7 km by default, 83 m at 0.036."""
    wet: float = 0.0
    """How wet the ground is, 0..1: it gets darker and mirrors."""
    white: float = 0.0
    """Share of level ground under snow."""
    rain: float = 0.0
    """Streaks of rain in the air, 0..1."""
    flakes: float = 0.0
    """Snow in the air, 0..1."""
    drops: float = 0.0
    """Drops on the windscreen, 0..1."""
    exposure: float = 1.0
    """Factor on all light. At night a camera opens up, and shows more noise (`grain`) for it."""
    grain: float = 0.004
    """Noise of the sensor: its standard deviation is this times sqrt(light / 2 + 0.02)."""
    vignette: float = 0.12
    """Share of the light that is lost in the corners."""
    glare: float = 0.05
    """Strength of the glow around what is brighter than white."""


SUNNY = 0.3
"""A sun brighter than this, summed over its three colours, casts shadows; dusk, with its sun of 0.095, has none."""

WEATHERS: dict[str, Weather] = {
    "day": Weather(
        (0.10, 0.25, 0.62), (0.62, 0.74, 0.9), (0.42, 0.50, 0.64), (0.17, 0.16, 0.15), sun=(1.75, 1.6, 1.38)
    ),
    "dusk": Weather(
        (0.035, 0.05, 0.11), (0.42, 0.22, 0.13), (0.06, 0.065, 0.09), (0.03, 0.025, 0.02), sun=(0.05, 0.03, 0.015),
        elevation=5, lamps=1, exposure=1.2, grain=0.012, vignette=0.25, glare=0.10,
    ),
    "night": Weather(
        (0.0012, 0.0016, 0.0030), (0.012, 0.010, 0.009), (0.006, 0.006, 0.008), (0.003, 0.003, 0.003),
        clouds=0.2, lamps=1, exposure=3.2, grain=0.030, vignette=0.4, glare=0.10,
    ),
    "rain": Weather(
        (0.34, 0.37, 0.41), (0.46, 0.48, 0.5), (0.42, 0.44, 0.47), (0.14, 0.14, 0.14),
        clouds=1, lamps=0.5, fog=0.008, wet=0.8, rain=0.7, drops=0.7, exposure=1.15, grain=0.008,
        vignette=0.15, glare=0.08,
    ),
    "rainy_night": Weather(
        (0.0016, 0.0017, 0.0022), (0.014, 0.012, 0.010), (0.006, 0.006, 0.007), (0.003, 0.003, 0.003),
        clouds=1, lamps=1, fog=0.006, wet=1, rain=1, drops=1, exposure=3.2, grain=0.032, vignette=0.4, glare=0.16,
    ),
    "fog": Weather(
        (0.50, 0.52, 0.54), (0.56, 0.57, 0.58), (0.46, 0.47, 0.48), (0.2, 0.2, 0.2),
        clouds=0, lamps=0.6, fog=0.036, wet=0.15, exposure=1.05, grain=0.006, glare=0.25,
    ),
    "snow": Weather(
        (0.50, 0.53, 0.57), (0.60, 0.62, 0.65), (0.50, 0.52, 0.56), (0.34, 0.35, 0.37),
        clouds=1, lamps=0.15, fog=0.012, wet=0.25, white=0.95, flakes=1, exposure=1.0, grain=0.006, glare=0.1,
    ),
}  # fmt: skip
