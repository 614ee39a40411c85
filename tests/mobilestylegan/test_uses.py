"""What is done with generators, done with a MobileStyleGAN: adapt, edit, invert, export."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gen.cli import main
from gen.hda.export import save_adaptation
from gen.hda.layers import choices, set_trainable
from gen.hda.pipeline import HDAPipeline
from gen.hda.training import HDATrainer
from tests.hda.test_training import settings
from tests.mobilestylegan.conftest import tiny_mobile
from tests.stylegan2.conftest import write_pictures


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    HDAPipeline(tiny_mobile()).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def red(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("data") / "red", 4, (200, 40, 40))


SETS: dict[Any, tuple[list[str], list[str]]] = {
    "all": (
        ["constant", "convs.0.bias", "convs.1.before_up.affine.bias", "to_image.bias"],
        ["mapping.layers.0.weight"],
    ),
    "nada": (["constant", "convs.6.conv.1.weight"], ["to_image.bias"]),
    "affine": (["convs.1.before_up.affine.weight"], ["convs.1.conv.0.weight", "to_image.modulation.affine.bias"]),
    "coarse": (["constant", "convs.2.bias"], ["convs.3.bias", "to_image.bias"]),
    "fine": (["convs.3.bias", "to_image.bias"], ["convs.2.bias", "constant"]),
    "shape": (["constant", "convs.2.bias"], ["convs.3.bias", "to_image.bias"]),
    "texture": (["constant", "convs.0.bias", "convs.3.bias"], ["convs.2.bias", "to_image.bias"]),
    "no_fine": (["constant", "convs.6.bias"], ["to_image.bias"]),
}


@pytest.mark.parametrize("layers", SETS)
def test_the_sets_of_layers(layers: Any) -> None:
    generator = tiny_mobile()
    set_trainable(generator, layers)
    trained = {name: p.requires_grad for name, p in generator.named_parameters()}
    learns, rests = SETS[layers]
    assert [trained[name] for name in learns + rests] == [True] * len(learns) + [False] * len(rests)
    assert choices(generator, 2) == {k: f"convs.{k}." for k in range(7) if trained[f"convs.{k}.modulation.affine.bias"]}


@pytest.mark.parametrize("changes", [{}, {"layers": "affine"}, {"auto_layer_iters": 1, "auto_layer_k": 2}])
def test_it_is_adapted(model: Path, red: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    pipe = HDAPipeline.from_pretrained(model)
    run = settings(tmp_path / "run", [f"red={red}"], **{"source": str(model), "lr": 0.01, "images": 64, **changes})
    trainer = HDATrainer(run, pipe.generator)
    trainer.fit()
    assert trainer.progress["red"] > 0.005 or changes  # of one set of layers, a few steps are not enough
    fresh = HDAPipeline.from_pretrained(model)
    before = fresh(seeds=[0], output_type="np").images[0]
    fresh.load_adaptation(save_adaptation(trainer))
    after = fresh(seeds=[0], output_type="np").images[0]
    assert (after != before).any()
    fresh.set_strengths(0.0)
    np.testing.assert_array_equal(fresh(seeds=[0], output_type="np").images[0], before)


def test_it_is_edited_and_drawn_in_grids(model: Path, tmp_path: Path) -> None:
    found = tmp_path / "directions.safetensors"
    assert main(["directions", "--model", str(model), "--out", str(found)]) == 0
    drawn = [
        "generate",
        "--model",
        str(model),
        "--seeds",
        "0-1",
        "--directions",
        str(found),
        "--out",
        str(tmp_path / "o"),
    ]
    assert main([*drawn, "--rows", "0=-2,0,2"]) == 0
    assert list((tmp_path / "o").glob("*.png"))


def test_a_photo_is_inverted(model: Path, tmp_path: Path) -> None:
    pipe = HDAPipeline.from_pretrained(model)
    pipe(seeds=[3], truncation=1.0).images[0].save(tmp_path / "photo.png")
    done = [
        "invert",
        str(tmp_path / "photo.png"),
        "--model",
        str(model),
        "--out",
        str(tmp_path / "out"),
        "--steps",
        "30",
    ]
    assert main(done) == 0
    assert Image.open(next((tmp_path / "out").glob("*.png"))).size[1] >= 64


@pytest.mark.parametrize("to", ["onnx", "openvino"])
def test_exported_files_draw_the_same(model: Path, tmp_path: Path, to: str) -> None:
    pytest.importorskip("onnx")
    if to == "openvino":
        pytest.importorskip("openvino")
    from tests.hda.test_for_programs import runner

    assert main(["export", str(model), str(tmp_path / "out"), "--to", to]) == 0
    pipe = HDAPipeline.from_pretrained(model)
    mapping, synthesis = (runner(tmp_path / "out", name, to) for name in ("mapping", "synthesis"))
    for count in (1, 3):
        z = torch.randn(count, 12)
        w = mapping(z=z.numpy(), truncation=np.array(0.7, np.float32))
        with torch.no_grad():
            np.testing.assert_allclose(synthesis(w=w), pipe.generator(z, 0.7).numpy(), atol=1e-3)
