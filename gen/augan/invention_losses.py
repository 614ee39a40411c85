"""What the invention map learns: the error of a translation, and the share of it that is made up.

Pure functions. Images are in [-1, 1]; errors in grey levels, 1/127.5 of that range.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from kornia.filters import gaussian_blur2d
from torch import Tensor

from gen.augan.losses import GREY_LEVELS
from gen.media.resize import luma, resize

SCALES = 3
"""Scales at which structure is compared: windows of sigma 1.5, 3 and 6 pixels."""

CONTRAST = (0.03 * 2) ** 2
"""SSIM's C2, for the range [-1, 1]: contrast below about two grey levels counts as none."""


def absolute_error(translation: Tensor, truth: Tensor) -> Tensor:
    """(B, 3, H, W) each -> mean over the channels of |translation - truth|, (B, 1, H, W), grey levels."""
    return (translation.float() - truth.float()).abs().mean(dim=1, keepdim=True) * GREY_LEVELS


def laplace_nll(log_scale: Tensor, error: Tensor) -> Tensor:
    """mean [e / b + ln b] with b = exp(log_scale): the Laplace law's negative log-likelihood, less ln 2.

    Its minimum over b lies at the mean of e: the predicted scale is the expected absolute error.
    """
    return (error * torch.exp(-log_scale) + log_scale).mean()


def structure_mismatch(a: Tensor, b: Tensor) -> Tensor:
    """How little the structure of two images agrees, (B, 1, H, W): 0 the same, about 3 unrelated, 6 inverted.

    sum over three scales of 1 - cs, where cs = (2 cov + C2) / (var_a + var_b + C2) is the contrast-structure term of
    SSIM on luma, in Gaussian windows of sigma 1.5 pixels, and each further scale has half the resolution (Wang et
    al., "Multi-scale structural similarity", Asilomar 2003). Brightness does not count.
    """
    size = (a.shape[-2], a.shape[-1])
    x, y = luma(a.float()), luma(b.float())
    total = torch.zeros_like(x)
    for scale in range(SCALES):
        if scale:
            x, y = (F.avg_pool2d(i, 2, ceil_mode=True, count_include_pad=False) for i in (x, y))
        total = total + resize(1 - _contrast_structure(x, y), size)
    return total


def _contrast_structure(x: Tensor, y: Tensor) -> Tensor:
    mean_x, mean_y, xx, yy, xy = (_window(i) for i in (x, y, x * x, y * y, x * y))
    variances = (xx - mean_x**2).clamp(min=0) + (yy - mean_y**2).clamp(min=0)
    return (2 * (xy - mean_x * mean_y) + CONTRAST) / (variances + CONTRAST)


def _window(image: Tensor) -> Tensor:
    return gaussian_blur2d(image, (11, 11), (1.5, 1.5), border_type="replicate")


def share_invented(translation: Tensor, truth: Tensor, strangers: Tensor) -> Tensor:
    """2 P(D(translation, stranger) < D(translation, truth)), ties half, over the strangers, (1, 1, H, W), 0..2.

    D is `structure_mismatch`; `strangers` (K, 3, H, W) are days of other streets, at the same place of the picture.
    0: the translation is always more like its true day than like another; 1: no more than like any other, so that
    what it shows there was not seen but made up. (Beyond 1 it is worse than made up; the mean is what is learnt.)
    """
    own = structure_mismatch(translation, truth)
    others = structure_mismatch(translation.expand_as(strangers), strangers)
    return 2 * ((others < own).float() + (others == own).float() / 2).mean(dim=0, keepdim=True)


def shares_in_batch(translations: Tensor, truths: Tensor, streets: Sequence[str]) -> tuple[Tensor, Tensor]:
    """`share_invented` of each of a batch, its strangers the true days of the batch's other streets.

    Returns shares (B, 1, H, W), and (B,) bool: whether there was a stranger to compare with.
    """
    shares: list[Tensor] = []
    known: list[bool] = []
    for index, street in enumerate(streets):
        strangers = [i for i, other in enumerate(streets) if other != street]
        known.append(bool(strangers))
        own = slice(index, index + 1)
        shares.append(
            share_invented(translations[own], truths[own], truths[strangers])
            if strangers
            else torch.zeros_like(translations[own, :1], dtype=torch.float32)
        )
    return torch.cat(shares), torch.tensor(known, device=truths.device)


def share_loss(share_logit: Tensor, share: Tensor, known: Tensor) -> Tensor:
    """Cross-entropy between the probability sigmoid(share_logit) and share / 2, over the samples that are known.

    Its minimum lies at the mean of share / 2, so that twice the probability is the expected share.
    """
    loss = F.binary_cross_entropy_with_logits(share_logit, share / 2, reduction="none").mean(dim=(1, 2, 3))
    return (loss * known).sum() / known.sum().clamp(min=1)
