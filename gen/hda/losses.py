"""Losses of few-shot adaptation. f_s, f_t: features (B, d) of the same latents drawn by the source and the adapted
generator. All are means over the batch."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from gen.hda.subspace import Flat

Anchor = Literal["target", "source"]


def distance(adapted: Tensor, flat: Flat) -> Tensor:
    """L_dist = |f* - f_t|^2 (HDA, figure 2)."""
    return flat.perpendicular(adapted).square().sum(1).mean()


def direction(
    source: Tensor, adapted: Tensor, flat: Flat, delta: float, anchor: Anchor = "target", detach: bool = False
) -> Tensor:
    """L_direct = 1 - cos(f_t - f_s, f* - f_t): move along the perpendicular, not within the domain (HDA, figure 2).

    At the first step f_t = f_s, where the cosine is undefined and its gradient explodes; `smooth_cosine` with
    `delta` bounds it. `anchor="source"` takes the perpendicular from f_s instead, a different loss, for comparison;
    `detach` lets no gradient through f*.
    """
    foot = flat.project(adapted if anchor == "target" else source)
    foot = foot.detach() if detach else foot
    start = adapted if anchor == "target" else source
    return (1 - smooth_cosine(adapted - source, foot - start, delta)).mean()


def smooth_cosine(a: Tensor, b: Tensor, delta: float) -> Tensor:
    """<a, b> / (sqrt(|a|^2 + delta^2) sqrt(|b|^2 + delta^2)), (B,); its gradient is at most about 1 / delta."""
    norms = (a.square().sum(1) + delta**2) * (b.square().sum(1) + delta**2)
    return (a * b).sum(1) * torch.rsqrt(norms)


def fixed_direction(source: Tensor, adapted: Tensor, towards: Tensor, delta: float) -> Tensor:
    """1 - cos(f_t - f_s, d) with one direction d (d,) for all samples.

    d = mean of the references - mean of source features is the image direction of StyleGAN-NADA (Gal et al. 2022); d =
    text feature of the target - of the source word, its text direction. A weighted sum of unit directions is UniHDA's
    (arXiv 2401.12596).
    """
    return (1 - smooth_cosine(adapted - source, towards.expand_as(source), delta)).mean()


def spatial_structure(source: Tensor, adapted: Tensor, temperature: float = 0.07) -> Tensor:
    """Cross-domain spatial structure (UniHDA): each token of the adapted image should know its own place in the source.

    Tokens (B, K, d). InfoNCE over the K tokens of the same source image: -log softmax_l(<a_k, b_l> / temperature)_k.
    """
    a, b = (F.normalize(tokens, dim=2) for tokens in (adapted, source))
    similarity = a @ b.transpose(1, 2) / temperature
    places = torch.arange(similarity.shape[1], device=similarity.device).expand(len(similarity), -1)
    return F.cross_entropy(similarity.flatten(0, 1), places.flatten())
