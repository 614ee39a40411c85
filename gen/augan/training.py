"""Training AU-GAN on two unpaired folders of frames."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from gen.augan import losses
from gen.augan.networks import (
    Adversary,
    AUGANGenerator,
    Design,
    DiscriminatorSet,
    Translation,
    Upsampling,
    multiple_of,
)
from gen.augan.start import inherited, is_run, load_generators
from gen.errors import BadSetting
from gen.media.resize import to_float, to_uint8
from gen.training.augment import cutout, translate
from gen.training.data import Batch, Frames, Pairs, UnpairedData, load_frames, match_pairs
from gen.training.energy import Memory, describe, energy
from gen.training.loop import Trainer
from gen.training.projected import STRIDE, Projector
from gen.training.settings import Positive, TrainerSettings
from gen.translation.maps import colour_uncertainty

LITE = "efficientnet-lite0"
"""Name of the frozen network's feature space among the judges of an evaluation."""

RECONSTRUCTION_NOISE = 0.02
"""Standard deviation of the noise on the features that are decoded back to their own image."""

CropSide = Annotated[int, Field(ge=64, multiple_of=4)]
"""Pixels: the networks halve twice, and the discriminators see nothing below 64."""

WARM_UP = 500
"""Images of the warm-up of fresh discriminators.

Beside the shipped weights (120 frames a domain, 112 rows, crop 96x144, published discriminators of width 16, batch 1,
lr 3e-4, one seed) their losses were about those of guessing, .5, until 250 images, .46 (adverse) and .36 (normal) at
300, .32 and .13 at 500.
"""

SAMPLE_FRAMES = 4
"""Frames of each domain in a sample grid."""


