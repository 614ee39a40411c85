"""A domain in the feature space of an encoder: what the losses lead to, and how far it is."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gen.errors import BadSetting
from gen.hda import losses
from gen.hda.domains import Domain
from gen.hda.encoders import CLIPEncoder, Encoder
from gen.hda.settings import HDASettings
from gen.hda.subspace import AffineSubspace, fit_subspace
from gen.hda.templates import BARE, TEMPLATES

DELTA_SHARE = 0.03
"""Smoothing delta of the cosine, as a share of the median distance at the start.

Small enough not to bias the cosine once training moves, large enough to keep the first gradients harmless.
"""


@dataclass(frozen=True)
class Target:
    """A domain in the feature space of one encoder."""

    subspace: AffineSubspace | None
    """What the losses lead to: the subspace of the references, or part of it; none for a domain given by words."""
    whole: AffineSubspace | None
    """All that the references span, by which every method's progress is measured."""
    direction: Tensor
    """(d,), from the mean source feature to the mean reference feature, or between two text features."""
    delta: float
    """Smoothing of the cosine."""
    start: float
    """Mean distance of the source features from the subspace."""
    goal: Tensor | None = None
    """(d,), the feature of the bare words, for the adaptive choice of layers; none for a domain given by images."""


def target_of_words(domain: Domain, encoder: Encoder, settings: HDASettings) -> Target | None:
    """A domain given by words; None if the encoder is not CLIP. Raises `BadSetting` for the words of the source."""
    if not isinstance(encoder, CLIPEncoder) or domain.words is None:
        return None
    templates = TEMPLATES if settings.text_templates else BARE
    direction = encoder.text(domain.words, templates) - encoder.text(settings.source_words, templates)
    if not direction.any():
        raise BadSetting(f"domain {domain.name}: its words must differ from source_words, {settings.source_words!r}.")
    goal = encoder.text(domain.words)
    return Target(None, None, direction, DELTA_SHARE * float(direction.norm()), float("nan"), goal)


def target_of_references(features: Tensor, source: Tensor, settings: HDASettings) -> Target:
    """A domain given by images, of features (N, d); `source` (B, d): features of what the source generator draws."""
    subspace = fit_subspace(features, settings.rank, linear=settings.subspace == "linear").to(dtype=torch.float32)
    whole = fit_subspace(features).to(dtype=torch.float32)
    distances = subspace.distance(source)
    start, delta = float(distances.mean()), DELTA_SHARE * float(distances.median())
    return Target(subspace, whole, features.mean(0) - source.mean(0), max(delta, 1e-6), start)


def progress_of(source: Tensor, adapted: Tensor, target: Target) -> Tensor:
    """1 - |f* - f_t| / |f* - f_s| with means over the batch: 0 = as far as the source, 1 = inside the whole subspace.

    For a domain given by words: the cosine between f_t - f_s and the direction to the words.
    """
    with torch.no_grad():
        if target.whole is None:
            return losses.smooth_cosine(adapted - source, target.direction.expand_as(source), target.delta).mean()
        return 1 - target.whole.distance(adapted).mean() / target.whole.distance(source).mean()
