"""Run an AU-GAN generator on a frame whose activations do not fit into device memory."""

from torch import Tensor, nn

from gen.augan.networks import AUGANGenerator, Translation
from gen.translation.tiling import run_in_strips


def translate_in_strips(generator: AUGANGenerator, image: Tensor, rows: int) -> Translation:
    """Like `generator(image)`, but computes at most `rows` output rows of a convolution at a time.

    `image` (B, 3, H, W) in [-1, 1], sides multiples of `generator.multiple`. The result is on the CPU.
    """
    device, dtype = generator.device, generator.dtype

    def run(module: nn.Module, x: Tensor) -> Tensor:
        return run_in_strips(module, x, rows, device)

    image = image.to(device, dtype)  # only three or six channels, so it fits into device memory
    features = run(generator.encoder, generator.encoder_input(image).cpu())
    transferred = run(generator.transfer, features)
    decoder = generator.decoder
    d1 = run(decoder.up1, run(decoder.blocks, transferred))
    log_scale = run(generator.head, d1) if generator.head is not None else None
    decoded = run(decoder.to_rgb, run(decoder.up2, d1))
    return Translation(generator.compose(image, decoded.to(device)).cpu(), features, transferred, log_scale)
