"""Loss terms of SMOS and MIRO. z, u: pooled features (B, d) of the student and the precursor.

Luo et al. 2024 (arXiv 2405.15961) ground a student in a frozen precursor. The paper names a Jensen-Shannon
divergence; the published code computes other terms under that name, which are the `released_` functions here.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SMALLEST_VARIANCE = 1e-5
"""Added to softplus, so that the division by the variance stays finite."""
INITIAL_VARIANCE = 0.1
"""As published."""
LN2 = math.log(2.0)


def grounding_js(precursor: Tensor, student: Tensor, temperature: float = 1.0) -> Tensor:
    """Mean of D_JS(softmax(u / τ) || softmax(z / τ)) over the batch, in nats: 0 (equal) to ln 2.

    Computed from log-softmax and logaddexp in float32: with probabilities, an underflow to 0 would give log 0 and a
    NaN gradient. Softmax over about 2,000 features is nearly flat, so at τ = 1 values are small (about 0.01).
    """
    log_p = F.log_softmax(precursor.float() / temperature, -1)
    log_q = F.log_softmax(student.float() / temperature, -1)
    log_m = torch.logaddexp(log_p, log_q) - LN2
    return (log_p.exp() * (log_p - log_m) + log_q.exp() * (log_q - log_m)).sum(-1).mean() / 2


def released_js(precursor: Tensor, student: Tensor) -> Tensor:
    """The "JS" term of the published code: mean[m log m - m²] with m = (u + z) / 2, on raw features.

    The code passes features to `F.kl_div` where it expects log-probabilities. The result is not a divergence: it does
    not depend on u - z, and it falls without bound as features grow.
    """
    m = ((precursor.float() + student.float()) / 2).clamp(min=1e-8)  # the published code takes log 0 here
    return (m * m.log() - m * m).mean()


def released_kl(precursor: Tensor, student: Tensor) -> Tensor:
    """The "KL" term of the published code: mean[z log z - z u]. Its minimum is at z = exp(u - 1), not at z = u."""
    z = student.float().clamp(min=1e-8)
    return (z * z.log() - z * precursor.float()).mean()


class MutualInformationBound(nn.Module):
    """L_MI = Σ_l mean[(f_l - g_l)² / s_l + log s_l] / 2, MIRO's variational bound (Cha et al. 2022), over levels l.

    f, g: maps of the student and the frozen network. As published, the mean encoder is the identity, and the variance
    is one learnt value per channel, s_l = softplus(b_l) + 1e-5. The bound may be negative.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        initial = math.log(math.expm1(INITIAL_VARIANCE - SMALLEST_VARIANCE))  # the inverse of softplus
        self.biases = nn.ParameterList([nn.Parameter(torch.full((c,), initial)) for c in channels])

    def variances(self) -> list[Tensor]:
        """s_l, (C_l,) each."""
        return [F.softplus(b) + SMALLEST_VARIANCE for b in self.biases]

    def forward(self, student: Sequence[Tensor], reference: Sequence[Tensor]) -> Tensor:
        """Maps (B, C_l, H_l, W_l) of both -> the bound. In float32: bfloat16 loses the small differences of maps."""
        terms = [
            ((f.float() - g.float()).square() / s.view(-1, 1, 1)).mean() + s.log().mean()
            for f, g, s in zip(student, reference, self.variances(), strict=True)
        ]
        return torch.stack(terms).sum() / 2
