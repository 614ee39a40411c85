"""The command line of domain shift."""

from collections.abc import Sequence

import tyro

from gen.shift.settings import MeasureShiftSettings


def measure_shift(arguments: Sequence[str]) -> int:
    """`gen measure-shift`: 0 all files were read, 1 some could not be read."""
    settings = tyro.cli(MeasureShiftSettings, args=list(arguments), prog="gen measure-shift")
    from gen.shift.survey import run  # numpy, OpenCV and torch: not needed for --help

    return run(settings)
