"""Loss terms of a whole step that is computed in accumulation parts, or in several processes.

A covariance of features is not a mean over images, so it cannot be added up from parts. Instead (Gao et al. 2021,
arXiv 2101.06983): a forward of all parts without gradients; the term of all outputs together, and its gradient with
respect to them; then the usual forward of each part, with the surrogate term Σ output · gradient, which has the same
gradient with respect to the weights. The price is that forward.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gen.smos.algorithms.base import Batch, Terms
from gen.smos.backbones import Prediction

Gather = Callable[[Tensor], Tensor]
"""(...) of each process -> (processes, ...)."""


class Part(NamedTuple):
    """What the terms of a whole step see of one part, domain after domain."""

    logits: Tensor
    pooled: Tensor
    head_input: Tensor
    labels: Tensor


def outputs(batch: Batch) -> Part:
    """The outputs of a part; call it without gradients."""
    p = batch.prediction
    return Part(p.logits, p.pooled, p.pooled if p.head_input is None else p.head_input, batch.labels)


class Whole:
    """The outputs of all parts and processes of a step, as one batch in the order of the samples."""

    def __init__(self, parts: Sequence[Part], of: Batch, rank: int, gather: Gather) -> None:
        """`of`: any part's batch, for what is the same in all."""
        self.domains, self.rank = of.domains, rank
        columns = [torch.stack([part[n].unflatten(0, (self.domains, -1)) for part in parts]) for n in range(4)]
        gathered = [gather(column) for column in columns]  # (processes, parts, domains, B, ...)
        self.shape = gathered[0].shape[:4]
        *outputs, labels = (column.permute(2, 1, 0, 3, *range(4, column.dim())).flatten(0, 3) for column in gathered)
        self.outputs = [output.detach().requires_grad_() for output in outputs]
        logits, pooled, head_input = self.outputs
        prediction = Prediction(logits, pooled, [], head_input)
        self.batch = Batch(of.images[:0], labels, of.domains, lambda _: prediction, None, of.step, of.seed)

    def gradients(self) -> list[list[Tensor]]:
        """The gradient of each own part's logits, pooled features and head inputs, from their `grad`."""
        processes, parts, domains, size = self.shape
        found: list[list[Tensor]] = [[] for _ in range(parts)]
        for output in self.outputs:
            gradient = torch.zeros_like(output) if output.grad is None else output.grad
            by_part = gradient.unflatten(0, (domains, parts, processes, size))[:, :, self.rank]
            for part in range(parts):
                found[part].append(by_part[:, part].flatten(0, 1))
        return found


def surrogate(batch: Batch, gradients: Sequence[Tensor], share: float) -> Tensor:
    """Σ output · gradient of a part; `share`: what the trainer multiplies a part's gradient with."""
    p = outputs(batch)
    products = [(output * g).sum() for output, g in zip(p[:3], gradients, strict=True)]
    return torch.stack(products).sum() / share


def backward(terms: Terms) -> Terms:
    """Compute the gradients of all terms with respect to a `Whole`'s outputs; returns them detached."""
    if terms:
        torch.stack(list(terms.values())).sum().backward()
    return {name: value.detach() for name, value in terms.items()}
