"""Scenes of spheres, boxes, cylinders (cones, frusta), planes and height fields, as tensors for the ray caster.

x points right, y up, z away from the viewer; one unit is one block of a game world or one metre of a street.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Generic, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

NOTHING, SPHERE, BOX, CYLINDER, PLANE, FIELD = range(6)

M = TypeVar("M")
Vector = tuple[float, float, float]
FULL = (1.0, 1.0)


class Solids(Generic[M]):
    """The solids of one scene, added one by one; each has a material of any type."""

    def __init__(self) -> None:
        self.materials: list[M] = []
        self._rows: list[tuple[float, ...]] = []
        self._field: tuple[NDArray[np.float32], tuple[float, float, float, float], int] | None = None

    def __len__(self) -> int:
        return len(self._rows)

    def sphere(self, centre: Vector, radius: float | Vector, material: M, turn: Vector = (0, 0, 0)) -> None:
        """A ball, or with three radii an ellipsoid. `turn`: yaw, pitch and roll in radians."""
        half = radius if isinstance(radius, tuple) else (radius, radius, radius)
        self._add(SPHERE, centre, half, turn, FULL, material)

    def box(
        self, centre: Vector, half: Vector, material: M, turn: Vector = (0, 0, 0), taper: tuple[float, float] = (1, 1)
    ) -> None:
        """A box of half sides `half`; at the top its x and z sides are `taper` times those at the foot.

        (0, 0) is a pyramid, (0, 1) a gable roof, (0.7, 0.7) the cabin of a car.
        """
        self._add(BOX, centre, half, turn, taper, material)

    def cylinder(
        self, centre: Vector, radius: float, half: float, material: M, turn: Vector = (0, 0, 0), taper: float = 1
    ) -> None:
        """An upright cylinder of height 2 `half`; its radius at the top is `taper` times that at the foot."""
        self._add(CYLINDER, centre, (radius, half, radius), turn, (taper, taper), material)

    def plane(self, height: float, material: M) -> None:
        """The level plane y = `height`, seen from above."""
        self._add(PLANE, (0, height, 0), (1, 1, 1), (0, 0, 0), FULL, material)

    def field(self, heights: NDArray[np.float32], x: tuple[float, float], z: tuple[float, float], material: M) -> None:
        """Land of `heights` (nz, nx), bilinear between the points of a grid over `x` and `z`. One to a scene."""
        if self._field is not None:
            raise ValueError("a scene holds one height field")
        self._field = (heights, (*x, *z), len(self._rows))
        self._add(FIELD, (0, 0, 0), (1, 1, 1), (0, 0, 0), FULL, material)

    def _add(
        self, kind: int, centre: Vector, half: Vector, turn: Vector, taper: tuple[float, float], material: M
    ) -> None:
        self._rows.append((kind, *centre, *half, *turn, *taper))
        self.materials.append(material)


@dataclass(frozen=True)
class Scene:
    """The solids of S scenes as tensors, padded to K solids each with NOTHING."""

    kind: Tensor
    """(S, K) int64."""
    centre: Tensor
    """(S, K, 3)."""
    half: Tensor
    """(S, K, 3) half sides along the solid's own axes."""
    axes: Tensor
    """(S, K, 3, 3): column j is the solid's axis j in the world."""
    taper: Tensor
    """(S, K, 2) the x and z sides at the top over those at the foot."""
    reach: Tensor
    """(S, K) radius of the bounding sphere; infinite for planes and fields, -infinite for NOTHING."""
    heights: Tensor
    """(S, 1, nz, nx), or (S, 1, 0, 0) where no scene has a field."""
    extent: Tensor
    """(S, 4): x0, x1, z0, z1 of the field; empty (x1 < x0) for a scene that has none."""
    field: Tensor
    """(S,) index of the field among the solids."""

    @property
    def device(self) -> torch.device:
        """Where the scene lies."""
        return self.kind.device

    def to(self, device: torch.device | str) -> Self:
        """The same on another device."""
        return type(self)(*(getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)))


def rotation(turn: Tensor) -> Tensor:
    """Yaw about y, then pitch about the turned x, then roll about the turned z: (..., 3) radians -> (..., 3, 3)."""
    (cy, cp, cr), (sy, sp, sr) = turn.cos().unbind(-1), turn.sin().unbind(-1)
    rows = [
        [cy * cr + sy * sp * sr, -cy * sr + sy * sp * cr, sy * cp],
        [cp * sr, cp * cr, -sp],
        [-sy * cr + cy * sp * sr, sy * sr + cy * sp * cr, cy * cp],
    ]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def collate(scenes: Sequence[Solids[M]]) -> Scene:
    """Several scenes as one batch, on the CPU. Fields must have grids of one size."""
    width = max(len(s) for s in scenes)
    blank = (float(NOTHING), 0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1)
    table = torch.tensor([[*s._rows, *[blank] * (width - len(s))] for s in scenes], dtype=torch.float32)  # pyright: ignore[reportPrivateUsage]
    kind, centre, half, turn, taper = (
        table[..., 0].long(),
        table[..., 1:4],
        table[..., 4:7],
        table[..., 7:10],
        table[..., 10:],
    )
    x, y, z = half.unbind(-1)
    wide, deep = x * taper[..., 0].clamp(min=1), z * taper[..., 1].clamp(min=1)
    corner = torch.stack([wide, y, deep], -1).norm(dim=-1)
    reach = torch.where(kind == SPHERE, half.amax(-1), torch.where(kind == CYLINDER, wide.hypot(y), corner))
    reach = torch.where(kind >= PLANE, math.inf, torch.where(kind == NOTHING, -math.inf, reach))
    grids = [s._field for s in scenes]  # pyright: ignore[reportPrivateUsage]
    shape = next((g[0].shape for g in grids if g), (0, 0))
    empty = (np.zeros(shape, np.float32), (0.0, -1.0, 0.0, -1.0), 0)
    whole = [g or empty for g in grids]
    return Scene(
        kind, centre, half, rotation(turn), taper, reach,
        heights=torch.stack([torch.from_numpy(g[0])[None] for g in whole]),
        extent=torch.tensor([g[1] for g in whole]),
        field=torch.tensor([g[2] for g in whole]),
    )  # fmt: skip
