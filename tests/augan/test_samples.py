"""The shipped model on the shipped samples, whose true day is known."""

from pathlib import Path

import pytest
import torch

from gen import AUGANPipeline
from gen.metrics.distances import read_batches
from gen.metrics.paired import PairedScores
from gen.metrics.structure import luma_of_frames

SAMPLES = Path(__file__).parents[2] / "samples"


def test_every_sample_has_its_day():
    adverse = {p.name for p in (SAMPLES / "adverse").rglob("*") if p.is_file()}
    assert adverse == {p.name for p in (SAMPLES / "day").iterdir()}
    assert len([n for n in adverse if n.endswith(".jpg")]) == 12


@pytest.mark.parametrize("name", ["night/000012.jpg", "rainy_night/000018.jpg"])
def test_translations_come_nearer_to_the_true_day(name):
    """By PSNR, SSIM and brightness: more than a picture that was only brightened by a constant."""
    pipe = AUGANPipeline.from_pretrained("augan-night2day")
    (night,), (day,) = (
        list(read_batches([p], 1)) for p in (SAMPLES / "adverse" / name, SAMPLES / "day" / name.split("/")[1])
    )
    translated, _ = pipe.translate_frames(night, "adverse_to_normal")
    shift = (luma_of_frames(day).mean() - luma_of_frames(night).mean()).round().int()
    brighter = (night.int() + shift).clamp(0, 255).to(torch.uint8)
    scores = {}
    for key, frames in (("translated", translated), ("untouched", night), ("brighter", brighter)):
        table = PairedScores(None)
        table.add(frames, day)
        scores[key] = table.numbers()
    assert scores["translated"]["psnr"] > scores["untouched"]["psnr"] + 3
    assert scores["translated"]["psnr"] > scores["brighter"]["psnr"]
    assert scores["translated"]["ssim"] > scores["untouched"]["ssim"]


def test_bf16_differs_by_less_than_a_grey_level():
    nights = [next(read_batches([SAMPLES / "adverse" / "night" / f"0000{n}.jpg"], 1)) for n in (10, 12)]
    full, half = (AUGANPipeline.from_pretrained("augan-night2day", dtype=d) for d in (torch.float32, torch.bfloat16))
    for night in nights:
        one, other = (pipe.translate_frames(night, "adverse_to_normal")[0].float() for pipe in (full, half))
        assert 0 < (one - other).abs().mean() < 1
