"""The look of an 8-bit console: 256 x 240, a flat backdrop, and 16 x 16 cells of one four-colour palette each.

Limits as of the hardware: four palettes of three colours and the shared backdrop for the background, four of three
colours for sprites: 25 colours in all, from a master palette of 54 (ours, not a console's).
"""

import colorsys
import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gen.smd.art.palette import Rgb
from gen.smd.art.sprites import BLOCK, Mask, Pixels, Sprite, outline, profile, sprite, stuff_texture
from gen.smd.world import Layer, Thing, World

HEIGHT, WIDTH = 240, 256
Palette = tuple[Rgb, Rgb, Rgb]
"""Dark, middle and light."""
Index = NDArray[np.uint8]
LAND, PLANTS, FAR, EXTRA = range(4)
"""The background's palettes: ground; what grows or stands on it; what is far; blocks, liquids and lights."""
BEHIND = 1.7
"""Props at a depth z above this hang on the back wall or in the sky: drawn before the ground, so that it hides them."""


@functools.cache
def master() -> NDArray[np.float32]:
    """The 54 colours (54, 3): twelve hues at four levels, and six greys."""
    levels = ((0.36, 0.92), (0.64, 0.85), (0.90, 0.62), (0.99, 0.30))
    hues = [colorsys.hsv_to_rgb(h / 12, s, v) for v, s in levels for h in range(12)]
    greys = [(g, g, g) for g in (0.02, 0.28, 0.42, 0.68, 0.86, 0.99)]
    return np.rint(np.array(hues + greys) * 255).astype(np.float32)


class Scheme(NamedTuple):
    """The background's colours in a class, as wanted; the nearest of the master palette are taken.

    All four palettes share the dark, in which far layers are filled: so a cell that takes another palette for what
    stands before a hill does not tear the hill.
    """

    backdrop: Rgb
    dark: Rgb
    land: Rgb
    land_light: Rgb
    plants: Rgb
    plants_light: Rgb
    far: Rgb
    far_light: Rgb
    extra: Rgb
    extra_light: Rgb

    def palettes(self) -> tuple[Palette, ...]:
        """Dark, middle and light of LAND, PLANTS, FAR and EXTRA."""
        pairs = (
            (self.land, self.land_light),
            (self.plants, self.plants_light),
            (self.far, self.far_light),
            (self.extra, self.extra_light),
        )
        return tuple((self.dark, middle, light) for middle, light in pairs)


SCHEMES: dict[str, Scheme] = {
    "grassland": Scheme((118, 160, 252), (24, 84, 92), (160, 96, 40), (96, 200, 60), (48, 160, 24), (168, 250, 110), (120, 190, 140), (250, 250, 250), (164, 104, 24), (250, 200, 120)),
    "cave": Scheme((5, 5, 5), (44, 30, 70), (107, 107, 107), (176, 176, 176), (64, 180, 200), (200, 250, 250), (72, 60, 104), (110, 100, 140), (50, 100, 190), (130, 190, 250)),
    "underwater": Scheme((118, 160, 252), (8, 40, 100), (107, 107, 107), (220, 210, 150), (40, 170, 100), (180, 250, 130), (40, 70, 160), (90, 150, 230), (200, 60, 90), (240, 250, 250)),
    "fortress": Scheme((5, 5, 5), (70, 70, 70), (107, 107, 107), (176, 176, 176), (190, 40, 40), (250, 200, 90), (70, 70, 70), (110, 104, 120), (230, 90, 24), (250, 230, 120)),
    "sky": Scheme((118, 160, 252), (92, 56, 8), (160, 96, 40), (96, 200, 60), (48, 160, 24), (250, 150, 130), (220, 220, 220), (252, 252, 252), (220, 60, 60), (252, 252, 252)),
    "snow": Scheme((118, 160, 252), (70, 84, 150), (107, 107, 107), (250, 250, 252), (30, 140, 90), (240, 250, 250), (150, 165, 220), (250, 250, 250), (140, 200, 240), (240, 250, 252)),
    "desert": Scheme((118, 160, 252), (164, 84, 24), (230, 158, 87), (250, 226, 160), (50, 140, 50), (150, 210, 90), (210, 120, 50), (235, 180, 110), (230, 158, 87), (240, 220, 190)),
    "haunted": Scheme((5, 5, 5), (46, 24, 92), (92, 66, 40), (90, 160, 60), (110, 100, 120), (230, 150, 60), (46, 24, 92), (230, 220, 160), (110, 130, 40), (250, 230, 130)),
}  # fmt: skip


