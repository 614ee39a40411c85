"""`gen export` of a generator: its networks as ONNX or OpenVINO files, for programs without torch."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from gen.about import VERSION
from gen.errors import BadSetting
from gen.hda.marks import adapted_with
from gen.hda.pipeline import HDAPipeline, load_blended
from gen.stylegan2.networks import NoisyGenerator
from gen.translation.runtimes.export import SIGNATURE, check_runtime, write_files
from gen.translation.runtimes.graph import write_onnx
from gen.translation.settings import ExportSettings
from gen.weights import licence_of, name_of

BATCH = {0: "batch"}


class Mapper(nn.Module):
    """z -> w, truncated."""

    def __init__(self, generator: NoisyGenerator) -> None:
        super().__init__()
        self.mapping, self.layers = generator.mapping, generator.layers
        self.register_buffer("average", generator.w_average)

    def forward(self, z: Tensor, truncation: Tensor) -> Tensor:
        """z (B, z_dim), truncation () -> w of each layer, (B, layers, w_dim)."""
        w = self.average + truncation * (self.mapping(z) - self.average)
        return w.unsqueeze(1).repeat(1, self.layers, 1)


class Synthesis(nn.Module):
    """w -> images, with the noise maps that are stored with the weights."""

    def __init__(self, generator: NoisyGenerator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, w: Tensor) -> Tensor:
        """w (B, layers, w_dim) -> images (B, 3, size, size), nominally in [-1, 1]."""
        return self.generator.synthesis(w)


def export(settings: ExportSettings) -> list[Path]:
    """Write mapping and synthesis of a generator with its adaptations, and README.md; returns the files.

    Raises `BadSetting` or `BadInput`, as the export of a translator.
    """
    if settings.int8:
        raise BadSetting(f"int8: {settings.model} is a generator; only translators are reduced. Leave int8 out.")
    check_runtime(settings)
    pipe = load_blended(settings.model, settings.adaptation, "cpu")
    g = pipe.generator.float().eval()
    if not isinstance(g, NoisyGenerator):  # the exporter of torch cannot follow its filters
        raise BadSetting(f"model: {settings.model} is a StyleGAN3 generator, which gen export cannot write.")
    z, w = torch.zeros(2, g.z_dim), torch.zeros(2, g.layers, g.w_dim)
    writers = {
        "mapping": partial(_write, Mapper(g), {"z": z, "truncation": torch.tensor(0.7)}, "w", g.layers),
        "synthesis": partial(_write, Synthesis(g), {"w": w}, "images", 3),
    }
    about = {"weights": pipe.fingerprint, "adaptations": ", ".join(adapted_with(pipe, pipe.strengths))}
    return write_files(settings, writers, about, lambda: readme(settings, pipe))


def _write(module: nn.Module, inputs: Mapping[str, Tensor], output: str, channels: int, file: Path) -> Sequence[int]:
    """Write a module as an ONNX file, see `Writer`."""
    write_onnx(module, inputs, [output], file, {name: BATCH for name in (*inputs, output) if name != "truncation"})
    return [channels]


def readme(settings: ExportSettings, pipe: HDAPipeline) -> str:
    """What a programmer must know of the files."""
    g, suffix = pipe.generator, "onnx" if settings.to == "onnx" else "xml (with .bin)"
    adapted = adapted_with(pipe, pipe.strengths)
    blended = f" Adapted: {', '.join(adapted)}; for other strengths, export again." if adapted else ""
    return f"""# {name_of(settings.model)} for other programs

{licence_of(settings.model)} {SIGNATURE} {VERSION}; weights {pipe.fingerprint}.{blended}

- `mapping.{suffix}`: `z` (batch, {g.z_dim}), standard normal, and `truncation`, one number (1: full variety, 0.7:
  better pictures, 0: the average) -> `w` (batch, {g.layers}, {g.w_dim}), one for each layer
- `synthesis.{suffix}`: `w` -> `images` (batch, 3, {g.size}, {g.size}), RGB, from -1 (black) to 1 (white); they may go
  beyond, so limit them before you make bytes of them

All are float32. The same z is always the same face. `w` can be changed between the two: add a direction of `gen
directions` (`directions.safetensors`: `deviations[k] * directions[k]` is one standard deviation along the k-th) to some
layers or to all, or take the first layers from one face and the others from a second one.

```python
{LOADED[settings.to]}
z = np.random.default_rng(0).standard_normal((1, {g.z_dim}), np.float32)
w = mapping({{"z": z, "truncation": np.array(0.7, np.float32)}})[0]
image = synthesis({{"w": w}})[0][0].transpose(1, 2, 0)
Image.fromarray((image.clip(-1, 1) * 127.5 + 127.5).round().astype(np.uint8)).save("face.png")
```
"""


LOADED = {
    "onnx": """import numpy as np, onnxruntime
from PIL import Image

session = lambda name: onnxruntime.InferenceSession(f"{name}.onnx")
mapping, synthesis = (lambda given, s=session(n): s.run(None, given) for n in ("mapping", "synthesis"))
""",
    "openvino": """import numpy as np, openvino
from PIL import Image

exact = {"INFERENCE_PRECISION_HINT": "f32"}  # else bf16 on some processors, which is some grey levels off
mapping, synthesis = (openvino.Core().compile_model(f"{n}.xml", "CPU", exact) for n in ("mapping", "synthesis"))
""",
}
