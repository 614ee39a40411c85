"""A batched ray caster in torch: what the rays of cameras, shadows and mirrors meet first in a `gen.smd.scene`.

Rays come in packets; a camera's packets are the tiles of its image. A packet is tested only against solids whose
bounding sphere meets the packet's cone of directions, so the work grows with what is seen, not with solids x pixels.
Shadow and mirror rays are packets too. Everything is a tensor over scenes (S), packets (P), rays in a packet (N) and
solids (K), on the device of the scene. The caster knows geometry only: the points and normals of its hits are
`gen.smd.surface`, colour and light `gen.smd.shading`. Correctness is tested against dense sampling along rays, closed
forms, and itself without culling.
"""

import math
from dataclasses import dataclass, fields
from typing import NamedTuple, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from gen.smd.scene import BOX, CYLINDER, FIELD, NOTHING, PLANE, SPHERE, Scene, rotation

TILE = 16
"""Side of a camera's packet in pixels: 256 rays. Larger packets have wider cones and meet more solids that most of
their rays miss; smaller ones spend their time on culling."""
NEAREST = 1e-3
"""A hit closer than this is the surface that the ray leaves."""
PAIRS = 512
"""Packet-solid pairs at a time on a CPU: their 512 x 256 distances take half a megabyte, and stay in its cache."""
EPSILON = 1e-9
"""Stands in for a divisor that is (nearly) zero: the quotient is then huge, and no number becomes NaN."""


