"""Where rays end: points and normals, in the world and along the axes of the solid that was hit."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from gen.smd.raycast import Hits, Rays, field_height
from gen.smd.scene import BOX, CYLINDER, FIELD, PLANE, Scene


class Surface(NamedTuple):
    """The point where each ray ends; only meaningful where `Hits.found`."""

    point: Tensor
    """(S, P, 3, N)."""
    normal: Tensor
    """(S, P, 3, N), of length 1, towards the viewer."""
    local: Tensor
    """(S, P, 3, N): the point from the solid's centre along its own axes, in units of the world."""
    face: Tensor
    """(S, P, 3, N): the normal along the solid's own axes."""


def surface(scene: Scene, rays: Rays, hits: Hits) -> Surface:
    """Points and normals of `hits`."""
    point = rays.at(torch.where(hits.found, hits.distance, 0))
    row = torch.arange(len(scene.kind), device=scene.device)[:, None, None]
    kind, half, axes, taper = (v[row, hits.solid] for v in (scene.kind, scene.half, scene.axes, scene.taper))
    offset = point.movedim(2, -1) - scene.centre[row, hits.solid]
    local = torch.einsum("...ij,...i->...j", axes, offset)
    unit = local / half
    face = torch.where((kind == BOX)[..., None], _box_normal(unit, taper), unit)
    face = torch.where((kind == CYLINDER)[..., None], _cylinder_normal(unit, taper[..., 0]), face)
    face = F.normalize(face / half, dim=-1)  # normals go back by the inverse of the scale
    up = torch.zeros_like(face)
    up[..., 1] = 1
    face = torch.where((kind == PLANE)[..., None], up, face)
    if scene.heights.numel():
        on_field = kind == FIELD
        s, p, n = on_field.nonzero().unbind(1)
        face[on_field] = _field_normal(scene, s, point[s, p, :, n])
    normal = torch.einsum("...ij,...j->...i", axes, face).movedim(-1, 2)
    return Surface(point, normal, local.movedim(-1, 2), face.movedim(-1, 2))


def _box_normal(unit: Tensor, taper: Tensor) -> Tensor:
    """Of the side of a tapered unit box that a point lies on."""
    m, n = (1 + taper) / 2, (taper - 1) / 2
    rim = (m + n * unit[..., 1:2]).clamp(min=1e-6)  # (..., 2) half sides in x and z at this height
    # The side is the one whose plane is nearest: the largest coordinate in a frame without taper.
    straight = torch.stack([unit[..., 0] / rim[..., 0], unit[..., 1], unit[..., 2] / rim[..., 1]], -1)
    x, y, z = straight.abs().unbind(-1)
    side = torch.where((x >= y) & (x >= z), 0, torch.where(y >= z, 1, 2))[..., None]  # faster than argmax
    normal = torch.zeros_like(unit).scatter(-1, side, straight.gather(-1, side).sign())
    lean = torch.where(side == 0, n[..., :1], n[..., 1:])
    normal[..., 1] = torch.where(side[..., 0] == 1, normal[..., 1], -lean[..., 0])
    return normal


def _cylinder_normal(unit: Tensor, taper: Tensor) -> Tensor:
    """Of a frustum in its unit frame: its caps' ±y, else outwards and up by the slope."""
    x, y, z = unit.unbind(-1)
    m, n = (1 + taper) / 2, (taper - 1) / 2
    side = torch.stack([x, -n * (m + n * y), z], -1)
    cap = torch.stack([torch.zeros_like(y), y.sign(), torch.zeros_like(y)], -1)
    return torch.where((y.abs() > 0.9999)[..., None], cap, side)  # on a cap y is 1 but for rounding


def _field_normal(scene: Scene, s: Tensor, point: Tensor) -> Tensor:
    """(n, 3) normals of the fields by central differences over one cell."""
    _, _, nz, nx = scene.heights.shape
    dx, dz = (scene.extent[s, 1] - scene.extent[s, 0]) / (nx - 1), (scene.extent[s, 3] - scene.extent[s, 2]) / (nz - 1)
    x, z = point[:, 0], point[:, 2]
    xs = torch.stack([x - dx / 2, x + dx / 2, x, x], 1)
    zs = torch.stack([z, z, z - dz / 2, z + dz / 2], 1)
    west, east, south, north = field_height(scene, s, xs, zs).unbind(1)
    return F.normalize(torch.stack([(west - east) / dx, torch.ones_like(dx), (south - north) / dz], -1), dim=-1)
