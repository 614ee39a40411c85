"""Losses of few-shot adaptation, each a mean over the batch.

HDA: Li et al., ICLR 2024 (arXiv 2310.19378), figure 2. f_s and f_t are the features (B, d) of the same latents, drawn
by the source and by the adapted generator; f* is the projection of f_t onto the subspace of the target domain.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from gen.hda.settings import Anchor
from gen.hda.subspace import AffineSubspace
from gen.mobilestylegan.networks import haar


def distance(adapted: Tensor, subspace: AffineSubspace) -> Tensor:
    """Distance loss of HDA: L_dist = |f* - f_t|^2."""
    return subspace.perpendicular(adapted).square().sum(1).mean()


def direction(
    source: Tensor,
    adapted: Tensor,
    subspace: AffineSubspace,
    delta: float,
    anchor: Anchor = "target",
    detach: bool = False,
) -> Tensor:
    """Direction loss of HDA: L_direct = 1 - cos(f_t - f_s, f* - f_t).

    It asks for movement along the perpendicular; movement inside the subspace (variation within the domain) gives 1.
    `delta` is that of `smooth_cosine`. For comparison, `anchor="source"` takes the perpendicular from f_s instead,
    which is a different loss, and `detach` stops the gradient through f*.
    """
    start = adapted if anchor == "target" else source
    foot = subspace.project(start)
    foot = foot.detach() if detach else foot
    # Departure from the paper: a smoothed cosine. In the first step f_t = f_s, where the plain cosine is undefined and
    # its gradient about 1e8; Adam's second moment would remember that and hold all later steps down.
    return (1 - smooth_cosine(adapted - source, foot - start, delta)).mean()


def smooth_cosine(a: Tensor, b: Tensor, delta: float) -> Tensor:
    """<a, b> / (sqrt(|a|^2 + delta^2) sqrt(|b|^2 + delta^2)), (B,), for a and b (B, d).

    The cosine for vectors much longer than `delta`; its gradient is at most about 1 / delta everywhere.
    """
    norms = (a.square().sum(1) + delta**2) * (b.square().sum(1) + delta**2)
    return (a * b).sum(1) * torch.rsqrt(norms)


def fixed_direction(source: Tensor, adapted: Tensor, target_direction: Tensor, delta: float) -> Tensor:
    """1 - cos(f_t - f_s, d) with one direction d (d,) for all samples (StyleGAN-NADA, Gal et al. 2022).

    Image direction: d = mean feature of the references - mean feature of the source. Text direction: d = text feature
    of the target - text feature of the source word.

    The sum of this over domains i with weights alpha_i that sum to one is 1 - |D| cos(f_t - f_s, D) with
    D = sum_i alpha_i d_i / |d_i|: but for the factor |D|, UniHDA's cosine to the summed direction (arXiv 2401.12596).
    """
    return (1 - smooth_cosine(adapted - source, target_direction.expand_as(source), delta)).mean()


def unlikeness(features: Tensor, goal: Tensor) -> Tensor:
    """1 - cos(f, t) for features (B, d) of length one and one feature t (d,): StyleGAN-NADA's global loss.

    There, and here, it only tells which layers to train.
    """
    return (1 - features @ F.normalize(goal, dim=0)).mean()


def spatial_structure(source: Tensor, adapted: Tensor, temperature: float = 0.07) -> Tensor:
    """Cross-domain spatial structure loss (UniHDA, arXiv 2401.12596): the layout of the image stays as it was.

    Patch tokens (B, K, d). Token k of the adapted image should be most similar to token k of the source image: InfoNCE
    over the K tokens of that image, -log softmax_l(<a_k, b_l> / temperature)_k with tokens of length one.
    """
    a, b = (F.normalize(tokens, dim=2) for tokens in (adapted, source))
    similarity = a @ b.transpose(1, 2) / temperature
    own_index = torch.arange(similarity.shape[1], device=similarity.device).expand(len(similarity), -1)
    return F.cross_entropy(similarity.flatten(0, 1), own_index.flatten())


def grid_pattern(source: Tensor, adapted: Tensor, block: int = 16, levels: int = 3) -> Tensor:
    """How strongly adaptation draws a grid of two, four and eight pixels over the image.

    Images (B, 3, H, W). The mean square, over blocks of `block` pixels, of the mean of each Haar detail of their
    difference, summed over the levels. A generator doubles the size of its features level by level, so a pattern with
    such a period has the same phase everywhere and does not average out; edges and texture nearly do. Encoders hardly
    see it, and Adam amplifies gradients that are mostly noise: nothing else in the loss holds it back.
    """
    terms = [source.new_zeros((), dtype=torch.float32)]
    averages = (adapted - source).float()
    for level in range(1, levels + 1):
        if min(averages.shape[-2:]) < 2:
            break
        averages = averages[..., : averages.shape[-2] // 2 * 2, : averages.shape[-1] // 2 * 2]
        parts = haar(averages) / 2  # halved, they are in the unit of the image
        averages, details = parts[:, :3], parts[:, 3:]
        side = min(block >> level, *details.shape[-2:])
        terms.append(F.avg_pool2d(details, side).square().mean())
    return torch.stack(terms).sum()
