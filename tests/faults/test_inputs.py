"""Inputs that vanish, grow, change, stall or never answer: a small fault costs a small thing."""

import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import street
from tests.faults.cases import CASES, Case
from tests.faults.conftest import COUNTS, LONG, cases, target
from tests.faults.process import ForkServer
from tests.faults.whole import check_whole, files

FOLDERS = {"translate": "night", "simulate-weather": "day", "train-augan": "night", "train-cyclegan": "night"}
"""Cases that read a folder of images, and its name among the inputs."""
READERS = {**FOLDERS, "train-stylegan2": "faces", "adapt": "red", "measure-shift": "domains/art/bar",
           "train-smos": "domains/art/bar"}  # fmt: skip


def own_inputs(inputs: Path, folder: Path) -> Path:
    """A copy of the inputs that a test may damage."""
    return Path(shutil.copytree(inputs, folder / "inputs", symlinks=True))


def truncated(path: Path) -> None:
    """Half a picture, as a broken download or a full disk leaves it."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGES = {
    "truncated": truncated,
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_bytes(b"<html>404 Not Found</html>"),
    "zeros": lambda path: path.write_bytes(bytes(4096)),
}


@pytest.mark.parametrize("how", [how for how in DAMAGES if LONG or how == "truncated"])
@pytest.mark.parametrize("case", cases(*READERS))
def test_one_broken_picture_is_named_and_the_others_are_used(
    case: Case, how: str, inputs: Path, server: ForkServer, folder: Path
) -> None:
    own, out = own_inputs(inputs, folder), folder / "out"
    source = sorted((own / READERS[case.name]).iterdir())[1]
    shutil.copy(source, broken := source.with_name("broken.png"))
    DAMAGES[how](broken)
    done = server.run(*case.words(own, out))
    assert "Traceback" not in done.errors, done.errors
    assert "broken.png" in done.errors + done.output
    # Tools that make a file of each input say by their status that one is missing; training goes on without it.
    assert done.status == (1 if case.name in ("translate", "simulate-weather", "measure-shift") else 0), done.errors
    check_whole(out)
    COUNTS["broken pictures"] += 1


@pytest.mark.parametrize("case", cases(*FOLDERS))
def test_odd_names_and_links(case: Case, inputs: Path, server: ForkServer, folder: Path) -> None:
    own, out = own_inputs(inputs, folder), folder / "out"
    source = sorted((own / READERS[case.name]).iterdir())[0]
    odd = [b"a b\n.png", b"caf\xe9.png", "\u202ename.png".encode(), b"-rf.png", b"'\"$x`.png", b"." * 2 + b"x.png"]
    for name in odd:
        shutil.copy(source, os.path.join(os.fsencode(source.parent), name))
    (source.parent / "link.png").symlink_to(source)
    (source.parent / "dangling.png").symlink_to(own / "nowhere.png")
    (source.parent / "loop.png").symlink_to(source.parent / "loop.png")
    (source.parent / "folder.png").mkdir()
    done = server.run(*case.words(own, out))
    assert "Traceback" not in done.errors, done.errors
    assert done.status in (0, 1), done.errors
    if case.name.startswith("train"):
        assert done.status == 0, done.errors
    check_whole(out)
    COUNTS["odd names"] += len(odd)


@pytest.mark.parametrize("case", cases(*READERS))
def test_a_pipe_in_the_input_folder_hangs_nothing(case: Case, inputs: Path, server: ForkServer, folder: Path) -> None:
    own, out = own_inputs(inputs, folder), folder / "out"
    os.mkfifo(own / READERS[case.name] / "stalled.png")
    (own / READERS[case.name] / "zero.png").symlink_to("/dev/zero")
    done = server.run(*case.words(own, out))
    assert done.status == 0, done.errors
    COUNTS["pipes and devices"] += 1


@pytest.mark.parametrize("how", ["vanish", "grow", "change"])
@pytest.mark.parametrize("case", cases("translate", "simulate-weather", "train-augan", "measure-shift"))
def test_inputs_that_vanish_grow_or_change_while_it_runs(
    case: Case, how: str, inputs: Path, server: ForkServer, folder: Path
) -> None:
    """The last pictures, as soon as the output folder is there."""
    own, out = own_inputs(inputs, folder), folder / "out"
    rng = np.random.default_rng(5)
    for n in range(10, 40):
        Image.fromarray(street(rng, 64, 96, True)).save(own / READERS[case.name] / f"{n:03d}.png")
    pictures = sorted((own / READERS[case.name]).iterdir())[-20:]
    process = server.start(*case.words(own, out))
    while not out.exists() and not process.ended(0.001):
        pass
    for number, path in enumerate(pictures):
        if how == "vanish":
            path.unlink()
        elif how == "grow":
            with path.open("ab") as file:
                file.write(b"more" * 1000)
        else:
            Image.fromarray(np.full((64, 96, 3), number, np.uint8)).save(path)
        time.sleep(0.002)
    process.wait()
    assert "Traceback" not in process.errors, process.errors
    assert process.status in (0, 1), process.errors
    if case.name.startswith("train"):
        assert process.status == 0, process.errors
    if process.status:
        assert "fail" in process.output + process.errors or "left out" in process.output, process.errors
    check_whole(out)
    COUNTS[f"inputs that {how}"] += len(pictures)


@pytest.mark.parametrize("case", cases("train-augan", "train-stylegan2"))
def test_a_picture_that_vanishes_between_two_sittings(
    case: Case, inputs: Path, server: ForkServer, folder: Path
) -> None:
    own, out = own_inputs(inputs, folder), folder / "out"
    killed = server.run(*case.words(own, out), kill_at=90)
    assert killed.status
    next((own / READERS[case.name]).iterdir()).unlink()
    done = server.run(*case.words(own, out))
    assert done.status == 0, done.errors
    if "resuming" in done.output:
        assert "images vanished or broke since this run began" in done.errors
    strict = server.run(*case.words(own, folder / "strict"), "--strict")
    assert strict.status == 0, strict.errors
    truncated(next((own / READERS[case.name]).iterdir()))
    strict = server.run(*case.words(own, folder / "strict"), "--strict")
    assert "cannot be used; repair or remove them" in strict.sentence


def test_a_slow_writer_is_read_when_it_has_finished(inputs: Path, server: ForkServer, folder: Path) -> None:
    """A camera that is still writing: its picture fails now, and is done by the same command later."""
    own, out = own_inputs(inputs, folder), folder / "out"
    whole = (own / "night" / "001.png").read_bytes()
    slow = own / "night" / "slow.png"
    slow.write_bytes(whole[: len(whole) // 2])
    words = CASES["translate"].words(own, target(CASES["translate"], out))
    assert server.run(*words).status == 1
    assert "slow.png" not in files(out)
    slow.write_bytes(whole)
    assert server.run(*words).status == 0
    assert "slow.png" in files(out)
