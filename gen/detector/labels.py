"""Read labelled objects, and objects that a detector found, from JSON in the formats of COCO and BDD100K.

COCO: `images` (id, file_name, width, height), `annotations` (image_id, category_id, bbox, iscrowd) and `categories`;
found objects are a list of image_id, category_id, bbox and score. BDD100K (also Scalabel): a list of frames with
`name` and `labels`, each with `category`, `box2d` and, for found objects, `score`. Frames of several videos may have
one `name`; they are then called `videoName`/`name`, which is where they lie.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import torch

from gen.errors import BadInput, short
from gen.formats.json_files import parse_json, read_bytes
from gen.metrics.detection import GROUPS, Boxes

LARGEST = 2_000_000_000
"""Bytes of a file of labels; those of BDD100K's training set have 1.3 GB."""

GROUP_OF = {
    **dict.fromkeys(("car", "truck", "bus", "motorcycle", "motorbike", "motor", "van", "vehicle"), "vehicles"),
    **dict.fromkeys(("person", "pedestrian", "rider", "other person"), "people"),
    **dict.fromkeys(("traffic light", "traffic_light"), "lights"),
}
"""Category of common data sets -> the group in which it is counted, as the detector's classes are."""


class Item(NamedTuple):
    """One object in a file."""

    group: str
    corners: tuple[float, float, float, float]
    """Left, top, right, bottom in pixels of the labelled picture."""
    score: float
    """1 for labels."""
    ignored: bool
    """A crowd: objects found in it count neither as right nor as wrong."""


@dataclass
class Labels:
    """The labels of many frames."""

    path: Path
    frames: dict[str, list[Item]]
    """File name -> its objects."""
    sizes: dict[str, tuple[float, float]]
    """File name -> width and height of the labelled picture, where the file tells them."""
    ids: dict[Any, str] = field(default_factory=dict[Any, str])
    """COCO's image id -> file name."""
    categories: dict[Any, str] = field(default_factory=dict[Any, str])
    """COCO's category id -> name."""

    def groups(self) -> list[str]:
        """The groups of objects that the labels have, those of the detector first."""
        counts = Counter(item.group for items in self.frames.values() for item in items if not item.ignored)
        return [group for group in GROUPS if counts[group]] + sorted(set(counts) - set(GROUPS))

    def key_of(self, path: PurePosixPath) -> str | None:
        """The labelled file name of a picture, by its path in the folder; else by its name alone, if that is unique."""
        if path.as_posix() in self.frames:
            return path.as_posix()
        found = self._by_name.get(path.name, [])
        return found[0] if len(found) == 1 else None

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        names: dict[str, list[str]] = defaultdict(list)
        for key in self.frames:
            names[PurePosixPath(key).name].append(key)
        return names


def read_labels(path: Path) -> Labels:
    """The labels in a file. Raises `BadInput`."""
    content = parse_json(read_bytes(path, LARGEST), str(path))
    with _readable(path):
        labels = _coco(path, content) if isinstance(content, dict) and "images" in content else _bdd(path, content)
    if not labels.groups():
        raise BadInput(f"{path}: there is no labelled object with a box in it.")
    return labels


def read_found(path: Path, labels: Labels) -> dict[str, list[Item]]:
    """File name -> the objects that a detector found in it, in the file format of the labels. Raises `BadInput`."""
    content = parse_json(read_bytes(path, LARGEST), str(path))
    with _readable(path):
        if not labels.ids:
            return _bdd(path, content, labels).frames
        found: dict[str, list[Item]] = {name: [] for name in labels.frames}
        for number, entry in enumerate(content, 1):
            with _entry(path, f"entry {number}"):
                name = _known(labels.ids, entry, "image_id")
            with _entry(path, f"entry {number}, of {short(name)}"):
                category = _known(labels.categories, entry, "category_id")
                item = Item(_group(category), _corners(entry["bbox"]), _score(entry["score"]), ignored=False)
            found[name].append(item)
        return found


class _Impossible(Exception):
    """A value that no object can have; the message says which, and what would be right."""


@contextmanager
def _entry(path: Path, place: str) -> Generator[None]:
    """Turn an impossible value into a `BadInput` that names the file and the place in it."""
    try:
        yield
    except _Impossible as error:
        raise BadInput(f"{path}: {place}: {error}.") from error


def _known(names: Mapping[Any, str], entry: Mapping[str, Any], key: str) -> str:
    """The name that belongs to an entry's `image_id` or `category_id`."""
    number = entry[key]
    try:
        return names[number]
    except (KeyError, TypeError) as error:  # the latter: a list
        kind, listed = ("image", "images") if key == "image_id" else ("category", "categories")
        raise _Impossible(f"{key} {short(repr(number))} is no {kind} of the labels' `{listed}`") from error


