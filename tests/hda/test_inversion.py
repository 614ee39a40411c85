"""`gen invert --encoder`: the latents of photos begin at, or are, what an encoder from a file finds."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from gen.cli import main
from gen.formats.safetensors_files import read_safetensors
from gen.hda.inversion import found_in
from gen.hda.pipeline import HDAPipeline
from gen.media.mark import read_header
from gen.provenance import fingerprint_file
from gen.stylegan2.photos import read_square
from tests.stylegan2.photo_encoders import answer, random_state, write

LAYERS = 8


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    return write(tmp_path / "e4e.pt", random_state(LAYERS), latent_avg=torch.ones(LAYERS, 16))


def test_without_steps_the_latents_are_the_answer(model: Path, tmp_path: Path, red: Path, encoder: Path) -> None:
    out = tmp_path / "out"
    command = ["invert", str(red / "0.png"), str(red / "1.png"), "--model", str(model), "--out", str(out)]
    assert main([*command, "--encoder", str(encoder), "--steps", "0", "--person", "anna"]) == 0
    latents = read_safetensors(out / "latents.safetensors")[0]
    # From the photo itself, and not from its copy at the 32 pixels of the generator.
    photos = torch.stack([read_square(red / f"{name}.png", 256) for name in "01"])
    expected = answer(random_state(LAYERS), photos, LAYERS, True).float() + 1
    torch.testing.assert_close(torch.stack([latents["0"], latents["1"]]), expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(latents["anna"], expected.mean(0), atol=1e-4, rtol=1e-4)
    drawn = HDAPipeline.from_pretrained(model)(latents=latents["0"][None]).images[0]
    assert Image.open(out / "0.png").crop((36, 2, 68, 34)).tobytes() == drawn.tobytes()
    mark = read_header(out / "0.png").mark
    assert mark is not None
    photo, file = fingerprint_file(red / "0.png"), fingerprint_file(encoder)
    assert f"photo {photo} inverted into W+ by encoder e4e.pt {file}, weights" in mark.made_with


def test_with_steps_the_search_begins_there(model: Path, tmp_path: Path, red: Path, encoder: Path) -> None:
    found: dict[str, torch.Tensor] = {}
    for name, more in (("0", ["--steps", "0"]), ("2", ["--steps", "2"]), ("w", ["--steps", "0", "--no-extended"])):
        out = tmp_path / name
        command = ["invert", str(red / "0.png"), "--model", str(model), "--out", str(out), "--encoder", str(encoder)]
        assert main([*command, *more]) == 0
        found[name] = read_safetensors(out / "latents.safetensors")[0]["0"]
    assert 0 < float((found["2"] - found["0"]).abs().max()) < 0.11  # the learning rate rises from 0 to 0.1
    torch.testing.assert_close(found["w"], found["0"].mean(0))


def test_what_cannot_be_done_is_said_before_anything_is_written(
    model: Path, tmp_path: Path, red: Path, encoder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["invert", str(red / "0.png"), "--model", str(model), "--out", str(tmp_path / "out")]
    other = write(tmp_path / "other.pt", random_state(10))
    for more, told in (
        (["--steps", "0"], "steps must be at least 1, not 0; 0 needs --encoder"),
        (["--steps", "-1", "--encoder", str(encoder)], "steps must be at least 0, not -1."),
        (["--encoder", str(other)], "other.pt: this encoder gives 10 latents of 16 numbers, but the generator takes 8"),
        (["--encoder", str(red / "0.png")], "0.png: this file is no PyTorch checkpoint"),
    ):
        assert main([*command, *more]) == 1
        said = capsys.readouterr().err
        assert told in said
        assert "Traceback" not in said
    assert not (tmp_path / "out").exists()


def test_the_mark_says_how() -> None:
    assert found_in("x", 3) == "photo x inverted into W+ in 3 steps, seed 0"
    assert (
        found_in("x", 3, encoder="encoder a.pt f")
        == "photo x inverted into W+ by encoder a.pt f and in 3 steps, seed 0"
    )
    assert found_in("x", 0, encoder="encoder a.pt f") == "photo x inverted into W+ by encoder a.pt f"
