"""The things of a street as solids for the ray caster, and the lamps that light it."""

import math

import numpy as np
import torch

from gen.smd.scene import Solids, Vector
from gen.smd.shading import Lamps, Material, linear
from gen.smd.street.street import House, Street, Vehicle

LABELS = ("sky", "road", "marking", "pavement", "ground", "building", "vegetation", "pole", "light", "car", "person")
SKY, ROAD, MARKING, PAVEMENT, GROUND, BUILDING, VEGETATION, POLE, LIGHT, CAR, PERSON = range(len(LABELS))
PLAIN, LAND, FACADE, LEAVES, ROOF, CABIN, LAMP, ROUGH = range(8)
"""Patterns that `gen.smd.street.paint` draws. A LAMP glows only when the lamps are lit; other things that glow always
do."""

HEADLIGHT, RED = (1.0, 0.93, 0.8), (1.0, 0.05, 0.03)
"""Colours of light, linear RGB."""


def solids(street: Street, time: float) -> Solids[Material]:
    """All that stands and drives after `time` seconds."""
    scene: Solids[Material] = Solids()
    scene.plane(0, Material((0.1, 0.1, 0.1), ROAD, LAND))
    for house in street.houses:
        _add_house(scene, house)
    for x, z, height in street.trees:
        _add_tree(scene, x, z, height)
    for x, z in street.lamps:
        _add_lamp(scene, x, z, street.lamp_colour)
    for vehicle in street.vehicles:
        _add_vehicle(scene, vehicle, vehicle.at(time))
    for x, z, coat in street.people:
        _add_person(scene, x, z, coat)
    for side in (-1, 1):
        _add_signal(scene, side * (street.half_width + 0.4), street.crossing - 5.5, -side, street.signal)
    return scene


def _add_house(scene: Solids[Material], house: House) -> None:
    x, z, half_w, half_d, _, wall, gable = house
    # From the position, not from the street's generator: what a house looks like draws no random numbers.
    height, seed = house.height, abs(x * 7.3 + z * 1.7) % 97
    facade = Material(wall, BUILDING, FACADE, 2.2 + seed % 1.3, math.floor(seed))
    roof = Material(linear(118, 66, 52) if seed % 2 > 1 else linear(74, 74, 80), BUILDING, ROOF, 0.35, seed)
    scene.box((x, height / 2, z), (half_w, height / 2, half_d), facade)
    if gable:
        scene.box((x, height + 1.4, z), (half_w + 0.4, 1.4, half_d + 0.3), roof, taper=(0.05, 1))
    else:
        scene.box((x, height + 0.2, z), (half_w + 0.15, 0.35, half_d + 0.1), roof)
    if seed % 3 > 1.6:
        scene.box((x + 0.4 * half_w, height + 1.8, z - 0.3 * half_d), (0.4, 1.5, 0.4), Material(wall, BUILDING, ROUGH))


def _add_tree(scene: Solids[Material], x: float, z: float, height: float) -> None:
    rng = np.random.default_rng([int(abs(x) * 100), int(abs(z) * 100)])  # the same tree in every frame of a clip
    bark = Material(linear(84, 70, 58), VEGETATION, ROUGH)
    scene.cylinder((x, height * 0.25, z), 0.16, height * 0.25, bark, taper=0.7)
    tint = rng.uniform(-10, 10)
    for index in range(18):
        up = index / 17
        # 2.4 rad is the golden angle: balls of leaves wind up the trunk without falling into rows.
        a, r = 2.4 * index, height * float(rng.uniform(0.1, 0.2)) * math.sin(math.pi * (0.2 + 0.75 * up))
        centre = (x + r * math.cos(a), height * (0.46 + 0.46 * up), z + r * math.sin(a))
        size = height * float(rng.uniform(0.09, 0.14))
        colour = linear(int(58 + tint), int(84 + rng.uniform(-8, 14)), int(38 - tint / 2))
        leaves = Material(colour, VEGETATION, LEAVES, 0.5, float(rng.uniform(0, 50)))
        scene.sphere(centre, (size, size * 0.8, size), leaves)


def lamp_head(x: float, z: float) -> Vector:
    """Where the light of the street lamp at (x, z) sits."""
    return x - math.copysign(1.6, x), 7.8, z


def _add_lamp(scene: Solids[Material], x: float, z: float, colour: Vector) -> None:
    steel = Material(linear(96, 98, 100), POLE, gloss=0.2)
    hx, hy, hz = lamp_head(x, z)
    scene.cylinder((x, 4, z), 0.09, 4, steel, taper=0.6)
    scene.box(((x + hx) / 2, hy + 0.16, z), (0.85, 0.04, 0.04), steel)
    scene.box((hx, hy + 0.1, hz), (0.35, 0.08, 0.14), steel)
    scene.sphere((hx, hy, hz), (0.26, 0.09, 0.13), Material((0.5, 0.5, 0.5), LIGHT, LAMP, glow=_times(colour, 12)))


