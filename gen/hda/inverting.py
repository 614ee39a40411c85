"""What `gen invert` writes: photos as a generator draws them, and their latents."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.utils import make_grid

from gen.bars import progress_bar
from gen.errors import BadInput, BadSetting, short
from gen.hda.inversion import MEAN, Inverter, Photo
from gen.hda.latents import LATENTS, is_file_name, latents_before, save_latents
from gen.hda.marks import check_ours, drawn_with, name_others, save_in_place, tell_of_replaced
from gen.hda.pipeline import HDAPipeline, load_blended
from gen.hda.settings import InvertSettings
from gen.media.folders import check_not_inputs
from gen.media.resize import to_chw, to_picture, to_uint8
from gen.metrics.paired import load_perceptual
from gen.output import output_folder
from gen.provenance import fingerprint_bytes, fingerprint_file
from gen.seeds import check_seed
from gen.stylegan2.photos import read_square
from gen.stylegan2.projector import project


def invert_all(settings: InvertSettings) -> int:
    """`gen invert`: latents.safetensors, and NAME.png = photo | inverted | adapted, for each photo that can be read.

    Returns 1 if a photo could not be read, else 0.
    """
    s = replace(settings, model=settings.source)
    check_seed(s.seed)
    if s.person is not None and not is_file_name(s.person):
        raise BadSetting(f"person {short(s.person)}: this cannot be the name of a picture; give a name such as anna.")
    pipe = load_blended(s.source, s.adaptation, s.device)
    given = dict(pipe.strengths)
    inverter = Inverter.load(pipe, s)
    with output_folder(s.out):
        latents, known = latents_before(s.out / LATENTS, pipe.fingerprint)
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
    """Invert and draw each photo, and add it to `latents` and `known`, see `latents_before`."""
    s = inverter.settings

    def mark(name: str) -> str:
        return drawn_with(pipe, s.source, inverter.found_in(known.get(name, "")), given)

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
        replaced += save_in_place(s.out / f"{name}.png", _side_by_side(pipe, photo.square, w, given), mark(name))
        save_latents(s.out / LATENTS, latents, known, pipe.fingerprint)
    tell_of_replaced(replaced)
    name_others(s.out, {*photos, s.person or ""}, mark)


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
    mark = drawn_with(pipe, s.source, inverter.found_in(known[person]), given)
    tell_of_replaced(save_in_place(s.out / f"{person}.png", drawn, mark))
    save_latents(s.out / LATENTS, latents, known, pipe.fingerprint)


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


def invert_photo(
    pipe: HDAPipeline, photo: Path, steps: int, progress: Callable[[float], object] | None = None
) -> NDArray[np.uint8]:
    """Photo | inverted | adapted at the pipeline's strengths, (H, W, 3). `progress`: as in `project`."""
    image, perceptual = read_square(photo, pipe.generator.size), load_perceptual().to(pipe.device)
    with pipe.lock:
        given = dict(pipe.strengths)
        pipe.set_strengths(0.0)  # as in `invert_all`
        w = project(pipe.generator, image[None].to(pipe.device), perceptual, steps, progress=progress)
        return np.asarray(_side_by_side(pipe, image, w[0], given))


def _side_by_side(pipe: HDAPipeline, photo: Tensor | None, w: Tensor, strengths: dict[str, float]) -> Image.Image:
    """Photo, if there is one | w | w adapted."""
    columns = [] if photo is None else [to_uint8(photo[None])[0]]
    for k in ({name: 0.0 for name in strengths}, strengths):
        pipe.set_strengths(k)
        drawn = pipe(latents=w[None].to(pipe.device), output_type="np").images[0]
        columns.append(to_chw(drawn))
    shown = columns if strengths else columns[:-1]  # without adaptations, the last one would repeat the one before
    return to_picture(make_grid(shown, nrow=3, padding=2, pad_value=255))
