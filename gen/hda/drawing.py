"""Images, grids and clips from a pipeline: what `gen generate` and `gen invert` write."""

import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.torch import save_file
from scipy.interpolate import CubicSpline
from torch import Tensor
from torchvision.utils import make_grid

from gen.about import VERSION
from gen.bars import progress_bar
from gen.devices import pick_device
from gen.errors import BadInput, BadSetting, short
from gen.formats.json_files import parse_json
from gen.formats.safetensors_files import read_safetensors
from gen.hda.editing import Editor, Faces, Look, load_editor, needs_directions
from gen.hda.grids import Axes, axes_of, picture_grid
from gen.hda.inversion import MEAN, Inverter, Photo
from gen.hda.parsing import Target, parse_adaptation, parse_edit, parse_mix
from gen.hda.pipeline import HDAPipeline
from gen.hda.settings import GenerateSettings, InvertSettings
from gen.media.files import write_atomically
from gen.media.folders import check_not_inputs
from gen.media.mark import Mark, read_header
from gen.media.resize import to_chw, to_picture, to_uint8
from gen.media.video import write_clip
from gen.metrics.paired import load_perceptual
from gen.output import output_folder
from gen.provenance import fingerprint_bytes, fingerprint_file, fingerprint_weights
from gen.seeds import check_seed, parse_seeds
from gen.stylegan2.photos import read_square
from gen.stylegan2.projector import project
from gen.weights import name_of

Pixels = NDArray[np.uint8]

LONGEST_NAME = 200
"""Bytes; file systems take 255, with the suffix and what a partial file adds."""

LATENTS = "latents.safetensors"

SOURCE = "source"
"""Entry in the header of a file of latents: the fingerprint of the generator in which they were found."""

PHOTOS = "photos"
"""Entry in the same header: the fingerprint of each photo by the name of its latent, as JSON.

A person's begins with `MEAN`.
"""

DRAWN = "Drawn"
"""Verb of the mark of what a generator drew."""

GRID, WALK, MORPH = "grid.png", "walk.mp4", "morph.mp4"

AT_ONCE = 16
"""Pictures that are drawn before they are written."""

MORPHED = 16
"""Most latents in a morph."""

CLIP_SIDE = 256
"""Smaller frames are enlarged to at least this side in a clip."""


def draw_all(settings: GenerateSettings) -> int:
    """`gen generate`: NAME.png for each face, grid.png if there are adaptations or axes, and the requested clips."""
    s = settings
    pipe = load_blended(s.model, s.adaptation, s.device)
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
            replaced += _save_in_place(s.out / f"{name}.png", image, drawn_with(pipe, s.model, f"{name}, {given}"))
    _tell_of_replaced(replaced)
    some, few = (f"the first {most} of " if len(names) > most else "" for most in (axes.faces, MORPHED))
    marks = {
        WALK: drawn_with(pipe, s.model, every),
        MORPH: drawn_with(pipe, s.model, few + every),
        GRID: drawn_with(pipe, s.model, f"{some}{every}{axes.text(editor)}"),
    }
    made = _beside(axes, s)
    for name, mark in marks.items():  # of an earlier run with something else, beside which these pictures would lie
        if _drawn_otherwise(s.out / name, mark):
            (s.out / name).unlink()
            print(f"{'replaced' if made[name] else 'removed'} {name}, which an earlier run made of something else")
    _name_others(s.out, {*names, Path(GRID).stem}, lambda name: drawn_with(pipe, s.model, f"{name}, {given}"))
    if axes:
        save_marked(s.out / GRID, picture_grid(editor, faces.first(axes.faces), look, axes), marks[GRID])
        print(f"{GRID}: {axes.described(faces.names)}")
    frames = max(2, round(s.seconds * s.rate))
    clips = {WALK: walk(pipe, latents, frames)} if s.walk else {}
    clips |= {MORPH: morph(pipe, latents[:MORPHED], frames)} if s.morph else {}
    for name, clip in clips.items():
        shown = progress_bar(clip, total=frames, desc=Path(name).stem)
        write_clip(s.out / name, (_enlarged(frame) for frame in shown), s.rate, marks[name])


def _name_others(out: Path, names: Set[str], mark: Callable[[str], str]) -> None:
    """Say which pictures in `out`, except `names`, were drawn with something else than `mark` of their name."""
    paths = [path for path in sorted(out.glob("*.png")) if path.stem not in names]
    others = [path.name for path in paths if _drawn_otherwise(path, mark(path.stem))]
    if others:
        print(f"{len(others)} more in {out} are of earlier runs with something else, for example {others[0]}")


