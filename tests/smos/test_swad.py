"""The running average against the definition, with all segments kept."""

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from gen.smos.swad import LossValley, MeanOfWeights, PublishedLossValley, tell_of_few_measurements

STEPS = 3
LOSSES = st.lists(st.sampled_from([0.5, 0.6, 0.7, 0.8, 1.0, 1.2, 1.5, 2.0]), min_size=1, max_size=30)


def weights(step: int) -> dict[str, torch.Tensor]:
    return {"w": torch.tensor([float(step), float(step) ** 2], dtype=torch.float64), "n": torch.tensor(step)}


def slow_valley(losses: list[float], converge: int, tolerance: int, ratio: float) -> tuple[list[int], int | None]:
    """Indices of the segments in the valley, and the evaluation after which training stops."""
    for c in range(converge - 1, len(losses)):
        last = losses[c - converge + 1 : c + 1]
        if last[0] > min(last):
            continue
        start, threshold = c - converge + 1, float(sum(map(Fraction, last)) / converge) * (1 + ratio)
        first = start
        while first > 0 and start - first < tolerance - converge and losses[first - 1] <= threshold:
            first -= 1
        for e in range(start + tolerance - 1, len(losses)):
            if min(losses[e - tolerance + 1 : e + 1]) > threshold:
                return list(range(first, e - tolerance + 1)), e
        end = max(i for i in range(start, len(losses)) if losses[i] <= threshold)
        return list(range(first, end + 1)), None
    return [len(losses) - 1], None


@example(losses=[0.7, 0.7, 0.7], converge=3, tolerance=4, ratio=0.0)  # whose sum by threes is rounded down
@given(LOSSES, st.integers(1, 4), st.integers(1, 7), st.sampled_from([0.0, 0.1, 0.3, 1.0]))
def test_is_the_mean_over_the_valley(losses: list[float], converge: int, tolerance: int, ratio: float) -> None:
    if tolerance < converge:
        tolerance = converge
    valley = LossValley(converge, tolerance, ratio)
    stopped: int | None = None
    for n, loss in enumerate(losses):
        for k in range(STEPS):
            valley.step(weights(n * STEPS + k))
        valley.evaluated(loss)
        if valley.over and stopped is None:
            stopped = n
    inside, end = slow_valley(losses, converge, tolerance, ratio)
    assert stopped == end
    means = [np.mean([weights(n * STEPS + k)["w"].numpy() for k in range(STEPS)], axis=0) for n in inside]
    np.testing.assert_allclose(valley.weights()["w"].numpy(), np.mean(means, axis=0), rtol=1e-9)


def released_counts(
    losses: list[float], converge: int, tolerance: int, ratio: float
) -> tuple[Counter[int], int | None]:
    """How often the released `LossValley` counts each segment, told from its code, and when it stops training."""
    queue: list[int] = []  # its `smooth_Q`: the last `tolerance` segments
    counts, start, threshold = Counter[int](), -1, 0.0
    for n in range(len(losses)):
        queue = [*queue, n][-tolerance:]
        if start < 0:
            first = n - converge + 1  # the oldest of its `converge_Q`
            if first < 0 or losses[first] > min(losses[first : n + 1]):
                continue
            start, threshold = first, sum(losses[first : n + 1]) / converge * (1 + ratio)
            if tolerance < converge:
                counts.update(range(first + 1, first + 1 + converge - tolerance))
            elif tolerance > converge:
                older = queue[: tolerance - converge + 1]
                while any(losses[i] > threshold for i in older):
                    older.pop(0)
                counts.update(older[1:])
        elif queue[0] >= start:
            if min(losses[i] for i in queue) > threshold:
                return counts or Counter([start]), n
            counts[queue[0]] += 1
    if start < 0:
        return Counter([len(losses) - 1]), None
    queue = queue[1:]
    while queue and min(losses[i] for i in queue) <= threshold:
        counts[queue.pop(0)] += 1
    return counts or Counter([start]), None


