"""Pickles that ask for more than they hold: refused in a sentence, in little time and memory."""

import io
import pickle
import struct
from collections import OrderedDict
from typing import Any

import pytest

from gen.formats.pickles import MOST_STEPS, Allowed, Call, ForbiddenGlobal, PickleError, PickleReader
from tests.fuzz.cost import measured

ALLOWED = Allowed(frozenset({"m.f"}), {"collections.OrderedDict": dict, "builtins.set": set})


def load(content: bytes) -> Any:
    return PickleReader(io.BytesIO(content), ALLOWED).load()


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(
    "value",
    [
        {"a": [1, -2, 2**31, -(2**70), 1.5, None, True, False], "b": (), "c": ((1,), (1, 2), (1, 2, 3), (1, 2, 3, 4))},
        {"long": "x" * 300, "umlaut": "ä€😀", "bytes": b"\x00\xff" * 200, 3: {"n": {}}, "set": {1, "two"}},
        OrderedDict([("x", OrderedDict()), ("y", list(range(2000)))]),
    ],
)
def test_plain_values(value: Any, protocol: int) -> None:
    if protocol == 2:  # which writes bytes as a call of _codecs.encode, and names builtins by their old module
        value = {k: v for k, v in value.items() if k not in ("bytes", "set")}
    assert load(pickle.dumps(value, protocol)) == value


def test_shared_and_cyclic_containers() -> None:
    inner: list[Any] = [1]
    inner.append(inner)
    one, two = load(pickle.dumps([inner, inner]))
    assert one is two
    assert one[1] is one


def test_calls_are_recorded_and_states_dropped() -> None:
    call = load(b"\x80\x04cm\nf\n\x8c\x01a\x85R}(\x8c\x01x\x8c\x01yub.")
    assert isinstance(call, Call)
    assert (call.name, call.arguments) == ("m.f", ("a",))
    with pytest.raises(ForbiddenGlobal, match=r"os\.system"):
        load(b"\x80\x04cos\nsystem\n.")


def doubling(levels: int) -> bytes:
    """Tuples of tuples, each twice the one before, then used as a key: hashing it takes 2^levels steps."""
    return b"\x80\x04})" + b"2\x86" * levels + b"Ns."


HOSTILE = {
    "a bytearray of 3.5 GB in 12 bytes": b"\x80\x05\x96" + struct.pack("<Q", 3_500_000_000) + b".",
    "bytes of 3.5 GB": b"\x80\x04\x8e" + struct.pack("<Q", 3_500_000_000) + b".",
    "a text of 2 GB": b"\x80\x04X" + struct.pack("<I", 2**31 - 1) + b".",
    "a frame of 3.5 GB": b"\x80\x04\x95" + struct.pack("<Q", 3_500_000_000) + b".",
    "an integer of 2 GB": b"\x80\x04\x8b" + struct.pack("<I", 2**31 - 1) + b".",
    "65 bytes of doubling": doubling(29),
    "a set of doubled tuples": b"\x80\x04\x8f()" + b"2\x86" * 40 + b"\x90.",
    "a frozen set": b"\x80\x04()" + b"2\x86" * 40 + b"\x91.",
    "a list copied into sets": b"\x80\x04cbuiltins\nset\nq\x00]("
    + b"K\x01" * 2000
    + b"eq\x01"
    + b"0h\x00h\x01\x85R" * 99999,
    "a list copied into a dict": b"\x80\x04ccollections\nOrderedDict\n](eq\x01\x85R.",
    "marks without end": b"\x80\x04" + b"(" * 2_000_000,
    "more steps than allowed": b"\x80\x04" + b"N0" * MOST_STEPS + b"N.",
    "an endless name": b"\x80\x04c" + b"a" * 5_000_000,
    "a key of a megabyte": b"\x80\x04}X" + struct.pack("<I", 10**6) + b"a" * 10**6 + b"Ns.",
    "keys that collide": b"\x80\x04}\x8a\x09" + (2**61 - 1).to_bytes(9, "little") + b"Ns.",
    "a call of what is no function": b"\x80\x04NN\x85R.",
    "attributes of a list": b"\x80\x04]}(\x8c\x01a\x8c\x01bub.",
    "a key without a value": b"\x80\x04}(Nu.",
    "nothing on the stack": b"\x80\x04.",
    "an unknown memo": b"\x80\x04h\x07.",
    "an empty file": b"",
    "text opcodes": b"I1\n.",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile(name: str) -> None:
    with measured() as cost, pytest.raises((PickleError, IndexError, KeyError, ValueError)):
        load(HOSTILE[name])
    assert cost.megabytes < 150
    assert cost.seconds < 20  # far less where the processor is free


def test_a_far_memo_index_takes_no_memory() -> None:
    with measured() as cost:
        assert load(b"\x80\x03}r\xff\xff\xff\x7f.") == {}
    assert cost.megabytes < 20
