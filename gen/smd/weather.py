"""One moment of a street under any weather: light, fog, wet road, rain, drops on the windscreen, and the sensor."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from gen.errors import BadSetting
from gen.smd.raycast import Camera, Hits, Rays, Scene, Vector, blocked, cast, collate, image, rotation, surface
from gen.smd.shading import (
    Lamps,
    Pixels,
    Sunlight,
    bloom,
    blur,
    dot,
    highlight,
    lamplit,
    material_rows,
    noise,
    sunlit,
    tone,
    unit,
)
from gen.smd.street import Street
from gen.smd.street_paint import Paint, paint
from gen.smd.street_solids import ROAD, lights, solids


@dataclass(frozen=True)
class Weather:
    """Sky, air, road and camera. Colours are linear."""

    zenith: Vector
    horizon: Vector
    sky: Vector
    """Light from above on what lies level."""
    ground: Vector
    """Light from below."""
    sun: Vector = (0, 0, 0)
    elevation: float = 40
    """Of the sun, degrees."""
    clouds: float = 0.5
    lamps: float = 0.0
    """How far street lamps, windows and headlights are lit, 0..1."""
    fog: float = 0.0008
    """Extinction, 1/m: at a distance of 1/fog a third of the contrast is left."""
    wet: float = 0.0
    white: float = 0.0
    """Share of level ground under snow."""
    rain: float = 0.0
    flakes: float = 0.0
    drops: float = 0.0
    exposure: float = 1.0
    grain: float = 0.004
    """Noise of the sensor at mid grey."""
    vignette: float = 0.12
    glare: float = 0.05


SUNNY = 0.3
"""A sun that is brighter than this in all, over its three colours, throws shadows."""

WEATHERS: dict[str, Weather] = {
    "day": Weather(
        (0.10, 0.25, 0.62), (0.62, 0.74, 0.9), (0.42, 0.50, 0.64), (0.17, 0.16, 0.15), sun=(1.75, 1.6, 1.38)
    ),
    "dusk": Weather(
        (0.035, 0.05, 0.11), (0.42, 0.22, 0.13), (0.06, 0.065, 0.09), (0.03, 0.025, 0.02), sun=(0.05, 0.03, 0.015),
        elevation=5, lamps=1, exposure=1.2, grain=0.012, vignette=0.25, glare=0.10,
    ),
    "night": Weather(
        (0.0012, 0.0016, 0.0030), (0.012, 0.010, 0.009), (0.006, 0.006, 0.008), (0.003, 0.003, 0.003),
        clouds=0.2, lamps=1, exposure=3.2, grain=0.030, vignette=0.4, glare=0.10,
    ),
    "rain": Weather(
        (0.34, 0.37, 0.41), (0.46, 0.48, 0.5), (0.42, 0.44, 0.47), (0.14, 0.14, 0.14),
        clouds=1, lamps=0.5, fog=0.008, wet=0.8, rain=0.7, drops=0.7, exposure=1.15, grain=0.008,
        vignette=0.15, glare=0.08,
    ),
    "rainy_night": Weather(
        (0.0016, 0.0017, 0.0022), (0.014, 0.012, 0.010), (0.006, 0.006, 0.007), (0.003, 0.003, 0.003),
        clouds=1, lamps=1, fog=0.006, wet=1, rain=1, drops=1, exposure=3.2, grain=0.032, vignette=0.4, glare=0.16,
    ),
    "fog": Weather(
        (0.50, 0.52, 0.54), (0.56, 0.57, 0.58), (0.46, 0.47, 0.48), (0.2, 0.2, 0.2),
        clouds=0, lamps=0.6, fog=0.036, wet=0.15, exposure=1.05, grain=0.006, glare=0.25,
    ),
    "snow": Weather(
        (0.50, 0.53, 0.57), (0.60, 0.62, 0.65), (0.50, 0.52, 0.56), (0.34, 0.35, 0.37),
        clouds=1, lamps=0.15, fog=0.012, wet=0.25, white=0.95, flakes=1, exposure=1.0, grain=0.006, glare=0.1,
    ),
}  # fmt: skip


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
            raise BadSetting(f"weather {name!r} is unknown: choose from {', '.join(WEATHERS)}")
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


def _sunlight(weather: Weather, street: Street, device: torch.device) -> Sunlight:
    azimuth = (street.seed * 2.399963) % (2 * math.pi)
    up = math.radians(weather.elevation)
    towards = [math.cos(up) * math.sin(azimuth), math.sin(up), math.cos(up) * math.cos(azimuth)]
    return Sunlight(*(torch.tensor([v], device=device) for v in (towards, weather.sun, weather.sky, weather.ground)))


def _render(
    view: _View, street: Street, time: float, weather: Weather, height: int, width: int, samples: int
) -> Tensor:
    light = _sunlight(weather, street, view.scene.device)
    lit: Tensor | float = 1.0
    if sum(weather.sun) > SUNNY:
        lit = ~_shadow(view, light)
    colour = _shade(view.pixels, view.paint, weather, light, lit, view.lamps)
    colour = _through_air(colour, view.pixels.distance, weather)
    background = sky(view.rays.direction.movedim(2, 0), weather, light)
    h, w = height * samples, width * samples
    picture = image(view.pixels.spread(colour, background), h, w)
    if weather.wet:
        picture = picture + _mirror(view, street, weather, light, h, w)
    picture = F.avg_pool2d(picture, samples) if samples > 1 else picture
    rng = torch.Generator().manual_seed(street.seed * 1_000_003 + round(time * 1000))
    return _camera(picture, street, time, weather, rng)[0]


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
        found[:, hits.found[p.where]] = _through_air(shaded, seen.distance, weather)
    air = torch.exp(-weather.fog * p.distance)
    seen_in_road = image(p.spread(strength * air * wanted[p.where] * found), height, width)
    where = image(p.spread(wanted[None, p.where].float()), height, width)
    return _smear(seen_in_road, height // 45) * where


def _smear(picture: Tensor, length: int) -> Tensor:
    """Triangular blur along the columns over about 2 `length` rows, and a little along the rows."""
    for size in (length | 1, (length * 2) | 1):
        picture = F.avg_pool2d(picture, (size, 3), 1, (size // 2, 1), count_include_pad=False)
    return picture


def _through_air(colour: Tensor, distance: Tensor, weather: Weather) -> Tensor:
    """Fog by depth: Beer-Lambert's law, the air as bright as the horizon."""
    clear = torch.exp(-weather.fog * distance)
    return colour * clear + _tensor(weather.horizon, colour) * (1 - clear)


