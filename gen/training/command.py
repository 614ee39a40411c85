"""What every training command does: read its arguments, and run its trainer to the end."""

import importlib
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import tyro

from gen.errors import BadSetting
from gen.plugins import find_class
from gen.training.settings import TrainerSettings, check_overrides, parse_overrides
from gen.training.settings_help import settings_help

if TYPE_CHECKING:
    from gen.training.loop import Trainer

T = TypeVar("T")
S = TypeVar("S", bound=TrainerSettings)

STOPPED = 130
"""Exit status after Ctrl-C, as shells have it."""

OwnTrainer = Annotated[str | None, tyro.conf.arg(metavar="FILE.py:CLASS")]
"""Type of the argument --trainer."""


def parse_arguments(form: type[T], settings: type, arguments: Sequence[str], prog: str) -> tuple[T, dict[str, Any]]:
    """The command line as a `form`, and its `--set` values, checked against the fields of `settings`.

    All this happens before torch is imported, so that a mistake is reported at once. With `--set help`, print the
    settings and exit. Raises `BadSetting`.
    """
    if ("--set", "help") in pairwise(arguments) or "--set=help" in arguments:
        print(settings_help(settings))
        raise SystemExit(0)
    args = tyro.cli(form, args=_set_each(arguments), prog=prog)
    overrides = parse_overrides(args.set)  # pyright: ignore[reportAttributeAccessIssue]
    check_overrides(settings, overrides)
    return args, overrides


def _set_each(arguments: Sequence[str]) -> list[str]:
    """`--set a=1 b=2`, as people write it, means `--set a=1 --set b=2`."""
    words: list[str] = []
    for word in arguments:
        follows = len(words) > 1 and words[-2] == "--set" and re.match(r"[a-z]\w*=", word)
        words += ["--set", word] if follows else [word]
    return words


def own_trainer(arguments: Sequence[str], base: str, settings: type[S]) -> tuple[Any, type[S]]:
    """The class that --trainer names, a subclass of `base` (MODULE:CLASS), and its settings; None without --trainer.

    It is looked for before the arguments are parsed, because its settings may be more than `settings`, those of `base`.
    Raises `BadSetting` if there is no such class.
    """
    given = [second for first, second in pairwise(arguments) if first == "--trainer"]
    given += [word.removeprefix("--trainer=") for word in arguments if word.startswith("--trainer=")]
    return trainer_of(given[-1] if given else None, base, settings, "--trainer")


def trainer_of(name: str | None, base: str, settings: type[S], setting: str = "trainer") -> tuple[Any, type[S]]:
    """The class that FILE.py:CLASS or MODULE:CLASS names, and its settings, as `own_trainer`; None without a name.

    Raises `BadSetting`, which names the `setting`.
    """
    if name is None:
        return None, settings
    found = find_class(str(name), setting)
    module, wanted = base.split(":")
    if found is None or not issubclass(found, getattr(importlib.import_module(module), wanted)):
        raise BadSetting(f"{setting} {name}: name a subclass of {module}.{wanted} as FILE.py:CLASS or MODULE:CLASS.")
    return found, found.settings_class  # pyright: ignore[reportAttributeAccessIssue]


def run_to_end(trainer: "Trainer[Any]", next_step: str) -> int:
    """Train, print how it ended, and return the exit code: 0, or 130 if Ctrl-C stopped it.

    `next_step`: what to do with a finished run, for example a command.
    """
    trainer.fit()
    if not trainer.finished:
        print(f"stopped at {trainer.images_shown} of {trainer.total_images} images; run the same command to resume.")
        return STOPPED
    print(f"done; {next_step}")
    return 0
