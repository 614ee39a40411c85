"""The commands `gen render-smd` and `gen render-street`. They check settings before they import torch."""

from collections.abc import Sequence

import tyro


def render_street(arguments: Sequence[str]) -> int:
    """`gen render-street`."""
    from gen.sizes import parse_size
    from gen.smd.street.settings import StreetSettings

    settings = tyro.cli(StreetSettings, args=list(arguments), prog="gen render-street")
    settings.check()
    from gen.smd.street.drives import render_drives
    from gen.smd.writing import rendering_to

    width, height = parse_size(settings.size)
    with rendering_to(settings.out, settings.frames * len(settings.all_weathers()) * width * height):
        for path in render_drives(settings):
            print(path)
    return 0


def render_smd(arguments: Sequence[str]) -> int:
    """`gen render-smd`."""
    from gen.smd.settings import RenderSettings

    settings = tyro.cli(RenderSettings, args=list(arguments), prog="gen render-smd")
    settings.check()
    from gen.smd.rendering import render_smd as write
    from gen.smd.writing import rendering_to

    pictures = settings.per_class * len(settings.styles) * len(settings.scenes)
    with rendering_to(settings.out, pictures * settings.size**2):
        print(write(settings))
    return 0
