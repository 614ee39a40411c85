"""The attributes must separate the references of a domain from ordinary faces."""

from pathlib import Path

import pytest
import torch

from gen.hda.attributes import ATTRIBUTES, attribute_progress, brightness, colourfulness, eye_darkness
from gen.hda.recognition import SUNGLASSES, Recogniser
from gen.hda.references import load_references
from gen.stylegan2.photos import read_square


def test_known_pictures() -> None:
    grey, red = torch.zeros(1, 3, 64, 64), torch.tensor([1.0, -1.0, -1.0]).view(1, 3, 1, 1).expand(1, 3, 64, 64)
    assert float(colourfulness(grey)) == 0
    assert float(brightness(grey)) == pytest.approx(127.5)
    # 255 from its grey of 85 by 170, 85 and 85: 113.3 on average, times one and a half.
    assert float(colourfulness(red)) == pytest.approx(170)
    glasses = grey.clone()
    glasses[:, :, 24:32] = -1
    assert float(eye_darkness(glasses)) == pytest.approx(127.5)
    assert float(eye_darkness(grey)) == 0


def test_separate_references_from_real_faces(shared_data: Path) -> None:
    faces = shared_data / "faces"
    paths = sorted((faces / "lfw128").iterdir())[::40]
    source = torch.stack([read_square(p, 64) for p in paths])
    sketches = load_references(faces / "sketches", 64).images
    glasses = load_references(faces / "sunglasses", 64).images

    def beats(measure: object, a: torch.Tensor, b: torch.Tensor) -> float:
        """Share of image pairs in which the one of `a` has the larger value."""
        x, y = measure(a), measure(b)  # type: ignore[operator]
        return float((x[:, None] > y[None]).float().mean())

    assert beats(colourfulness, source, sketches) > 0.95
    assert beats(brightness, sketches, source) > 0.95
    assert beats(eye_darkness, glasses, source) > 0.85


def test_sunglasses_are_recognised_in_the_references_and_not_in_other_faces(shared_data: Path) -> None:
    faces, recogniser = shared_data / "faces", Recogniser(torch.device("cpu"))
    others = torch.stack([read_square(p, 128) for p in sorted((faces / "lfw128").iterdir())[::80]])
    assert recogniser.share(load_references(faces / "sunglasses", 128).images, SUNGLASSES) > 0.9
    assert recogniser.share(others, SUNGLASSES) < 0.15
    assert recogniser.share(load_references(faces / "sketches", 128).images, SUNGLASSES) < 0.35


def test_progress_is_a_share_of_the_difference() -> None:
    start, goal = torch.full((4, 3, 64, 64), -0.5), torch.full((2, 3, 64, 64), 0.5)
    start[:, :, :32] -= 0.2
    start[:, 0] += 0.3
    for share in (0.0, 0.5, 1.0):
        found = attribute_progress(start, start + share * (goal[:1] - start), goal)
        assert found == pytest.approx(dict.fromkeys(ATTRIBUTES, share), abs=1e-3)
