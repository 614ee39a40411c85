"""Adapt a generator to a hybrid of few-shot domains, without a discriminator and without images of the hybrid.

Li et al., "Few-shot Hybrid Domain Adaptation of Image Generators", ICLR 2024 (arXiv 2310.19378). For latents z,

    f_s = E(G_S(z)),  f_t = E(G_T(z)),  L = sum_i alpha_i (L_dist,i + lambda L_direct,i)

with the frozen source generator G_S, its trained copy G_T, a frozen encoder E, and the domains i with weights alpha_i
that sum to one (gen/hda/losses.py has the losses). With several encoders, L is the sum over them. Departures from the
paper: a smoothed cosine, optional losses that keep the layout of the image and keep grid patterns out of it, and
averaged (EMA) weights for the result.
"""

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.utils import make_grid

from gen.errors import BadSetting, unknown
from gen.hda import losses
from gen.hda.adaptation import fingerprint
from gen.hda.domains import parse_domains
from gen.hda.encoders import Encoder, EncoderOutput, load_encoder
from gen.hda.layers import choices, farthest, keep_gradients, latent_movement, set_trainable
from gen.hda.references import exposures, load_references, record
from gen.hda.settings import SAMPLES, HDASettings, as_now
from gen.hda.targets import Target, progress_of, target_of_references, target_of_words
from gen.media.resize import to_uint8
from gen.mobilestylegan.checkpoints import StyleGenerator
from gen.tensors import on_device
from gen.training.loop import Trainer

PROBES = 64
"""Latents that measure, before the first step, how far the source is from the domains."""

OF_SAMPLES, OF_CHOICES = 5, 6
"""Streams of random latents: those that are trained on, and those of the adaptive choice of layers."""

WINDOW = 10
"""Steps over which progress is averaged; a single batch is too noisy to decide anything."""

STALL_WINDOWS, STALL_GAIN = 5, 0.005
"""Training has stalled if the mean progress of this many windows exceeds that of as many before by less than this."""


class Generator(Protocol):
    """A generator that can be adapted: it maps latents (B, z_dim), standard normal, to images in [-1, 1]."""

    z_dim: int

    def __call__(self, z: Tensor) -> Tensor:
        """(B, z_dim) -> (B, 3, H, W)."""
        ...


