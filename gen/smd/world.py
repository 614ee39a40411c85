"""A game level as a scene graph: what is where, and nothing about how it looks.

Blocks; x to the right, y up, z away from the viewer (0 is the lane that the hero runs in). A view is 16 blocks wide and
15 high. The class of a scene is decided here, by topology (ground, gaps, ceiling, liquid, platforms) and by what stands
in it; hero, creatures and items are drawn from the same distributions in all classes. Everything follows from the seed.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gen.errors import BadSetting, unknown
from gen.smd.names import SCENES

WIDTH = 48
"""Columns of a world."""
VIEW_WIDTH, VIEW_HEIGHT = 16, 15
CREATURES = ("beetle", "jelly", "hopper")
ITEMS = ("gem", "key", "lantern")
Rng = np.random.Generator


class Thing(NamedTuple):
    """Something that stands or floats: its kind, the position of its foot, and its size (1 is the kind's usual one)."""

    kind: str
    x: float
    y: float
    z: float = 0.0
    size: float = 1.0
    facing: int = 1
    """1 to the right, -1 to the left."""


class Platform(NamedTuple):
    """Blocks to stand on: columns x to x + width - 1, top at `y`, one block thick (planks and clouds: less)."""

    kind: str
    """block, plank, cloud or stone."""
    x: int
    y: int
    width: int


class Column(NamedTuple):
    """An upright obstacle from `foot` to `top` at column x, `width` wide; its kind says what it grows from."""

    kind: str
    """pillar, trunk, stalagmite, stalactite, ice, reef or ruin."""
    x: int
    foot: float
    top: float
    width: float = 1.0


class Liquid(NamedTuple):
    """A level surface that fills what lies below it."""

    kind: str
    """water, lava, swamp or ice."""
    level: float


class Layer(NamedTuple):
    """A part of the background: its outline over the columns of the world, in blocks above the view's lower edge."""

    kind: str
    """hills, mountains, cavewall, reef, brickwall, clouds, peaks, dunes, mesas, forest."""
    distance: float
    """How many times farther than the lane; it moves that much slower."""
    heights: tuple[float, ...]


class View(NamedTuple):
    """The part of the world that a 2D style shows: its lower left corner."""

    x: float
    y: float


@dataclass(frozen=True)
class World:
    """One level."""

    scene: str
    seed: int
    ground: tuple[int | None, ...]
    """Top of the ground in each column; None over a gap."""
    ceiling: tuple[int | None, ...]
    """Underside of the ceiling in each column, if there is one."""
    platforms: tuple[Platform, ...]
    columns: tuple[Column, ...]
    liquid: Liquid | None
    layers: tuple[Layer, ...]
    """The farthest first."""
    props: tuple[Thing, ...]
    items: tuple[Thing, ...]
    creatures: tuple[Thing, ...]
    hero: Thing
    view: View
    hour: float
    """0: high noon, 1: dusk; indoors how dim it is."""


@dataclass(frozen=True)
class Recipe:
    """What makes a class of scenes."""

    base: tuple[int, int]
    """Lowest and highest ground."""
    slope: float
    """Chance of a step from a column to the next."""
    gaps: float
    """Chance that a gap begins at a column."""
    gap_width: tuple[int, int]
    ceiling: tuple[int, int] | None
    """Lowest and highest underside."""
    platforms: tuple[int, int]
    """Fewest and most in the world."""
    platform_kind: str
    columns: tuple[str, ...]
    column_count: tuple[int, int]
    liquid: Liquid | None
    layers: tuple[tuple[str, float, float, float], ...]
    """Kind, distance, mean height and relief."""
    props: tuple[tuple[str, float], ...]
    """Kind, and how many there are on 10 columns."""


RECIPES: dict[str, Recipe] = {
    "grassland": Recipe(
        (3, 5), 0.22, 0.05, (2, 3), None, (3, 6), "block", ("trunk",), (0, 2), None,
        (("clouds", 12, 11, 1.5), ("mountains", 8, 6.5, 2.5), ("hills", 4, 4.5, 2.0)),
        (("tree", 1.1), ("bush", 1.6), ("flower", 2.4), ("fence", 0.6), ("grass", 3.0)),
    ),
    "cave": Recipe(
        (2, 4), 0.5, 0.06, (2, 4), (10, 13), (2, 4), "stone", ("stalagmite", "stalactite", "stalactite"), (7, 12),
        Liquid("water", 1.2), (("cavewall", 3, 9, 4.0),),
        (("crystal", 2.2), ("stone", 1.6), ("stalagmite", 1.2)),
    ),
    "underwater": Recipe(
        (1, 4), 0.4, 0.0, (1, 1), None, (0, 2), "stone", ("reef",), (4, 7), Liquid("water", 13.4),
        (("reef", 6, 6, 3.0), ("reef", 3, 3.5, 2.0)),
        (("seaweed", 3.6), ("coral", 2.2), ("bubble", 2.0), ("shell", 0.8)),
    ),
    "fortress": Recipe(
        (3, 5), 0.10, 0.10, (2, 4), (11, 13), (3, 6), "block", ("pillar",), (5, 8), Liquid("lava", 1.4),
        (("brickwall", 3, 20, 0.0),),
        (("torch", 1.2), ("banner", 0.9), ("chain", 0.9), ("window", 0.8), ("battlement", 0.8)),
    ),
    "sky": Recipe(
        (2, 7), 0.2, 0.34, (3, 5), None, (6, 9), "cloud", (), (0, 0), None,
        (("clouds", 12, 6, 2.5), ("clouds", 6, 3, 2.0)),
        (("cloud", 1.6), ("balloon", 0.6), ("island", 0.7), ("flower", 1.0), ("grass", 1.0)),
    ),
    "snow": Recipe(
        (3, 6), 0.35, 0.05, (2, 3), None, (2, 4), "stone", ("ice",), (2, 4), Liquid("ice", 2.0),
        (("peaks", 8, 8, 3.5), ("hills", 4, 5, 1.8)),
        (("pine", 2.4), ("drift", 1.6), ("stone", 0.5), ("fence", 0.3)),
    ),
    "desert": Recipe(
        (3, 4), 0.12, 0.03, (2, 2), None, (2, 4), "stone", ("ruin",), (1, 3), None,
        (("mesas", 8, 6.5, 3.5), ("dunes", 4, 4.5, 1.2)),
        (("cactus", 1.8), ("bones", 0.5), ("arch", 0.35), ("tumbleweed", 0.6), ("stone", 0.7)),
    ),
    "haunted": Recipe(
        (3, 4), 0.3, 0.09, (2, 3), None, (2, 4), "plank", ("trunk",), (2, 4), Liquid("swamp", 1.8),
        (("hills", 9, 6, 2.0), ("forest", 4, 9.5, 2.5)),
        (("deadtree", 1.3), ("grave", 1.6), ("lamppost", 0.7), ("fence", 0.9), ("pumpkin", 0.9)),
    ),
}  # fmt: skip


def make_world(scene: str, seed: int) -> World:
    """The level of a class and a seed. Raises `BadSetting` for an unknown class."""
    if scene not in RECIPES:
        raise BadSetting(unknown("scene", scene, SCENES))
    # Order matters: each draw moves the random stream, so a new one must come last or levels of old seeds change.
    recipe, rng = RECIPES[scene], np.random.default_rng([seed, SCENES.index(scene)])
    ground = _ground(rng, recipe)
    ceiling: list[int | None] = [None] * WIDTH
    if recipe.ceiling:
        ceiling = [*_walk(rng, *recipe.ceiling, 0.1 if scene == "fortress" else 0.55)]
    # The view stays 12 columns from both ends of the world, because 3D cameras see more than the view.
    platforms = _platforms(rng, recipe, ground)
    floor = _floor(ground, platforms)
    view = View(float(rng.integers(12, WIDTH - VIEW_WIDTH - 12)), 0.0)
    swims = scene == "underwater"
    hero = _hero(rng, floor, view, swims)
    return World(
        scene, seed, tuple(ground), tuple(ceiling), tuple(platforms),
        columns=tuple(_columns(rng, recipe, ground, ceiling, hero)), liquid=recipe.liquid,
        layers=tuple(_layer(rng, *layer) for layer in recipe.layers),
        props=tuple(_props(rng, recipe, ground, ceiling)),
        items=tuple(_items(rng, floor, view)), creatures=tuple(_creatures(rng, floor, view, hero)),
        hero=hero, view=view, hour=float(rng.random()),
    )  # fmt: skip


def _walk(rng: Rng, low: int, high: int, chance: float) -> list[int]:
    """A random walk of whole heights between two bounds, a block at a time."""
    height = int(rng.integers(low, high + 1))
    heights: list[int] = []
    for _ in range(WIDTH):
        if rng.random() < chance:
            height = min(high, max(low, height + (1 if rng.random() < 0.5 else -1)))
        heights.append(height)
    return heights


def _ground(rng: Rng, recipe: Recipe) -> list[int | None]:
    """Top of the ground in each column, with gaps that leave 3 to 5 columns of ground to land on between them."""
    ground: list[int | None] = [*_walk(rng, *recipe.base, recipe.slope)]
    column = 2
    while column < WIDTH - 6:
        if rng.random() < recipe.gaps:
            width = int(rng.integers(recipe.gap_width[0], recipe.gap_width[1] + 1))
            ground[column : column + width] = [None] * width
            column += width + int(rng.integers(3, 6))
        else:
            column += 1
    return ground


def _platforms(rng: Rng, recipe: Recipe, ground: list[int | None]) -> list[Platform]:
    """Platforms spread over the world, each within a jump (2 to 4 blocks) of what lies below it."""
    count = int(rng.integers(recipe.platforms[0], recipe.platforms[1] + 1))
    platforms: list[Platform] = []
    for index in range(count):
        x = round((index + float(rng.uniform(0.2, 0.8))) * (WIDTH - 8) / max(count, 1)) + 2
        width = int(rng.integers(2, 5))
        below = [g for g in ground[x : x + width] if g is not None]
        y = (max(below) if below else 3) + int(rng.integers(2, 5))
        if not any(p.x - 1 <= x + width and x <= p.x + p.width + 1 for p in platforms):
            platforms.append(Platform(recipe.platform_kind, x, min(y, 9), width))
    return platforms


def _floor(ground: list[int | None], platforms: list[Platform]) -> list[int | None]:
    """What one lands on from above, in each column."""
    floor = list(ground)
    for platform in platforms:
        for x in range(platform.x, platform.x + platform.width):
            floor[x] = platform.y
    return floor


def _hero(rng: Rng, floor: list[int | None], view: View, swims: bool) -> Thing:
    """In the left half of the view, on firm ground."""
    columns = [x for x in range(int(view.x) + 3, int(view.x) + 10) if floor[x] is not None]
    x = int(rng.choice(columns)) if columns else int(view.x) + 5
    base = floor[x]
    y = (base if base is not None else 4) + (float(rng.uniform(2, 4)) if swims else 0.0)
    return Thing("hero", x + 0.5, y)


def _columns(
    rng: Rng, recipe: Recipe, ground: list[int | None], ceiling: list[int | None], hero: Thing
) -> list[Column]:
    """Upright obstacles on the ground or between ground and ceiling, 2 columns from each other and from the hero."""
    columns: list[Column] = []
    if not recipe.columns:
        return columns
    for _ in range(int(rng.integers(recipe.column_count[0], recipe.column_count[1] + 1))):
        kind, x = str(rng.choice(recipe.columns)), int(rng.integers(1, WIDTH - 1))
        base, roof = ground[x], ceiling[x]
        if base is None or abs(x + 0.5 - hero.x) < 2 or any(abs(c.x - x) < 2 for c in columns):
            continue
        if kind == "pillar" and roof is not None:
            columns.append(Column(kind, x, base, roof))
        elif kind == "stalactite" and roof is not None:
            columns.append(Column(kind, x, roof - float(rng.uniform(1.5, 4)), roof))
        elif kind not in ("pillar", "stalactite"):
            height = {"trunk": (1, 3), "stalagmite": (1.5, 3.5), "reef": (2, 5), "ice": (1.5, 4), "ruin": (2, 5)}[kind]
            columns.append(Column(kind, x, base, base + float(rng.uniform(*height))))
    return columns


def _layer(rng: Rng, kind: str, distance: float, mean: float, relief: float) -> Layer:
    """A smooth outline: the sum of three waves. Styles make mesas and forests jagged."""
    x = np.arange(WIDTH)
    waves = sum(
        math.pow(0.55, i) * np.sin(x * (0.16 + 0.17 * i) * float(rng.uniform(0.8, 1.25)) + float(rng.uniform(0, 6.3)))
        for i in range(3)
    )
    heights = mean + relief * np.asarray(waves) / 1.6
    return Layer(kind, distance, tuple(float(h) for h in heights))


HANGING: dict[str, Callable[[Rng, float, float], float]] = {
    "chain": lambda rng, base, roof: roof - 1.5,
    "torch": lambda rng, base, roof: base + 2.2,
    "window": lambda rng, base, roof: base + 3.0,
    "banner": lambda rng, base, roof: base + 2.6,
    "bubble": lambda rng, base, roof: base + float(rng.uniform(1, 7)),
    "cloud": lambda rng, base, roof: float(rng.uniform(3, 12)),
    "balloon": lambda rng, base, roof: float(rng.uniform(5, 9)),
    "island": lambda rng, base, roof: float(rng.uniform(3, 9)),
}
"""Props that do not stand on the ground: height from the generator, the ground's top and the ceiling's underside."""


def _props(rng: Rng, recipe: Recipe, ground: list[int | None], ceiling: list[int | None]) -> list[Thing]:
    """Decoration, most of it a little behind the lane; the farthest first, the order in which 2D styles draw."""
    props: list[Thing] = []
    for kind, density in recipe.props:
        for _ in range(rng.poisson(density * WIDTH / 10)):
            x = float(rng.uniform(1, WIDTH - 1))
            base, roof = ground[int(x)], ceiling[int(x)]
            hang = HANGING.get(kind)
            if base is None and hang is None:
                continue
            y = hang(rng, base or 3, roof or 12) if hang else float(base or 0)
            z = float(rng.uniform(5, 9)) if kind in ("cloud", "balloon", "island") else float(rng.uniform(0.4, 1.6))
            z = 1.9 if kind in ("torch", "window", "banner") else z
            props.append(Thing(kind, x, y, z, float(rng.uniform(0.8, 1.2)), 1 if rng.random() < 0.5 else -1))
    return sorted(props, key=lambda p: -p.z)


def _items(rng: Rng, floor: list[int | None], view: View) -> list[Thing]:
    """A row or an arc of three to five of one kind in the view."""
    kind, count = str(rng.choice(ITEMS)), int(rng.integers(3, 6))
    left = int(view.x) + int(rng.integers(6, VIEW_WIDTH - count - 2))
    heights = [h for h in floor[left : left + count] if h is not None]
    base, arc = (max(heights) if heights else 4) + 1.4, float(rng.choice([0.0, 1.2]))
    return [Thing(kind, left + i + 0.5, base + arc * math.sin(math.pi * i / (count - 1)), 0.0) for i in range(count)]


def _creatures(rng: Rng, floor: list[int | None], view: View, hero: Thing) -> list[Thing]:
    """Two to four on firm ground, away from the hero; jellies float."""
    creatures: list[Thing] = []
    for _ in range(int(rng.integers(2, 5))):
        kind, x = str(rng.choice(CREATURES)), int(view.x) + int(rng.integers(1, VIEW_WIDTH - 1))
        base = floor[x]
        if base is None or abs(x + 0.5 - hero.x) < 1.5 or any(abs(c.x - x - 0.5) < 1.2 for c in creatures):
            continue
        y = base + (1.6 if kind == "jelly" else 0.0)
        creatures.append(Thing(kind, x + 0.5, y, 0.0, 1.0, 1 if rng.random() < 0.5 else -1))
    return creatures
