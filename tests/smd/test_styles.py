"""Four styles of one world: the limits of their machines, determinism, and that they show the same level."""

import dataclasses

import numpy as np
import pytest
import torch

from gen.errors import BadSetting
from gen.smd.art.light import sunlight
from gen.smd.art.models import MODELS
from gen.smd.art.moods import MOODS
from gen.smd.art.sprites import fifteen_bits, sprite
from gen.smd.art.stage import BEHIND, FROM_ABOVE, build, cameras
from gen.smd.art.texture import PAINTERS
from gen.smd.names import SCENES
from gen.smd.raycast import cast
from gen.smd.scene import collate, rotation
from gen.smd.shading import Pixels, material_rows
from gen.smd.styles import STYLES, lowpoly, render
from gen.smd.styles import bit8 as eight
from gen.smd.styles.hd import FOCUS, depth_of_field, soft_shadow
from gen.smd.surface import surface
from gen.smd.world import make_world

SIZES = {"8bit": (240, 256), "16bit": (224, 256), "lowpoly": (240, 320), "hd": (480, 640)}


def colours(picture) -> np.ndarray:
    return np.unique(picture.reshape(-1, 3), axis=0)


@pytest.fixture(scope="module")
def worlds():
    return [make_world(scene, seed) for scene in SCENES for seed in (0, 1)]


@pytest.mark.parametrize("style", STYLES)
def test_pictures_have_the_machines_size_and_show_something(style):
    for scene in SCENES:
        (picture,) = render([make_world(scene, 3)], style)
        assert picture.shape == (*SIZES[style], 3)
        assert picture.dtype == np.uint8
        assert picture.std() > 12
        assert len(colours(picture)) > 8


@pytest.mark.parametrize("style", STYLES)
def test_the_same_world_is_the_same_picture(style):
    world, other = make_world("snow", 5), make_world("snow", 6)
    first, second, third = render([world, world, other], style)
    assert np.array_equal(first, second)
    assert not np.array_equal(first, third)
    assert np.array_equal(first, render([make_world("snow", 5)], style)[0])


class TestEightBit:
    def test_a_cell_has_one_palette_of_four_colours(self, worlds):
        for world in worlds:
            index, palette = eight.background(world)
            assert index.shape == (240, 256)
            assert index.max() <= 3
            assert palette.shape == (15, 16)
            assert palette.max() <= 3
            picture = eight.colours(world.scene)[palette.repeat(16, 0).repeat(16, 1), index]
            for row in range(15):
                for column in range(16):
                    cell = picture[16 * row : 16 * row + 16, 16 * column : 16 * column + 16]
                    assert len(colours(cell)) <= 4

    def test_25_colours_on_screen_all_of_the_master_palette(self, worlds):
        master = {tuple(c) for c in eight.master().astype(int)}
        assert len(master) == 54
        for world in worlds:
            shown = {tuple(c) for c in colours(eight.render([world])[0]).astype(int)}
            assert len(shown) <= 25
            assert shown <= master

    def test_sprites_have_four_palettes_of_three(self):
        assert len(set(eight.ACTORS.values())) == 4
        assert all(len(p) == 3 for p in eight.ACTORS.values())

    def test_the_sky_is_flat(self):
        world = make_world("grassland", 2)
        index, _ = eight.background(world)
        table = eight.colours("grassland")
        assert len({tuple(table[p, 0]) for p in range(4)}) == 1  # one backdrop in all palettes
        assert (index[:64] == 0).mean() > 0.5

    def test_far_layers_survive_the_palette_of_what_stands_before_them(self):
        """All palettes share the dark that hills are filled with: a cell's change of palette does not tear them."""
        for scene in SCENES:
            assert len({tuple(c) for c in eight.colours(scene)[:, 1]}) == 1


class TestSixteenBit:
    def test_15_bit_colours_256_at_most(self, worlds):
        for picture in render(worlds, "16bit"):
            five = picture >> 3
            assert np.array_equal(picture, (five << 3) | (five >> 2))
            assert len(colours(picture)) <= 256

    def test_fifteen_bits_is_the_nearest_colour(self):
        values = np.arange(256, dtype=np.float32)[:, None, None].repeat(3, 2)
        grid = np.array([(v << 3) | (v >> 2) for v in range(32)])
        nearest = grid[np.abs(grid[None] - values[:, :1, 0]).argmin(1)]
        assert (np.abs(fifteen_bits(values)[:, 0, 0].astype(int) - nearest) <= 8).all()
        assert np.abs(fifteen_bits(values)[:, 0, 0] - values[:, 0, 0]).max() <= 5

    def test_outlines_are_dark(self):
        """Around the hero the picture is darker than the sprite and than the sky."""
        world = make_world("sky", 0)
        (picture,) = render([world], "16bit")
        x, y = round((world.hero.x - world.view.x) * 16), 224 - round(world.hero.y * 16)
        box = picture[max(0, y - 26) : y, max(0, x - 12) : x + 12].astype(int).sum(-1)
        assert box.min() < 150


class TestLowPoly:
    def test_15_bits(self):
        for picture in render([make_world(s, 1) for s in SCENES], "lowpoly"):
            five = picture >> 3
            assert np.array_equal(picture, (five << 3) | (five >> 2))

    def test_a_batch_is_its_worlds(self):
        """Rendered together, as on a GPU, or one by one."""
        worlds = [make_world(s, 2) for s in ("cave", "sky", "desert")]
        together = lowpoly.render(worlds)
        for world, picture in zip(worlds, together, strict=True):
            assert (np.abs(lowpoly.render([world])[0].astype(int) - picture) > 8).mean() < 1e-3


