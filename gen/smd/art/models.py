"""Hero, creatures, items, props and columns as solids for the 3D styles: tables of parts, in blocks.

A part is (shape, centre, half sides, stuff, turn, taper) about the model's foot; shapes are "ball", "box" and "tube".
Models look to the right (+x). `STUFF` says what each material looks like, for all styles.
"""

import math
from typing import NamedTuple

from gen.smd.scene import Solids, Vector
from gen.smd.shading import Material, linear

PLAIN, SOIL, GRASS, STONE, BRICK, SAND, SNOW, WOOD, LEAF, ICE, CLOTH, SCALES, WATER, LAVA, CLOUD = range(15)
"""Patterns that `gen.smd.art.texture` paints."""


class Stuff(NamedTuple):
    """Colour in 8-bit sRGB, pattern, gloss and own light."""

    colour: tuple[int, int, int]
    pattern: int = PLAIN
    gloss: float = 0.0
    glow: float = 0.0


STUFF: dict[str, Stuff] = {
    "soil": Stuff((128, 92, 62), SOIL),
    "turf": Stuff((92, 152, 62), GRASS),
    "rock": Stuff((122, 116, 112), STONE),
    "darkrock": Stuff((84, 78, 88), STONE),
    "seabed": Stuff((150, 142, 104), SAND),
    "brick": Stuff((132, 112, 106), BRICK),
    "darkbrick": Stuff((92, 78, 80), BRICK),
    "sand": Stuff((220, 184, 122), SAND),
    "sandstone": Stuff((190, 140, 92), BRICK),
    "snow": Stuff((236, 242, 250), SNOW, 0.1),
    "ice": Stuff((168, 208, 232), ICE, 0.7),
    "cloud": Stuff((244, 246, 250), CLOUD),
    "wood": Stuff((138, 96, 58), WOOD),
    "deadwood": Stuff((84, 72, 70), WOOD),
    "leaf": Stuff((62, 124, 52), LEAF),
    "pine": Stuff((44, 92, 66), LEAF),
    "weed": Stuff((52, 128, 84), LEAF),
    "moss": Stuff((70, 84, 62), GRASS),
    "coral": Stuff((224, 112, 108), SCALES),
    "coral2": Stuff((232, 170, 84), SCALES),
    "cactus": Stuff((74, 130, 72), SCALES),
    "bone": Stuff((226, 216, 190), PLAIN),
    "iron": Stuff((88, 90, 98), PLAIN, 0.6),
    "cloth": Stuff((158, 40, 52), CLOTH),
    "canvas": Stuff((222, 92, 70), CLOTH),
    "stripe": Stuff((240, 222, 176), CLOTH),
    "gold": Stuff((240, 190, 60), PLAIN, 0.9, 0.15),
    "gem": Stuff((74, 190, 220), ICE, 0.9, 0.35),
    "gem2": Stuff((196, 96, 210), ICE, 0.9, 0.3),
    "flame": Stuff((255, 176, 64), PLAIN, 0.0, 2.2),
    "lamp": Stuff((255, 214, 120), PLAIN, 0.0, 1.6),
    "petal": Stuff((236, 104, 130), PLAIN),
    "petal2": Stuff((246, 214, 92), PLAIN),
    "stem": Stuff((70, 130, 58), PLAIN),
    "bubble": Stuff((190, 226, 240), PLAIN, 0.9),
    "fur": Stuff((226, 120, 52), CLOTH, 0.05),
    "cream": Stuff((246, 226, 196), CLOTH),
    "scarf": Stuff((40, 120, 168), CLOTH),
    "black": Stuff((24, 22, 26), PLAIN, 0.6),
    "shell": Stuff((132, 62, 122), PLAIN, 0.7),
    "shell2": Stuff((70, 92, 150), PLAIN, 0.7),
    "slime": Stuff((118, 196, 110), PLAIN, 0.8),
    "jelly": Stuff((206, 150, 220), PLAIN, 0.8, 0.2),
}

Part = tuple[str, Vector, Vector, str] | tuple[str, Vector, Vector, str, Vector, tuple[float, float]]
_NO = (0.0, 0.0, 0.0)


