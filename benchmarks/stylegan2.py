"""Time two implementations of StyleGAN2's modulated convolution, forward and forward + backward.

    python benchmarks/stylegan2.py [--device cuda] [--batch 16] [--size 64] [--multiplier 0.125]

grouped: one kernel per image in one grouped convolution (the usual form). scaled: one ordinary convolution with scaled
input and output (as in `gen.stylegan2.networks.ModulatedConv`). Both give the same images.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from gen.provenance import machine
from gen.stylegan2.networks import ModulatedConv, StyleGAN2Generator, blur, config_f_channels


def grouped(self: ModulatedConv, x: Tensor, style: Tensor) -> Tensor:
    """The convolution with one kernel per image."""
    count, inputs = style.shape
    kernel = self.weight * self.scale * style[:, None, :, None, None]
    if self.demodulate:
        kernel = kernel * torch.rsqrt(kernel.square().sum((2, 3, 4), keepdim=True) + 1e-8)
    outputs, size = self.weight.shape[0], self.weight.shape[-1]
    x = x.reshape(1, count * inputs, *x.shape[2:])
    if self.up:
        kernel = kernel.transpose(1, 2).reshape(count * inputs, outputs, size, size)
        x = F.conv_transpose2d(x, kernel, stride=2, groups=count)
        return blur(x.view(count, outputs, *x.shape[2:]), gain=4.0)
    x = F.conv2d(x, kernel.view(count * outputs, inputs, size, size), padding=size // 2, groups=count)
    return x.view(count, outputs, *x.shape[2:])


def timed(run: Callable[[], Tensor], device: torch.device, repeats: int) -> float:
    """Median time of a call in seconds, after two warm-up calls."""
    seconds: list[float] = []
    for index in range(repeats + 2):
        began = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize()
        if index >= 2:
            seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--multiplier", type=float, default=0.125)
    parser.add_argument("--maximum", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=10)
    args = parser.parse_args()
    device = torch.device(args.device)
    torch.manual_seed(0)
    channels = config_f_channels(args.size, args.multiplier, args.maximum)
    generator = StyleGAN2Generator(channels).to(device)
    z = torch.randn(args.batch, 512, device=device)

    def draw() -> Tensor:
        with torch.no_grad():
            return generator(z)

    def learn() -> Tensor:
        generator.zero_grad(set_to_none=True)
        loss = generator(z).square().mean()
        loss.backward()
        return loss

    scaled, results, images = ModulatedConv.convolve, {}, {}
    for name, form in (("grouped", grouped), ("scaled", scaled)):
        ModulatedConv.convolve = form
        images[name] = draw()
        results[name] = (timed(draw, device, args.repeats), timed(learn, device, args.repeats))
    print(f"{machine(device)}\nchannels {channels}, batch {args.batch}, {torch.get_num_threads()} threads, float32")
    print(f"largest difference between the images: {float((images['grouped'] - images['scaled']).abs().max()):.1e}")
    print("| form | forward, ms per image | forward and backward, ms per image |\n|---|---|---|")
    for name, (forward, both) in results.items():
        print(f"| {name} | {1000 * forward / args.batch:.2f} | {1000 * both / args.batch:.2f} |")
    ratios = [a / b for a, b in zip(results["grouped"], results["scaled"], strict=True)]
    print(f"grouped / scaled: {ratios[0]:.2f} and {ratios[1]:.2f}")


if __name__ == "__main__":
    main()
