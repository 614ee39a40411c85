"""Every trainer in two processes: sampled, measured, stopped by one of them, resumed; at the end both are the same."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.device.trainers import TRAINERS, write_data

REPOSITORY = Path(__file__).parents[2]

pytestmark = [pytest.mark.devices, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_data(tmp_path_factory.mktemp("two"))
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone", "-m"]
    command = [*launch, "tests.device.trainers", str(root)]
    without_gpu = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, timeout=850, cwd=REPOSITORY, env=without_gpu)
    assert done.returncode == 0, done.stderr[-4000:]
    return root


@pytest.mark.parametrize("name", TRAINERS)
def test_both_processes_end_with_the_same_weights(root: Path, name: str) -> None:
    one, two = (torch.load(root / f"{name}-{rank}.pt", weights_only=True) for rank in range(2))
    for network in one:
        for key, value in one[network].items():
            torch.testing.assert_close(two[network][key], value, rtol=0, atol=0, msg=f"{network} {key}")


@pytest.mark.parametrize("name", TRAINERS)
def test_the_run_was_resumed_and_nothing_was_set_aside(root: Path, name: str) -> None:
    folder = root / "runs" / name / "checkpoints"
    names = {path.name for path in folder.iterdir()}
    assert not [name for name in names if "damaged" in name]
    assert len([name for name in names if name.startswith("state-")]) == 2  # of the stop, and of the end