@example(losses=[1, 1.1, 1.2, 1.1, 1, 1, 1, 1, 1, 1], converge=3, tolerance=6, ratio=0.3)  # starts at once
@example(losses=[9, 9, 9, 1.2, 1.1, 1, 1.1, 1.2, 1.1, 1], converge=3, tolerance=6, ratio=0.3)
@given(LOSSES, st.integers(1, 4), st.integers(1, 8), st.sampled_from([0.0, 0.1, 0.3, 1.0]))
def test_published_segments_are_counted_as_in_the_released_code(
    losses: list[float], converge: int, tolerance: int, ratio: float
) -> None:
    valley, stopped = PublishedLossValley(converge, tolerance, ratio), None
    for n, loss in enumerate(losses):
        for k in range(STEPS):
            valley.step({"w": torch.eye(30, dtype=torch.float64)[n] * (k + 1)})
        valley.evaluated(loss)
        if valley.over and stopped is None:
            stopped = n
    counts, end = released_counts(losses, converge, tolerance, ratio)
    assert stopped == end
    wanted = np.array([counts[n] for n in range(30)]) / counts.total() * (STEPS + 1) / 2
    before = valley.state()
    np.testing.assert_allclose(valley.weights()["w"].numpy(), wanted, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(valley.weights()["w"].numpy(), wanted, rtol=1e-9, atol=1e-12)  # asked twice
    assert before["valley"]["count"] == valley.state()["valley"]["count"]


def test_what_the_docstring_says_of_the_published_count() -> None:
    def counts(*losses: float) -> list[int]:
        return [released_counts(list(losses), 3, 6, 0.3)[0][n] for n in range(len(losses))]

    late = [9, 8, 7, 1.3, 1.2, 1.1, 1, 1.1, 1.2, 1.1, 1, 1, 1, 1, 1]  # the valley starts at the seventh
    assert counts(*late) == [0, 0, 0, 0, 1, 1, 2, *[1] * 8]  # back by two, not three, and that one twice
    assert counts(9, 8, 7, 3, 2, 1.5, 1, *late[7:]) == [*[0] * 6, *[1] * 9]
    assert counts(*late[6:], 1) == [3, 2, 2, *[1] * 7]  # at the first


def test_a_falling_loss_has_no_valley_and_gives_the_last_segment() -> None:
    valley = LossValley()
    for n, loss in enumerate([5.0, 4.0, 3.0, 2.0]):
        valley.step(weights(n))
        valley.evaluated(loss)
    assert valley.threshold is None
    assert valley.weights()["w"][0].item() == 3


def test_before_any_evaluation_it_is_the_mean_so_far() -> None:
    valley = LossValley()
    valley.step(weights(1))
    valley.step(weights(3))
    assert valley.weights()["w"][0].item() == 2


@pytest.mark.parametrize("kind", [LossValley, PublishedLossValley])
@pytest.mark.parametrize("cut", range(1, 12))
def test_state_makes_it_go_on_the_same(cut: int, kind: type[LossValley]) -> None:
    losses = [2.0, 1.5, 1.0, 1.1, 1.2, 1.05, 3.0, 3.0, 3.0, 1.0, 1.2, 1.1]
    whole, first = kind(), kind()
    for n, loss in enumerate(losses):
        if n == cut:
            state, first = first.state(), kind()
            first.load_state(state)
        for valley in (whole, first):
            valley.step(weights(2 * n))
            valley.step(weights(2 * n + 1))
            valley.evaluated(loss)
    torch.testing.assert_close(first.weights()["w"], whole.weights()["w"], rtol=0, atol=0)


def test_the_mean_does_not_follow_weights_that_move_on() -> None:
    moving = {"w": torch.zeros(2)}
    mean = MeanOfWeights()
    mean.add(moving)
    moving["w"] += 10
    assert mean.mean["w"].tolist() == [0, 0]


@pytest.mark.parametrize(("steps", "every", "told"), [(4, 2, True), (11, 2, False), (12, 3, True), (5001, 200, False)])
def test_a_run_too_short_for_a_valley_is_told(
    steps: int, every: int, told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    tell_of_few_measurements(steps, every)
    assert ("measurements in" in caplog.text) == told
