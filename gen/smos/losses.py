"""The terms of SMOS and of what it is compared with; z, u: pooled features of student and precursor, (B, d).

Luo et al. 2024 ground a student in a frozen precursor. The text speaks of a Jensen-Shannon divergence; the published
code computes something else under that name, which is kept here apart, for comparison.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SMALLEST_VARIANCE = 1e-5
FIRST_VARIANCE = 0.1
LN2 = math.log(2.0)


def jensen_shannon(p: Tensor, q: Tensor) -> Tensor:
    """D_JS = KL(p || m) / 2 + KL(q || m) / 2 with m = (p + q) / 2, of distributions (..., d) -> (...), in [0, ln 2]."""
    m = (p + q) / 2
    return ((torch.xlogy(p, p) - torch.xlogy(p, m)) + (torch.xlogy(q, q) - torch.xlogy(q, m))).sum(-1) / 2


def grounding_js(precursor: Tensor, student: Tensor, temperature: float = 1.0) -> Tensor:
    """Mean D_JS(softmax(u / t), softmax(z / t)) over the batch: bounded, zero only where both agree.

    Computed from logarithms, so that a probability of zero has a gradient of zero.
    """
    log_p = F.log_softmax(precursor.float() / temperature, -1)
    log_q = F.log_softmax(student.float() / temperature, -1)
    log_m = torch.logaddexp(log_p, log_q) - LN2
    return (log_p.exp() * (log_p - log_m) + log_q.exp() * (log_q - log_m)).sum(-1).mean() / 2


def released_js(precursor: Tensor, student: Tensor) -> Tensor:
    """What the published code minimises as "JS": mean[m log m - m^2] with m = (u + z) / 2, features as they are.

    It does not see u - z, is not bounded below, and falls for ever as features grow: no divergence. Features are
    clamped to 1e-8 from below, where the published code takes a logarithm of zero.
    """
    m = ((precursor.float() + student.float()) / 2).clamp(min=1e-8)
    return (m * m.log() - m * m).mean()


def released_kl(precursor: Tensor, student: Tensor) -> Tensor:
    """What the published code minimises as "KL": mean[z log z - z u]; least at z = exp(u - 1), so no divergence."""
    z = student.float().clamp(min=1e-8)
    return (z * z.log() - z * precursor.float()).mean()


class MutualInformationBound(nn.Module):
    """L_MI = sum over levels l of mean[(f_l - g_l)^2 / s_l + log s_l] / 2: MIRO's variational bound (Cha et al. 2022).

    f, g: maps of student and oracle. The mean encoder is the identity; the variance s_l is learnt, one value a
    channel: softplus(b_l) + 1e-5, at first 0.1. May be negative.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        first = math.log(math.expm1(FIRST_VARIANCE - SMALLEST_VARIANCE))
        self.biases = nn.ParameterList([nn.Parameter(torch.full((c,), first)) for c in channels])

    def variances(self) -> list[Tensor]:
        """s_l, (C_l,) each."""
        return [F.softplus(b) + SMALLEST_VARIANCE for b in self.biases]

    def forward(self, student: Sequence[Tensor], oracle: Sequence[Tensor]) -> Tensor:
        """Maps (B, C_l, H_l, W_l) of both -> the bound, in float32 whatever the maps are."""
        terms = [
            ((f.float() - g.float()).square() / s.view(-1, 1, 1)).mean() + s.log().mean()
            for f, g, s in zip(student, oracle, self.variances(), strict=True)
        ]
        return torch.stack(terms).sum() / 2
