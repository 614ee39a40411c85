"""Errors with messages for users.

A message is one or two sentences: the file or setting, what is wrong, and what would be right. The command line and the
web page print only the message; users of the library catch `GenError`.
"""

import difflib
from collections.abc import Iterable


class GenError(Exception):
    """Base of every error that gen raises on purpose."""


class BadInput(GenError):
    """A file or folder that cannot be used."""


class BadSetting(GenError):
    """A setting, or a combination of settings, that is not valid."""


class TrainingDiverged(GenError):
    """A loss or a weight became NaN or infinite."""


class NotFinite(GenError):
    """A network's output that holds NaN or infinite numbers; a picture of it would be black."""


MANY = 20
"""Names that are not listed where one of them is near."""


def unknown(kind: str, name: object, offered: Iterable[str], more: str = "") -> str:
    """A message such as "unknown scene 'dessert'; did you mean desert? Available: snow, desert."

    It suggests at most three of the names offered, those that begin with it first, and then leaves out a long list.
    Of a path, the last part is compared. `more`: what else is available, in words that follow the names.
    """
    names, text = list(offered), short(str(name))
    lower = {offer.lower(): offer for offer in names}
    wanted = text.lower().rpartition("/")[2]
    begin = [offer for offer in lower if len(wanted) > 2 and offer.startswith(wanted)]
    close = difflib.get_close_matches(wanted, lower, n=3, cutoff=0.7)
    near = [lower[match] for match in dict.fromkeys(begin[:2] + close)][:3]
    if near and len(names) > MANY:
        return f"unknown {kind} {text!r}; did you mean {' or '.join(near)}?"
    guess = f"did you mean {' or '.join(near)}? Available" if near else "available"
    return f"unknown {kind} {text!r}; {guess}: {', '.join(names) or 'none'}{more}."


def short(text: str, most: int = 80) -> str:
    """A part of a foreign file as it may stand in a message: one line, printable, of at most so many characters."""
    line = "".join(c if c.isprintable() else "?" for c in text[: most + 1])
    return line if len(line) <= most else f"{line[: most - 3]}..."
