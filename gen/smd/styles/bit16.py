"""The look of a 16-bit console: 256 x 224, 15-bit colours, outlines, gradients, parallax layers, translucent water."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from gen.smd.art.canvas import HEIGHT, MARGIN, Canvas
from gen.smd.art.palette import Rgb, dyed, exposed, of_hue
from gen.smd.art.sprites import BLOCK, Pixels, fifteen_bits, profile, speckle
from gen.smd.world import VIEW_HEIGHT, Layer, World

BEHIND = 1.7
"""Props at a depth z above this hang on the back wall or in the sky: drawn before the ground, so that it hides them."""
NOON, DUSK = (1.05, 1.04, 1.02), (0.78, 0.73, 0.80)
"""What the hour makes of all colours."""

SKIES: dict[str, tuple[tuple[int, int], tuple[int, int]]] = {
    "grassland": ((122, 210), (101, 220)),
    "cave": ((23, 45), (27, 52)),
    "underwater": ((113, 37), (123, 40)),
    "fortress": ((36, 47), (33, 59)),
    "sky": ((107, 224), (102, 212)),
    "snow": ((122, 221), (85, 209)),
    "desert": ((135, 225), (129, 211)),
    "haunted": ((21, 72), (23, 86)),
}
"""Two hours of the day for each class: luma of the top and the foot of the sky. Its hues are in the palette."""

TOPS = {
    "grassland": ("turf", "soil"), "cave": ("rock", "darkrock"), "underwater": ("seabed", "rock"),
    "fortress": ("brick", "darkbrick"), "sky": ("turf", "soil"), "snow": ("snow", "rock"),
    "desert": ("sand", "sandstone"), "haunted": ("moss", "soil"),
}  # fmt: skip
"""Stuff of the ground's top and of what lies below."""

BLOCKS = {
    "cave": "rock",
    "fortress": "brick",
    "underwater": "rock",
    "snow": "ice",
    "desert": "sandstone",
    "sky": "cloud",
}
COLUMNS = {
    "trunk": "wood", "stalagmite": "darkrock", "stalactite": "darkrock", "pillar": "rock", "ice": "ice",
    "reef": "coral", "ruin": "sandstone",
}  # fmt: skip
LAYERS = {
    "clouds": "cloud", "mountains": "rock", "hills": "turf", "peaks": "rock", "dunes": "sand", "mesas": "sandstone",
    "forest": "deadwood", "reef": "rock", "cavewall": "darkrock", "brickwall": "darkbrick",
}  # fmt: skip


def render(worlds: Sequence[World], size: int | None = None, device: str = "cpu") -> list[Pixels]:
    """Pictures (224, 256, 3) of worlds. `size` and `device` do nothing: the screen is fixed, and no rays are cast."""
    return [_picture(world) for world in worlds]


def _picture(world: World) -> Pixels:
    canvas = Canvas(world)
    _sky(canvas)
    for layer in world.layers:
        _layer(canvas, layer)
    for thing in (p for p in world.props if p.z > BEHIND):
        canvas.stamp(thing, 0.25 if thing.z > 4 else 0.0, land=True)
    _columns(canvas)
    _ground(canvas)
    _platforms(canvas)
    for thing in (p for p in world.props if p.z <= BEHIND):
        canvas.stamp(thing, land=True)
    for thing in (*world.items, *world.creatures, world.hero):
        canvas.stamp(thing)
    _liquid(canvas)
    if world.scene in ("cave", "haunted", "fortress"):
        _lantern_light(canvas)
    # The hour tints everything at once, lamps too, and the palette's exposure comes after it. Quantising is last.
    blend = np.float32(world.hour)
    light = np.array(NOON, np.float32) * (1 - blend) + np.array(DUSK, np.float32) * blend
    picture = exposed(np.clip(canvas.colour[:, MARGIN:-MARGIN] * light, 0, 255), canvas.palette.light)
    return at_most_256(fifteen_bits(picture, 0.5))


def at_most_256(picture: Pixels) -> Pixels:
    """The picture with no more than 256 colours, all of them of 15 bits: as many as the hardware shows at a time."""
    packed = picture.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    if len(np.unique(packed)) <= 256:
        return picture
    # Without dither: the picture has been dithered already.
    fewer = Image.fromarray(picture).quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    # The octree's means are not of 15 bits; rounding them again can only merge colours, never add one.
    return fifteen_bits(np.asarray(fewer.convert("RGB")).astype(np.float32))


