"""Read a pickle without running code from it, in bounded time and memory.

Python's own reader calls what the file names, and even without calls a few bytes can ask it for gigabytes (a declared
length, a far memo index) or for hours (tuples of tuples as dictionary keys). Here every call is recorded instead of
made, every length is checked against the file, and the number of operations is limited.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO, Any, NamedTuple

MOST_STEPS = 500_000
"""Operations of one pickle; each makes at most 300 bytes of objects. A StyleGAN2 checkpoint with its optimisers needs
33,000."""

LONGEST_INTEGER = 32
"""Bytes of an integer. Longer ones serve no weight file, and Python prints them in quadratic time."""

WIDEST_KEY = 1 << 40
"""Integers that serve as keys are below this in size: Python's hash of larger ones can be made to collide."""

LONGEST_KEY = 300
"""Characters of a name. Readers join names, and one long name can be referred to a thousand times."""


class PickleError(Exception):
    """The pickle is damaged, or asks for more than it may."""


class ForbiddenGlobal(PickleError):
    """The pickle names a class or function that is not allowed; the message is its name alone."""


@dataclass(frozen=True, eq=False, repr=False)
class Global:
    """A class or function that the pickle names. It is never imported."""

    name: str
    """Module and name, with a dot between."""


@dataclass(frozen=True, eq=False, repr=False)
class Call:
    """A call that the pickle asks for. It is never made, and the state that the pickle would set is dropped."""

    name: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True, eq=False, repr=False)
class Persistent:
    """A reference to something outside the pickle; in torch's files, a storage."""

    key: Any


class Allowed(NamedTuple):
    """What a pickle may name."""

    recorded: frozenset[str]
    """Classes and functions; their calls are recorded."""
    containers: Mapping[str, type[dict[Any, Any]] | type[set[Any]]]
    """Classes that are built as Python's own type, for example an OrderedDict as a dict."""


class _Stop(Exception):
    """The pickle has ended."""