class HDATrainer(Trainer[HDASettings]):
    """Trains a copy of the source generator; the source does not change."""

    # Those of StyleGAN-NADA: StyleGAN2's betas with its correction for lazy regularisation every 4th step (4 / 5).
    betas = (0.0, 0.99**0.8)
    settings_class = HDASettings

    def __init__(self, settings: HDASettings, source: nn.Module) -> None:
        """`source` follows the protocol `Generator`; it is frozen and set to evaluation mode."""
        super().__init__(settings)
        s = settings
        self.source = source.eval().requires_grad_(False).to(self.device)
        self.generator = copy.deepcopy(source)
        set_trainable(self.generator, s.layers)
        self.choices = choices(self.generator, s.auto_layer_k) if s.auto_layer_iters else {}
        """What the adaptive choice of layers has to choose from, see `gen.hda.layers.choices`."""
        self.chosen: Counter[str] = Counter()
        """In how many steps each of them was trained."""
        self.domains = parse_domains(s.domains)
        self.encoders = [load_encoder(name).to(self.device) for name in s.encoders]
        with torch.no_grad():
            probes = self.latents(range(-PROBES, 0))
            self.probes = torch.cat([self.draw(self.source, z) for z in probes.split(8)])
        size = self.probes.shape[-1]
        folders = {d.name: d.folder for d in self.domains if d.folder is not None}
        self.any_brightness = [name for part in s.any_brightness.split(",") if (name := part.strip())]
        for name in self.any_brightness:
            if name not in folders:
                raise BadSetting(f"any_brightness: {unknown('domain with reference images', name, folders)}")
        self.references = {name: load_references(folder, size, s.strict) for name, folder in folders.items()}
        self.targets = [self._targets_in(encoder) for encoder in self.encoders]
        for domain, targets in zip(self.domains, zip(*self.targets, strict=True), strict=True):
            if not any(targets):
                raise BadSetting(
                    f"domain {domain.name}: a domain given by words needs the encoder clip; add it with --encoder "
                    "clip, which downloads it if it is not on this machine."
                )
        self.token_encoder = encoder_with_tokens(self.encoders) if s.structure_weight else None
        self.setup({"generator": self.generator}, averaged="generator")
        self._recent: list[Tensor] = []
        self._progress: list[float] = []
        self._stage = 0
        """Index of the domain that is trained now, if the domains come one after another."""
        self.windows: list[float] = []
        """Mean progress of all domains in each window of ten steps so far."""
        self._stage_windows: list[float] = []
        """The same since the stage began; if the domains come one after another, of the present domain alone."""

    @torch.no_grad()
    def _targets_in(self, encoder: Encoder) -> list[Target | None]:
        """Each domain in this encoder's features; None for words if the encoder is not CLIP."""
        source, found = encoder(self.probes), list[Target | None]()
        for domain in self.domains:
            if domain.words is not None:
                found.append(target_of_words(domain, encoder, self.settings))
            else:
                images = self.references[domain.name].images.to(self.device)
                if domain.name in self.any_brightness:
                    images = exposures(images)
                found.append(target_of_references(encoder(images), source, self.settings))
        return found

    @property
    def total_images(self) -> int:
        """Samples to draw at most."""
        return self.settings.images or SAMPLES

    @property
    def finished(self) -> bool:
        """All samples are drawn, progress has stalled, or the target progress is reached."""
        return super().finished or self.reached or (self._in_last_stage and self.stalled)

    @property
    def reached(self) -> bool:
        """Whether the mean progress of all domains is at its target, and no domain is left to train."""
        target = self.settings.target_progress
        return target is not None and self._in_last_stage and bool(self.windows) and self.windows[-1] >= target

    @property
    def stalled(self) -> bool:
        """Whether the progress of this stage has nearly stopped rising."""
        windows = self._stage_windows
        if not self.settings.stop_when_stalled or len(windows) < 2 * STALL_WINDOWS:
            return False
        before, now = windows[-2 * STALL_WINDOWS : -STALL_WINDOWS], windows[-STALL_WINDOWS:]
        return sum(now) / len(now) < sum(before) / len(before) + STALL_GAIN

    @property
    def _in_last_stage(self) -> bool:
        return not self.settings.sequential or self._stage == len(self.domains) - 1

    @property
    def progress(self) -> dict[str, float]:
        """Last progress of each domain: 0 = as far from it as the source, 1 = inside its subspace."""
        values = self._progress or torch.stack(self._recent).mean(0).tolist()
        return {d.name: value for d, value in zip(self.domains, values, strict=True)}

    def way(self) -> str:
        """How far each domain has come, in words."""
        shown = ", ".join(f"{name} {100 * value:.0f} %" for name, value in self.progress.items())
        return f"{shown} of the way to the references"

    def ending(self) -> str:
        """Why training ended, in one line."""
        why = (
            "the target is reached" if self.reached else "progress has stalled" if self.stalled else "all samples drawn"
        )
        return f"{why} after {self.images_shown} samples in {self.seconds:.0f} s; {self.way()}"

    def learning_rate(self, name: str, progress: float) -> float:
        """The base schedule after a linear warm-up: the first gradients come from nearly equal features."""
        s = self.settings
        return super().learning_rate(name, progress) * min(1.0, (self.images_shown + s.batch) / max(s.warmup, 1))

    def step(self, parts: Sequence[Sequence[int]]) -> dict[str, Tensor]:
        """One step of the adapted generator; returns the loss terms and the progress of each domain."""
        records: list[dict[str, Tensor]] = []
        chosen = self.choose_layers() if self.choices else []
        with self.updating("generator"):
            for samples in parts:
                terms, progress = self.terms(self.latents(samples))
                self.backward(terms)
                records.append({k: v.detach() for k, v in (terms | progress).items()})
            self.average_gradients("generator")
            if chosen:
                keep_gradients(self.generator, chosen)
        means = {name: torch.stack([r[name] for r in records]).mean() for name in records[0]}
        self._record_progress(means)
        return means

    def choose_layers(self) -> list[str]:
        """The layers that this step trains, as beginnings of names: StyleGAN-NADA's adaptive choice."""
        s, generator = self.settings, cast(StyleGenerator, self.generator)
        first = self.images_shown // s.batch * s.auto_layer_batch
        w = generator.mapping(self.latents(range(first, first + s.auto_layer_batch), OF_CHOICES))
        with self.accelerator.autocast():
            movement = latent_movement(generator.synthesis, self.layer_loss, w, generator.layers, s.auto_layer_iters)
        indices = farthest(self.mean_over_processes(movement), self.choices, s.auto_layer_k)
        chosen = [self.choices[index] for index in indices]
        self.chosen.update(chosen)
        return chosen

    def layer_loss(self, images: Tensor) -> Tensor:
        """How far images (B, 3, H, W) are from the domains, for the adaptive choice of layers.

        For words, StyleGAN-NADA's 1 - cos(f, t) with the feature t of the words; for references, the distance loss.
        Weighted as in training and summed over the encoders.
        """
        terms: list[Tensor] = []
        for encoder, targets in zip(self.encoders, self.targets, strict=True):
            features = encoder(images)
            for weight, target in zip(self.weights(), targets, strict=True):
                if target is None or not weight:
                    continue
                if target.subspace is not None:
                    terms.append(weight * losses.distance(features, target.subspace))
                elif target.goal is not None:
                    terms.append(weight * losses.unlikeness(features, target.goal))
        return torch.stack(terms).sum()

    def terms(self, z: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Weighted loss terms by name, and the progress of each domain, for latents z (B, z_dim).

        Extend it, or `domain_terms`, to change the loss.
        """
        with self.accelerator.autocast():
            with torch.no_grad():
                drawn = self.draw(self.source, z)
                source = [self._encode(encoder, drawn) for encoder in self.encoders]
            images = self.draw(self.generator, z)
            adapted = [self._encode(encoder, images) for encoder in self.encoders]
        terms: dict[str, Tensor] = {}
        progress: dict[str, Tensor] = {}
        for index, (domain, weight) in enumerate(zip(self.domains, self.weights(), strict=True)):
            # One (f_s, f_t, target) for each encoder that knows the domain.
            triples = [
                (f_s.features, f_t.features, target)
                for f_s, f_t, targets in zip(source, adapted, self.targets, strict=True)
                if (target := targets[index])
            ]
            if weight:
                terms |= self.domain_terms(domain.name, weight, triples)
            progress[f"progress/{domain.name}"] = torch.stack([progress_of(*triple) for triple in triples]).mean()
        for f_s, f_t in zip(source, adapted, strict=True):
            if f_s.tokens is not None and f_t.tokens is not None:
                terms["structure"] = self.settings.structure_weight * losses.spatial_structure(f_s.tokens, f_t.tokens)
        if self.settings.grid_weight:
            terms["grid"] = self.settings.grid_weight * losses.grid_pattern(drawn, images)
        return terms, progress

    def _encode(self, encoder: Encoder, images: Tensor) -> EncoderOutput:
        return encoder.with_tokens(images) if encoder is self.token_encoder else EncoderOutput(encoder(images), None)

    def domain_terms(
        self, name: str, weight: float, triples: Sequence[tuple[Tensor, Tensor, Target]]
    ) -> dict[str, Tensor]:
        """The terms of one domain, with its weight alpha, summed over the encoders."""
        s = self.settings
        if s.method == "nada" or triples[0][2].subspace is None:
            fixed = [losses.fixed_direction(f_s, f_t, t.direction, t.delta) for f_s, f_t, t in triples]
            return {f"direction/{name}": weight * torch.stack(fixed).sum()}
        distances: list[Tensor] = []
        directions: list[Tensor] = []
        for f_s, f_t, t in triples:
            assert t.subspace is not None
            distances.append(losses.distance(f_t, t.subspace))
            if s.direction_weight:
                direction = losses.direction(f_s, f_t, t.subspace, t.delta, s.anchor, s.detach_foot)
                directions.append(self._direction_weight(distances[-1], direction, f_t) * direction)
        terms = {f"distance/{name}": weight * torch.stack(distances).sum()}
        if directions:
            terms[f"direction/{name}"] = weight * torch.stack(directions).sum()
        return terms

    def _direction_weight(self, distance: Tensor, direction: Tensor, features: Tensor) -> Tensor | float:
        """lambda; for `auto`, the ratio of the gradient norms of both losses at the adapted features.

        At the features and not at the weights: that costs no backward pass through encoder and generator.
        """
        if self.settings.direction_weight != "auto":
            return self.settings.direction_weight
        of_distance, of_direction = (
            torch.autograd.grad(x, features, retain_graph=True)[0].norm() for x in (distance, direction)
        )
        return (of_distance / of_direction.clamp_min(1e-12)).detach()

    def weights(self) -> list[float]:
        """alpha of each domain in this step; one after another, 1 for the present domain and 0 for the others."""
        if not self.settings.sequential:
            return [d.weight for d in self.domains]
        return [float(index == self._stage) for index in range(len(self.domains))]

    def _record_progress(self, means: Mapping[str, Tensor]) -> None:
        """Average the progress over windows of steps, and go on to the next domain where its stage is over."""
        values = torch.stack([means[f"progress/{d.name}"] for d in self.domains])
        self._recent.append(self.mean_over_processes(values))
        if len(self._recent) == WINDOW:
            self._progress = torch.stack(self._recent).mean(0).tolist()
            self._recent.clear()
            self.windows.append(sum(self._progress) / len(self._progress))
            sequential = self.settings.sequential
            self._stage_windows.append(self._progress[self._stage] if sequential else self.windows[-1])
            if not self._in_last_stage and self._stage_is_over():
                self._stage += 1
                self._stage_windows.clear()

    def _stage_is_over(self) -> bool:
        target = self.settings.target_progress
        if target is None:
            drawn = self.images_shown + self.settings.batch
            return len(self.domains) * drawn >= (self._stage + 1) * self.total_images or self.stalled
        return self._stage_windows[-1] >= target or self.stalled

    def latents(self, samples: Sequence[int], stream: int = OF_SAMPLES) -> Tensor:
        """z of the samples with these numbers, (B, z_dim).

        Each z is a function of the seed, the stream and the sample number, so that a resumed run draws the same;
        negative numbers are those of the probes.
        """
        random = torch.Generator()
        seeds = [int(np.random.default_rng((self.settings.seed, s + PROBES, stream)).integers(2**63)) for s in samples]
        z_dim = int(self.source.z_dim)  # pyright: ignore[reportArgumentType]
        latents = [torch.randn(z_dim, generator=random.manual_seed(seed)) for seed in seeds]
        return on_device(torch.stack(latents), self.device)

    def draw(self, generator: nn.Module, z: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1].

        Both generators use their stored noise maps, which are equal: f_t - f_s then has no random part. (NADA draws
        different noise for the two.)
        """
        return generator(z)

    def data_record(self) -> dict[str, Any]:
        """Source and references, identified by their content."""
        references = {name: record(references) for name, references in self.references.items()}
        return {"source": fingerprint(self.source), "references": references}

    def extra_state(self) -> dict[str, Any]:
        """The progress so far, which decides when to stop."""
        return {
            "recent": self._recent,
            "windows": self.windows,
            "progress": self._progress,
            "stage": self._stage,
            "stage_windows": self._stage_windows,
            "chosen": dict(self.chosen),
        }

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `extra_state` gave."""
        self._recent = [t.to(self.device) for t in state["recent"]]
        self.windows, self._progress = list(state["windows"]), list(state["progress"])
        self._stage, self._stage_windows = state["stage"], list(state["stage_windows"])
        self.chosen = Counter(state.get("chosen", {}))  # the first checkpoints had none

    def _check_state(self, path: Path, state: Mapping[str, Any]) -> None:
        super()._check_state(path, {**state, "settings": as_now(state["settings"])} if "settings" in state else state)

    @torch.no_grad()
    def sample_grid(self) -> NDArray[np.uint8]:
        """The same eight latents drawn by source and adapted generator, then the first eight references per domain."""
        z = self.latents(range(-8, 0))
        options = {"truncation": 0.7} if isinstance(self.source, StyleGenerator) else {}
        rows = [self.source(z, **options), self.generator(z, **options)]
        for references in self.references.values():
            some = references.images[:8].to(self.device)
            rows.append(torch.cat([some, some.new_ones(8 - len(some), *some.shape[1:])]))
        sheet = make_grid(to_uint8(torch.cat(rows)), nrow=8, padding=2, pad_value=255)
        return sheet.permute(1, 2, 0).cpu().numpy()


def encoder_with_tokens(encoders: Sequence[Encoder]) -> Encoder:
    """The first encoder that has patch tokens. Raises `BadSetting` if none has."""
    for encoder in encoders:
        if type(encoder).with_tokens is not Encoder.with_tokens:
            return encoder
    raise BadSetting(
        "structure_weight: needs an encoder with patch tokens; add efficientnet-lite0, clip or dinov2, or set it to 0."
    )