def _sky(canvas: Canvas) -> None:
    """A gradient, with a moon over haunted places and shafts of light under water."""
    top, foot = SKIES[canvas.world.scene][int(canvas.world.hour > 0.6)]
    top, foot = of_hue(top, canvas.palette.zenith), of_hue(foot, canvas.palette.horizon)
    blend = np.linspace(0, 1, HEIGHT, dtype=np.float32)[:, None, None] ** 0.9
    canvas.colour[:] = np.array(top, np.float32) * (1 - blend) + np.array(foot, np.float32) * blend
    if canvas.world.scene == "haunted":
        moon = np.hypot(canvas.x - canvas.world.view.x - 12, canvas.y - 11.5)
        canvas.colour[moon < 1.6] = (232, 224, 184)
        canvas.colour[(moon < 1.6) & (speckle(2)[:HEIGHT, : canvas.width] > 0.72)] = (208, 196, 156)
        canvas.colour[(moon >= 1.6) & (moon < 2.3)] += 18
    if canvas.world.scene == "underwater":  # shafts of light
        shaft = np.sin((canvas.x + 0.45 * canvas.y) * 1.3) + np.sin((canvas.x + 0.45 * canvas.y) * 0.57 + 1)
        canvas.colour += (np.clip(shaft, 0, 2) * np.clip(canvas.y / VIEW_HEIGHT, 0, 1) * 14)[..., None]


def _layer(canvas: Canvas, layer: Layer) -> None:
    """Draw a background layer; the farther, the more it fades into the sky."""
    haze = min(0.68, 0.16 + 0.055 * layer.distance)
    outline_ = profile(layer, canvas.world.view._replace(x=canvas.x0), canvas.width)
    seed, stuff = canvas.world.seed, LAYERS[layer.kind]
    x = canvas.x0 / layer.distance + np.arange(canvas.width) / BLOCK
    match layer.kind:
        case "clouds":
            _clouds(canvas, outline_, layer, haze)
            return
        case "cavewall" | "brickwall":
            canvas.fill(np.ones(canvas.shape, bool), stuff, 0.62, seed, 0.25)
            if layer.kind == "cavewall":
                lumps = np.sin(canvas.x * 1.1) * np.sin(canvas.y * 1.3 + canvas.x * 0.4)
                canvas.colour[lumps > 0.35] *= 1.22
                canvas.colour[lumps < -0.5] *= 0.72
            return
        case "mountains" | "peaks":
            outline_ = outline_ + 1.4 * (np.abs((x * 0.55) % 2 - 1) - 0.5) + 0.5 * (np.abs((x * 1.7) % 2 - 1) - 0.5)
        case "mesas":
            outline_ = np.where((x * 0.21 + 0.618 * seed) % 1 < 0.55, np.round(outline_ * 0.75) + 1, 2.5)
        case "forest":
            _forest(canvas, outline_, x, haze)
            return
        case "hills" | "reef" | "dunes":
            if layer.kind != "dunes":
                outline_ = outline_ + 0.35 * np.abs(np.sin(x * 1.9 + seed))
            stuff = {"snow": "snow", "haunted": "moss"}.get(canvas.world.scene, stuff)
        case _:
            pass
    mask = canvas.y < outline_[None]
    canvas.fill(mask, stuff, 0.9, seed, haze)
    depth = outline_[None] - canvas.y
    if layer.kind in ("mountains", "peaks"):  # a sunny and a shady side
        shady = np.gradient(outline_)[None] < 0
        canvas.colour[mask & shady] *= 0.84
        if layer.kind == "peaks":
            cap = mask & (depth < 1.1 + 0.4 * np.sin(x * 9)[None])
            snow = np.where(shady, 200, 244)[..., None] * np.array([0.94, 0.97, 1.0])
            canvas.colour[cap] = (np.broadcast_to(snow, canvas.colour.shape) * 0.75 + canvas.colour * 0.25)[cap]
    elif layer.kind in ("hills", "reef", "dunes"):
        canvas.colour[mask & (depth < 0.3)] = np.clip(canvas.colour[mask & (depth < 0.3)] * 1.14, 0, 255)
        band = mask & (((depth * 1.1).astype(int) % 2) == 1)
        canvas.colour[band] *= 0.94
    canvas.edge(mask, 0.72)


def _clouds(canvas: Canvas, outline_: np.ndarray, layer: Layer, haze: float) -> None:
    """Rows of puffs, each flat below."""
    for i in range(-1, 9):
        rng = np.random.default_rng([canvas.world.seed, int(layer.distance), i + 1])
        x = canvas.x0 + 2.6 * i + float(rng.uniform(0, 1.6))
        base = float(outline_[min(canvas.width - 1, max(0, canvas.column(x)))]) + float(rng.uniform(-1, 1))
        columns = slice(max(0, canvas.column(x - 2.6)), max(0, canvas.column(x + 2.6)))
        rows = slice(max(0, canvas.row(base + 1.6)), max(0, canvas.row(base - 0.2)))
        cx, cy = canvas.x[:, columns], canvas.y[rows] - base
        mask = np.zeros((cy.shape[0], cx.shape[1]), bool)
        for _ in range(4):
            middle, radius = (
                x + float(rng.uniform(-1.0, 1.0)),
                float(rng.uniform(0.45, 0.85)) * (9 / (layer.distance + 3)),
            )
            mask |= (np.square(cx - middle) + np.square(cy * 1.25) < radius * radius) & (cy > 0)
        light = np.where((cy > 0.35) & (cx < np.inf), 250, 218)[..., None] * np.array([0.97, 0.985, 1.0])
        whole = np.zeros(canvas.shape, bool)
        whole[rows, columns] = mask
        canvas.colour[whole] = light[mask] * (1 - haze) + canvas.colour[whole] * haze
        canvas.edge(whole, 0.86)


