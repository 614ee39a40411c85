"""The sizes that the network may run at, as the page offers them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from gen.errors import BadSetting
from gen.media.video import ClipReader
from gen.web.translation import PIXELS_AT_ONCE, rows_of, size_setting, translators

SIZES = ("fast", "720p", "native")
FOLDER_SIZES = ("fast", "native")
"""Those that mean the same for pictures of every size."""
WHOLE_FRAME_PIXELS = 4_000_000
"""A larger image passes through the network in strips on a CPU, because memory grows with the size of the frame."""
BYTES_PER_PIXEL = 2048
"""Memory that a network takes for each pixel of a whole frame: several maps of 64 channels in 32 bits."""
STRIP_ROWS = 256

INFO = "The numbers of the model hold for the first size. Larger ones are slower, and often leave patches as they were."


def size_choices(model: str | None, sizes: Sequence[str] = SIZES) -> list[tuple[str, str]]:
    """Labels and values of these sizes for a model."""
    rows = rows_of(model) if model in translators() else None
    first = f"{rows} rows, as trained" if rows else "As trained"
    labels = {"fast": first, "720p": "720 rows, not measured", "native": "Full size, not measured"}
    return [(labels[size], size) for size in sizes]


def network_size(name: str, height: int, width: int) -> tuple[int, int] | Literal["auto"] | None:
    """The pipeline's `resolution` for "fast", "720p" or "native". Raises `BadSetting` for other names."""
    if name not in SIZES:
        raise BadSetting(f"resolution must be fast, 720p or native, not {name!r}.")
    if name == "720p" and height > 720:
        return 720, round(width * 720 / height)
    return "auto" if name == "fast" else None


def strip_rows(size: object, height: int, width: int, device: str = "cpu") -> int | None:
    """Rows of a strip for a picture that the network runs at `size`; None: the whole picture at once."""
    return STRIP_ROWS if size is None and height * width > whole_frame_pixels(device) else None


def whole_frame_pixels(device: str) -> int:
    """The largest picture that passes through a network whole; on a GPU, as its free memory is now."""
    if not device.startswith("cuda"):
        return WHOLE_FRAME_PIXELS
    import torch

    return min(PIXELS_AT_ONCE, torch.cuda.mem_get_info(device)[0] // BYTES_PER_PIXEL)


def clip_size(name: str, clip: Path, device: str = "cpu") -> dict[str, Any]:
    """The settings of `gen translate` for "fast", "720p" or "native" and this clip."""
    with ClipReader(clip) as reader:
        height, width = reader.height, reader.width
    size = network_size(name, height, width)
    if isinstance(size, tuple):
        return {"resolution": size_setting(*size)}
    tile = strip_rows(size, height, width, device)
    return {"resolution": size or "native", **({"tile": tile} if tile else {})}


def folder_size(name: str) -> str:
    """The setting of `gen translate` for one of `FOLDER_SIZES`, whatever size each picture has."""
    if name not in FOLDER_SIZES:
        raise BadSetting(f"resolution must be fast or native, not {name!r}.")
    return {"fast": "auto"}.get(name, name)
