"""Training AU-GAN on two unpaired folders of frames, with pairs mixed in."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gen.augan import losses
from gen.augan.networks import AUGANGenerator, DiscriminatorSet, Translation, multiple_of
from gen.augan.settings import AUGANSettings, check_pairs, published_discriminators, uses_frozen_network
from gen.augan.start import inherited, is_run, load_generators
from gen.errors import BadSetting
from gen.media.resize import to_uint8
from gen.training.augment import cutout, translate
from gen.training.data import Batch
from gen.training.energy import FeatureMemory, band_features, energy
from gen.training.projected import STRIDE, Projector
from gen.translation import losses as shared
from gen.translation.losses import LogitSet
from gen.translation.maps import colour_uncertainty
from gen.translation.training import Fakes, UnpairedTrainer, detached, mean_over_parts

LITE = "efficientnet-lite0"
"""Name of the frozen network's feature space among the judges of an evaluation."""

RECONSTRUCTION_NOISE = 0.02
"""Standard deviation of the noise on the features that are decoded back to their own image."""

WARM_UP = 500
"""Images of the warm-up of fresh discriminators.

Beside the shipped weights (120 frames a domain, 112 rows, crop 96x144, published discriminators of width 16, batch 1,
lr 3e-4, one seed) their losses were about those of guessing, .5, until 250 images, .46 (adverse) and .36 (normal) at
300, .32 and .13 at 500.
"""


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
    judged_a: LogitSet,
    judged_b: LogitSet,
    s: AUGANSettings,
) -> dict[str, Tensor]:
    """The weighted terms of the generators' loss; `judged_*`: logits of that domain's fakes, if any."""
    adversarial = {
        name: s.adversarial_weight * shared.adversarial_generator(judged)
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
        cycle_a = s.cycle_weight * shared.cycle(cycle.a, a)
    terms = {"cycle_a": cycle_a, "cycle_b": s.cycle_weight * shared.cycle(cycle.b, b)}
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


class AUGANTrainer(UnpairedTrainer[AUGANSettings]):
    """Trains both directions at once: pairs alone, then a warm-up, then all losses, as the settings say."""

    def __init__(self, settings: AUGANSettings) -> None:
        super().__init__(settings)
        s = settings
        check_crop(s)
        check_pairs(s)
        if max(s.reconstruct_every, s.cycle_every) > 1 and self.accelerator.num_processes > 1:
            raise BadSetting("reconstruct_every, cycle_every: several processes do both at every step; set them to 1.")
        self.pair = GeneratorPair(s)
        self.projector = Projector(s.projected_width, s.seed).to(self.device) if uses_frozen_network(s) else None
        self.discriminators = DiscriminatorSet(
            s.discriminator_width,
            count=published_discriminators(s),
            projected_width=s.projected_width if s.adversary in ("projected", "both") else 0,
        )
        self.memories = {name: FeatureMemory() for name in ("real_a", "real_b", "made_a", "made_b")}
        discriminators = {} if s.adversary == "none" else {"discriminators": self.discriminators}
        self.setup({"generators": self.pair, **discriminators}, averaged="generators")
        self.warm_up = (s.warm_up or 0) if discriminators else 0
        self.feature_networks = {LITE} if uses_frozen_network(s) or s.pretrained else set[str]()
        self.inherited = dict[str, Any]()
        if s.start_from is not None and self.checkpoint is None:  # a resumed run no longer needs its start
            self._begin_with(s.start_from)

    def _begin_with(self, start: Path) -> None:
        """Load a run's networks, or a model's generators; the latter turn on the warm-up, unless it is set."""
        self.inherited = inherited(start)
        self.feature_networks |= set(self.inherited["feature_networks"])
        if is_run(start):
            self.begin_with(start)
            return
        load_generators(start, self.pair.a2b, self.pair.b2a)
        self.average_from_here()
        if self.settings.warm_up is None and self.settings.adversary != "none":
            self.warm_up = WARM_UP

    def compile(self) -> None:
        """Compile the parts that are called, each once for all its calls in a step."""
        for generator in (self.pair.a2b, self.pair.b2a):
            generator.compile(dynamic=False)
            if generator.reconstructor is not None:
                generator.reconstructor.compile(dynamic=False)
        self.discriminators.compile(dynamic=False)

    def step(self, parts: Sequence[Sequence[int]]) -> dict[str, Tensor]:
        """Pairs alone, warm-up, or the generators first and then the discriminators (section 3 of the paper)."""
        only_pairs = self.images_shown < self.settings.pairs_first
        batches = [self.data.batch(samples, self.layout, only_pairs) for samples in parts]
        if only_pairs:
            return self._pairs_step(batches)
        if self.images_shown < self.settings.pairs_first + self.warm_up:
            return self._warm_up_step(batches)
        return self.adversarial_step(batches)

    def generator_terms(self, batch: Batch) -> tuple[Fakes, dict[str, Tensor]]:
        """See `UnpairedTrainer.generator_terms`."""
        with self.accelerator.autocast():
            out = self._forward(batch)
            terms = self._generator_losses(out, batch)
        fakes = Fakes(adverse=out.fake_a, normal=out.fake_b)
        if self.data.pairs:
            terms |= self._pair_terms(fakes, batch)
        return fakes, terms

    def _forward(self, batch: Batch) -> PairOutput:
        """Translations, and in the steps that have them cycles and self-reconstructions."""
        s, step = self.settings, self.images_shown // self.settings.batch
        noise = self._noise(batch.adverse, batch.normal, batch.seeds) if step % s.reconstruct_every == 0 else None
        return self.wrapped["generators"](batch.adverse, batch.normal, noise, cycle=step % s.cycle_every == 0)

    def _generator_losses(self, out: PairOutput, batch: Batch) -> dict[str, Tensor]:
        """The weighted terms that need no true frames."""
        s, a, b = self.settings, batch.adverse, batch.normal
        judged = []
        if s.adversary != "none":
            # The unwrapped module: its frozen weights have no gradients for processes to exchange.
            judged = self._judge(self.discriminators, out.fake_a, out.fake_b, batch.seeds, salt=2)
        terms = generator_losses(out, a, b, [j[0] for j in judged], [j[1] for j in judged], s)
        if s.perceptual_weight:
            terms["perceptual"] = s.cycle_every * s.perceptual_weight * self._perceptual_cycle(out.cycle, a, b)
        if s.energy_weight:
            terms |= self._energy_terms(out.fake_a, out.fake_b, batch)
        return terms

    def _energy_terms(self, fake_a: Tensor, fake_b: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Energy distances of the unpaired translations. They and the real frames then go into the memories."""
        unpaired = [index for index, paired in enumerate(batch.paired) if not paired]
        terms = {"energy_a": fake_a.new_zeros(()), "energy_b": fake_b.new_zeros(())}
        if not unpaired:
            return terms
        for domain, fake, frames in (("a", fake_a, batch.adverse), ("b", fake_b, batch.normal)):
            real, made = self.memories[f"real_{domain}"], self.memories[f"made_{domain}"]
            described = self._described(fake[unpaired])
            terms[f"energy_{domain}"] = self.settings.energy_weight * energy(described, real, made)
            made.add(described)
            with torch.no_grad():
                real.add(self._described(frames[unpaired]))
        return terms

    def _described(self, images: Tensor) -> list[Tensor]:
        return band_features(images, self._frozen().features(images))

    def _frozen(self) -> Projector:
        if self.projector is None:
            raise AttributeError("no loss of these settings looks through the frozen network, so it was not loaded")
        return self.projector

    def _pair_terms(self, fakes: Fakes, batch: Batch) -> dict[str, Tensor]:
        """Distance of the translations of paired samples to their true frames."""
        s = self.settings
        terms = {"pair": s.pair_weight * self.pair_distance(fakes, batch, s.pair_quantile)}
        if s.pair_perceptual_weight and fakes.normal is not None:
            paired = [index for index, known in enumerate(batch.paired) if known]
            distance = batch.normal.new_zeros(())
            if paired:
                distance = self._perceptual(fakes.normal[paired], batch.normal[paired])
            terms["pair_perceptual"] = s.pair_perceptual_weight * distance
        return terms

    def _pairs_step(self, batches: Sequence[Batch]) -> dict[str, Tensor]:
        """Update the generators on pairs alone: each translation against its true frame."""
        records: list[dict[str, Tensor]] = []
        both_ways = self.images_shown // self.settings.batch % self.settings.pairs_back_every == 0
        with self.updating("generators"):
            for batch in batches:
                with self.accelerator.autocast():
                    to_b: Translation = self.pair.a2b(batch.adverse, uncertainty=False)
                    to_a: Translation | None = self.pair.b2a(batch.normal) if both_ways else None
                    terms = self._pair_terms(Fakes(to_a.image if to_a else None, to_b.image), batch)
                self.backward(terms)
                records.append(detached(terms))
            self.average_gradients("generators")  # the plain module was used: parts of it have no gradients now
        return mean_over_parts(records)

    def _warm_up_step(self, batches: Sequence[Batch]) -> dict[str, Tensor]:
        """The translations stay; the reconstruction decoders learn, where there are any, then the discriminators."""
        made: list[Fakes] = []
        records: list[dict[str, Tensor]] = []
        with self.updating("generators"):
            for batch in batches:
                fakes, terms = self._warm_up_terms(batch)
                if terms:
                    self.backward(terms)
                made.append(fakes)
                records.append(detached(terms))
            self.average_gradients("generators")  # the plain module was used: most of it has no gradients now
        return self.update_discriminators(batches, made, records)

    def _warm_up_terms(self, batch: Batch) -> tuple[Fakes, dict[str, Tensor]]:
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
        return Fakes(to_a.image, to_b.image), terms

    def discriminator_terms(self, batch: Batch, fakes: Fakes) -> dict[str, Tensor]:
        """See `UnpairedTrainer.discriminator_terms`."""
        count = len(batch.seeds)
        fake_a, fake_b = fakes
        if fake_a is None or fake_b is None:
            raise ValueError("both directions are trained")
        both_a, both_b = torch.cat([batch.adverse, fake_a]), torch.cat([batch.normal, fake_b])
        with self.accelerator.autocast():
            judged = self._judge(self.wrapped["discriminators"], both_a, both_b, batch.seeds * 2, salt=3)
        terms: dict[str, Tensor] = {}
        for domain, name in enumerate(("discriminator_a", "discriminator_b")):
            real = [[x[:count] for x in pair[domain]] for pair in judged]
            fake = [[x[count:] for x in pair[domain]] for pair in judged]
            terms[name] = shared.adversarial_discriminator(real, fake)
        return terms

    def _judge(
        self, discriminators: nn.Module, adverse: Tensor, normal: Tensor, seeds: Sequence[int], salt: int
    ) -> list[tuple[list[Tensor], list[Tensor]]]:
        """The discriminators' logits for images that claim to be of each domain."""
        images = [adverse, normal]
        if self.settings.augment:
            draws = [self.random((4,), seeds, salt + 2 * domain, torch.rand) for domain in (0, 1)]
            images = [cutout(translate(x, d[:, :2]), d[:, 2:]) for x, d in zip(images, draws, strict=True)]
        seen = []
        if self.settings.adversary in ("projected", "both"):
            seen = [self._frozen()(x) for x in images]
        return discriminators(*images, seen)

    def _perceptual_cycle(self, cycle: Cycle | None, a: Tensor, b: Tensor) -> Tensor:
        """Distance of the cycled images to their sources in the frozen network; 0 in a step without cycles."""
        return a.new_zeros(()) if cycle is None else self._perceptual(cycle.a, a) + self._perceptual(cycle.b, b)

    def _perceptual(self, images: Tensor, truth: Tensor) -> Tensor:
        """Distance of images to the true ones in the frozen network."""
        with torch.no_grad():
            wanted = self._frozen().features(truth)
        return losses.perceptual(self._frozen().features(images), wanted)

    def _noise(self, a: Tensor, b: Tensor, seeds: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Feature noise (2, B, C, H/4, W/4) for the self-reconstruction of each domain."""
        shapes = ((2, 4 * self.settings.width, x.shape[-2] // 4, x.shape[-1] // 4) for x in (a, b))
        first, second = (self.random(shape, seeds, salt, torch.randn) for salt, shape in enumerate(shapes))
        return first.transpose(0, 1) * RECONSTRUCTION_NOISE, second.transpose(0, 1) * RECONSTRUCTION_NOISE

    def extra_state(self) -> dict[str, Any]:
        """Image pools, memories, warm-up, and what the run inherited from its start."""
        return super().extra_state() | {
            "memories": {name: memory.levels for name, memory in self.memories.items()},
            "warm_up": self.warm_up,
            "feature_networks": sorted(self.feature_networks),
            "inherited": self.inherited,
        }

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """The inverse; an older checkpoint has no warm-up and no memories."""
        super().load_extra_state(state)
        self.warm_up = state.get("warm_up", 0)
        self.feature_networks |= set(state.get("feature_networks", ()))
        self.inherited = state.get("inherited", {})
        for name, levels in state.get("memories", {}).items():
            self.memories[name].levels = list(levels)

    def sample_row(self, image: Tensor, adverse: bool) -> list[NDArray[np.uint8]]:
        """Input, translation, uncertainty (0..127.5 grey levels), cycle, reconstruction."""
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
        return [*pictures[:2], scale, *pictures[2:]]
