"""How much memory a step takes: counted on the tensors that autograd keeps; and too little of it."""

from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager

import torch
from torch import Tensor

from gen.devices import is_out_of_memory
from gen.errors import BadSetting
from gen.training.settings import TrainerSettings


class Kept:
    """Bytes that autograd keeps now, and at most; a storage counts once, however many tensors share it."""

    def __init__(self, others: frozenset[int]) -> None:
        """`others`: storages that do not count, as those of weights."""
        self.now = self.most = 0
        self._others = others
        self._uses: Counter[int] = Counter()

    def add(self, tensor: Tensor) -> "_Held":
        """Count a tensor until the result is gone."""
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()  # pyright: ignore[reportPrivateUsage]
        if key in self._others:
            return _Held(tensor, None, 0, 0)
        self._uses[key] += 1
        if self._uses[key] == 1:
            self.now += size
            self.most = max(self.most, self.now)
        return _Held(tensor, self, key, size)

    def remove(self, key: int, size: int) -> None:
        """A tensor of this storage is gone."""
        self._uses[key] -= 1
        if not self._uses[key]:
            self.now -= size


class _Held:
    def __init__(self, tensor: Tensor, kept: Kept | None, key: int, size: int) -> None:
        self.tensor, self._kept, self._key, self._size = tensor, kept, key, size

    def __del__(self) -> None:
        if self._kept is not None:
            self._kept.remove(self._key, self._size)


@contextmanager
def activations(weights: list[Tensor]) -> Generator[Kept]:
    """Within the block, counts what autograd keeps beside `weights`."""
    kept = Kept(frozenset(w.untyped_storage()._cdata for w in weights))  # pyright: ignore[reportPrivateUsage]
    with torch.autograd.graph.saved_tensors_hooks(kept.add, lambda held: held.tensor):
        yield kept


@contextmanager
def readable_memory_errors(settings: TrainerSettings, kept: Callable[[], str]) -> Generator[None]:
    """Turn a step that does not fit into memory into `BadSetting`. `kept`: says what is on the disk.

    The step is not tried again in smaller parts: one of its networks may have been updated already.
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        parts = 2 * settings.accumulate
        raise BadSetting(
            f"batch: the memory is too small for {settings.batch} images in {settings.accumulate} parts; "
            f"set accumulate={parts} for the same result in smaller parts, or choose a smaller batch or crop. "
            f"{kept()}."
        ) from error
