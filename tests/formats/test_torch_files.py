"""torch.save's files: the same tensors as torch.load's, and no more memory than the file's size."""

import argparse
import io
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gen import BadInput
from gen.formats.state_dicts import read_state_dict
from gen.formats.torch_files import TorchFile
from tests.fuzz.cost import measured

BOTH = pytest.mark.parametrize("zipped", [True, False])


def tensors() -> dict[str, Tensor]:
    dtypes = (
        torch.float64,
        torch.float16,
        torch.bfloat16,
        torch.int64,
        torch.int32,
        torch.int16,
        torch.int8,
        torch.uint8,
    )
    state = {str(dtype): torch.arange(6).reshape(2, 3).to(dtype) for dtype in dtypes}
    whole = torch.randn(4, 6)
    return state | {
        "bool": torch.tensor([True, False]),
        "scalar": torch.tensor(2.5),
        "empty": torch.empty(0, 3),
        "turned": torch.randn(4, 6).t(),
        "last": torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
        "part": whole[1:3, 2:],
        "whole": whole,
        "parameter": nn.Parameter(torch.randn(3)),
    }


def opened(content: Any, **options: Any) -> TorchFile:
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return TorchFile(Path("a.pt"), buffer)


@BOTH
def test_the_same_tensors(zipped: bool) -> None:
    state = tensors()
    file = opened(state, _use_new_zipfile_serialization=zipped)
    read = file.state_dict(file.content)
    assert read.keys() == state.keys()
    for name, tensor in state.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor), name


@BOTH
def test_what_trainers_keep_beside_the_weights(zipped: bool) -> None:
    network = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    optimiser = torch.optim.Adam(network.parameters())
    network(torch.randn(4, 3)).sum().backward()
    optimiser.step()
    content = {
        "net": network.state_dict(),
        "optim": optimiser.state_dict(),
        "args": argparse.Namespace(lr=0.1, sizes=[1, 2]),
        "best": np.float64(0.5),
        "size": torch.Size([1, 2]),
    }
    file = opened(content, _use_new_zipfile_serialization=zipped)
    read = file.state_dict(file.content["net"])
    assert all(torch.equal(x, read[name]) for name, x in network.state_dict().items())
    assert file.content["optim"]["param_groups"][0]["lr"] == 1e-3


def test_parameters_with_attributes() -> None:
    for tensor in (nn.Parameter(torch.randn(3)), torch.randn(3)):
        tensor.note = "x"
        file = opened({"t": tensor})
        assert torch.equal(file.tensor("t", file.content["t"]), tensor)


def rezip(change: Callable[[str, bytes], bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A checkpoint with its entries changed."""
    before, after = io.BytesIO(), io.BytesIO()
    torch.save({"a": torch.zeros(1000)}, before)
    with zipfile.ZipFile(before) as old, zipfile.ZipFile(after, "w", compression) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, change(entry.filename, old.read(entry)))
    return after.getvalue()


def bomb() -> bytes:
    """A compressed storage of 1.6 GB in 1.6 MB."""
    return rezip(lambda name, old: bytes(400_000_000) if name.endswith("data/0") else old, zipfile.ZIP_DEFLATED)


def larger(name: str, old: bytes) -> bytes:
    """The pickle says that a storage has a billion numbers."""
    return old.replace(b"M\xe8\x03", b"J\x00\xca\x9a\x3b") if name.endswith("data.pkl") else old


def endless_directory() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for index in range(60_000):
            archive.writestr(f"archive/{index:060d}", b"")
    return buffer.getvalue()


def many_views() -> bytes:
    """A hundred tensors of all the numbers of one storage: copies of them are a hundred times as large as the file."""
    numbers = torch.zeros(100_000)
    buffer = io.BytesIO()
    torch.save({str(i): numbers for i in range(100)}, buffer)
    return buffer.getvalue()


def expanded() -> bytes:
    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(1).expand(10**9)}, buffer)
    return buffer.getvalue()


def script() -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), buffer)
    return buffer.getvalue()


def old_tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("sys_info"))
    return buffer.getvalue()


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "a bomb": (bomb, "compressed or too large"),
    "a compressed pickle": (lambda: rezip(lambda _, old: old, zipfile.ZIP_DEFLATED), "compressed or too large"),
    "a storage larger than its entry": (lambda: rezip(larger), "larger than"),
    "a list of entries without end": (endless_directory, "list of entries is too long"),
    "many views of one storage": (many_views, "4 times as much"),
    "one number a billion times": (expanded, "repeats its numbers"),
    "big-endian": (lambda: rezip(lambda n, old: b"big" if n.endswith("byteorder") else old), "big-endian"),
    "TorchScript": (script, "TorchScript program"),
    "torch 0.1": (old_tar, "torch 0.1"),
    "a zip of something else": (lambda: b"PK\x05\x06" + bytes(18), "without data.pkl"),
    "a whole network": (lambda: _saved(nn.Linear(2, 2)), r"tries to load torch\.nn\.modules\.linear\.Linear"),
    "numbers alone": (lambda: _saved([1, 2]), "no state dict"),
    "NaN": (lambda: _saved({"layer": torch.tensor([1.0, float("nan")])}), "layer holds NaN"),
    "a plain pickle": (lambda: pickle.dumps({"a": 1}), "neither a PyTorch weight file"),
}


def _saved(content: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile(tmp_path: Path, name: str) -> None:
    make, message = HOSTILE[name]
    path = tmp_path / "a.pth"
    path.write_bytes(make())
    with measured() as cost, pytest.raises(BadInput, match=rf"a\.pth: .*{message}"):
        read_state_dict(path)
    assert cost.megabytes < 60
    assert cost.seconds < 10


@BOTH
def test_cut_off_anywhere(tmp_path: Path, zipped: bool) -> None:
    buffer = io.BytesIO()
    torch.save(tensors(), buffer, _use_new_zipfile_serialization=zipped)
    whole = buffer.getvalue()
    for end in range(0, len(whole) - 1, 97):
        (tmp_path / "a.pt").write_bytes(whole[:end])
        with pytest.raises(BadInput, match=r"a\.pt"):
            read_state_dict(tmp_path / "a.pt")
