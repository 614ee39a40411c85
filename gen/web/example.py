"""The translation that the page shows before anything has been done: a night that `gen render-street` drew.

The files beside this module were made by `make docs-web`; a test compares the weights that made them with the shipped
ones.
"""

from pathlib import Path
from typing import NamedTuple

from PIL import Image

from gen.media.images import decode_still
from gen.translation.maps import encode_uncertainty_raw, overlay_uncertainty
from gen.web.translation import MapName, Pipeline, map_scale, uncertainty_map

FOLDER = Path(__file__).with_name("static") / "example"
MODEL = "augan-night2day"
OPACITY = 0.8
NOTE = (
    f"An example: a street at night that `gen render-street` drew, translated by {MODEL}. Generated image, not a "
    "photograph."
)


class Example(NamedTuple):
    """Paths of its files."""

    before: Path = FOLDER / "before.jpg"
    after: Path = FOLDER / "after.jpg"
    overlay: Path = FOLDER / "map.jpg"
    raw: Path = FOLDER / "raw.png"
    weights: Path = FOLDER / "weights.txt"
    """What `gen.translation.made_with.weights_id` says of the weights that made it."""


EXAMPLE = Example()
MAP: MapName = "invention"


def make_example(source: Path, pipe: Pipeline, weights_id: str) -> None:
    """Write the files anew, from a picture of a night."""
    rgb = decode_still(source).rgb
    output = pipe(rgb, "adverse_to_normal", output_type="np")
    found = uncertainty_map(pipe, output, "adverse_to_normal")
    assert found is not None
    name, values = found
    assert name == MAP
    FOLDER.mkdir(exist_ok=True)
    overlay = overlay_uncertainty(output.images[0], values, map_scale(MAP), OPACITY)
    for path, pixels in ((EXAMPLE.before, rgb), (EXAMPLE.after, output.images[0]), (EXAMPLE.overlay, overlay)):
        Image.fromarray(pixels).save(path, quality=88)
    encode_uncertainty_raw(EXAMPLE.raw, values, map_scale(MAP))
    EXAMPLE.weights.write_text(weights_id + "\n", "utf-8")
