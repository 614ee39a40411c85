"""Adapting a generator to a hybrid of few-shot domains: no discriminator, no example of the hybrid."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torchvision.utils import make_grid

from gen.errors import BadSetting
from gen.hda import losses
from gen.hda.adaptation import fingerprint
from gen.hda.encoders import CLIPEncoder, Encoder, Seen, load_encoder
from gen.hda.networks import StyleGAN2Generator
from gen.hda.references import DomainName, load_references, parse_domains, record
from gen.hda.subspace import Flat, fit_flat
from gen.media.resize import to_uint8
from gen.training.loop import Trainer
from gen.training.settings import Positive, PositiveFloat, TrainerSettings

PROBES = 64
"""Latents whose features tell, before the first step, how far the source is from the domains."""

DELTA_SHARE = 0.03
"""The cosine's smoothing, as a share of the median distance at the start."""

WINDOW = 10
"""Steps over which progress is averaged before it decides anything."""

STALL_WINDOWS, STALL_GAIN = 5, 0.005
"""Training stops where progress over so many windows is less than so much above that over as many before."""

Layers = Literal["nada", "all", "affine", "shape", "texture"]


class Generator(Protocol):
    """What can be adapted: a module that maps latents (B, z_dim), standard normal, to images in [-1, 1]."""

    z_dim: int

    def __call__(self, z: Tensor) -> Tensor:
        """(B, z_dim) -> (B, 3, H, W)."""
        ...


@dataclass(frozen=True, kw_only=True)
class HDASettings(TrainerSettings):
    """Settings of an adaptation."""

    source: str
    """The generator to begin with: a model's name or folder, a rosinality .pt, an NVlabs .pkl."""
    domains: tuple[str, ...]
    """name=DIR[:alpha] for a folder of reference images, name=text:WORDS[:alpha] for words."""
    encoders: Annotated[tuple[str, ...], Field(min_length=1)] = (
        "efficientnet-lite0@128",
        "efficientnet-lite0-style@64",
    )
    """Frozen encoders, family[:model][@pixels]; their losses are added up."""

    method: Literal["hda", "nada"] = "hda"
    """hda: distance and direction to each domain's flat; nada: one direction for all, mean to mean."""
    direction_weight: float | Literal["auto"] = 0.1
    """lambda, the weight of the direction loss; auto: as strong a gradient as that of the distance loss."""
    rank: Annotated[int, Field(ge=0)] | None = None
    """Dimensions of a domain's flat; none: all that the references span; 0: their mean point."""
    subspace: Literal["affine", "linear"] = "affine"
    """affine: through the references' mean; linear: through the origin."""
    anchor: losses.Anchor = "target"
    """Where the perpendicular of the direction loss starts: at the adapted features, or at the source's."""
    detach_foot: bool = False
    """Let no gradient through the foot of the perpendicular in the direction loss."""
    sequential: bool = False
    """The domains one after another instead of all at once: each but the last until its own progress reaches
    `target_progress` or stalls, or for an equal part of the images where there is no target."""
    structure_weight: Annotated[float, Field(ge=0)] = 0.1
    """Weight of the cross-domain spatial structure loss, which keeps a face the same face, by the first encoder that
    knows places; 0: HDA as published."""
    source_words: str = "photo"
    """What the source shows, in words, for domains given by words."""
    layers: Layers = "all"
    """What learns: all: constant, styled convolutions and colours; nada: without the colours; affine: the styles'
    affine maps alone; shape: the coarse half of the convolutions; texture: the fine half and the colours."""

    images: Positive | None = 3200
    """Samples to draw; training may stop before."""
    batch: Positive = 8
    """Samples in one step."""
    lr: float = 0.0016
    """Adam's learning rate, after a linear start."""
    decay: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Last share of `images` in which it falls linearly to zero."""
    warmup: Annotated[int, Field(ge=0)] = 160
    """Samples over which the learning rate rises."""
    ema_half_life: Positive = 200
    """Samples after which a weight's share in the averaged weights has halved."""
    ema_ramp: PositiveFloat | None = 0.25
    """Half-life at the start, as a share of the samples drawn so far."""
    stop_when_stalled: bool = True
    """End where the mean progress gained less than half a percent over 50 steps."""
    target_progress: Annotated[float, Field(gt=0, lt=1)] | None = None
    """End where the mean progress reaches this, to compare methods at the same adaptation."""

    may_change = TrainerSettings.may_change | {"stop_when_stalled", "target_progress"}
    log_every: Positive = 80
    """Samples between two lines of metrics."""
    sample_every: Positive = 800
    """Samples between two previews."""
    checkpoint_every: Positive = 800
    """Samples between two checkpoints."""


