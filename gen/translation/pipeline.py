"""The base of translation pipelines: pictures of any size and kind in, translations and uncertainty maps out.

A method gives its networks and `run_network`; sizes, padding, the return to native size, batches, precision, loading
and saving are done here.
"""

import math
import os
import threading
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.utils import BaseOutput
from numpy.typing import NDArray
from torch import Tensor, nn

from gen import weights
from gen.errors import BadSetting, NotFinite
from gen.formats.model_folders import INDEX, load_pipeline, part_names
from gen.loading import loading
from gen.media.resize import pad_to_multiple
from gen.training.model_folder import save_parts
from gen.translation.native_size import Resized
from gen.translation.norm import StatisticsSmoother
from gen.translation.pictures import Picture, PictureType, from_uint8, in_batches, to_frames
from gen.translation.protocol import Capabilities
from gen.translation.runtimes.graph import IMAGES, OUTPUTS, Network
from gen.translation.runtimes.parts import Part, Sized
from gen.translation.runtimes.runner import Runner
from gen.translation.settings import DIRECTIONS, Direction, MapName, Resolution, WhichMap
from gen.translation.weathers import check_weathers


@dataclass
class TranslationOutput(BaseOutput):
    """What a pipeline returns, one entry for each picture."""

    images: list[Any]
    """PIL images; uint8 arrays (H, W, 3) with output_type="np"; float tensors (3, H, W) in [0, 1] with "pt"."""
    uncertainty: list[NDArray[np.float32]] | None = None
    """Cycle uncertainty: Laplace scale b of the expected cycle error in grey levels, (H, W), at least 12.75; None if
    the model has no such map for this direction."""
    invented: list[NDArray[np.float32]] | None = None
    """Invention map: the share of each pixel that is made up, 0..1, (H, W); None if the model has none."""
    expected_error: list[NDArray[np.float32]] | None = None
    """Expected |translation - true day| in grey levels, (H, W); None where `invented` is."""


class Maps(NamedTuple):
    """Uncertainty maps (B, H, W) of a batch, as in `TranslationOutput`; None where there is none."""

    cycle: Tensor | None = None
    invented: Tensor | None = None
    expected_error: Tensor | None = None


NO_MAPS = Maps()


