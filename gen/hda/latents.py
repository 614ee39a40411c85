"""The file of latents that `gen invert` writes and `gen generate` draws."""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from gen.errors import BadInput, BadSetting, short
from gen.formats.json_files import parse_json
from gen.formats.safetensors_files import read_safetensors
from gen.media.files import write_atomically

LATENTS = "latents.safetensors"

SOURCE = "source"
"""Entry in the header of a file of latents: the fingerprint of the generator in which they were found."""

PHOTOS = "photos"
"""Entry in the same header: the fingerprint of each photo by the name of its latent, as JSON.

A person's begins with `gen.hda.inversion.MEAN`.
"""

LONGEST_NAME = 200
"""Bytes; file systems take 255, with the suffix and what a partial file adds."""


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
            if not is_file_name(name):
                raise BadInput(f"{path}: {short(name)!r} cannot be the name of a picture.")
    except BadInput as error:
        raise BadInput(f"{error} Give the latents.safetensors that `gen invert` writes.") from error
    return {name: w.float() for name, w in named.items()}


def latents_before(file: Path, source: str) -> tuple[dict[str, Tensor], dict[str, str]]:
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


def save_latents(file: Path, latents: dict[str, Tensor], known: Mapping[str, str], source: str) -> None:
    """Write latents by name, and the photos' fingerprints; `source`: the fingerprint of the generator."""
    with write_atomically(file) as partial:
        save_file(latents, partial, metadata={SOURCE: source, PHOTOS: json.dumps(known)})


def is_file_name(name: str) -> bool:
    """Whether a picture may have this name, and no other folder is in it."""
    return bool(name) and Path(name).name == name and "\0" not in name and len(name.encode()) <= LONGEST_NAME
