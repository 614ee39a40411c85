"""One lock for everything that builds or loads a network in this process.

diffusers and accelerate load a model by replacing functions of torch for the whole process: `nn.Module` then registers
parameters on the meta device, and `torch.nn.init` does nothing. A network that another thread builds meanwhile has no
weights, and two loads that overlap leave the replacements in place for good. So every function of gen that builds a
network with parameters, or loads one, is wrapped in `loading`; so is the constructor of every trainer.
"""

import os
import threading
from contextlib import ContextDecorator

_lock = threading.RLock()


class _Loading(ContextDecorator):
    def __enter__(self) -> None:
        _lock.acquire()

    def __exit__(self, *_: object) -> None:
        _lock.release()


loading = _Loading()
"""A decorator, and a context manager: `with loading:`. A thread that holds it may enter it again."""


def _new_lock() -> None:
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    # The thread that holds the lock does not exist in a forked child, which would wait for it for ever.
    os.register_at_fork(after_in_child=_new_lock)