def check_ours(outputs: Iterable[Path]) -> None:
    """Raises `BadInput` if an output would overwrite a file that gen did not draw, whatever is in it.

    Pictures are called like the photos that they were made of, and these may lie in the output folder.
    """
    for output in outputs:
        if output.exists() and output.stat().st_size and _drawn_mark(output) is None:
            raise BadInput(f"{output}: a file that gen did not draw would be overwritten; choose another --out.")


def _drawn_mark(path: Path) -> Mark | None:
    """The mark of a picture or clip that gen drew; None for all others, translations too."""
    mark = read_header(path).mark
    return mark if mark is not None and mark.verb == DRAWN else None


def _drawn_otherwise(path: Path, mark: str) -> bool:
    """Whether gen drew the file with something else than `mark`."""
    old = _drawn_mark(path)
    return old is not None and old != Mark.parse(mark)


def _save_in_place(path: Path, image: Image.Image, mark: str) -> bool:
    """As `save_marked`; returns whether a picture that gen drew otherwise was there."""
    otherwise = _drawn_otherwise(path, mark)
    save_marked(path, image, mark)
    return otherwise


def _tell_of_replaced(pictures: int) -> None:
    if pictures:
        print(f"replaced {pictures} picture{'s' * (pictures > 1)} of an earlier draw with other settings")


def drawn_with(pipe: HDAPipeline, model: str, what: str, strengths: Mapping[str, float] | None = None) -> str:
    """The mark for the metadata of a picture. `strengths`: default those of the pipeline; `what`: seed, truncation."""
    adapted = adapted_with(pipe, pipe.strengths if strengths is None else strengths)
    return Mark(", ".join([name_of(model), what, *adapted, f"weights {pipe.fingerprint}"]), None, DRAWN).text()


def adapted_with(pipe: HDAPipeline, strengths: Mapping[str, float]) -> list[str]:
    """The adaptations of a pipeline at these strengths, as marks name them."""
    parts = [(pipe.adaptations[name], k) for name, k in strengths.items()]
    return [f"{part.name} {fingerprint_weights(part.difference)} at {k:g}" for part, k in parts]


def load_blended(model: str, adaptations: Sequence[str], device: str) -> HDAPipeline:
    """The model with these adaptations at their strengths, on the GPU if there is one and `device` is not "cpu"."""
    pipe = HDAPipeline.from_pretrained(model)
    pipe.to(pick_device(device))
    pipe.generator.requires_grad_(False)
    for text in adaptations:
        path, strength = parse_adaptation(text)
        stem = re.sub(r"[^\w.+-]+", "-", path.stem).strip("-+.") or "adaptation"  # browsers: adaptation (1)
        name, number = stem, 2
        while name in pipe.adaptations:  # files of different runs have the same name
            name, number = f"{stem}-{number}", number + 1
        pipe.load_adaptation(path, strength, name)
    return pipe


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


def load_latents(path: Path, source: str) -> dict[str, Tensor]:
    """Read what `gen invert` wrote: w by the name of the photo. Raises `BadInput`.

    `source`: fingerprint of the generator that is to draw them; in another one they would be other faces. The names
    become names of pictures, so one with folders in it would be written somewhere else.
    """
    try:
        named, header = read_safetensors(path)
        if (found := header.get(SOURCE, source)) != source:  # earlier versions wrote none
            raise BadInput(f"{path}: these latents belong to the generator {short(found)}, but this one is {source}.")
        if not named:
            raise BadInput(f"{path}: there are no latents in this file.")
        for name in named:
            if not _is_file_name(name):
                raise BadInput(f"{path}: {short(name)!r} cannot be the name of a picture.")
    except BadInput as error:
        raise BadInput(f"{error} Give the latents.safetensors that `gen invert` writes.") from error
    return {name: w.float() for name, w in named.items()}


def _is_file_name(name: str) -> bool:
    """Whether a picture may have this name, and no other folder is in it."""
    return bool(name) and Path(name).name == name and "\0" not in name and len(name.encode()) <= LONGEST_NAME


def strength_grid(pipe: HDAPipeline, latents: Tensor, factors: Sequence[float]) -> Pixels:
    """One row per factor, which multiplies the strengths of the pipeline, one column per latent: (H, W, 3)."""
    rows: list[Any] = []
    with pipe.lock:
        given = dict(pipe.strengths)
        for factor in factors:
            pipe.set_strengths({name: factor * k for name, k in given.items()})
            rows += [to_chw(a) for a in pipe(latents=latents, output_type="np").images]
        pipe.set_strengths(given)
    return make_grid(rows, nrow=len(latents), padding=2, pad_value=255).permute(1, 2, 0).numpy()


