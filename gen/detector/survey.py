"""Find the objects in frames before and after translation, compare them, and write what `gen measure-detector` says."""

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import numpy as np
import torch

from gen.bars import progress_bar
from gen.detector.labels import Item, as_boxes, read_found, read_labels
from gen.detector.scores import count, match
from gen.detector.settings import MeasureDetectorSettings
from gen.detector.tables import BEFORE, Measure, Tables, as_text, measures, numbers_of, plain
from gen.detector.turned import find_turned, turn
from gen.errors import BadInput, BadSetting
from gen.media.files import write_atomically
from gen.media.folders import find_stills
from gen.media.left_out import MAX_LISTED, LeftOut
from gen.metrics.detection import GROUPS, Boxes, Detector
from gen.metrics.distances import evenly, list_images, read_frame
from gen.output import output_folder
from gen.provenance import measured_on, portable, portable_value, versions

Size = tuple[float, float]
Frames = dict[str, Boxes]
"""A frame's name -> the objects found in it; corners are shares of the picture's width and height."""


def run(settings: MeasureDetectorSettings) -> int:
    """Measure, print the table and the verdict, and write them. Raises `BadSetting` or `BadInput`."""
    check_settings(settings)
    if settings.out is None:
        return Survey(settings).run()
    with output_folder(settings.out):
        return Survey(settings).run()


def check_settings(settings: MeasureDetectorSettings) -> None:
    """Check the settings before any frame is read. Raises `BadSetting`."""
    if not settings.after:
        raise BadSetting("after: give at least one folder of translated frames.")
    for name, least in {"resamples": 1, "seed": 0}.items():
        if getattr(settings, name) < least:
            raise BadSetting(f"{name} must be at least {least}, not {getattr(settings, name)}.")
    if settings.limit is not None and settings.limit < 1:
        raise BadSetting(f"limit must be at least 1, not {settings.limit}.")
    inputs = (settings.before, *settings.after)
    if any(map(_is_json, inputs)) and settings.labels is None:
        raise BadSetting("labels: found objects in a JSON file can be compared with labels only; set --labels.")
    if len(set(map(_is_json, inputs))) > 1:
        raise BadSetting(
            "before and after must all be folders, or all be JSON files: objects that two detectors found tell nothing "
            "about the translation."
        )
    if not _is_json(settings.before) and settings.detector is None:
        raise BadSetting("detector: set it to a YOLOX model (ONNX), which looks for objects in the folders.")


def _is_json(path: Path) -> bool:
    return path.suffix.lower() == ".json"