@dataclass(frozen=True)
class Target:
    """A domain as one encoder sees it."""

    flat: Flat | None
    """Of its references; none for words."""
    towards: Tensor
    """(d,), the direction from the source to it."""
    delta: float
    """Smoothing of the cosine."""
    start: float
    """Mean distance of the source from the flat."""


class HDATrainer(Trainer[HDASettings]):
    """Trains a copy of the source generator; the source stays as it is."""

    betas = (0.0, 0.99**0.8)

    def __init__(self, settings: HDASettings, source: nn.Module) -> None:
        """`source` follows `Generator`; it is frozen and put in evaluation mode."""
        super().__init__(settings)
        s = settings
        self.source = source.eval().requires_grad_(False).to(self.device)
        self.generator = copy.deepcopy(source)
        choose_learning(self.generator, s.layers)
        self.domains = parse_domains(s.domains)
        self.encoders = [load_encoder(name).to(self.device) for name in s.encoders]
        with torch.no_grad():
            probes = self.latents(range(-PROBES, 0))
            self.probes = torch.cat([self.draw(self.source, z) for z in probes.split(8)])
        size = self.probes.shape[-1]
        folders = {d.name: d.folder for d in self.domains if d.folder is not None}
        self.references = {name: load_references(folder, size, s.strict) for name, folder in folders.items()}
        self.targets = [self._targets(encoder) for encoder in self.encoders]
        for domain, seen in zip(self.domains, zip(*self.targets, strict=True), strict=True):
            if not any(seen):
                raise BadSetting(f"--domain {domain.name}: words need the encoder clip; add --encoder clip.")
        self.placing = placing_encoder(self.encoders) if s.structure_weight else None
        self.setup({"generator": self.generator}, averaged="generator")
        self._recent: list[Tensor] = []
        self._progress: list[float] = []
        self._stage = 0
        """The domain that is learnt, where they come one after another."""
        self.windows: list[float] = []
        """Mean progress of all domains over each ten steps so far."""
        self._stage_windows: list[float] = []
        """The same since the stage began; one after another, of its own domain."""

    @torch.no_grad()
    def _targets(self, encoder: Encoder) -> list[Target | None]:
        source = encoder(self.probes)
        return [self._target(encoder, domain, source) for domain in self.domains]

    def _target(self, encoder: Encoder, domain: DomainName, source: Tensor) -> Target | None:
        """None where the domain is given by words, which this encoder cannot read."""
        s = self.settings
        if domain.words is not None:
            if not isinstance(encoder, CLIPEncoder):
                return None
            towards = encoder.text(domain.words) - encoder.text(s.source_words)
            return Target(None, towards, DELTA_SHARE * float(towards.norm()), float("nan"))
        features = encoder(self.references[domain.name].images.to(self.device))
        flat = fit_flat(features, s.rank, linear=s.subspace == "linear").to(dtype=torch.float32)
        distances = flat.distance(source)
        start, delta = float(distances.mean()), DELTA_SHARE * float(distances.median())
        return Target(flat, features.mean(0) - source.mean(0), max(delta, 1e-6), start)

    @property
    def total_images(self) -> int:
        """As set."""
        return self.settings.images or 3200

    @property
    def finished(self) -> bool:
        """All samples have been drawn, progress has stalled, or it is where it should be."""
        return super().finished or self.reached or (self._in_last_stage and self.stalled)

    @property
    def reached(self) -> bool:
        """The mean progress of all domains is at its target, and each domain has had its turn."""
        target = self.settings.target_progress
        return target is not None and self._in_last_stage and bool(self.windows) and self.windows[-1] >= target

    @property
    def stalled(self) -> bool:
        """The mean progress, or of domains in turn the present one's, has nearly stopped to rise."""
        seen = self._stage_windows
        if not self.settings.stop_when_stalled or len(seen) < 2 * STALL_WINDOWS:
            return False
        before, now = seen[-2 * STALL_WINDOWS : -STALL_WINDOWS], seen[-STALL_WINDOWS:]
        return sum(now) / len(now) < sum(before) / len(before) + STALL_GAIN

    @property
    def _in_last_stage(self) -> bool:
        return not self.settings.sequential or self._stage == len(self.domains) - 1

    @property
    def progress(self) -> dict[str, float]:
        """Of each domain, as last seen: 0 = as far as the source, 1 = there."""
        values = self._progress or torch.stack(self._recent).mean(0).tolist()
        return {d.name: value for d, value in zip(self.domains, values, strict=True)}

    def ending(self) -> str:
        """Why training ended, in a line."""
        shown = ", ".join(f"{name} {100 * value:.0f} %" for name, value in self.progress.items())
        why = (
            "the target is reached" if self.reached else "progress has stalled" if self.stalled else "all samples drawn"
        )
        return f"{why} after {self.images_shown} samples in {self.seconds:.0f} s; progress: {shown}"

    def learning_rate(self, name: str, progress: float) -> float:
        """A linear start; the rest as everywhere."""
        s = self.settings
        return super().learning_rate(name, progress) * min(1.0, (self.images_shown + s.batch) / max(s.warmup, 1))

    def step(self, parts: Sequence[Sequence[int]]) -> dict[str, Tensor]:
        """One step of the adapted generator; terms and progress of each domain."""
        records: list[dict[str, Tensor]] = []
        with self.updating("generator"):
            for samples in parts:
                terms, progress = self._terms(self.latents(samples))
                self.backward(terms)
                records.append({k: v.detach() for k, v in (terms | progress).items()})
            self.average_gradients("generator")
        means = {name: torch.stack([r[name] for r in records]).mean() for name in records[0]}
        self._follow(means)
        return means

    def _terms(self, z: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The weighted terms of the loss, by name, and the progress of each domain: 1 - distance / distance before."""
        with self.accelerator.autocast():
            with torch.no_grad():
                before = self.draw(self.source, z)
            after = self.draw(self.generator, z)
            with torch.no_grad():
                seen_before = [self._look(encoder, before) for encoder in self.encoders]
            seen_after = [self._look(encoder, after) for encoder in self.encoders]
        terms: dict[str, Tensor] = {}
        progress: dict[str, Tensor] = {}
        for place, (domain, weight) in enumerate(zip(self.domains, self.weights(), strict=True)):
            seen = [
                (b.features, a.features, target)
                for b, a, targets in zip(seen_before, seen_after, self.targets, strict=True)
                if (target := targets[place])
            ]
            if weight:
                terms |= self._domain_terms(domain.name, weight, seen)
            progress[f"progress/{domain.name}"] = torch.stack([progress_of(*one) for one in seen]).mean()
        for b, a in zip(seen_before, seen_after, strict=True):
            if b.tokens is not None and a.tokens is not None:
                terms["structure"] = self.settings.structure_weight * losses.spatial_structure(b.tokens, a.tokens)
        return terms, progress

    def _look(self, encoder: Encoder, images: Tensor) -> Seen:
        return encoder.look(images) if encoder is self.placing else Seen(encoder(images), None)

    def _domain_terms(
        self, name: str, weight: float, seen: Sequence[tuple[Tensor, Tensor, Target]]
    ) -> dict[str, Tensor]:
        s = self.settings
        if s.method == "nada" or seen[0][2].flat is None:
            towards = [losses.fixed_direction(f_s, f_t, t.towards, t.delta) for f_s, f_t, t in seen]
            return {f"direction/{name}": weight * torch.stack(towards).sum()}
        distances: list[Tensor] = []
        directions: list[Tensor] = []
        for f_s, f_t, t in seen:
            assert t.flat is not None
            distances.append(losses.distance(f_t, t.flat))
            if s.direction_weight:
                turn = losses.direction(f_s, f_t, t.flat, t.delta, s.anchor, s.detach_foot)
                directions.append(self._direction_weight(distances[-1], turn, f_t) * turn)
        terms = {f"distance/{name}": weight * torch.stack(distances).sum()}
        if directions:
            terms[f"direction/{name}"] = weight * torch.stack(directions).sum()
        return terms

    def _direction_weight(self, distance: Tensor, turn: Tensor, features: Tensor) -> Tensor | float:
        """lambda; for `auto`, the ratio of both losses' gradients where they meet, at the adapted features."""
        if self.settings.direction_weight != "auto":
            return self.settings.direction_weight
        pull, push = (torch.autograd.grad(x, features, retain_graph=True)[0].norm() for x in (distance, turn))
        return (pull / push.clamp_min(1e-12)).detach()

    def weights(self) -> list[float]:
        """alpha of each domain at this step."""
        if not self.settings.sequential:
            return [d.weight for d in self.domains]
        return [float(place == self._stage) for place in range(len(self.domains))]

    def _follow(self, means: Mapping[str, Tensor]) -> None:
        """Keep the progress of the domains, a window of steps at a time."""
        values = torch.stack([means[f"progress/{d.name}"] for d in self.domains])
        self._recent.append(self.mean_over_processes(values))
        if len(self._recent) == WINDOW:
            self._progress = torch.stack(self._recent).mean(0).tolist()
            self._recent.clear()
            self.windows.append(sum(self._progress) / len(self._progress))
            in_turn = self.settings.sequential
            self._stage_windows.append(self._progress[self._stage] if in_turn else self.windows[-1])
            if not self._in_last_stage and self._stage_is_over():
                self._stage += 1
                self._stage_windows.clear()

    def _stage_is_over(self) -> bool:
        target = self.settings.target_progress
        if target is None:
            drawn = self.images_shown + self.settings.batch
            return len(self.domains) * drawn >= (self._stage + 1) * self.total_images or self.stalled
        return self._stage_windows[-1] >= target or self.stalled

    def latents(self, samples: Sequence[int]) -> Tensor:
        """z of these numbers of the run's endless sequence of samples, (B, z_dim)."""
        random = torch.Generator()
        seeds = [int(np.random.default_rng((self.settings.seed, s + PROBES, 5)).integers(2**63)) for s in samples]
        z_dim = int(self.source.z_dim)  # pyright: ignore[reportArgumentType]
        return torch.stack([torch.randn(z_dim, generator=random.manual_seed(seed)) for seed in seeds]).to(self.device)

    def draw(self, generator: nn.Module, z: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1]; both generators use the noise stored with them, which is the same."""
        return generator(z)

    def data_record(self) -> dict[str, Any]:
        """The source and the references, by content."""
        references = {name: record(references) for name, references in self.references.items()}
        return {"source": fingerprint(self.source), "references": references}

    def extra_state(self) -> dict[str, Any]:
        """What decides when to stop."""
        return {
            "recent": self._recent,
            "windows": self.windows,
            "progress": self._progress,
            "stage": self._stage,
            "stage_windows": self._stage_windows,
        }

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Take it back."""
        self._recent = [t.to(self.device) for t in state["recent"]]
        self.windows, self._progress = list(state["windows"]), list(state["progress"])
        self._stage, self._stage_windows = state["stage"], list(state["stage_windows"])

    @torch.no_grad()
    def sample_grid(self) -> NDArray[np.uint8]:
        """Rows of the same eight latents: source, adapted; and the first eight references of each domain."""
        z = self.latents(range(-8, 0))
        options = {"truncation": 0.7} if isinstance(self.source, StyleGAN2Generator) else {}
        rows = [self.source(z, **options), self.generator(z, **options)]
        for references in self.references.values():
            some = references.images[:8].to(self.device)
            rows.append(torch.cat([some, some.new_ones(8 - len(some), *some.shape[1:])]))
        sheet = make_grid(to_uint8(torch.cat(rows)), nrow=8, padding=2, pad_value=255)
        return sheet.permute(1, 2, 0).cpu().numpy()


def progress_of(source: Tensor, adapted: Tensor, target: Target) -> Tensor:
    """1 - |D_tp(f_t)| / |D_tp(f_s)|, a scalar: 0 = as far as the source, 1 = there. For words: the cosine to them."""
    with torch.no_grad():
        if target.flat is None:
            return losses.smooth_cosine(adapted - source, target.towards.expand_as(source), target.delta).mean()
        return 1 - target.flat.distance(adapted).mean() / target.flat.distance(source).mean()


def placing_encoder(encoders: Sequence[Encoder]) -> Encoder:
    """The first encoder that gives features of places. Raises `BadSetting` where there is none."""
    for encoder in encoders:
        if type(encoder).look is not Encoder.look:
            return encoder
    raise BadSetting("structure_weight: none of the encoders knows places; efficientnet-lite0, clip and dinov2 do.")


def choose_learning(generator: nn.Module, layers: Layers) -> None:
    """Let gradients reach only the parameters that `layers` means. Raises `BadSetting` for other than StyleGAN2."""
    if not isinstance(generator, StyleGAN2Generator):
        if layers != "all":
            raise BadSetting(
                f"layers={layers}: this is a choice for StyleGAN2; another generator learns with layers=all."
            )
        generator.requires_grad_(True)
        return
    half = len(generator.convs) // 2
    coarse, fine = ([f"convs.{i}." for i in part] for part in (range(half), range(half, len(generator.convs))))
    chosen = {
        "nada": ("constant", "convs."),
        "all": ("constant", "convs.", "to_rgbs."),
        "affine": ("convs.",),
        "shape": ("constant", *coarse),
        "texture": (*fine, "to_rgbs."),
    }[layers]
    for name, parameter in generator.named_parameters():
        parameter.requires_grad_(name.startswith(chosen) and (layers != "affine" or ".affine." in name))
