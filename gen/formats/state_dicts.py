"""Read a state dict, names and tensors, from whatever file holds it: safetensors, .pt or .pth."""

from pathlib import Path

from torch import Tensor

from gen.errors import BadInput
from gen.formats.safetensors_files import check_finite, read_safetensors
from gen.formats.torch_files import TorchFile, is_torch


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors by name, on the CPU; no code in the file is run. Raises `BadInput`."""
    try:
        with path.open("rb") as file:
            if is_torch(file):
                opened = TorchFile(path, file)
                state = opened.state_dict(opened.content)
                for name, tensor in state.items():
                    check_finite(path, name, tensor)
                return state
            head = file.read(9)
    except FileNotFoundError as error:
        raise BadInput(f"{path}: no such file.") from error
    except OSError as error:
        raise BadInput(f"{path}: this file cannot be read ({error.strerror or error}).") from error
    if not head.endswith(b"{"):
        raise BadInput(f"{path}: this is neither a PyTorch weight file (.pt, .pth) nor safetensors.")
    return read_safetensors(path)[0]
