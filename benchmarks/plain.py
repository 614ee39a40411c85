"""What people would run instead: the loop of the common repositories, and a plain ResNet-9 generator."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


class Block(nn.Module):
    """A residual block with reflection padding."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(2):
            layers += [nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), nn.InstanceNorm2d(channels)]
            layers += [nn.ReLU()]
        self.body = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        return x + self.body(x)


def resnet9(width: int = 64) -> nn.Sequential:
    """CycleGAN's generator (Zhu et al. 2017), with random weights: its speed does not depend on them."""
    layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(3, width, 7), nn.InstanceNorm2d(width), nn.ReLU()]
    for channels in (width, 2 * width):
        layers += [nn.Conv2d(channels, 2 * channels, 3, 2, 1), nn.InstanceNorm2d(2 * channels), nn.ReLU()]
    layers += [Block(4 * width) for _ in range(9)]
    for channels in (4 * width, 2 * width):
        layers += [nn.ConvTranspose2d(channels, channels // 2, 3, 2, 1, 1), nn.InstanceNorm2d(channels // 2), nn.ReLU()]
    return nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(width, 3, 7), nn.Tanh()).eval()


def macs(network: nn.Module, image: Tensor) -> float:
    """True multiply-accumulates of a forward pass, by torch's FLOP counter."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(image)
    return counter.get_total_flops() / 2


def of_equal_cost(cost: float, size: tuple[int, int]) -> nn.Sequential:
    """A ResNet-9 with about `cost` MACs for an image of `size` (H, W)."""
    image = torch.zeros(1, 3, *size)
    return min((resnet9(width) for width in range(8, 65, 2)), key=lambda network: abs(macs(network, image) - cost))


@torch.no_grad()
def loop(frames: list[Path], out: Path, network: nn.Module | None, size: tuple[int, int], suffix: str) -> None:
    """One picture at a time: PIL, bicubic to `size` (H, W), float tensors, the network, Lanczos back, a file."""
    for path in frames:
        image = Image.open(path).convert("RGB")
        small = image.resize(size[::-1], Image.Resampling.BICUBIC)
        tensor = torch.from_numpy(np.asarray(small).astype(np.float32) / 127.5 - 1).permute(2, 0, 1)[None]
        tensor = tensor if network is None else network(tensor)
        array = ((tensor[0].permute(1, 2, 0).numpy() + 1) * 127.5).round().clip(0, 255).astype(np.uint8)
        result = Image.fromarray(array).resize(image.size, Image.Resampling.LANCZOS)
        result.save(out / f"{path.stem}{suffix}", quality=95)
