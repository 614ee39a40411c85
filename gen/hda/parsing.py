"""Strengths and adaptations as text, the way people type them. Free of torch."""

import math
import os
from pathlib import Path

from gen import weights
from gen.errors import BadInput, BadSetting, short

ADAPTATION_FILE = "adaptation.safetensors"
"""What `gen adapt` writes, and a folder of weights/ holds that is an adaptation."""


def parse_strengths(text: str) -> list[float]:
    """`0,0.5,1` -> [0.0, 0.5, 1.0]. Raises `BadSetting`."""
    try:
        return [_finite(part) for part in text.split(",")]
    except ValueError as error:
        raise BadSetting(f"strengths {short(text)}: expected numbers, for example 0,0.5,1.") from error


def _finite(text: str) -> float:
    """The number in a text. Raises `ValueError` for none, and for NaN and infinity."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def adaptation_file(name_or_path: str) -> Path:
    """The file of an adaptation in weights/ or in a run directory, if this names one; otherwise the path as it is."""
    if name_or_path in weights.available(ADAPTATION_FILE):
        return Path(weights.resolve(name_or_path, ADAPTATION_FILE)) / ADAPTATION_FILE
    inside = Path(name_or_path) / ADAPTATION_FILE
    return inside if os.path.isfile(inside) else Path(name_or_path)  # Path.is_file raises for an overlong name


def parse_adaptation(text: str) -> tuple[Path, float]:
    """`FILE[:strength]` or `NAME[:strength]` -> the file and its strength, by default 1. Raises `BadInput`."""
    file, colon, strength = text.rpartition(":")
    if not colon or os.path.exists(text):  # a file name may contain a colon
        return adaptation_file(text), 1.0
    try:
        return adaptation_file(file), _finite(strength)
    except ValueError as error:
        raise BadInput(
            f"{short(text)}: no such file, and no valid strength after the colon; write, for example, FILE:0.5."
        ) from error
