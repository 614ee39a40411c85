"""TIFF files: which layouts are read and by what, and an own writer that copies no tag about the source's pixels."""

from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gen.errors import BadInput
from gen.media import ifd
from gen.media.ifd import Directory
from gen.media.still import Pixels

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, STRIP_OFFSETS = 256, 257, 258, 259, 262, 266, 273
SAMPLES, ROWS_PER_STRIP, STRIP_BYTES, PLANAR, PREDICTOR = 277, 278, 279, 284, 317
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES, EXTRA, FORMAT = 322, 323, 324, 325, 338, 339
KIND_OF_PAGE = 254
LAYOUT = frozenset(
    {WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, ifd.ORIENTATION, STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP}
    | {STRIP_BYTES, PLANAR, PREDICTOR, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES, EXTRA, FORMAT, KIND_OF_PAGE}
)
GREY_INVERTED, GREY, RGB, CMYK = 0, 1, 2, 5
UNSIGNED, SIGNED, FLOAT = 1, 2, 3
COLOURS = {GREY_INVERTED: 1, GREY: 1, RGB: 3, 3: 1, CMYK: 4, 6: 3, 8: 3}
"""Number of samples that are colours, by the photometric interpretation."""
ASSOCIATED = 1
"""Kind of extra sample: alpha by which the colours are multiplied."""
FORMATS = {UNSIGNED: "unsigned", SIGNED: "signed", FLOAT: "float"}
MOST_BESIDE = 64 << 20
"""Bytes beside the pixels of a file that is read whole."""
MAX_BYTES = (1 << 32) - (1 << 20)
"""Of a classic TIFF, whose offsets have 32 bits."""


class Layout(NamedTuple):
    """How the samples of a TIFF are stored."""

    tags: Directory
    photometric: int
    bits: int
    format: int
    samples: int
    extra: tuple[int, ...]
    planes: bool
    """Whether each sample has a plane of its own."""

    @property
    def describe(self) -> str:
        """In words, for messages."""
        planes = " in separate planes" if self.planes else ""
        form = FORMATS.get(self.format, f"format {self.format}")
        return f"{self.samples} {form} samples of {self.bits} bits{planes} (photometric {self.photometric})"

    @property
    def is_colour(self) -> bool:
        """Whether the samples are red, green, blue and perhaps alpha."""
        return self.photometric == RGB and self.samples in (3, 4)

    @property
    def is_grey(self) -> bool:
        """Whether the only sample is grey, and 0 is black."""
        return self.photometric == GREY and self.samples == 1

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) as stored."""
        width, height = (next(iter(self.tags.numbers(tag, (0,))), 0) for tag in (WIDTH, HEIGHT))
        return width, height

    @property
    def missing(self) -> int:
        """Number of strips or tiles that the picture needs and the file does not name; Pillow leaves them black."""
        width, height = self.size
        across, down = width, next(iter(self.tags.numbers(ROWS_PER_STRIP)), height)
        named = len(self.tags.numbers(STRIP_OFFSETS))
        if TILE_OFFSETS in self.tags.fields:
            across, down = (next(iter(self.tags.numbers(tag)), 0) for tag in (TILE_WIDTH, TILE_HEIGHT))
            named = len(self.tags.numbers(TILE_OFFSETS))
        if not (named and across and down):  # old JPEG compression may name none
            return 0
        return -(-width // across) * -(-height // down) * (self.samples if self.planes else 1) - named

    @property
    def compression(self) -> int:
        """TIFF's number of the compression, 1 for none."""
        return next(iter(self.tags.numbers(COMPRESSION, (1,))), 1)

    @property
    def big_endian_big(self) -> bool:
        """Whether this is a big-endian BigTIFF."""
        return self.tags.big and self.tags.order == ">"

    @property
    def reversed_bits(self) -> bool:
        """Whether the lowest bit of a byte comes first, in samples of whole bytes, where viewers disagree on it."""
        return self.tags.numbers(FILL_ORDER) == (2,) and self.bits >= 8 and self.compression == 1

    @property
    def orientation(self) -> int:
        """EXIF orientation, 1 to 8."""
        return next(iter(self.tags.numbers(ifd.ORIENTATION, (1,))), 1)

    @property
    def is_reduced(self) -> bool:
        """Whether the page is a smaller copy of another one, such as the preview of a raw file."""
        return bool(sum(self.tags.numbers(KIND_OF_PAGE)) & 1)

    def unread_channels(self, alpha: bool) -> list[str]:
        """Samples besides colours and alpha, near infrared for example, as an entry of `left_out`."""
        unread = self.samples - COLOURS.get(self.photometric, self.samples) - alpha
        return [f"{unread} further channel{'s' * (unread > 1)}"] if unread > 0 else []

    @property
    def white(self) -> float | None:
        """Value of white in grey of 9 to 16 bits that Pillow reads; None: the full scale of its mode."""
        return 2.0**self.bits - 1 if self.format == UNSIGNED and 8 < self.bits < 16 else None

    @property
    def inverted(self) -> bool:
        """Whether 0 is white in a way that Pillow does not undo."""
        return self.photometric == GREY_INVERTED and self.bits > 8


