"""Read what torch.save wrote (.pt, .pth), without running code from it, in time and memory that the file's size bounds.

`torch.load(weights_only=True)` runs no code either, but trusts sizes: compressed entries, tensors that repeat one
number a billion times, declared lengths. Here the pickle inside is read by `gen.formats.pickles`, and a tensor is made
only when it is asked for, from bytes that are in the file.
"""

import io
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import torch
from torch import Tensor

from gen.errors import BadInput
from gen.formats.pickles import Allowed, Call, ForbiddenGlobal, Global, Persistent, PickleError, PickleReader

TORCH_LEGACY = torch.serialization.MAGIC_NUMBER.to_bytes(10, "little")
"""Near the start of files that torch.save wrote before it switched to zip files."""

MOST_PICKLE = 16_000_000
"""Bytes of the pickle in a zip; the numbers lie beside it, so that it holds names and shapes alone."""

MOST_DIRECTORY = 4_000_000
"""Bytes of a zip's list of entries: some 40,000 of them."""

CHUNK = 1_000_000
"""Bytes of an entry that are read at once."""

MOST_REUSE = 4
"""All tensors together may be so many times as large as the file. Tensors that share their numbers are usual."""

DTYPES = {
    "Double": torch.float64,
    "Float": torch.float32,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
    "Bool": torch.bool,
}
"""By the first part of the storage's class, for example FloatStorage."""

TENSOR = "torch._utils._rebuild_tensor_v2"
PARAMETER = "torch._utils._rebuild_parameter"
PARAMETER_WITH_ATTRIBUTES = "torch._utils._rebuild_parameter_with_state"
WITH_ATTRIBUTES = "torch._tensor._rebuild_from_type_v2"
TENSORS = frozenset({TENSOR, PARAMETER, PARAMETER_WITH_ATTRIBUTES, WITH_ATTRIBUTES})

ALLOWED = Allowed(
    recorded=frozenset(
        {
            *(*TENSORS, "torch.nn.parameter.Parameter", "torch.Tensor", "torch.Size"),
            *(f"torch{cuda}.{name}Storage" for name in DTYPES for cuda in ("", ".cuda")),
            *(str(dtype) for dtype in DTYPES.values()),
            *("torch.device", "argparse.Namespace", "_codecs.encode", "numpy.dtype", "numpy.ndarray"),
            *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
        }
    ),
    containers={
        "collections.OrderedDict": dict,
        "collections.defaultdict": dict,
        "builtins.set": set,
        "__builtin__.set": set,
    },
)
"""What checkpoints of weights and optimisers hold. Nothing of it is called; see `gen.formats.pickles`."""


def forbidden(path: Path, name: str) -> BadInput:
    """The error for a file that asks for a class or function that is not allowed."""
    return BadInput(
        f"{path}: this file tries to load {name}, which is refused because it could run code; a file of weights does "
        "not need it."
    )


def damaged(path: Path, error: Exception) -> BadInput:
    """The error for a file that cannot be read; `error` is what the reader raised."""
    reason = str(error) if isinstance(error, PickleError) else type(error).__name__
    return BadInput(f"{path}: this file is damaged, or not a PyTorch checkpoint ({reason}).")


def unreadable(path: Path, name: str, error: Exception) -> BadInput:
    """The error for a tensor that is damaged, or no tensor."""
    reason = str(error) if isinstance(error, PickleError) else type(error).__name__
    return BadInput(f"{path}: {name} is damaged, or no tensor ({reason}).")


@dataclass(frozen=True)
class Storage:
    """A block of numbers that tensors are views of."""

    key: str
    dtype: torch.dtype
    count: int
    """Numbers in the block."""
    view: tuple[int, int] | None
    """First number and count, if only a part of the block is meant, as in files of torch 0.3 and before."""

    @property
    def nbytes(self) -> int:
        """Size of the block."""
        return self.count * self.dtype.itemsize


def _storage(record: Any) -> Storage:
    """The storage that a persistent record names: ("storage", class, key, device, count[, view])."""
    if not isinstance(record, Persistent):
        raise PickleError("a tensor without numbers")
    word, kind, key, _, count, *rest = record.key
    if word != "storage" or not isinstance(kind, Global) or not isinstance(key, str) or not isinstance(count, int):
        raise PickleError("a reference to something else than a storage")
    dtype = DTYPES[kind.name.rpartition(".")[2].removesuffix("Storage")]
    view = rest[0] if rest else None
    return Storage(key, dtype, count, (int(view[1]), int(view[2])) if view is not None else None)