def walk(pipe: HDAPipeline, latents: Tensor, frames: int) -> Iterator[Pixels]:
    """Frames (H, W, 3) along a smooth closed path through the latents."""
    points = latents.cpu().double().numpy()
    spline = CubicSpline(np.arange(len(points) + 1), np.concatenate([points, points[:1]]), bc_type="periodic")
    for t in np.arange(frames) * len(points) / frames:
        w = torch.from_numpy(spline(t)).to(latents)[None]
        yield pipe(latents=w, output_type="np").images[0]


def morph(pipe: HDAPipeline, latents: Tensor, frames: int) -> Iterator[Pixels]:
    """Frames (H, W, 3), each a grid of the same latents, while the domain changes.

    A closed path: from the source to the adaptation and back, or with several adaptations from each to the next.
    """
    given = dict(pipe.strengths)
    poses = [{name: k} for name, k in given.items()] if len(given) > 1 else [{}, given]
    columns = max(1, min(4, len(latents)))
    for index in range(frames):
        pose, fraction = divmod(index * len(poses) / frames, 1)
        start, end = poses[int(pose)], poses[(int(pose) + 1) % len(poses)]
        share = 0.5 - 0.5 * np.cos(np.pi * fraction)  # eases in and out, so that the clip rests at each domain
        pipe.set_strengths({n: (1 - share) * start.get(n, 0.0) + share * end.get(n, 0.0) for n in given})
        drawn = [to_chw(a) for a in pipe(latents=latents, output_type="np").images]
        yield make_grid(drawn, nrow=columns, padding=0).permute(1, 2, 0).numpy()
    pipe.set_strengths(given)


def _enlarged(frame: Pixels) -> Pixels:
    factor = -(-CLIP_SIDE // min(frame.shape[:2]))
    height, width = (factor * n // 2 * 2 for n in frame.shape[:2])  # video codecs need even sides
    return np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.BICUBIC))


def save_marked(path: Path, image: Image.Image, mark: str) -> None:
    """Write a PNG that says what drew it, see `drawn_with`."""
    notes = PngInfo()
    notes.add_itxt("Software", f"gen {VERSION}")
    notes.add_itxt("Description", mark)
    with write_atomically(path) as partial:
        image.save(partial, pnginfo=notes)


def invert_all(settings: InvertSettings) -> int:
    """`gen invert`: latents.safetensors, and NAME.png = photo | inverted | adapted, for each photo that can be read.

    Returns 1 if a photo could not be read, else 0.
    """
    s = settings
    check_seed(s.seed)
    if s.person is not None and not _is_file_name(s.person):
        raise BadSetting(f"person {short(s.person)}: this cannot be the name of a picture; give a name such as anna.")
    pipe = load_blended(s.model, s.adaptation, s.device)
    given = dict(pipe.strengths)
    inverter = Inverter.load(pipe, s)
    with output_folder(s.out):
        latents, known = _latents_before(s.out / LATENTS, pipe.fingerprint)
        if s.person and not known.get(s.person, MEAN).startswith(MEAN):
            raise BadSetting(f"person {s.person}: a photo of this name is in {s.out / LATENTS}; choose another name.")
        # A photo that is called like the person gets another name.
        taken = known | ({s.person: ""} if s.person else {})
        photos, failed = _read_photos(s.photos, pipe.generator.size, taken)
        pictures = [s.out / f"{name}.png" for name in (*photos, *([s.person] if s.person else []))]
        check_not_inputs(s.photos, pictures)
        check_ours(pictures)
        _invert_photos(pipe, inverter, photos, latents, known, given)
        if s.person and photos:
            _draw_person(pipe, inverter, s.person, list(photos), latents, known, given)
    for reason in failed:
        print(f"skipped: {reason}")
    print(f"inverted {len(photos)} of {len(s.photos)} photos to {s.out}; redraw them with: gen generate --latents FILE")
    return 1 if failed else 0


def _invert_photos(
    pipe: HDAPipeline,
    inverter: Inverter,
    photos: Mapping[str, Photo],
    latents: dict[str, Tensor],
    known: dict[str, str],
    given: dict[str, float],
) -> None:
    """Invert and draw each photo, and add it to `latents` and `known`, see `_latents_before`."""
    s = inverter.settings

    def mark(name: str) -> str:
        return drawn_with(pipe, s.model, inverter.found_in(known.get(name, "")), given)

    replaced = 0
    for name, photo in photos.items():
        pipe.set_strengths(0.0)  # latents are found in the source, on whose images the mapping network was trained
        with progress_bar(total=s.steps, desc=name) as bar:

            def show(distance: float, bar: Any = bar) -> None:
                bar.set_postfix(distance=f"{distance:.3f}", refresh=False)
                bar.update()

            w = inverter.latents(pipe, photo, show)
        latents[name] = w.cpu().contiguous()
        known[name] = fingerprint_file(photo.path)
        replaced += _save_in_place(s.out / f"{name}.png", _side_by_side(pipe, photo.square, w, given), mark(name))
        _save_latents(pipe, latents, known, s)
    _tell_of_replaced(replaced)
    _name_others(s.out, {*photos, s.person or ""}, mark)


