"""Calibrate an invention map on streets that the translator was not trained on.

If the translator was trained on the same pairs as the map, its errors on them are smaller than on other frames, and the
map underestimates. Calibration applies x -> scale x + shift to the logit of the share and to the logarithm of the
error, fitted with the training losses (Platt scaling; Guo et al., "On Calibration of Modern Neural Networks", ICML
2017). The ranking of pixels within a frame does not change.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from gen.augan.degrade import degrade_at_random
from gen.augan.held_out import Streets
from gen.augan.invention import InventionMap
from gen.augan.invention_losses import absolute_error, laplace_nll, share_invented
from gen.augan.pipeline import AUGANPipeline
from gen.media.resize import pad_to_multiple, resize

PIXEL_STEP = 7
"""Only every n-th pixel is used, to save memory; neighbouring pixels are nearly the same."""


class Affine(NamedTuple):
    """x -> scale x + shift."""

    scale: float
    shift: float


class Pixels(NamedTuple):
    """Predicted and true values of N pixels, (N,) each."""

    log_error: Tensor
    share_logit: Tensor
    error: Tensor
    share: Tensor


def calibrate(pipeline: AUGANPipeline, rendered: Path, spared: float) -> dict[str, Affine]:
    """Adjust the last layer of the pipeline's map to be calibrated on these frames; returns the affine functions.

    `rendered`: folder of `gen render-street` frames on which neither translator nor map was trained; `spared`: share of
    them that is not degraded. Raises `BadInput` for folders that lack frames.
    """
    network = pipeline.invention
    if network is None:
        raise ValueError("the pipeline has no invention map")
    pixels = outcomes(pipeline, network, rendered, spared)
    affine = {
        "error": fit(pixels.log_error, lambda predicted: laplace_nll(predicted, pixels.error)),
        "share": fit(
            pixels.share_logit, lambda predicted: F.binary_cross_entropy_with_logits(predicted, pixels.share / 2)
        ),
    }
    with torch.no_grad():
        scales, shifts = (torch.tensor(values) for values in zip(*affine.values(), strict=True))
        weight, bias = network.leave.parameters()  # so this is exact: only interpolation follows the last layer
        weight *= scales.to(weight).view(-1, 1, 1, 1)
        bias.copy_(bias * scales.to(bias) + shifts.to(bias))
    return affine


@torch.no_grad()
def outcomes(pipeline: AUGANPipeline, network: InventionMap, rendered: Path, spared: float) -> Pixels:
    """The map's raw outputs and the true values on every frame, randomly degraded, at the map's own size."""
    streets = Streets(rendered)
    generator = pipeline.generator("adverse_to_normal")
    parts: list[Pixels] = []
    for held_out in streets.frames("calibrating"):
        frame = degrade_at_random(held_out.frame[0], seed=held_out.number, spared=spared)[None]
        size = pipeline.network_size((frame.shape[2], frame.shape[3]), "auto")
        height = min(size[0], int(network.config["height"]))
        map_size = (height, round(size[1] * height / size[0]))
        small = resize(frame, size).to(generator.device)
        translated = generator(pad_to_multiple(small, generator.multiple), uncertainty=False).image
        small, translated = (resize(x[..., : size[0], : size[1]], map_size) for x in (small, translated))
        truth, other_days = (resize(x, map_size).to(small.device) for x in (held_out.truth, held_out.other_days))
        predicted = network(small, translated)
        true = absolute_error(translated, truth), share_invented(translated, truth, other_days)
        parts.append(Pixels(*(x.flatten()[::PIXEL_STEP].cpu() for x in (*predicted, *true))))
    return Pixels(*(torch.cat(values) for values in zip(*parts, strict=True)))


def fit(predicted: Tensor, loss: Callable[[Tensor], Tensor]) -> Affine:
    """Minimise `loss` over affine functions of `predicted` with scale > 0."""
    parameters = torch.zeros(2, requires_grad=True)  # logarithm of the scale, which keeps it positive, and the shift
    optimiser = torch.optim.LBFGS([parameters], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        value = loss(parameters[0].exp() * predicted + parameters[1])
        value.backward()
        return value

    optimiser.step(closure)
    log_scale, shift = parameters.detach()
    return Affine(float(log_scale.exp()), float(shift))
