"""Encoders of pSp and e4e from files: they answer as independent code does, and other files are refused in words."""

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gen import BadInput
from gen.metrics.paired import load_perceptual
from gen.stylegan2.networks import StyleGAN2Generator
from gen.stylegan2.projector import project
from gen.stylegan2.psp import load_photo_encoder
from tests.stylegan2.photo_encoders import State, answer, content, random_state, write

LAYERS, W = 8, 16
"""Of the tiny generator."""


@pytest.fixture(scope="module")
def state() -> State:
    return random_state(LAYERS, W)


@pytest.fixture
def photos() -> Tensor:
    return torch.rand(2, 3, 256, 256, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("kind", ["Encoder4Editing", "GradualStyleEncoder"])
@pytest.mark.parametrize("shape", [(LAYERS, W), (1, W), (W,)])
def test_answers_as_independent_code_does(
    kind: str, shape: tuple[int, ...], state: State, photos: Tensor, tmp_path: Path, generator: StyleGAN2Generator
) -> None:
    average = torch.randn(shape)
    encoder = load_photo_encoder(write(tmp_path / "e.pt", state, kind, latent_avg=average), generator)
    expected = answer(state, photos, LAYERS, kind == "Encoder4Editing") + average.double()
    assert expected.shape == (2, LAYERS, W)
    assert float((expected - average).std()) > 0.1  # the photos matter, and not the average alone
    torch.testing.assert_close(encoder(photos).double(), expected, atol=1e-5, rtol=1e-5)
    assert not encoder.training
    assert not any(p.requires_grad for p in encoder.parameters())


@pytest.mark.parametrize("layers", [2, 4, 10, 18])
def test_any_number_of_layers(layers: int, photos: Tensor, tmp_path: Path) -> None:
    generator = StyleGAN2Generator((8,) * (layers // 2), z_dim=16, w_dim=W, mapping_layers=1)
    state = random_state(layers, W)
    encoder = load_photo_encoder(write(tmp_path / "e.pt", state, latent_avg=torch.zeros(W)), generator)
    expected = answer(state, photos[:1], layers, True)
    torch.testing.assert_close(encoder(photos[:1]).double(), expected, atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        assert generator.synthesis(encoder(photos[:1])).shape == (1, 3, 2 ** (layers // 2 + 1), 2 ** (layers // 2 + 1))


def test_the_average_where_a_file_has_none(
    state: State, photos: Tensor, tmp_path: Path, generator: StyleGAN2Generator
) -> None:
    bare = answer(state, photos, LAYERS, True)
    begun = load_photo_encoder(write(tmp_path / "a.pt", state), generator)  # its opts say that it began at the average
    torch.testing.assert_close(begun(photos).double(), bare + generator.w_average, atol=1e-5, rtol=1e-5)
    opts = content(state)["opts"] | {"start_from_latent_avg": False}
    without = load_photo_encoder(write(tmp_path / "b.pt", state, opts=opts), generator)
    torch.testing.assert_close(without(photos).double(), bare, atol=1e-5, rtol=1e-5)


def test_warns_of_another_generator_alone(
    state: State, tmp_path: Path, generator: StyleGAN2Generator, caplog: pytest.LogCaptureFixture
) -> None:
    for change, warned in ((0.0, False), (0.1, True)):
        caplog.clear()
        found = content(state)
        found["state_dict"]["decoder.style.1.weight"] = generator.mapping.layers[0].weight.detach() + change
        torch.save(found, tmp_path / "e.pt")
        load_photo_encoder(tmp_path / "e.pt", generator)
        assert ("trained with another generator" in caplog.text) == warned


def _without(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda found: found["state_dict"].pop(f"encoder.{name}")


def _with(name: str, x: Tensor) -> Callable[[dict[str, Any]], None]:
    return lambda found: found["state_dict"].update({f"encoder.{name}": x})


def _opts(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda found: found["opts"].update(changes)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (_without("body.9.res_layer.3.weight"), "1 of the encoder's tensors are missing.*encoder.body.9.res_layer.3"),
        (_without("input_layer.0.weight"), "encoder.input_layer.0.weight is missing"),
        (_with("body.24.res_layer.0.weight", torch.ones(4)), "1 of the encoder's tensors too many.*body.24"),
        (_with("latlayer1.weight", torch.ones(2, 2)), r"encoder.latlayer1.weight has the shape \[2, 2\], but"),
        (_with("latlayer1.bias", torch.full((40,), torch.nan)), "latlayer1.bias holds something else than finite"),
        (_with("latlayer1.bias", torch.ones(40, dtype=torch.int64)), "latlayer1.bias holds something else"),
        (_with("input_layer.0.weight", torch.ones(())), r"encoder.input_layer.0.weight has the shape \[\]"),
        (lambda found: found.update(latent_avg=torch.zeros(3, 3)), r"latent_avg has the shape \[3, 3\]"),
        (lambda found: found.update(latent_avg=torch.full((W,), torch.inf)), "latent_avg holds NaN or infinite"),
        (lambda found: found.update(latent_avg="mean"), "latent_avg is damaged, or no tensor"),
        (_opts(encoder_type="SingleStyleCodeEncoder"), "is SingleStyleCodeEncoder; Encoder4Editing and Gradual"),
        (_opts(encoder_type=["Encoder4Editing"]), r"its encoder is \["),
        (_opts(dataset_type="cars_encode"), "cars of 256x192 pixels"),
        (lambda found: found.update(opts={}), "its encoder is not named in its opts"),
        (lambda found: found.pop("opts"), "its encoder is not named in its opts"),
        (lambda found: found.update(state_dict={"decoder.x": torch.ones(1)}), "no encoder in this file"),
        (lambda found: found.clear(), "no encoder in this file"),
    ],
)
def test_what_is_no_such_encoder_is_refused(
    damage: Callable[[dict[str, Any]], object], told: str, state: State, tmp_path: Path, generator: StyleGAN2Generator
) -> None:
    found = content(state)
    damage(found)
    torch.save(found, tmp_path / "e.pt")
    with pytest.raises(BadInput, match=told) as caught:
        load_photo_encoder(tmp_path / "e.pt", generator)
    assert str(caught.value).startswith(f"{tmp_path / 'e.pt'}: ")
    assert "\n" not in str(caught.value)


def test_an_encoder_of_another_size_is_refused(state: State, tmp_path: Path) -> None:
    larger = StyleGAN2Generator((16, 16, 16, 8, 8), z_dim=16, w_dim=W, mapping_layers=2)
    told = "gives 8 latents of 16 numbers, but the generator takes 10 of 16"
    with pytest.raises(BadInput, match=told):
        load_photo_encoder(write(tmp_path / "e.pt", state), larger)


def test_no_code_from_a_file_is_run(tmp_path: Path, generator: StyleGAN2Generator) -> None:
    class Run:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "touched",)

    torch.save({"state_dict": {"encoder.x": Run()}}, tmp_path / "e.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Run(), protocol=2))
    for name, told in (("e.pt", "refused because it could run code"), ("plain.pt", "no PyTorch checkpoint")):
        with pytest.raises(BadInput, match=told):
            load_photo_encoder(tmp_path / name, generator)
    with pytest.raises(BadInput, match=re.escape(f"{tmp_path / 'none.pt'}: no such file")):
        load_photo_encoder(tmp_path / "none.pt", generator)
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize("extended", [True, False])
def test_a_projection_begins_at_its_answer(generator: StyleGAN2Generator, extended: bool) -> None:
    generator.requires_grad_(False)
    start = torch.randn(1, LAYERS, W)
    wanted = start if extended else start.mean(1)
    picture = torch.zeros(1, 3, 32, 32)
    perceptual = load_perceptual()
    found = project(generator, picture, perceptual, steps=0, extended=extended, start=start)
    torch.testing.assert_close(found, wanted)
    near = project(generator, picture, perceptual, steps=3, extended=extended, start=start, lr=1e-3)
    assert 0 < float((near - wanted).abs().max()) <= 3.1e-3  # three steps of Adam away
