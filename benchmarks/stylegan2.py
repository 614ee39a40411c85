"""Two ways to modulate a convolution, timed in one process, and what a step of an adaptation costs.

    python benchmarks/stylegan2.py [--device cuda] [--batch 16] [--size 64] [--multiplier 0.125]

grouped: one kernel an image, one grouped convolution (the usual form). scaled: the input scaled before, the output
after, one ordinary convolution (what `gen.stylegan2.networks.ModulatedConv` does). Both give the same pictures.
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
    """The convolution with one kernel an image."""
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
    """Median seconds of a call, after two to warm up."""
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
    chosen = parser.parse_args()
    device = torch.device(chosen.device)
    torch.manual_seed(0)
    channels = config_f_channels(chosen.size, chosen.multiplier, chosen.maximum)
    generator = StyleGAN2Generator(channels).to(device)
    z = torch.randn(chosen.batch, 512, device=device)

    def draw() -> Tensor:
        with torch.no_grad():
            return generator(z)

    def learn() -> Tensor:
        generator.zero_grad(set_to_none=True)
        loss = generator(z).square().mean()
        loss.backward()
        return loss

    scaled, results, pictures = ModulatedConv.convolve, {}, {}
    for name, form in (("grouped", grouped), ("scaled", scaled)):
        ModulatedConv.convolve = form
        pictures[name] = draw()
        results[name] = (timed(draw, device, chosen.repeats), timed(learn, device, chosen.repeats))
    print(f"{machine(device)}\nchannels {channels}, batch {chosen.batch}, {torch.get_num_threads()} threads, float32")
    print(f"largest difference of the pictures: {float((pictures['grouped'] - pictures['scaled']).abs().max()):.1e}")
    print("| form | draw, ms an image | forward and backward, ms an image |\n|---|---|---|")
    for name, (forward, both) in results.items():
        print(f"| {name} | {1000 * forward / chosen.batch:.2f} | {1000 * both / chosen.batch:.2f} |")
    ratios = [a / b for a, b in zip(results["grouped"], results["scaled"], strict=True)]
    print(f"grouped / scaled: {ratios[0]:.2f} and {ratios[1]:.2f}")


if __name__ == "__main__":
    main()
