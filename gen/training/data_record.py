"""Compare the data of a resumed run with the record of its beginning."""

from collections.abc import Mapping
from typing import Any, TypeGuard

from gen.errors import BadSetting
from gen.training.settings import check_same_run
from gen.training.streets import STREETS

LEFT_OUT = "left_out"
"""Key of a record that counts unusable images. It is not compared: what matters is which images are used."""

BYTES = "bytes"
"""Key of a record that sums the sizes of a folder's files. Records of earlier versions lack it."""

EARLIER_BYTES = "earlier bytes"
"""Key of a record that lists what `BYTES` was before images vanished or were replaced. It is not compared."""

LINKED = "linked from"
"""Key of a record that names the folders that frames were linked from. It is not compared."""

HELD_OUT = "held_out"
"""Key of a record that tells of the images on which a run is measured. Records of earlier versions lack it."""

FILES, START = "image files", "starting weights"
"""Keys of fingerprints of the images by domain, and of a file of weights. Records of earlier versions lack them."""

ALGORITHM = "algorithm's code"
"""Key of the code of an algorithm that is none of gen's. Records of earlier versions lack it."""

NEWER = (HELD_OUT, FILES, START, ALGORITHM)
"""Keys that are compared only where an old record has them."""

MAY_VANISH = 0.1
"""Share of a folder's images, at least one, that may vanish or break between two sittings of a run."""


def check_same_data(old: Mapping[str, Any], new: Mapping[str, Any], strict: bool = False) -> list[str]:
    """Sentences on image folders that lost a few images, or hold others under their names, since the run began.

    Such changes do not end a run: it goes on with the images that are there. Entries that are not made by
    `Frames.summary` must be the same, because splits or targets depend on each image. Raises `BadSetting` for data that
    differ more, and with `strict` for any difference.
    """
    new = {name: value for name, value in new.items() if name in old or name not in NEWER}
    notes: list[str] = []
    changed: list[str] = []
    same: dict[str, Any] = {}
    for name, before in old.items():
        now = new.get(name)
        if not strict and (lost := _few_lost(before, now)):
            notes.append(f"{name}: {lost} of {before['count']} images vanished or broke since this run began.")
            same[name] = now
            continue
        same[name] = before
        if _is_folder(before) and _is_folder(now) and before.get(BYTES, now.get(BYTES)) != now.get(BYTES):
            changed.append(name)
    check_same_run(_without_counts(same), _without_counts(new))
    if strict and changed:
        raise BadSetting(
            f"{changed[0]}: images were replaced since this run began; put the old ones back to resume it, or choose "
            "another output folder."
        )
    return notes + [f"{n}: images were replaced since this run began; it goes on with the new ones." for n in changed]


def with_earlier(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The record `new` of a resumed run, with what `old` says of the images that the run began with: they trained it.

    These are the streets, the folders of linked images, and the bytes, where they were others.
    """
    return {name: _with_earlier(old.get(name), entry) for name, entry in new.items()}


def _with_earlier(before: Any, now: Any) -> Any:
    if not (_is_folder(before) and _is_folder(now)):
        return now
    both = {key: [*before.get(key, ()), *now.get(key, ())] for key in (STREETS, LINKED)}
    earlier = [*before.get(EARLIER_BYTES, ())]
    if BYTES in before and before[BYTES] != now.get(BYTES):
        earlier.append(before[BYTES])
    kept = {key: sorted(v for i, v in enumerate(values) if v not in values[:i]) for key, values in both.items()}
    return {**now, **{key: values for key, values in (kept | {EARLIER_BYTES: earlier}).items() if values}}


def changed_during_training(record: Mapping[str, Any]) -> list[str]:
    """Names of the folders of a record whose images vanished or were replaced while the run was trained."""
    return [name for name, entry in record.items() if _is_folder(entry) and entry.get(EARLIER_BYTES)]


def _without_counts(record: Any) -> Any:
    """The record without the numbers of unusable images, the files' sizes, the streets and what was linked."""
    if not isinstance(record, Mapping):
        return record
    left = (LEFT_OUT, BYTES, EARLIER_BYTES, STREETS, LINKED)
    return {name: _without_counts(value) for name, value in record.items() if name not in left}


def _is_folder(entry: Any) -> TypeGuard[Mapping[str, Any]]:
    """Whether the entry is made by `Frames.summary`."""
    return isinstance(entry, Mapping) and {"folder", "count", "cached_size"} <= entry.keys()


def _few_lost(before: Any, now: Any) -> int:
    """How many images a folder has lost, if nothing else about it changed and they are few; otherwise 0."""
    if not (_is_folder(before) and _is_folder(now)):
        return 0
    lost = int(before["count"]) - int(now["count"])
    # The most common width may change with the images; the height is a setting.
    same = before["folder"] == now["folder"] and before["cached_size"][0] == now["cached_size"][0]
    return lost if same and 0 < lost <= max(1, MAY_VANISH * before["count"]) else 0
