"""An AU-GAN generator on a frame that the device's memory cannot hold."""

from torch import Tensor, nn

from gen.augan.networks import AUGANGenerator, Translation
from gen.translation.tiling import run_in_strips


def translate_in_strips(generator: AUGANGenerator, image: Tensor, rows: int) -> Translation:
    """As `generator(image)`, with at most `rows` rows of a convolution's output at a time; the result is on the CPU.

    `image` (B, 3, H, W) in [-1, 1], sides multiples of `generator.multiple`.
    """
    device, dtype = generator.device, generator.dtype

    def run(module: nn.Module, x: Tensor) -> Tensor:
        return run_in_strips(module, x, rows, device)

    image = image.to(device, dtype)  # three channels, or six: small beside the feature maps
    features = run(generator.encoder, generator.seen(image).cpu())
    transferred = run(generator.transfer, features)
    decoder = generator.decoder
    d1 = run(decoder.up1, run(decoder.blocks, transferred))
    log_scale = run(generator.head, d1) if generator.head is not None else None
    decoded = run(decoder.to_rgb, run(decoder.up2, d1))
    return Translation(generator.composed(image, decoded.to(device)).cpu(), features, transferred, log_scale)
