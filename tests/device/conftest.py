"""The CUDA device of these tests: the real one where there is one, else a pretended one."""

from collections.abc import Iterator

import pytest
import torch

from tests.device.pretend import Device, pretended_cuda
from tests.device.real import RealDevice, real_cuda

REAL = torch.cuda.is_available()


@pytest.fixture
def cuda() -> Iterator[Device | RealDevice]:
    with real_cuda() if REAL else pretended_cuda() as device:
        yield device


def assert_same(one: torch.Tensor, other: torch.Tensor) -> None:
    """Pictures (0 to 255) of the CPU and of the device: equal; from a real one, within half a grey level on average."""
    if not REAL:
        assert torch.equal(one, other.cpu())
    assert (one.float() - other.cpu().float()).abs().mean() < 0.5
