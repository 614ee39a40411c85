"""The command lines of rendering: streets and game worlds."""

from collections.abc import Sequence

import tyro


def render_street(arguments: Sequence[str]) -> int:
    """`gen render-street`."""
    from gen.smd.drives import StreetSettings, render_drives

    settings = tyro.cli(StreetSettings, args=list(arguments), prog="gen render-street")
    for path in render_drives(settings):
        print(path)
    return 0


def render_smd(arguments: Sequence[str]) -> int:
    """`gen render-smd`."""
    from gen.smd.dataset import RenderSettings
    from gen.smd.dataset import render_smd as write

    print(write(tyro.cli(RenderSettings, args=list(arguments), prog="gen render-smd")))
    return 0