def _score(value: Any) -> float:
    score = float(value)
    if not 0 <= score <= 1:
        raise _Impossible(f"the score is {score:g}, but must be from 0 to 1")
    return score


@contextmanager
def _readable(path: Path) -> Generator[None]:
    """Turn what a file of another form raises into one `BadInput`."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadInput(
            f"{path}: expected the JSON of COCO (labels, or a list of results) or of BDD100K "
            f"({type(error).__name__}: {short(str(error))})."
        ) from error


def _coco(path: Path, content: Mapping[str, Any]) -> Labels:
    ids = {image["id"]: str(image["file_name"]) for image in content["images"]}
    if twice := [name for name, count in Counter(ids.values()).items() if count > 1]:
        raise BadInput(
            f"{path}: {len(twice)} pictures have the file_name of another one, for example {short(twice[0])}; "
            "put the folder of each before its name."
        )
    categories = {category["id"]: str(category["name"]) for category in content["categories"]}
    frames: dict[str, list[Item]] = {name: [] for name in ids.values()}
    for number, entry in enumerate(content["annotations"], 1):
        crowd = bool(entry.get("iscrowd", 0))
        with _entry(path, f"annotation {number}"):
            name = _known(ids, entry, "image_id")
        with _entry(path, f"annotation {number}, of {short(name)}"):
            item = Item(_group(_known(categories, entry, "category_id")), _corners(entry["bbox"]), 1.0, crowd)
        frames[name].append(item)
    sizes = {
        str(image["file_name"]): (float(image["width"]), float(image["height"]))
        for image in content["images"]
        if image.get("width") and image.get("height")
    }
    return Labels(path, frames, sizes, ids, categories)


def _bdd(path: Path, content: Any, labels: Labels | None = None) -> Labels:
    """`labels`: what the content is not, but objects found in frames of these."""
    listed = content["frames"] if isinstance(content, dict) else content
    known = _of_several_videos(listed) if labels is None else labels.frames
    frames: dict[str, list[Item]] = {}
    for frame in listed:
        whole = _with_video(frame)
        name = whole if whole in known else str(frame["name"])
        items = frames.setdefault(name, [])
        for number, label in enumerate(frame.get("labels") or (), 1):
            box = label.get("box2d")
            if not box:  # lanes and drivable areas
                continue
            with _entry(path, f"label {number} of {short(name)}"):
                score = _score(label["score"]) if labels is not None else 1.0
                corners = _possible(*(float(box[key]) for key in ("x1", "y1", "x2", "y2")))
            crowd = bool((label.get("attributes") or {}).get("crowd", False))
            items.append(Item(_group(str(label["category"])), corners, score, crowd))
    return Labels(path, frames, {})


def _with_video(frame: Mapping[str, Any]) -> str:
    return f"{frame.get('videoName')}/{frame['name']}"


def _of_several_videos(listed: Iterable[Mapping[str, Any]]) -> Collection[str]:
    """Names with the video, where the name alone is that of frames of several videos."""
    whole = {_with_video(frame): str(frame["name"]) for frame in listed}
    counts = Counter(whole.values())
    return {name for name, alone in whole.items() if counts[alone] > 1}


def _group(category: str) -> str:
    return GROUP_OF.get(category.lower(), category.lower())


def _corners(bbox: Iterable[float]) -> tuple[float, float, float, float]:
    """COCO's left, top, width, height -> corners."""
    left, top, width, height = map(float, bbox)
    return _possible(left, top, left + width, top + height)


def _possible(left: float, top: float, right: float, bottom: float) -> tuple[float, float, float, float]:
    """The corners. Raises `_Impossible` if they are of no box; those of no area, which COCO's own labels have, are."""
    if not all(map(math.isfinite, (left, top, right, bottom))) or right < left or bottom < top:
        size = f"{right - left:g} wide and {bottom - top:g} high"
        raise _Impossible(f"the box is {size}, but width and height must be positive numbers")
    return left, top, right, bottom


def as_boxes(items: Iterable[Item], groups: list[str], size: tuple[float, float]) -> Boxes:
    """The objects of these groups, their corners as shares of a picture's width and height (`size`)."""
    kept = [item for item in items if item.group in groups]
    corners = torch.tensor([item.corners for item in kept], dtype=torch.float32).reshape(-1, 4)
    return Boxes(
        corners / torch.tensor([*size, *size]),
        torch.tensor([item.score for item in kept], dtype=torch.float32),
        torch.tensor([groups.index(item.group) for item in kept], dtype=torch.long),
    )
