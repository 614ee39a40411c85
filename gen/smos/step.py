"""One optimiser step, as algorithms see it: forward and backward of its parts, in one process or several."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from gen.errors import BadSetting
from gen.smos.algorithms.base import Algorithm, Batch, Terms
from gen.smos.backbones import statistics_kept
from gen.smos.joint import Whole, outputs, surrogate
from gen.smos.joint import backward as joint_backward
from gen.smos.student import StudentTrainer
from gen.tensors import on_device


class TrainerStep:
    """One optimiser step on `parts` (accumulation parts of sample numbers); see `gen.smos.algorithms.base.Step`."""

    def __init__(self, trainer: StudentTrainer, parts: Sequence[Sequence[int]]) -> None:
        self.trainer, self.parts = trainer, parts
        # Drawn once: a second pass must see the same images, and rendered scenes come from a stream.
        self._batches: dict[int, Batch] = {}

    @property
    def number(self) -> int:
        """Steps done before this one."""
        return self.trainer.steps_done

    @property
    def domains(self) -> int:
        """Number of source domains."""
        return self.trainer.algorithm.domains

    @property
    def share(self) -> float:
        """Share of the run that is done."""
        return self.trainer.share_done

    def backward(self, domain: int | None = None, terms: Callable[[Batch], Terms] | None = None) -> Terms:
        """Forward and backward of all parts; replaces the gradients and returns the means of the detached terms."""
        t, losses = self.trainer, list[Terms]()
        for optimizer in t.optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        joint = terms is None and type(t.algorithm).joint_terms is not Algorithm.joint_terms
        split = joint and (len(self.parts) > 1 or t.accelerator.num_processes > 1)
        whole, gradients = self._whole(domain) if split else (Terms(), [])
        for number in range(len(self.parts)):
            batch = self._seeded(number, domain)
            with t.synchronised("student", number):
                values = (terms or t.algorithm.terms)(batch)
                if split:
                    share = 1 / (len(self.parts) * t.accelerator.num_processes)
                    t.backward({**values, "joint": surrogate(batch, gradients[number], share)})
                else:
                    values |= t.algorithm.joint_terms(batch) if joint else {}
                    t.backward(values)
            losses.append({k: v.detach() for k, v in values.items()})
        for name in t.raw:
            if name != "student":  # these run without the wrapper that exchanges gradients between processes
                t.average_gradients(name)
        return {k: torch.stack([found[k] for found in losses]).mean() for k in losses[0]} | whole

    def _whole(self, domain: int | None) -> tuple[Terms, list[list[Tensor]]]:
        """The joint terms of the whole step, and their gradients with respect to the outputs of each own part."""
        t = self.trainer
        with torch.no_grad(), statistics_kept(t.student):
            parts = [outputs(self._seeded(number, domain)) for number in range(len(self.parts))]
        whole = Whole(parts, self._batch(0, domain), t.accelerator.process_index, t.gather)
        return joint_backward(t.algorithm.joint_terms(whole.batch)), whole.gradients()

    def _seeded(self, number: int, domain: int | None) -> Batch:
        """A part, with dropout seeded by its samples, so that a resumed run is the same run.

        Domains get masks of their own.
        """
        key = (self.trainer.settings.seed, self.parts[number][0], 3, *(() if domain is None else (domain,)))
        batch = self._batch(number, domain)
        torch.manual_seed(int(np.random.default_rng(key).integers(2**63)))
        return batch

    def class_means(self) -> tuple[Tensor, Tensor]:
        """See `gen.smos.algorithms.base.Step`."""
        return class_means(self.trainer)

    def update(self) -> None:
        """All optimisers step."""
        for optimizer in self.trainer.optimizers.values():
            optimizer.step()

    def _batch(self, number: int, domain: int | None) -> Batch:
        if number not in self._batches:
            self._batches[number] = self.trainer.algorithm.prepare(self.trainer.batch(self.parts[number]))
        # A copy without cached predictions: in a second pass the weights may be others.
        whole = replace(self._batches[number])
        return whole if domain is None else whole.of_domain(domain)


@torch.no_grad()
def class_means(trainer: StudentTrainer, batch: int = 32) -> tuple[Tensor, Tensor]:
    """See `gen.smos.algorithms.base.Step`; the processes share the images."""
    if trainer.stream:
        raise BadSetting(f"data=scenes: algorithm {trainer.settings.algorithm} needs a folder of images.")
    trainer.student.eval()
    shape = (len(trainer.train_parts), len(trainer.classes))
    sums = torch.zeros(*shape, trainer.student.body.width, device=trainer.device)
    counted = [np.bincount(p.domain.labels[p.indices], minlength=shape[1]) for p in trainer.train_parts]
    counts = on_device(np.stack(counted), trainer.device, torch.float32)
    for domain, part in enumerate(trainer.train_parts):
        batches = np.array_split(part.indices, -(-len(part.indices) // batch))
        for some in batches[trainer.accelerator.process_index :: trainer.accelerator.num_processes]:
            images = on_device(part.domain.images(some), trainer.device).float() / 255
            with trainer.eagerly(), trainer.accelerator.autocast():
                pooled = trainer.student.body(images.contiguous(memory_format=trainer.layout)).pooled.float()
            sums[domain].index_add_(0, on_device(part.domain.labels[some], trainer.device), pooled)
    trainer.student.train()
    sums = trainer.mean_over_processes(sums) * trainer.accelerator.num_processes
    return sums / counts.clamp(min=1)[..., None], counts
