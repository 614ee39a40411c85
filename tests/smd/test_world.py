"""Game worlds: whole for any seed, classes told apart without colours, distractors that tell nothing."""

import dataclasses
import subprocess
import sys
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gen.errors import BadSetting
from gen.smd.names import SCENES
from gen.smd.world import CREATURES, ITEMS, RECIPES, VIEW_WIDTH, WIDTH, World, make_world

WORLDS = st.builds(make_world, st.sampled_from(SCENES), st.integers(0, 2**40))


@given(WORLDS)
@settings(max_examples=150, deadline=None)
def test_any_level_is_whole(world):
    assert len(world.ground) == len(world.ceiling) == WIDTH
    assert 10 <= world.view.x <= WIDTH - VIEW_WIDTH - 10  # a 3D camera sees farther than the view
    assert 0 <= world.hour <= 1
    assert all(0 <= g <= 8 for g in world.ground if g is not None)
    for ground, ceiling in zip(world.ground, world.ceiling, strict=True):
        assert ground is None or ceiling is None or ceiling - ground >= 5  # room for the hero and a jump
    for platform in world.platforms:
        assert 0 <= platform.x < platform.x + platform.width <= WIDTH
        below = [g for g in world.ground[platform.x : platform.x + platform.width] if g is not None]
        assert not below or platform.y - max(below) >= 2
    for layer in world.layers:
        assert len(layer.heights) == WIDTH


@given(WORLDS)
@settings(max_examples=150, deadline=None)
def test_nobody_stands_in_the_ground_or_on_air(world):
    floors = list(world.ground)
    for p in world.platforms:
        floors[p.x : p.x + p.width] = [p.y] * p.width
    for creature in world.creatures:
        assert creature.y - floors[int(creature.x)] == pytest.approx(1.6 if creature.kind == "jelly" else 0.0)
    hero_floor = floors[int(world.hero.x)]
    if world.scene == "underwater":
        assert world.hero.y > (hero_floor or 0)
    elif hero_floor is not None:
        assert world.hero.y == hero_floor
    for item in world.items:
        assert item.y > (world.ground[int(item.x)] or 0)
    for thing in (*world.items, *world.creatures, world.hero):
        assert world.view.x <= thing.x <= world.view.x + VIEW_WIDTH
    assert all(abs(c.x - world.hero.x) >= 1.5 for c in world.creatures)


@given(st.sampled_from(SCENES), st.integers(0, 2**40))
@settings(max_examples=40, deadline=None)
def test_a_seed_is_a_level(scene, seed):
    assert make_world(scene, seed) == make_world(scene, seed)
    assert make_world(scene, seed) != make_world(scene, seed + 1)


def test_another_process_makes_the_same_level():
    """Nothing may hang on the hash seed of a process."""
    code = "from gen.smd.world import make_world; print(make_world('haunted', 12345))"
    runs = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": h}
        ).stdout
        for h in ("1", "2")
    }
    assert runs == {f"{make_world('haunted', 12345)}\n"}


def cues(world: World) -> dict[str, float]:
    """What a person sees of a class without colours, as numbers: shares of columns, densities, relief."""
    ground = [g for g in world.ground if g is not None]
    steps = [abs(a - b) for a, b in pairwise(ground)]
    kinds = [p.kind for p in world.props]
    return {
        "gap share": 1 - len(ground) / WIDTH,
        "ceiling share": sum(c is not None for c in world.ceiling) / WIDTH,
        "ceiling relief": float(np.std([c for c in world.ceiling if c is not None] or [0])),
        "liquid level": world.liquid.level if world.liquid else 0.0,
        "ground": float(np.mean(ground)) if ground else 0.0,
        "relief": float(np.mean(steps)) if steps else 0.0,
        "platforms": sum(p.width for p in world.platforms) / WIDTH,
        "columns": len(world.columns) / WIDTH,
        "high props": sum(k in ("tree", "pine", "cactus", "deadtree", "balloon", "seaweed") for k in kinds) / WIDTH,
        "props": len(kinds) / WIDTH,
        "horizon": max(max(layer.heights) for layer in world.layers),
        "layers": float(len(world.layers)),
    }


def test_classes_are_told_apart_without_colours():
    """Nearest centroid on standardised cues, on levels that it has not seen."""

    def table(seeds) -> tuple[np.ndarray, np.ndarray]:
        rows = [(list(cues(make_world(s, i)).values()), k) for k, s in enumerate(SCENES) for i in seeds]
        return np.array([r for r, _ in rows]), np.array([k for _, k in rows])

    x, y = table(range(40))
    mean, std = x.mean(0), x.std(0) + 1e-9
    centroids = np.stack([((x[y == k] - mean) / std).mean(0) for k in range(len(SCENES))])
    x, y = table(range(1000, 1040))
    guess = np.square(((x - mean) / std)[:, None] - centroids).sum(-1).argmin(1)
    assert (guess == y).mean() > 0.95


def test_each_class_has_three_cues_of_its_own():
    """Against every other class, at least three cues differ by more than a pooled standard deviation."""
    values = {s: np.array([list(cues(make_world(s, i)).values()) for i in range(60)]) for s in SCENES}
    for one in SCENES:
        for other in SCENES:
            if one < other:
                a, b = values[one], values[other]
                spread = np.sqrt((a.var(0) + b.var(0)) / 2) + 1e-9
                assert (np.abs(a.mean(0) - b.mean(0)) / spread > 1).sum() >= 3, (one, other)


@pytest.mark.parametrize(("field", "kinds"), [("items", ITEMS), ("creatures", CREATURES)])
def test_distractors_do_not_tell_the_class(field, kinds):
    """Kinds of items and creatures come up alike in all classes: chi-squared stays near its degrees of freedom."""
    counts = np.zeros((len(SCENES), len(kinds)))
    for row, scene in enumerate(SCENES):
        for seed in range(150):
            for kind in {t.kind for t in getattr(make_world(scene, seed), field)}:
                counts[row, kinds.index(kind)] += 1
    expected = counts.sum(1, keepdims=True) * counts.sum(0, keepdims=True) / counts.sum()
    assert (np.square(counts - expected) / expected).sum() < 45  # 14 degrees of freedom: 1 in 10,000 lies above


def test_the_hero_is_in_every_level():
    assert Counter(make_world(s, i).hero.kind for s in SCENES for i in range(20)) == {"hero": 160}


def test_a_world_has_no_colours():
    """The graph says what is where; only styles say how it looks."""
    names = {f.name for f in dataclasses.fields(make_world("cave", 0))}
    assert not {n for n in names if "colour" in n or "palette" in n}


def test_an_unknown_class_is_told():
    with pytest.raises(BadSetting, match="unknown scene 'space'; available: grassland"):
        make_world("space", 0)


def test_every_class_has_a_recipe():
    assert tuple(RECIPES) == SCENES
