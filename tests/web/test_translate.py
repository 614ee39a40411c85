"""What the page's Translate tab asks of the engine."""

import numpy as np
import pytest

from gen.web import sizes
from gen.web.sizes import STRIP_ROWS, clip_size, strip_rows
from tests.media.test_video import make_clip


@pytest.mark.parametrize(
    ("name", "size", "wanted"),
    [
        ("fast", (64, 96), {"resolution": "auto"}),
        ("720p", (64, 96), {"resolution": "native"}),
        ("720p", (1080, 1440), {"resolution": "960x720"}),
        ("native", (64, 96), {"resolution": "native"}),
        ("native", (1080, 1440), {"resolution": "native", "tile": 256}),
    ],
)
def test_a_clip_is_worked_at_the_size_that_was_chosen(tmp_path, monkeypatch, name, size, wanted):
    monkeypatch.setattr(sizes, "WHOLE_FRAME_PIXELS", 1_000_000)
    clip = make_clip(tmp_path / "clip.mp4", [np.zeros((*size, 3), np.uint8)] * 2)
    assert clip_size(name, clip) == wanted


def test_a_gpu_takes_whole_frames_as_its_memory_allows(monkeypatch):
    free = 20 << 30
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: (free, 80 << 30))
    assert strip_rows(None, 2160, 3840, "cpu") == STRIP_ROWS
    assert strip_rows(None, 2160, 3840, "cuda") is None
    assert strip_rows(None, 4320, 7680, "cuda") == STRIP_ROWS  # more than kernels can address
    free = 8 << 30
    assert strip_rows(None, 2160, 3840, "cuda:1") == STRIP_ROWS