def _draw_person(
    pipe: HDAPipeline,
    inverter: Inverter,
    person: str,
    photos: Sequence[str],
    latents: dict[str, Tensor],
    known: dict[str, str],
    given: dict[str, float],
) -> None:
    """Add the mean of the photos' latents under the person's name, and draw it: mean | adapted."""
    s = inverter.settings
    latents[person] = torch.stack([latents[name] for name in photos]).mean(0)
    digest = fingerprint_bytes(" ".join(sorted(known[name] for name in photos)).encode())
    known[person] = f"{MEAN} {len(photos)} photos {digest}"
    drawn = _side_by_side(pipe, None, latents[person], given)
    mark = drawn_with(pipe, s.model, inverter.found_in(known[person]), given)
    _tell_of_replaced(_save_in_place(s.out / f"{person}.png", drawn, mark))
    _save_latents(pipe, latents, known, s)


def _save_latents(pipe: HDAPipeline, latents: dict[str, Tensor], known: dict[str, str], s: InvertSettings) -> None:
    with write_atomically(s.out / LATENTS) as partial:
        save_file(latents, partial, metadata={SOURCE: pipe.fingerprint, PHOTOS: json.dumps(known)})


def _latents_before(file: Path, source: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The latents of photos that earlier runs inverted in the same generator, and the photos' fingerprints.

    Their pictures are still there. A fingerprint is "" where an earlier version wrote none. Raises `BadSetting` for
    latents of another generator: to find them took minutes each, and this run's would take their place.
    """
    try:
        latents, header = read_safetensors(file)
    except BadInput as error:
        if not file.exists():  # none yet
            return {}, {}
        raise BadSetting(
            f"{file}: this file is damaged or not one of gen's, and would be replaced; move it away or choose another "
            "--out."
        ) from error
    if (found := header.get(SOURCE)) != source:
        other = f"the generator {short(found)}" if found else "a generator that it does not name"
        raise BadSetting(f"{file}: these latents belong to {other}, but this one is {source}; choose another --out.")
    with suppress(BadInput):
        photos = parse_json(header.get(PHOTOS, "{}"), str(file))
        return latents, {name: str(photos.get(name, "")) if isinstance(photos, dict) else "" for name in latents}
    return latents, dict.fromkeys(latents, "")


def invert_photo(
    pipe: HDAPipeline, photo: Path, steps: int, progress: Callable[[float], object] | None = None
) -> Pixels:
    """Photo | inverted | adapted at the pipeline's strengths, (H, W, 3). `progress`: as in `project`."""
    image, perceptual = read_square(photo, pipe.generator.size), load_perceptual().to(pipe.device)
    with pipe.lock:
        given = dict(pipe.strengths)
        pipe.set_strengths(0.0)  # as in `invert_all`
        w = project(pipe.generator, image[None].to(pipe.device), perceptual, steps, progress=progress)
        return np.asarray(_side_by_side(pipe, image, w[0], given))


def _read_photos(paths: Sequence[Path], size: int, known: Mapping[str, str]) -> tuple[dict[str, Photo], list[str]]:
    """The photos by a name that no other photo has, and why others could not be read. `size`: the generator's.

    `known`: fingerprints of the photos of earlier runs by name.
    """
    photos: dict[str, Photo] = {}
    failed: list[str] = []
    for path in paths:
        try:
            names = itertools.chain([path.stem], (f"{path.stem}-{n}" for n in itertools.count(2)))
            photo = Photo.read(path, size)
            same = fingerprint_file(path)
            name = next(name for name in names if name not in photos and known.get(name, same) == same)
            photos[name] = photo
        except BadInput as error:
            failed.append(str(error))
    return photos, failed


def _side_by_side(pipe: HDAPipeline, photo: Tensor | None, w: Tensor, strengths: dict[str, float]) -> Image.Image:
    """Photo, if there is one | w | w adapted."""
    columns = [] if photo is None else [to_uint8(photo[None])[0]]
    for k in ({name: 0.0 for name in strengths}, strengths):
        pipe.set_strengths(k)
        drawn = pipe(latents=w[None].to(pipe.device), output_type="np").images[0]
        columns.append(to_chw(drawn))
    shown = columns if strengths else columns[:-1]  # without adaptations, the last one would repeat the one before
    return to_picture(make_grid(shown, nrow=3, padding=2, pad_value=255))
