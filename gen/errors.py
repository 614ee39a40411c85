"""The one family of errors that a person is meant to read.

A message is one sentence (or two) that names the file or setting, says what is wrong and what would be right.
The command line and the web page print the message alone; a library user catches `GenError`.
"""


class GenError(Exception):
    """Base of every error that gen raises on purpose."""


class BadInput(GenError):
    """A file or folder that cannot be used."""


class BadSetting(GenError):
    """A setting, or a combination of settings, that makes no sense."""


class TrainingDiverged(GenError):
    """A loss or a weight became NaN or infinite."""
