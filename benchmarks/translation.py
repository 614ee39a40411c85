"""Rows of translation: folders against the usual loop, with and without a network, and the runtimes of the network."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image

from benchmarks.limits import fastest
from benchmarks.plain import loop, macs, of_equal_cost, resnet9
from gen.translation import registry
from gen.translation.batch import translate
from gen.translation.protocol import Capabilities
from gen.translation.runtimes.choice import use_runtime
from gen.translation.runtimes.sessions import is_installed
from gen.translation.settings import TranslateSettings

MODEL = "augan-night2day"
SAMPLES = Path(__file__).parent.parent / "samples" / "adverse"


class Row(NamedTuple):
    """One comparison."""

    name: str
    ours: float
    """Seconds."""
    theirs: float
    what: str
    """What theirs is."""
    goal: float | None = None
    """theirs / ours that is asked for."""


class Identity:
    """The frames themselves."""

    device = torch.device("cpu")
    capabilities = Capabilities({"adverse_to_normal": ()}, 1, (256, 512), 256)

    def shown_map(self, direction, which="auto"):
        """See `Translator`."""
        return None

    def translate_frames(self, frames, direction, **options):
        """See `Translator`."""
        return frames, None


def copies(folder: Path, count: int, size: tuple[int, int]) -> list[Path]:
    """`count` JPEG frames of `size` (width, height), from the rendered nights of samples/."""
    nights = sorted(SAMPLES.rglob("*.jpg"))
    folder.mkdir()
    files = [folder / f"{number:04d}.jpg" for number in range(count)]
    pictures = [Image.open(night).resize(size) for night in nights]
    for number, file in enumerate(files):
        pictures[number % len(pictures)].save(file, quality=95)
    return files


def ours(frames: Path, out: Path, load, **settings: object) -> tuple[float, str | None]:
    """Seconds of `gen translate`, with the model loaded, and the runtime that it used."""
    chosen = TranslateSettings(frames, out, model=MODEL, device="cpu", **settings)
    began = time.perf_counter()
    report = translate(chosen, load)
    return time.perf_counter() - began, report.entries[0].runtime


def theirs(frames: list[Path], out: Path, *how: object) -> float:
    """Seconds of the usual loop."""
    out.mkdir()
    began = time.perf_counter()
    loop(frames, out, *how)
    return time.perf_counter() - began


def folders() -> Iterator[Row]:
    """250 frames of 640x360 and 60 of 1280x720, JPEG to JPEG, in seconds a frame."""
    pipe = registry.load(MODEL)
    rows = pipe.capabilities.auto_height
    size = (rows, round(rows * 16 / 9 / 16) * 16)
    cost = macs(pipe.adverse_to_normal, torch.zeros(1, 3, *size))
    equal, usual = of_equal_cost(cost, size), resnet9()
    for count, shape, goal in ((250, (640, 360), 4.0), (60, (1280, 720), 4.0)):
        root = Path(tempfile.mkdtemp())
        try:
            frames = copies(root / "in", count, shape)
            seconds, runtime = ours(root / "in", root / "out", lambda settings: pipe)
            mine, name = seconds / count, f"folder of {count} frames of {shape[0]}x{shape[1]}, {runtime}"
            few = frames[: count // 5]
            same = theirs(few, root / "equal", equal, size, ".jpg") / len(few)
            yield Row(name, mine, same, "usual loop, ResNet-9 of as many MACs at the same size, fp32, JPEG", goal)
            common = theirs(few[:6], root / "usual", usual, (256, 448), ".jpg") / 6
            yield Row(name, mine, common, "usual loop, CycleGAN's own ResNet-9 (width 64) at 448x256, fp32, JPEG")
        finally:
            shutil.rmtree(root)


def hosts() -> Iterator[Row]:
    """The same without a network: decoding, resizing and encoding."""
    for count, shape, goal in ((250, (512, 256), 5.0), (60, (1280, 720), 8.0)):
        root = Path(tempfile.mkdtemp())
        try:
            frames = copies(root / "in", count, shape)
            mine = ours(root / "in", root / "out", lambda settings: Identity())[0] / count
            loops = theirs(frames, root / "loop", None, (256, 512), ".png") / count
            name = f"{count} frames of {shape[0]}x{shape[1]}, the network replaced by the identity"
            yield Row(name, mine, loops, "usual loop at 512x256, PNG", goal)
        finally:
            shutil.rmtree(root)


def runtimes() -> Iterator[Row]:
    """The network alone, in each runtime and precision, against torch in fp32."""
    base = None
    for runtime, precision, goal in (
        ("torch", "fp32", None), ("onnx", "fp32", None), ("openvino", "fp32", None), ("torch", "bf16", None),
        ("openvino", "bf16", 2.5),
    ):  # fmt: skip
        if runtime != "torch" and not is_installed(runtime):
            continue
        pipe = registry.load(MODEL, "cpu", torch.bfloat16 if precision == "bf16" else torch.float32)
        use_runtime(pipe, TranslateSettings(Path(), Path(), model=MODEL, runtime=runtime), 1)  # type: ignore[arg-type]
        rows = pipe.capabilities.auto_height
        image = pipe.padded(torch.rand(1, 3, rows, round(rows * 16 / 9)) * 2 - 1)
        with torch.inference_mode():
            mine = fastest(lambda p=pipe, x=image: p.outputs("adverse_to_normal", x), 3)
        base = base or mine
        yield Row(
            f"network at {image.shape[3]}x{image.shape[2]}, {runtime}, {precision}", mine, base, "torch, fp32", goal
        )
