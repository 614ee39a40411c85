"""`gen export`: a model's networks as ONNX or OpenVINO files, for programs without torch."""

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from gen.about import VERSION
from gen.errors import BadSetting
from gen.media.files import temporary, write_atomically
from gen.media.resize import EDGE_VARIANCE, LUMA, WINDOW
from gen.output import output_folder
from gen.translation import registry
from gen.translation.made_with import weights_id
from gen.translation.pipeline import TranslationPipeline
from gen.translation.runtimes.graph import write_onnx
from gen.translation.runtimes.int8 import FRAMES, PART, check_int8, in_int8, read_frames
from gen.translation.runtimes.parts import Part
from gen.translation.runtimes.sessions import check_installed, openvino_core
from gen.translation.settings import ExportSettings
from gen.weights import INDEX, licence_of, name_of, read_written

EXAMPLE = (1, 3, 90, 134)
"""Shape of the images that a part is traced with: sides that must be padded, so that the padding is traced too."""
LEAST = 16
"""Pixels a side that any part takes: smaller images would need another kind of padding than the one that is traced."""
SIGNATURE = "Written by gen"
"""In the README.md of an export."""


Writer = Callable[[Path], Sequence[int]]
"""Writes a part as an ONNX file, and returns the length of the second axis of each output: an image's channels."""
Change = Callable[[Any], Any]
"""What becomes of an OpenVINO model before it is written."""


def export(settings: ExportSettings) -> list[Path]:
    """Write a file for each part of a translator, and README.md; returns the files. Raises `BadSetting` or `BadInput`.

    The files of an earlier export to the same folder, which its README.md names, are removed.
    """
    if settings.adaptation:
        raise BadSetting(f"adaptation: {settings.model} translates frames; only generators are adapted.")
    check_runtime(settings)
    pipe = registry.load(settings.model, "cpu", torch.float32)
    if not (parts := pipe.parts()):
        raise BadSetting(f"model: {settings.model} has no part that can be exported.")
    about = {"weights": weights_id(settings.model) or ""}
    writers = {name: partial(_write_part, part) for name, part in parts.items()}
    changes = dict[str, Change]()
    if settings.int8:
        if PART not in parts:
            raise BadSetting(f"int8: {settings.model} has no {PART}, which alone is reduced; leave int8 out.")
        able = pipe.capabilities
        frames = read_frames(settings.int8, able.auto_height, max(LEAST, able.multiple))
        changes[PART] = partial(in_int8, frames=frames)
    return write_files(settings, writers, about, lambda: readme(settings, pipe, parts), changes)


def check_runtime(settings: ExportSettings) -> None:
    """Raises `BadSetting` or `BadInput` if a package is missing, or if there are no frames for int8."""
    if settings.int8:
        check_int8(settings.int8, settings.to)
    if settings.to == "openvino":
        check_installed("openvino")


def write_files(
    settings: ExportSettings,
    writers: Mapping[str, Writer],
    about: Mapping[str, str],
    text: Callable[[], str],
    changes: Mapping[str, Change] | None = None,
) -> list[Path]:
    """Write a file for each of `writers` by name, and a README.md of `text`; returns the files.

    `about`: what the files say of themselves besides the model's name, its licence and the version. `changes`: by name,
    what becomes of an OpenVINO model. Raises as `export`.
    """
    changes = changes or {}
    if (settings.out / INDEX).exists():  # whose weights may be replaced, while the files would stay
        raise BadSetting(f"out: {settings.out} is a model folder; choose a folder of its own for the files.")
    said = {"model": name_of(settings.model), "licence": licence_of(settings.model), "gen": VERSION, **about}
    with output_folder(settings.out):
        _make_room(settings.out, [file for name in writers for file in _names(name, settings)])
        files = [
            _write(writer, settings.out / _names(name, settings)[0], settings, said, changes.get(name))
            for name, writer in writers.items()
        ]
        _write_readme(settings.out, text())
    return files


def _names(part: str, settings: ExportSettings) -> list[str]:
    """The files of a part."""
    return [f"{part}.onnx"] if settings.to == "onnx" else [f"{part}.xml", f"{part}.bin"]


def _make_room(out: Path, names: Sequence[str]) -> None:
    """Remove what an earlier export has left, and nothing else. Raises `BadSetting` if other files are in the way.

    Until the export is whole, README.md says which files are of it: the next one may replace those if it is cut off.
    """
    old = _earlier(out)
    for name in names:
        if os.path.lexists(out / name) and name not in old:
            raise BadSetting(
                f"{out / name} is not of gen export, as far as is known, which would replace it; choose another output "
                "folder."
            )
    listed = "\n".join(f"- `{name}`" for name in sorted({*names, *old}))
    _write_readme(out, f"# An export that was cut off\n\n{SIGNATURE} {VERSION}. Run it again.\n\n{listed}\n")
    for name in old:
        (out / name).unlink(missing_ok=True)


def _earlier(out: Path) -> list[str]:
    """The files that README.md says an earlier export has written; [] if there is none. Raises `BadSetting`."""
    about = out / "README.md"
    if not about.is_file():
        return []
    text = read_written(about)
    if SIGNATURE not in text:
        raise BadSetting(f"{about} is not of gen export, which would replace it; choose another output folder.")
    found = re.findall(r"^- `([^`./]+)\.(onnx|xml|bin)", text, re.M)
    files = [f"{name}.{suffix}" for name, suffix in found]
    return files + [f"{name}.bin" for name, suffix in found if suffix == "xml"]