def _tuft(stuff: str, count: int, height: float) -> list[Part]:
    """Blades that fan out from one foot."""
    middle = (count - 1) / 2
    return [
        ("box", ((i - middle) * 0.12, height * (0.5 - 0.08 * abs(i - middle)), 0.05 * (-1) ** i),
         (0.06, height * (0.5 - 0.08 * abs(i - middle)), 0.04), stuff, (0.0, 0.0, -0.22 * (i - middle)), (0.2, 0.2))
        for i in range(count)
    ]  # fmt: skip


MODELS: dict[str, list[Part]] = {
    # The hero: a small fox with a scarf and a lantern; class-independent, as creatures and items are.
    "hero": [
        ("tube", (-0.13, 0.16, 0.0), (0.1, 0.16, 0.1), "black"), ("tube", (0.13, 0.16, 0.0), (0.1, 0.16, 0.1), "black"),
        ("ball", (0.0, 0.52, 0.0), (0.27, 0.32, 0.24), "fur"), ("ball", (0.1, 0.5, -0.06), (0.2, 0.25, 0.2), "cream"),
        ("tube", (0.0, 0.8, 0.0), (0.25, 0.07, 0.25), "scarf"),
        ("box", (-0.3, 0.74, 0.05), (0.2, 0.06, 0.05), "scarf", (0.0, 0.0, -0.4), (1.0, 1.0)),
        ("ball", (0.03, 1.1, 0.0), (0.34, 0.3, 0.3), "fur"), ("ball", (0.26, 1.02, 0.0), (0.22, 0.14, 0.17), "cream"),
        ("ball", (0.47, 1.05, 0.0), (0.06, 0.05, 0.06), "black"),
        ("ball", (0.2, 1.18, -0.24), (0.05, 0.08, 0.05), "black"), ("ball", (0.26, 1.18, 0.2), (0.05, 0.08, 0.05), "black"),
        ("box", (-0.08, 1.46, -0.15), (0.1, 0.16, 0.06), "fur", _NO, (0.1, 0.4)),
        ("box", (-0.08, 1.46, 0.15), (0.1, 0.16, 0.06), "fur", _NO, (0.1, 0.4)),
        ("ball", (-0.42, 0.45, 0.05), (0.26, 0.13, 0.13), "fur", (0.0, 0.0, -0.6), (1.0, 1.0)),
        ("ball", (-0.6, 0.58, 0.05), (0.12, 0.1, 0.1), "cream"),
        ("box", (0.42, 0.5, -0.1), (0.09, 0.12, 0.09), "lamp"), ("box", (0.42, 0.65, -0.1), (0.11, 0.03, 0.11), "iron"),
    ],
    "beetle": [
        ("ball", (0.0, 0.36, 0.0), (0.46, 0.32, 0.36), "shell"), ("ball", (0.4, 0.28, 0.0), (0.18, 0.18, 0.2), "black"),
        ("ball", (0.5, 0.38, -0.12), (0.06, 0.07, 0.06), "cream"), ("ball", (0.5, 0.38, 0.12), (0.06, 0.07, 0.06), "cream"),
        ("ball", (0.0, 0.36, 0.0), (0.475, 0.335, 0.03), "black"),
        *[("tube", (x, 0.1, z), (0.05, 0.12, 0.05), "black") for x in (-0.25, 0.0, 0.25) for z in (-0.26, 0.26)],
    ],
    "jelly": [
        ("ball", (0.0, 0.72, 0.0), (0.4, 0.3, 0.4), "jelly"), ("tube", (0.0, 0.6, 0.0), (0.38, 0.08, 0.38), "jelly"),
        *[("tube", (0.24 * math.cos(a), 0.3, 0.24 * math.sin(a)), (0.05, 0.28, 0.05), "jelly", _NO, (1.0, 1.0))
          for a in (0.4, 1.7, 2.9, 4.2, 5.4)],
        ("ball", (0.14, 0.72, -0.34), (0.06, 0.09, 0.06), "black"), ("ball", (-0.14, 0.72, -0.34), (0.06, 0.09, 0.06), "black"),
    ],
    "hopper": [
        ("ball", (0.0, 0.34, 0.0), (0.36, 0.34, 0.34), "slime"),
        ("ball", (0.14, 0.66, -0.16), (0.13, 0.14, 0.13), "cream"), ("ball", (0.14, 0.66, 0.16), (0.13, 0.14, 0.13), "cream"),
        ("ball", (0.24, 0.67, -0.2), (0.05, 0.06, 0.05), "black"), ("ball", (0.24, 0.67, 0.12), (0.05, 0.06, 0.05), "black"),
        ("box", (0.1, 0.05, -0.22), (0.2, 0.05, 0.1), "slime"), ("box", (0.1, 0.05, 0.22), (0.2, 0.05, 0.1), "slime"),
    ],
    "gem": [
        ("box", (0.0, 0.5, 0.0), (0.24, 0.16, 0.24), "gem", (0.78, 0.0, 0.0), (0.05, 0.05)),
        ("box", (0.0, 0.22, 0.0), (0.24, 0.14, 0.24), "gem", (0.78, 3.1416, 0.0), (0.1, 0.1)),
    ],
    "key": [
        ("tube", (0.0, 0.6, 0.0), (0.17, 0.05, 0.17), "gold", (0.0, 1.5708, 0.0), (1.0, 1.0)),
        ("box", (0.0, 0.28, 0.0), (0.05, 0.26, 0.05), "gold"), ("box", (0.12, 0.1, 0.0), (0.09, 0.04, 0.05), "gold"),
        ("box", (0.1, 0.22, 0.0), (0.07, 0.04, 0.05), "gold"),
    ],
    "lantern": [
        ("box", (0.0, 0.36, 0.0), (0.15, 0.18, 0.15), "lamp"), ("box", (0.0, 0.58, 0.0), (0.19, 0.06, 0.19), "iron", _NO, (0.3, 0.3)),
        ("box", (0.0, 0.15, 0.0), (0.19, 0.04, 0.19), "iron"),
    ],
    "bush": [
        ("ball", (0.0, 0.38, 0.0), (0.5, 0.42, 0.4), "leaf"), ("ball", (-0.48, 0.28, 0.06), (0.36, 0.3, 0.32), "leaf"),
        ("ball", (0.46, 0.26, -0.05), (0.38, 0.3, 0.32), "leaf"), ("ball", (0.15, 0.55, 0.15), (0.3, 0.26, 0.28), "leaf"),
    ],
    "tree": [
        ("tube", (0.0, 0.9, 0.0), (0.2, 0.9, 0.2), "wood", _NO, (0.7, 0.7)), ("ball", (0.0, 2.3, 0.0), (0.9, 0.8, 0.8), "leaf"),
        ("ball", (-0.6, 1.95, 0.1), (0.6, 0.5, 0.5), "leaf"), ("ball", (0.62, 2.0, -0.1), (0.6, 0.5, 0.5), "leaf"),
        ("ball", (0.1, 2.85, 0.1), (0.55, 0.45, 0.5), "leaf"),
    ],
    "flower": [
        ("box", (0.0, 0.22, 0.0), (0.03, 0.22, 0.03), "stem"), ("ball", (0.0, 0.5, 0.0), (0.15, 0.13, 0.1), "petal"),
        ("ball", (0.0, 0.5, -0.08), (0.07, 0.07, 0.06), "petal2"), ("box", (0.1, 0.2, 0.0), (0.09, 0.03, 0.05), "stem", (0.0, 0.0, 0.5), (0.2, 0.5)),
    ],
    "fence": [
        *[("box", (x, 0.36, 0.0), (0.08, 0.36, 0.05), "wood") for x in (-0.66, 0.0, 0.66)],
        ("box", (0.0, 0.5, 0.0), (0.95, 0.06, 0.04), "wood"), ("box", (0.0, 0.25, 0.0), (0.95, 0.06, 0.04), "wood"),
    ],
    "stone": [
        ("ball", (0.0, 0.22, 0.0), (0.42, 0.3, 0.36), "rock"), ("ball", (0.4, 0.12, -0.1), (0.22, 0.17, 0.2), "rock"),
    ],
    "stalagmite": [
        ("tube", (0.0, 0.75, 0.0), (0.4, 0.75, 0.4), "darkrock", _NO, (0.08, 0.08)),
        ("tube", (0.42, 0.35, 0.1), (0.22, 0.35, 0.22), "darkrock", _NO, (0.08, 0.08)),
    ],
    "crystal": [
        ("box", (0.0, 0.55, 0.0), (0.17, 0.55, 0.17), "gem", (0.4, 0.0, 0.0), (0.3, 0.3)),
        ("box", (-0.26, 0.36, 0.05), (0.13, 0.38, 0.13), "gem2", (0.2, 0.0, 0.45), (0.25, 0.25)),
        ("box", (0.28, 0.32, -0.05), (0.12, 0.34, 0.12), "gem", (0.2, 0.0, -0.5), (0.25, 0.25)),
    ],
    "seaweed": [
        *_tuft("weed", 5, 1.3),
    ],
    "grass": [*_tuft("turf", 5, 0.42)],
    "reed": [*_tuft("weed", 4, 0.9)],
    "coral": [
        ("tube", (0.0, 0.4, 0.0), (0.13, 0.4, 0.13), "coral", _NO, (0.8, 0.8)), ("ball", (0.0, 0.85, 0.0), (0.18, 0.15, 0.18), "coral"),
        ("tube", (0.3, 0.45, 0.0), (0.1, 0.3, 0.1), "coral", (0.0, 0.0, -0.7), (0.9, 0.9)), ("ball", (0.5, 0.7, 0.0), (0.14, 0.14, 0.14), "coral2"),
        ("tube", (-0.28, 0.5, 0.0), (0.1, 0.32, 0.1), "coral2", (0.0, 0.0, 0.6), (0.9, 0.9)), ("ball", (-0.48, 0.78, 0.0), (0.15, 0.15, 0.15), "coral"),
    ],
    "bubble": [("ball", (0.0, 0.2, 0.0), (0.2, 0.2, 0.2), "bubble"), ("ball", (0.28, 0.5, 0.1), (0.11, 0.11, 0.11), "bubble")],
    "shell": [("ball", (0.0, 0.16, 0.0), (0.26, 0.2, 0.2), "stripe"), ("ball", (0.2, 0.1, 0.0), (0.13, 0.1, 0.13), "petal")],
    "torch": [
        ("box", (0.0, 0.3, 0.0), (0.07, 0.32, 0.07), "wood"), ("box", (0.0, 0.66, 0.0), (0.14, 0.07, 0.14), "iron"),
        ("ball", (0.0, 0.88, 0.0), (0.13, 0.2, 0.13), "flame"),
    ],
    "chain": [*[("box", (0.0, 0.14 + 0.3 * i, 0.0), ((0.1, 0.14, 0.04) if i % 2 else (0.04, 0.14, 0.1)), "iron") for i in range(5)]],
    "banner": [
        ("box", (0.0, 1.95, 0.0), (0.55, 0.05, 0.05), "gold"), ("box", (0.0, 1.2, 0.0), (0.45, 0.72, 0.03), "cloth"),
        ("box", (0.0, 1.35, -0.04), (0.17, 0.17, 0.02), "gold", (0.0, 0.0, 0.785), (1.0, 1.0)),
    ],
    "battlement": [("box", (0.0, 0.3, 0.0), (0.3, 0.3, 0.3), "brick")],
    "window": [("box", (0.0, 0.6, 0.0), (0.35, 0.6, 0.06), "black"), ("box", (0.0, -0.04, -0.05), (0.45, 0.06, 0.12), "brick")],
    "cloud": [
        ("ball", (0.0, 0.4, 0.0), (0.8, 0.42, 0.5), "cloud"), ("ball", (-0.8, 0.3, 0.0), (0.55, 0.32, 0.4), "cloud"),
        ("ball", (0.8, 0.3, 0.0), (0.6, 0.33, 0.4), "cloud"), ("ball", (0.2, 0.7, 0.1), (0.5, 0.35, 0.4), "cloud"),
    ],
    "balloon": [
        ("ball", (0.0, 2.3, 0.0), (0.85, 0.95, 0.85), "canvas"), ("tube", (0.0, 1.35, 0.0), (0.25, 0.22, 0.25), "stripe", _NO, (1.8, 1.8)),
        ("box", (0.0, 0.35, 0.0), (0.3, 0.25, 0.3), "wood"), ("box", (-0.22, 0.85, 0.0), (0.02, 0.35, 0.02), "wood"),
        ("box", (0.22, 0.85, 0.0), (0.02, 0.35, 0.02), "wood"), ("tube", (0.0, 2.3, 0.0), (0.87, 0.1, 0.87), "stripe"),
    ],
    "island": [
        ("ball", (0.0, 0.0, 0.0), (1.3, 0.25, 0.8), "turf"), ("tube", (0.0, -0.65, 0.0), (0.25, 0.65, 0.25), "soil", _NO, (4.2, 4.2)),
    ],
    "pine": [
        ("tube", (0.0, 0.25, 0.0), (0.16, 0.25, 0.16), "wood"), ("tube", (0.0, 0.85, 0.0), (0.75, 0.5, 0.75), "pine", _NO, (0.3, 0.3)),
        ("tube", (0.0, 1.5, 0.0), (0.58, 0.45, 0.58), "pine", _NO, (0.25, 0.25)), ("tube", (0.0, 2.1, 0.0), (0.4, 0.42, 0.4), "pine", _NO, (0.05, 0.05)),
        ("tube", (0.0, 1.12, 0.0), (0.46, 0.2, 0.46), "snow", _NO, (0.55, 0.55)), ("tube", (0.0, 1.75, 0.0), (0.34, 0.18, 0.34), "snow", _NO, (0.5, 0.5)),
        ("tube", (0.0, 2.38, 0.0), (0.2, 0.18, 0.2), "snow", _NO, (0.05, 0.05)),
    ],
    "drift": [("ball", (0.0, 0.05, 0.0), (0.9, 0.34, 0.5), "snow"), ("ball", (0.6, 0.0, 0.1), (0.5, 0.22, 0.4), "snow")],
    "icicle": [
        ("tube", (0.0, -0.4, 0.0), (0.03, 0.4, 0.03), "ice", _NO, (5.0, 5.0)), ("tube", (0.25, -0.25, 0.0), (0.02, 0.25, 0.02), "ice", _NO, (5.0, 5.0)),
    ],
    "cactus": [
        ("tube", (0.0, 0.8, 0.0), (0.24, 0.8, 0.24), "cactus"), ("ball", (0.0, 1.6, 0.0), (0.24, 0.2, 0.24), "cactus"),
        ("tube", (0.42, 0.75, 0.0), (0.13, 0.22, 0.13), "cactus", (0.0, 0.0, -1.2), (1.0, 1.0)), ("tube", (0.6, 1.05, 0.0), (0.14, 0.32, 0.14), "cactus"),
        ("ball", (0.6, 1.38, 0.0), (0.14, 0.12, 0.14), "cactus"), ("tube", (-0.4, 1.0, 0.0), (0.12, 0.2, 0.12), "cactus", (0.0, 0.0, 1.2), (1.0, 1.0)),
        ("tube", (-0.55, 1.25, 0.0), (0.12, 0.24, 0.12), "cactus"), ("ball", (-0.55, 1.5, 0.0), (0.12, 0.1, 0.12), "cactus"),
    ],
    "bones": [
        ("ball", (0.3, 0.24, 0.0), (0.28, 0.22, 0.2), "bone"), ("ball", (0.4, 0.28, -0.16), (0.07, 0.07, 0.06), "black"),
        *[("tube", (-0.1 - 0.22 * i, 0.26 - 0.03 * i, 0.0), (0.03, 0.26 - 0.03 * i, 0.03), "bone", (0.0, 0.4, 0.1), (1.0, 1.0)) for i in range(4)],
        ("box", (-0.4, 0.06, 0.0), (0.5, 0.04, 0.04), "bone"),
    ],
    "arch": [
        ("box", (-1.0, 0.9, 0.2), (0.35, 0.9, 0.4), "sandstone", _NO, (0.8, 0.8)), ("box", (1.0, 0.9, 0.2), (0.35, 0.9, 0.4), "sandstone", _NO, (0.8, 0.8)),
        ("box", (0.0, 2.0, 0.2), (1.4, 0.3, 0.4), "sandstone", _NO, (0.85, 0.9)),
    ],
    "tumbleweed": [("ball", (0.0, 0.32, 0.0), (0.34, 0.32, 0.34), "deadwood")],
    "deadtree": [
        ("tube", (0.0, 0.9, 0.0), (0.22, 0.9, 0.22), "deadwood", _NO, (0.5, 0.5)),
        ("tube", (0.4, 1.7, 0.0), (0.09, 0.6, 0.09), "deadwood", (0.0, 0.0, -0.8), (0.3, 0.3)), ("tube", (-0.38, 1.8, 0.05), (0.1, 0.6, 0.1), "deadwood", (0.0, 0.0, 0.7), (0.3, 0.3)),
        ("tube", (0.05, 2.2, 0.0), (0.09, 0.5, 0.09), "deadwood", (0.0, 0.2, 0.1), (0.3, 0.3)), ("tube", (0.85, 2.2, 0.0), (0.05, 0.3, 0.05), "deadwood", (0.0, 0.0, 0.2), (0.2, 0.2)),
        ("tube", (-0.75, 1.9, 0.0), (0.04, 0.3, 0.04), "deadwood", (0.0, 0.0, 1.3), (0.2, 0.2)),
    ],
    "grave": [("box", (0.0, 0.36, 0.0), (0.3, 0.36, 0.1), "rock"), ("tube", (0.0, 0.72, 0.0), (0.3, 0.1, 0.3), "rock", (0.0, 1.5708, 0.0), (1.0, 1.0)), ("box", (0.0, 0.04, -0.1), (0.4, 0.06, 0.3), "moss")],
    "lamppost": [
        ("tube", (0.0, 0.9, 0.0), (0.06, 0.9, 0.06), "iron"), ("box", (0.0, 1.95, 0.0), (0.14, 0.17, 0.14), "lamp"),
        ("box", (0.0, 2.18, 0.0), (0.2, 0.08, 0.2), "iron", _NO, (0.1, 0.1)), ("box", (0.0, 0.06, 0.0), (0.16, 0.06, 0.16), "iron"),
    ],
    "pumpkin": [("ball", (0.0, 0.28, 0.0), (0.34, 0.28, 0.32), "fur"), ("tube", (0.0, 0.58, 0.0), (0.05, 0.08, 0.05), "stem")],
    "moon": [("ball", (0.0, 0.0, 0.0), (1.0, 1.0, 0.2), "lamp")],
    "pillar": [
        ("box", (0.0, 0.1, 0.0), (0.5, 0.1, 0.5), "rock"), ("tube", (0.0, 1.5, 0.0), (0.36, 1.4, 0.36), "rock"), ("box", (0.0, 2.95, 0.0), (0.5, 0.1, 0.5), "rock"),
    ],
}  # fmt: skip


