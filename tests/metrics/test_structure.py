"""Structure kept: what must count and what must not."""

import pytest
import torch
from torch import Tensor

from gen.metrics.structure import edge_correlation, luma_of_frames


def scene(seed: int, height: int = 96, width: int = 160) -> Tensor:
    """(1, H, W, 3) uint8: rectangles of random place, size and colour on grey."""
    draw = torch.Generator().manual_seed(seed)
    frame = torch.full((1, height, width, 3), 100, dtype=torch.uint8)
    for _ in range(12):
        y, x = (int(torch.randint(0, n - 20, (), generator=draw)) for n in (height, width))
        h, w = (int(torch.randint(5, 20, (), generator=draw)) for _ in range(2))
        frame[0, y : y + h, x : x + w] = torch.randint(40, 160, (3,), generator=draw).byte()
    return frame


class TestEdgeCorrelation:
    def test_of_itself_is_one(self) -> None:
        assert edge_correlation(scene(0), scene(0)).item() == pytest.approx(1, abs=1e-5)

    def test_brightness_and_contrast_do_not_count(self) -> None:
        brighter = (scene(0).float() * 1.4 + 20).byte()
        assert edge_correlation(scene(0), brighter).item() > 0.95

    def test_another_scene_is_far_below(self) -> None:
        assert edge_correlation(scene(0), scene(1)).item() < 0.3

    def test_falls_as_things_move(self) -> None:
        moved = [edge_correlation(scene(0), scene(0).roll(n, dims=2)).item() for n in (0, 2, 8)]
        assert moved == sorted(moved, reverse=True)

    def test_one_value_a_frame_of_any_size(self) -> None:
        frames = torch.cat([scene(i, 400, 300) for i in range(3)])
        values = edge_correlation(frames, frames.flip(0))
        assert values.shape == (3,)
        assert values[1].item() == pytest.approx(1, abs=1e-5)

    def test_a_flat_frame_gives_a_number(self) -> None:
        flat = torch.zeros(1, 64, 64, 3, dtype=torch.uint8)
        assert torch.isfinite(edge_correlation(flat, flat)).all()


def test_luma_of_the_primaries() -> None:
    frame = (torch.eye(3) * 255).byte().view(1, 1, 3, 3)
    torch.testing.assert_close(luma_of_frames(frame).flatten(), torch.tensor([76.245, 149.685, 29.07]))