class Survey:
    """One measurement."""

    def __init__(self, settings: MeasureDetectorSettings) -> None:
        self.settings = settings
        self.labels = read_labels(settings.labels) if settings.labels else None
        detector = None if _is_json(settings.before) else settings.detector
        self.detector = Detector(detector) if detector else None
        self.left_out = LeftOut()
        self.notes: list[str] = []
        self.sizes: dict[str, Size] = {}
        """A frame's name -> width and height of the picture that its objects were labelled in."""
        self.turned: dict[str, int] = {}
        """A frame's name -> its EXIF orientation, if its labels are of the stored picture."""
        self.places: dict[str, PurePosixPath] = {}
        """A frame's name -> its path in the folder BEFORE."""
        self.listed: list[PurePosixPath] = []
        """All pictures of BEFORE, also those that are not measured."""
        self.groups = self._groups()

    def _groups(self) -> list[str]:
        if self.labels is None:
            return list(GROUPS)
        self.sizes |= self.labels.sizes
        groups = self.labels.groups()
        if self.detector is None:
            return groups
        others = [group for group in groups if group not in GROUPS]
        if others:
            self.notes.append(f"labels that the detector does not know are left out: {', '.join(others)}")
        # The detector numbers its groups in this order, so that all of them stay.
        return list(GROUPS)

    def run(self) -> int:
        """Read all frames, print and write the tables; 1 if a frame could not be read."""
        before = self.read_before()
        rows = {BEFORE: before} | {name: self.read_after(path, before) for name, path in self.names().items()}
        names = [frame for frame in before if all(frame in row for row in rows.values())]
        if not names:
            raise BadInput("no frame is in all of BEFORE and AFTER; a translated frame must keep its name.")
        found = {row: [boxes[name] for name in names] for row, boxes in rows.items()}
        tables = self.score(names, found)
        text = self.text(tables, len(names))
        print(text)
        if self.settings.out is not None:
            self.write(self.settings.out, text, tables, len(names))
        return 1 if self.left_out else 0

    def names(self) -> dict[str, Path]:
        """Name of a row -> folder or file; the last part of the path if that is unique."""
        after = self.settings.after
        last = [path.stem if _is_json(path) else path.resolve().name for path in after]
        names = [
            # A folder that is called as the row of the frames before must not take that row's place.
            name if last.count(name) == 1 and name != BEFORE else f"./{path}" if str(path) == BEFORE else str(path)
            for name, path in zip(last, after, strict=True)
        ]
        return dict(zip(names, after, strict=True))

    def read_before(self) -> Frames:
        """The objects in the frames before translation."""
        path, limit = self.settings.before, self.settings.limit
        if _is_json(path):
            assert self.labels is not None
            found = self.from_json(path)
            if missing := [name for name in self.labels.frames if name not in found]:
                self.notes.append(f"{path} lacks frames that have labels, which are left out: {_some(missing)}")
            return {name: found[name] for name in evenly(list(found), limit)}
        listed = list_images(path)
        self.listed = [PurePosixPath(file.relative_to(path)) for file in listed]
        named = self.named(self.listed)
        chosen = {PurePosixPath(file.relative_to(path)): file for file in evenly(listed, limit)}
        self.places = {name: place for name, place in named.items() if place in chosen}
        known = set(self.places.values())
        unknown = [place.as_posix() for place in chosen if place not in known]
        if len(unknown) == len(chosen):
            raise BadInput(f"{self.settings.labels}: none of the frames in {path} is in it, for example {unknown[0]}.")
        if unknown:
            self.notes.append(f"frames without labels are left out: {_some(unknown)}")
        files = {name: chosen[place] for name, place in self.places.items()}
        if self.labels is not None:
            self.turned, doubtful = find_turned(files, self.labels)
            if doubtful:
                self.notes.append(
                    f"EXIF turns these frames, and {self.labels.path} does not tell whether it labels the turned "
                    f"pictures; that is assumed: {_some(doubtful)}"
                )
        return self.detect(files, path)

    def named(self, places: Sequence[PurePosixPath]) -> dict[str, PurePosixPath]:
        """A frame's name -> its path in BEFORE. With labels, the name there; none for one of two with the same name."""
        if self.labels is None:
            return {place.as_posix(): place for place in places}
        found: dict[str, list[PurePosixPath]] = defaultdict(list)
        for place in places:
            if (key := self.labels.key_of(place)) is not None:
                found[key].append(place)
        exact = {key: PurePosixPath(key) for key, same in found.items() if PurePosixPath(key) in same}
        return {key: same[0] for key, same in found.items() if len(same) == 1} | exact

    def read_after(self, path: Path, before: Frames) -> Frames:
        """The objects in the same frames, translated. Frames that are missing are noted."""
        found = self.from_json(path) if _is_json(path) else self.detect(self.same_frames(path, before), path)
        missing = [name for name in before if name not in found]
        if missing:
            self.notes.append(f"{path} lacks frames, which are left out of every row: {_some(missing)}")
        return found

    def same_frames(self, folder: Path, names: Iterable[str]) -> dict[str, Path]:
        """A frame's name -> its translation: the picture with its path, else without its suffix, else with its name.

        The last two only where just one frame of BEFORE and one picture have it: other drives have a 0001.jpg, too.
        """
        if not folder.is_dir():
            raise BadInput(f"{folder}: no such folder.")
        pictures = {PurePosixPath(file.relative_to(folder)): file for file in find_stills(folder, quiet=True)}
        files = {name: pictures[place] for name in names if (place := self.places[name]) in pictures}
        for part in (_stem, _name):
            there, asked = _alone(pictures, part), _alone(self.listed, part)
            for name in names:
                key = part(place := self.places[name])
                if name not in files and asked.get(key) == place and key in there:
                    files[name] = pictures[there[key]]
        return files

    def detect(self, files: Mapping[str, Path], folder: Path) -> Frames:
        """Run the detector on pictures; those that cannot be read are left out."""
        assert self.detector is not None
        found: Frames = {}
        with progress_bar(total=len(files), desc=folder.name or str(folder), unit="frame") as bar:
            for name, file in files.items():
                frame = self.left_out.read(file, read_frame)
                if frame is not None:
                    height, width = frame.shape[:2]
                    self.sizes.setdefault(name, (width, height))
                    boxes = self.detector(frame[None])[0]
                    found[name] = boxes._replace(corners=boxes.corners / torch.tensor([width, height] * 2))
                bar.update()
        return found

    def from_json(self, path: Path) -> Frames:
        """The objects that another detector found, in the frames that have labels."""
        assert self.labels is not None
        found = read_found(path, self.labels)
        unknown = [name for name in found if name not in self.labels.frames]
        if unknown:
            self.notes.append(f"{path} has frames without labels, which are left out: {_some(unknown)}")
        return {name: self.boxes(name, items) for name, items in found.items() if name in self.labels.frames}

    def boxes(self, name: str, items: Iterable[Item]) -> Boxes:
        """Objects of a file, as shares of the picture; in pixels where nothing tells its size."""
        return as_boxes(items, self.groups, self.sizes.get(name, (1.0, 1.0)))

    def score(self, names: Sequence[str], found: Mapping[str, Sequence[Boxes]]) -> Tables:
        """The numbers of every group; with labels, of those that are labelled in these frames."""
        rng = np.random.default_rng(self.settings.seed)
        chance = np.full(len(names), 1 / len(names))
        resamples = [rng.multinomial(len(names), chance).astype(float) for _ in range(self.settings.resamples)]
        truth, crowds = self.truth(names)
        tables: Tables = {}
        for index, group in enumerate(self.groups):
            rows: dict[str, dict[str, Measure]] = {}
            for row, boxes in found.items():
                matches = match(boxes, truth, crowds, index) if self.labels else None
                rows[row] = measures(matches, count(boxes, found[BEFORE], index), row == BEFORE)
            if self.labels is None or any((boxes.groups == index).any() for boxes in truth):
                tables[group] = numbers_of(rows, len(names), resamples)
        return tables

    def truth(self, names: Sequence[str]) -> tuple[list[Boxes], list[Boxes]]:
        """The labelled objects and crowds of frames; nothing without labels."""
        if self.labels is None:
            return [], []
        self.check_sizes(names)
        items = [self.labels.frames[name] for name in names]
        pairs = list(zip(names, items, strict=True))
        return (
            [self.labelled(name, (i for i in items if not i.ignored)) for name, items in pairs],
            [self.labelled(name, (i for i in items if i.ignored)) for name, items in pairs],
        )

    def labelled(self, name: str, items: Iterable[Item]) -> Boxes:
        """Labelled objects, as shares of the upright picture."""
        boxes = self.boxes(name, items)
        return turn(boxes, self.turned[name]) if name in self.turned else boxes

    def check_sizes(self, names: Sequence[str]) -> None:
        """Raises `BadInput` if labels lie outside of the frames: they were made on pictures of another size."""
        assert self.labels is not None
        for name in names:
            width, height = self.sizes.get(name, (math.inf, math.inf))
            for item in self.labels.frames[name]:
                if item.corners[2] > 1.02 * width + 1 or item.corners[3] > 1.02 * height + 1:
                    raise BadInput(
                        f"{self.labels.path}: a label of {name} lies outside of the frame ({width:.0f}x{height:.0f}). "
                        f"Give frames of the labelled size, or COCO labels with the width and height of each picture."
                    )

    def text(self, tables: Tables, frames: int) -> str:
        """The verdict, a table for each group of objects, and what was left out."""
        parts = [
            as_text(tables),
            f"Frames: {frames}. [95 % interval over frames, {self.settings.resamples} resamples].",
        ]
        parts += [f"Note: {note}." for note in self.notes]
        if self.left_out:
            parts.append(f"{len(self.left_out)} frames could not be read:{self.left_out.listed()}")
        return "\n".join(parts)

    def write(self, out: Path, text: str, tables: Tables, frames: int) -> None:
        """Write table.md, and table.json with what is needed to repeat it."""
        s = self.settings
        record = {
            "objects": {
                group: {row: {name: plain(number) for name, number in numbers.items()} for row, numbers in rows.items()}
                for group, rows in tables.items()
            },
            "frames": frames,
            "notes": self.notes,
            "left_out": list(self.left_out.values()),
            "settings": portable(s) | {"after": list(self.names())},
            "folders": {name: portable_value(path) for name, path in {BEFORE: s.before, **self.names()}.items()},
            "versions": versions(("torch", "onnxruntime")),
            "machine": measured_on(torch.device("cpu")),
            "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        }
        for name, content in {"table.md": text, "table.json": json.dumps(record, indent=2)}.items():
            with write_atomically(out / name) as path:
                path.write_text(content + "\n", encoding="utf-8", errors="backslashreplace")


def _stem(place: PurePosixPath) -> str:
    return place.with_suffix("").as_posix()


def _name(place: PurePosixPath) -> str:
    return place.name


def _alone(places: Iterable[PurePosixPath], part: Callable[[PurePosixPath], str]) -> dict[str, PurePosixPath]:
    """Part of a path -> the path, where only one has it."""
    same: dict[str, list[PurePosixPath]] = defaultdict(list)
    for place in places:
        same[part(place)].append(place)
    return {key: found[0] for key, found in same.items() if len(found) == 1}


def _some(names: Sequence[str]) -> str:
    """The first names, and the number of the others."""
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return ", ".join(names[:MAX_LISTED]) + more
