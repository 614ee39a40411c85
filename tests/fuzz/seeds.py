"""Small valid files of every kind, made in code, from which cases are made by damage."""

import io
import sys
import tempfile
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from PIL import Image, PngImagePlugin

from gen.hda.adaptation import Adaptation
from gen.stylegan2.networks import StyleGAN2Generator
from gen.stylegan2.rosinality import save_rosinality
from tests.conftest import street
from tests.cyclegan.test_convert import Published
from tests.media.test_video import make_clip, moving_bars


def _file(write: Callable[[Path], object], suffix: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a{suffix}"
        write(path)
        return path.read_bytes()


@cache
def stills() -> dict[str, list[bytes]]:
    """By suffix."""
    rgb = Image.fromarray(street(np.random.default_rng(0), 24, 32, True))
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a road"
    exif.get_ifd(0x8825)[2] = (52.0, 30.0, 0.0)
    text = PngImagePlugin.PngInfo()
    text.add_text("note", "x")
    text.add_itxt("XML:com.adobe.xmp", "<x/>")
    profile = b"\0" * 128

    def made(image: Image.Image, kind: str, **options: Any) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        return buffer.getvalue()

    deep = Image.fromarray(np.arange(24 * 32, dtype=np.uint16).reshape(24, 32) * 80)
    glass = rgb.copy()
    glass.putalpha(100)
    return {
        ".jpg": [
            made(rgb, "JPEG", exif=exif, comment=b"hello", dpi=(72, 72)),
            made(rgb, "JPEG", progressive=True, icc_profile=profile),
            made(rgb.convert("CMYK"), "JPEG"),
            made(rgb.convert("L"), "JPEG"),
        ],
        ".png": [
            made(rgb, "PNG", exif=exif, pnginfo=text),
            made(deep, "PNG"),
            made(glass, "PNG", dpi=(72, 72)),
            made(rgb.convert("P"), "PNG", transparency=3),
            made(rgb.convert("1"), "PNG"),
        ],
        ".webp": [made(rgb, "WEBP", exif=exif), made(glass, "WEBP", lossless=True, icc_profile=profile)],
        ".bmp": [made(rgb, "BMP"), made(rgb.convert("P"), "BMP")],
        ".tif": [
            made(rgb, "TIFF", exif=exif),
            made(rgb, "TIFF", compression="tiff_lzw"),
            made(rgb, "TIFF", compression="tiff_adobe_deflate"),
            made(deep, "TIFF"),
            made(rgb.convert("CMYK"), "TIFF", compression="packbits"),
        ],
    }


@cache
def clips() -> dict[str, list[bytes]]:
    """By suffix."""
    bars = [frame[:32, :48] for frame in moving_bars(5)]
    return {
        ".mp4": [_file(lambda p: make_clip(p, bars, sound="aac", metadata={"title": "x"}), ".mp4"),
                 _file(lambda p: make_clip(p, bars, times=[0, 40, 90, 200, 210]), ".mp4")],
        ".mkv": [_file(lambda p: make_clip(p, bars), ".mkv")],
        ".avi": [_file(lambda p: make_clip(p, bars, codec="mpeg4"), ".avi")],
        ".mov": [_file(lambda p: make_clip(p, bars, codec="mpeg4", sound="pcm_s16le"), ".mov")],
    }  # fmt: skip


@cache
def uploads() -> list[bytes]:
    """Zips as visitors upload them."""

    def packed(compression: int, *names: str) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", compression) as archive:
            for name in names:
                archive.writestr(zipfile.ZipInfo(name), stills()[".jpg"][0], compression)  # all of the same date
        return buffer.getvalue()

    names = ("a.jpg", "night/b.jpg", "night/b.jpg", "__MACOSX/a.jpg", "notes.txt", "clip.mp4", "c.zip")
    return [packed(zipfile.ZIP_STORED, *names), packed(zipfile.ZIP_DEFLATED, *names), packed(zipfile.ZIP_STORED)]


def tiny_generator() -> StyleGAN2Generator:
    torch.manual_seed(0)
    return StyleGAN2Generator((4, 4), 4, 4, 1).eval()


@cache
def torch_zips() -> dict[str, list[bytes]]:
    """Checkpoints that torch.save writes today, by suffix."""
    network = Published(1, False, False, False, False)
    return {
        ".pt": [_file(lambda p: save_rosinality(tiny_generator(), p), ".pt")],
        ".pth": [_file(lambda p: torch.save(network.state_dict(), p), ".pth")],
    }


@cache
def loose() -> dict[str, list[bytes]]:
    """Checkpoints without checksums, by suffix."""
    state = {"g_ema": torch.load(io.BytesIO(torch_zips()[".pt"][0]), weights_only=True)["g_ema"]}
    change = {"constant": torch.zeros(4, 4, 4)}
    adaptation = Adaptation("a", "0123456789abcdef", change, {"domains": {}})
    return {
        ".pt": [_file(lambda p: torch.save(state, p, _use_new_zipfile_serialization=False), ".pt")],
        ".pkl": [nvlabs()],
        ".safetensors": [_file(adaptation.save, ".safetensors")],
    }


def nvlabs() -> bytes:
    """A pickle of NVlabs' generator. Their modules exist while it is written only."""
    from tests.stylegan2 import test_checkpoints as reference

    def _reconstruct_persistent_obj(meta: Any) -> None:
        raise AssertionError("called by a pickle")

    _reconstruct_persistent_obj.__module__ = "torch_utils.persistence"
    _reconstruct_persistent_obj.__qualname__ = "_reconstruct_persistent_obj"
    modules = {name: ModuleType(name) for name in ("torch_utils", "torch_utils.persistence", "dnnlib", "dnnlib.util")}
    modules["torch_utils.persistence"]._reconstruct_persistent_obj = _reconstruct_persistent_obj
    modules["dnnlib.util"].EasyDict = reference.EasyDict
    before = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    try:
        return reference.nvlabs_bytes(reference.module_tree(reference.nvlabs_state()))
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


@cache
def model() -> dict[str, bytes]:
    """The files of a model folder, by path."""
    from gen.cyclegan.method import CycleGANPipeline, ResNetGenerator

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        CycleGANPipeline(ResNetGenerator(2, 1), None, 32, 48, weathers=["night"]).save_pretrained(root)
        return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@cache
def generator() -> dict[str, bytes]:
    """The files of a StyleGAN2 model folder."""
    from gen.hda.pipeline import HDAPipeline

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        HDAPipeline(tiny_generator()).save_pretrained(root)
        return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


JOB: dict[str, Any] = {
    "id": "abcdefghijklmnop",
    "kind": "translate",
    "inputs": {"source": "x", "settings": {"direction": "adverse_to_normal", "model": "augan-night2day"}},
    "state": "running",
    "done": 3,
    "of": 5,
    "unit": "files",
    "note": "",
    "refused": ["a"],
    "failures": [],
    "cancel": False,
    "attempts": 1,
    "begun": 0,
    "error": "",
    "created": 1.0,
    "started": 2.0,
    "ended": 0.0,
}

RECIPES = b"""light: # cheap
  width: 24
  lr: 1e-4
  crop: [64, 96]
base: &b {width: 8}
other:
  <<: *b
  design: 'light'
"""
