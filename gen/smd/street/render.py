"""One moment of a street in any weather: the same geometry in all, then light, fog, wet road and the camera.

Constants of light and reflection were chosen by eye on previews, unless a line says otherwise.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from gen.errors import BadSetting, unknown
from gen.smd.raycast import Camera, Hits, Rays, blocked, cast, image
from gen.smd.scene import Scene, collate, rotation
from gen.smd.shading import Lamps, Pixels, Sunlight, dot, highlight, lamplit, material_rows, noise, sunlit, unit
from gen.smd.street.dashcam import photograph
from gen.smd.street.paint import Paint, paint
from gen.smd.street.sky import sky, sunlight, through_air
from gen.smd.street.solids import ROAD, lights, solids
from gen.smd.street.street import Street
from gen.smd.street.weather import SUNNY, WEATHERS, Weather
from gen.smd.surface import surface
from gen.tensors import constant


@dataclass(frozen=True)
class Frame:
    """One moment of a street."""

    images: dict[str, Tensor]
    """By weather: (3, H, W) uint8."""
    depth: Tensor
    """(H, W) metres to what is seen, along the optical axis (not along the ray); infinite for the sky."""
    labels: Tensor
    """(H, W) uint8 index into `solids.LABELS`."""


@dataclass(frozen=True)
class _View:
    """What all weathers share: the geometry of one moment."""

    street: Street
    time: float
    scene: Scene
    rows: Tensor
    """(1, K, 11) materials of the solids."""
    camera: Camera
    rays: Rays
    hits: Hits
    pixels: Pixels
    paint: Paint
    lamps: Lamps


SHADOWED, REACH = 90.0, 80.0
"""Metres: how far from the camera shadows are cast, and how long a shadow ray is. At 90 m shadows are lost in haze and
pixels; no house is tall enough for a longer shadow in daylight (the sun stands at 40 degrees)."""
MIRRORED = 120.0
"""Metres from the camera at which the road stops to mirror: farther away, a pixel is metres of road long."""


def render_street(
    street: Street, time: float, weathers: Sequence[str], height: int = 360, width: int = 640,
    samples: int = 2, device: torch.device | str = "cpu",
) -> Frame:  # fmt: skip
    """The street after `time` seconds in each of `weathers`, with the same geometry in all.

    `samples`: rays per pixel along each axis. Raises `BadSetting` for an unknown weather.
    """
    for name in weathers:
        if name not in WEATHERS:
            raise BadSetting(unknown("weather", name, WEATHERS))
    h, w = height * samples, width * samples
    view = _look(street, time, h, w, torch.device(device))
    forward = rotation(view.camera.turn)[0, :, 2]
    ahead = view.hits.distance * (view.rays.direction * forward[None, None, :, None]).sum(2)
    labels = view.pixels.spread(view.paint.label[None].float())
    images = {name: _render(view, WEATHERS[name], height, width, samples) for name in weathers}
    # Depth and labels come from one ray of each pixel: the mean of two labels would be a third.
    middle = samples // 2
    pick = (slice(middle, None, samples), slice(middle, None, samples))
    return Frame(
        images,
        image(ahead[:, :, None], h, w)[0, 0][pick],
        image(labels, h, w)[0, 0][pick].to(torch.uint8),
    )


def _look(street: Street, time: float, height: int, width: int, device: torch.device) -> _View:
    """Cast the camera's rays and find out what they hit; done once for all weathers."""
    things = solids(street, time)
    scene, rows = collate([things]).to(device), material_rows([things]).to(device)
    camera = street.camera(time).to(device)
    rays = camera.rays(height, width)
    hits = cast(scene, rays)
    pixels = Pixels.of(rays, hits, surface(scene, rays, hits), rows, float(1 / (height * camera.focal[0])))
    lamps = lights(street, time).to(device)
    return _View(street, time, scene, rows, camera, rays, hits, pixels, paint(pixels, street), lamps)


def _render(view: _View, weather: Weather, height: int, width: int, samples: int) -> Tensor:
    """The picture (3, height, width), uint8."""
    light = sunlight(weather, view.street, view.scene.device)
    lit: Tensor | float = 1.0
    if sum(weather.sun) > SUNNY:
        lit = ~_shadow(view, light)
    colour = _shade(view.pixels, view.paint, weather, light, lit, view.lamps)
    colour = through_air(colour, view.pixels.distance, weather)
    background = sky(view.rays.direction.movedim(2, 0), weather, light)
    h, w = height * samples, width * samples
    picture = image(view.pixels.spread(colour, background), h, w)
    if weather.wet:
        picture = picture + _mirror(view, weather, light, h, w)
    # Averaged before the camera's tone curve, while values are linear: so light adds up as it does on a sensor.
    picture = F.avg_pool2d(picture, samples) if samples > 1 else picture
    # Other noise in every frame of a clip, and the same again for the same frame: seeds are street and milliseconds.
    rng = torch.Generator().manual_seed(view.street.seed * 1_000_003 + round(view.time * 1000))
    return photograph(picture, view.street, view.time, weather, rng)[0]


def _shadow(view: _View, light: Sunlight) -> Tensor:
    """(n,) bool: pixels that the sun does not reach."""
    p = view.pixels
    facing = dot(p.normal, p.each(light.towards)) > 0
    wanted = torch.zeros_like(p.where)
    wanted[p.where] = facing & (p.distance < SHADOWED)
    origin = p.spread(p.point + p.normal * 0.02)  # 2 cm off the surface, so that it does not shade itself
    rays = Rays(origin, light.towards[:, None, :, None].expand_as(origin))
    return blocked(view.scene, rays, p.distance.new_tensor(REACH), wanted)[p.where]


