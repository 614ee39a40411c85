"""`gen measure-shift`: how far image domains are apart, in tables and plots."""

import dataclasses
import json
import os
import zlib
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

from gen.errors import BadInput, BadSetting
from gen.media.files import writing
from gen.provenance import machine, portable, versions
from gen.smos.domains import DomainFolder, find_domains, find_images, unique_names
from gen.smos.plots import Dot, Row, as_csv, as_text, draw_heat_map, draw_scatter, flat
from gen.smos.representations import Histogram, RepresentationName, imagenet_histogram, read_histograms
from gen.smos.shift import (
    FEWEST_IMAGES,
    DomainStatistics,
    Estimate,
    Histograms,
    Statistic,
    fixed,
    idd,
    measure_domain,
    ratio,
)

IMAGENET, NONE = "imagenet", "none"
"""References that are no folders."""


@dataclasses.dataclass(frozen=True)
class MeasureShiftSettings:
    """Measure how far image domains are apart (IDD) and how much each varies in itself (ICV)."""

    roots: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of images: CLASS/IMAGE is one domain, DOMAIN/CLASS/IMAGE several; no class folders: one class."""
    out: Path
    """Folder that gets table.csv, table.json, scatter.png and pairwise.png."""
    representation: RepresentationName = "luma32"
    """What of the pictures is compared: histograms of luma, hue or colour, or network features."""
    reference: str = IMAGENET
    """What IDD is measured against: imagenet (shipped, luma only), a folder of images, or none."""
    relative_to: str | None = None
    """Name of a domain; the ICV of all is also given as a ratio to the ICV of this one."""
    balanced: bool = False
    """Mean histograms weigh each class the same; else each image."""
    pairs: int = 2000
    """Random pairs of images per class for ICV; a class that has fewer takes them all."""
    resamples: int = 1000
    """Bootstrap resamples behind the 95 % intervals; 0: no intervals."""
    seed: int = 0
    """Seed of pairs and resamples."""
    cache: Path | None = None
    """Folder that keeps what each picture came to, so that it is read once; none: OUT/cache."""
    workers: int = 4
    """Threads that decode."""


@dataclasses.dataclass(frozen=True)
class Domain:
    """A domain that was read; of its images only statistics are left."""

    name: str
    images: int
    classes: int
    statistics: DomainStatistics


@dataclasses.dataclass(frozen=True)
class Reference:
    """What domains are measured against."""

    name: str
    mean: Statistic


def measure_shift(arguments: Sequence[str]) -> int:
    """`gen measure-shift`: 0 all read, 1 some files could not be."""
    return run(tyro.cli(MeasureShiftSettings, args=list(arguments), prog="gen measure-shift"))


def run(settings: MeasureShiftSettings) -> int:
    """Measure, write tables and plots, print the table: 0 all read, 1 some files could not be."""
    check_settings(settings)
    folders = find_domains(settings.roots, settings.out)
    check_anchor(settings, folders)
    make_folders(settings)
    survey = Survey(settings)
    domains = [survey.read(folder) for folder in folders]
    reference = survey.read_reference()
    rows = make_rows(domains, reference, settings.relative_to)
    write_tables(settings, survey, rows, domains)
    draw_plots(settings, domains, reference)
    print(as_text(rows))
    print(f"{settings.representation}; IDD from {reference.name if reference else 'no reference'}; [95 % intervals]")
    for note in survey.notes:
        print(f"note: {note}")
    print(f"{len(survey.failed)} files could not be read; tables and plots are in {settings.out}")
    return 1 if survey.failed else 0


def check_settings(settings: MeasureShiftSettings) -> None:
    """Raises `BadSetting` or `BadInput`, before anything is read, for what could not go well."""
    if not settings.roots:
        raise BadSetting("roots: no folder of images is given; name at least one.")
    for name, least in {"pairs": 2, "resamples": 0, "seed": 0, "workers": 1}.items():
        if getattr(settings, name) < least:
            raise BadSetting(f"{name}: {getattr(settings, name)} is too small; it must be at least {least}.")
    if settings.reference == IMAGENET and imagenet_histogram(settings.representation) is None:
        raise BadSetting(
            f"reference: the shipped ImageNet histogram is one of luma; with representation={settings.representation} "
            f"give a folder of images, or none."
        )
    if settings.reference not in (IMAGENET, NONE):
        find_images(Path(settings.reference), settings.out)


def check_anchor(settings: MeasureShiftSettings, folders: Sequence[DomainFolder]) -> None:
    """Raises `BadSetting` if `relative_to` is no domain."""
    names = [folder.name for folder in folders]
    if settings.relative_to is not None and settings.relative_to not in names:
        raise BadSetting(f"relative_to: there is no domain {settings.relative_to!r}; choose one of {', '.join(names)}.")


def make_folders(settings: MeasureShiftSettings) -> None:
    """Raises `BadInput` where nothing can be written: now, and not after an hour of reading."""
    for folder in (settings.out, cache_folder(settings)):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadInput(f"{folder}: the output folder cannot be made ({error.strerror}).") from error
        if not os.access(folder, os.W_OK | os.X_OK):
            raise BadInput(f"{folder}: the output folder cannot be written to; choose another, or change its rights.")


def cache_folder(settings: MeasureShiftSettings) -> Path:
    """Where what was read is kept."""
    return settings.cache or settings.out / "cache"


class Survey:
    """Reads domains one after the other, and remembers what there is to tell of them."""

    def __init__(self, settings: MeasureShiftSettings) -> None:
        self.settings = settings
        self.failed: dict[Path, str] = {}
        self.notes: list[str] = []

    def read(self, folder: DomainFolder) -> Domain:
        """Raises `BadInput` if none of its images can be read."""
        s = self.settings
        reading = read_histograms(folder.root, folder.files, s.representation, cache_folder(s), s.workers)
        if not reading.histograms:
            raise BadInput(f"{folder.root}: not one of the {len(folder.files)} images in it can be read.")
        self.failed |= reading.failed
        classes = by_class(folder.root, reading.histograms)
        self._note_classes(folder.name, classes)
        # From the name, so that a domain has the same numbers in any company, and no two share their draws.
        rng = np.random.default_rng([s.seed, zlib.crc32(folder.name.encode(errors="surrogateescape"))])
        statistics = measure_domain(
            list(classes.values()), rng, pairs=s.pairs, resamples=s.resamples, balanced=s.balanced
        )
        return Domain(folder.name, len(reading.histograms), len(classes), statistics)

    def read_reference(self) -> Reference | None:
        """What IDD is measured against. Raises `BadInput` if it is a folder of which no image can be read."""
        s = self.settings
        if s.reference == NONE:
            return None
        shipped = imagenet_histogram(s.representation)
        if s.reference == IMAGENET and shipped is not None:
            return Reference("ImageNet", fixed(shipped))
        root = Path(s.reference)
        folder = DomainFolder(f"reference {unique_names([root])[0]}", root, find_images(root, s.out))
        return Reference(folder.name, self.read(folder).statistics.mean)

    def _note_classes(self, domain: str, classes: dict[str, Histograms]) -> None:
        small = [name for name, histograms in classes.items() if len(histograms) < FEWEST_IMAGES]
        if list(classes) == ["."]:
            self.notes.append(f"{domain}: no class folders, so all images count as one class.")
        if len(small) == len(classes):
            self.notes.append(f"{domain}: no class has {FEWEST_IMAGES} images, so ICV is not defined.")
        elif small:
            self.notes.append(
                f"{domain}: {len(small)} of {len(classes)} classes have fewer than {FEWEST_IMAGES} images and are "
                f"left out of ICV: {', '.join(small)}."
            )


def by_class(root: Path, histograms: dict[Path, Histogram]) -> dict[str, Histograms]:
    """The rows of each folder that holds images, (images, bins), by its path below `root`; `.` is `root` itself."""
    groups: dict[str, list[Histogram]] = {}
    for file, histogram in histograms.items():
        groups.setdefault(file.parent.relative_to(root).as_posix(), []).append(histogram)
    return {name: np.stack(group) for name, group in groups.items()}


def make_rows(domains: Sequence[Domain], reference: Reference | None, relative_to: str | None) -> list[Row]:
    """The table, a line per domain; the columns of ratio and IDD only where they were asked for."""
    anchor = next((d.statistics.icv for d in domains if d.name == relative_to), None)
    rows: list[Row] = []
    for d in domains:
        row: dict[str, str | int | Estimate] = {"domain": d.name, "images": d.images, "classes": d.classes}
        row |= {"icv": d.statistics.icv.estimate(), "icv_mean": d.statistics.icv_mean.estimate()}
        if anchor:
            row["icv_ratio"] = ratio(d.statistics.icv, anchor).estimate()
        if reference:
            row["idd"] = idd(d.statistics.mean, reference.mean).estimate()
        rows.append(row)
    return rows


def write_tables(
    settings: MeasureShiftSettings, survey: Survey, rows: Sequence[Row], domains: Sequence[Domain]
) -> None:
    """table.csv, and table.json with all that is needed to believe or repeat it."""
    with writing(settings.out / "table.csv") as path:
        path.write_text(as_csv(rows), encoding="utf-8", errors="backslashreplace")
    record: dict[str, Any] = {
        "units": "idd, icv_mean: nats; icv: nats²; _low, _high: 95 % bootstrap interval; null: not defined",
        "domains": [flat(row) for row in rows],
        "pairwise_idd": [
            flat({"a": a.name, "b": b.name, "idd": idd(a.statistics.mean, b.statistics.mean).estimate()})
            for a, b in combinations(domains, 2)
        ],
        "notes": survey.notes,
        "failed": {portable_path(f): error.removeprefix(f"{f}: ") for f, error in survey.failed.items()},
        "settings": portable(settings) | {"roots": [portable_path(root) for root in settings.roots]},
        "versions": versions(("numpy", "pillow", "opencv-python-headless")),
        "machine": machine(torch.device("cpu")),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }
    with writing(settings.out / "table.json") as path:
        path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def portable_path(path: Path) -> str:
    """Relative to where the command runs, so that no table names a home."""
    return Path(os.path.relpath(path)).as_posix()


def draw_plots(settings: MeasureShiftSettings, domains: Sequence[Domain], reference: Reference | None) -> None:
    """scatter.png, where there is a reference, and pairwise.png with the reference as its last line."""
    names, means = [d.name for d in domains], [d.statistics.mean for d in domains]
    scatter = settings.out / "scatter.png"
    scatter.unlink(missing_ok=True)  # an earlier run may have had a reference
    if reference:
        distances = [idd(mean, reference.mean).estimate() for mean in means]
        dots = [Dot(d.name, d.statistics.icv.estimate(), e) for d, e in zip(domains, distances, strict=True)]
        draw_scatter(scatter, dots, reference.name, settings.representation)
        names, means = [*names, reference.name], [*means, reference.mean]
    values = np.array([[idd(a, b).value for b in means] for a in means])
    draw_heat_map(settings.out / "pairwise.png", names, values, settings.representation)
