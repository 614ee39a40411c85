"""The long commands with tiny inputs and networks, each a second or two of work."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tests.conftest import street, write_streets

Make = Callable[[Path], list[str]]


@dataclass(frozen=True)
class Case:
    """A command that writes an output folder for long."""

    name: str
    arguments: Make
    """Inputs folder -> the words of the command, with OUT in place of the output folder."""
    resumes: tuple[str, ...] = ()
    """Patterns of files that a second run keeps as they are: of several files that belong together, the last one."""
    ignored: str = r"^report\.json$|\.report\.json$"
    """Pattern of files that differ between an unbroken run and one that went on."""
    function: str = "gen.cli:main"
    locks: bool = True
    """Whether a second run in the same folder is refused."""
    room: int = 0
    """Bytes of disk that it takes for certain; less is refused before the work. 0: not known."""

    def words(self, inputs: Path, out: Path) -> list[str]:
        """The words of the command for this output folder."""
        return [word.replace("OUT", str(out)) for word in self.arguments(inputs)]


def prepare(words: list[str]) -> None:
    """Write the inputs of all cases to a folder. Runs in the fork server, which has imported what this needs."""
    root = Path(words[0])
    write_streets(root / "night", 8, True, 64, 96)
    write_streets(root / "day", 7, False, 64, 96)
    _write_domains(root / "domains")
    _write_references(root / "red", (220, 40, 40))
    _write_references(root / "faces", (90, 90, 160), 12)
    _write_clip(root / "clip.mp4")
    _write_models(root / "models")


def _write_domains(root: Path) -> None:
    rng = np.random.default_rng(0)
    for domain, colour in {"art": 200, "flat": 120, "ink": 40}.items():
        for label in ("bar", "disc"):
            (root / domain / label).mkdir(parents=True)
            for n in range(6):
                picture = rng.normal(colour, 20, (32, 32, 3))
                picture[8:20, 8 : 12 if label == "bar" else 20] = 255 - colour
                Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(root / domain / label / f"{n}.png")


def _write_references(folder: Path, tint: tuple[int, int, int], count: int = 3) -> None:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(sum(tint))
    for n in range(count):
        picture = np.full((48, 48, 3), tint, np.uint8)
        picture[10:30, 5 + n : 20 + n] = rng.integers(0, 255, 3)
        Image.fromarray(picture).save(folder / f"{n}.png")


def _write_clip(path: Path, frames: int = 40) -> None:
    from gen.media.video import write_clip

    rng = np.random.default_rng(3)
    scene = street(rng, 64, 96 + frames, True)
    write_clip(path, (np.ascontiguousarray(scene[:, i : i + 96]) for i in range(frames)), 24)


def _write_models(root: Path) -> None:
    """A translator that works one way, and a generator of 32 pixels."""
    import torch

    from gen.cyclegan.method import CycleGANPipeline, ResNetGenerator
    from gen.hda.pipeline import HDAPipeline
    from tests.stylegan2.conftest import tiny_generator

    torch.manual_seed(0)
    CycleGANPipeline(ResNetGenerator(4, 5), None, 64, 96, weathers=["night"]).save_pretrained(root / "cut")
    HDAPipeline(tiny_generator()).save_pretrained(root / "faces")


# A fixed precision: the one that `auto` measures may differ from run to run.
TRAIN = [
    "--set=device=cpu",
    "--set=precision=fp32",
    "--set=batch=2",
    "--set=images=12",
    "--set=checkpoint_every=4",
    "--set=log_every=2",
]


def _augan(inputs: Path) -> list[str]:
    small = ["width=4", "blocks=1", "transfer_blocks=1", "discriminator_width=4", "load_height=64", "crop=[64,64]"]
    folders = ["--adverse", str(inputs / "night"), "--normal", str(inputs / "day"), "--out", "OUT"]
    return ["train-augan", *folders, "--preset", "tiny", *TRAIN, *(f"--set={s}" for s in small), "--set=sample_every=8"]


def _cyclegan(inputs: Path) -> list[str]:
    small = ["width=4", "blocks=5", "discriminator_width=4", "load_height=64", "crop=[64,64]", "sample_every=8"]
    folders = ["--adverse", str(inputs / "night"), "--normal", str(inputs / "day"), "--out", "OUT"]
    return ["train-cyclegan", *folders, "--preset", "tiny", *TRAIN, *(f"--set={s}" for s in small)]


def _stylegan2(inputs: Path) -> list[str]:
    small = ["size=32", "channel_max=8", "channel_multiplier=0.02", "z_dim=8", "mapping_layers=2", "distance_images=0"]
    return [
        "train-stylegan2", "--data", str(inputs / "faces"), "--out", "OUT", "--preset", "faces64", *TRAIN,
        *(f"--set={s}" for s in small), "--set=sample_every=8",
    ]  # fmt: skip


def _smos(inputs: Path) -> list[str]:
    small = ["size=32", "steps=4", "evaluate_every=2", "batch=2", "accumulate=1", "device=cpu", "checkpoint_every=4"]
    return [
        "train-smos", "--data", str(inputs / "domains"), "--out", "OUT", "--preset", "cpu", "--seeds", "0",
        "--target", "ink,art", "--algorithm", "erm", *(f"--set={s}" for s in small),
    ]  # fmt: skip


def _adapt(inputs: Path) -> list[str]:
    small = ["images=24", "batch=4", "device=cpu", "checkpoint_every=8", "log_every=8", "sample_every=8"]
    return [
        "adapt", "--source", str(inputs / "models" / "faces"), "--domain", f"red={inputs / 'red'}", "--out", "OUT",
        "--encoder", "squeezenet@64", "--full", *(f"--set={s}" for s in small), "--set=structure_weight=0",
    ]  # fmt: skip


def _translate(inputs: Path) -> list[str]:
    return ["translate", str(inputs / "night"), "OUT", "--model", str(inputs / "models" / "cut")]


def _translate_compared(inputs: Path) -> list[str]:
    return [*_translate(inputs), "--compare"]


def _translate_clip(inputs: Path) -> list[str]:
    return ["translate", str(inputs / "clip.mp4"), "OUT", "--model", str(inputs / "models" / "cut")]


def _render_smd(inputs: Path) -> list[str]:
    size = ["--per-class", "6", "--size", "32", "--workers", "1", "--styles", "8bit", "--scenes", "desert", "snow"]
    return ["render-smd", "OUT", *size]


def _render_street(inputs: Path) -> list[str]:
    return ["render-street", "OUT", "--frames", "4", "--size", "64x36", "--samples", "1", "--workers", "1"]


def _render_clip(inputs: Path) -> list[str]:
    size = ["--size", "64x36", "--samples", "1", "--workers", "1", "--no-depth"]
    return ["render-street", "OUT", "--clip", "--frames", "6", *size]


def _simulate(inputs: Path) -> list[str]:
    return ["simulate-weather", str(inputs / "day"), "OUT", "--rows", "64", "--workers", "1", "--rounds", "1"]


def _generate(inputs: Path) -> list[str]:
    return [
        "generate",
        "--model",
        str(inputs / "models" / "faces"),
        "--out",
        "OUT",
        "--seeds",
        "0-11",
        "--device",
        "cpu",
    ]


def _shift(inputs: Path) -> list[str]:
    return ["measure-shift", str(inputs / "domains"), "--out", "OUT", "--resamples", "20"]


CASES = {
    case.name: case
    for case in (
        Case("translate", _translate, (r"^\d+\.png$",)),
        # Files that have others beside them count as finished when that is recorded, which is a few files later.
        Case("translate-compared", _translate_compared),
        Case("translate-clip", _translate_clip, (r"\.mp4$",)),
        Case("train-augan", _augan, room=100_000),
        Case("train-cyclegan", _cyclegan, room=100_000),
        Case("train-stylegan2", _stylegan2, room=100_000),
        Case("train-smos", _smos, (r"^erm/.*/results\.json$",), room=10_000_000),
        Case("adapt", _adapt),
        Case("render-smd", _render_smd, (r"\.jpg$",)),
        Case("render-street", _render_street, ("^labels/",)),
        Case("render-street-clip", _render_clip, (r"\.mp4$",)),
        Case("simulate-weather", _simulate, ("^day/",)),
        Case("generate", _generate),
        Case("measure-shift", _shift, ignored=r"\.png$"),
    )
}