def _add_vehicle(scene: Solids[Material], car: Vehicle, z: float) -> None:
    half_w, height, half_l = car.size
    facing = 1 if car.away else -1
    low = height < 1.8  # a saloon, whose cabin is shorter than its body; a van's is not
    belt, length, narrow = (0.92, 0.58, 0.72) if low else (1.1, 0.93, 0.92)
    half_h, back = (height - belt) / 2, -facing * half_l * (0.12 if low else 0)
    body = Material(car.paint, CAR, PLAIN, gloss=0.5)
    cabin = Material(car.paint, CAR, CABIN, half_l * length, half_h, gloss=0.5)
    black = Material((0.012, 0.012, 0.012), CAR, PLAIN)
    scene.box((car.x, (0.3 + belt) / 2, z), (half_w, (belt - 0.3) / 2, half_l), body, taper=(0.93, 0.98))
    roof = (half_w * 0.91, half_h, half_l * length)
    scene.box((car.x, belt + half_h, z + back), roof, cabin, taper=(0.8, narrow))
    scene.box((car.x, 0.3, z), (half_w * 0.96, 0.13, half_l * 0.97), black)
    for dx in (-1, 1):
        for dz in (-0.62, 0.62):
            wheel = (car.x + dx * (half_w - 0.1), 0.31, z + dz * half_l)
            scene.cylinder(wheel, 0.31, 0.11, Material((0.02, 0.02, 0.02), CAR), turn=(0, 0, math.pi / 2))
    front, rear = z + facing * half_l, z - facing * half_l
    head = Material((0.6, 0.6, 0.6), LIGHT, LAMP, glow=_times(HEADLIGHT, 20.0 * car.lit))
    tail = Material(linear(120, 12, 14), LIGHT, LAMP, glow=_times(RED, 3.0 * car.lit))
    for x in (car.x - half_w * 0.72, car.x + half_w * 0.72):
        scene.box((x, 0.68, front), (0.2, 0.08, 0.05), head)
        scene.box((x, 0.78, rear), (0.16, 0.09, 0.05), tail)
    scene.box((car.x, 0.55, rear), (0.26, 0.06, 0.03), Material((0.6, 0.6, 0.55), CAR))


def _add_person(scene: Solids[Material], x: float, z: float, coat: Vector) -> None:
    cloth, skin = Material(coat, PERSON, ROUGH), Material(linear(170, 128, 102), PERSON)
    legs = Material(linear(46, 48, 60), PERSON)
    for dx in (-0.1, 0.1):
        scene.cylinder((x + dx, 0.42, z + dx), 0.09, 0.42, legs, taper=1.2)
    scene.cylinder((x, 1.12, z), 0.24, 0.32, cloth, taper=0.8)
    scene.sphere((x, 1.6, z), (0.12, 0.15, 0.13), skin)


def _add_signal(scene: Solids[Material], x: float, z: float, towards: int, state: int) -> None:
    steel, dark = Material(linear(70, 72, 74), POLE), Material((0.015, 0.017, 0.015), LIGHT)
    scene.cylinder((x, 2.9, z), 0.1, 2.9, steel)
    scene.box((x + towards * 2.0, 5.6, z), (2.0, 0.05, 0.05), steel)
    for hx, hy in ((x + towards * 3.6, 5.3), (x, 3.2)):
        scene.box((hx, hy, z), (0.2, 0.55, 0.14), dark)
        for index, colour in enumerate((RED, (1.0, 0.55, 0.05), (0.05, 0.95, 0.5))):
            lit = index == state
            glass = Material(_times(colour, 0.12), LIGHT, PLAIN, glow=_times(colour, 5.0 * lit))
            scene.sphere((hx, hy + 0.34 - 0.34 * index, z - 0.14), (0.12, 0.12, 0.05), glass)


def _times(colour: Vector, factor: float) -> Vector:
    return colour[0] * factor, colour[1] * factor, colour[2] * factor


LAMPS = 14
"""Lamps that light a scene: our headlights and the nearest others. Each is computed for every pixel."""


def lights(street: Street, time: float) -> Lamps:
    """The lamps that light the road after `time` seconds, (1, LAMPS): our own, street lamps, other cars' lights."""
    # Strengths are light at 1 m, relative to each other as they look: dipped headlights 110, a street lamp 34.
    eye = street.camera(time).position[0].tolist()
    own = _times(HEADLIGHT, 110)
    rows = [_lamp((eye[0] + x, 0.7, eye[2] + 1.5), own, (x * 0.08, -0.022, 1), 0.985) for x in (-0.6, 0.6)]
    light = _times(street.lamp_colour, 34)
    others = [_lamp(lamp_head(x, z), light, (0, -1, 0), 0.35) for x, z in street.lamps]
    for car in (v for v in street.vehicles if v.lit):
        z, facing, length = car.at(time), 1 if car.away else -1, car.size[2]
        front = (car.x, 0.68, z + facing * (length + 0.1))
        others.append(_lamp(front, _times(HEADLIGHT, 110), (0, -0.05, facing), 0.95))
        if car.away:
            others.append(_lamp((car.x, 0.8, z - length - 0.3), _times(RED, 1.2), (0, 0, -1), -0.2))
    others = [row for row in others if row[0][2] > eye[2] - 12]  # farther behind us they light nothing that is seen
    others.sort(key=lambda row: abs(row[0][2] - eye[2] - 6))  # nearest to 6 m ahead, where the picture's road begins
    rows = (rows + others)[:LAMPS]
    # Dark lamps below the ground fill the tensor to a fixed number.
    rows += [_lamp((0, -50, 0), (0, 0, 0), (0, -1, 0), 0.0)] * (LAMPS - len(rows))
    position, colour, direction, spread = zip(*rows, strict=True)
    return Lamps(*(torch.tensor([values], dtype=torch.float32) for values in (position, colour, direction, spread)))


def _lamp(position: Vector, light: Vector, towards: Vector, spread: float) -> tuple[Vector, Vector, Vector, float]:
    """One row of `Lamps`; `towards` is brought to length 1."""
    length = math.hypot(*towards)
    return position, light, _times(towards, 1 / length), spread