class _Blocks(Protocol):
    """What the two formats have in common."""

    content: Any

    def read(self, storage: Storage) -> bytes:
        """The bytes of a storage's block."""
        ...


class TorchFile:
    """An open checkpoint: its content with records in place of tensors, and a reader of these."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        """`file`: binary, can seek, and stays open. `path`: what errors call it. Raises `BadInput`."""
        self.path = path
        size = file.seek(0, 2)
        self._unread, self._left = size, MOST_REUSE * size
        self._read: dict[str, Tensor] = {}
        try:
            self._blocks = _open(path, file)
        except BadInput:
            raise
        except ForbiddenGlobal as error:
            raise forbidden(path, str(error)) from error
        except Exception as error:  # a damaged file can raise a dozen kinds
            raise damaged(path, error) from error
        self.content: Any = self._blocks.content

    def tensor(self, name: str, record: Any) -> Tensor:
        """The tensor that a record of `content` describes, on the CPU. Raises `BadInput` if it describes none.

        All its numbers must be in the file: strides of zero would let a small file describe a tensor of any size.
        `name`: what errors call it.
        """
        try:
            storage, offset, size, stride = _unwrapped(record)
            flat = self._flat(_storage(storage))
            return self._counted(strided(flat, offset, size, stride))
        except Exception as error:  # a record that is not a tensor's can raise anything
            raise unreadable(self.path, name, error) from error

    def block(self, record: Any) -> Tensor:
        """All numbers of the storage that a record of `content` names, (N). Raises `BadInput`."""
        try:
            return self._flat(_storage(record))
        except Exception as error:
            raise damaged(self.path, error) from error

    def state_dict(self, content: Any) -> dict[str, Tensor]:
        """A part of `content` that maps names to tensors. Raises `BadInput` if it is anything else."""
        if not isinstance(content, dict) or not all(is_tensor(record) for record in content.values()):
            raise BadInput(f"{self.path}: this file has no state dict, which maps names to tensors.")
        return {str(name): self.tensor(str(name), record) for name, record in content.items()}

    def _flat(self, storage: Storage) -> Tensor:
        """The numbers of a storage, each block read once."""
        if storage.key not in self._read:
            self._unread -= storage.nbytes
            if self._unread < 0:
                raise PickleError("its storages are larger than the file")
            content = self._blocks.read(storage)
            if not 0 <= storage.nbytes <= len(content):
                raise PickleError(f"storage {storage.key[:20]} is larger than its part of the file")
            self._read[storage.key] = _bytes_tensor(content[: storage.nbytes])
        flat = self._read[storage.key].view(storage.dtype)
        if storage.view is None:
            return flat
        first, count = storage.view
        return flat.narrow(0, first, count)

    def _counted(self, tensor: Tensor) -> Tensor:
        self._left -= tensor.nbytes
        if self._left < 0:
            raise PickleError(f"its tensors hold more than {MOST_REUSE} times as much as the file")
        return tensor


def is_tensor(record: Any) -> bool:
    """Whether a record of a file's content stands for a tensor."""
    return isinstance(record, Call) and record.name in TENSORS


def _unwrapped(record: Any) -> tuple[Any, Any, Any, Any]:
    """Storage, offset, size and strides of a tensor's record; a parameter's record holds that of a tensor."""
    for _ in range(3):  # a parameter with attributes is the deepest that torch writes
        if record.name == TENSOR:
            storage, offset, size, stride = record.arguments[:4]
            return storage, offset, size, stride
        if record.name == WITH_ATTRIBUTES:  # function, type, arguments, attributes
            record = Call(record.arguments[0].name, record.arguments[2])
        else:
            record = record.arguments[0]
    raise PickleError("a parameter of a parameter")


def strided(flat: Tensor, offset: Any, size: Any, stride: Any) -> Tensor:
    """A view of (N) numbers. Raises `PickleError` if it has more numbers than there are, or leaves them."""
    integers = [offset, *size, *stride]
    if len(size) != len(stride) or len(size) > 8 or not all(type(n) is int and 0 <= n < 1 << 40 for n in integers):
        raise PickleError("a tensor's shape is impossible")
    view = flat.as_strided(size, stride, offset)  # checks the bounds
    if view.numel() > flat.numel():
        raise PickleError("a tensor repeats its numbers")
    return view


