"""A world set up for the 3D styles: its solids, and the camera that films them.

The lane that the 2D styles show is a strip of land from z = -1.6 to 2.4; the background layers stand behind it.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from gen.smd.art.models import LAVA, WATER, add_model, material
from gen.smd.art.moods import MOODS, Mood
from gen.smd.art.palette import Dye, dyed
from gen.smd.raycast import Camera
from gen.smd.scene import Solids, Vector
from gen.smd.shading import Material, linear, srgb
from gen.smd.world import VIEW_WIDTH, Layer, Thing, World

FRONT, BACK = -1.6, 2.4
"""z of the land's front and back, in blocks."""
BOTTOM = -4.0
"""y down to which the ground is solid: below what any camera sees."""


def build(world: World, land: Dye | None = None) -> Solids[Material]:
    """All solids of a world; `land` dyes the scenery, but not the hero, creatures and items."""
    scene: Solids[Material] = Solids()
    mood = MOODS[world.scene]
    _add_ground(scene, world, mood)
    _add_ceiling(scene, world, mood)
    _add_liquid(scene, world)
    for platform in world.platforms:
        _add_platform(scene, platform.kind, platform.x, platform.y, platform.width, mood)
    for column in world.columns:
        _add_column(scene, column.kind, column.x + 0.5, column.foot, column.top, mood)
    for layer in world.layers:
        _add_layer(scene, layer, world)
    _add_things(scene, world, world.props)
    if land:
        scene.materials = [dyed_material(m, land) for m in scene.materials]
    _add_things(scene, world, (*world.items, *world.creatures, world.hero))
    return scene


def dyed_material(look: Material, dye: Dye) -> Material:
    """A material dyed; its own light as well."""
    return replace(look, colour=dyed_linear(look.colour, dye), glow=dyed_linear(look.glow, dye))


@functools.lru_cache(maxsize=1024)
def dyed_linear(colour: Vector, dye: Dye) -> Vector:
    """`dyed` for linear RGB, which may be brighter than 1."""
    bright = max(1.0, *colour)
    code = [255 * srgb(c / bright) for c in colour]
    red, green, blue = (float(v) for v in dyed(np.array(code), dye))
    red, green, blue = linear(red, green, blue)
    return red * bright, green * bright, blue * bright


def _runs(heights: Sequence[int | None]) -> list[tuple[int, int, int]]:
    """Stretches of equal height: first column, number of columns, height."""
    runs: list[tuple[int, int, int]] = []
    for x, height in enumerate(heights):
        if height is None:
            continue
        if runs and runs[-1][0] + runs[-1][1] == x and runs[-1][2] == height:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1, height)
        else:
            runs.append((x, 1, height))
    return runs


def _block(
    scene: Solids[Material], x: tuple[float, float], y: tuple[float, float], z: tuple[float, float], look: Material
) -> None:
    centre = ((x[0] + x[1]) / 2, (y[0] + y[1]) / 2, (z[0] + z[1]) / 2)
    scene.box(centre, ((x[1] - x[0]) / 2, (y[1] - y[0]) / 2, (z[1] - z[0]) / 2), look)


def _add_things(scene: Solids[Material], world: World, things: Sequence[Thing]) -> None:
    """Those in view."""
    left, right = world.view.x - 6, world.view.x + VIEW_WIDTH + 6
    for thing in things:
        if left < thing.x < right:
            add_model(scene, thing.kind, (thing.x, thing.y, thing.z), thing.size, thing.facing)


def _add_ground(scene: Solids[Material], world: World, mood: Mood) -> None:
    top, body = material(mood.top, world.seed % 31), material(mood.body, world.seed % 17)
    for x, width, height in _runs(world.ground):
        if world.scene == "sky":  # islands hang in the air, narrower below
            middle = (x + width / 2, height - 0.9, 0.4)
            scene.box(middle, (width * 0.33, 0.7, 1.3), body, taper=(1.5, 1.5))
            _block(scene, (x, x + width), (height - 0.35, height), (FRONT, BACK), top)
            continue
        _block(scene, (x, x + width), (BOTTOM, height - 0.3), (FRONT, BACK), body)
        _block(scene, (x - 0.06, x + width + 0.06), (height - 0.32, height), (FRONT - 0.06, BACK), top)
    if mood.floor:
        low = min((g for g in world.ground if g is not None), default=2)
        scene.plane(low - 1.2, material(mood.floor, 5.0))


def _add_ceiling(scene: Solids[Material], world: World, mood: Mood) -> None:
    look = material(mood.body, 3.0)
    for x, width, height in _runs(world.ceiling):
        _block(scene, (x, x + width), (height, height + 6), (FRONT + 0.8, BACK + 4), look)


