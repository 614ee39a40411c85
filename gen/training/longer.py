"""Which lengths a run had before its length or `decay` was changed, where that changed the learning rate."""

from collections.abc import Mapping
from typing import Any

KEY = "earlier_lengths"
"""Entry of a run's records. Runs that kept their schedule, and those of earlier versions, have none."""
LENGTHS = ("images", "epochs", "steps", "core_minutes", "decay")
"""Settings of the schedule, of which a run may change one when it is resumed."""


def schedule(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the recorded settings that the learning rate follows: the one that is the length, and `decay`."""
    lengths = ("core_minutes", "images", "steps", "epochs")
    given = [name for name in lengths if settings.get(name) is not None]
    return {name: settings[name] for name in (*given[:1], "decay") if name in settings}


def changes(was: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """How one `schedule` differs from another, in words."""
    gone = ", ".join(f"{name}={value}" for name, value in was.items() if name not in now)
    return ", ".join(
        f"{name} is {value} (was {was.get(name, gone)})" for name, value in now.items() if was.get(name) != value
    )


def entry(earlier: list[dict[str, Any]]) -> dict[str, Any]:
    """The entry for the records; empty without earlier lengths."""
    return {KEY: earlier} if earlier else {}


def recorded(record: Mapping[str, Any]) -> dict[str, Any]:
    """The same entry of a checkpoint or of a record."""
    return entry(list(record.get(KEY) or []))


def before(record: Mapping[str, Any]) -> str:
    """The earlier lengths alone, which are the same for recipes that were changed together."""
    return "; ".join(_settings(change) for change in record.get(KEY) or []) or "none"


def in_words(record: Mapping[str, Any]) -> str:
    """When the schedule changed, for model cards; empty if it never did."""
    return "; ".join(
        f"{_settings(change)} until {change['images_shown']:,} images, where the learning rate went from "
        f"{change['lr'][0]:.3g} to {change['lr'][1]:.3g}"
        for change in record.get(KEY) or []
    )


def lines(record: Mapping[str, Any]) -> list[str]:
    """The same as an item of a list; none if the schedule never changed."""
    return [f"- Schedule changed: {changes}."] if (changes := in_words(record)) else []


def _settings(change: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in change["before"].items())
