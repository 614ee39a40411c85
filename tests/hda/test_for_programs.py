"""`gen export` of a generator: files that other programs run, equal to torch."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gen.errors import BadSetting
from gen.hda.adaptation import Adaptation, difference
from gen.hda.for_programs import export
from gen.hda.pipeline import HDAPipeline
from gen.stylegan2.rosinality import save_rosinality
from gen.stylegan3.networks import StyleGAN3Generator
from gen.translation.settings import ExportSettings
from tests.hda.test_commands import run
from tests.hda.test_pipeline import moved

pytest.importorskip("onnx")


@pytest.fixture
def adaptation(tmp_path: Path, model: Path) -> Path:
    pipe = HDAPipeline.from_pretrained(model)
    path = tmp_path / "moved.safetensors"
    Adaptation("moved", pipe.fingerprint, difference(pipe.generator, moved(pipe.generator, 1)), {}).save(path)
    return path


def runner(folder: Path, name: str, to: str):
    if to == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(folder / f"{name}.onnx", providers=["CPUExecutionProvider"])
        return lambda **given: session.run(None, given)[0]
    from gen.translation.runtimes.sessions import openvino_core

    compiled = openvino_core().compile_model(folder / f"{name}.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda **given: compiled(given)[0]


@pytest.mark.parametrize("to", ["onnx", "openvino"])
@pytest.mark.parametrize("strength", [None, 0.5])
def test_files_equal_torch(model: Path, adaptation: Path, tmp_path: Path, to: str, strength: float | None) -> None:
    if to == "openvino":
        pytest.importorskip("openvino")
    out, blended = tmp_path / "out", ["--adaptation", f"{adaptation}:{strength}"] if strength else []
    done = run("export", model, out, "--to", to, *blended)
    assert done.returncode == 0, done.stderr
    pipe = HDAPipeline.from_pretrained(model)
    if strength:
        pipe.load_adaptation(adaptation, strength)
    mapping, synthesis = (runner(out, name, to) for name in ("mapping", "synthesis"))
    for count, truncation in ((1, 0.7), (3, 1.0), (2, 0.0)):
        z = torch.randn(count, 16, generator=torch.Generator().manual_seed(count))
        with torch.no_grad():
            expected = pipe.generator(z, truncation).numpy()
        w = mapping(z=z.numpy(), truncation=np.array(truncation, np.float32))
        assert w.shape == (count, 8, 16)
        np.testing.assert_allclose(synthesis(w=w), expected, atol=1e-3)
    changed = w + np.linspace(0, 1, 8, dtype=np.float32)[None, :, None]  # one w for each layer
    with torch.no_grad():
        expected = pipe.generator.synthesis(torch.from_numpy(changed)).numpy()
    np.testing.assert_allclose(synthesis(w=changed), expected, atol=1e-3)
    text = (out / "README.md").read_text()
    assert f"weights {pipe.fingerprint}" in text
    assert (" at 0.5; for other strengths" in text) == bool(strength)


@pytest.mark.parametrize("to", ["onnx", "openvino"])
def test_the_program_of_the_readme_draws_a_face(model: Path, tmp_path: Path, to: str) -> None:
    if to == "openvino":
        pytest.importorskip("openvino")
    assert run("export", model, tmp_path, "--to", to).returncode == 0
    program = (tmp_path / "README.md").read_text().split("```python\n")[1].split("```")[0]
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    pipe = HDAPipeline.from_pretrained(model)
    z = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 16), np.float32))
    w = pipe.generator.truncated(pipe.generator.mapping(z), 0.7).detach()
    drawn, expected = np.asarray(Image.open(tmp_path / "face.png")), pipe(latents=w, output_type="np").images[0]
    assert np.abs(drawn.astype(int) - expected).max() <= 1


def test_the_file_says_what_is_in_it(model: Path, adaptation: Path, tmp_path: Path) -> None:
    import onnxruntime

    assert run("export", model, tmp_path / "out", "--adaptation", adaptation).returncode == 0
    session = onnxruntime.InferenceSession(tmp_path / "out" / "synthesis.onnx", providers=["CPUExecutionProvider"])
    (given,), (output,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.shape) == ("w", ["batch", 8, 16])
    assert (output.name, output.shape) == ("images", ["batch", 3, 32, 32])
    about = session.get_modelmeta().custom_metadata_map
    assert about["model"] == "tiny"
    assert about["weights"] == HDAPipeline.from_pretrained(model).fingerprint
    assert about["adaptations"].startswith("moved ")
    assert about["adaptations"].endswith(" at 1")


def test_adapted_model_folders_and_files_of_others(model: Path, adaptation: Path, tmp_path: Path) -> None:
    pipe = HDAPipeline.from_pretrained(model)
    pipe.load_adaptation(adaptation)
    pipe.save_pretrained(tmp_path / "adapted")
    save_rosinality(pipe.generator, tmp_path / "adapted.pt")
    w = pipe.latents([0]).expand(8, -1)[None]
    expected = pipe.generator.synthesis(w).detach().numpy()
    for name in ("adapted", "adapted.pt"):
        done = run("export", tmp_path / name, tmp_path / f"{name}-files")
        assert done.returncode == 0, done.stderr
        drawn = runner(tmp_path / f"{name}-files", "synthesis", "onnx")(w=w.numpy())
        np.testing.assert_allclose(drawn, expected, atol=1e-3)


def test_nothing_of_others_is_replaced(model: Path, adaptation: Path, tmp_path: Path) -> None:
    (tmp_path / "mapping.onnx").write_text("mine")
    done = run("export", model, tmp_path)
    assert (done.returncode, "mapping.onnx is not of gen export" in done.stderr) == (1, True)
    done = run("export", model, model)
    assert (done.returncode, "is a model folder" in done.stderr) == (1, True)
    done = run("export", "augan-night2day-fast", tmp_path / "out", "--adaptation", adaptation)
    assert (done.returncode, "only generators are adapted" in done.stderr) == (1, True)
    done = run("export", "stylegan2-faces46", tmp_path / "out")
    assert (done.returncode, "unknown model" in done.stderr) == (1, True)
    assert (tmp_path / "mapping.onnx").read_text() == "mine"


def test_stylegan3_is_refused_in_words(tmp_path):
    sides = {"size": 32, "channel_base": 256, "channel_max": 16, "z_dim": 16, "w_dim": 16, "synthesis_layers": 6}
    HDAPipeline(StyleGAN3Generator(**sides)).save_pretrained(tmp_path / "model")
    with pytest.raises(BadSetting, match="is a StyleGAN3 generator"):
        export(ExportSettings(str(tmp_path / "model"), tmp_path / "out"))
    assert not (tmp_path / "out").exists()
