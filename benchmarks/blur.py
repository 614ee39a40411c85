"""Time three ways to blur and halve a feature map, as StyleGAN2's discriminator does, forward and backward.

    python -P -m benchmarks.blur [--device cuda] [--batch 64] [--size 128] [--precision bf16]

depthwise: one convolution per channel, as in `gen.stylegan2.networks.blur`, then the convolution with stride 2.
slices: weighted sums of shifted views, rows then columns, then the convolution with stride 2.
folded: the blur multiplied into the kernel, which grows from 3x3 to 6x6, so one convolution does both.

All give the same maps. On a CPU depthwise is fastest: with one thread of an AMD EPYC with AVX2, folded took 2 to 16
times as long.
"""

import argparse
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from gen.provenance import machine
from gen.stylegan2.networks import blur

TAPS = (1 / 8, 3 / 8, 3 / 8, 1 / 8)


def depthwise(x: Tensor, weight: Tensor) -> Tensor:
    """(B, C, H, W), (D, C, 3, 3) -> (B, D, H / 2, W / 2)."""
    return F.conv2d(blur(x, pad=2), weight, stride=2)


def slices(x: Tensor, weight: Tensor) -> Tensor:
    """As `depthwise`."""
    height, width = x.shape[2] + 1, x.shape[3] + 1
    x = F.pad(x, (2, 2, 2, 2))
    x = torch.stack([t * x[:, :, i : i + height] for i, t in enumerate(TAPS)]).sum(0)
    x = torch.stack([t * x[:, :, :, i : i + width] for i, t in enumerate(TAPS)]).sum(0)
    return F.conv2d(x, weight, stride=2)


def folded(x: Tensor, weight: Tensor) -> Tensor:
    """As `depthwise`."""
    taps = torch.tensor(TAPS, dtype=weight.dtype, device=weight.device)
    kernel = F.conv2d(F.pad(weight.flatten(0, 1).unsqueeze(1), (3, 3, 3, 3)), torch.outer(taps, taps)[None, None])
    return F.conv2d(x, kernel.view(*weight.shape[:2], 6, 6), stride=2, padding=2)


def milliseconds(way: Callable[[Tensor, Tensor], Tensor], x: Tensor, weight: Tensor, repeats: int = 10) -> float:
    """The least time of a forward and backward pass."""
    times: list[float] = []
    for _ in range(repeats + 3):
        began = time.perf_counter()
        result = way(x, weight)
        result.backward(torch.ones_like(result))
        if x.device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return 1000 * min(times[3:])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--precision", default="bf16", choices=["fp32", "bf16"])
    args = parser.parse_args()
    device, dtype = torch.device(args.device), torch.bfloat16 if args.precision == "bf16" else torch.float32
    print(machine(device), args.precision)
    for layout in (torch.channels_last, torch.contiguous_format):
        for channels, size in ((32, args.size), (64, args.size // 2), (128, args.size // 4)):
            x = torch.randn(args.batch, channels, size, size, device=device, dtype=dtype).to(memory_format=layout)
            weight = torch.randn(2 * channels, channels, 3, 3, device=device, dtype=dtype, requires_grad=True)
            x.requires_grad_()
            wanted = depthwise(x, weight)
            line = [f"{str(layout).removeprefix('torch.'):17} {channels:4} channels at {size:4}: "]
            for way in (depthwise, slices, folded):
                assert torch.allclose(way(x, weight), wanted, rtol=0.1, atol=0.1 * float(wanted.detach().std()))
                line.append(f"{way.__name__} {milliseconds(way, x, weight):.1f} ms")
            print("  ".join(line))


if __name__ == "__main__":
    main()