def _shade(p: Pixels, surface: Paint, weather: Weather, light: Sunlight, lit: Tensor | float, lamps: Lamps) -> Tensor:
    """Light (3, n) that leaves the surfaces towards the viewer."""
    albedo = _snowed(p, surface, weather) if weather.white else surface.albedo
    wet = weather.wet * surface.level.float()
    albedo = albedo * (1 - 0.45 * wet)  # water in the pores traps light: wet asphalt is about half as bright as dry
    received = sunlit(p, surface.normal, light, lit)
    shine = torch.zeros_like(received)
    if isinstance(lit, Tensor):
        glint = highlight(p.view, surface.normal, p.each(light.towards))
        shine = glint * surface.gloss * lit * p.each(light.sun)
    glossy = (surface.gloss > 0).nonzero()[:, 0]
    shine[:, glossy] += _mirrored_sky(p, surface, weather, light, glossy)
    if weather.lamps:
        diffuse, glint = lamplit(p, surface.normal, lamps, surface.gloss * 0.6 + 0.25 * wet)
        received, shine = received + weather.lamps * diffuse, shine + weather.lamps * glint
    return albedo * received + shine + surface.glow + weather.lamps * surface.lamp


def _snowed(p: Pixels, surface: Paint, weather: Weather) -> Tensor:
    """Albedo (3, n) under snow: most on what lies level, in uneven patches, and less on the road, where cars drive."""
    x, _, z = p.point
    lying = surface.normal[1].clamp(0, 1) ** 2 * ((noise(x * 1.5, z * 1.5) * 1.6).clamp(0.35, 1))
    lying = lying * torch.where(surface.label == ROAD, 0.75, 1.0)
    snow = torch.full_like(surface.albedo, 0.8)  # fresh snow reflects 80 to 90 % of the light
    return torch.lerp(surface.albedo, snow, weather.white * lying)


def _mirrored_sky(p: Pixels, surface: Paint, weather: Weather, light: Sunlight, at: Tensor) -> Tensor:
    """Sky (3, m) that the glossy pixels `at` mirror: glass and paint. No ray is cast for it: houses do not show."""
    view, normal = p.view[:, at], p.normal[:, at]
    facing = dot(view, normal)
    # Schlick's shape, with softer numbers than glass has (0.04 + 0.96 (1 - cos)^5).
    fresnel = 0.06 + 0.6 * (1 - facing.abs()).clamp(0, 1) ** 4
    return surface.gloss[at] * fresnel * sky(view - 2 * facing * normal, weather, light)


def _mirror(view: _View, weather: Weather, light: Sunlight, height: int, width: int) -> Tensor:
    """What the wet road mirrors, (1, 3, height, width): a second ray, smeared along the columns by the roughness."""
    p = view.pixels
    x, _, z = p.point
    puddle = ((noise(x * 1.1 + 90, z * 0.8) - 0.35) * 3).clamp(0.25, 1)
    grazing = (1 - p.view[1].abs()).clamp(0, 1)
    # Schlick's approximation of Fresnel's law: little straight down, nearly all at a flat angle.
    strength = weather.wet * puddle * (0.05 + 0.75 * grazing**5) * view.paint.level
    wanted = torch.zeros_like(p.where)
    wanted[p.where] = (strength > 0.02) & (p.distance < MIRRORED)  # below 2 % a reflection is not seen
    rays, direction = _mirror_rays(p)
    hits = cast(view.scene, rays, wanted)
    hits = Hits(torch.where(wanted, hits.distance, math.inf), hits.solid)  # the caster promises nothing for the others
    found = sky(direction, weather, light)
    if hits.found.any():
        # 4 mrad a pixel, coarser than the camera's: the smear below hides fine patterns anyway.
        seen = Pixels.of(rays, hits, surface(view.scene, rays, hits), view.rows, 0.004)
        # Clamped, or a headlight's reflection, smeared, would become a bar of white across the road.
        shaded = _shade(seen, paint(seen, view.street), weather, light, 1.0, view.lamps).clamp(max=12)
        found[:, hits.found[p.where]] = through_air(shaded, seen.distance, weather)
    air = torch.exp(-weather.fog * p.distance)
    seen_in_road = image(p.spread(strength * air * wanted[p.where] * found), height, width)
    where = image(p.spread(wanted[None, p.where].float()), height, width)
    return _smear(seen_in_road, height // 45) * where  # the mask again: the smear must not leave the road


def _mirror_rays(p: Pixels) -> tuple[Rays, Tensor]:
    """The camera's rays mirrored in level ground, and their directions (3, n) at the pixels that hit something."""
    x, _, z = p.point
    # Ripples lean the plane a little along z: a far light's mirror image is broken up along its streak.
    lean = 0.02 * (noise(x * 9, z * 9) - 0.5)
    normal = unit(torch.stack([0.2 * lean, torch.ones_like(x), lean]))
    direction = p.view - 2 * dot(p.view, normal) * normal
    direction[1] = direction[1].abs()  # never into the road, however the ripple leans
    up = constant((0.0, 1.0, 0.0), x).view(3, 1, 1, 1)
    return Rays(p.spread(p.point + p.normal * 0.01), p.spread(direction, up)), direction


def _smear(picture: Tensor, length: int) -> Tensor:
    """Triangular blur along the columns over about 2 `length` rows, and a little along the rows.

    On rough water a light's image is a streak towards the viewer. Odd sizes (| 1) keep the picture in its place.
    """
    for size in (length | 1, (length * 2) | 1):
        picture = F.avg_pool2d(picture, (size, 3), 1, (size // 2, 1), count_include_pad=False)
    return picture
