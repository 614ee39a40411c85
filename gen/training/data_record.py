"""Compare the data of a resumed run with the record of its beginning."""

from collections.abc import Mapping
from typing import Any

from gen.training.settings import check_same_run

LEFT_OUT = "left_out"
"""Key of a record that counts unusable images. It is not compared: what matters is which images are used."""

MAY_VANISH = 0.1
"""Share of a folder's images, at least one, that may vanish or break between two sittings of a run."""


def check_same_data(old: Mapping[str, Any], new: Mapping[str, Any], strict: bool = False) -> list[str]:
    """Sentences on image folders that lost a few images since the run began.

    A few images that vanished or broke do not end a run: the others train on. Entries that are not made by
    `Frames.summary` must be the same, because splits or targets depend on each image. Raises `BadSetting` for data that
    differ more, and with `strict` for any difference.
    """
    notes: list[str] = []
    same: dict[str, Any] = {}
    for name, before in old.items():
        now = new.get(name)
        if not strict and (lost := _few_lost(before, now)):
            notes.append(f"{name}: {lost} of {before['count']} images vanished or broke since this run began.")
            same[name] = now
        else:
            same[name] = before
    check_same_run(_without_counts(same), _without_counts(new))
    return notes


def _without_counts(record: Any) -> Any:
    """The record without the numbers of unusable images, at any depth."""
    if not isinstance(record, Mapping):
        return record
    return {name: _without_counts(value) for name, value in record.items() if name != LEFT_OUT}


def _few_lost(before: Any, now: Any) -> int:
    """How many images a folder has lost, if nothing else about it changed and they are few; otherwise 0."""
    if not (isinstance(before, Mapping) and isinstance(now, Mapping) and {"folder", "count"} <= before.keys()):
        return 0
    lost = int(before["count"]) - int(now.get("count", 0))
    # The most common width may change with the images; the height is a setting.
    same = before["folder"] == now.get("folder") and before["cached_size"][0] == now["cached_size"][0]
    return lost if same and 0 < lost <= max(1, MAY_VANISH * before["count"]) else 0