class TranslationPipeline(DiffusionPipeline):
    """Both directions of an unpaired translator, or one. Networks are called `adverse_to_normal`, `normal_to_adverse`.

    >>> pipe = load("augan-night2day")
    >>> out = pipe("night.jpg", direction="adverse_to_normal")
    >>> out.images[0].save("day.jpg")
    """

    _optional_components: ClassVar[list[str]] = list(DIRECTIONS)
    output_class: ClassVar[type[TranslationOutput]] = TranslationOutput

    @property
    def device(self) -> torch.device:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Where the networks are. diffusers' own looks through all modules each time: 5 ms a frame."""
        weight = self._first_weight()
        return super().device if weight is None else weight.device

    @property
    def dtype(self) -> torch.dtype:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The precision of the networks."""
        weight = self._first_weight()
        return super().dtype if weight is None else weight.dtype

    def _first_weight(self) -> Tensor | None:
        networks = (getattr(self, name, None) for name in DIRECTIONS)
        return next((w for network in networks if isinstance(network, nn.Module) for w in network.parameters()), None)

    def set_up(
        self,
        trained_height: int,
        trained_width: int,
        auto_height: int | None = None,
        weathers: Sequence[str] | None = None,
        default_map: str | None = None,
        **modules: nn.Module | None,
    ) -> None:
        """Register the networks and what the model says of itself; a subclass's `__init__` calls it.

        `trained_height`, `trained_width`: size in pixels of the frames that the networks were trained on.
        `auto_height`: rows that resolution="auto" runs at; None: `trained_height`. `weathers`: what the adverse frames
        showed, for example ["night", "rainy night"]; the other side is a clear day. Empty: unknown. `default_map`: the
        uncertainty map that is shown if none is asked for; None for methods without maps.
        """
        self.register_modules(**modules)
        self.register_to_config(trained_height=trained_height, trained_width=trained_width, auto_height=auto_height)
        for name, size in (("trained_height", trained_height), ("trained_width", trained_width)):
            if size < 1:
                raise BadSetting(f"{name} must be at least 1 pixel, not {size}.")
        if auto_height is not None and auto_height < 1:
            raise BadSetting(f"auto_height must be at least 1 pixel, not {auto_height}.")
        self.register_to_config(weathers=check_weathers(weathers or ()))
        if default_map is not None:
            self.register_to_config(default_map=default_map)
        self.lock = threading.Lock()  # a clip's smoother hangs on the network while a batch runs
        self.runners: dict[Direction, Runner] = {}
        """What runs the network of a direction in place of torch; see `gen.translation.runtimes.choice`."""

    def __getstate__(self) -> dict[str, Any]:
        """Without the lock and the runners, which can be neither copied nor pickled."""
        return {name: value for name, value in self.__dict__.items() if name not in ("lock", "runners")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, lock=threading.Lock(), runners={})

    def save_pretrained(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, save_directory: str | os.PathLike[str], **kwargs: Any
    ) -> None:
        """Write a model folder. The card and the records of other weights that it held are removed."""
        parts = {name for name in part_names(type(self)) if getattr(self, name, None) is not None}
        save_parts(
            Path(save_directory),
            parts,
            lambda folder: super(TranslationPipeline, self).save_pretrained(folder, **kwargs),
            INDEX,
            kwargs.get("variant"),
        )

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """As in diffusers; on CUDA, convolutions are then in channels-last layout, which is faster there."""
        moved = super().to(*args, **kwargs)
        moved.runners.clear()  # they hold the weights as they were
        if moved.device.type == "cuda":
            for network in moved.components.values():
                if isinstance(network, nn.Module):
                    nn.Module.to(network, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        return moved

    @abstractmethod
    def run_network(
        self, small: Tensor, direction: Direction, tile: int | None, native: tuple[int, int], invention: bool
    ) -> tuple[Tensor, Maps]:
        """Translate `small` (B, 3, h, w) in [-1, 1], any size, at that size.

        Returns the translation (B, 3, h, w), float32 on the device of `small`, and maps at `native` size, float32.
        `invention=False`: the invention map is not needed. The caller holds the lock, and has attached the smoother.
        """

    def network(self, direction: Direction) -> Network | None:
        """The network of a direction as other runtimes run it; None if the method has no such form."""
        return None

    def outputs(self, direction: Direction, images: Tensor) -> tuple[Tensor, ...]:
        """What `network` makes of images that it can take, in torch or in the runtime that is in use."""
        network = self.runners.get(direction) or self.network(direction)
        assert network is not None
        return network(images)

    def parts(self) -> dict[str, Part]:
        """What `gen export` writes a file of each for, by name: the networks that have a form for other programs."""
        found: dict[str, Part] = {}
        for direction in DIRECTIONS:
            if getattr(self, direction, None) is not None and (network := self.network(direction)):
                found[direction] = Part(Sized(self.generator(direction), network, self.padded), (IMAGES,), OUTPUTS)
        return found

    def has_map(self, direction: Direction, name: MapName) -> bool:
        """Whether translations in this direction come with this uncertainty map."""
        return False

    @property
    def multiple(self) -> int:
        """The networks need sides that are multiples of this."""
        return 1

    @property
    def capabilities(self) -> Capabilities:
        """What the model can do."""
        maps: dict[Direction, tuple[MapName, ...]] = {
            d: self._map_order(d) for d in DIRECTIONS if getattr(self, d, None) is not None
        }
        config = self.config
        return Capabilities(
            maps=maps,
            multiple=self.multiple,
            trained_size=(int(config["trained_height"]), int(config["trained_width"])),
            auto_height=int(config["auto_height"] or config["trained_height"]),
            weathers=tuple(config["weathers"]),
        )

    @classmethod
    @loading
    def from_pretrained(  # pyright: ignore[reportIncompatibleMethodOverride]  # diffusers types it in a stub of its own
        cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any
    ) -> Self:
        """Load by name ("augan-night2day"), folder, or hub id; see `gen.formats.model_folders.load_pipeline`.

        `variant="fp16"` (in that precision, unless `dtype` is another) and parts to replace as in diffusers. Raises
        `BadInput`.
        """
        hub = {name: kwargs.pop(name) for name in weights.HUB_OPTIONS & kwargs.keys()}
        return load_pipeline(cls, weights.fetch(pretrained_model_name_or_path, **hub), **kwargs)

    @torch.no_grad()
    def __call__(
        self,
        images: Picture | Sequence[Picture],
        direction: Direction = "adverse_to_normal",
        resolution: Resolution = "auto",
        batch_size: int = 1,
        tile: int | None = None,
        output_type: PictureType = "pil",
    ) -> TranslationOutput:
        """Translate one picture or many, each of any size.

        `images`: paths, PIL images, arrays (H, W, 3) or (H, W), tensors (3, H, W) or (B, 3, H, W); uint8 in 0..255 or
        float in [0, 1]. `resolution`: (H, W) that the network runs at; "auto", the height that suits the weights; None,
        each picture's own. Below native size, the colour change is carried to native size along the picture's edges.
        `batch_size`: pictures of equal size done at once. `tile`: rows per strip, for pictures that do not fit into
        memory; the result is the same, and slower.
        """
        frames = to_frames(images)
        pictures: list[Any] = []
        batches: list[Maps] = []
        for batch in in_batches(frames, batch_size):
            translated, maps = self.translate_with_maps(batch, direction, resolution=resolution, tile=tile)
            pictures += [from_uint8(frame, output_type) for frame in translated]
            batches.append(maps)
        cycle, invented, error = (
            [one for maps in kind if maps is not None for one in maps.cpu().numpy()] or None
            for kind in (zip(*batches, strict=True) if batches else ((), (), ()))
        )
        return self.output_class(images=pictures, uncertainty=cycle, invented=invented, expected_error=error)

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
        """uint8 (B, H, W, 3) -> uint8 of the same shape on the CPU, and one map (B, H, W) where it was computed.

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
        self.generator(direction)
        if tile is not None and tile < 1:
            raise BadSetting(f"tile must be at least 1, not {tile}; try 256.")
        native = (frames.shape[1], frames.shape[2])
        size = self.network_size(native, resolution)
        device = self.device
        if device.type == "cuda":  # uint8 crosses the bus, from memory that the GPU can read by itself
            frames = frames.pin_memory()
        resized = Resized(frames.to(device, non_blocking=True), size)
        # Under the lock throughout: another thread's frames must not pass through this clip's statistics.
        with self.lock, self._smoothed(direction, tile, smoother):
            translated, maps = self.run_network(resized.small, direction, tile, native, invention)
        _check_finite(translated, *maps)
        return resized.back(translated), maps

    def _smoothed(
        self, direction: Direction, tile: int | None, smoother: StatisticsSmoother | None
    ) -> AbstractContextManager[None]:
        """Within the block, what runs the network takes its statistics through the smoother."""
        if smoother is None:
            return nullcontext()
        runner = self.runners.get(direction) if tile is None else None
        return runner.smoothed(smoother) if runner else smoother.attached(self.generator(direction))

    def shown_map(self, direction: Direction, which: WhichMap = "auto") -> MapName | None:
        """Which map a translation in this direction comes with; None if it has none.

        "auto": the model's `default_map`, or the one that it has. Raises `BadSetting` if the invention map is asked for
        and the model has none.
        """
        self.generator(direction)
        order = self._map_order(direction)
        if which == "invention" and which not in order:
            raise BadSetting(
                f"which_map: this model has no invention map for {direction}; gen train-invention makes one for "
                f"adverse_to_normal."
            )
        if which != "auto":
            return which if which in order else None
        return next(iter(order), None)

    def _map_order(self, direction: Direction) -> tuple[MapName, ...]:
        order: tuple[MapName, ...] = ("cycle", "invention")
        if self.config.get("default_map") == "invention":
            order = ("invention", "cycle")
        return tuple(name for name in order if self.has_map(direction, name))

    def generator(self, direction: Direction) -> Any:
        """The network of a direction. Raises `BadSetting` if the model has none."""
        networks = {d: getattr(self, d, None) for d in DIRECTIONS}
        found = networks.get(direction)
        if found is None:
            have = " and ".join(d for d, network in networks.items() if network is not None) or "nothing"
            raise BadSetting(f"direction: this model does not translate {direction}; it translates {have}.")
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
            raise BadSetting(f"resolution must be at least 1x1 pixels, not {width} wide and {height} high.")
        return height, width

    def padded(self, small: Tensor) -> Tensor:
        """`small` with sides that the networks can take, filled at the bottom and right."""
        return pad_to_multiple(small, self.multiple)


def _check_finite(*results: Tensor | None) -> None:
    """Raises `NotFinite` for NaN and infinite numbers, which would become black pixels."""
    # A sum is not finite if one term is not; it needs one pass and no memory, unlike isfinite().
    sums = [x.sum() for x in results if x is not None]
    if not math.isfinite(sum(sums)):  # the host waits once
        raise NotFinite(
            "the network's result holds NaN or infinite numbers, so there is no picture; try precision fp32, and if "
            "that does not help, other weights."
        )
