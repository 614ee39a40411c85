"""Rows of translation: folders against the usual loop, with and without a network, and the runtimes of the network."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.limits import fastest
from benchmarks.plain import loop, macs, of_equal_cost, resnet9
from benchmarks.rows import SAMPLES, Identity, Row, copies
from gen.media.video import ClipReader, write_clip
from gen.translation import registry
from gen.translation.batch import translate
from gen.translation.runtimes.choice import use_runtime
from gen.translation.runtimes.sessions import is_installed
from gen.translation.settings import FAST_MODEL, TranslateSettings

MODEL = "augan-night2day"


def ours(frames: Path, out: Path, load, **settings: object) -> tuple[float, str | None]:
    """Seconds of `gen translate`, with the model loaded, and the runtime that it used."""
    chosen = TranslateSettings(frames, out, **{"model": MODEL, "device": "cpu", **settings})
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


def clips() -> Iterator[Row]:
    """The rendered drive of samples/ enlarged to 1280x720, and the same network by itself on its frames."""
    root = Path(tempfile.mkdtemp())
    try:
        with ClipReader(next(SAMPLES.rglob("*.mp4"))) as reader:
            frames = [Image.fromarray(frame.rgb).resize((1280, 720)) for frame in reader]
        write_clip(root / "clip.mp4", map(np.asarray, frames), 30)
        runtimes = ("torch", *(name for name in ("openvino",) if is_installed(name)))
        for model, runtime in product((MODEL, FAST_MODEL), runtimes):
            pipe = registry.load(model)
            out = root / f"{model}-{runtime}.mp4"
            seconds, _ = ours(root / "clip.mp4", out, lambda settings, pipe=pipe: pipe, model=model, runtime=runtime)
            image = pipe.padded(torch.rand(1, 3, *pipe.network_size((720, 1280), "auto")) * 2 - 1)
            with torch.inference_mode():
                alone = fastest(lambda x=image, pipe=pipe: pipe.outputs("adverse_to_normal", x), 3)
            name = f"frame of a clip of 1280x720, {model}, network in {runtime}"
            yield Row(name, seconds / len(frames), alone, "its network alone")
    finally:
        shutil.rmtree(root)
