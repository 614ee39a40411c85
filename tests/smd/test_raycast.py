"""The ray caster against dense sampling along rays, closed forms, and itself without culling."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gen.smd import raycast
from gen.smd.raycast import Camera, Rays, blocked, cast, image, meets
from gen.smd.scene import BOX, CYLINDER, PLANE, SPHERE, Solids, collate, rotation
from gen.smd.surface import surface


def camera(position=(0.0, 1.5, 0.0), yaw=0.0, pitch=0.0, focal=1.0) -> Camera:
    return Camera(torch.tensor([position]), torch.tensor([[yaw, pitch, 0.0]]), torch.tensor([focal]))


def one_ray(origin, direction) -> Rays:
    direction = torch.tensor(direction, dtype=torch.float32)
    direction = direction / direction.norm()
    return Rays(torch.tensor(origin, dtype=torch.float32)[None, None, :, None], direction[None, None, :, None])


def crowd(seed: int, count: int = 12) -> Solids:
    """Solids of all kinds, turned and tapered, before a camera at the origin."""
    rng = np.random.default_rng(seed)
    scene = Solids()
    scene.plane(-2.0, "floor")
    for index in range(count):
        centre = tuple(float(v) for v in rng.uniform((-4, -1.5, 4), (4, 3, 12)))
        turn = tuple(float(v) for v in rng.uniform(-3, 3, 3))
        half = tuple(float(v) for v in rng.uniform(0.2, 1.2, 3))
        taper = tuple(float(v) for v in rng.uniform(0, 1.5, 2))
        match index % 3:
            case 0:
                scene.sphere(centre, half, index, turn)
            case 1:
                scene.box(centre, half, index, turn, taper)
            case _:
                scene.cylinder(centre, half[0], half[1], index, turn, taper[0])
    return scene


def inside(scene, solid: int, points: torch.Tensor) -> torch.Tensor:
    """Whether points (..., 3) lie in a solid, from its definition: the slow, obvious reference."""
    local = (points - scene.centre[0, solid]) @ scene.axes[0, solid] / scene.half[0, solid]
    x, y, z = local.unbind(-1)
    rim = 1 + (scene.taper[0, solid] - 1) * (y[..., None] + 1) / 2
    match int(scene.kind[0, solid]):
        case 1:
            return x * x + y * y + z * z <= 1
        case 2:
            return (y.abs() <= 1) & (x.abs() <= rim[..., 0]) & (z.abs() <= rim[..., 1])
        case 3:
            return (y.abs() <= 1) & (x * x + z * z <= rim[..., 0] ** 2)
        case _:
            return points[..., 1] <= scene.centre[0, solid, 1]


@pytest.mark.parametrize("seed", range(4))
def test_hits_are_where_dense_samples_first_lie_inside(seed):
    solids = crowd(seed)
    scene = collate([solids])
    rays = camera((0.0, 0.0, 0.0)).rays(32, 48)
    hits = cast(scene, rays)
    step = 0.004
    t = torch.arange(0, 16, step)
    points = rays.origin[0, :, :, :, None] + rays.direction[0, :, :, :, None] * t  # P 3 N T
    points = points.movedim(1, -1)
    first = torch.full(points.shape[:2], math.inf)
    for solid in range(len(solids)):
        within = inside(scene, solid, points)
        first = torch.minimum(first, torch.where(within.any(-1), t[within.float().argmax(-1)], math.inf))
    near = first < 15
    error = (hits.distance[0] - first).abs()[near]
    # A ray that grazes a solid may pass between two samples, or between two roundings.
    assert (error < 2 * step).float().mean() > 0.995
    assert near.float().mean() > 0.3


@pytest.mark.parametrize("seed", range(4))
def test_culling_loses_nothing(seed, monkeypatch):
    scene = collate([crowd(seed, 30)])
    rays = camera((0.0, 0.3, 0.0), yaw=0.2, focal=0.8).rays(48, 64)
    culled = cast(scene, rays)
    assert meets(scene, rays).float().mean() < 0.6  # there is something to lose
    every = (scene.kind > 0)[:, None].expand(-1, rays.direction.shape[1], -1)
    monkeypatch.setattr(raycast, "meets", lambda *_: every)
    assert torch.equal(cast(scene, rays).distance, culled.distance)


def test_shadow_rays_are_culled_without_loss(monkeypatch):
    scene = collate([crowd(1, 30)])
    rays = camera().rays(48, 64)
    hits = cast(scene, rays)
    place = surface(scene, rays, hits)
    sun = torch.nn.functional.normalize(torch.tensor([0.4, 0.8, -0.3]), dim=0)
    towards = Rays(place.point + 0.01 * place.normal, sun[None, None, :, None].expand_as(place.point))
    culled = blocked(scene, towards, torch.tensor(100.0), hits.found)
    every = (scene.kind > 0)[:, None].expand(-1, rays.direction.shape[1], -1)
    monkeypatch.setattr(raycast, "meets", lambda *_: every)
    assert torch.equal(blocked(scene, towards, torch.tensor(100.0), hits.found), culled)
    assert 0.02 < culled[hits.found].float().mean() < 0.9


@pytest.mark.parametrize("seed", range(3))
def test_normals_point_out_of_the_solid_and_at_the_viewer(seed):
    scene = collate([crowd(seed)])
    rays = camera((0.0, 0.0, 0.0)).rays(48, 64)
    hits = cast(scene, rays)
    place = surface(scene, rays, hits)
    assert torch.allclose(place.normal.norm(dim=2)[hits.found], torch.tensor(1.0), atol=1e-5)
    assert ((place.normal * rays.direction).sum(2)[hits.found] < 1e-3).float().mean() > 0.999
    wrong = total = 0
    for solid in range(int(scene.kind.shape[1])):
        mine = (hits.solid == solid) & hits.found
        point, normal = (v.movedim(2, -1)[mine] for v in (place.point, place.normal))
        wrong += int((inside(scene, solid, point + 2e-3 * normal) | ~inside(scene, solid, point - 2e-3 * normal)).sum())
        total += len(point)
    assert wrong < 0.03 * total  # edges, where a step of 2 mm turns the corner


@given(height=st.floats(0.5, 20), pitch=st.floats(-0.3, 0.6), focal=st.floats(0.5, 2))
@settings(max_examples=30, deadline=None)
def test_depth_of_a_plane(height, pitch, focal):
    """A level plane h below the eye is h / sin(angle below the horizon) away."""
    solids = Solids()
    solids.plane(0.0, None)
    rays = camera((0.0, height, 0.0), pitch=pitch, focal=focal).rays(24, 32)
    distance = image(cast(collate([solids]), rays).distance[:, :, None], 24, 32)[0, 0]
    y = 0.5 - (torch.arange(24) + 0.5) / 24
    x = ((torch.arange(32) + 0.5) - 16) / 24
    length = (x[None] ** 2 + y[:, None] ** 2 + focal**2).sqrt()
    down = (-y * math.cos(pitch) + focal * math.sin(pitch))[:, None] / length
    expected = torch.where(down > 1e-4, height / down, math.inf)
    sure = (down.abs() > 1e-3) | (down < -1e-3)
    assert torch.allclose(distance[sure], expected[sure], rtol=2e-3)


def test_a_pixel_lies_where_the_pinhole_projects_it():
    """A point at (x, y, z) before the camera is seen at f x / z and f y / z image heights from the middle."""
    solids = Solids()
    solids.sphere((1.0, 2.0, 8.0), 0.05, None)
    rays = camera((0.0, 1.5, 0.0), focal=1.2).rays(360, 640)
    seen = image(cast(collate([solids]), rays).distance[:, :, None], 360, 640)[0, 0].isfinite().nonzero().float()
    row, column = seen.mean(0).tolist()
    assert column + 0.5 == pytest.approx(320 + 1.2 * 360 * 1.0 / 8, abs=0.6)
    assert row + 0.5 == pytest.approx(180 - 1.2 * 360 * 0.5 / 8, abs=0.6)


def test_rotation_is_a_rotation():
    turns = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    matrix = rotation(turns)
    assert torch.allclose(matrix @ matrix.mT, torch.eye(3).expand(50, 3, 3), atol=1e-5)
    assert torch.allclose(torch.linalg.det(matrix), torch.ones(50), atol=1e-5)
    right = rotation(torch.tensor([math.pi / 2, 0, 0])) @ torch.tensor([0.0, 0, 1])
    assert torch.allclose(right, torch.tensor([1.0, 0, 0]), atol=1e-6)  # yaw turns the view to the right
    down = rotation(torch.tensor([0, 0.5, 0])) @ torch.tensor([0.0, 0, 1])
    assert down[1] < 0


class TestHeightField:
    def test_a_slope_is_hit_exactly(self):
        heights = np.linspace(0, 4, 9, dtype=np.float32)[:, None].repeat(5, 1)  # rises by 0.25 a unit of z
        solids = Solids()
        solids.field(heights, (-10, 10), (0, 16), None)
        hits = cast(collate([solids]), one_ray((0, 2, -4), (0, 0, 1)))
        assert float(hits.distance) == pytest.approx(12.0, abs=0.02)
        rays = one_ray((0, 2, -4), (0, 0, 1))
        normal = surface(collate([solids]), rays, hits).normal.flatten()
        assert torch.allclose(normal, torch.tensor([0.0, 4.0, -1.0]) / 17**0.5, atol=1e-3)

    def test_hills_against_dense_samples(self):
        rng = np.random.default_rng(3)
        heights = rng.uniform(0, 2, (12, 12)).astype(np.float32)
        solids = Solids()
        solids.field(heights, (-8, 8), (2, 18), None)
        scene = collate([solids])
        rays = camera((0.0, 3.0, 0.0), pitch=0.15).rays(32, 48)
        found = cast(scene, rays).distance[0]
        t = torch.arange(0.5, 22, 0.01)
        points = rays.origin[0, :, :, :, None] + rays.direction[0, :, :, :, None] * t
        x, y, z = (points[:, i].flatten(0, 1) for i in range(3))
        over = y - raycast.field_height(scene, torch.zeros(len(x), dtype=torch.long), x, z)
        under = (over < 0) & (x.abs() < 8) & (z > 2) & (z < 18)
        first = torch.where(under.any(1), t[under.float().argmax(1)], math.inf).view_as(found)
        both = found.isfinite() & first.isfinite()
        assert both.float().mean() > 0.4
        # The marcher may step over a crest that is thinner than its step.
        assert ((found - first).abs()[both] < 0.05).float().mean() > 0.97
        assert (found.isfinite() == first.isfinite()).float().mean() > 0.97

    def test_only_one_to_a_scene(self):
        solids = Solids()
        solids.field(np.zeros((2, 2), np.float32), (0, 1), (0, 1), None)
        with pytest.raises(ValueError, match="one height field"):
            solids.field(np.zeros((2, 2), np.float32), (0, 1), (0, 1), None)


def test_a_batch_is_its_scenes():
    scenes = [crowd(1, 6), crowd(2, 15), Solids()]
    scenes[2].plane(-1.0, "floor")
    view = camera((0.0, 0.0, 0.0))
    three = Camera(*(v.expand(3, *v.shape[1:]) for v in (view.position, view.turn, view.focal)))
    together = cast(collate(scenes), three.rays(32, 32))
    for index, scene in enumerate(scenes):
        alone = cast(collate([scene]), view.rays(32, 32))
        assert torch.equal(alone.distance[0], together.distance[index])
        assert torch.equal(alone.solid[0], together.solid[index])


def test_rays_that_are_not_alive_do_not_change_the_others():
    scene = collate([crowd(5)])
    rays = camera((0.0, 0.0, 0.0)).rays(32, 48)
    alive = torch.rand(rays.direction[:, :, 0].shape, generator=torch.Generator().manual_seed(0)) < 0.4
    alive[0, 0] = False
    assert torch.equal(cast(scene, rays, alive).distance[alive], cast(scene, rays).distance[alive])


def test_a_shadow_lies_opposite_the_sun():
    solids = Solids()
    solids.plane(0.0, None)
    solids.sphere((0.0, 2.0, 6.0), 0.5, None)
    scene = collate([solids])
    sun = torch.tensor([0.6, 0.8, 0.0])
    for x, expected in ((-1.5, True), (1.5, False), (0.0, False)):  # 2 m up, 1.5 m aside by 0.6 / 0.8
        rays = Rays(torch.tensor([x, 0.01, 6.0]).view(1, 1, 3, 1), sun.view(1, 1, 3, 1))
        assert bool(blocked(scene, rays, torch.tensor(50.0), torch.ones(1, 1, 1, dtype=torch.bool))) is expected


def test_the_kinds_are_told_apart():
    solids = Solids()
    solids.plane(0.0, None)
    solids.sphere((0, 0, 0), 1.0, None)
    solids.box((0, 0, 0), (1, 1, 1), None)
    solids.cylinder((0, 0, 0), 1.0, 1.0, None)
    assert collate([solids]).kind[0].tolist() == [PLANE, SPHERE, BOX, CYLINDER]
