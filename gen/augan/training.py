"""Train AU-GAN on two unpaired folders of frames, optionally mixed with pairs."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gen.augan import losses
from gen.augan.generator_losses import generator_losses
from gen.augan.generator_pair import Cycle, GeneratorPair, PairOutput
from gen.augan.networks import DiscriminatorSet, Translation, multiple_of
from gen.augan.settings import AUGANSettings, check_pairs, published_discriminators, uses_frozen_network
from gen.augan.start import inherited, is_run, load_generators
from gen.errors import BadSetting
from gen.media.resize import to_uint8
from gen.tensors import on_device
from gen.training.augment import cutout, translate
from gen.training.data import Batch
from gen.training.energy import FeatureMemory, band_features, energy
from gen.training.projected import STRIDE, Projector
from gen.translation import losses as shared
from gen.translation.maps import colour_uncertainty
from gen.translation.training import Fakes, UnpairedTrainer, detached, mean_over_parts

log = logging.getLogger(__name__)

LITE = "efficientnet-lite0"
"""Name of the frozen network's feature space in an evaluation."""

RECONSTRUCTION_NOISE = 0.02
"""Standard deviation of the noise added to the features for self-reconstruction, as in the published code."""

WARM_UP = 500
"""Images of the warm-up of new discriminators.

Measured with the shipped weights (120 frames per domain, 112 rows, crop 96x144, published discriminators of width 16,
batch 1, lr 3e-4, one seed): their losses were about 0.5, that of guessing, until 250 images; 0.46 (adverse) and 0.36
(normal) at 300; 0.32 and 0.13 at 500.
"""


