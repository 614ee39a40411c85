"""Translate frames with trained AU-GAN weights: any size, one or many, with maps of what not to believe."""

import os
import re
import threading
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.utils import BaseOutput
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from gen import weights
from gen.augan.invention import InventionMap
from gen.augan.losses import laplace_scale
from gen.augan.networks import AUGANGenerator, Translation
from gen.augan.norm import StatisticsSmoother
from gen.augan.tiling import translate_in_strips
from gen.augan.weathers import Direction, check_weathers
from gen.errors import BadInput, BadSetting
from gen.media.images import GREY_LEVELS_SCALE, SHARE_SCALE, MapScale, decode_still, from_pil
from gen.media.resize import pad_to_multiple, resize, to_float, to_uint8, transfer_change

Resolution = tuple[int, int] | Literal["auto"] | None
Picture = Image.Image | NDArray[Any] | Tensor | str | os.PathLike[str]


MapName = Literal["cycle", "invention"]
WhichMap = Literal["auto", "cycle", "invention"]
SCALES: dict[MapName | None, MapScale] = {
    "cycle": GREY_LEVELS_SCALE,
    "invention": SHARE_SCALE,
    None: GREY_LEVELS_SCALE,
}
"""What each map is shown and stored on."""


@dataclass
class AUGANOutput(BaseOutput):
    """What the pipeline returns, one entry for each picture given."""

    images: list[Any]
    """PIL images; uint8 arrays (H, W, 3) with output_type="np"; float tensors (3, H, W) in [0, 1] with "pt"."""
    uncertainty: list[NDArray[np.float32]] | None
    """Cycle uncertainty: Laplace scale b of the expected cycle error in grey levels, (H, W), at least 12.75; None
    where the direction has no uncertainty head (normal -> adverse, and models trained without it)."""
    invented: list[NDArray[np.float32]] | None = None
    """Invention map: the share that is made up, 0..1, (H, W); None for normal -> adverse and for models without."""
    expected_error: list[NDArray[np.float32]] | None = None
    """Expected |translation - true day| in grey levels, (H, W); None where `invented` is."""


class Maps(NamedTuple):
    """What a translation says of itself: maps (B, H, W) on the CPU, as in `AUGANOutput`; None where there is none."""

    cycle: Tensor | None
    invented: Tensor | None = None
    expected_error: Tensor | None = None