def _write_readme(out: Path, text: str) -> None:
    with write_atomically(out / "README.md") as written:
        written.write_text(text, encoding="utf-8")


def _write(
    writer: Writer, written: Path, settings: ExportSettings, about: Mapping[str, str], change: Change | None
) -> Path:
    if settings.to == "onnx":
        _sign(written, about, writer(written))
        return written
    ov: Any = import_module("openvino")
    with temporary(written.with_suffix(".onnx")) as file:
        writer(file)
        try:
            model = openvino_core().read_model(file)
            model = change(model) if change else model
            for name, text in about.items():
                model.set_rt_info(text, [name])
            ov.save_model(model, written, compress_to_fp16=False)
        except RuntimeError as error:  # it says no more than "iostream error"
            raise BadSetting(
                f"{written}: OpenVINO cannot write the file ({error}); is there room on the disk?"
            ) from error
    return written


def _write_part(part: Part, file: Path) -> list[int]:
    """Write a part as an ONNX file; returns the channels of its outputs."""
    with torch.no_grad():
        inputs = {name: torch.zeros(EXAMPLE) for name in part.inputs}
        made = part.module(*inputs.values())
        write_onnx(part.module, inputs, part.outputs[: len(made)], file)
    return [output.shape[1] for output in made]


def _sign(file: Path, about: Mapping[str, str], channels: Iterable[int]) -> None:
    """Write what the file is into it, and how many channels its outputs have, which torch loses where it crops."""
    onnx: Any = import_module("onnx")
    model = onnx.load(file)
    for output, count in zip(model.graph.output, channels, strict=True):
        output.type.tensor_type.shape.dim[1].dim_value = count
    onnx.helper.set_model_props(model, dict(about))
    with write_atomically(file) as written:
        onnx.save(model, written)


def readme(settings: ExportSettings, pipe: TranslationPipeline, names: Iterable[str]) -> str:
    """What a programmer must know of the files."""
    suffix = "onnx" if settings.to == "onnx" else "xml (with .bin)"
    rows = pipe.invention.config["height"] if getattr(pipe, "invention", None) else 0
    reduced = {PART: f"; in 8-bit integers, scaled on up to {FRAMES} frames"} if settings.int8 else {}
    files = "\n".join(
        f"- `{name}.{suffix}`: {WORDS.get(name, name).format(rows=rows)}{reduced.get(name, '')}" for name in names
    )
    able = pipe.capabilities
    return f"""# {name_of(settings.model)} for other programs

{licence_of(settings.model)} {SIGNATURE} {VERSION}; weights {weights_id(settings.model) or "of a hub model"}.

{files}

All take and give float32. Images are (batch, 3, height, width), RGB, from -1 (black) to 1 (white): `x / 127.5 - 1`. A
`translation` may go beyond: limit it to -1..1 before you make bytes of it. On some processors OpenVINO computes in bf16
unless told otherwise, which is some grey levels off: compile with `INFERENCE_PRECISION_HINT` `f32`.

Any size from {max(LEAST, able.multiple)} pixels a side works; the model is made for {able.auto_height} rows.
`gen translate` runs it there and carries the change of colour to the frame's own size along its edges. That step is not
in the files; in Python, it is:

```python
{LOADED[settings.to].format(name=next(iter(names)))}
{CARRIED.format(rows=able.auto_height, window=WINDOW, variance=EDGE_VARIANCE, luma=list(LUMA))}
```
"""


LOADED = {
    "onnx": """import cv2, numpy as np, onnxruntime
from PIL import Image

session = onnxruntime.InferenceSession("{name}.onnx")
network = lambda images: session.run(None, {{"images": images}})[0]
""",
    "openvino": """import cv2, numpy as np, openvino
from PIL import Image

model = openvino.Core().compile_model("{name}.xml", "CPU", {{"INFERENCE_PRECISION_HINT": "f32"}})
network = lambda images: model(images)[0]
""",
}
CARRIED = """
def translate(picture: Image.Image) -> Image.Image:
    size = round(picture.width * {rows} / picture.height), {rows}
    native, small = (np.float32(p) / 127.5 - 1 for p in (picture, picture.resize(size, Image.BILINEAR)))
    change = network(small.transpose(2, 0, 1)[None])[0].transpose(1, 2, 0) - small

    # The change as a linear function of luma, fitted in windows (a guided filter), then at the picture's own size.
    luma = lambda image: (image @ np.float32({luma}))[..., None]
    mean = lambda x: cv2.blur(x, ({window}, {window}), borderType=cv2.BORDER_REPLICATE).reshape(x.shape)
    large = lambda x: cv2.resize(x, picture.size, interpolation=cv2.INTER_LINEAR)
    guide = luma(small)
    covariance = mean(guide * change) - mean(guide) * mean(change)
    slope = mean(covariance / (mean(guide * guide) - mean(guide) ** 2 + {variance}))
    result = native + large(slope) * luma(native) + large(change - slope * guide)
    return Image.fromarray((result.clip(-1, 1) * 127.5 + 127.5).round().astype(np.uint8))


translate(Image.open("night.jpg").convert("RGB")).save("day.jpg")"""


WORDS = {
    "adverse_to_normal": "`images` -> `translation` to clear day and, if the model has that map, `uncertainty` (batch, "
    "1, height, width), the expected cycle error in grey levels",
    "normal_to_adverse": "`images` of clear day -> `translation` to the model's weather",
    "invention": "`frame` and its `translation` -> `invented`, the share of each pixel that is made up, 0 to 1, and "
    "`error`, the expected error in grey levels. Reduce both to {rows} rows first",
}