def _forest(canvas: Canvas, outline_: np.ndarray, x: np.ndarray, haze: float) -> None:
    """Bare trunks with round crowns, dark against the sky."""
    pitch = (x * 0.62 + 0.2 * np.sin(x * 2)) % 1
    trunk = (np.abs(pitch - 0.5) < 0.07)[None] & (canvas.y < outline_[None])
    crown = np.hypot((pitch[None] - 0.5) * 1.7, (canvas.y - outline_[None]) * 0.75) < 0.75
    twig = (np.abs(canvas.y - outline_[None] * 0.72 - np.abs(pitch[None] - 0.5) * 2.2) < 0.09) & (
        np.abs(pitch - 0.5) < 0.32
    )[None]
    canvas.fill(trunk | twig, "deadwood", 0.62, canvas.world.seed, haze)
    canvas.fill(crown, "moss", 0.6, canvas.world.seed, haze)
    canvas.edge(trunk | crown, 0.75)


def _heights(canvas: Canvas, values: tuple[int | None, ...], missing: float) -> np.ndarray:
    """The height of each pixel column's ground or ceiling."""
    columns = np.clip(np.floor(canvas.x[0]).astype(int), 0, len(values) - 1)
    return np.array([missing if v is None else v for v in values], np.float32)[columns]


def _ground(canvas: Canvas) -> None:
    """Ground with a fringe of uneven depth on top, darker with depth, and the ceiling."""
    world = canvas.world
    top, body = TOPS[world.scene]
    height = _heights(canvas, world.ground, -9)[None]
    mask = canvas.y < height
    if world.scene == "sky":  # islands: narrower below, and not too deep
        thick = 1.9 + 0.5 * np.sin(canvas.x * 2.3)
        mask &= canvas.y > height - thick
    canvas.fill(mask, body, 0.95, world.seed)
    depth = height - canvas.y
    fringe = 0.32 + 0.16 * (np.sin(canvas.x * 7.1 + world.seed) > 0.1) + 0.1 * (np.sin(canvas.x * 17) > 0.3)
    canvas.colour[mask & (depth > fringe) & (depth < fringe + 0.22)] *= 0.66
    canvas.fill(mask & (depth < fringe), top, 1.06, world.seed + 1)
    canvas.colour[mask & (depth > 1.6)] *= 0.86
    canvas.colour[mask & (depth > 3.0)] *= 0.86
    canvas.edge(mask)
    if any(c is not None for c in world.ceiling):
        under = _heights(canvas, world.ceiling, 99)[None]
        roof = canvas.y > under
        canvas.fill(roof, body, 0.8, world.seed + 2)
        canvas.colour[roof & (canvas.y < under + 0.3)] *= 0.7
        canvas.edge(roof)


def _platforms(canvas: Canvas) -> None:
    """Blocks, planks and clouds to stand on."""
    for p in canvas.world.platforms:
        stuff = {"plank": "deadwood", "cloud": "cloud"}.get(p.kind, BLOCKS.get(canvas.world.scene, "wood"))
        across = (canvas.x >= p.x) & (canvas.x < p.x + p.width)
        if p.kind == "cloud":
            bump = 0.22 * np.abs(np.sin((canvas.x - p.x) * np.pi))
            mask = across & (canvas.y < p.y + bump - 0.15) & (canvas.y > p.y - 0.75 - bump)
        else:
            thick = {"plank": 0.3, "block": 1.0}.get(p.kind, 0.75)
            mask = across & (canvas.y < p.y) & (canvas.y >= p.y - thick)
        canvas.fill(mask, stuff, 1.0, p.x)
        if p.kind == "block":  # each block on its own, lit from the upper left
            a, b = (canvas.x - p.x) % 1, (p.y - canvas.y) % 1
            canvas.colour[mask & ((a < 0.08) | (b < 0.1))] *= 1.25
            canvas.colour[mask & ((a > 0.9) | (b > 0.88))] *= 0.55
        elif p.kind != "cloud":
            canvas.colour[mask & (canvas.y < p.y - 0.55 * (0.3 if p.kind == "plank" else 0.75))] *= 0.75
        canvas.colour = np.clip(canvas.colour, 0, 255)
        canvas.edge(mask)


