"""Time the parts of a training step on one CPU core: norms, generators and discriminators, forward and backward.

python -m benchmarks.training_parts
"""

import time
from collections.abc import Callable

import torch
from torch import Tensor

from gen.augan.networks import AUGANGenerator, DiscriminatorSet
from gen.training.precision import seconds_of_a_convolution
from gen.training.projected import ProjectedHeads, Projector
from gen.translation.norm import InstanceNorm

SIZE = (128, 224)


def milliseconds(run: Callable[[], None], rounds: int = 10) -> float:
    """CPU time of one run in ms, the best of `rounds`."""
    run()
    times: list[float] = []
    for _ in range(rounds):
        began = time.process_time()
        run()
        times.append(time.process_time() - began)
    return 1000 * min(times)


def norm(channels: int, height: int, width: int, dtype: torch.dtype, layout: torch.memory_format) -> float:
    """`InstanceNorm`, forward and backward: a gradient written out in channels last, one fused kernel in NCHW."""
    module = InstanceNorm(channels)
    image = torch.randn(1, channels, height, width).to(dtype, memory_format=layout).requires_grad_()
    back = torch.randn_like(image)
    return milliseconds(lambda: module(image).backward(back), 30)


def generator(design: str, width: int, exposure: float, dtype: torch.dtype) -> float:
    """Translation and reconstruction of one crop."""
    network = AUGANGenerator(width, upsampling="resize", design=design, exposure=exposure)  # pyright: ignore[reportArgumentType]
    image = torch.randn(1, 3, *SIZE)

    def run() -> None:
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            out = network(image)
            loss = out.image.mean() + network.reconstruct(out.features).mean()
        loss.backward()

    return milliseconds(run)


def discriminators(projected: bool) -> float:
    """The discriminators of both domains on one crop each, forward and backward to the pixels."""
    image = torch.randn(1, 3, *SIZE, requires_grad=True)
    published, projector, heads = DiscriminatorSet(16), Projector(64, seed=0), ProjectedHeads(64)

    def logits() -> list[Tensor]:
        if projected:
            return [x for _ in range(2) for x in heads(projector(image))]
        return [x for pair in published(image, image) for maps in pair for x in maps]

    return milliseconds(lambda: torch.stack([x.mean() for x in logits()]).sum().backward())


def main() -> None:
    """Print all timings."""
    torch.set_num_threads(1)
    for dtype in (torch.float32, torch.bfloat16):
        print(dtype)
        for channels, height, width in ((48, 64, 112), (96, 32, 56), (192, 16, 28)):
            layouts = (torch.channels_last, torch.contiguous_format)
            last, first = (norm(channels, height, width, dtype, layout) for layout in layouts)
            print(f"norm of {channels} x {height} x {width}: channels-last {last:.2f} ms, NCHW {first:.2f} ms")
        for design, width, exposure in (("published", 24, 0.0), ("light", 24, 30.0), ("light", 32, 30.0)):
            print(f"generator {design}, width {width}: {generator(design, width, exposure, dtype):.0f} ms")
    print(
        f"discriminators: published (width 16, two per domain) {discriminators(False):.0f} ms, "
        f"projected {discriminators(True):.0f} ms"
    )
    fp32, bf16 = (1000 * seconds_of_a_convolution(dtype) for dtype in (torch.float32, torch.bfloat16))
    print(f"convolution: fp32 {fp32:.1f} ms, bf16 {bf16:.1f} ms")


if __name__ == "__main__":
    main()
