"""Which code of the user's own trained a run: a class, for example of its trainer, and its file's fingerprint."""

import dataclasses
import inspect
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from gen.errors import BadSetting
from gen.provenance import fingerprint_file, portable_value
from gen.training.settings import make_settings

S = TypeVar("S")

KEY = "trainer"
"""Entry of a run's records. Runs with gen's own trainers have none."""


EARLIER = "earlier_file_sha256"
"""In that entry, the fingerprints that the file had in earlier sittings, if it has changed."""


@cache
def code_of(kind: type) -> dict[str, Any] | None:
    """The class as MODULE:CLASS, and the fingerprint of its file; None for a class of gen.

    The file is read once: what runs is what was imported, whatever is done to the file later.
    """
    if kind.__module__.split(".")[0] == __name__.split(".")[0]:
        return None
    file = inspect.getsourcefile(kind)
    found = fingerprint_file(Path(file)) if file and Path(file).is_file() else None
    return {"class": f"{kind.__module__}:{kind.__qualname__}", "file_sha256": found}


def own_code(kind: type) -> dict[str, Any]:
    """The entry for the trainer `kind`; empty for gen's own."""
    code = code_of(kind)
    return {KEY: code} if code else {}


def continued_code(state: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """The entry `now` of a run that goes on from the checkpoint `state`, with the fingerprints of its earlier files."""
    if not now or not recorded_code(state):
        return dict(now)
    before, entry = state[KEY], now[KEY]
    earlier = list(before.get(EARLIER, []))
    if before["file_sha256"] != entry["file_sha256"]:
        earlier.append(before["file_sha256"])
    return {KEY: {**entry, **({EARLIER: earlier} if earlier else {})}}


def recorded_code(state: Mapping[str, Any]) -> dict[str, Any]:
    """The same entry of a checkpoint."""
    return {KEY: state[KEY]} if state.get(KEY) else {}


def in_words(code: Mapping[str, Any]) -> str:
    """An entry for a model card: the class, and what its file was."""
    files = [code["file_sha256"], *reversed(code.get(EARLIER, []))]
    known = ", before that ".join(str(file) for file in files if file)
    return f"`{code['class']}`, a file of its own" + (f" (SHA-256 begins with {known})" if known else "")


def own_trainer_in(record: Mapping[str, Any]) -> str:
    """The same of a run's record; empty for gen's own trainer."""
    entry = recorded_code(record)
    return in_words(entry[KEY]) if entry else ""


def check_same_trainer(state: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """A sentence if the trainer's file has changed since the checkpoint `state`; `now`: its `own_code`.

    Raises `BadSetting` for another trainer.
    """
    before = recorded_code(state)
    names = [entry[KEY]["class"] if entry else "gen's own" for entry in (before, now)]
    if names[0] != names[1]:
        raise BadSetting(
            f"trainer was {names[0]} when this run began and is {names[1]} now; change it back with --trainer to "
            "resume, or choose another output folder."
        )
    changed = bool(now) and before[KEY]["file_sha256"] != now[KEY]["file_sha256"]
    return [f"the file of trainer {names[0]} has changed since this run began; it goes on as it is now."] * changed


def settings_of_run(kind: type[S], state: Mapping[str, Any]) -> tuple[S, dict[str, Any]]:
    """A run's settings as its checkpoint has them, and those that only a trainer of the user's own knows."""
    known = {field.name for field in dataclasses.fields(kind)}  # pyright: ignore[reportArgumentType]
    values = state["settings"]
    if not recorded_code(state):
        return make_settings(kind, values), {}
    return (
        make_settings(kind, {name: value for name, value in values.items() if name in known}),
        {name: portable_value(value) for name, value in values.items() if name not in known},
    )
