"""Make an invention map say numbers that hold on streets that the translator has not learnt from.

A map is taught on pairs, and where the translator was taught on the same pairs its errors there are smaller than
elsewhere. Two numbers for each of the map's outputs mend that: x -> scale x + shift, on the logit of the share and the
logarithm of the error, chosen by the losses of the training (Platt scaling; Guo et al., "On Calibration of Modern
Neural Networks", ICML 2017). Ranks within a frame stay as they are.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from gen.augan.degrade import degrade_at_random
from gen.augan.held_out import Streets, read_frame
from gen.augan.invention import InventionMap
from gen.augan.invention_losses import absolute_error, laplace_nll, share_invented
from gen.augan.pipeline import AUGANPipeline
from gen.media.resize import pad_to_multiple, resize

THIN = 7
"""Every so many pixels count."""


class Line(NamedTuple):
    """x -> scale x + shift."""

    scale: float
    shift: float


class Pixels(NamedTuple):
    """What a map said of pixels, and what was true: (N,) each."""

    log_error: Tensor
    share_logit: Tensor
    error: Tensor
    share: Tensor


def calibrate(pipeline: AUGANPipeline, rendered: Path, spared: float) -> dict[str, Line]:
    """Change the last layer of the pipeline's map so that its numbers hold on these frames; returns what was done.

    `rendered`: frames of `gen render-street` that neither the translator nor the map was trained on; `spared`: the
    share of them that is not degraded. Raises `BadInput` for folders that lack frames.
    """
    network = pipeline.invention
    if network is None:
        raise ValueError("the pipeline has no invention map")
    pixels = outcomes(pipeline, network, rendered, spared)
    lines = {
        "error": fit(pixels.log_error, lambda said: laplace_nll(said, pixels.error)),
        "share": fit(pixels.share_logit, lambda said: F.binary_cross_entropy_with_logits(said, pixels.share / 2)),
    }
    with torch.no_grad():
        scales, shifts = (torch.tensor(values) for values in zip(*lines.values(), strict=True))
        weight, bias = network.leave.parameters()  # what follows the last layer only interpolates
        weight *= scales.to(weight).view(-1, 1, 1, 1)
        bias.copy_(bias * scales.to(bias) + shifts.to(bias))
    return lines


@torch.no_grad()
def outcomes(pipeline: AUGANPipeline, network: InventionMap, rendered: Path, spared: float) -> Pixels:
    """The map's raw outputs on every frame, degraded at random, at the rows that the translator works at."""
    streets = Streets(rendered)
    generator = pipeline.generator("adverse_to_normal")
    parts: list[Pixels] = []
    for index, path in enumerate(tqdm(streets.paths, desc="calibrating", unit="frame", disable=None)):
        frame = degrade_at_random(read_frame(path)[0], seed=index, spared=spared)[None]
        size = pipeline.network_size((frame.shape[2], frame.shape[3]), "auto")
        height = min(size[0], int(network.config["height"]))
        seen = (height, round(size[1] * height / size[0]))
        small = resize(frame, size).to(generator.device)
        translated = generator(pad_to_multiple(small, generator.multiple), uncertainty=False).image
        small, translated = (resize(x[..., : size[0], : size[1]], seen) for x in (small, translated))
        truth, strangers = (resize(days, seen).to(small.device) for days in streets.days(path))
        said = network(small, translated)
        true = absolute_error(translated, truth), share_invented(translated, truth, strangers)
        parts.append(Pixels(*(x.flatten()[::THIN].cpu() for x in (*said, *true))))
    return Pixels(*(torch.cat(values) for values in zip(*parts, strict=True)))


def fit(said: Tensor, loss: Callable[[Tensor], Tensor]) -> Line:
    """The line with a scale above 0 that makes `loss` of what was said least."""
    numbers = torch.zeros(2, requires_grad=True)  # logarithm of the scale, and the shift
    descent = torch.optim.LBFGS([numbers], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        descent.zero_grad()
        value = loss(numbers[0].exp() * said + numbers[1])
        value.backward()
        return value

    descent.step(closure)
    return Line(float(numbers[0].exp()), float(numbers[1]))