ACTORS: dict[str, Palette] = {
    "hero": ((30, 20, 24), (230, 152, 84), (250, 226, 190)), "beetle": ((40, 14, 46), (150, 60, 150), (246, 226, 200)),
    "jelly": ((40, 14, 46), (150, 60, 150), (246, 226, 200)), "hopper": ((16, 60, 20), (80, 190, 80), (246, 246, 210)),
    "gem": ((16, 40, 92), (70, 190, 230), (250, 220, 110)), "key": ((16, 40, 92), (70, 190, 230), (250, 220, 110)),
    "lantern": ((16, 40, 92), (70, 190, 230), (250, 220, 110)),
}  # fmt: skip
"""Sprite palettes by kind: four different ones."""

TOPS = {
    "grassland": "turf", "cave": "rock", "underwater": "seabed", "fortress": "brick", "sky": "turf", "snow": "snow",
    "desert": "sand", "haunted": "moss",
}  # fmt: skip
BODIES = {
    "grassland": "soil", "cave": "rock", "underwater": "rock", "fortress": "brick", "sky": "soil", "snow": "rock",
    "desert": "sandstone", "haunted": "soil",
}  # fmt: skip
ON_EXTRA = {"lamppost", "fence", "stone", "bones", "pumpkin", "balloon", "coral", "shell", "tumbleweed"}
"""Props that need the fourth palette; the others share the plants'."""
ON_FAR = {"cloud", "bubble", "window", "chain"}
ON_LAND = {"arch", "stalagmite", "battlement", "grave", "island", "drift"}


