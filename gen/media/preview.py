"""The contact sheet that a command writes into its output folder when it is asked for a preview."""

from pathlib import Path

from gen.errors import BadSetting
from gen.media.files import make_out_folder
from gen.media.images import Pixels
from gen.media.mark import Mark, read_header
from gen.media.still import Still
from gen.media.still_writing import encode_still

NAME = "preview.jpg"
MARK = Mark("a preview", None, "Drawn")


def write_preview(out: Path, sheet: Pixels, quality: int = 95) -> Path:
    """Write OUT/preview.jpg and return its path. Raises `BadSetting` if a file of that name is not a preview of gen."""
    make_out_folder(out)
    path = out / NAME
    if path.exists() and read_header(path).mark != MARK:
        raise BadSetting(f"{path}: a file that gen did not draw would be overwritten; choose another output folder.")
    encode_still(path, Still(sheet), quality=quality, mark=MARK.text())
    return path