def read_layout(file: BinaryIO) -> Layout:
    """How the samples of the first page are stored. Raises ValueError if the file has no tag directory."""
    tags = ifd.read_directory(file, LAYOUT)
    bits = tags.numbers(BITS, (1,)) or (1,)
    (samples,) = tags.numbers(SAMPLES, (len(bits),))[:1] or (1,)
    (photometric,) = tags.numbers(PHOTOMETRIC, (0,))[:1] or (0,)
    (form,) = tags.numbers(FORMAT, (UNSIGNED,))[:1] or (UNSIGNED,)
    planes = tags.numbers(PLANAR, (1,))[:1] == (2,) and samples > 1
    return Layout(tags, photometric, max(bits), form, samples, tags.numbers(EXTRA), planes)


class Samples(NamedTuple):
    """Pixels as they are stored."""

    values: NDArray[Any]
    """(H, W) or (H, W, 3 or 4)."""
    orientation: int
    """EXIF orientation that remains to be applied."""


def read_odd_layout(file: BinaryIO, layout: Layout) -> Samples | None:
    """Pixels of a layout that Pillow does not read, or reads wrongly; None if Pillow reads it.

    Raises `BadInput` for layouts that nothing reads.
    """
    if _pillow_reads(layout):
        return None
    if layout.big_endian_big and (found := read_without_tags(file, layout)):
        return found
    kind = (layout.format, layout.bits)
    if ASSOCIATED not in layout.extra and (layout.is_colour or layout.is_grey):
        if layout.planes and kind in _PLANES and _float_order_is_safe(layout):
            return Samples(_planes(file, layout), layout.orientation)
        if not layout.planes and kind in _DEEP:
            return Samples(_by_opencv(_whole(file, layout)), 1)  # OpenCV applies the orientation
    raise BadInput(f"a TIFF of {layout.describe} is not supported; save it with 8 or 16 unsigned bits.")


_PLANES = ((UNSIGNED, 8), (UNSIGNED, 16), (FLOAT, 32))
"""Formats and bits whose planes Pillow reads one by one."""
_DEEP = ((UNSIGNED, 32), (FLOAT, 32), (FLOAT, 64))
"""Formats and bits that OpenCV reads."""


def _pillow_reads(layout: Layout) -> bool:
    """Whether Pillow reads such a file, and rightly, or refuses it. Found by trying each (tests/media/test_tiff.py)."""
    if layout.big_endian_big:
        return False
    if layout.planes:
        return (
            (layout.format == UNSIGNED and layout.bits <= 8)
            and layout.photometric in (RGB, CMYK)
            and ASSOCIATED not in layout.extra
        )
    if layout.format == FLOAT and layout.bits == 32 and layout.samples == 1:
        return _float_order_is_safe(layout)
    return layout.format == UNSIGNED and layout.bits <= 16


def _float_order_is_safe(layout: Layout) -> bool:
    """False for compressed big-endian floats, whose bytes Pillow swaps once too often."""
    return layout.format != FLOAT or layout.tags.order == "<" or layout.compression == 1


def _by_opencv(data: bytes) -> NDArray[Any]:
    import cv2

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # what is damaged is said below
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if found is None:  # pyright: ignore[reportUnnecessaryComparison]  # so it is if the file is damaged
        raise BadInput("the TIFF is damaged, or compressed in a way that is not supported.")
    return found if found.ndim == 2 else found[..., [2, 1, 0, 3][: found.shape[2]]]


def _planes(file: BinaryIO, layout: Layout) -> NDArray[Any]:
    """Each plane as a grey TIFF of its own."""
    data = _whole(file, layout)
    strips = [_strips(layout, slice(number, number + 1)) for number in range(layout.samples)]
    return np.stack([_rewritten(data, layout, tags, 1) for tags in strips], axis=-1)