def _bytes_tensor(content: bytes) -> Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8) if content else torch.empty(0, dtype=torch.uint8)


def is_torch(file: IO[bytes]) -> bool:
    """Whether an open file begins like one of torch.save, of any version; the file is left at its beginning."""
    head = file.read(512)
    file.seek(0)
    return head.startswith(b"PK") or TORCH_LEGACY in head[:32] or _is_tar(head)


def _is_tar(head: bytes) -> bool:
    return head[257:262] == b"ustar"


def _open(path: Path, file: IO[bytes]) -> _Blocks:
    file.seek(0)
    head = file.read(512)
    file.seek(0)
    if _is_tar(head):
        raise BadInput(f"{path}: this format of torch 0.1 is not read; load the file with torch 1 and save it again.")
    if head.startswith(b"PK"):
        return _Zip(path, file)
    if TORCH_LEGACY in head[:32]:
        return _Legacy(file)
    raise PickleError("neither a zip nor a file of torch before 1.6")


class _Zip:
    """The format of torch 1.6 and later: a pickle, and one uncompressed entry for each storage."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self._size = file.seek(0, 2)
        self._zip = zipfile.ZipFile(_Cautious(file))  # pyright: ignore[reportArgumentType]  # read, seek and tell do
        self._entries = {entry.filename: entry for entry in self._zip.infolist()}
        pickles = [name for name in self._entries if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise PickleError("a zip without data.pkl")
        self._root = pickles[0].removesuffix("data.pkl")
        if f"{self._root}constants.pkl" in self._entries:
            raise BadInput(f"{path}: this is a TorchScript program, not weights; save the network's state_dict().")
        order = f"{self._root}byteorder"
        if order in self._entries and self._entry(order, 10) != b"little":
            raise BadInput(f"{path}: written on a big-endian machine; save it again on a little-endian one.")
        pickle = self._entry(f"{self._root}data.pkl", MOST_PICKLE)
        self.content: Any = PickleReader(io.BytesIO(pickle), ALLOWED).load()

    def read(self, storage: Storage) -> bytes:
        """See `_Blocks`."""
        return self._entry(f"{self._root}data/{storage.key}", self._size)

    def _entry(self, name: str, most: int) -> bytes:
        entry = self._entries[name]
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > min(most, self._size):
            raise PickleError(f"{name[:80]} is compressed or too large")
        with self._zip.open(entry) as packed:
            return b"".join(iter(lambda: packed.read(CHUNK), b""))


class _Cautious(io.RawIOBase):
    """A file that refuses to read much at once, so that a zip's list of entries cannot fill the memory."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        """See `io.RawIOBase`."""
        content = self._file.read(min(size, MOST_DIRECTORY + 1) if size >= 0 else MOST_DIRECTORY + 1)
        if len(content) > MOST_DIRECTORY:
            raise PickleError("its list of entries is too long")
        return content

    def seek(self, offset: int, whence: int = 0) -> int:
        """See `io.RawIOBase`."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """See `io.RawIOBase`."""
        return self._file.tell()

    def seekable(self) -> bool:
        """See `io.RawIOBase`."""
        return True


class _Legacy:
    """The format before: five pickles in a row, then the storages, each as a count and its numbers."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        magic, version, system = (PickleReader(file, ALLOWED).load() for _ in range(3))
        if magic != torch.serialization.MAGIC_NUMBER or version != 1001 or not system["little_endian"]:
            raise PickleError("an unknown version of the format")
        reader = PickleReader(file, ALLOWED)
        self.content: Any = reader.load()
        storages = {s.key: s for s in map(_storage, reader.persistent)}
        keys = PickleReader(file, ALLOWED).load()
        self._places: dict[str, int] = {}
        place = file.tell()
        for key in keys:
            self._places[key] = place + 8  # after the count
            place += 8 + storages[key].nbytes

    def read(self, storage: Storage) -> bytes:
        """See `_Blocks`."""
        self._file.seek(self._places[storage.key] - 8)
        (count,) = struct.unpack("<q", self._file.read(8))
        if count != storage.count:
            raise PickleError(f"storage {storage.key[:20]} has another size than the file says")
        end = self._file.seek(0, 2)
        self._file.seek(self._places[storage.key])
        return self._file.read(min(storage.nbytes, end))