class PickleReader:
    """Reads one pickle of protocol 2 to 5 from a binary file that can seek; the file is left behind its end."""

    def __init__(self, file: IO[bytes], allowed: Allowed) -> None:
        self._file, self._allowed = file, allowed
        here = file.tell()
        self._end = file.seek(0, 2)
        file.seek(here)
        self._stack: list[Any] = []
        self._marked: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._steps = 0
        self.persistent: list[Persistent] = []
        """All references to something outside, in the order of the file."""

    def load(self) -> Any:
        """The content: numbers, strings, containers and records.

        Raises `PickleError`, and whatever a damaged file causes (`IndexError`, `KeyError`, `UnicodeDecodeError`).
        """
        operations = {opcode.encode("latin-1"): operation for opcode, operation in self._table().items()}
        while True:
            self._spend(1)
            opcode = self._read(1)
            if opcode not in operations:
                raise PickleError(f"operation {opcode[0]} is not allowed")
            try:
                operations[opcode]()
            except _Stop:
                return self._stack.pop()

    # What the operations are made of.

    def _spend(self, steps: int) -> None:
        self._steps += steps
        if self._steps > MOST_STEPS:
            raise PickleError(f"more than {MOST_STEPS} operations")

    def _read(self, count: int) -> bytes:
        """So many bytes of the file. Checked before it is read: a file object allocates what it is asked for."""
        if count > self._end - self._file.tell():
            raise PickleError("the file ends too early")
        return self._file.read(count)

    def _unpack(self, layout: str) -> Any:
        return struct.unpack(layout, self._read(struct.calcsize(layout)))[0]

    def _line(self) -> str:
        return self._file.readline(1000).rstrip(b"\n").decode("utf-8")

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _text(self, layout: str) -> None:
        self._push(self._read(self._unpack(layout)).decode("utf-8", "surrogatepass"))

    def _old_text(self, layout: str) -> None:
        self._push(self._read(self._unpack(layout)).decode("latin-1"))  # Python 2 did not say which encoding

    def _bytes(self, layout: str) -> None:
        self._push(self._read(self._unpack(layout)))

    def _mark(self) -> None:
        self._marked.append(self._stack)
        self._stack = []

    def _since_mark(self) -> list[Any]:
        items, self._stack = self._stack, self._marked.pop()
        return items

    def _integer(self) -> None:
        length = self._unpack("<B")
        if length > LONGEST_INTEGER:
            raise PickleError("an integer is too long")
        self._push(int.from_bytes(self._read(length), "little", signed=True))

    def _frame(self) -> None:
        if self._unpack("<Q") > self._end - self._file.tell():
            raise PickleError("the file ends too early")

    def _tuple(self, count: int) -> None:
        items = tuple(self._stack[-count:])
        if len(items) < count:
            raise PickleError("a tuple lacks items")
        self._stack[-count:] = [items]

    def _append(self, items: list[Any]) -> None:
        _of(list, self._stack[-1]).extend(items)

    def _set_items(self, items: list[Any]) -> None:
        target = _of(dict, self._stack[-1])
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[_key(key)] = value

    def _add_items(self, items: list[Any]) -> None:
        _of(set, self._stack[-1]).update(map(_key, items))

    def _find(self, name: str) -> None:
        if name not in self._allowed.recorded and name not in self._allowed.containers:
            raise ForbiddenGlobal(name[:LONGEST_KEY])
        self._push(Global(name))

    def _find_from_stack(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise PickleError("a name is no text")
        self._find(f"{module}.{name}")

    def _call(self) -> None:
        arguments, called = _of(tuple, self._stack.pop()), _of(Global, self._stack.pop())
        container = self._allowed.containers.get(called.name)
        self._push(self._container(container, arguments) if container else Call(called.name, arguments))

    def _container(self, kind: type[dict[Any, Any]] | type[set[Any]], arguments: tuple[Any, ...]) -> Any:
        """An empty container, or a set of a list. The list may be copied again and again, so its items count."""
        if not arguments:
            return kind()
        if kind is not set or len(arguments) != 1:
            raise PickleError("a container is copied")
        items: list[Any] = _of(list, arguments[0])
        self._spend(len(items))
        return set(map(_key, items))

    def _refer(self) -> None:
        self.persistent.append(Persistent(self._stack.pop()))
        self._push(self.persistent[-1])

    def _drop_state(self) -> None:
        self._stack.pop()
        if not isinstance(self._stack[-1], Call | dict | set):
            raise PickleError("only objects have a state")

    def _duplicate(self) -> None:
        self._push(self._stack[-1])

    def _put(self, index: int) -> None:
        self._memo[index] = self._stack[-1]

    def _stop(self) -> None:
        raise _Stop

    def _table(self) -> dict[str, Callable[[], object]]:
        """What each opcode does; see pickletools for their names.

        Not here: the text opcodes of protocols 0 and 1, and all that no weight file needs (EXT, INST, OBJ, buffers
        outside the file, byte arrays, integers of four-byte length).
        """
        return {
            "\x80": lambda: self._read(1),  # PROTO
            "\x95": self._frame,
            ".": self._stop,
            "(": self._mark,
            "0": lambda: self._stack.pop(),
            "1": self._since_mark,
            "2": self._duplicate,
            "N": lambda: self._push(None),
            "\x88": lambda: self._push(True),
            "\x89": lambda: self._push(False),
            "J": lambda: self._push(self._unpack("<i")),
            "K": lambda: self._push(self._unpack("<B")),
            "M": lambda: self._push(self._unpack("<H")),
            "\x8a": self._integer,
            "G": lambda: self._push(self._unpack(">d")),
            "\x8c": lambda: self._text("<B"),
            "X": lambda: self._text("<I"),
            "\x8d": lambda: self._text("<Q"),
            "U": lambda: self._old_text("<B"),
            "T": lambda: self._old_text("<I"),
            "C": lambda: self._bytes("<B"),
            "B": lambda: self._bytes("<I"),
            "\x8e": lambda: self._bytes("<Q"),
            "]": lambda: self._push([]),
            ")": lambda: self._push(()),
            "}": lambda: self._push({}),
            "\x8f": lambda: self._push(set()),
            "a": lambda: self._append([self._stack.pop()]),
            "e": lambda: self._append(self._since_mark()),
            "s": lambda: self._set_items([self._stack.pop(), self._stack.pop()][::-1]),
            "u": lambda: self._set_items(self._since_mark()),
            "\x90": lambda: self._add_items(self._since_mark()),
            "t": lambda: self._push(tuple(self._since_mark())),
            "\x85": lambda: self._tuple(1),
            "\x86": lambda: self._tuple(2),
            "\x87": lambda: self._tuple(3),
            "c": lambda: self._find(f"{self._line()}.{self._line()}"),
            "\x93": self._find_from_stack,
            "R": self._call,
            "\x81": self._call,  # NEWOBJ: a class and its arguments
            "b": self._drop_state,
            "Q": self._refer,
            "h": lambda: self._push(self._memo[self._unpack("<B")]),
            "j": lambda: self._push(self._memo[self._unpack("<I")]),
            "q": lambda: self._put(self._unpack("<B")),
            "r": lambda: self._put(self._unpack("<I")),
            "\x94": lambda: self._put(len(self._memo)),  # MEMOIZE
        }


def _of(kind: type[Any], value: Any) -> Any:
    if not isinstance(value, kind):
        raise PickleError(f"{type(value).__name__} where {kind.__name__} is needed")
    return value


def _key(value: Any) -> Any:
    """The value, if it may be a key. Not tuples: hashing shared tuples of tuples takes exponential time."""
    if isinstance(value, str | bytes) and len(value) <= LONGEST_KEY:
        return value
    if value is None or (isinstance(value, int) and abs(value) < WIDEST_KEY):
        return value
    raise PickleError(f"{type(value).__name__} as a key, or a name that is too long")
