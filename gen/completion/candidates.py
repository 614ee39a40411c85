"""What a half-written `gen` command line may go on with."""

import importlib
import io
import re
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from unittest.mock import patch

from gen.cli import COMMANDS
from gen.hda.parsing import ADAPTATION_FILE
from gen.metrics.encoder_names import NETWORKS
from gen.smos.algorithms.registry import ALGORITHMS
from gen.translation.registry import translators
from gen.weights import available, models_of

SIGNATURE = re.compile(r"[│ ] ((?:-{1,2}[a-z][\w-]*(?: (?:\{[^}]*\}|[^\s,{│])+)?(?:, )?)+)")
"""The start of an option's entry in a help text: names, each with the kind of its value or its choices."""
OPTION = re.compile(r"(-{1,2}[a-z][\w-]*)(?: ((?:\{[^}]*\}|[^\s,{])+))?")
NAME = re.compile(r"^(\w+)=", re.M)
"""A setting in the text of `--set help`."""


def candidates(words: Sequence[str]) -> list[str]:
    """What the last of `words`, which may be empty, can become; the words before it are complete.

    None are given where a file is expected: the shell completes files itself.
    """
    *before, start = words or [""]
    if start.startswith("--") and "=" in start:  # --model=NAME is one word to zsh and fish, and three to bash
        option, _, value = start.partition("=")
        return [f"{option}={word}" for word in candidates([*before, option, value])]
    before, start = [word for word in before if word != "="], start if start != "=" else ""
    if not before:
        found = [*COMMANDS, "--help", "--version"]
    elif before[0] not in COMMANDS:
        found = []
    elif "--set" in before and not start.startswith("-") and (before[-1] == "--set" or "=" in before[-1]):
        found = [f"{name}=" for name in NAME.findall(_printed([before[0], *_trainer(before), "--set", "help"]))]
    else:
        options = _options(before[0])
        if start.startswith("-"):
            found = list(options)
        elif before[-1] in ("--model", "--source", "--rival", "--adaptation", "--encoder"):
            found = _names(before[0], before[-1])
        elif before[-1] == "--algorithm":
            found = list(ALGORITHMS)
        else:
            found = options.get(before[-1], [])
    return sorted(word for word in found if word.startswith(start))


def _options(command: str) -> dict[str, list[str]]:
    """The options of a command, each with the choices for its value."""
    found: dict[str, list[str]] = {}
    for line in _printed([command, "--help"]).splitlines():
        if signature := SIGNATURE.match(line):
            for name, value in OPTION.findall(signature.group(1)):
                choices = ",".join(re.findall(r"\{([^}]*)\}", value)).split(",")
                found[name] = [choice for choice in choices if choice not in ("", "None")]
    return found


def _names(command: str, option: str) -> list[str]:
    """What can be named there: encoders, adaptations, translators or generators."""
    if option == "--encoder":
        of_pictures = command in ("adapt", "evaluate-hda")  # `gen invert` takes a file
        return [name for name, network in NETWORKS.items() if of_pictures and "hda" in network.loaders]
    if option == "--adaptation":
        return available(ADAPTATION_FILE)
    if COMMANDS[command][0].startswith("gen.hda."):
        return models_of("HDAPipeline")
    return translators()


def _trainer(before: Sequence[str]) -> list[str]:
    """--trainer and its class, whose settings may be more."""
    at = before.index("--trainer") if "--trainer" in before[:-1] else None
    return [] if at is None else list(before[at : at + 2])


def _printed(arguments: Sequence[str]) -> str:
    """What a command prints."""
    module, function = COMMANDS[arguments[0]][0].split(":")
    text = io.StringIO()
    wide = patch.dict("os.environ", COLUMNS="1000")  # a help text breaks its lines at the width of the terminal
    with wide, redirect_stdout(text), redirect_stderr(io.StringIO()), suppress(SystemExit):
        getattr(importlib.import_module(module), function)(list(arguments[1:]))
    return text.getvalue()
