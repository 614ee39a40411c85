"""Palettes: colours move, luma stays, and who is there keeps his own."""

import colorsys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gen.smd.art.light import sunlight
from gen.smd.art.models import MODELS, STUFF
from gen.smd.art.moods import MOODS
from gen.smd.art.palette import BIT16, LOWPOLY, Dye, dyed, exposed, hued, palette_of
from gen.smd.art.stage import build, dyed_linear
from gen.smd.dataset import level
from gen.smd.names import SCENES
from gen.smd.shading import linear
from gen.smd.styles import render
from gen.smd.world import make_world

LUMA = np.array([0.299, 0.587, 0.114])
channel = st.integers(0, 255)
rgb = st.tuples(channel, channel, channel)
visible = rgb.filter(lambda c: max(c) > 0)


@given(st.lists(rgb, min_size=1, max_size=8), st.floats(-360, 360), visible, st.floats(0, 1))
def test_luma_stays_and_colours_stay_in_range(colours, turn, hue, share):
    before = np.array(colours, float)
    after = dyed(before, Dye(turn, hue, share))
    assert after.min() > -1e-6
    assert after.max() < 255 + 1e-6
    assert np.allclose(after @ LUMA, before @ LUMA, atol=1e-6)


@given(rgb)
def test_no_dye_and_a_whole_turn_change_nothing(colour):
    assert np.allclose(dyed(np.array(colour), Dye()), colour, atol=1e-6)
    assert np.allclose(dyed(np.array(colour), Dye(360)), colour, atol=0.2)  # the axes are given to four digits


@given(st.integers(40, 200), visible)
def test_the_hue_alone_is_that_hue(level, hue):
    """A grey that takes a hue whole has its hue angle, as far as rounding lets one see it."""
    result = hued((level,) * 3, hue)
    if max(hue) - min(hue) < 40 or max(result) - min(result) < 40:
        return
    wanted, got = (colorsys.rgb_to_hsv(*(v / 255 for v in c))[0] for c in (hue, result))
    assert abs((wanted - got + 0.5) % 1 - 0.5) < 0.03


def test_turns_go_where_the_docstring_says():
    def hue_of(turn: float) -> float:
        return 360 * colorsys.rgb_to_hsv(*dyed(np.array(STUFF["turf"].colour), Dye(turn)) / 255)[0]

    assert 80 < hue_of(0) < 140
    assert 160 < hue_of(60) < 200
    assert 220 < hue_of(120) < 250
    assert 20 < hue_of(-90) < 50


def test_linear_colours_brighter_than_white_keep_their_strength():
    dye = Dye(120)
    glow = tuple(4 * c for c in linear(255, 176, 64))
    once = dyed_linear(linear(255, 176, 64), dye)
    assert np.allclose(dyed_linear(glow, dye), 4 * np.array(once), rtol=1e-6)


@pytest.mark.parametrize("scene", SCENES)
def test_the_place_is_dyed_and_who_is_there_is_not(scene):
    world = make_world(scene, 3)
    place = len(build(replace(world, items=(), creatures=())).materials) - len(MODELS["hero"])
    plain, there = build(world).materials, build(world, LOWPOLY[scene].land).materials
    kept = [a.colour == b.colour for a, b in zip(plain, there, strict=True)]
    assert all(kept[place:])
    assert np.mean(kept[:place]) < 0.1


@given(arrays(np.float64, (4, 3), elements=st.floats(0, 255)), st.floats(0.1, 4))
def test_exposure_moves_luma_and_never_clips(picture, light):
    after = exposed(picture, light)
    before, now = picture @ LUMA, after @ LUMA
    assert after.min() > -1e-6
    assert after.max() < 255 + 1e-6
    wanted = light * before if light <= 1 else 255 * (1 - (1 - before / 255) ** light)
    assert np.allclose(now, wanted, atol=1e-3)


def test_half_the_levels_have_the_colours_of_their_class_and_all_its_light():
    chosen = [palette_of(make_world("desert", seed), BIT16) for seed in range(400)]
    assert {p.light for p in chosen} == {BIT16["desert"].light}
    assert 0.48 < np.mean([p == BIT16["desert"] for p in chosen]) < 0.65  # an eighth of the others is its own
    assert len({p.land for p in chosen}) == len(SCENES)


@pytest.fixture(scope="module")
def shown():
    """Pictures (8 classes, 6 levels, H, W, 3) by style, but 8bit, whose colours the hardware gives."""
    worlds = [make_world(scene, seed) for scene in SCENES for seed in range(6)]
    pictures = {style: np.stack(render(worlds, style, 96)) for style in ("16bit", "lowpoly", "hd")}
    return {style: p.reshape(len(SCENES), 6, *p.shape[1:]) for style, p in pictures.items()}


@pytest.mark.slow
@pytest.mark.parametrize(("one", "two"), [("16bit", "hd"), ("lowpoly", "hd"), ("16bit", "lowpoly")])
def test_brightness_says_little_of_the_class_in_another_style(shown, one, two):
    a, b = ((shown[style] @ LUMA).mean((1, 2, 3)) for style in (one, two))
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.65


@pytest.mark.parametrize("style", ["16bit", "lowpoly"])
def test_mean_colour_alone_does_not_tell_the_class(shown, style):
    """The nearest other level by mean chroma is often of another class."""
    colour = shown[style].mean((2, 3)).reshape(-1, 3)
    chroma = colour - (colour @ LUMA)[:, None]
    distance = np.linalg.norm(chroma[:, None] - chroma, axis=-1) + np.diag([np.inf] * len(chroma))
    label = np.repeat(np.arange(len(SCENES)), 6)
    assert (label[distance.argmin(1)] == label).mean() < 0.7


def test_the_sun_stands_on_either_side_in_both_splits():
    for split in ("train", "val"):
        worlds = [level("desert", 0, split, i) for i in range(60)]
        side = sunlight(worlds, [MOODS["desert"]] * 60).towards[:, 0]
        assert 15 < int((side > 0).sum()) < 45