@dataclass(frozen=True, kw_only=True)
class AUGANSettings(TrainerSettings):
    """Settings of AU-GAN training; the defaults are the published ones (preset bdd)."""

    adverse: Path
    """Folder of frames in adverse weather: night, rain, fog."""
    normal: Path
    """Folder of frames in clear daylight; other places and times, unpaired."""

    rendered: Path | None = None
    """Folder of `gen render-street` frames, adverse/ and day/, to mix in; they are pairs."""
    rendered_share: Annotated[float, Field(ge=0, le=1)] = 0.15
    """Part of the samples that are rendered pairs."""
    simulated: Path | None = None
    """Folder of `gen simulate-weather` frames, adverse/ and day/, to mix in; they too are pairs."""
    simulated_share: Annotated[float, Field(ge=0, le=1)] = 0.15
    """Part of the samples that are simulated pairs."""
    pairs_first: Annotated[int, Field(ge=0)] = 0
    """Images at the start that are pairs alone, rendered or simulated, on which the generators learn the true
    frames, without discriminators and cycles: a third of the cost of other images."""
    start_from: Path | None = None
    """What this run begins with: the last networks of a run directory, or the generators of a model folder or of
    shipped weights by name; none: random weights."""
    warm_up: Annotated[int, Field(ge=0)] | None = None
    """Images at the start, or after `pairs_first`, during which the translations stay as they are, and only
    discriminators and reconstruction decoders learn; none: 500 where these begin fresh beside a model's generators,
    else 0."""

    load_height: Positive = 288
    """Height in pixels that frames are resized to when cached, at their own aspect."""
    crop: tuple[CropSide, CropSide] = (256, 512)
    """Height and width in pixels of a training crop; multiples of 4."""

    width: Positive = 64
    """Channels of a generator's first layer."""
    blocks: Positive = 4
    """Residual blocks in each encoder and decoder."""
    adversary: Adversary = "published"
    """Who judges the translations. published: two cross-wired discriminators a domain, trained from nothing;
    projected: heads on the features of a frozen ImageNet network; both; none."""
    discriminator_width: Positive = 32
    """Channels of a published discriminator's first level."""
    discriminators: Positive = 2
    """Published discriminators a domain."""
    projected_width: Positive = 64
    """Channels that the projected discriminators mix each feature map to."""
    design: Design = "published"
    """Of the generators; light: the same parts at a quarter of the MACs, see gen/augan/light.py."""
    pretrained: bool = False
    """In the light design: the encoders also take the features of a frozen ImageNet network."""
    upsampling: Upsampling = "deconv"
    """In the published design. deconv: transposed convolutions, as published; resize: nearest and convolution, no
    checkerboard."""

    exposure: float = 0.0
    """Strength k of the curve ln(1 + k x) / ln(1 + k) that brightens a frame, to be the ground of its translation to
    normal; the other way takes the inverse. 30 suits nights; near 0: the frame as it is; 0: no ground, as published."""

    transfer: bool = True
    """Contribution 1: the feature transfer network (T-net) in the adverse -> normal generator."""
    transfer_blocks: Positive = 4
    """Residual blocks in the T-net."""
    transfer_in_normal_cycle: bool = True
    """Use the T-net on the fake adverse image of the normal cycle too, as the published code does (its figure
    does not)."""
    feature_matching: losses.FeatureMatching = "channel_mean"
    """Contribution 2: asymmetric feature matching; `full` matches channel by channel."""
    uncertainty: bool = True
    """Contribution 3: the uncertainty head and the uncertainty-aware cycle loss."""
    augment: bool = False
    """Move and cut out parts of all that the discriminators see (DiffAugment), so that they cannot learn a small set
    of frames by heart."""
    reconstruction: Literal["separate", "shared"] = "separate"
    """separate: a decoder of its own for self-reconstruction, as in the published code; shared: through the other
    generator's decoder, as in the paper's figure."""

    reconstruct_every: Positive = 1
    """Steps from one self-reconstruction to the next; its loss counts for all of them."""
    pairs_back_every: Positive = 1
    """During `pairs_first`, steps from one in which normal -> adverse learns as well to the next; the other way learns
    in all of them."""
    cycle_every: Positive = 1
    """Steps from one cycle (there and back, with feature matching) to the next; its losses count for all of them."""

    energy_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the energy distance between the features of unpaired translations and of real frames, see
    gen/training/energy.py: what discriminators do, without any."""
    adversarial_weight: float = 1.0
    """Weight of what the discriminators say."""
    cycle_weight: float = 10.0
    """Weight of the plain cycle losses."""
    uncertain_cycle_weight: float = 1.0
    """Weight of the uncertainty-aware cycle loss; its own factor of 5 is half of the plain one's 10."""
    reconstruction_weight: float = 10.0
    """Weight of the self-reconstruction losses."""
    feature_weight: float = 1.0
    """Weight of asymmetric feature matching."""
    perceptual_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the distance between cycled and source images in the features of a frozen ImageNet network."""
    pair_weight: Annotated[float, Field(ge=0)] = 10.0
    """Weight of the distance between a pair's translations and its true frames."""
    pair_quantile: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Which of the days that a paired frame leaves open is aimed at, from the darkest, 0, to the brightest, 1; 0.5: the
    middle one, mean absolute error. A black sky may hide a wall: above 0.5, it is sky unless that is unlikely."""
    pair_perceptual_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the same distance in the features of a frozen ImageNet network."""
    pool_size: Annotated[int, Field(ge=0)] = 50
    """Translated images of each domain kept to show the discriminators again."""


class PairOutput(NamedTuple):
    """All that one training step makes of a batch: A is adverse, B is normal."""

    fake_b: Tensor
    fake_a: Tensor
    cycle: "Cycle | None"
    """None in a step without cycles."""
    reconstructed_a: Tensor | None
    reconstructed_b: Tensor | None
    """None in a step without self-reconstruction."""
    transferred_a: Tensor
    """T(E_AB(x_A))."""
    features_b: Tensor
    """E_BA(x_B)."""
    log_scale: Tensor | None


class Cycle(NamedTuple):
    """What becomes of the translations on the way back."""

    a: Tensor
    b: Tensor
    features_fake_b: Tensor
    """E_BA(x'_B)."""
    features_fake_a: Tensor
    """E_AB(x'_A)."""


