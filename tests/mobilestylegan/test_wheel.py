"""The published network: equal to what OpenVINO draws from the same files."""

import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from gen.errors import BadInput
from gen.hda.adaptation import fingerprint
from gen.hda.pipeline import HDAPipeline
from gen.mobilestylegan.networks import MobileStyleGANGenerator
from gen.mobilestylegan.wheel import load_wheel


@pytest.fixture(scope="module")
def published(wheel: Path) -> MobileStyleGANGenerator:
    return load_wheel(wheel)


def test_draws_what_openvino_draws(wheel: Path, published: MobileStyleGANGenerator, tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    core, z = openvino.Core(), torch.randn(1, 512, generator=torch.Generator().manual_seed(7))
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    networks = [
        core.compile_model(tmp_path / "random_face" / "data" / f"{name}Network.xml", "CPU", exact)
        for name in ("Mapping", "Synthesis")
    ]
    w = networks[0](z.numpy())[0]
    with torch.no_grad():
        np.testing.assert_allclose(published.mapping(z).numpy(), w, atol=1e-4)
        np.testing.assert_allclose(published.synthesis(torch.from_numpy(w)).numpy(), networks[1](w)[0], atol=1e-3)


def test_its_shape(published: MobileStyleGANGenerator) -> None:
    assert published.size == 1024
    assert published.settings() == MobileStyleGANGenerator().settings() | {"channels": [512] * 5 + [256, 128, 64]}
    scales = [conv.modulation.affine.bias.abs().mean().item() for conv in published.convs]
    assert scales == pytest.approx([1.0] * len(scales))
    w = published.mapping(torch.randn(500, 512))
    assert (w.mean(0) - published.w_average).abs().mean() < 0.1 * w.std()


def test_a_pipeline_takes_it(wheel: Path) -> None:
    pipe = HDAPipeline.from_pretrained(wheel)
    assert pipe.latents([0, 1]).shape == (2, 512)


def rewritten(wheel: Path, out: Path, change: Callable[[str, bytes], bytes | None]) -> Path:
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(out, "w") as target:
        for name in source.namelist():
            if (content := change(name, source.read(name))) is not None:
                target.writestr(name, content)
    return out


DAMAGE: dict[str, Callable[[str, bytes], bytes | None]] = {
    "a file is missing": lambda name, content: None if name.endswith("SynthesisNetwork.bin") else content,
    "weights end early": lambda name, content: content[:-50_000] if name.endswith(".bin") else content,
    "no XML": lambda name, content: b"\0" * 100 if name.endswith(".xml") else content,
    "half of the XML": lambda name, content: content[: len(content) // 2] if name.endswith(".xml") else content,
    "another network": lambda name, content: content.replace(b"m.layers.3.", b"m.layers.9."),
    "no layers": lambda name, content: b"<net/>" if name.endswith(".xml") else content,
    "too wide": lambda name, content: content.replace(b'shape="1, 512, 1, 1"', b'shape="1, 65536, 1, 1"'),
    "NaN": lambda name, content: content[:400] + b"\xff" * 400 + content[800:] if name.endswith(".bin") else content,
    "negative": lambda name, content: content.replace(b'offset="131072"', b'offset="-4"'),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_wheels_are_refused_in_one_sentence(wheel: Path, tmp_path: Path, kind: str) -> None:
    damaged = rewritten(wheel, tmp_path / "x.whl", DAMAGE[kind])
    with pytest.raises(BadInput, match=r"x\.whl: this is not an intact wheel of the package random-face") as found:
        load_wheel(damaged)
    assert "\n" not in str(found.value)


def test_the_same_fingerprint_on_every_machine(published: MobileStyleGANGenerator) -> None:
    """Adaptations, directions and latents belong to it."""
    assert fingerprint(published) == "7579daec7b694cf5"


def test_damaged_content_is_refused(wheel: Path, tmp_path: Path) -> None:
    content = bytearray(wheel.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 100] = b"\xff" * 100
    (tmp_path / "x.whl").write_bytes(content)
    with pytest.raises(BadInput, match="not an intact wheel"):
        load_wheel(tmp_path / "x.whl")


def test_other_files_are_refused(wheel: Path, tmp_path: Path) -> None:
    (tmp_path / "no.whl").write_bytes(random.Random(0).randbytes(1000))
    (tmp_path / "cut.whl").write_bytes(wheel.read_bytes()[:100_000])
    with zipfile.ZipFile(tmp_path / "other.whl", "w") as archive:
        archive.writestr("other/__init__.py", "")
    for name in ("no.whl", "cut.whl", "other.whl", "absent.whl"):
        with pytest.raises(BadInput, match=name):
            load_wheel(tmp_path / name)
