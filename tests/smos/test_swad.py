"""The running average against the definition, with all segments kept."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from gen.smos.swad import LossValley, MeanOfWeights, tell_of_few_measurements

STEPS = 3


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
@given(
    st.lists(st.sampled_from([0.5, 0.6, 0.7, 0.8, 1.0, 1.2, 1.5, 2.0]), min_size=1, max_size=30),
    st.integers(1, 4),
    st.integers(1, 7),
    st.sampled_from([0.0, 0.1, 0.3, 1.0]),
)
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


@pytest.mark.parametrize("cut", range(1, 12))
def test_state_makes_it_go_on_the_same(cut: int) -> None:
    losses = [2.0, 1.5, 1.0, 1.1, 1.2, 1.05, 3.0, 3.0, 3.0, 1.0, 1.2, 1.1]
    whole, first = LossValley(), LossValley()
    for n, loss in enumerate(losses):
        if n == cut:
            state, first = first.state(), LossValley()
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
