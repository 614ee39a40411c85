"""Strategies that damage valid files the way that accidents and attackers do."""

import io
import json
import struct
import zipfile
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

NUMBERS = [
    0, 1, 2, 3, 4, 7, 8, 16, 127, 128, 255, 256, 4096, 32767, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1,
    2**40, 2**63 - 1, 2**63, 2**64 - 1,
]  # fmt: skip
"""What lengths and counts are set to."""

WORDS = [
    "", " ", "a", "..", "/", "../x", "\n", "\0", "é", "\ud800", "x" * 300, "nan", "null", "None", "1e999", "-1",
    "0", "auto", "%s", "{}", "__class__", "os.system", "gen.cli", "sunglasses=x", "a:b", "C:\\x", "~", "*", "[",
    "&a", "!!",
]  # fmt: skip


def texts() -> Any:
    """Words of the program and of its enemies, and any text."""
    return st.one_of(st.sampled_from(WORDS), st.text(max_size=40))


def values() -> Any:
    """Any JSON value, NaN included."""
    leaves = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-4, 300),
        st.sampled_from(NUMBERS),
        st.integers(),
        st.floats(),
        texts(),
    )
    return st.recursive(
        leaves,
        lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(texts(), inner, max_size=5)),
        max_leaves=12,
    )


@st.composite
def damaged(draw: Any, seeds: Sequence[bytes], most: int = 6) -> bytes:
    """One of the seeds after up to `most` changes."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, most))):
        data = _changed(draw, bytearray(data), seeds)
    return data


def _changed(draw: Any, data: bytearray, seeds: Sequence[bytes]) -> bytes:
    """One change: of bits, bytes and fields; cut, repeated, joined with another seed."""
    if not data:
        return draw(st.binary(max_size=16))
    place = draw(st.integers(0, len(data) - 1))
    match draw(
        st.sampled_from(["bit", "byte", "field", "field", "cut", "remove", "repeat", "splice", "insert", "zero"])
    ):
        case "bit":
            data[place] ^= 1 << draw(st.integers(0, 7))
        case "byte":
            data[place] = draw(st.sampled_from([0, 1, 32, 46, 127, 128, 254, 255]))
        case "field":
            layout = draw(st.sampled_from(["<H", ">H", "<I", ">I", "<Q", ">Q"]))
            size = struct.calcsize(layout)
            number = draw(st.sampled_from([*NUMBERS, len(data), len(data) - 1, len(data) + 1, len(data) - place]))
            data[place : place + size] = struct.pack(layout, number % 256**size)
        case "cut":
            del data[place:]
        case "remove":
            del data[place : place + draw(st.integers(1, 64))]
        case "repeat":
            part = data[place : place + draw(st.integers(1, 256))]
            data[place:place] = part * draw(st.integers(1, 40))
        case "splice":
            other = draw(st.sampled_from(seeds))
            data[place:] = other[min(place, len(other)) :]
        case "insert":
            data[place:place] = draw(st.binary(max_size=16))
        case "zero":
            end = min(len(data), place + draw(st.integers(1, 64)))
            data[place:end] = bytes(end - place)
    return bytes(data)


@st.composite
def damaged_json(draw: Any, seeds: Sequence[dict[str, Any]]) -> bytes:
    """A JSON object with some values replaced, added or removed; at times as bytes that are damaged."""
    content = dict(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, 3))):
        name = draw(st.one_of(st.sampled_from(sorted(content) or ["x"]), texts()))
        if draw(st.booleans()):
            content[name] = draw(values())
        else:
            content.pop(name, None)
    text = json.dumps(content).encode()
    return draw(damaged([text], 3)) if draw(st.integers(0, 3)) == 0 else text


@st.composite
def damaged_zip(draw: Any, seeds: Sequence[bytes]) -> bytes:
    """A zip with one entry damaged and its checksum right, or damaged as a whole."""
    data = draw(st.sampled_from(seeds))
    if len(data) < 100 or draw(st.booleans()):  # a zip of nothing has no entry to damage
        return draw(damaged([data]))
    compression = draw(st.sampled_from([zipfile.ZIP_STORED] * 3 + [zipfile.ZIP_DEFLATED]))
    after = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(after, "w", compression) as new:
        chosen = draw(st.sampled_from(old.namelist()))
        for name in old.namelist():
            content = old.read(name)
            new.writestr(zipfile.ZipInfo(name), draw(damaged([content])) if name == chosen else content, compression)
    return after.getvalue()


OPCODES = [bytes([n]) for n in range(256)]
PIECES = [
    b"\x80\x02", b"\x80\x04", b"(", b")", b"]", b"}", b"\x8f", b"t", b"R", b"b", b"s", b"u", b"a", b"e", b"Q",
    b"2", b"0", b"1", b"N", b"K\x01", b"h\x00", b"q\x00", b"\x94", b"\x85", b"\x86", b"\x87", b"\x81", b"\x93",
    b"\x91", b"\x90", b"X\x01\x00\x00\x00a", b"\x8c\x01a", b"C\x01a", b"ccollections\nOrderedDict\n",
    b"cbuiltins\nset\n", b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch.storage\n_load_from_bytes\n",
    b"ctorch\nFloatStorage\n", b"cos\nsystem\n", b"X\x07\x00\x00\x00storage",
    b"ctorch_utils.persistence\n_reconstruct_persistent_obj\n", b"X\x05\x00\x00\x00g_ema",
    b"X\x05\x00\x00\x00G_ema", b"X\x05\x00\x00\x00state",
]  # fmt: skip
"""Parts of pickles that make sense."""


def programs() -> Any:
    """Pickles put together at random."""
    pieces = st.one_of(
        st.sampled_from(PIECES), st.sampled_from(PIECES), st.sampled_from(OPCODES), st.binary(max_size=9)
    )
    return st.lists(pieces, max_size=60).map(lambda parts: b"\x80\x04" + b"".join(parts) + b".")
