"""Progress bars whose speed and remaining time survive a change of the system's clock."""

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from tqdm import tqdm

if TYPE_CHECKING:
    from tqdm.std import tqdm as Bar

T = TypeVar("T")


def progress_bar(items: "Iterable[T] | None" = None, **options: Any) -> "Bar[T]":
    """A `tqdm` bar with these options. It shows nothing if stderr is not a terminal, unless `options` say otherwise."""
    bar: Any = cast(Any, tqdm)(items, **{"disable": None, **options})
    # tqdm reads the wall clock. When NTP sets that back, its bars stand still and its estimates become negative.
    bar._time = time.monotonic
    bar.last_print_t = bar.start_t = time.monotonic()
    return bar
