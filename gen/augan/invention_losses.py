"""Targets and losses of the invention map: the error of a translation, and the share of it that is invented.

Pure functions. Images are in [-1, 1]; errors in grey levels, 1/127.5 of that range.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from kornia.filters import gaussian_blur2d
from torch import Tensor

from gen.augan.losses import GREY_LEVELS
from gen.media.resize import luma, resize
from gen.tensors import on_device

SCALES = 3
"""Scales at which structure is compared: windows of sigma 1.5, 3 and 6 pixels."""

CONTRAST = (0.03 * 2) ** 2
"""SSIM's C2 = (0.03 * range)^2 for the range [-1, 1]: contrast (standard deviation) far below 0.06, or
7.6 grey levels, has little effect."""


def absolute_error(translation: Tensor, truth: Tensor) -> Tensor:
    """(B, 3, H, W) each -> mean over the channels of |translation - truth|, (B, 1, H, W), grey levels."""
    return (translation.float() - truth.float()).abs().mean(dim=1, keepdim=True) * GREY_LEVELS


def laplace_nll(log_scale: Tensor, error: Tensor) -> Tensor:
    """mean [e / b + ln b] with b = exp(log_scale): the Laplace negative log-likelihood without the constant ln 2.

    It is minimal if b is the mean of e, so the predicted scale is the expected absolute error.
    """
    return (error * torch.exp(-log_scale) + log_scale).mean()


def structure_mismatch(a: Tensor, b: Tensor) -> Tensor:
    """Structural difference of two images, (B, 1, H, W): 0 for equal, about 3 for unrelated, 6 for inverted ones.

    The sum over three scales of 1 - cs, where cs = (2 cov + C2) / (var_a + var_b + C2) is the contrast-structure term
    of SSIM on luma, in Gaussian windows of sigma 1.5 pixels; each scale has half the resolution of the one before (Wang
    et al., "Multi-scale structural similarity", Asilomar 2003). Brightness is ignored.
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


def share_invented(translation: Tensor, truth: Tensor, other_days: Tensor) -> Tensor:
    """2 P(D(translation, other) < D(translation, truth)) over `other_days`, ties count half; (1, 1, H, W) in 0..2.

    D is `structure_mismatch`; `other_days` (K, 3, H, W): days of other streets, compared at the same pixels. 0: the
    translation is always more similar to its true day; 1: it is no more similar to it than to any other day, so its
    content is invented. (Above 1 it is worse than random. The map learns the mean, which is meaningful up to 1.)
    """
    own = structure_mismatch(translation, truth)
    others = structure_mismatch(translation.expand_as(other_days), other_days)
    return 2 * ((others < own).float() + (others == own).float() / 2).mean(dim=0, keepdim=True)


def shares_in_batch(translations: Tensor, truths: Tensor, streets: Sequence[str]) -> tuple[Tensor, Tensor]:
    """`share_invented` of each sample; the other days are the true days of the batch's other streets.

    Returns shares (B, 1, H, W), and (B,) bool: whether the batch has another street to compare with.
    """
    shares: list[Tensor] = []
    known: list[bool] = []
    for index, street in enumerate(streets):
        others = [i for i, other in enumerate(streets) if other != street]
        known.append(bool(others))
        own = slice(index, index + 1)
        shares.append(
            share_invented(translations[own], truths[own], truths[on_device(others, truths.device)])
            if others
            else torch.zeros_like(translations[own, :1], dtype=torch.float32)
        )
    return torch.cat(shares), on_device(known, truths.device)


def share_loss(share_logit: Tensor, share: Tensor, known: Tensor) -> Tensor:
    """Cross-entropy between sigmoid(share_logit) and share / 2, averaged over the samples with a known share.

    It is minimal at the mean of share / 2, so that twice the probability is the expected share.
    """
    loss = F.binary_cross_entropy_with_logits(share_logit, share / 2, reduction="none").mean(dim=(1, 2, 3))
    return (loss * known).sum() / known.sum().clamp(min=1)  # 0, not 0 / 0, if none is known
