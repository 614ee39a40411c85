"""The base of unpaired training: frames, pairs to mix in, image pools, sample grids, and the two updates of a step.

A method gives its networks, `generator_terms`, `discriminator_terms` and `sample_row`.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gen.media.resize import to_float
from gen.tensors import on_device
from gen.training.data import Batch, Pairs, UnpairedData, match_pairs
from gen.training.frames import Frames, load_frames
from gen.training.loop import Trainer
from gen.translation import losses
from gen.translation.pool import ImagePool
from gen.translation.training_settings import UnpairedSettings, pair_sources, share_of_pairs

SAMPLE_FRAMES = 4
"""Frames of each domain in a sample grid."""

U = TypeVar("U", bound=UnpairedSettings)


class Fakes(NamedTuple):
    """Translations of a batch, (B, 3, H, W) in [-1, 1]; None for a direction that is not trained."""

    adverse: Tensor | None
    """Made from normal frames."""
    normal: Tensor | None
    """Made from adverse frames."""

    def detached(self) -> "Fakes":
        """Without their graphs."""
        return Fakes(*(x if x is None else x.detach() for x in self))


class UnpairedTrainer(Trainer[U]):
    """Trains both directions at once: one generator step, then one discriminator step on the same translations.

    Subclasses build their networks in `__init__` and call `setup` with "generators" and, if they have any,
    "discriminators".
    """

    def __init__(self, settings: U) -> None:
        super().__init__(settings)
        s = settings
        share_of_pairs(s)
        with self.accelerator.main_process_first():  # the others find the cache that the first one wrote
            self.frames = (self._load("adverse", s.adverse), self._load("normal", s.normal))
            pairs = [self._load_pairs(n, folder, share) for n, (folder, share) in pair_sources(s).items() if folder]
        self.data = UnpairedData(*self.frames, s.crop, s.seed, self.device, pairs)
        self.pools = (ImagePool(s.pool_size), ImagePool(s.pool_size))

    # What a method gives.

    @abstractmethod
    def generator_terms(self, batch: Batch) -> tuple[Fakes, dict[str, Tensor]]:
        """The translations of a batch, and the weighted terms of the generators' loss."""

    @abstractmethod
    def discriminator_terms(self, batch: Batch, fakes: Fakes) -> dict[str, Tensor]:
        """The terms of the discriminators' loss; `fakes` are detached, and some come from the image pools."""

    @abstractmethod
    def sample_row(self, image: Tensor, adverse: bool) -> list[NDArray[np.uint8]]:
        """Pictures (H, W, 3) of a sample frame (1, 3, H, W): itself, its translation, and whatever shows the method."""

    # What they share.

    @property
    def total_images(self) -> int:
        """`images`, or `epochs` of the smaller domain."""
        return self.settings.images_to_show(min(len(f) for f in self.frames))

    @property
    def layout(self) -> torch.memory_format:
        """Channels last on a GPU only: a CPU's norms are many times as fast in the ordinary layout."""
        return super().layout if self.device.type == "cuda" else torch.contiguous_format

    def step(self, parts: Sequence[Sequence[int]]) -> dict[str, Tensor]:
        """Generators first, then discriminators on the same translations."""
        return self.adversarial_step([self.data.batch(samples, self.layout) for samples in parts])

    def adversarial_step(self, batches: Sequence[Batch]) -> dict[str, Tensor]:
        """One update of the generators and one of the discriminators, on unpaired and paired samples."""
        made: list[Fakes] = []
        records: list[dict[str, Tensor]] = []
        if "discriminators" in self.raw:
            self.raw["discriminators"].requires_grad_(False)
        with self.updating("generators"):
            for part, batch in enumerate(batches):
                with self.synchronised("generators", part):
                    fakes, terms = self.generator_terms(batch)
                    self.backward(terms)
                made.append(fakes.detached())
                records.append(detached(terms))
                del fakes, terms  # only the translations are shown to the discriminators; free the rest
        return self.update_discriminators(batches, made, records)

    def update_discriminators(
        self, batches: Sequence[Batch], made: Sequence[Fakes], records: list[dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """On the translations `made`; returns the mean over the parts of `records` and of this step's terms."""
        if "discriminators" in self.raw:
            self.raw["discriminators"].requires_grad_(True)
            with self.updating("discriminators"):
                for part, (batch, fakes) in enumerate(zip(batches, made, strict=True)):
                    with self.synchronised("discriminators", part):
                        terms = self.discriminator_terms(batch, self._from_pools(fakes, batch.seeds))
                        self.backward(terms)
                    records[part] |= detached(terms)
        return mean_over_parts(records)

    def _from_pools(self, fakes: Fakes, seeds: Sequence[int]) -> Fakes:
        # The two domains draw from different seeds, or both pools would always answer old or new together.
        adverse = None if fakes.adverse is None else self.pools[0].exchange(fakes.adverse, [s ^ 1 for s in seeds])
        normal = None if fakes.normal is None else self.pools[1].exchange(fakes.normal, [s ^ 2 for s in seeds])
        return Fakes(adverse, normal)

    def pair_distance(self, fakes: Fakes, batch: Batch, quantile: float = 0.5) -> Tensor:
        """Distance of the translations of paired samples to their true frames; `quantile`: of those to normal."""
        known = on_device(batch.paired, self.device)
        distance = batch.normal.new_zeros(())
        if fakes.normal is not None:
            distance = distance + losses.pair(fakes.normal, batch.normal, known, quantile)
        if fakes.adverse is not None:
            distance = distance + losses.pair(fakes.adverse, batch.adverse, known)
        return distance

    def random(self, shape: tuple[int, ...], seeds: Sequence[int], salt: int, draw: Callable[..., Tensor]) -> Tensor:
        """Random numbers (B, *shape), each sample's from its own seed, so that a resumed run draws the same."""
        generator = torch.Generator(self.device)
        samples = [draw(shape, generator=generator.manual_seed(seed ^ salt << 8), device=self.device) for seed in seeds]
        return torch.stack(samples)

    @torch.no_grad()
    def sample_grid(self) -> NDArray[np.uint8]:
        """A row for each of some fixed frames, adverse first."""
        height, width = self.settings.crop
        rows: list[NDArray[np.uint8]] = []
        for domain, frames in enumerate(self.frames):
            for index in np.linspace(0, len(frames) - 1, SAMPLE_FRAMES).round().astype(int):
                frame = frames.frame(int(index))[None, :, :height, :width].to(self.device, memory_format=self.layout)
                rows.append(np.concatenate(self.sample_row(to_float(frame), adverse=domain == 0), axis=1))
        return np.concatenate(rows)

    def data_record(self) -> dict[str, Any]:
        """The folders, how many frames they hold, and the frames' size as cached."""
        pairs = [frames for pairs in self.data.pairs for frames in (pairs.adverse, pairs.normal)]
        return {frames.name: frames.summary() for frames in (*self.frames, *pairs)}

    def extra_state(self) -> dict[str, Any]:
        """The image pools of the main process; after a resume all processes begin with these."""
        return {"pools": [pool.images for pool in self.pools]}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Fill the image pools."""
        for pool, images in zip(self.pools, state["pools"], strict=True):
            pool.images = list(images)

    def _load(self, name: str, folder: Path) -> Frames:
        s = self.settings
        return load_frames(name, folder, s.out / "cache", s.load_height, s.crop, strict=s.strict)

    def _load_pairs(self, name: str, folder: Path, share: float) -> Pairs:
        adverse, day = (self._load(f"{name} {domain}", folder / domain) for domain in ("adverse", "day"))
        return match_pairs(adverse, day, share, self.settings.strict)


def detached(terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The terms without their graphs, for the record."""
    return {name: term.detach() for name, term in terms.items()}


def mean_over_parts(records: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of each term over the accumulation parts of a step."""
    return {name: torch.stack([r[name] for r in records]).mean() for name in records[0]}