def material(stuff: str, seed: float = 0.0) -> Material:
    """The material of a stuff; `seed` shifts its pattern."""
    s = STUFF[stuff]
    colour = linear(*s.colour)
    glow = (colour[0] * s.glow, colour[1] * s.glow, colour[2] * s.glow)
    return Material(colour, pattern=s.pattern, seed=seed, gloss=s.gloss, glow=glow)


def add_model(
    scene: Solids[Material], kind: str, foot: Vector, size: float = 1.0, facing: int = 1, stretch: float = 1.0
) -> None:
    """Add a model with its foot at `foot`; `facing` -1 mirrors it, `stretch` makes it taller."""
    for part in MODELS[kind]:
        shape, (x, y, z), (rx, ry, rz), stuff = part[:4]
        (yaw, pitch, roll), taper = part[4:] if len(part) > 4 else (_NO, (1.0, 1.0))  # pyright: ignore[reportAssignmentType]
        centre = (foot[0] + facing * x * size, foot[1] + y * size * stretch, foot[2] + z * size)
        half = (rx * size, ry * size * stretch, rz * size)
        turn, look = (facing * yaw, pitch, facing * roll), material(stuff, seed=3.7 * foot[0] + foot[2])
        match shape:
            case "ball":
                scene.sphere(centre, half, look, turn)
            case "box":
                scene.box(centre, half, look, turn, taper)
            case _:
                scene.cylinder(centre, half[0], half[1], look, turn, taper[0])
