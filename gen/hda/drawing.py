"""What `gen generate` writes: pictures, grids and clips."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from gen.bars import progress_bar
from gen.errors import BadInput
from gen.hda.editing import Editor, Faces, Look, load_editor, needs_directions
from gen.hda.grids import Axes, axes_of, picture_grid
from gen.hda.latents import load_latents
from gen.hda.marks import (
    check_ours,
    drawn_otherwise,
    drawn_with,
    name_others,
    save_in_place,
    save_marked,
    tell_of_replaced,
)
from gen.hda.moving import enlarged, morph, walk
from gen.hda.parsing import Target, parse_edit, parse_mix
from gen.hda.pipeline import HDAPipeline, load_blended
from gen.hda.settings import GenerateSettings
from gen.media.video import write_clip
from gen.output import output_folder
from gen.provenance import fingerprint_file
from gen.seeds import parse_seeds

GRID, WALK, MORPH = "grid.png", "walk.mp4", "morph.mp4"

AT_ONCE = 16
"""Pictures that are drawn before they are written."""

MORPHED = 16
"""Most latents in a morph."""


def draw_all(settings: GenerateSettings) -> int:
    """`gen generate`: NAME.png for each face, grid.png if there are adaptations or axes, and the requested clips."""
    s = replace(settings, model=settings.source)
    pipe = load_blended(s.source, s.adaptation, s.device)
    axes = axes_of(s, bool(pipe.strengths))
    editor = load_editor(pipe, s.directions, needs_directions(s.edit, (axes.rows, axes.columns)))
    faces, look = _faces(pipe, s), _look(editor, s)
    latents = editor.latents(faces, look)
    axes.check(editor, s.latents is None)
    # A PNG takes at least a byte per pixel; a command of hours should not end without its files.
    with output_folder(s.out, total=pipe.generator.size**2 * len(faces.names)):
        made = [name for name, is_made in _beside(axes, s).items() if is_made]
        check_ours(s.out / file for file in [*(f"{name}.png" for name in faces.names), *made])
        _draw_all(editor, faces, look, latents, axes, s)
    print(f"wrote {len(set(faces.names))} images to {s.out}")  # a seed that is given twice is one picture
    return 0


def _look(editor: Editor, settings: GenerateSettings) -> Look:
    """How the faces are drawn outside the grid. Edits along one direction add up."""
    edits = dict[Target, float]()
    for name, amount in map(parse_edit, settings.edit):
        target = editor.target(name)
        edits[target] = edits.get(target, 0.0) + amount
    return Look(settings.truncation, edits, parse_mix(settings.mix) if settings.mix else None)


def _beside(axes: Axes, settings: GenerateSettings) -> dict[str, bool]:
    """Of each file that may lie beside the pictures, whether it is made."""
    return {WALK: settings.walk, MORPH: settings.morph, GRID: bool(axes)}


def _draw_all(
    editor: Editor, faces: Faces, look: Look, latents: Tensor, axes: Axes, settings: GenerateSettings
) -> None:
    s, pipe, names = settings, editor.pipe, faces.names
    given = f"latents {fingerprint_file(s.latents)}" if s.latents else f"truncation {s.truncation:g}"
    given += look.text(editor.directions)
    replaced = 0
    every = given if s.latents else f"seeds {s.seeds}, {given}"
    for first in range(0, len(names), AT_ONCE):  # as they are drawn: thousands do not fit into memory
        images = pipe(latents=latents[first : first + AT_ONCE]).images
        for name, image in zip(names[first : first + AT_ONCE], images, strict=True):
            replaced += save_in_place(s.out / f"{name}.png", image, drawn_with(pipe, s.source, f"{name}, {given}"))
    tell_of_replaced(replaced)
    some, few = (f"the first {most} of " if len(names) > most else "" for most in (axes.faces, MORPHED))
    marks = {
        WALK: drawn_with(pipe, s.source, every),
        MORPH: drawn_with(pipe, s.source, few + every),
        GRID: drawn_with(pipe, s.source, f"{some}{every}{axes.text(editor)}"),
    }
    made = _beside(axes, s)
    for name, mark in marks.items():  # of an earlier run with something else, beside which these pictures would lie
        if drawn_otherwise(s.out / name, mark):
            (s.out / name).unlink()
            print(f"{'replaced' if made[name] else 'removed'} {name}, which an earlier run made of something else")
    name_others(s.out, {*names, Path(GRID).stem}, lambda name: drawn_with(pipe, s.source, f"{name}, {given}"))
    if axes:
        save_marked(s.out / GRID, picture_grid(editor, faces.first(axes.faces), look, axes), marks[GRID])
        print(f"{GRID}: {axes.described(faces.names)}")
    frames = max(2, round(s.seconds * s.rate))
    clips = {WALK: walk(pipe, latents, frames)} if s.walk else {}
    clips |= {MORPH: morph(pipe, latents[:MORPHED], frames)} if s.morph else {}
    for name, clip in clips.items():
        shown = progress_bar(clip, total=frames, desc=Path(name).stem)
        write_clip(s.out / name, (enlarged(frame) for frame in shown), s.rate, marks[name])


def _faces(pipe: HDAPipeline, settings: GenerateSettings) -> Faces:
    """The faces of the seeds, or those in the file of latents."""
    if settings.latents is None:
        seeds = parse_seeds(settings.seeds)
        return Faces([f"seed{seed:04d}" for seed in seeds], seeds)
    named = load_latents(settings.latents, pipe.fingerprint)
    layers, width = pipe.generator.layers, pipe.generator.w_dim
    for name, w in named.items():
        if w.shape not in ((width,), (layers, width)):
            raise BadInput(
                f"{settings.latents}: {name} has shape {tuple(w.shape)}; this model needs ({layers}, {width})."
            )
    # A photo may be called grid, and so is the picture of all of them.
    names = [f"{name}-photo" if f"{name}.png" == GRID else name for name in named]
    return Faces(names, None, torch.stack([w.expand(layers, -1) for w in named.values()]).to(pipe.device))
