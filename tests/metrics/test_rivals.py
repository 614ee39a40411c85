"""Gamma and histogram matching against slow references."""

import numpy as np
import pytest
import torch

from gen.metrics import rivals
from gen.metrics.structure import luma_of_frames
from tests.conftest import street


def frames(night: bool, count: int = 3) -> torch.Tensor:
    rng = np.random.default_rng(int(night))
    return torch.stack([torch.from_numpy(street(rng, 40, 64, night)) for _ in range(count)])


@pytest.fixture
def tone() -> torch.Tensor:
    return rivals.tone([frames(night=False)])


def test_histograms_are_numpys() -> None:
    pictures = frames(night=True)
    shares = rivals.histograms(pictures)
    for picture, by_channel in zip(pictures.numpy(), shares, strict=True):
        for channel in range(3):
            expected = np.bincount(picture[..., channel].ravel(), minlength=256) / (40 * 64)
            np.testing.assert_allclose(by_channel[channel].numpy(), expected)


def test_tone_is_the_mean_over_frames_whatever_their_size_and_batch() -> None:
    small, large = frames(night=True, count=2), frames(night=False)[:, :20]
    together = rivals.tone([small, large])
    one_by_one = torch.stack([rivals.histograms(f[None])[0] for f in (*small, *large)]).mean(0)
    torch.testing.assert_close(together, one_by_one)
    means = [float(luma_of_frames(f[None]).mean()) for f in (*small, *large)]
    assert rivals.tone_luma(together) == pytest.approx(sum(means) / len(means), abs=1e-3)


class TestGamma:
    def test_every_frame_has_the_mean_luma_of_the_target(self, tone: torch.Tensor) -> None:
        bright = rivals.gamma(frames(night=True), tone)
        assert luma_of_frames(bright).mean((1, 2, 3)).tolist() == pytest.approx([rivals.tone_luma(tone)] * 3, abs=0.5)

    def test_is_a_power(self, tone: torch.Tensor) -> None:
        """The one exponent that explains all grey levels, found by trying."""
        source = frames(night=True, count=1)
        found = rivals.gamma(source, tone)[0].numpy().astype(int)
        errors = [np.abs(255 * (source[0].numpy() / 255) ** g - found).max() for g in np.geomspace(1 / 16, 1, 1500)]
        assert min(errors) < 0.8

    def test_black_stays_black(self, tone: torch.Tensor) -> None:
        black = torch.zeros(1, 8, 8, 3, dtype=torch.uint8)
        assert rivals.gamma(black, tone).equal(black)


class TestMatchHistogram:
    def test_is_sorting(self, tone: torch.Tensor) -> None:
        """A frame against a single target frame: each level goes to the target's value of the same rank."""
        source, target = frames(night=True, count=1), frames(night=False, count=1)
        matched = rivals.match_histogram(source, rivals.tone([target]))
        for channel in range(3):
            values, wanted = (x[..., channel].numpy().ravel().astype(int) for x in (source, target))
            ranked = np.sort(wanted)
            for level in np.unique(values):
                rank = int((values <= level).sum())  # this many are as dark
                expected = ranked[rank - 1]
                got = matched.numpy()[..., channel].ravel()[values == level]
                # Between levels that occur the reference steps and the curve is linear.
                below = ranked[ranked < expected].max(initial=expected)
                assert below - 1 <= got[0] <= expected + 1
                assert (got == got[0]).all()

    def test_a_frame_matched_to_itself_stays(self) -> None:
        picture = frames(night=False, count=1)
        assert rivals.match_histogram(picture, rivals.tone([picture])).equal(picture)

    def test_comes_to_the_target(self, tone: torch.Tensor) -> None:
        matched = rivals.match_histogram(frames(night=False).flip(0) // 3, tone)
        assert (rivals.tone([matched]).cumsum(1) - tone.cumsum(1)).abs().max() < 0.12