def _tensor(colour: Vector, like: Tensor) -> Tensor:
    """A colour (3, 1, ...) to be spread over `like` (3, ...)."""
    return torch.tensor(colour, device=like.device).view(3, *[1] * (like.ndim - 1))


def sky(direction: Tensor, weather: Weather, light: Sunlight) -> Tensor:
    """Light (3, ...) from the sky in `direction` (3, ...): a gradient, clouds on a level layer, the sun."""
    x, up, z = direction
    zenith, horizon = _tensor(weather.zenith, direction), _tensor(weather.horizon, direction)
    colour = torch.lerp(zenith, horizon, (1 - up.clamp(0, 1)) ** 4)
    if weather.clouds:
        layer = 14 / up.clamp(min=0.03)
        east, _, north = (40 * light.towards[0]).tolist()  # other clouds over another street
        u, v = x * layer + east, z * layer + north
        cover = 0.7 * noise(u, v) + 0.3 * noise(3 * u, 3 * v + 40)
        amount = ((cover - (1 - 0.75 * weather.clouds)) * 2.2).clamp(0, 1) * (up / 0.12).clamp(0, 1)
        bright = 1.25 * horizon + 0.25 * _tensor(weather.sun, direction)
        colour = torch.lerp(colour, bright * (1.05 - 0.45 * cover), 0.85 * amount)
    if sum(weather.sun) > SUNNY:
        towards = torch.tensordot(light.towards[0], direction, 1).clamp(min=0)
        disc = 0.18 * towards**40 + 12 * (towards > 0.9995)
        colour = colour + disc * _tensor(weather.sun, direction)
    return colour


