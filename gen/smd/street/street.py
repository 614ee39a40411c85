"""A street for a dash-cam: its buildings, objects and traffic.

Metres; x to the right of the middle line, y up, z along the drive. Traffic keeps to the right. A street has no
weather: `gen.smd.street.render` renders the same moment in any. Everything follows from the seed and the time.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from gen.smd.raycast import Camera
from gen.smd.scene import Vector
from gen.smd.shading import linear

LANE = 3.4
"""Width of a traffic lane, metres; real ones have 3 to 3.75."""
STOREY = 3.1
"""Height of a storey, metres."""
AHEAD, BEHIND = 230.0, 20.0
"""Metres that the street reaches from where the drive begins. A clip longer than about 15 s drives out of it."""

PAINTS = [
    (196, 196, 192),
    (24, 25, 28),
    (92, 96, 100),
    (150, 20, 24),
    (26, 50, 104),
    (226, 226, 222),
    (58, 70, 62),
    (160, 140, 104),
]
"""Colours of cars, 8-bit sRGB; as on real streets most are grey, black or white."""
WALLS = [
    (172, 120, 92),
    (196, 178, 146),
    (148, 92, 74),
    (205, 200, 190),
    (132, 128, 122),
    (178, 150, 118),
    (112, 84, 72),
    (214, 196, 164),
]
"""Colours of facades, 8-bit sRGB."""
SODIUM, LED = (1.0, 0.62, 0.28), (0.95, 0.95, 0.9)
"""Colours of street lamps, linear RGB."""


@dataclass(frozen=True)
class Vehicle:
    """Something that drives or is parked."""

    x: float
    z: float
    speed: float
    """Along z, m/s; negative towards the camera."""
    away: bool
    """Its back is towards the camera."""
    paint: Vector
    size: Vector
    """Half width, height and half length."""
    lit: bool
    """Its lights are on in the dark."""

    def at(self, time: float) -> float:
        """Its z after `time` seconds."""
        return self.z + self.speed * time


class House(NamedTuple):
    """A house along the street."""

    x: float
    z: float
    half_width: float
    half_depth: float
    """Along the street."""
    storeys: int
    wall: Vector
    gable: bool

    @property
    def height(self) -> float:
        """Of the walls, in metres."""
        return self.storeys * STOREY + 0.6


@dataclass(frozen=True)
class Street:
    """One street with all that is on it, at time 0."""

    seed: int
    lanes: int
    """Each way."""
    parking: float
    """Width of the parking lane on each side."""
    pavement: float
    crossing: float
    """z of the side street's middle."""
    median: bool
    """A double yellow line rather than a dashed white one."""
    verge_is_green: bool
    houses: tuple[House, ...]
    trees: tuple[tuple[float, float, float], ...]
    """x, z, height."""
    lamps: tuple[tuple[float, float], ...]
    lamp_colour: Vector
    vehicles: tuple[Vehicle, ...]
    people: tuple[tuple[float, float, Vector], ...]
    signal: int
    """0 red, 1 amber, 2 green."""
    speed: float
    """Of the camera, m/s."""
    view: tuple[float, float, float, float]
    """The camera's height, yaw, pitch (radians) and focal length in image heights."""

    @property
    def half_width(self) -> float:
        """From the middle line to the kerb."""
        return self.lanes * LANE + self.parking

    def camera(self, time: float) -> Camera:
        """The dash-cam after `time` seconds, in the middle of the inner lane; it nods a little."""
        height, yaw, pitch, focal = self.view
        # Two sines, of 1.2 and 0.5 s, which do not fall into step: the car's suspension, without visible repetition.
        sway = 0.004 * math.sin(5.1 * time) + 0.002 * math.sin(12.7 * time + 1)
        position = [0.5 * LANE - 0.3 + 0.05 * math.sin(0.6 * time), height, self.speed * time]
        return Camera(torch.tensor([position]), torch.tensor([[yaw, pitch + sway, 0.3 * sway]]), torch.tensor([focal]))


def make_street(seed: int) -> Street:
    """The street of a seed: a narrow one, a suburb, a city centre or a wide arterial road."""
    # Order matters: each draw moves the random stream, so a new one must come last or streets of old seeds change.
    rng = np.random.default_rng([seed, 311])
    town = float(rng.uniform())  # 0: suburb, 1: city centre
    lanes = int(rng.integers(1, 4)) if town > 0.4 else int(rng.integers(1, 3))
    parking = 2.3 if rng.uniform() < 0.7 and lanes < 3 else 0.4
    pavement = float(rng.uniform(2.0, 4.0))
    edge = lanes * LANE + parking + pavement
    crossing = float(rng.uniform(35, 110))
    green = bool(town < 0.6)
    view = (
        float(rng.uniform(1.2, 1.6)),
        float(rng.normal(0, 0.025)),
        float(rng.normal(0.015, 0.02)),
        float(rng.uniform(1.0, 1.4)),
    )
    half = lanes * LANE + parking
    speed = float(rng.uniform(6, 13))
    return Street(
        seed,
        lanes,
        parking,
        pavement,
        crossing,
        bool(rng.uniform() < 0.6),
        green,
        houses=tuple(_houses(rng, edge, crossing, town)),
        trees=tuple(_trees(rng, half, edge, crossing, town)),
        lamps=tuple(_lamps(rng, half)),
        lamp_colour=(SODIUM, SODIUM, LED)[int(rng.integers(3))],
        vehicles=tuple(_vehicles(rng, lanes, parking, crossing, speed)),
        people=tuple(_people(rng, half, pavement)),
        signal=int(rng.integers(3)),
        speed=speed,
        view=view,
    )


