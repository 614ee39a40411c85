"""Per-pixel uncertainty maps as pictures and files: plasma colours, tinted frames, 16-bit PNGs."""

from contextlib import ExitStack
from functools import cache
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from gen.media.files import writing
from gen.media.images import Pixels
from gen.translation.settings import MapName


class MapScale(NamedTuple):
    """How a kind of map is shown and stored. The scale is fixed, so that maps of different pictures compare."""

    floor: float
    """Value up to which an overlay leaves the picture untouched."""
    full: float
    """Value at the bright end of the colours."""
    raw_units: int
    """Units of the 16-bit PNG per 1.0."""


GREY_LEVELS_SCALE = MapScale(floor=12.75, full=127.5, raw_units=256)
"""Cycle uncertainty b, in grey levels: from its lower bound to half of the range."""

SHARE_SCALE = MapScale(floor=0.0, full=1.0, raw_units=65535)
"""Share invented, 0..1."""

SCALES: dict[MapName | None, MapScale] = {
    "cycle": GREY_LEVELS_SCALE,
    "invention": SHARE_SCALE,
    None: GREY_LEVELS_SCALE,
}
"""The scale that each kind of map is shown and stored on."""

COUNTED_AS: dict[MapName | None, str] = {"cycle": "uncertainty", "invention": "invented", None: "uncertainty"}
"""What the report calls the mean and the 95th percentile of each kind of map."""


@cache
def _plasma() -> Pixels:
    from matplotlib import colormaps

    return (colormaps["plasma"](np.linspace(0, 1, 256))[:, :3] * 255).round().astype(np.uint8)


def colour_uncertainty(values: NDArray[np.float32], on: MapScale = GREY_LEVELS_SCALE) -> Pixels:
    """A map (H, W) -> plasma colours (H, W, 3) from 0 to the full end of its scale."""
    return _plasma()[np.clip(values * (255 / on.full), 0, 255).astype(np.uint8)]


def overlay_uncertainty(
    rgb: Pixels, values: NDArray[np.float32], on: MapScale = GREY_LEVELS_SCALE, opacity: float = 0.8
) -> Pixels:
    """The picture (H, W, 3) tinted where it is uncertain: untouched at the floor, `opacity` of colour at the top."""
    weight = np.clip((values - on.floor) / (on.full - on.floor), 0, 1)[..., None] ** 0.5 * opacity
    return (rgb * (1 - weight) + colour_uncertainty(values, on) * weight).round().astype(np.uint8)


def percentile(values: Tensor, q: float) -> float:
    """The value of a map that `q` per cent of its pixels do not exceed, found where the map is."""
    rank = int(q / 100 * (values.numel() - 1))
    if values.device.type == "cpu":  # numpy's partition is several times as fast as torch's
        return float(np.partition(values.numpy(), rank, axis=None)[rank])
    return float(values.flatten().kthvalue(rank + 1).values)


def encode_uncertainty_raw(path: Path, values: NDArray[np.float32], on: MapScale = GREY_LEVELS_SCALE) -> None:
    """A map (H, W) as a 16-bit grey PNG in the units of its scale, whole or not at all."""
    with writing(path) as partial:
        partial.write_bytes(_raw_png(values, on))


def decode_uncertainty_raw(file: Path | BinaryIO, on: MapScale = GREY_LEVELS_SCALE) -> NDArray[np.float32]:
    """The inverse of `encode_uncertainty_raw`."""
    with Image.open(file) as image:
        return np.asarray(image).astype(np.float32) / np.float32(on.raw_units)


def _raw_png(values: NDArray[np.float32], on: MapScale) -> bytes:
    units = np.clip(np.round(values * on.raw_units), 0, 65535).astype(np.uint16)
    buffer = BytesIO()
    Image.fromarray(units).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


class RawMaps:
    """The 16-bit maps of a clip, 000000.png and so on, in one zip file: whole, or not there."""

    def __init__(self, path: Path, on: MapScale = GREY_LEVELS_SCALE) -> None:
        self._stack = ExitStack()
        self.path, self.on, self.count = path, on, 0

    def __enter__(self) -> Self:
        partial = self._stack.enter_context(writing(self.path))
        self.archive = self._stack.enter_context(ZipFile(partial, "w"))  # PNGs are compressed already
        return self

    def write(self, values: NDArray[np.float32]) -> None:
        """Append the map of the next frame, (H, W)."""
        self._add(_raw_png(values, self.on))

    def append(self, other: Path) -> None:
        """Append the maps of another such file."""
        with ZipFile(other) as archive:
            for name in archive.namelist():
                self._add(archive.read(name))

    def _add(self, png: bytes) -> None:
        self.archive.writestr(f"{self.count:06d}.png", png)
        self.count += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)
