"""GAN losses of StyleGAN2. Logits are (B,), or (B, 1, h, w) of patches; large for a real image.

The penalties are differentiated twice, which torch.compile does not support: call them on the uncompiled networks.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def logistic_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """Logistic discriminator loss, softplus(-D(x)) + softplus(D(G(z))) (Goodfellow et al. 2014)."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def non_saturating_generator(fake: Tensor) -> Tensor:
    """Non-saturating generator loss, softplus(-D(G(z))) (Goodfellow et al. 2014)."""
    return F.softplus(-fake).mean()


def hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """Hinge loss, max(0, 1 - D(x)) + max(0, 1 + D(G(z))) (Lim and Ye 2017), as projected discriminators use it."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def hinge_generator(fake: Tensor) -> Tensor:
    """Its counterpart for the generator, -D(G(z))."""
    return -fake.mean()


def r1_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """R1: mean of |dD/dx|^2 over real images (B, 3, H, W) that require a gradient (Mescheder et al. 2018)."""
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.square().sum((1, 2, 3)).mean()


def path_lengths(images: Tensor, ws: Tensor, noise: Tensor) -> Tensor:
    """Path length |J^T y| of each image, (B,), for images (B, 3, H, W) drawn from ws (B, layers, w_dim), y = `noise`.

    `noise` is N(0, 1), of the shape of the images. Karras et al. 2020, section 3.2; y is divided by sqrt(H W), so that
    lengths do not depend on the image size.
    """
    scaled = noise / math.sqrt(images.shape[2] * images.shape[3])
    (gradient,) = torch.autograd.grad((images * scaled).sum(), ws, create_graph=True)
    return gradient.square().sum(2).mean(1).sqrt()