def _houses(rng: np.random.Generator, edge: float, crossing: float, town: float) -> Iterator[House]:
    """Rows of houses on both sides: close and high in a town, low with gardens in a suburb."""
    fewest, most = (3, 9) if town > 0.6 else (2, 5) if town > 0.3 else (1, 3)
    for side in (-1, 1):
        z = -BEHIND
        while z < AHEAD:
            half_depth = float(rng.uniform(5, 11) if town > 0.5 else rng.uniform(4, 7))
            gap = float(rng.uniform(0, 0.4) if town > 0.7 else rng.uniform(1.5, 9))
            middle = z + half_depth
            z = middle + half_depth + gap
            if abs(middle - crossing) < half_depth + 9:  # keeps the side street free
                continue
            storeys = int(rng.integers(fewest, most))
            setback = float(rng.uniform(0, 1) if town > 0.5 else rng.uniform(3, 9))
            half_width = float(rng.uniform(5, 8))
            wall = linear(*WALLS[int(rng.integers(len(WALLS)))])
            gable = storeys < 4 and bool(rng.uniform() < 0.7)
            yield House(side * (edge + setback + half_width), middle, half_width, half_depth, storeys, wall, gable)


def _trees(
    rng: np.random.Generator, half: float, edge: float, crossing: float, town: float
) -> Iterator[tuple[float, float, float]]:
    """x, z and height of trees on both sides, on the kerb or behind the pavement."""
    for side in (-1, 1):
        z = float(rng.uniform(-10, 10))
        while z < AHEAD * 0.7:
            on_kerb = rng.uniform() < 0.6
            x = half + 1.1 if on_kerb else edge + float(rng.uniform(0.5, 3))
            if abs(z - crossing) > 11 and rng.uniform() < (0.45 if town > 0.6 else 0.85):
                yield side * x, z, float(rng.uniform(4.5, 8.5))
            z += float(rng.uniform(8, 16))


def _lamps(rng: np.random.Generator, half: float) -> Iterator[tuple[float, float]]:
    """x and z of street lamps, on the left and the right in turn."""
    spacing, z, side = float(rng.uniform(24, 36)), float(rng.uniform(-8, 18)), 1
    while z < AHEAD:
        yield side * (half + 0.5), z
        side, z = -side, z + spacing


def _vehicles(rng: np.random.Generator, lanes: int, parking: float, crossing: float, speed: float) -> Iterator[Vehicle]:
    """Traffic in our lanes and in those opposite, and parked cars where there is a parking lane."""

    def vehicle(x: float, z: float, speed: float, away: bool, lit: bool) -> Vehicle:
        paint = linear(*PAINTS[int(rng.integers(len(PAINTS)))])
        if rng.uniform() < 0.2:  # a van
            return Vehicle(x, z, speed, away, paint, (0.98, float(rng.uniform(1.9, 2.6)), 2.6), lit)
        size = (0.88, float(rng.uniform(1.42, 1.7)), float(rng.uniform(2.0, 2.35)))
        return Vehicle(x, z, speed, away, paint, size, lit)

    for lane in range(lanes):
        x, z = (lane + 0.5) * LANE, float(rng.uniform(14, 45) if lane == 0 else rng.uniform(-4, 40))
        while z < 140:  # ours: in front, at about our speed
            yield vehicle(x + float(rng.normal(0, 0.12)), z, speed * float(rng.uniform(0.9, 1.15)), True, True)
            z += float(rng.uniform(12, 70))
        x, z = -(lane + 0.5) * LANE, float(rng.uniform(8, 60))
        while z < 190:  # oncoming
            yield vehicle(x + float(rng.normal(0, 0.12)), z, -float(rng.uniform(6, 12)), False, True)
            z += float(rng.uniform(14, 80))
    if parking > 2:
        for side in (-1, 1):
            z = float(rng.uniform(-6, 8))
            while z < 150:
                if rng.uniform() < 0.7 and abs(z - crossing) > 14:
                    yield vehicle(side * (lanes * LANE + 1.15), z, 0.0, side > 0, False)
                z += float(rng.uniform(5.4, 7.5))


def _people(rng: np.random.Generator, half: float, pavement: float) -> Iterator[tuple[float, float, Vector]]:
    """x, z and coat of up to six people on the pavements."""
    for _ in range(int(rng.integers(0, 7))):
        side = 1 if rng.uniform() < 0.5 else -1
        x = side * (half + float(rng.uniform(0.6, pavement - 0.3)))
        red, green, blue = (float(c) for c in rng.uniform(0.02, 0.45, 3))
        yield x, float(rng.uniform(8, 70)), (red, green, blue)