def _columns(canvas: Canvas) -> None:
    """Upright obstacles, lit from the left."""
    for c in canvas.world.columns:
        middle, half = c.x + 0.5, 0.46 * c.width
        rise = np.clip((canvas.y - c.foot) / max(c.top - c.foot, 0.1), 0, 1)
        reach = {
            "stalagmite": half * (1.15 - rise),
            "stalactite": half * (0.15 + rise),
            "ice": half * (1.15 - 0.6 * rise),
        }
        width = reach.get(c.kind, np.full_like(rise, half))
        if c.kind == "pillar":
            width = np.where((rise < 0.05) | (rise > 0.95), 0.56, 0.4)
        mask = (np.abs(canvas.x - middle) < width) & (canvas.y >= c.foot - 0.1) & (canvas.y < c.top)
        stuff = "deadwood" if c.kind == "trunk" and canvas.world.scene == "haunted" else COLUMNS[c.kind]
        canvas.fill(mask, stuff, 1.0, c.x)
        side = (canvas.x - middle) / np.maximum(width, 0.05)
        canvas.colour[mask & (side < -0.4)] *= 1.18
        canvas.colour[mask & (side > 0.35)] *= 0.72
        canvas.colour = np.clip(canvas.colour, 0, 255)
        canvas.edge(mask)


LIQUIDS: dict[str, tuple[Rgb, float]] = {
    "water": ((40, 112, 184), 0.45),
    "lava": ((232, 88, 24), 0.95),
    "swamp": ((72, 88, 48), 0.75),
    "ice": ((176, 216, 240), 0.8),
}
"""Colour and opacity."""


def _liquid(canvas: Canvas) -> None:
    """Translucent, with a bright and uneven surface; in a level under water it tints only what lies deep."""
    liquid = canvas.world.liquid
    if liquid is None:
        return
    colour, strength = LIQUIDS[liquid.kind]
    colour = dyed(np.array(colour), canvas.palette.land)
    surface = liquid.level + (0.0 if liquid.kind == "ice" else 0.09 * np.sin(canvas.x * 3.3))
    below = canvas.y < surface
    if canvas.world.scene == "underwater":
        deep = np.clip((surface - canvas.y) / 13, 0, 1)[..., None] * 0.42
        tinted = canvas.colour * (1 - deep) + np.array(of_hue(57, canvas.palette.horizon)) * deep
        canvas.colour = np.where(
            below[..., None], tinted, 0.4 * canvas.colour + 0.6 * np.array(of_hue(226, canvas.palette.zenith))
        ).astype(np.float32)
    else:
        gap = _heights(canvas, canvas.world.ground, -9)[None] < liquid.level
        below = below & gap
        waves = 1 + 0.12 * np.sign(np.sin(canvas.x * 5 + 3 * np.sin(canvas.y * 4))) * (liquid.kind != "ice")
        filled = colour * waves[..., None] * strength + canvas.colour * (1 - strength)
        canvas.colour[below] = np.clip(filled, 0, 255)[below]
        if liquid.kind == "lava":
            glow = np.clip(1 - (canvas.y - surface) / 5, 0, 1) * (canvas.y >= surface)
            canvas.colour = np.clip(canvas.colour + glow[..., None] * 0.15 * colour, 0, 255)
    line = np.abs(canvas.y - surface) < 0.09
    line = line if canvas.world.scene == "underwater" else line & gap  # pyright: ignore[reportPossiblyUnboundVariable]
    canvas.colour[line] = np.clip(colour * 0.4 + 150, 0, 255)


def _falloff(scene: str) -> tuple[float, float]:
    """Darkness far from the lamp, and the light's reach in blocks."""
    return {"cave": (0.62, 6.0), "haunted": (0.78, 6.0), "fortress": (0.8, 7.0)}[scene]


def _lantern_light(canvas: Canvas) -> None:
    """The hero's lantern and burning torches brighten their surroundings, in three steps."""
    world = canvas.world
    far, reach = _falloff(world.scene)
    lights = [(world.hero.x + 0.4, world.hero.y + 0.7, 1.0)]
    lights += [(p.x, p.y + 0.9, 0.7) for p in world.props if p.kind in ("torch", "lamppost", "crystal")]
    bright = np.zeros(canvas.shape)
    for x, y, strength in lights:
        bright = np.maximum(bright, strength * (1 - np.hypot(canvas.x - x, canvas.y - y) / reach))
    step = np.ceil(np.clip(bright, 0, 1) * 4) / 4
    canvas.colour = np.clip(canvas.colour * (far + (1.2 - far) * step)[..., None], 0, 255).astype(np.float32)