class TestHD:
    def test_a_smaller_square_shows_the_same_place(self):
        world = make_world("grassland", 4)
        (whole,), (small,) = render([world], "hd"), render([world], "hd", size=224)
        middle = torch.from_numpy(whole[:, 80:560].copy()).permute(2, 0, 1)[None].float()
        middle = torch.nn.functional.interpolate(middle, small.shape[:2], mode="area")[0].permute(1, 2, 0).numpy()
        assert small.shape == (256, 256, 3)
        assert np.abs(middle - small).mean() < 9
        assert np.corrcoef(middle.mean(-1).ravel(), small.mean(-1).ravel())[0, 1] > 0.97

    def test_what_is_far_is_blurred_and_the_lane_is_not(self):
        picture = torch.rand(1, 3, 120, 160, generator=torch.Generator().manual_seed(0))
        lane, far = torch.full((1, 1, 120, 160), FOCUS), torch.full((1, 1, 120, 160), 60.0)
        assert torch.allclose(depth_of_field(picture, lane), picture)
        assert depth_of_field(picture, far).std() < 0.6 * picture.std()

    def test_shadows_darken_the_ground(self):
        """The same level without its sun is darker, and some of what the sun could reach is in shadow."""
        world = make_world("desert", 1)
        solids = build(world)
        scene, camera = collate([solids]), cameras([world], FROM_ABOVE, 4 / 3)
        rays = camera.rays(96, 128)
        hits = cast(scene, rays)
        pixels = Pixels.of(rays, hits, surface(scene, rays, hits), material_rows([solids]), 0.01)
        lit = soft_shadow(scene, pixels, sunlight([world], [MOODS[world.scene]]))
        assert ((lit >= 0) & (lit <= 1)).all()
        assert 0.005 < (lit < 0.5).float().mean() < 0.7
        assert ((lit > 0.05) & (lit < 0.95)).any()  # a penumbra


class TestPairing:
    @pytest.mark.parametrize("style", [s.name for s in STYLES.values() if s.is_2d])
    def test_the_ground_is_where_the_graph_says(self, style):
        """Dig one column deeper: only that column's pixels change, and they do."""
        world = next(w for s in range(20) if (w := make_world("desert", s)).ground[int(w.view.x) + 2] is not None)
        x = int(world.view.x) + 2
        quiet = dataclasses.replace(world, props=(), items=(), creatures=(), platforms=(), columns=())
        ground = list(quiet.ground)
        ground[x] = (ground[x] or 0) + 2
        raised = dataclasses.replace(quiet, ground=tuple(ground))
        before, after = (p.astype(int) for p in render([quiet, raised], style))
        changed = np.abs(before - after).sum(-1) > 0
        columns, rows = np.flatnonzero(changed.any(0)), np.flatnonzero(changed.any(1))
        left = round((x - world.view.x) * 16)
        assert left - 2 <= columns.min() <= columns.max() <= left + 17
        height = SIZES[style][0]
        top = height - 16 * (ground[x] or 0)
        assert abs(rows.min() - top) <= 3
        assert changed[top + 4 : top + 28, left + 2 : left + 14].mean() > 0.5

    @pytest.mark.parametrize("style", STYLES)
    def test_the_hero_is_where_the_graph_says(self, style):
        """Drop the hero out of sight: what changes lies where the style's projection puts the hero."""
        world = make_world("sky", 7)
        flat = STYLES[style].is_2d
        # The cameras of the 3D styles follow the hero, so there it shrinks where it stands.
        hero = world.hero._replace(y=-60.0) if flat else world.hero._replace(size=0.01)
        gone = dataclasses.replace(world, hero=hero)
        before, after = (p.astype(int) for p in render([world, gone], style))
        height, width = SIZES[style]
        if flat:
            x, y, block = (world.hero.x - world.view.x) * 16, height - (world.hero.y + 0.7) * 16, 16.0
        else:
            camera = cameras([world], BEHIND if style == "hd" else FROM_ABOVE, 4 / 3)
            place = torch.tensor([world.hero.x, world.hero.y + 0.7, 0.0])
            right, up, ahead = (rotation(camera.turn)[0].T @ (place - camera.position[0])).tolist()
            block = height * float(camera.focal[0]) / ahead
            x, y = width / 2 + block * right, height / 2 - block * up
        rows, columns = np.nonzero(np.abs(before - after).sum(-1) > 60)
        assert len(rows) > 0.4 * block * block
        assert abs(np.median(columns) - x) < 0.7 * block
        assert abs(np.median(rows) - y) < 1.0 * block


@pytest.mark.parametrize("kind", MODELS)
def test_every_model_makes_a_sprite(kind):
    picture = sprite(kind)
    assert picture.mask.mean() > 0.1
    assert picture.colour.shape == (*picture.mask.shape, 3)
    for edge in (picture.mask[0], picture.mask[-1], picture.mask[:, 0], picture.mask[:, -1]):
        assert edge.mean() < 0.6  # it is not cut off by its frame
    mirrored = sprite(kind, 1.0, -1)
    assert np.array_equal(mirrored.mask[:, ::-1], picture.mask)
    assert mirrored.left == -picture.left - picture.mask.shape[1]


def test_every_pattern_is_around_one():
    u, v = torch.meshgrid(torch.linspace(0, 8, 200), torch.linspace(0, 8, 200), indexing="ij")
    for painter in PAINTERS.values():
        factor = painter(u, v, torch.full_like(u, 3.0))
        assert 0.6 < factor.mean() < 1.4
        assert factor.isfinite().all()


def test_an_unknown_style_is_told():
    with pytest.raises(BadSetting, match="unknown style '4bit'; did you mean 8bit"):
        render([make_world("cave", 0)], "4bit")
