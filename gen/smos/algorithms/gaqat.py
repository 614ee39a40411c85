"""GAQAT (Jiang et al. 2024, arXiv 2412.05551): sharpness-aware training of a quantised network, with calm scales.

Weights and activations have fake quantisers of 3 or 4 bits with learned scales s (LSQ, see `gen.smos.quantisers`).
SAM's two passes give each scale two gradients: g = ∂L(θ)/∂s is the task's part, and g' - g, with g' = ∂L(θ + ε)/∂s,
that of smoothness. The disorder of a scale is the share of neighbours among its last g with opposite signs, 1 if they
alternate and 0 if they agree. Where it is below a threshold, the task's part is frozen: the scale learns with g' - g,
all else with g'. With a threshold of 0 nothing is ever frozen: this is SAM with LSQ.

Known are the abstract and what others write of the paper; there is no code. **These rules are our reading**, the
plainest: the base is SAM (theirs is SAGM, whose direction is the mean of g and g'); the disorder is measured in windows
of `window` steps, and decides for the steps of the next window, so that a scale thaws after a window of more disorder;
window and threshold (random signs have a disorder of .5); all convolutions and linear layers are quantised, the first
and the last with 8 bits, as in LSQ's experiments; activations that may be negative have a signed range, which a look at
random images tells; scales of activations start from the first step's images; the student starts from its usual
weights, and scales have its optimiser and learning rate.

The model that a run writes is a `Classifier` whose configuration says `bits`: loaded, it has the same quantisers and
gives the same predictions. Its weights are those before quantisation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from gen.errors import BadSetting
from gen.smos.algorithms.base import Batch, Step, Terms
from gen.smos.algorithms.sam import SAM, SAMOptions, ascended
from gen.smos.backbones import Classifier, statistics_kept
from gen.smos.quantisers import EDGE_BITS, InputQuantiser, Quantiser, first_scale, observing, quantisable


@dataclass(frozen=True)
class GAQATOptions(SAMOptions):
    """Options of GAQAT."""

    bits: Literal[3, 4] = 4
    """Of weights and activations."""
    window: Annotated[int, Field(ge=2)] = 50
    """Steps over which the disorder is measured."""
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.3
    """Disorder below which the task's part is frozen; 0: never."""


def disorder(gradients: Tensor) -> Tensor:
    """Share of neighbours in time with opposite signs, of gradients (steps, scales): (scales,)."""
    return (gradients[1:].sign() * gradients[:-1].sign() < 0).float().mean(0)


class GAQAT(SAM):
    """The student's layers get quantisers; the trainer selects, averages and saves them with its weights."""

    options: GAQATOptions
    options_class = GAQATOptions

    def __init__(self, options: GAQATOptions, student: Classifier, domains: int) -> None:
        super().__init__(options, student, domains)
        signed = negative_inputs(student)
        student.quantise(options.bits)
        for name, layer in quantisable(student).items():
            cast(InputQuantiser, layer.quantiser).set_range(signed[name])
        self.signs = torch.zeros(options.window, len(self.scales))
        """Of the window's task gradients."""
        self.frozen = torch.zeros(len(self.scales), dtype=torch.bool)

    @property
    def scales(self) -> list[nn.Parameter]:
        """s of all quantisers."""
        return [module.scale for module in self.student.modules() if isinstance(module, Quantiser)]

    @classmethod
    def describe(cls, options: SAMOptions) -> str:
        """The loss in words."""
        assert isinstance(options, GAQATOptions)
        return (
            f"{super().describe(options)}, of a network quantised to {options.bits} bits (first and last layer "
            f"{EDGE_BITS}), where the task's gradient of a scale is left out if its disorder over {options.window} "
            f"steps is below {options.threshold:g}"
        )

    def step(self, step: Step) -> Terms:
        """SAM's step; where a scale is frozen, without the task's part of its gradient."""
        if not step.number:
            self._start_scales(step)
        scales, terms = self.scales, step.backward()
        task = gradients(scales)
        with ascended(self.student, self.options.rho), statistics_kept(self.student):
            step.backward()
        both = gradients(scales)
        self.frozen = self.frozen.to(both.device)
        for scale, gradient in zip(scales, torch.where(self.frozen, both - task, both), strict=True):
            scale.grad = gradient
        frozen = self.frozen.float().mean()
        self._observe(step.number, task)
        step.update()
        return terms | {"progress/frozen": frozen}

    def _observe(self, number: int, task: Tensor) -> None:
        """At the end of a window, decide what is frozen in the next."""
        window = self.options.window
        self.signs = self.signs.to(task)
        self.signs[number % window] = task.sign()
        if (number + 1) % window == 0:
            self.frozen = disorder(self.signs) < self.options.threshold

    def _start_scales(self, step: Step) -> None:
        """Let the activations' scales start from the images of a step.

        The gradient of Σ s · mean|v| by s is mean|v|, of all parts and processes of the step.
        """
        with observing(self.student) as quantisers, statistics_kept(self.student):
            step.backward(terms=lambda batch: self._seen(batch, quantisers))
        with torch.no_grad():
            for quantiser in quantisers:
                assert quantiser.scale.grad is not None
                quantiser.scale.copy_(first_scale(quantiser.scale.grad, quantiser.high))

    def _seen(self, batch: Batch, quantisers: Sequence[InputQuantiser]) -> Terms:
        logits = batch.prediction.logits.float()
        each = [quantiser.scale * cast(Tensor, quantiser.seen) for quantiser in quantisers]
        # Times zero: several processes wait for a gradient of every weight.
        return {"seen": torch.stack(each).sum() + 0 * logits.sum()}

    def state(self) -> dict[str, Any]:
        """The signs of this window, and what is frozen."""
        return {"signs": self.signs, "frozen": self.frozen}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """The signs of this window, and what is frozen."""
        self.signs, self.frozen = state["signs"], state["frozen"]


def gradients(scales: Sequence[Tensor]) -> Tensor:
    """(scales,)."""
    return torch.stack([cast(Tensor, scale.grad) for scale in scales])


@torch.no_grad()
def negative_inputs(network: Classifier) -> dict[str, bool]:
    """Whether the inputs of each layer may be negative, by its name, from a look at random images.

    Raises `BadSetting` for a layer that is used otherwise than by a call.
    """
    layers, found = quantisable(network), dict[str, bool]()

    def look(name: str, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        found[name] = found.get(name, False) or bool((inputs[0] < 0).any())

    hooks = [layer.register_forward_pre_hook(partial(look, name)) for name, layer in layers.items()]
    mode, weight = network.training, network.head.weight
    images = torch.rand(
        2, 3, network.config["size"], network.config["size"], generator=torch.Generator().manual_seed(0)
    )
    network.eval()(images.to(weight))
    network.train(mode)
    for hook in hooks:
        hook.remove()
    if unused := layers.keys() - found.keys():
        raise BadSetting(f"backbone: gaqat cannot quantise its layer {min(unused)}; choose another backbone.")
    return found
