"""What drew a picture: written into its metadata, and read before it is replaced."""

from collections.abc import Callable, Iterable, Mapping, Set
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from gen.about import VERSION
from gen.errors import BadInput
from gen.hda.pipeline import HDAPipeline
from gen.media.files import write_atomically
from gen.media.mark import Mark, read_header
from gen.provenance import fingerprint_weights
from gen.weights import name_of

DRAWN = "Drawn"
"""Verb of the mark of what a generator drew."""


def drawn_with(pipe: HDAPipeline, model: str, what: str, strengths: Mapping[str, float] | None = None) -> str:
    """The mark for the metadata of a picture. `strengths`: default those of the pipeline; `what`: seed, truncation."""
    adapted = adapted_with(pipe, pipe.strengths if strengths is None else strengths)
    return Mark(", ".join([name_of(model), what, *adapted, f"weights {pipe.fingerprint}"]), None, DRAWN).text()


def adapted_with(pipe: HDAPipeline, strengths: Mapping[str, float]) -> list[str]:
    """The adaptations of a pipeline at these strengths, as marks name them."""
    parts = [(pipe.adaptations[name], k) for name, k in strengths.items()]
    return [f"{part.name} {fingerprint_weights(part.difference)} at {k:g}" for part, k in parts]


def save_marked(path: Path, image: Image.Image, mark: str) -> None:
    """Write a PNG that says what drew it, see `drawn_with`."""
    notes = PngInfo()
    notes.add_itxt("Software", f"gen {VERSION}")
    notes.add_itxt("Description", mark)
    with write_atomically(path) as partial:
        image.save(partial, pnginfo=notes)


def save_in_place(path: Path, image: Image.Image, mark: str) -> bool:
    """As `save_marked`; returns whether a picture that gen drew otherwise was there."""
    otherwise = drawn_otherwise(path, mark)
    save_marked(path, image, mark)
    return otherwise


def drawn_otherwise(path: Path, mark: str) -> bool:
    """Whether gen drew the file with something else than `mark`."""
    old = drawn_mark(path)
    return old is not None and old != Mark.parse(mark)


def drawn_mark(path: Path) -> Mark | None:
    """The mark of a picture or clip that gen drew; None for all others, translations too."""
    mark = read_header(path).mark
    return mark if mark is not None and mark.verb == DRAWN else None


def check_ours(outputs: Iterable[Path]) -> None:
    """Raises `BadInput` if an output would overwrite a file that gen did not draw, whatever is in it.

    Pictures are called like the photos that they were made of, and these may lie in the output folder.
    """
    for output in outputs:
        if output.exists() and output.stat().st_size and drawn_mark(output) is None:
            raise BadInput(f"{output}: a file that gen did not draw would be overwritten; choose another --out.")


def name_others(out: Path, names: Set[str], mark: Callable[[str], str]) -> None:
    """Say which pictures in `out`, except `names`, were drawn with something else than `mark` of their name."""
    paths = [path for path in sorted(out.glob("*.png")) if path.stem not in names]
    others = [path.name for path in paths if drawn_otherwise(path, mark(path.stem))]
    if others:
        print(f"{len(others)} more in {out} are of earlier runs with something else, for example {others[0]}")


def tell_of_replaced(pictures: int) -> None:
    """Say how many pictures of other settings were replaced, if any."""
    if pictures:
        print(f"replaced {pictures} picture{'s' * (pictures > 1)} of an earlier draw with other settings")
