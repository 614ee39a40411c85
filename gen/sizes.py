"""Sizes as people type them."""

import re

from gen.errors import BadSetting, short


def parse_size(text: str, setting: str = "size", others: str = "") -> tuple[int, int]:
    """640x360 -> (640, 360), which is width and height.

    `others`: words that the setting may also be, with a comma after each. Raises `BadSetting`.
    """
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if not match:
        raise BadSetting(
            f"{setting} must be {others}WIDTHxHEIGHT in pixels, for example 640x360, not {short(repr(text))}."
        )
    return int(match[1]), int(match[2])
