"""What a run was before it was resumed, and what its records therefore say of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gen.provenance import after
from gen.training import longer
from gen.training.data_record import with_earlier


@dataclass
class Past:
    """A new run has none: all but `code` is empty."""

    code: dict[str, Any]
    """Which code trains the run, with its earlier files; empty for gen's own."""
    trained_on: tuple[int, Mapping[str, Any]] | None = None
    """Images shown when the run was resumed, and its hardware until then."""
    data: dict[str, Any] = field(default_factory=dict[str, Any])
    """What the checkpoint that it was resumed from says of its data."""
    ended: dict[str, Any] | None = None
    """The data and code in the checkpoint of a run that had ended; None for one that goes on."""
    lengths: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """Lengths that the run had, see gen/training/longer.py."""

    def origin(self, data: dict[str, Any]) -> dict[str, Any]:
        """Data, code and earlier lengths for the record. What changed when the run had ended did not train it."""
        now = {"data": with_earlier(self.data, data), **self.code} if self.ended is None else self.ended
        return now | longer.entry(self.lengths)

    def hardware(self, here: dict[str, Any], images_shown: int) -> dict[str, Any]:
        """What the run was trained on, over all sittings. One in which nothing was trained does not count."""
        if self.trained_on is None:
            return here
        shown, before = self.trained_on
        return dict(before) if shown == images_shown else self.with_this_sitting(here)

    def with_this_sitting(self, here: dict[str, Any]) -> dict[str, Any]:
        """The same, with this machine."""
        return here if self.trained_on is None else after(self.trained_on[1], here)
