"""UDIM (Shin et al. 2024, arXiv 2403.07329; aailabkaist/UDIM): flat, and alike in a perturbed domain.

After a warm-up with SAM, in each step:
1. g_S: SAM's gradient of the cross-entropy on the images x.
2. x̃ = x + η n(∇_x [ L(x) + ρ ‖∇_θ L(x)‖ ]), n: divided by the norm of each image. The gradient of a gradient's norm
   with respect to pixels needs a double backward.
3. G_i, G̃_i: gradients of image i's loss with respect to the linear layer (weight W and bias b), on x and x̃. v is the
   variance of G; ṽ = mean_i (G̃_i - Ḡ)², about the mean on x.
   L_I = sum over domains of ¼ mean_j (v - ṽ)_j² + Σ_{p in W, b} mean_i ‖G̃_i,p‖² / |p|.
4. The optimiser steps with g_S + λ ∇L_I.

As the public code has it, but for these: n is per image, as the paper's length of a perturbation suggests (there across
the batch: `normalise=batch`); η is in pixel values from 0 to 1, and 2.25 is its 10 of normalised pixels; running
statistics stay (there lost after the warm-up); the warm-up's last weights are taken up, not those of its best
validation. x is perturbed and L_I computed in each accumulation part and process by itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from gen.smos.algorithms.base import Batch, Step, Terms
from gen.smos.algorithms.fishr import residuals
from gen.smos.algorithms.sam import SAM, SAMOptions, ascended
from gen.smos.backbones import statistics_kept
from gen.smos.settings import SMOSSettings


@dataclass(frozen=True)
class UDIMOptions(SAMOptions):
    """Options of UDIM."""

    inconsistency: Annotated[float, Field(ge=0)] = 1.0
    """λ."""
    eta: Annotated[float, Field(ge=0)] = 2.25
    """η, the length of an image's perturbation."""
    start: Annotated[int, Field(ge=0)] = 1000
    """Steps of the warm-up. Default: a fifth of the run."""
    normalise: Literal["image", "batch"] = "image"
    """n: the perturbation has the length η in each image, or over the batch in each pixel."""


def inconsistency(logits: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
    """L_I of a domain: logits (2, B, classes) and inputs (2, B, d) of the linear layer, on x and x̃; labels (B,)."""
    residual = residuals(logits, labels)
    count = len(labels)
    inputs = torch.cat([inputs, torch.ones_like(inputs[..., :1])], -1)  # the bias is the weight of an input 1
    mean, other = residual.mT @ inputs / count
    square, other_square = residual.square().mT @ inputs.square() / count
    variance, about = square - mean.square(), other_square - 2 * mean * other + mean.square()
    norms = other_square[:, :-1].mean() + other_square[:, -1].mean()
    return (variance - about).square().mean() / 4 + norms


class UDIM(SAM):
    """SAM and L_I."""

    options: UDIMOptions
    options_class = UDIMOptions

    @classmethod
    def from_settings(cls, settings: SMOSSettings) -> Mapping[str, Any]:
        """The warm-up, a fifth of the run."""
        return {"start": settings.steps // 5}

    @classmethod
    def describe(cls, options: SAMOptions) -> str:
        """The loss in words."""
        assert isinstance(options, UDIMOptions)
        return (
            f"{super().describe(options)} + {options.inconsistency:g} inconsistency in a domain perturbed by "
            f"{options.eta:g}, from step {options.start}"
        )

    def step(self, step: Step) -> Terms:
        """SAM's step, with the gradient of L_I added once the warm-up is over."""
        o = self.options
        if step.number < o.start or not o.inconsistency:
            return super().step(step)
        terms = step.backward()
        with ascended(self.student, o.rho), statistics_kept(self.student):
            step.backward()
        modules = (self.student, *self.networks().values())
        sharp = [(p, p.grad) for module in modules for p in module.parameters() if p.grad is not None]
        found = step.backward(terms=self.inconsistency_terms)
        for parameter, gradient in sharp:
            parameter.grad = gradient if parameter.grad is None else gradient + parameter.grad
        step.update()
        return terms | found

    def inconsistency_terms(self, batch: Batch) -> Terms:
        """λ L_I."""
        both = torch.cat([batch.images, self.perturbed(batch.images, batch.labels)])
        with statistics_kept(self.student):
            # In one forward: between two, several processes exchange buffers that the first backward needs.
            prediction = batch.forward(both)
        assert prediction.head_input is not None
        shape = (2, batch.domains, -1)
        logits, inputs = (t.float().unflatten(0, shape) for t in (prediction.logits, prediction.head_input))
        labels = batch.by_domain(batch.labels)
        found = [inconsistency(logits[:, d], inputs[:, d], labels[d]) for d in range(batch.domains)]
        return {"inconsistency": self.options.inconsistency * torch.stack(found).sum()}

    def perturbed(self, images: Tensor, labels: Tensor) -> Tensor:
        """x̃ of images (B, 3, H, W)."""
        o, x = self.options, images.detach().requires_grad_()
        weights = [p for p in self.student.parameters() if p.requires_grad]
        with statistics_kept(self.student):
            # `forward`, because what torch.compile makes of a network has no double backward.
            loss = F.cross_entropy(self.student.forward(x).logits.float(), labels)
        gradients = torch.autograd.grad(loss, weights, create_graph=True)
        norm = torch.stack([g.square().sum() for g in gradients]).sum().add(1e-24).sqrt()
        (direction,) = torch.autograd.grad(loss + o.rho * norm, x)
        dims = (1, 2, 3) if o.normalise == "image" else (0,)
        length = direction.square().sum(dims, keepdim=True).sqrt().clamp(min=1e-12)
        return images + o.eta * direction / length
