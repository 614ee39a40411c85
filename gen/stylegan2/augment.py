"""DiffAugment: the same random changes for real and generated images, through which gradients flow.

Zhao et al., "Differentiable Augmentation for Data-Efficient GAN Training", NeurIPS 2020 (arXiv 2006.10738). Colour,
translation by up to an eighth of the side, and a hole of half of the side. The discriminator never sees an image twice
in the same form, so it cannot memorise a small set; and because generated images are changed in the same way, the
generator does not learn to draw the changes.
"""

from torch import Tensor

from gen.training.augment import cutout, translate

DRAWS = 7
"""Random numbers per image."""


def diff_augment(images: Tensor, draws: Tensor) -> Tensor:
    """Images (B, 3, H, W) in [-1, 1], `draws` (B, DRAWS) uniform in [0, 1] -> changed images, values may exceed 1."""
    x = colour(images, draws[:, :3])
    x = translate(x, draws[:, 3:5])
    return cutout(x, draws[:, 5:7])


def colour(images: Tensor, draws: Tensor) -> Tensor:
    """Brightness plus -0.5..0.5, then saturation times 0..2, then contrast times 0.5..1.5; `draws` (B, 3).

    In the order of the published code.
    """
    bright, saturation, contrast = (d.view(-1, 1, 1, 1) for d in draws.unbind(1))
    x = images + (bright - 0.5)
    grey = x.mean(1, keepdim=True)
    x = grey + (x - grey) * (2 * saturation)
    mean = x.mean((1, 2, 3), keepdim=True)
    return mean + (x - mean) * (contrast + 0.5)