def _camera(picture: Tensor, street: Street, time: float, weather: Weather, rng: torch.Generator) -> Tensor:
    """What windscreen, lens and sensor make of the light, (1, 3, H, W) -> uint8."""
    height, width = picture.shape[-2:]
    picture = picture * weather.exposure
    picture = bloom(picture, weather.glare, height / 150)
    if weather.rain or weather.flakes:
        picture = _falling(picture, weather, rng)
    if weather.drops:
        picture = _drops(picture, street, time, weather)
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    picture = picture * (1 - weather.vignette * (x * x + y * y) / 2).to(picture)
    # Photons and electronics: their variance grows with the light, and never is nothing.
    draws = torch.randn(picture.shape, generator=rng).to(picture)
    picture = picture + weather.grain * (picture.clamp(0, 1) * 0.5 + 0.02).sqrt() * draws
    return tone(picture)


def _falling(picture: Tensor, weather: Weather, rng: torch.Generator) -> Tensor:
    """Streaks of rain or flakes of snow, as bright as the light around them."""
    height, width = picture.shape[-2:]
    around = blur(picture.clamp(max=3), height / 20).mean(1, keepdim=True)
    total = torch.zeros_like(around)
    for size, count in ((1.0, 0.0025), (2.0, 0.0008)):
        amount = weather.rain + weather.flakes
        seeds = (torch.rand((1, 1, height, width), generator=rng) < count * amount * (360 / height)).float().to(picture)
        if weather.rain:
            length = max(3, int(height / 22 * size)) | 1
            kernel = torch.zeros(1, 1, length, 5, device=picture.device)
            for row in range(length):
                kernel[0, 0, row, 1 + int(2.5 * row / length)] = 0.55
            total += F.conv2d(F.pad(seeds, (2, 2, length // 2, length // 2)), kernel)
        else:
            total += blur(seeds, 0.7 * size * height / 360) * (9 * size)
    white = 0.35 if weather.flakes else 0.12
    return picture + total.clamp(0, 1) * (around * (0.9 if weather.flakes else 0.45) + white * around.mean())


def _drops(picture: Tensor, street: Street, time: float, weather: Weather) -> Tensor:
    """Drops on the windscreen: small lenses that show the scene behind them upside down and blurred."""
    height, width = picture.shape[-2:]
    rng = torch.Generator().manual_seed(street.seed)
    count = int(60 * weather.drops)
    centre = torch.rand((count, 2), generator=rng) * 2 - 1
    radius = 0.010 + 0.030 * torch.rand(count, generator=rng) ** 3
    slide = 0.05 * (torch.rand(count, generator=rng) < 0.15) * time  # some run down
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    grid = torch.stack([x, y], -1)
    inside_any, dark = torch.zeros(height, width), torch.ones(height, width)
    aspect = width / height
    for (cx, cy), r, down in zip(centre, radius, slide, strict=True):
        cy = (cy + 1 + down) % 2 - 1
        dx, dy = (x - cx) * aspect, (y - cy) * 0.85
        away = (dx * dx + dy * dy).sqrt() / r
        inside = away < 1
        target = torch.stack([cx - (x - cx) * 9, cy - (y - cy) * 9], -1).clamp(-1, 1)
        grid = torch.where(inside[..., None], target, grid)
        inside_any = torch.maximum(inside_any, (1.15 - away).clamp(0, 0.15) / 0.15)
        dark = torch.where(inside, 1 - 0.45 * away**4 + 0.15 * (dy < 0), dark)
    soft = blur(picture.clamp(max=4), height / 120)
    behind = F.grid_sample(soft, grid[None].to(picture), align_corners=True, padding_mode="border")
    mask = inside_any.to(picture)
    return picture * (1 - mask) + behind * dark.to(picture) * mask
