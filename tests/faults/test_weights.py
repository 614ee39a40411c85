"""Weights that are truncated, of another shape, or hostile: one sentence, in little time and memory."""

import json
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from gen.training.checkpoints import latest_checkpoint
from tests.faults.cases import CASES
from tests.faults.conftest import COUNTS, LONG
from tests.faults.process import ForkServer

ADDRESS_SPACE = 6 << 30
"""Bytes that a command may map: a hostile header must not make it allocate what it claims."""


class _Hostile:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        import os

        return os.mkdir, ("run-by-the-weights",)


def _header(path: Path, header: bytes, length: int | None = None) -> None:
    path.write_bytes(struct.pack("<Q", len(header) if length is None else length) + header)


def _shapes(path: Path) -> None:
    save_file({name: torch.zeros(3, 3) for name in load_file(path)}, path)


def _missing(path: Path) -> None:
    tensors = load_file(path)
    tensors.pop(sorted(tensors)[0])
    save_file(tensors, path)


def _large(path: Path) -> None:
    tensor = {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 4 << 40]}
    _header(path, json.dumps({"weight": tensor}).encode())


HOSTILE: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "one byte less": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "other shapes": _shapes,
    "a tensor missing": _missing,
    "endless header": lambda path: _header(path, b"{}", 1 << 60),
    "header that is no JSON": lambda path: _header(path, b"\xff\xfe{{{"),
    "header of nested lists": lambda path: _header(path, b"[" * 100_000),
    "claims terabytes": _large,
    "a pickle": lambda path: path.write_bytes(pickle.dumps(_Hostile())),
    "text": lambda path: path.write_bytes(b"<html>404 Not Found</html>"),
}
SHORT = ("truncated", "other shapes", "endless header")


@pytest.mark.parametrize("how", [how for how in HOSTILE if LONG or how in SHORT])
@pytest.mark.parametrize(("case", "model"), [("translate", "cut"), ("generate", "faces"), ("adapt", "faces")])
def test_hostile_weights_end_in_a_sentence(
    case: str, model: str, how: str, inputs: Path, server: ForkServer, folder: Path
) -> None:
    own = Path(shutil.copytree(inputs, folder / "inputs"))
    HOSTILE[how](next((own / "models" / model).rglob("*.safetensors")))
    limits = {"RLIMIT_AS": ADDRESS_SPACE}
    done = server.run(*CASES[case].words(own, folder / "out"), folder=folder, limits=limits)
    assert done.status == 1, done.errors
    assert done.sentence
    assert not list(folder.rglob("run-by-the-weights"))
    assert not [p for p in (folder / "out").rglob("*.png")]
    COUNTS["hostile weights"] += 1


@pytest.mark.parametrize("how", [how for how in HOSTILE if LONG or how in SHORT])
def test_hostile_checkpoints_are_set_aside(how: str, inputs: Path, server: ForkServer, folder: Path) -> None:
    case = CASES["train-stylegan2"]
    words = case.words(inputs, folder / "out")
    killed = server.run(*words, kill_at=80)
    assert killed.status
    path = latest_checkpoint(folder / "out" / "checkpoints")
    assert path is not None
    if how in ("other shapes", "a tensor missing"):
        state = torch.load(path, weights_only=True)
        network = next(iter(state["networks"].values()))
        name = sorted(network)[0]
        network[name] = torch.zeros(1, 2, 3)
        torch.save(state, path)
    else:
        HOSTILE[how](path)
    done = server.run(*words, folder=folder, limits={"RLIMIT_AS": ADDRESS_SPACE})
    assert done.status == 0, done.errors
    assert "It is kept as" in done.errors, done.errors
    assert not list(folder.rglob("run-by-the-weights"))
    COUNTS["hostile checkpoints"] += 1
