"""`gen directions`: the principal directions of a generator, a picture of what each changes, and a file for names."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gen.bars import progress_bar
from gen.errors import BadInput, BadSetting
from gen.hda.directions import FILE, NAMES, Directions, check_layers, principal_directions, read_names
from gen.hda.editing import Editor, Faces, Look
from gen.hda.marks import check_ours, drawn_with, save_marked
from gen.hda.parsing import Target, parse_layers
from gen.hda.pipeline import HDAPipeline, load_blended
from gen.hda.settings import DirectionsSettings
from gen.hda.sheets import sheet
from gen.media.files import write_atomically
from gen.output import output_folder
from gen.seeds import parse_seeds

STEPS = (-2.0, -1.0, 0.0, 1.0, 2.0)
"""Standard deviations that a direction is gone in the picture."""

TRUNCATION = 0.7
"""Of the faces in the picture, as by default in `gen generate`."""

LARGEST_CELL = 128
"""Pixels; larger pictures are reduced for the picture of all."""

MOST_FACES = 12
"""In the picture, each `STEPS` times in a row."""

ABOUT_NAMES = """\
# Names of your own for the directions that directions.png shows, one a line: NAME = NUMBER, or NAME = NUMBER:LAYERS.
# Then draw with: gen generate --directions FOLDER --edit smile=1.5, where FOLDER is that of this file.
#
# smile = 3:0-4
"""


def find_directions(settings: DirectionsSettings) -> None:
    """Write directions.safetensors, names.txt, and directions.png, also for the layers that the settings name.

    Directions of an earlier run with the same settings stay as they are, and names.txt always does. Raises `BadSetting`
    for directions of another generator or of other samples: names are of them.
    """
    s = settings
    pipe = load_blended(s.model, (), s.device)
    seeds, ranges = parse_seeds(s.seeds), [parse_layers(text) for text in s.layers]
    if len(seeds) > MOST_FACES:
        raise BadSetting(f"seeds {s.seeds}: at most {MOST_FACES} faces, not {len(seeds)}.")
    for layers in ranges:
        check_layers(f"layers {layers[0]}-{layers[1]}", layers, pipe.generator.layers)
    pictures = {"directions.png": None, **{f"directions-{a}-{b}.png": (a, b) for a, b in ranges}}
    with output_folder(s.out):
        check_ours(s.out / name for name in pictures)
        names, found = read_names(s.out), _earlier(s.out / FILE, pipe, s.samples)
        if found is None:
            found = principal_directions(pipe.generator, pipe.fingerprint, s.samples)
            found.save(s.out / FILE)
        editor = Editor(pipe, found, names)
        if not (s.out / NAMES).exists():
            with write_atomically(s.out / NAMES) as partial:
                partial.write_text(ABOUT_NAMES, encoding="utf-8")
        for name, layers in pictures.items():
            what = f"seeds {s.seeds}, truncation {TRUNCATION:g}, directions {found.fingerprint}"
            on = "" if layers is None else f" on layers {layers[0]}-{layers[1]}"
            save_marked(s.out / name, _picture(editor, seeds, layers, s.rows), drawn_with(pipe, s.model, what + on))
            print(f"wrote {s.out / name}")
    command = f"gen generate --model {s.model} --directions {s.out} --edit NAME=1.5"
    print(f"give directions names in {s.out / NAMES}, and draw with: {command}")


def _earlier(file: Path, pipe: HDAPipeline, samples: int) -> Directions | None:
    """The directions of an earlier run; None if there are none. Raises `BadSetting` if they are others."""
    if not file.exists():
        return None
    try:
        found = Directions.load(file, pipe.fingerprint)
    except BadInput as error:
        raise BadSetting(f"{error} It would be replaced; choose another --out.") from error
    if found.samples != samples:
        raise BadSetting(
            f"{file}: these directions are of {found.samples} samples, not {samples}, and names may be of them; choose "
            "another --out."
        )
    return found


def _picture(editor: Editor, seeds: list[int], layers: tuple[int, int] | None, rows: int) -> Image.Image:
    """A row for each direction: every face at each of `STEPS`, side by side."""
    assert editor.directions is not None
    names = {target: name for name, target in editor.names.items()}
    targets = [Target(component, layers) for component in range(min(rows, len(editor.directions.vectors)))]
    faces = Faces([str(seed) for seed in seeds], seeds)
    cells: list[list[NDArray[np.uint8]]] = []
    for target in progress_bar(targets, desc="directions"):
        steps = [_drawn(editor, faces, Look(TRUNCATION, {target: step})) for step in STEPS]
        cells.append([picture for face in zip(*steps, strict=True) for picture in face])
    labels = [f"{target} {names[target]}" if target in names else str(target) for target in targets]
    columns = [f"{step:+g}" if step else f"seed {seed}" for seed in seeds for step in STEPS]
    return sheet(cells, labels, columns, "Directions, by standard deviations")


def _drawn(editor: Editor, faces: Faces, look: Look) -> list[NDArray[np.uint8]]:
    """A picture of each face, (H, W, 3), at most `LARGEST_CELL` pixels wide."""
    pictures = editor.pipe(latents=editor.latents(faces, look), output_type="np").images
    if editor.pipe.generator.size <= LARGEST_CELL:
        return pictures
    size = (LARGEST_CELL, LARGEST_CELL)
    return [np.asarray(Image.fromarray(p).resize(size, Image.Resampling.BOX)) for p in pictures]