class AUGANPipeline(DiffusionPipeline):
    """Both directions of an AU-GAN.

    >>> pipe = AUGANPipeline.from_pretrained("augan-night2day")
    >>> out = pipe("night.jpg", direction="adverse_to_normal")
    >>> out.images[0].save("day.jpg")
    """

    _optional_components = ["adverse_to_normal", "normal_to_adverse", "invention"]  # noqa: RUF012  # diffusers reads a list
    adverse_to_normal: AUGANGenerator | None
    normal_to_adverse: AUGANGenerator | None
    invention: InventionMap | None

    def __init__(
        self,
        adverse_to_normal: AUGANGenerator | None,
        normal_to_adverse: AUGANGenerator | None,
        trained_height: int = 288,
        trained_width: int = 512,
        auto_height: int | None = None,
        weathers: list[str] | None = None,
        invention: InventionMap | None = None,
        default_map: str = "cycle",
    ) -> None:
        """`trained_height`, `trained_width`: size in pixels of the frames that the weights were trained on.

        `auto_height`: rows that resolution="auto" runs at; None: `trained_height`. `weathers`: what the adverse frames
        showed, for example ["night", "rainy night"]; the other side is a clear day. Empty: nobody said. `invention`:
        what a translation to normal is expected to make up. `default_map`: which map is shown where none is asked for.
        """
        super().__init__()
        self.register_modules(
            adverse_to_normal=adverse_to_normal, normal_to_adverse=normal_to_adverse, invention=invention
        )
        self.register_to_config(trained_height=trained_height, trained_width=trained_width, auto_height=auto_height)
        self.register_to_config(weathers=check_weathers(weathers or ()))
        self.register_to_config(default_map=default_map)
        self.turn = threading.Lock()  # a clip's smoother hangs on the generator while a batch runs

    @classmethod
    def from_pretrained(  # pyright: ignore[reportIncompatibleMethodOverride]  # diffusers types it in a stub of its own
        cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any
    ) -> Self:
        """Load by name ("augan-night2day"), folder, or hub id; `variant="fp16"`, `dtype` as in diffusers."""
        folder = weights.resolve(pretrained_model_name_or_path)
        try:
            return super().from_pretrained(folder, **{"use_safetensors": True, **kwargs})
        except (OSError, ValueError) as error:
            raise BadInput(f"{folder}: the model cannot be loaded ({str(error).splitlines()[0]}).") from error

    @torch.no_grad()
    def __call__(
        self,
        images: Picture | Sequence[Picture],
        direction: Direction = "adverse_to_normal",
        resolution: Resolution = "auto",
        batch_size: int = 1,
        tile: int | None = None,
        output_type: Literal["pil", "np", "pt"] = "pil",
    ) -> AUGANOutput:
        """Translate one picture or many, each of any size.

        `images`: paths, PIL images, arrays (H, W, 3) or (H, W), tensors (3, H, W) or (B, 3, H, W); uint8 in 0..255 or
        float in [0, 1]. `resolution`: (H, W) that the network runs at; "auto", the height that suits the weights; None,
        each picture's own. Below native size, the colour change is carried to native size along the picture's edges.
        `batch_size`: pictures of equal size done at once. `tile`: rows at a time, for pictures that memory cannot
        hold; equal to the whole picture, and slower.
        """
        frames = to_frames(images)
        pictures: list[Any] = []
        batches: list[Maps] = []
        for batch in _equal_sizes(frames, batch_size):
            translated, maps = self.translate_with_maps(batch, direction, resolution=resolution, tile=tile)
            pictures += [_from_uint8(frame, output_type) for frame in translated]
            batches.append(maps)
        cycle, invented, error = (
            [one for maps in kind if maps is not None for one in maps.numpy()] or None
            for kind in (zip(*batches, strict=True) if batches else ((), (), ()))
        )
        return AUGANOutput(images=pictures, uncertainty=cycle, invented=invented, expected_error=error)

    def translate_frames(
        self,
        frames: Tensor,
        direction: Direction,
        *,
        resolution: Resolution = "auto",
        tile: int | None = None,
        smoother: StatisticsSmoother | None = None,
        which_map: WhichMap = "cycle",
    ) -> tuple[Tensor, Tensor | None]:
        """uint8 (B, H, W, 3) -> uint8 of the same shape, and one map (B, H, W), both on the CPU.

        `smoother`, one a clip, averages the InstanceNorm statistics over frames, which must come in order.
        `which_map`: "cycle", b in grey levels; "invention", the share made up, 0..1; "auto", see `shown_map`.
        """
        kind = self.shown_map(direction, which_map)
        translated, maps = self.translate_with_maps(
            frames, direction, resolution=resolution, tile=tile, smoother=smoother, invention=kind == "invention"
        )
        return translated, maps.invented if kind == "invention" else maps.cycle

    @torch.no_grad()
    def translate_with_maps(
        self,
        frames: Tensor,
        direction: Direction,
        *,
        resolution: Resolution = "auto",
        tile: int | None = None,
        smoother: StatisticsSmoother | None = None,
        invention: bool = True,
    ) -> tuple[Tensor, Maps]:
        """As `translate_frames`, with every map that the model has; `invention=False` leaves that one out."""
        generator = self.generator(direction)
        # uint8 crosses the bus, and rows of RGB pixels are the channels-last layout already.
        native = to_float(frames.to(generator.device, non_blocking=True).permute(0, 3, 1, 2))
        native_size = (native.shape[2], native.shape[3])
        size = self.network_size(native_size, resolution)
        small = resize(native, size)
        with self.turn, smoother.attached(generator) if smoother is not None else nullcontext():
            out = self._run(generator, pad_to_multiple(small, generator.multiple), tile)
        translated = out.image[..., : size[0], : size[1]].to(native.device).float()
        cycle = None
        if out.log_scale is not None:
            scale = laplace_scale(out.log_scale[..., : size[0], : size[1]])
            cycle = resize(scale, native_size)[:, 0].cpu()
        maps = Maps(cycle)
        if invention and self.invention is not None and direction == "adverse_to_normal":
            maps = Maps(cycle, *_expectation(self.invention, small, translated, native_size))
        if size != native_size:
            translated = transfer_change(native, small, translated)
        return to_uint8(translated).permute(0, 2, 3, 1).contiguous().cpu(), maps

    def shown_map(self, direction: Direction, which: WhichMap = "auto") -> MapName | None:
        """Which map a translation in this direction comes with; None where it has none.

        "auto": the model's `default_map`, or the one that it has. Raises `BadSetting` where one is demanded that the
        model lacks.
        """
        has: dict[MapName, bool] = {
            "cycle": self.generator(direction).head is not None,
            "invention": self.invention is not None and direction == "adverse_to_normal",
        }
        if which == "invention" and not has[which]:
            raise BadSetting(
                f"which_map: this model has no invention map for {direction}; gen train-invention makes one for "
                f"adverse_to_normal."
            )
        if which != "auto":
            return which if has[which] else None
        order: tuple[MapName, ...] = (
            ("invention", "cycle") if self.config["default_map"] == "invention" else ("cycle", "invention")
        )
        return next((name for name in order if has[name]), None)

    def _run(self, generator: AUGANGenerator, images: Tensor, tile: int | None) -> Translation:
        if tile is not None:
            if tile < 1:
                raise BadSetting(f"tile: {tile} rows at a time make no picture; 256 is a good start.")
            return translate_in_strips(generator, images, tile)
        if images.device.type == "cpu":  # whose norms are many times as fast in the ordinary layout
            images = images.contiguous()
        return generator(images.to(generator.dtype))

    def generator(self, direction: Direction) -> AUGANGenerator:
        """The generator of a direction. Raises `BadSetting` where the model has none."""
        generators = {d: getattr(self, d, None) for d in ("adverse_to_normal", "normal_to_adverse")}
        found = generators.get(direction)
        if found is None:
            have = " and ".join(d for d, g in generators.items() if g is not None)
            raise BadSetting(f"direction: this model has no {direction!r}; it has {have}.")
        return found

    def network_size(self, native: tuple[int, int], resolution: Resolution) -> tuple[int, int]:
        """The (H, W) that the network runs at for a picture of `native` size; see `__call__`."""
        if resolution == "auto":
            height = min(native[0], int(self.config["auto_height"] or self.config["trained_height"]))
            return height, max(1, round(native[1] * height / native[0]))
        if resolution is None:
            return native
        height, width = resolution
        if height < 1 or width < 1:
            raise BadSetting(f"resolution: {height}x{width} is no size; give height and width in pixels, as 288x512.")
        return height, width