class GeneratorPair(nn.Module):
    """Both generators, and the passes between them that training needs, no more."""

    def __init__(self, settings: AUGANSettings) -> None:
        super().__init__()
        s = settings
        separate = s.reconstruction == "separate"
        shape: dict[str, Any] = {"reconstruction": separate, "upsampling": s.upsampling, "design": s.design}
        shape["pretrained"] = s.pretrained
        self.a2b = AUGANGenerator(
            s.width, s.blocks, s.transfer_blocks if s.transfer else 0, s.uncertainty, exposure=s.exposure, **shape
        )
        self.b2a = AUGANGenerator(s.width, s.blocks, 0, False, exposure=-s.exposure, **shape)
        self.separate = separate
        self.transfer_in_normal_cycle = s.transfer_in_normal_cycle

    def forward(self, a: Tensor, b: Tensor, noise: tuple[Tensor, Tensor] | None, cycle: bool = True) -> PairOutput:
        """Images (B, 3, H, W) in [-1, 1] -> `PairOutput`.

        `noise` (2, B, C, H/4, W/4) for the features of each, or None for a step without self-reconstruction; `cycle`:
        whether the translations go back.
        """
        to_b: Translation = self.a2b(a, uncertainty=cycle)
        to_a: Translation = self.b2a(b)
        return PairOutput(
            fake_b=to_b.image,
            fake_a=to_a.image,
            cycle=self.back(to_b.image, to_a.image) if cycle else None,
            reconstructed_a=self.reconstruct(self.a2b, self.b2a, to_b.features, noise[0]) if noise else None,
            reconstructed_b=self.reconstruct(self.b2a, self.a2b, to_a.features, noise[1]) if noise else None,
            transferred_a=to_b.transferred,
            features_b=to_a.features,
            log_scale=to_b.log_scale,
        )

    def back(self, fake_b: Tensor, fake_a: Tensor) -> Cycle:
        """The translations' own way back."""
        back_a: Translation = self.b2a(fake_b)
        back_b: Translation = self.a2b(fake_a, transfer=self.transfer_in_normal_cycle, uncertainty=False)
        return Cycle(back_a.image, back_b.image, back_a.features, back_b.features)

    def reconstruct(self, own: AUGANGenerator, other: AUGANGenerator, features: Tensor, noise: Tensor | None) -> Tensor:
        """The image that `own` encoded, decoded into its own domain."""
        return own.reconstruct(features, noise) if self.separate else other.decoder(features, noise)[0]


def generator_losses(
    out: PairOutput,
    a: Tensor,
    b: Tensor,
    judged_a: losses.LogitSet,
    judged_b: losses.LogitSet,
    s: AUGANSettings,
) -> dict[str, Tensor]:
    """The weighted terms of the generators' loss; `judged_*`: logits of that domain's fakes, if any."""
    adversarial = {
        name: s.adversarial_weight * losses.adversarial_generator(judged)
        for name, judged in (("adversarial_a", judged_a), ("adversarial_b", judged_b))
        if judged
    }
    return adversarial | {
        "reconstruction_a": _reconstruction(out.reconstructed_a, a, s),
        "reconstruction_b": _reconstruction(out.reconstructed_b, b, s),
        **_cycle_losses(out, a, b, s),
    }


def _cycle_losses(out: PairOutput, a: Tensor, b: Tensor, s: AUGANSettings) -> dict[str, Tensor]:
    """Cycle consistency and asymmetric feature matching, for each of `cycle_every` steps; 0 in the steps between."""
    cycle = out.cycle
    if cycle is None:
        names = ("cycle_a", "cycle_b") if s.feature_matching == "off" else ("cycle_a", "cycle_b", "features")
        return dict.fromkeys(names, a.new_zeros(()))
    if out.log_scale is not None:
        cycle_a = s.uncertain_cycle_weight * losses.uncertain_cycle(cycle.a, a, out.log_scale)
    else:
        cycle_a = s.cycle_weight * losses.cycle(cycle.a, a)
    terms = {"cycle_a": cycle_a, "cycle_b": s.cycle_weight * losses.cycle(cycle.b, b)}
    if s.feature_matching != "off":
        mode = s.feature_matching
        matched_a = losses.feature_matching(out.transferred_a, cycle.features_fake_b, mode)
        matched_b = losses.feature_matching(out.features_b, cycle.features_fake_a, mode)
        terms["features"] = s.feature_weight * (matched_a + matched_b)
    return {name: s.cycle_every * term for name, term in terms.items()}