def read_without_tags(file: BinaryIO, layout: Layout) -> Samples | None:
    """Pixels of a plain layout by the tags of its layout alone: of big-endian BigTIFFs, and beside damaged tags.

    None for layouts that are not plain.
    """
    negative = layout.photometric == GREY_INVERTED and layout.samples == 1
    plain = layout.format == UNSIGNED and layout.bits in (8, 16) and ASSOCIATED not in layout.extra
    if not (layout.is_colour or layout.is_grey or negative) or not plain or layout.planes:
        return None
    values = _rewritten(_whole(file, layout), layout, _strips(layout, slice(None)), layout.samples)
    return Samples(np.iinfo(values.dtype).max - values if negative else values, layout.orientation)


def _whole(file: BinaryIO, layout: Layout) -> bytes:
    """The whole file, padded to an even length. Raises `BadInput` if it is far larger than its picture."""
    width, height = layout.size
    most = MOST_BESIDE + 8 * layout.samples * width * height
    file.seek(0)
    data = file.read(most + 1)
    if len(data) > most:
        raise BadInput("the TIFF is far larger than its first picture; save that one alone.")
    return data + b"\0" * (len(data) % 2)


def _strips(layout: Layout, planes: slice) -> Directory:
    """The tags that say where the strips or tiles of these planes are."""
    tags = Directory(layout.tags.order)
    for tag in (STRIP_OFFSETS, STRIP_BYTES, TILE_OFFSETS, TILE_BYTES):
        values = layout.tags.numbers(tag)
        each = len(values) // (layout.samples if layout.planes else 1)
        start, end, _ = planes.indices(layout.samples if layout.planes else 1)
        if each:
            tags.put(tag, ifd.LONG, *values[start * each : end * each])
    return tags


def _rewritten(data: bytes, layout: Layout, tags: Directory, samples: int) -> NDArray[Any]:
    """The file with another directory at its end, which names only these strips, as Pillow reads it."""
    for tag in (WIDTH, HEIGHT, COMPRESSION, FILL_ORDER, ROWS_PER_STRIP, PREDICTOR, TILE_WIDTH, TILE_HEIGHT):
        if values := layout.tags.numbers(tag):
            tags.put(tag, ifd.LONG if max(values) > 65535 else ifd.SHORT, *values)
    tags.put(BITS, ifd.SHORT, *[layout.bits] * samples)
    if samples == 4:
        tags.put(EXTRA, ifd.SHORT, 2)
    photometric = RGB if samples > 1 else GREY
    for tag, value in ((FORMAT, layout.format), (PHOTOMETRIC, photometric), (SAMPLES, samples), (PLANAR, 1)):
        tags.put(tag, ifd.SHORT, value)
    start = 16 if layout.tags.big else 8
    head = ifd.header(tags)[:4] + len(data).to_bytes(4, "little" if tags.order == "<" else "big")
    patched = head + data[8:start] + data[start:] + ifd.write_directory(tags, len(data))
    with Image.open(BytesIO(patched), formats=("TIFF",)) as image:
        return np.array(image)


def write_tiff(path: Path, rgb: Pixels, alpha: Pixels | None, described: Directory) -> None:
    """Write pixels uncompressed, with the tags of `described`. Raises ValueError if they are too large for a TIFF."""
    pixels = rgb if alpha is None else np.dstack([rgb, alpha])
    height, width, samples = pixels.shape
    if pixels.nbytes > MAX_BYTES:
        raise ValueError("a TIFF file holds at most 4 GB")
    tags = Directory(described.order, fields=dict(described.fields), children=dict(described.children))
    tags.put(WIDTH, ifd.LONG, width)
    tags.put(HEIGHT, ifd.LONG, height)
    tags.put(BITS, ifd.SHORT, *[8] * samples)
    for tag, value in ((COMPRESSION, 1), (PHOTOMETRIC, RGB), (SAMPLES, samples), (PLANAR, 1)):
        tags.put(tag, ifd.SHORT, value)
    tags.put(STRIP_BYTES, ifd.LONG, pixels.nbytes)
    tags.put(ROWS_PER_STRIP, ifd.LONG, height)
    if alpha is not None:
        tags.put(EXTRA, ifd.SHORT, 2)  # alpha by which the colours are not multiplied
    tags.put(STRIP_OFFSETS, ifd.LONG, 0)  # for the length, which the next line needs
    tags.put(STRIP_OFFSETS, ifd.LONG, len(ifd.write_tags(tags)))
    with path.open("wb") as file:
        file.write(ifd.write_tags(tags))
        file.write(np.ascontiguousarray(pixels).data)