@dataclass(frozen=True)
class Camera:
    """Pinhole cameras, one a scene."""

    position: Tensor
    """(S, 3)."""
    turn: Tensor
    """(S, 3): yaw (to the right), pitch (down) and roll, radians."""
    focal: Tensor
    """(S,) focal length in heights of the image: 0.5 / tan(half the vertical angle of view)."""

    def to(self, device: torch.device | str) -> Self:
        """The same on another device."""
        return type(self)(*(getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)))

    def rays(self, height: int, width: int) -> "Rays":
        """Rays through the pixels' centres, in tiles; the image is padded to whole tiles."""
        device = self.position.device
        rows, columns = -(-height // TILE), -(-width // TILE)
        y, x = torch.meshgrid(
            torch.arange(rows * TILE, device=device), torch.arange(columns * TILE, device=device), indexing="ij"
        )
        forward = torch.ones_like(x) * height
        pixels = torch.stack([x + 0.5 - width / 2, height / 2 - 0.5 - y, forward], 0).float()
        local = pixels.expand(len(self.focal), -1, -1, -1).clone()
        local[:, 2] *= self.focal[:, None, None]
        world = torch.einsum("sij,sjhw->sihw", rotation(self.turn), local)
        direction = world * world.square().sum(1, keepdim=True).rsqrt()
        packets = direction.unflatten(2, (rows, TILE)).unflatten(4, (columns, TILE))  # S 3 r t c t
        packets = packets.permute(0, 2, 4, 1, 3, 5).flatten(1, 2).flatten(-2)
        return Rays(self.position[:, None, :, None].expand(-1, packets.shape[1], -1, 1), packets)


class Rays(NamedTuple):
    """Packets of rays."""

    origin: Tensor
    """(S, P, 3, N), or (S, P, 3, 1) for rays from one point."""
    direction: Tensor
    """(S, P, 3, N) of length 1."""

    def at(self, distance: Tensor) -> Tensor:
        """The points (S, P, 3, N) at `distance` (S, P, N)."""
        return self.origin + self.direction * distance[:, :, None]


def image(packets: Tensor, height: int, width: int) -> Tensor:
    """(S, P, C, N) values of a camera's rays -> (S, C, height, width)."""
    rows, columns = -(-height // TILE), -(-width // TILE)
    tiles = packets.unflatten(1, (rows, columns)).unflatten(-1, (TILE, TILE))  # S r c C t t
    return tiles.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)[..., :height, :width]


class Hits(NamedTuple):
    """What rays meet first."""

    distance: Tensor
    """(S, P, N) along the ray; infinite where it meets nothing."""
    solid: Tensor
    """(S, P, N) int64 index of the solid; 0 where it meets nothing."""

    @property
    def found(self) -> Tensor:
        """(S, P, N) bool."""
        return self.distance.isfinite()


def cast(scene: Scene, rays: Rays, alive: Tensor | None = None) -> Hits:
    """The first hit of every ray. Rays that are not `alive` (S, P, N) cost less, and their hits are undefined."""
    shape = rays.direction.shape
    # Distance and solid in one integer, so that one scatter finds the nearest and what it is. It works because the
    # bits of positive floats, read as integers, are in the order of the floats.
    best = torch.full((shape[0] * shape[1], shape[3]), _key(math.inf), dtype=torch.int64, device=scene.device)
    near = meets(scene, rays, alive)
    origin, direction = rays.origin.flatten(0, 1), rays.direction.flatten(0, 1)
    for kind in (SPHERE, BOX, CYLINDER, PLANE):
        pairs = (near & (scene.kind == kind)[:, None]).flatten(0, 1).nonzero()
        # On a GPU many at a time, but not all: vectors of 65,536 pairs with 256 rays each take 200 MB an array.
        for chunk in pairs.split(PAIRS if scene.device.type == "cpu" else 1 << 16):
            packet, solid = chunk.unbind(1)
            distance = _distance(scene, kind, packet // shape[1], solid, origin[packet], direction[packet])
            keys = (distance.view(torch.int32).long() << 32) | solid[:, None]
            best.scatter_reduce_(0, packet[:, None].expand_as(keys), keys, "amin")
    best = best.unflatten(0, shape[:2])
    if scene.heights.numel():
        distance = _march(scene, rays)
        keys = (distance.view(torch.int32).long() << 32) | scene.field[:, None, None]
        best = torch.minimum(best, keys)
    return Hits((best >> 32).int().view(torch.float32), torch.where(best < _key(math.inf), best & 0xFFFFFFFF, 0))


def _key(distance: float) -> int:
    """The key of `cast` for a distance and solid 0."""
    return int(torch.tensor(distance).view(torch.int32).item()) << 32


def meets(scene: Scene, rays: Rays, alive: Tensor | None = None) -> Tensor:
    """(S, P, K): may a ray of the packet meet the solid? Its bounding sphere against the packet's cone.

    True for some solids that no ray meets, never False for one that a ray meets.
    """
    origin, direction = rays
    if alive is not None:  # rays that are not alive copy one that is, so that they do not widen the cone
        first = alive.float().argmax(-1)[:, :, None, None].expand(-1, -1, 3, 1)
        if origin.shape[-1] > 1:
            origin = torch.where(alive[:, :, None], origin, origin.gather(-1, first))
        direction = torch.where(alive[:, :, None], direction, direction.gather(-1, first))
    middle = (origin.amax(-1) + origin.amin(-1)) / 2
    spread = (origin - middle[..., None]).square().sum(2).amax(-1).sqrt()  # faster than norm
    axis = F.normalize(direction.mean(-1), dim=-1)
    angle = (direction * axis[..., None]).sum(2).amin(-1).clamp(-1, 1).acos()
    to_solid = scene.centre[:, None] - middle[:, :, None]
    distance = to_solid.square().sum(-1).sqrt()
    radius = scene.reach[:, None] + spread[..., None]
    # Half the angle of the cone plus that of the sphere; 1e-4 rad for rounding in float32.
    seen = torch.asin((radius / distance.clamp(min=1e-6)).clamp(0, 1)) + angle[..., None] + 1e-4
    off_axis = ((to_solid * axis[:, :, None]).sum(-1) / distance.clamp(min=1e-6)).clamp(-1, 1).acos()
    near = (distance <= radius) | ((off_axis <= seen) & (radius > 0))
    near = near & (scene.kind != NOTHING)[:, None] & (scene.kind != FIELD)[:, None]  # `_march` does the fields
    return near if alive is None else near & alive.any(-1)[..., None]


def _distance(scene: Scene, kind: int, s: Tensor, k: Tensor, origin: Tensor, direction: Tensor) -> Tensor:
    """Distances (n, N) of rays (n, 3, N) to the solids (s, k), (n,) each, infinite where they miss.

    Rays are taken to the solid's unit frame (half sides 1). The map is affine and directions are not normalised
    there, so the parameter along the ray is the distance in the world.
    """
    unit = scene.axes[s, k].mT / scene.half[s, k][..., None]
    o = unit @ (origin - scene.centre[s, k][..., None])
    d = unit @ direction
    d = torch.where(d.abs() < EPSILON, EPSILON, d)
    if kind == SPHERE:
        return _unit_sphere(o, d)
    if kind == BOX:
        return _unit_box(o, d, scene.taper[s, k])
    if kind == CYLINDER:
        return _unit_cylinder(o, d, scene.taper[s, k, :1])
    return _valid(-o[:, 1] / d[:, 1], d[:, 1] < 0)  # a plane, seen from above


def _valid(t: Tensor, ok: Tensor) -> Tensor:
    """Distances `t`, infinite where the solid is missed or is the surface that the ray leaves."""
    return torch.where(ok & (t > NEAREST), t, math.inf)


def _unit_sphere(o: Tensor, d: Tensor) -> Tensor:
    """|o + t d|² = 1: the smaller root. Only rays from outside hit; a camera inside a sphere does not see it."""
    a, b, c = (d * d).sum(1), (o * d).sum(1), (o * o).sum(1) - 1
    root = b * b - a * c
    return _valid((-b - root.clamp(min=0).sqrt()) / a, root > 0)


def _unit_box(o: Tensor, d: Tensor, taper: Tensor) -> Tensor:
    """Between three pairs of planes: |y| <= 1, |x| and |z| <= m + n y with m = (1 + taper) / 2, n = (taper - 1) / 2."""
    (ox, oy, oz), (dx, dy, dz) = o.unbind(1), d.unbind(1)
    middle, half = -oy / dy, 1 / dy.abs()
    enter, leave = middle - half, middle + half
    for start, way, k in ((ox, dx, taper[:, :1]), (oz, dz, taper[:, 1:])):
        m, n = (1 + k) / 2, (k - 1) / 2
        rim, slope = m + n * oy, n * dy
        for sign in (-1, 1):  # sign * (start + t way) <= rim + t slope
            speed = sign * way - slope
            speed = torch.where(speed.abs() < EPSILON, EPSILON, speed)
            t = (rim - sign * start) / speed
            enter = torch.where(speed < 0, torch.maximum(enter, t), enter)
            leave = torch.where(speed < 0, leave, torch.minimum(leave, t))
    return _valid(enter, enter < leave)


def _unit_cylinder(o: Tensor, d: Tensor, taper: Tensor) -> Tensor:
    """Radius 1 at y = -1, `taper` at y = 1: x² + z² = (m + n y)² between two caps."""
    (ox, oy, oz), (dx, dy, dz) = o.unbind(1), d.unbind(1)
    m, n = (1 + taper) / 2, (taper - 1) / 2
    rim, slope = m + n * oy, n * dy
    a, b, c = dx * dx + dz * dz - slope * slope, ox * dx + oz * dz - rim * slope, ox * ox + oz * oz - rim * rim
    root = b * b - a * c
    a = torch.where(a.abs() < EPSILON, EPSILON, a)
    best = torch.full_like(a, math.inf)
    for sign in (-1, 1):
        t = (-b + sign * root.clamp(min=0).sqrt()) / a
        y = oy + t * dy
        on_side = (root > 0) & (y.abs() <= 1) & (m + n * y >= 0)  # a negative radius: the cone's other half
        best = torch.minimum(best, _valid(t, on_side))
    for cap, radius in ((-1.0, torch.ones_like(taper)), (1.0, taper)):
        t = (cap - oy) / dy
        x, z = ox + t * dx, oz + t * dz
        best = torch.minimum(best, _valid(t, x * x + z * z <= radius * radius))
    return best


STEPS = 40
"""Samples along a ray over a height field before the crossing is refined. A crest thinner than a step may be missed."""


def _march(scene: Scene, rays: Rays) -> Tensor:
    """Distance (S, P, N) to the height field: steps that grow with the distance, then false position."""
    top, floor = scene.heights.amax((1, 2, 3)) + 1e-3, scene.heights.amin((1, 2, 3)) - 1.0
    low = torch.stack([scene.extent[:, 0], floor, scene.extent[:, 2]], -1)[:, None, :, None]
    high = torch.stack([scene.extent[:, 1], top, scene.extent[:, 3]], -1)[:, None, :, None]
    d = torch.where(rays.direction.abs() < EPSILON, EPSILON, rays.direction)
    one, two = (low - rays.origin) / d, (high - rays.origin) / d
    enter, leave = torch.minimum(one, two).amax(2).clamp(min=NEAREST), torch.maximum(one, two).amin(2)
    result = torch.full_like(enter, math.inf)
    inside = (leave > enter) & (scene.extent[:, 1] > scene.extent[:, 0])[:, None, None]
    which = inside.nonzero()
    if not len(which):
        return result
    s, p, n = which.unbind(1)
    origin, direction = rays.origin.expand_as(rays.direction)[s, p, :, n], rays.direction[s, p, :, n]
    start, end = enter[inside], leave[inside]
    # Even steps in the logarithm of the distance, so that a step covers as many pixels near as far; the offset keeps
    # the first steps from becoming tiny where a ray starts at the camera.
    offset = 4.0
    step = torch.linspace(0, 1, STEPS, device=scene.device)
    t = (start + offset)[:, None] * ((end + offset) / (start + offset))[:, None] ** step - offset
    gap = _above(scene, s, origin, direction, t)
    under = gap < 0
    first = under.float().argmax(1).clamp(min=1)
    t0, t1 = t.gather(1, first[:, None] - 1), t.gather(1, first[:, None])
    g0, g1 = gap.gather(1, first[:, None] - 1), gap.gather(1, first[:, None])
    for _ in range(3):  # false position; the clamp moves on where the land is curved and one end would stay
        guess = t0 + (t1 - t0) * (g0 / (g0 - g1)).clamp(0.02, 0.98)
        g = _above(scene, s, origin, direction, guess)
        t0, g0 = torch.where(g > 0, guess, t0), torch.where(g > 0, g, g0)
        t1, g1 = torch.where(g > 0, t1, guess), torch.where(g > 0, g1, g)
    result[inside] = torch.where(under.any(1) & ~under[:, 0], t1[:, 0], math.inf)
    return result


def _above(scene: Scene, s: Tensor, origin: Tensor, direction: Tensor, t: Tensor) -> Tensor:
    """Height above the field of the points at `t` (n, m) of rays (n, 3) in scenes `s` (n,)."""
    x, y, z = (origin[:, i, None] + t * direction[:, i, None] for i in range(3))
    return y - field_height(scene, s, x, z)


def field_height(scene: Scene, s: Tensor, x: Tensor, z: Tensor) -> Tensor:
    """Bilinear height of the fields of scenes `s` (n,) at (n, m) points; clamped at the borders."""
    _, _, nz, nx = scene.heights.shape
    x0, x1, z0, z1 = (scene.extent[s, i, None] for i in range(4))
    # 1.001: so that the cell's far corner, one index on, is still in the grid.
    u = ((x - x0) / (x1 - x0) * (nx - 1)).clamp(0, nx - 1.001)
    v = ((z - z0) / (z1 - z0) * (nz - 1)).clamp(0, nz - 1.001)
    i, j = u.long(), v.long()
    u, v = u - i, v - j
    flat = scene.heights.flatten()
    at = (s[:, None] * nz + j) * nx + i
    near = flat[at] * (1 - u) + flat[at + 1] * u
    far = flat[at + nx] * (1 - u) + flat[at + nx + 1] * u
    return near * (1 - v) + far * v


def blocked(scene: Scene, rays: Rays, distance: Tensor, alive: Tensor) -> Tensor:
    """(S, P, N): is there a solid within `distance` along the rays that are `alive`? False for the others."""
    return (cast(scene, rays, alive).distance < distance) & alive