def check_crop(s: AUGANSettings) -> None:
    """Raises `BadSetting` for a crop whose sides are not multiples of what the networks need."""
    if s.pretrained and s.design != "light":
        raise BadSetting(f"pretrained: only design=light has a pretrained encoder, not design={s.design}.")
    multiple = STRIDE if uses_frozen_network(s) else multiple_of(s.design, s.pretrained)
    if any(side % multiple for side in s.crop):
        height, width = (side // multiple * multiple for side in s.crop)
        raise BadSetting(
            f"crop: both sides must be multiples of {multiple} for these networks, "
            f"for example {height}x{width} instead of {s.crop[0]}x{s.crop[1]} (height x width)."
        )


class AUGANTrainer(UnpairedTrainer[AUGANSettings]):
    """Trains both directions at once in up to three phases: pairs only, warm-up, all losses."""

    settings_class = AUGANSettings

    def __init__(self, settings: AUGANSettings) -> None:
        super().__init__(settings)
        s = settings
        check_crop(s)
        check_pairs(s)
        if max(s.reconstruct_every, s.cycle_every) > 1 and self.accelerator.num_processes > 1:
            raise BadSetting("reconstruct_every and cycle_every must be 1 in a run with several processes.")
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
        if s.start_from is not None and self.checkpoint is None:  # a resumed run has its own weights
            self._begin_with(s.start_from)
            self._tell_of_a_short_run()

    def _tell_of_a_short_run(self) -> None:
        """Warn if the run ends before the generators learn anything from unpaired frames."""
        s, first = self.settings, self.settings.pairs_first + self.warm_up
        if self.warm_up and s.core_minutes is None and self.total_images <= first:
            log.warning(
                "images: all %d images lie before the end of the warm-up at %d, so that the translations learn nothing "
                "from unpaired frames; set more images, or a shorter warm_up.", self.total_images, first,
            )  # fmt: skip

    def _begin_with(self, start: Path) -> None:
        """Load a run's networks, or a model's generators, which by default enables the warm-up."""
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
        """Compile the generators, reconstruction decoders and discriminators."""
        for generator in (self.pair.a2b, self.pair.b2a):
            generator.compile(dynamic=False)
            if generator.reconstructor is not None:
                generator.reconstructor.compile(dynamic=False)
        self.discriminators.compile(dynamic=False)

    def step(self, parts: Sequence[Sequence[int]]) -> dict[str, Tensor]:
        """One step on pairs only, of the warm-up, or of the generators and then the discriminators (as published)."""
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
            terms = self.terms(out, batch)
        fakes = Fakes(adverse=out.fake_a, normal=out.fake_b)
        if self.data.pairs:
            terms |= self._pair_terms(fakes, batch)
        return fakes, terms

    def _forward(self, batch: Batch) -> PairOutput:
        """Translations, and, in every n-th step, cycles and self-reconstructions."""
        s, step = self.settings, self.images_shown // self.settings.batch
        noise = self._noise(batch.adverse, batch.normal, batch.seeds) if step % s.reconstruct_every == 0 else None
        return self.wrapped["generators"](batch.adverse, batch.normal, noise, cycle=step % s.cycle_every == 0)

    def terms(self, out: PairOutput, batch: Batch) -> dict[str, Tensor]:
        """The weighted terms of the generators' loss by name, except those of pairs. Extend it to change the loss."""
        s, a, b = self.settings, batch.adverse, batch.normal
        logits = []
        if s.adversary != "none":
            # The unwrapped module: no gradients of its weights are needed in this step, so there are none to exchange.
            logits = self._logits(self.discriminators, out.fake_a, out.fake_b, batch.seeds, salt=2)
        terms = generator_losses(out, a, b, [pair[0] for pair in logits], [pair[1] for pair in logits], s)
        if s.perceptual_weight:
            terms["perceptual"] = s.cycle_every * s.perceptual_weight * self._perceptual_cycle(out.cycle, a, b)
        if s.energy_weight:
            terms |= self._energy_terms(out.fake_a, out.fake_b, batch)
        return terms

    def _energy_terms(self, fake_a: Tensor, fake_b: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Energy distances of the unpaired translations, which are then added to the memories with the real frames."""
        indices = [index for index, paired in enumerate(batch.paired) if not paired]
        terms = {"energy_a": fake_a.new_zeros(()), "energy_b": fake_b.new_zeros(())}
        if not indices:
            return terms
        unpaired = on_device(indices, self.device)
        for domain, fake, frames in (("a", fake_a, batch.adverse), ("b", fake_b, batch.normal)):
            real, generated = self.memories[f"real_{domain}"], self.memories[f"made_{domain}"]
            features = self._band_features(fake[unpaired])
            terms[f"energy_{domain}"] = self.settings.energy_weight * energy(features, real, generated)
            generated.add(features)
            with torch.no_grad():
                real.add(self._band_features(frames[unpaired]))
        return terms

    def _band_features(self, images: Tensor) -> list[Tensor]:
        return band_features(images, self._frozen().features(images))

    def _frozen(self) -> Projector:
        if self.projector is None:
            raise AttributeError("the frozen network was not loaded, because no loss of these settings uses it")
        return self.projector

    def _pair_terms(self, fakes: Fakes, batch: Batch) -> dict[str, Tensor]:
        """Losses of paired samples: distance of translations from the true frames."""
        s = self.settings
        terms = {"pair": s.pair_weight * self.pair_distance(fakes, batch, s.pair_quantile)}
        if s.pair_perceptual_weight and fakes.normal is not None:
            indices = [index for index, known in enumerate(batch.paired) if known]
            distance = batch.normal.new_zeros(())
            if indices:
                paired = on_device(indices, self.device)
                distance = self._perceptual(fakes.normal[paired], batch.normal[paired])
            terms["pair_perceptual"] = s.pair_perceptual_weight * distance
        return terms

    def _pairs_step(self, batches: Sequence[Batch]) -> dict[str, Tensor]:
        """Update the generators on pairs only: each translation against its true frame."""
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
            self.average_gradients("generators")  # not by DDP, which would wait for gradients of unused parts
        return mean_over_parts(records)

    def _warm_up_step(self, batches: Sequence[Batch]) -> dict[str, Tensor]:
        """Update separate reconstruction decoders, if any, then the discriminators; translations are frozen."""
        all_fakes: list[Fakes] = []
        records: list[dict[str, Tensor]] = []
        with self.updating("generators"):
            for batch in batches:
                fakes, terms = self._warm_up_terms(batch)
                if terms:
                    self.backward(terms)
                all_fakes.append(fakes)
                records.append(detached(terms))
            self.average_gradients("generators")  # not by DDP, which would wait for gradients of frozen parts
        return self.update_discriminators(batches, all_fakes, records)

    def _warm_up_terms(self, batch: Batch) -> tuple[Fakes, dict[str, Tensor]]:
        """Both translations, and the losses of separate reconstruction decoders on frozen features."""
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
            raise ValueError("AU-GAN needs fakes of both domains")
        both_a, both_b = torch.cat([batch.adverse, fake_a]), torch.cat([batch.normal, fake_b])
        with self.accelerator.autocast():
            logits = self._logits(self.wrapped["discriminators"], both_a, both_b, batch.seeds * 2, salt=3)
        terms: dict[str, Tensor] = {}
        for domain, name in enumerate(("discriminator_a", "discriminator_b")):
            real = [[x[:count] for x in pair[domain]] for pair in logits]
            fake = [[x[count:] for x in pair[domain]] for pair in logits]
            terms[name] = shared.adversarial_discriminator(real, fake)
        return terms

    def _logits(
        self, discriminators: nn.Module, adverse: Tensor, normal: Tensor, seeds: Sequence[int], salt: int
    ) -> list[tuple[list[Tensor], list[Tensor]]]:
        """The discriminators' logits for real or fake images of each domain."""
        images = [adverse, normal]
        if self.settings.augment:
            draws = [self.random((4,), seeds, salt + 2 * domain, torch.rand) for domain in (0, 1)]
            images = [cutout(translate(x, d[:, :2]), d[:, 2:]) for x, d in zip(images, draws, strict=True)]
        maps = []
        if self.settings.adversary in ("projected", "both"):
            maps = [self._frozen()(x) for x in images]
        return discriminators(*images, maps)

    def _perceptual_cycle(self, cycle: Cycle | None, a: Tensor, b: Tensor) -> Tensor:
        """Perceptual distance of the cycled images from their sources; 0 in a step without cycles."""
        return a.new_zeros(()) if cycle is None else self._perceptual(cycle.a, a) + self._perceptual(cycle.b, b)

    def _perceptual(self, images: Tensor, truth: Tensor) -> Tensor:
        """Perceptual distance in the features of the frozen network."""
        with torch.no_grad():
            target = self._frozen().features(truth)
        return losses.perceptual(self._frozen().features(images), target)

    def _noise(self, a: Tensor, b: Tensor, seeds: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Feature noise (2, B, C, H/4, W/4) for the self-reconstruction of each domain."""
        shapes = ((2, 4 * self.settings.width, x.shape[-2] // 4, x.shape[-1] // 4) for x in (a, b))
        first, second = (self.random(shape, seeds, salt, torch.randn) for salt, shape in enumerate(shapes))
        return first.transpose(0, 1) * RECONSTRUCTION_NOISE, second.transpose(0, 1) * RECONSTRUCTION_NOISE

    def extra_state(self) -> dict[str, Any]:
        """Image pools, feature memories, warm-up, and records inherited from the start."""
        return super().extra_state() | {
            "memories": {name: memory.levels for name, memory in self.memories.items()},
            "warm_up": self.warm_up,
            "feature_networks": sorted(self.feature_networks),
            "inherited": self.inherited,
        }

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """The inverse. Older checkpoints have no warm-up and no memories."""
        super().load_extra_state(state)
        self.warm_up = state.get("warm_up", 0)
        self.feature_networks |= set(state.get("feature_networks", ()))
        self.inherited = state.get("inherited", {})
        for name, levels in state.get("memories", {}).items():
            self.memories[name].levels = list(levels)

    def sample_row(self, image: Tensor, adverse: bool) -> list[NDArray[np.uint8]]:
        """Input, translation, uncertainty (0..127.5 grey levels), cycle, reconstruction, each (H, W, 3)."""
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
