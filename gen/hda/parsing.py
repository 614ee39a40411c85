"""Seeds, strengths and adaptations as text, the way people type them. Free of torch."""

from pathlib import Path

from gen.errors import BadInput, BadSetting


def parse_seeds(text: str) -> list[int]:
    """`0-3,8` -> [0, 1, 2, 3, 8]. Raises `BadSetting`."""
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not _is_number(first) or (dash and not _is_number(last)):
            raise BadSetting(f"seeds {text}: expected numbers and ranges, for example 0-15,20.")
        seeds += range(int(first), int(last or first) + 1)
    if not seeds:
        raise BadSetting(f"seeds {text}: the range is empty; give the smaller number first.")
    return seeds


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()  # isdigit alone accepts characters such as "²", which int() refuses


def parse_strengths(text: str) -> list[float]:
    """`0,0.5,1` -> [0.0, 0.5, 1.0]. Raises `BadSetting`."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise BadSetting(f"strengths {text}: expected numbers, for example 0,0.5,1.") from error


def parse_adaptation(text: str) -> tuple[Path, float]:
    """`FILE[:strength]` -> the file and its strength, by default 1. Raises `BadInput`."""
    file, colon, strength = text.rpartition(":")
    if not colon or Path(text).exists():  # a file name may contain a colon
        return Path(text), 1.0
    try:
        return Path(file), float(strength)
    except ValueError as error:
        raise BadInput(
            f"{text}: no such file, and no valid strength after the colon; write, for example, FILE:0.5."
        ) from error
