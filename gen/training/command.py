"""What every training command does: read its arguments, and run its trainer to the end."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar

import tyro

from gen.training.settings import check_overrides, parse_overrides
from gen.training.settings_help import settings_help

if TYPE_CHECKING:
    from gen.training.loop import Trainer

T = TypeVar("T")


def parse_arguments(form: type[T], settings: type, arguments: Sequence[str], prog: str) -> tuple[T, dict[str, Any]]:
    """The command line as a `form`, and its `--set` values, checked against the fields of `settings`.

    All this happens before torch is imported, so that a mistake is reported at once. With `--set help`, print the
    settings and exit. Raises `BadSetting`.
    """
    if ("--set", "help") in pairwise(arguments) or "--set=help" in arguments:
        print(settings_help(settings))
        raise SystemExit(0)
    args = tyro.cli(form, args=list(arguments), prog=prog)
    overrides = parse_overrides(args.set)  # pyright: ignore[reportAttributeAccessIssue]
    check_overrides(settings, overrides)
    return args, overrides


def run_to_end(trainer: "Trainer[Any]", next_step: str) -> int:
    """Train, print how it ended, and return the exit code: 0, or 130 if Ctrl-C stopped it.

    `next_step`: what to do with a finished run, for example a command.
    """
    trainer.fit()
    if not trainer.finished:
        print(f"stopped at {trainer.images_shown} of {trainer.total_images} images; run the same command to resume.")
        return 130
    print(f"done; {next_step}")
    return 0
