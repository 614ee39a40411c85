"""The command line of the detector measurement."""

from collections.abc import Sequence

import tyro

from gen.detector.settings import MeasureDetectorSettings


def measure_detector(arguments: Sequence[str]) -> int:
    """`gen measure-detector`: 0 all frames were read, 1 some could not be read."""
    settings = tyro.cli(MeasureDetectorSettings, args=list(arguments), prog="gen measure-detector")
    from gen.detector.survey import run  # torch and OpenCV: not needed for --help

    return run(settings)