def _add_liquid(scene: Solids[Material], world: World) -> None:
    if world.liquid is None:
        return
    level, kind = world.liquid.level, world.liquid.kind
    x = (world.view.x - 14, world.view.x + VIEW_WIDTH + 14)
    match kind:
        case "lava":
            look = Material(linear(220, 70, 20), pattern=LAVA, glow=(1.5, 0.34, 0.05))
        case "ice":
            look = material("ice")
        case "swamp":
            look = Material(linear(58, 72, 44), pattern=WATER, gloss=0.8)
        case _:
            look = Material(linear(30, 82, 110), pattern=WATER, gloss=1.0)
    if world.scene == "underwater":  # its surface is seen from below
        _block(
            scene,
            x,
            (level, level + 0.2),
            (-4, 60),
            Material(linear(120, 210, 220), pattern=WATER, glow=(0.3, 0.6, 0.62)),
        )
    else:
        _block(scene, x, (BOTTOM, level), (FRONT + 0.15, BACK + 1), look)


def _add_platform(scene: Solids[Material], kind: str, x: int, y: int, width: int, mood: Mood) -> None:
    look = material(mood.block, 1.3 * x)
    match kind:
        case "cloud":
            for i in range(width):
                scene.sphere((x + i + 0.5, y - 0.4, 0.3), (0.75, 0.42 + 0.08 * (i % 2), 0.9), material("cloud"))
        case "plank":
            _block(scene, (x, x + width), (y - 0.25, y), (-0.7, 0.9), look)
            for end in (x + 0.3, x + width - 0.3):
                scene.cylinder((end, y - 1.2, 0.5), 0.08, 1.1, material("deadwood"))
        case "block":
            for i in range(width):
                _block(scene, (x + i + 0.02, x + i + 0.98), (y - 0.98, y), (-0.5, 0.5), look)
        case _:
            _block(scene, (x, x + width), (y - 0.8, y), (-0.9, 0.9), look)


def _add_column(scene: Solids[Material], kind: str, x: float, foot: float, top: float, mood: Mood) -> None:
    centre, half = (x, (foot + top) / 2, 0.3), (top - foot) / 2
    match kind:
        case "stalagmite":
            scene.cylinder(centre, 0.6, half, material("darkrock"), taper=0.1)
        case "stalactite":
            scene.cylinder(centre, 0.07, half, material("darkrock"), taper=8.5)
        case "pillar":
            scene.cylinder(centre, 0.42, half, material("rock", x))
            for y in (foot + 0.15, top - 0.15):
                _block(scene, (x - 0.55, x + 0.55), (y - 0.15, y + 0.15), (-0.25, 0.85), material("rock"))
        case "ice":
            scene.box(centre, (0.5, half, 0.45), material("ice"), taper=(0.5, 0.5))
        case "reef":
            scene.cylinder(centre, 0.35, half, material("coral", x), taper=0.6)
            scene.sphere((x, top, 0.3), (0.45, 0.3, 0.4), material("coral2"))
        case "ruin":
            _block(scene, (x - 0.5, x + 0.5), (foot, top), (-0.2, 0.8), material("sandstone", x))
            _block(scene, (x - 0.6, x + 0.6), (top - 0.25, top), (-0.3, 0.9), material("sandstone"))
        case _:
            stuff = "deadwood" if mood.top == "moss" else "wood"
            scene.cylinder(centre, 0.45, half, material(stuff), taper=0.85)


def _add_layer(scene: Solids[Material], layer: Layer, world: World) -> None:
    """The shapes of a background layer, every few columns, in their depth."""
    z = 5 + 2.2 * layer.distance
    near, step = world.view.x + VIEW_WIDTH / 2, max(3.0, 0.8 * layer.distance)
    if layer.kind in ("cavewall", "brickwall"):
        stuff = "darkrock" if layer.kind == "cavewall" else "darkbrick"
        _block(scene, (near - 40, near + 40), (BOTTOM, 24), (BACK, BACK + 3), material(stuff, world.seed % 13))
        if layer.kind == "brickwall":
            return
        step, z = 2.5, BACK + 0.3
    rng = np.random.default_rng([world.seed, len(layer.kind)])
    reach = 22 + 1.1 * layer.distance * 2
    for x in np.arange(near - reach, near + reach, step):
        height = layer.heights[int(x / 1.7) % len(layer.heights)]
        foot = (float(x + rng.uniform(-0.5, 0.5) * step), height, z + float(rng.uniform(-1, 1)))
        _add_shape(scene, world.scene, layer.kind, foot, step, rng)


