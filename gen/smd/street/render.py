"""One moment of a street in any weather: the same geometry in all, then light, fog, wet road and the camera."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from gen.errors import BadSetting
from gen.smd.raycast import Camera, Hits, Rays, Scene, blocked, cast, collate, image, rotation, surface
from gen.smd.shading import Lamps, Pixels, Sunlight, dot, highlight, lamplit, material_rows, noise, sunlit, unit
from gen.smd.street.dashcam import photograph
from gen.smd.street.paint import Paint, paint
from gen.smd.street.sky import sky, sunlight, through_air
from gen.smd.street.solids import ROAD, lights, solids
from gen.smd.street.street import Street
from gen.smd.street.weather import SUNNY, WEATHERS, Weather


@dataclass(frozen=True)
class Frame:
    """One moment of a street."""

    images: dict[str, Tensor]
    """By weather: (3, H, W) uint8."""
    depth: Tensor
    """(H, W) metres to what is seen, straight ahead (not along the ray); infinite for the sky."""
    labels: Tensor
    """(H, W) uint8 index into `street.LABELS`."""


@dataclass(frozen=True)
class _View:
    """What all weathers share: the geometry of one moment."""

    scene: Scene
    rows: Tensor
    camera: Camera
    rays: Rays
    hits: Hits
    pixels: Pixels
    paint: Paint
    lamps: Lamps


def render_street(
    street: Street, time: float, weathers: Sequence[str], height: int = 360, width: int = 640,
    samples: int = 2, device: torch.device | str = "cpu",
) -> Frame:  # fmt: skip
    """The street after `time` seconds under each of `weathers`, the same geometry in all.

    `samples` rays a pixel each way. Raises `BadSetting` for an unknown weather.
    """
    for name in weathers:
        if name not in WEATHERS:
            raise BadSetting(f"unknown weather {name!r}; available: {', '.join(WEATHERS)}")
    h, w = height * samples, width * samples
    view = _look(street, time, h, w, torch.device(device))
    forward = rotation(view.camera.turn)[0, :, 2]
    ahead = view.hits.distance * (view.rays.direction * forward[None, None, :, None]).sum(2)
    labels = view.pixels.spread(view.paint.label[None].float())
    images = {name: _render(view, street, time, WEATHERS[name], height, width, samples) for name in weathers}
    middle = samples // 2  # depth and labels of one ray a pixel: a mean of labels has no meaning
    pick = (slice(middle, None, samples), slice(middle, None, samples))
    return Frame(
        images,
        image(ahead[:, :, None], h, w)[0, 0][pick],
        image(labels, h, w)[0, 0][pick].to(torch.uint8),
    )


def _look(street: Street, time: float, height: int, width: int, device: torch.device) -> _View:
    things = solids(street, time)
    scene, rows = collate([things]).to(device), material_rows([things]).to(device)
    camera = street.camera(time).to(device)
    rays = camera.rays(height, width)
    hits = cast(scene, rays)
    pixels = Pixels.of(rays, hits, surface(scene, rays, hits), rows, float(1 / (height * camera.focal[0])))
    lamps = lights(street, time).to(device)
    return _View(scene, rows, camera, rays, hits, pixels, paint(pixels, street), lamps)


def _render(
    view: _View, street: Street, time: float, weather: Weather, height: int, width: int, samples: int
) -> Tensor:
    light = sunlight(weather, street, view.scene.device)
    lit: Tensor | float = 1.0
    if sum(weather.sun) > SUNNY:
        lit = ~_shadow(view, light)
    colour = _shade(view.pixels, view.paint, weather, light, lit, view.lamps)
    colour = through_air(colour, view.pixels.distance, weather)
    background = sky(view.rays.direction.movedim(2, 0), weather, light)
    h, w = height * samples, width * samples
    picture = image(view.pixels.spread(colour, background), h, w)
    if weather.wet:
        picture = picture + _mirror(view, street, weather, light, h, w)
    picture = F.avg_pool2d(picture, samples) if samples > 1 else picture
    rng = torch.Generator().manual_seed(street.seed * 1_000_003 + round(time * 1000))
    return photograph(picture, street, time, weather, rng)[0]


def _shadow(view: _View, light: Sunlight) -> Tensor:
    """(n,) bool: pixels that the sun does not reach; beyond 90 m nobody sees it."""
    p = view.pixels
    facing = dot(p.normal, p.each(light.towards)) > 0
    wanted = torch.zeros_like(p.where)
    wanted[p.where] = facing & (p.distance < 90)
    origin = p.spread(p.point + p.normal * 0.02)
    rays = Rays(origin, light.towards[:, None, :, None].expand_as(origin))
    return blocked(view.scene, rays, p.distance.new_tensor(80.0), wanted)[p.where]


def _shade(p: Pixels, surface: Paint, weather: Weather, light: Sunlight, lit: Tensor | float, lamps: Lamps) -> Tensor:
    """Light (3, n) that leaves the surfaces towards the viewer."""
    albedo = surface.albedo
    if weather.white:
        x, _, z = p.point
        lying = surface.normal[1].clamp(0, 1) ** 2 * ((noise(x * 1.5, z * 1.5) * 1.6).clamp(0.35, 1))
        lying = lying * torch.where(surface.label == ROAD, 0.75, 1.0)
        albedo = torch.lerp(albedo, torch.full_like(albedo, 0.8), weather.white * lying)
    wet = weather.wet * surface.level.float()
    albedo = albedo * (1 - 0.45 * wet)
    received = sunlit(p, surface.normal, light, lit)
    shine = torch.zeros_like(received)
    if isinstance(lit, Tensor):
        glint = highlight(p.view, surface.normal, p.each(light.towards))
        shine = glint * surface.gloss * lit * p.each(light.sun)
    glossy = (surface.gloss > 0).nonzero()[:, 0]
    view, normal = p.view[:, glossy], p.normal[:, glossy]
    facing = dot(view, normal)
    fresnel = 0.06 + 0.6 * (1 - facing.abs()).clamp(0, 1) ** 4
    shine[:, glossy] += surface.gloss[glossy] * fresnel * sky(view - 2 * facing * normal, weather, light)
    if weather.lamps:
        diffuse, glint = lamplit(p, surface.normal, lamps, surface.gloss * 0.6 + 0.25 * wet)
        received, shine = received + weather.lamps * diffuse, shine + weather.lamps * glint
    return albedo * received + shine + surface.glow + weather.lamps * surface.lamp


def _mirror(view: _View, street: Street, weather: Weather, light: Sunlight, height: int, width: int) -> Tensor:
    """What the wet road mirrors, (1, 3, height, width): a second ray, smeared along the columns by the roughness."""
    p = view.pixels
    x, _, z = p.point
    puddle = ((noise(x * 1.1 + 90, z * 0.8) - 0.35) * 3).clamp(0.25, 1)
    grazing = (1 - p.view[1].abs()).clamp(0, 1)
    strength = weather.wet * puddle * (0.05 + 0.75 * grazing**5) * view.paint.level
    wanted = torch.zeros_like(p.where)
    wanted[p.where] = (strength > 0.02) & (p.distance < 120)
    # Ripples lean the plane a little along z: a far light's mirror image is broken up along its streak.
    lean = 0.02 * (noise(x * 9, z * 9) - 0.5)
    normal = unit(torch.stack([0.2 * lean, torch.ones_like(x), lean]))
    direction = p.view - 2 * dot(p.view, normal) * normal
    direction[1] = direction[1].abs()
    up = torch.tensor([0.0, 1, 0], device=x.device).view(3, 1, 1, 1)
    rays = Rays(p.spread(p.point + p.normal * 0.01), p.spread(direction, up))
    hits = cast(view.scene, rays, wanted)
    hits = Hits(torch.where(wanted, hits.distance, math.inf), hits.solid)
    found = sky(direction, weather, light)
    if hits.found.any():
        seen = Pixels.of(rays, hits, surface(view.scene, rays, hits), view.rows, 0.004)
        shaded = _shade(seen, paint(seen, street), weather, light, 1.0, view.lamps).clamp(max=12)
        found[:, hits.found[p.where]] = through_air(shaded, seen.distance, weather)
    air = torch.exp(-weather.fog * p.distance)
    seen_in_road = image(p.spread(strength * air * wanted[p.where] * found), height, width)
    where = image(p.spread(wanted[None, p.where].float()), height, width)
    return _smear(seen_in_road, height // 45) * where


def _smear(picture: Tensor, length: int) -> Tensor:
    """Triangular blur along the columns over about 2 `length` rows, and a little along the rows."""
    for size in (length | 1, (length * 2) | 1):
        picture = F.avg_pool2d(picture, (size, 3), 1, (size // 2, 1), count_include_pad=False)
    return picture
