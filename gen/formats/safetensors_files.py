"""Read safetensors that other people made. The header is checked before anything of its size is allocated."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from gen.errors import BadInput, short
from gen.formats.json_files import parse_json

LARGEST_HEADER = 4_000_000
"""Bytes; a thousand tensors take 100,000."""

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


@dataclass(frozen=True)
class Header:
    """What a file says of its tensors."""

    shapes: dict[str, tuple[int, ...]]
    metadata: dict[str, str]


def read_header(path: Path) -> Header:
    """The header of a file, checked against the file's size. Raises `BadInput`."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2) - 8
            file.seek(0)
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(size, LARGEST_HEADER):
                raise _refused(path, "its header has an impossible length, or the file is cut off")
            text = file.read(length)
    except FileNotFoundError as error:
        raise BadInput(f"{path}: no such file.") from error
    except OSError as error:
        raise BadInput(f"{path}: this file cannot be read ({error.strerror or error}).") from error
    if not text.startswith(b"{"):
        raise _refused(path, "it does not begin with a header")
    entries = parse_json(text, f"{path}: header")
    metadata = entries.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _refused(path, "its metadata are no texts")
    return Header(_shapes(path, entries, size - length), metadata)


def _shapes(path: Path, entries: dict[str, Any], size: int) -> dict[str, tuple[int, ...]]:
    """The tensors' shapes. Raises `BadInput` unless they lie one behind another and fill the file."""
    end, shapes = 0, dict[str, tuple[int, ...]]()
    for name, entry in sorted(entries.items(), key=lambda item: _offsets(path, *item)):
        begin, after = _offsets(path, name, entry)
        dtype, shape = entry.get("dtype"), entry.get("shape")
        if not isinstance(dtype, str) or dtype not in DTYPES:
            raise _refused(path, f"{short(name)} has the unknown type {str(dtype)[:20]}")
        if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape) or len(shape) > 8:
            raise _refused(path, f"{short(name)} has an impossible shape")
        if begin != end or after - begin != math.prod(shape) * DTYPES[dtype].itemsize:
            raise _refused(path, f"{short(name)} does not lie where its shape says")
        end, shapes[name] = after, tuple(shape)
    if end != size:
        raise _refused(path, f"its tensors take {end} bytes, but {size} follow the header; it may be cut off")
    return shapes


def _offsets(path: Path, name: str, entry: Any) -> tuple[int, int]:
    offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(type(n) is int and n >= 0 for n in offsets):
        raise _refused(path, f"{short(name)} has no place in the file")
    return offsets[0], offsets[1]


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a file, on the CPU, and its metadata. Raises `BadInput` for NaN and infinite numbers too.

    Read, not mapped: a mapped file that another process cuts off ends this one.
    """
    header = read_header(path)
    try:
        tensors = safetensors.torch.load(path.read_bytes())
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise _refused(path, str(error).splitlines()[0]) from error
    for name, tensor in tensors.items():
        check_finite(path, name, tensor)
    return tensors, header.metadata


def check_finite(path: Path, name: str, tensor: Tensor) -> None:
    """Raises `BadInput` for a tensor with NaN or infinite numbers, whose pictures would be black."""
    # NumPy has no bfloat16. It is used for the rest because torch wakes all its threads for each small tensor.
    finite = tensor.isfinite().all() if tensor.dtype == torch.bfloat16 else np.isfinite(tensor.numpy()).all()
    if not finite:
        raise BadInput(f"{path}: {short(name)} holds NaN or infinite numbers, as after a training that diverged.")


def _refused(path: Path, reason: str) -> BadInput:
    return BadInput(f"{path}: this file is damaged, or no safetensors ({short(reason, 200)}).")