def _reconstruction(reconstructed: Tensor | None, image: Tensor, s: AUGANSettings) -> Tensor:
    if reconstructed is None:
        return image.new_zeros(())
    return s.reconstruction_weight * s.reconstruct_every * losses.reconstruction(reconstructed, image)


def uses_frozen_network(s: AUGANSettings) -> bool:
    """Whether a discriminator or a loss looks through EfficientNet-Lite0, which then decides nothing as a judge."""
    looks = s.perceptual_weight > 0 or s.pair_perceptual_weight > 0 or s.energy_weight > 0
    return s.adversary in ("projected", "both") or looks


def check_crop(s: AUGANSettings) -> None:
    """Raises `BadSetting` for a crop whose sides the networks cannot halve often enough."""
    if s.pretrained and s.design != "light":
        raise BadSetting(f"pretrained=True: only design=light has a pretrained encoder, not design={s.design}.")
    multiple = STRIDE if uses_frozen_network(s) else multiple_of(s.design, s.pretrained)
    if any(side % multiple for side in s.crop):
        height, width = (side // multiple * multiple for side in s.crop)
        raise BadSetting(
            f"crop: {s.crop[0]}x{s.crop[1]} does not suit these networks; both sides must be multiples of {multiple}, "
            f"for example {height}x{width}."
        )


def check_shares(s: AUGANSettings) -> None:
    """Raises `BadSetting` for shares of pairs that come to more than 1, and for `pairs_first` without pairs."""
    total = sum(share for folder, share in pair_sources(s).values() if folder is not None)
    if total > 1:
        raise BadSetting(f"rendered_share and simulated_share come to {total:g}; together they may be 1 at most.")
    if s.pairs_first and not total:
        raise BadSetting(
            f"pairs_first={s.pairs_first}: there are no pairs to begin with; give a folder of them (--set "
            "simulated=DIR, from `gen simulate-weather`, or rendered=DIR, from `gen render-street`), or set it to 0."
        )


def pair_sources(s: AUGANSettings) -> dict[str, tuple[Path | None, float]]:
    """Where pairs may come from: folder, and the share of the samples that they are."""
    return {"rendered": (s.rendered, s.rendered_share), "simulated": (s.simulated, s.simulated_share)}


def discriminators(s: AUGANSettings) -> int:
    """Published discriminators a domain that a run has."""
    return s.discriminators if s.adversary in ("published", "both") else 0


class ImagePool:
    """Buffer of translated images, one by one (Shrivastava et al. 2017).

    A full pool answers half of the time with an old image, which the new one replaces.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.images: list[Tensor] = []

    def exchange(self, images: Tensor, seeds: Sequence[int]) -> Tensor:
        """(B, 3, H, W) -> as many images, new or old; `seeds` decide."""
        return torch.stack([self._exchange_one(i, s) for i, s in zip(images, seeds, strict=True)])

    def _exchange_one(self, image: Tensor, seed: int) -> Tensor:
        if len(self.images) < self.size:
            self.images.append(image.clone())
            return image
        rng = np.random.default_rng(seed)
        if self.size == 0 or rng.random() < 0.5:
            return image
        place = int(rng.integers(self.size))
        old, self.images[place] = self.images[place], image.clone()
        return old


class AUGANTrainer(Trainer[AUGANSettings]):
    """Trains both directions at once: one generator step, then one discriminator step."""

    def __init__(self, settings: AUGANSettings) -> None:
        super().__init__(settings)
        s = settings
        check_crop(s)
        check_shares(s)
        if max(s.reconstruct_every, s.cycle_every) > 1 and self.accelerator.num_processes > 1:
            raise BadSetting("reconstruct_every, cycle_every: several processes do both at every step; set them to 1.")
        with self.accelerator.main_process_first():  # the others find the cache that the first one wrote
            self.frames = (self._load("adverse", s.adverse), self._load("normal", s.normal))
            pairs = [self._load_pairs(n, folder, share) for n, (folder, share) in pair_sources(s).items() if folder]
        self.data = UnpairedData(*self.frames, s.crop, s.seed, self.device, pairs)
        self.pair = GeneratorPair(s)
        self.projector = Projector(s.projected_width, s.seed).to(self.device) if uses_frozen_network(s) else None
        self.judges = DiscriminatorSet(
            s.discriminator_width,
            count=discriminators(s),
            projected_width=s.projected_width if s.adversary in ("projected", "both") else 0,
        )
        self.pools = (ImagePool(s.pool_size), ImagePool(s.pool_size))
        self.memories = {name: Memory() for name in ("real_a", "real_b", "made_a", "made_b")}
        judges = {} if s.adversary == "none" else {"discriminators": self.judges}
        self.setup({"generators": self.pair, **judges}, averaged="generators")
        self.warm_up = (s.warm_up or 0) if judges else 0  # without judges there is nothing to warm up
        self.feature_networks = {LITE} if uses_frozen_network(s) or s.pretrained else set[str]()
        self.inherited = dict[str, Any]()
        if s.start_from is not None and self.checkpoint is None:  # a run that goes on needs its start no more
            self._begin_with(s.start_from)

    def _begin_with(self, start: Path) -> None:
        """A run's networks, or a model's generators; then the warm-up is on unless the settings say otherwise."""
        self.inherited = inherited(start)
        self.feature_networks |= set(self.inherited["feature_networks"])
        if is_run(start):
            self.begin_with(start)
            return
        load_generators(start, self.pair.a2b, self.pair.b2a)
        self.average_from_here()
        if self.settings.warm_up is None and self.settings.adversary != "none":
            self.warm_up = WARM_UP

    def _load(self, name: str, folder: Path) -> Frames:
        s = self.settings
        return load_frames(name, folder, s.out / "cache", s.load_height, s.crop, strict=s.strict)

    def _load_pairs(self, name: str, folder: Path, share: float) -> Pairs:
        adverse, day = (self._load(f"{name} {domain}", folder / domain) for domain in ("adverse", "day"))
        return match_pairs(adverse, day, share)

    @property
    def total_images(self) -> int:
        """`images`, or `epochs` of the smaller domain."""
        s = self.settings
        return s.images if s.images is not None else round(s.epochs * min(len(f) for f in self.frames))

    @property
    def layout(self) -> torch.memory_format:
        """Channels last on a GPU only: a CPU's norms are many times as fast in the ordinary layout."""
        return super().layout if self.device.type == "cuda" else torch.contiguous_format

    def compile(self) -> None:
        """Compile the parts that are called, each once for all its calls in a step."""
        for generator in (self.pair.a2b, self.pair.b2a):
            generator.compile(dynamic=False)
            if generator.reconstructor is not None:
                generator.reconstructor.compile(dynamic=False)
        self.judges.compile(dynamic=False)

    def step(self, parts: Sequence[Sequence[int]]) -> dict[str, Tensor]:
        """Generators first, then discriminators on the same translations (section 3)."""
        only_pairs = self.images_shown < self.settings.pairs_first
        batches = [self.data.batch(samples, self.layout, only_pairs) for samples in parts]
        if only_pairs:
            return self._pairs_step(batches)
        if self.images_shown < self.settings.pairs_first + self.warm_up:
            return self._warm_up_step(batches)
        made: list[tuple[Tensor, Tensor]] = []
        records: list[dict[str, Tensor]] = []
        self.judges.requires_grad_(False)
        with self.updating("generators"):
            for part, batch in enumerate(batches):
                with self.synchronised("generators", part):
                    out, terms = self._generator_terms(batch)
                    self.backward(terms)
                made.append((out.fake_a.detach(), out.fake_b.detach()))
                records.append({name: term.detach() for name, term in terms.items()})
                del out, terms  # only the translations are shown to the discriminators; the rest is let go
        return self._update_discriminators(batches, made, records)

    def _update_discriminators(
        self, batches: Sequence[Batch], made: Sequence[tuple[Tensor, Tensor]], records: list[dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """On the translations `made`; returns the mean over the parts of what `records` and this step tell."""
        if self.settings.adversary != "none":
            self.judges.requires_grad_(True)
            with self.updating("discriminators"):
                for part, (batch, fakes) in enumerate(zip(batches, made, strict=True)):
                    with self.synchronised("discriminators", part):
                        terms = self._discriminator_terms(batch, *fakes)
                        self.backward(terms)
                    records[part] |= {name: term.detach() for name, term in terms.items()}
        return {name: torch.stack([r[name] for r in records]).mean() for name in records[0]}

    def _generator_terms(self, batch: Batch) -> tuple[PairOutput, dict[str, Tensor]]:
        a, b = batch.adverse, batch.normal
        s = self.settings
        step = self.images_shown // s.batch
        noise = self._noise(a, b, batch.seeds) if step % s.reconstruct_every == 0 else None
        with self.accelerator.autocast():
            out: PairOutput = self.wrapped["generators"](a, b, noise, cycle=step % s.cycle_every == 0)
            # The unwrapped module: its frozen weights have no gradients for processes to exchange.
            judged = []
            if s.adversary != "none":
                judged = self._judge(self.judges, out.fake_a, out.fake_b, batch.seeds, salt=2)
            terms = generator_losses(out, a, b, [j[0] for j in judged], [j[1] for j in judged], s)
            if s.perceptual_weight:
                terms["perceptual"] = s.cycle_every * s.perceptual_weight * self._perceptual_cycle(out.cycle, a, b)
            if s.energy_weight:
                terms |= self._energy_terms(out.fake_a, out.fake_b, batch)
        if self.data.pairs:
            terms |= self._pair_terms(out.fake_a, out.fake_b, batch)
        return out, terms

    def _energy_terms(self, fake_a: Tensor, fake_b: Tensor, batch: Batch) -> dict[str, Tensor]:
        """The energy distances of the unpaired translations, which are then remembered, as are the real frames."""
        places = [place for place, paired in enumerate(batch.paired) if not paired]
        terms = {"energy_a": fake_a.new_zeros(()), "energy_b": fake_b.new_zeros(())}
        if not places:
            return terms
        for domain, fake, frames in (("a", fake_a, batch.adverse), ("b", fake_b, batch.normal)):
            real, made = self.memories[f"real_{domain}"], self.memories[f"made_{domain}"]
            described = self._described(fake[places])
            terms[f"energy_{domain}"] = self.settings.energy_weight * energy(described, real, made)
            made.add(described)
            with torch.no_grad():
                real.add(self._described(frames[places]))
        return terms

    def _described(self, images: Tensor) -> list[Tensor]:
        return describe(images, self._frozen().look(images))

    def _frozen(self) -> Projector:
        if self.projector is None:
            raise AttributeError("no loss of these settings looks through the frozen network, so it was not loaded")
        return self.projector

    def _pair_terms(self, fake_a: Tensor | None, fake_b: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Distance of the translations of paired samples to their true frames."""
        s = self.settings
        known = torch.tensor(batch.paired, device=self.device)
        distance = losses.pair(fake_b, batch.normal, known, s.pair_quantile)
        if fake_a is not None:
            distance = distance + losses.pair(fake_a, batch.adverse, known)
        terms = {"pair": s.pair_weight * distance}
        if s.pair_perceptual_weight:
            places = [place for place, paired in enumerate(batch.paired) if paired]
            seen = self._perceptual(fake_b[places], batch.normal[places]) if places else fake_b.new_zeros(())
            terms["pair_perceptual"] = s.pair_perceptual_weight * seen
        return terms

    def _pairs_step(self, batches: Sequence[Batch]) -> dict[str, Tensor]:
        """The generators alone, on pairs alone: each translation against the true frame."""
        records: list[dict[str, Tensor]] = []
        both_ways = self.images_shown // self.settings.batch % self.settings.pairs_back_every == 0
        with self.updating("generators"):
            for batch in batches:
                with self.accelerator.autocast():
                    to_b: Translation = self.pair.a2b(batch.adverse, uncertainty=False)
                    to_a: Translation | None = self.pair.b2a(batch.normal) if both_ways else None
                    terms = self._pair_terms(to_a.image if to_a else None, to_b.image, batch)
                self.backward(terms)
                records.append({name: term.detach() for name, term in terms.items()})
            self.average_gradients("generators")  # the plain module was used: parts of it have no gradients now
        return {name: torch.stack([r[name] for r in records]).mean() for name in records[0]}

    def _warm_up_step(self, batches: Sequence[Batch]) -> dict[str, Tensor]:
        """The translations stay; the reconstruction decoders learn, where there are any, then the discriminators."""
        made: list[tuple[Tensor, Tensor]] = []
        records: list[dict[str, Tensor]] = []
        with self.updating("generators"):
            for batch in batches:
                fakes, terms = self._warm_up_terms(batch)
                if terms:
                    self.backward(terms)
                made.append(fakes)
                records.append({name: term.detach() for name, term in terms.items()})
            self.average_gradients("generators")  # the plain module was used: most of it has no gradients now
        return self._update_discriminators(batches, made, records)

    def _warm_up_terms(self, batch: Batch) -> tuple[tuple[Tensor, Tensor], dict[str, Tensor]]:
        """Both translations, and the loss of each separate reconstruction decoder on features that stay."""
        a, b = batch.adverse, batch.normal
        with torch.no_grad(), self.accelerator.autocast():
            to_b: Translation = self.pair.a2b(a)
            to_a: Translation = self.pair.b2a(b)
        terms: dict[str, Tensor] = {}
        if self.pair.separate:
            with self.accelerator.autocast():
                noise_a, noise_b = self._noise(a, b, batch.seeds)
                of_a = self.pair.a2b.reconstruct(to_b.features, noise_a)
                of_b = self.pair.b2a.reconstruct(to_a.features, noise_b)
            weight = self.settings.reconstruction_weight
            terms["reconstruction_a"] = weight * losses.reconstruction(of_a, a)
            terms["reconstruction_b"] = weight * losses.reconstruction(of_b, b)
        return (to_a.image, to_b.image), terms

    def _discriminator_terms(self, batch: Batch, fake_a: Tensor, fake_b: Tensor) -> dict[str, Tensor]:
        count = len(batch.seeds)
        fake_a = self.pools[0].exchange(fake_a, [s ^ 1 for s in batch.seeds])
        fake_b = self.pools[1].exchange(fake_b, [s ^ 2 for s in batch.seeds])
        both_a, both_b = torch.cat([batch.adverse, fake_a]), torch.cat([batch.normal, fake_b])
        with self.accelerator.autocast():
            judged = self._judge(self.wrapped["discriminators"], both_a, both_b, batch.seeds * 2, salt=3)
        terms: dict[str, Tensor] = {}
        for domain, name in enumerate(("discriminator_a", "discriminator_b")):
            real = [[x[:count] for x in pair[domain]] for pair in judged]
            fake = [[x[count:] for x in pair[domain]] for pair in judged]
            terms[name] = losses.adversarial_discriminator(real, fake)
        return terms

    def _judge(
        self, judges: nn.Module, adverse: Tensor, normal: Tensor, seeds: Sequence[int], salt: int
    ) -> list[tuple[list[Tensor], list[Tensor]]]:
        """What the discriminators say of images that claim to be of each domain."""
        images = [adverse, normal]
        if self.settings.augment:
            draws = [self._random((4,), seeds, salt + 2 * domain, torch.rand) for domain in (0, 1)]
            images = [cutout(translate(x, d[:, :2]), d[:, 2:]) for x, d in zip(images, draws, strict=True)]
        seen = []
        if self.settings.adversary in ("projected", "both"):
            seen = [self._frozen()(x) for x in images]
        return judges(*images, seen)

    def _perceptual_cycle(self, cycle: Cycle | None, a: Tensor, b: Tensor) -> Tensor:
        """Distance of the cycled images to their sources in the frozen network; 0 in a step without cycles."""
        return a.new_zeros(()) if cycle is None else self._perceptual(cycle.a, a) + self._perceptual(cycle.b, b)

    def _perceptual(self, images: Tensor, truth: Tensor) -> Tensor:
        """Distance of images to the true ones in the frozen network."""
        with torch.no_grad():
            wanted = self._frozen().look(truth)
        return losses.perceptual(self._frozen().look(images), wanted)

    def _noise(self, a: Tensor, b: Tensor, seeds: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Feature noise (2, B, C, H/4, W/4) for the self-reconstruction of each domain."""
        shapes = ((2, 4 * self.settings.width, x.shape[-2] // 4, x.shape[-1] // 4) for x in (a, b))
        first, second = (self._random(shape, seeds, salt, torch.randn) for salt, shape in enumerate(shapes))
        return first.transpose(0, 1) * RECONSTRUCTION_NOISE, second.transpose(0, 1) * RECONSTRUCTION_NOISE

    def _random(self, shape: tuple[int, ...], seeds: Sequence[int], salt: int, draw: Callable[..., Tensor]) -> Tensor:
        """Random numbers (B, *shape), each sample's from its own seed."""
        generator = torch.Generator(self.device)
        samples = [draw(shape, generator=generator.manual_seed(seed ^ salt << 8), device=self.device) for seed in seeds]
        return torch.stack(samples)

    def data_record(self) -> dict[str, Any]:
        """The folders, how many frames, and their size as cached."""
        pairs = [frames for pairs in self.data.pairs for frames in (pairs.adverse, pairs.normal)]
        return {frames.name: frames.summary() for frames in (*self.frames, *pairs)}

    def extra_state(self) -> dict[str, Any]:
        """The image pools and memories of the main process; after a resume all processes begin with these."""
        return {
            "pools": [pool.images for pool in self.pools],
            "memories": {name: memory.levels for name, memory in self.memories.items()},
            "warm_up": self.warm_up,
            "feature_networks": sorted(self.feature_networks),
            "inherited": self.inherited,
        }

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Fill the image pools and memories; an older checkpoint knows no warm-up and no memories."""
        self.warm_up = state.get("warm_up", 0)
        self.feature_networks |= set(state.get("feature_networks", ()))
        self.inherited = state.get("inherited", {})
        for name, levels in state.get("memories", {}).items():
            self.memories[name].levels = list(levels)
        for pool, images in zip(self.pools, state["pools"], strict=True):
            pool.images = list(images)

    @torch.no_grad()
    def sample_grid(self) -> NDArray[np.uint8]:
        """Rows of input, translation, uncertainty (0..127.5 grey levels), cycle, reconstruction; adverse first."""
        height, width = self.settings.crop
        rows: list[NDArray[np.uint8]] = []
        for domain, frames in enumerate(self.frames):
            for index in np.linspace(0, len(frames) - 1, SAMPLE_FRAMES).round().astype(int):
                frame = frames.frame(int(index))[None, :, :height, :width].to(self.device, memory_format=self.layout)
                rows.append(self._sample_row(to_float(frame), adverse=domain == 0))
        return np.concatenate(rows)

    def _sample_row(self, image: Tensor, adverse: bool) -> NDArray[np.uint8]:
        own, other = (self.pair.a2b, self.pair.b2a) if adverse else (self.pair.b2a, self.pair.a2b)
        with self.accelerator.autocast():
            out: Translation = own(image)
            cycled: Translation = other(out.image)
            reconstructed = self.pair.reconstruct(own, other, out.features, None)
        pictures = [
            to_uint8(x)[0].permute(1, 2, 0).cpu().numpy() for x in (image, out.image, cycled.image, reconstructed)
        ]
        if out.log_scale is not None:
            scale = colour_uncertainty(losses.laplace_scale(out.log_scale)[0, 0].cpu().numpy())
        else:
            scale = np.zeros_like(pictures[0])
        return np.concatenate([*pictures[:2], scale, *pictures[2:]], axis=1)
