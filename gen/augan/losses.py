"""AU-GAN's losses, each a pure function of tensors (Kwak et al., arXiv 2112.04283).

Images are in [-1, 1]; one grey level is 1/127.5 of that range. The adversarial, cycle and pair losses, which other
translators share, are in gen/translation/losses.py.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from gen.augan.settings import FeatureMatching

GREY_LEVELS = 127.5
"""Grey levels in one unit of the range [-1, 1]."""

SCALE_FLOOR = 0.1
"""Smallest Laplace scale b that the published loss can express: 0.1 of [-1, 1], that is 12.75 grey levels."""


def reconstruction(reconstructed: Tensor, image: Tensor) -> Tensor:
    """mean |x_rec - x|: makes the encoder keep the content of the image."""
    return (reconstructed.float() - image).abs().mean()


def uncertain_cycle(cycled: Tensor, image: Tensor, log_scale: Tensor) -> Tensor:
    """mean [5 exp(-s) |x_cyc - x| + s/2]: half the Laplace negative log-likelihood of the cycle error.

    With b = exp(s)/10 it equals 1/2 (|e|/b + ln b) + ln(10)/2. Its minimum over s >= 0 is at s* = max(0, ln(10 |e|)),
    where |e| is the channel mean of the error. `log_scale` (B, 1, H, W) is s. The factor 5 is that of the published
    code; the equation in the paper could not be checked.
    """
    s = log_scale.float()
    return (5 * torch.exp(-s) * (cycled.float() - image).abs() + s / 2).mean()


def laplace_scale(log_scale: Tensor) -> Tensor:
    """s -> b = exp(s)/10 in grey levels: the scale of the Laplace distribution of the cycle error, at least 12.75."""
    return torch.exp(log_scale.float()) * (SCALE_FLOOR * GREY_LEVELS)


def feature_matching(ours: Tensor, theirs: Tensor, mode: FeatureMatching) -> Tensor:
    """L1 between two feature maps (B, C, h, w), no stop-gradient.

    `channel_mean`: |mean_c ours - mean_c theirs|, only the mean activation at each position, as in the published code;
    `full`: |ours - theirs| channel by channel; `off`: zero. It is asymmetric by the choice of tensors:
    T(E_AB(x_A)) with E_BA(x'_B), and E_BA(x_B) with E_AB(x'_A).
    """
    if mode == "off":
        return ours.new_zeros(())
    if mode == "channel_mean":
        ours, theirs = ours.float().mean(dim=1), theirs.float().mean(dim=1)
    return (ours.float() - theirs.float()).abs().mean()


def perceptual(maps: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
    """Mean over levels and positions of |f/|f| - g/|g||^2, for the feature maps (B, C_l, H_l, W_l) of two images.

    LPIPS (Zhang et al. 2018) with equal channel weights. Not in the paper.
    """
    distances = [
        (F.normalize(x.float(), dim=1) - F.normalize(y.float(), dim=1)).square().sum(1).mean()
        for x, y in zip(maps, wanted, strict=True)
    ]
    return torch.stack(distances).mean()