def _add_shape(
    scene: Solids[Material], scene_name: str, kind: str, foot: Vector, step: float, rng: np.random.Generator
) -> None:
    """One shape of a background layer; what is random about it is drawn from `rng`."""
    x, height, z = foot
    size = float(rng.uniform(0.8, 1.25))
    match kind:
        case "clouds":
            add_model(scene, "cloud", (x, height, z), 1.6 * size)
        case "mountains":
            scene.box(
                (x, height / 2, z),
                (step * 1.1 * size, height / 2 + 2, 3),
                material("rock", x),
                (0.4 * size, 0, 0),
                (0.04, 0.3),
            )
        case "peaks":
            scene.box(
                (x, height / 2, z),
                (step * 1.1, height / 2 + 2, 3),
                material("rock", x),
                (0.5 * size, 0, 0),
                (0.04, 0.2),
            )
            scene.box(
                (x, height * 0.9, z - 0.3),
                (step * 0.36, height * 0.16 + 0.4, 1.2),
                material("snow"),
                (0.5 * size, 0, 0),
                (0.03, 0.15),
            )
        case "hills" | "dunes":
            stuff = MOODS[scene_name].floor or "turf"
            scene.sphere((x, 0, z), (step * 1.5 * size, height, 3.5), material(stuff, x))
        case "mesas":
            if rng.random() < 0.6:
                scene.box(
                    (x, height / 2, z),
                    (step * 0.6 * size, height / 2 + 1, 2.5),
                    material("sandstone", x),
                    taper=(0.75, 0.75),
                )
        case "forest":
            scene.cylinder((x, height / 2, z), 0.35 * size, height / 2 + 1, material("deadwood"), taper=0.5)
            scene.cylinder((x + 0.9, height * 0.8, z), 0.14, 1.3, material("deadwood"), (0, 0, -0.9), 0.3)
            scene.cylinder((x - 0.8, height * 0.65, z), 0.14, 1.2, material("deadwood"), (0, 0, 0.9), 0.3)
            scene.sphere((x, height + 0.8, z), (1.3 * size, 0.9, 1.2), material("moss"))
        case "reef":
            scene.sphere((x, 0, z), (step * 0.9 * size, height, 1.8), material("rock", x))
            scene.cylinder((x + 1, height / 2, z - 1), 0.3, height * 0.35, material("coral", x), taper=0.5)
        case _:  # the uneven wall of a cave
            scene.sphere((x, float(rng.uniform(0, 13)), z), (1.8 * size, 1.6, 0.9), material("darkrock", x))


@dataclass(frozen=True)
class Shot:
    """How a style films a level: ranges of angles in radians, and what the hero shares of the focus."""

    yaw: tuple[float, float]
    """Away from the look square to the lane, to the side that the hero faces."""
    pitch: tuple[float, float]
    """Down."""
    distance: float
    """From the focus, in blocks."""
    width: float
    """Blocks across the picture at the focus, as far as `height` allows."""
    height: float
    follow: float
    """0: the middle of the view, 1: the hero."""
    focus: float
    """Height of the focus above the view's lower edge where the hero is not followed."""


FROM_ABOVE = Shot((-0.5, 0.5), (0.40, 0.46), 15.0, 14.0, 12.0, 0.5, 4.6)
BEHIND = Shot((0.85, 1.2), (0.10, 0.26), 9.0, 13.0, 9.5, 1.0, 4.0)


def cameras(worlds: Sequence[World], shot: Shot, aspect: float) -> Camera:
    """A camera for each world, placed by the world's own random numbers."""
    rows: list[tuple[list[float], list[float]]] = []
    for world in worlds:
        rng = np.random.default_rng([world.seed, 77])
        yaw, pitch = world.hero.facing * float(rng.uniform(*shot.yaw)), float(rng.uniform(*shot.pitch))
        middle = world.view.x + VIEW_WIDTH / 2
        x = middle + shot.follow * (world.hero.x - middle)
        y = shot.focus + shot.follow * (world.hero.y + 1.2 - shot.focus)
        back = shot.distance * math.cos(pitch)
        rows.append(
            (
                [x - back * math.sin(yaw), y + shot.distance * math.sin(pitch), -back * math.cos(yaw)],
                [yaw, pitch, 0.0],
            )
        )
    focal = shot.distance / min(shot.height, shot.width / aspect)
    position, turn = (torch.tensor(v) for v in zip(*rows, strict=True))
    return Camera(position, turn, torch.full((len(rows),), focal))