class Screen:
    """The background as the hardware holds it: two bits a pixel, and a palette a cell."""

    def __init__(self) -> None:
        self.index: Index = np.zeros((HEIGHT, WIDTH), np.uint8)
        self.palette: Index = np.zeros((HEIGHT // BLOCK, WIDTH // BLOCK), np.uint8)

    def draw(self, mask: Mask, index: Index | int, palette: int) -> None:
        """Set the pixels under `mask`; their whole cells take the palette, also what was drawn there before."""
        rows, columns = np.nonzero(mask)
        if len(rows):
            self.palette[rows // BLOCK, columns // BLOCK] = palette
            self.index[mask] = index if isinstance(index, int) else index[mask]


def nearest(colours: NDArray[np.float32], palette: NDArray[np.float32]) -> Index:
    """Index of the nearest of `palette` (n, 3) for colours (..., 3)."""
    # The eye sees differences of green best and of blue least; milder weights than luma's, or blue would be lost.
    weights = np.array([0.5, 0.75, 0.45], np.float32)
    return np.square((colours[..., None, :] - palette) * weights).sum(-1).argmin(-1).astype(np.uint8)


@functools.cache
def colours(scene: str) -> NDArray[np.uint8]:
    """The background's colours (4, 4, 3): palette, then backdrop, dark, middle, light."""
    scheme = SCHEMES[scene]
    wanted = np.array([[scheme.backdrop, *palette] for palette in scheme.palettes()], np.float32)
    return master()[nearest(wanted, master())].astype(np.uint8)


@functools.lru_cache(maxsize=128)
def tile(stuff: str, variant: int) -> Index:
    """A 16 x 16 piece of a stuff in three tones, 1 to 3 (0 is the backdrop)."""
    texture = stuff_texture(stuff, 1)[16 * variant : 16 * variant + 16, :16]
    # The darkest and the brightest 8 % become the outer tones; a brick wall has its own steps, at mortar and stone.
    low, high = np.quantile(texture, (0.08, 0.92)) if stuff != "brick" else (0.7, 1.12)
    return (1 + (texture > low).astype(np.uint8) + (texture > high)).astype(np.uint8)


def tiled(stuff: str, variant: int = 0) -> Index:
    """The screen full of one tile."""
    return np.tile(tile(stuff, variant), (HEIGHT // BLOCK, WIDTH // BLOCK))


def background(world: World) -> tuple[Index, Index]:
    """What the background layer holds: index (240, 256) into a cell's palette, and the palette of each cell (15, 16)."""
    screen = Screen()
    y = (np.arange(HEIGHT)[::-1, None] + 0.5) / BLOCK
    x = world.view.x + (np.arange(WIDTH)[None] + 0.5) / BLOCK
    for layer in world.layers:
        _layer(screen, world, layer, y)
    for thing in (p for p in world.props if p.z > BEHIND):
        _prop(screen, world, thing)
    _ground(screen, world, x, y)
    _columns(screen, world, x, y)
    _platforms(screen, world, x, y)
    for thing in (p for p in world.props if p.z <= BEHIND):
        _prop(screen, world, thing)
    _liquid(screen, world, x, y)
    return screen.index, screen.palette


def render(worlds: Sequence[World], size: int | None = None, device: str = "cpu") -> list[Pixels]:
    """Pictures (240, 256, 3) of worlds. `size` and `device` do nothing: the screen is fixed, and no rays are cast."""
    return [_picture(world) for world in worlds]


def _picture(world: World) -> Pixels:
    index, palette = background(world)
    cells = palette.repeat(BLOCK, 0).repeat(BLOCK, 1)
    picture = colours(world.scene)[cells, index]
    for thing in (*world.items, *world.creatures, world.hero):
        _actor(picture, world, thing)
    return picture


def _layer(screen: Screen, world: World, layer: Layer, y: NDArray[np.float64]) -> None:
    """Draw a background layer: flat shapes with a lit rim, heights in steps of two pixels."""
    height = np.round(profile(layer, world.view, WIDTH) * 8) / 8
    x = world.view.x / layer.distance + np.arange(WIDTH) / BLOCK
    match layer.kind:
        case "clouds":
            for i in range(5):
                thing = Thing(
                    "cloud", world.view.x + 3.4 * i + (world.seed + i * i) % 3, round(float(height[48 * i])), 9.0
                )
                _prop(screen, world, thing)
            return
        case "brickwall" | "cavewall":
            screen.draw(
                np.ones((HEIGHT, WIDTH), bool),
                np.minimum(tiled("brick" if layer.kind == "brickwall" else "rock", 2), 2) - 1,
                FAR,
            )
            return
        case "mountains" | "peaks":
            height = np.round((height + 1.6 * (np.abs((x * 0.55) % 2 - 1) - 0.5)) * 8) / 8
        case "mesas":
            height = np.where((x * 0.21 + 0.618 * world.seed) % 1 < 0.55, np.round(height * 0.75) + 1, 2.5)
        case "forest":
            pitch = (x * 0.62) % 1
            crown = np.hypot((pitch[None] - 0.5) * 1.7, (y - height[None]) * 0.75) < 0.75
            screen.draw(crown | ((np.abs(pitch - 0.5) < 0.08)[None] & (y < height[None])), 2, FAR)
            return
        case _:
            pass
    mask = y < height[None]
    screen.draw(mask, 1, FAR)
    rim = 3 if layer.kind == "peaks" else 2
    depth = 0.9 if layer.kind == "peaks" else 0.16
    screen.draw(mask & (y > height[None] - depth), rim, FAR)
    if world.scene == "haunted" and layer.distance > 6:
        moon = np.hypot(np.arange(WIDTH)[None] / BLOCK - 12, y - 12) < 1.5
        screen.draw(moon, 3, FAR)


def _heights(values: tuple[int | None, ...], x: NDArray[np.float64], missing: float) -> NDArray[np.float64]:
    """Height (1, W) of the ground or ceiling at each pixel column; `missing` over a gap."""
    columns = np.clip(np.floor(x[0]).astype(int), 0, len(values) - 1)
    return np.array([missing if v is None else v for v in values])[columns][None]


def _ground(screen: Screen, world: World, x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    """Ground with a bright fringe on top, and the ceiling."""
    height = _heights(world.ground, x, -9)
    mask = y < height
    if world.scene == "sky":
        mask &= y > height - 2
    screen.draw(mask, np.minimum(tiled(BODIES[world.scene]), 2), LAND)
    fringe = mask & (height - y < 0.38 + 0.13 * (np.arange(WIDTH)[None] // 2 % 3))
    screen.draw(fringe, 3, LAND)
    screen.draw(fringe & (height - y < 0.07), 2 if world.scene in ("snow", "desert") else 3, LAND)
    screen.draw(mask & ~fringe & (height - y < 0.75) & (height - y > 0.6), 1, LAND)
    if any(c is not None for c in world.ceiling):
        roof = y > _heights(world.ceiling, x, 99)
        screen.draw(roof, np.minimum(tiled(BODIES[world.scene], 3), 2), LAND)
        screen.draw(roof & (y < _heights(world.ceiling, x, 99) + 0.2), 3, LAND)


def _platforms(screen: Screen, world: World, x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    """Blocks lit from the upper left, planks, and puffs of cloud."""
    for p in world.platforms:
        mask = (x >= p.x) & (x < p.x + p.width) & (y < p.y) & (y >= p.y - 1)
        a, b = ((x - p.x) % 1) + 0 * y, ((p.y - y) % 1) + 0 * x  # from the block's left and top; + 0 broadcasts
        if p.kind == "cloud":
            round_ = mask & (b > 0.5 - np.sqrt(np.clip(0.25 - (a - 0.5) ** 2, 0, 1))) & (b < 0.8)
            screen.draw(round_, np.where(b > 0.6, 2, 3).astype(np.uint8), FAR)
            continue
        if p.kind == "plank":
            mask &= b < 0.4
        face = np.where((a < 0.07) | (b < 0.07), 3, np.where((a > 0.92) | (b > 0.92), 1, 2)).astype(np.uint8)
        face = np.where((np.hypot(a - 0.5, b - 0.5) < 0.2) & (p.kind == "block"), 3, face).astype(np.uint8)
        screen.draw(mask, face, EXTRA)


def _columns(screen: Screen, world: World, x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    """Upright obstacles, light on the left and dark on the right."""
    for c in world.columns:
        rise = np.clip((y - c.foot) / max(c.top - c.foot, 0.1), 0, 1)
        reach = {"stalagmite": 0.5 * (1.1 - rise), "stalactite": 0.5 * (0.15 + rise), "ice": 0.5 * (1.1 - 0.6 * rise)}
        width = np.round(reach.get(c.kind, np.full_like(rise, 0.44)) * BLOCK) / BLOCK
        side = (x - c.x - 0.5) / np.maximum(width, 0.05)
        mask = (np.abs(side) < 1) & (y >= c.foot) & (y < c.top)
        tone = np.where(side < -0.45, 3, np.where(side > 0.4, 1, 2)).astype(np.uint8) + 0 * y.astype(np.uint8)
        screen.draw(mask, tone, EXTRA if c.kind in ("ice", "reef", "trunk") else LAND)


def _liquid(screen: Screen, world: World, x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    """Water, lava, swamp or ice in the gaps: opaque, because this hardware cannot blend."""
    if world.liquid is None:
        return
    level = round(world.liquid.level * 8) / 8
    wave = (np.arange(WIDTH)[None] // 4 % 2) * 0.125
    if world.scene == "underwater":  # the backdrop is the water; above it there is light
        screen.draw((y > level) & (x > 0), 3, EXTRA)
        screen.draw((y > level - 0.15) & (y < level + wave), 2, FAR)
        return
    mask = (y < level + wave - 0.06) & (_heights(world.ground, x, -9) < level)
    screen.draw(mask, 2, EXTRA)
    screen.draw(mask & (y > level - 0.14), 3, EXTRA)
    screen.draw(
        mask & ((np.arange(WIDTH)[None] + 3 * (np.arange(HEIGHT)[:, None] // 3)) % 14 < 3) & (y < level - 0.3), 1, EXTRA
    )


@functools.lru_cache(maxsize=1024)
def _reduced(kind: str, size: float, facing: int, palette: Palette) -> tuple[Sprite, Index]:
    """A sprite and its pixels' index 1..3 into a palette, its inside edges dark."""
    picture = sprite(kind, size, facing)
    table = master()[nearest(np.array(palette, np.float32), master())]
    index = nearest(picture.colour, table) + 1
    padded = np.pad(~picture.mask, 1, constant_values=True)[1:-1, 1:-1]
    edge = outline(padded) & picture.mask
    light = picture.colour.mean(-1) > 150
    return picture, np.where(edge & ~light, 1, index).astype(np.uint8)


def _placed(
    world: World, thing: Thing, picture: Sprite, grid: int
) -> tuple[int, int, tuple[slice, slice], tuple[slice, slice]] | None:
    """Where a sprite's pixels fall on the screen, and which of them; its foot is held to a grid of pixels across."""
    column = round((thing.x - world.view.x) * BLOCK / grid) * grid
    left, top = column + picture.left, HEIGHT - round(thing.y * BLOCK) - picture.top
    height, width = picture.mask.shape
    up, down, west, east = max(0, top), min(HEIGHT, top + height), max(0, left), min(WIDTH, left + width)
    if up >= down or west >= east:
        return None
    return (
        up,
        west,
        (slice(up, down), slice(west, east)),
        (slice(up - top, down - top), slice(west - left, east - left)),
    )


def _prop(screen: Screen, world: World, thing: Thing) -> None:
    """A prop is part of the background: in tiles of 8 pixels, and its cells take its palette."""
    scheme = SCHEMES[world.scene]
    which = (
        EXTRA if thing.kind in ON_EXTRA else FAR if thing.kind in ON_FAR else LAND if thing.kind in ON_LAND else PLANTS
    )
    picture, index = _reduced(thing.kind, 1.0, thing.facing, scheme.palettes()[which])
    placed = _placed(world, thing, picture, 8)
    if placed is None:
        return
    _, _, target, source = placed
    mask, values = np.zeros((HEIGHT, WIDTH), bool), np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[target], values[target] = picture.mask[source], index[source]
    screen.draw(mask, values, which)


def _actor(picture: Pixels, world: World, thing: Thing) -> None:
    """A sprite: its own palette, anywhere, over the background."""
    palette = ACTORS[thing.kind]
    drawn, index = _reduced(thing.kind, 1.0, thing.facing, palette)
    placed = _placed(world, thing, drawn, 1)
    if placed is None:
        return
    _, _, target, source = placed
    table = master()[nearest(np.array(palette, np.float32), master())].astype(np.uint8)
    mask = drawn.mask[source]
    picture[target][mask] = table[index[source] - 1][mask]