def _expectation(
    network: InventionMap, frame: Tensor, translation: Tensor, native: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Share made up and expected error (B, H, W) at `native` size, on the CPU.

    The network looks at no more rows than it was trained on: its windows are in pixels, and so is the noise.
    """
    height = min(frame.shape[2], int(network.config["height"]))
    size = (height, max(1, round(frame.shape[3] * height / frame.shape[2])))
    expected = network(resize(frame, size), resize(translation, size))
    return resize(expected.share, native)[:, 0].cpu(), resize(expected.error, native)[:, 0].cpu()


def parse_resolution(text: str) -> Resolution:
    """auto, native, or HEIGHTxWIDTH -> what the pipeline takes."""
    if text in ("auto", "native"):
        return "auto" if text == "auto" else None
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if not match or "0" in match.groups():
        raise BadSetting(f"resolution: {text!r} is not auto, native or HEIGHTxWIDTH, for example 288x512.")
    return int(match[1]), int(match[2])


def to_frames(images: Picture | Sequence[Picture]) -> list[Tensor]:
    """Whatever the pipeline takes -> uint8 tensors (H, W, 3). Raises `BadInput` for anything else."""
    if isinstance(images, Tensor | np.ndarray) and images.ndim == 4:
        images = list(images)
    if isinstance(images, Image.Image | Tensor | np.ndarray | str | os.PathLike):
        images = [images]
    return [_to_frame(image) for image in images]


def _to_frame(image: Picture) -> Tensor:
    if isinstance(image, str | os.PathLike):
        pixels = decode_still(Path(image)).rgb
    elif isinstance(image, Image.Image):
        pixels = from_pil(image).rgb
    elif isinstance(image, Tensor):
        image = image.detach().cpu() if image.dtype == torch.uint8 else image.detach().float().cpu()
        pixels = image.permute(1, 2, 0).numpy() if image.ndim == 3 else image.numpy()
    else:
        pixels = image
    if pixels.ndim == 2:
        pixels = pixels[..., None].repeat(3, axis=2)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise BadInput(f"images: a picture of shape {tuple(pixels.shape)}; arrays are (H, W, 3), tensors (3, H, W).")
    if np.issubdtype(pixels.dtype, np.floating):
        pixels = (np.clip(pixels, 0, 1) * 255).round()
    elif pixels.dtype != np.uint8:
        raise BadInput(f"images: values of type {pixels.dtype}; they must be uint8 in 0..255 or float in [0, 1].")
    return torch.from_numpy(np.array(pixels, dtype=np.uint8))  # a copy: PIL's memory is read-only


def _equal_sizes(frames: Sequence[Tensor], batch_size: int) -> list[Tensor]:
    """Batches of up to `batch_size` neighbours of equal size, in order."""
    batches: list[list[Tensor]] = []
    for frame in frames:
        if batches and len(batches[-1]) < batch_size and batches[-1][0].shape == frame.shape:
            batches[-1].append(frame)
        else:
            batches.append([frame])
    return [torch.stack(batch) for batch in batches]


def _from_uint8(frame: Tensor, output_type: Literal["pil", "np", "pt"]) -> Any:
    if output_type == "pt":
        return frame.permute(2, 0, 1).float() / 255
    return Image.fromarray(frame.numpy()) if output_type == "pil" else frame.numpy()
