"""Read image domains, measure ICV and IDD, and write the tables and plots of `gen measure-shift`.

Only statistics of a domain are kept in memory; its histograms are dropped once they are measured.
"""

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
from numpy.typing import NDArray

from gen.errors import BadInput, BadSetting, unknown
from gen.media.files import make_out_folder, writing
from gen.output import output_folder
from gen.provenance import measured_on, portable, versions
from gen.shift.folders import DomainFolder, find_domains, find_images, unique_names
from gen.shift.measures import (
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
from gen.shift.plots import Dot, draw_heat_map, draw_scatter
from gen.shift.representations import Histogram, imagenet_histogram, read_histograms
from gen.shift.settings import IMAGENET, NONE, MeasureShiftSettings
from gen.shift.tables import Row, as_csv, as_text, flat, matrix_as_text


@dataclasses.dataclass(frozen=True)
class Domain:
    """The statistics of one domain."""

    name: str
    images: int
    classes: int
    statistics: DomainStatistics


@dataclasses.dataclass(frozen=True)
class Reference:
    """What IDD is measured from."""

    name: str
    mean: Statistic


def run(settings: MeasureShiftSettings) -> int:
    """Measure, write tables and plots, print the table. Returns 0 if all files were read, 1 if some could not be read.

    Raises `BadSetting` or `BadInput`.
    """
    check_settings(settings)
    folders = find_domains(settings.roots, settings.out)
    check_anchor(settings, folders)
    with output_folder(settings.out):
        return _survey(settings, folders)


def _survey(settings: MeasureShiftSettings, folders: Sequence[DomainFolder]) -> int:
    make_folders(settings)
    survey = Survey(settings)
    domains = [survey.read(folder) for folder in folders]
    reference = survey.read_reference()
    rows = make_rows(domains, reference, settings.relative_to)
    write_tables(settings, survey, rows, domains)
    names, distances = pairwise(domains, reference)
    draw_plots(settings, domains, reference)
    draw_heat_map(settings.out / "pairwise.png", names, distances, settings.representation)
    print(as_text(rows))
    if len(names) > 1:
        print(f"IDD of each from each, nats:\n{matrix_as_text(names, distances.tolist())}")
    print(f"{settings.representation}; IDD from {reference.name if reference else 'no reference'}; [95 % intervals]")
    for note in survey.notes:
        print(f"note: {note}")
    print(f"{len(survey.failed)} files could not be read; wrote tables and plots to {settings.out}")
    return 1 if survey.failed else 0


def check_settings(settings: MeasureShiftSettings) -> None:
    """Check the settings before any image is read. Raises `BadSetting` or `BadInput`."""
    if not settings.roots:
        raise BadSetting("roots: give at least one folder of images.")
    for name, least in {"pairs": 2, "resamples": 0, "seed": 0, "workers": 1}.items():
        if getattr(settings, name) < least:
            raise BadSetting(f"{name} must be at least {least}, not {getattr(settings, name)}.")
    if settings.reference == IMAGENET and imagenet_histogram(settings.representation) is None:
        raise BadSetting(
            f"reference: the shipped ImageNet histogram covers luma only; with "
            f"representation={settings.representation} set it to a folder of images, or to none."
        )
    if settings.reference not in (IMAGENET, NONE):
        find_images(Path(settings.reference), settings.out)


def check_anchor(settings: MeasureShiftSettings, folders: Sequence[DomainFolder]) -> None:
    """Raises `BadSetting` if `relative_to` is not the name of a domain."""
    names = [folder.name for folder in folders]
    if settings.relative_to is not None and settings.relative_to not in names:
        raise BadSetting(f"relative_to: {unknown('domain', settings.relative_to, names)}")


def make_folders(settings: MeasureShiftSettings) -> None:
    """Create the output and cache folders.

    Done before reading, which may take an hour. Raises `BadSetting` if a folder is not writable.
    """
    for folder in (settings.out, settings.cache_folder):
        make_out_folder(folder)


class Survey:
    """Reads domains one after another, and collects notes and unreadable files."""

    def __init__(self, settings: MeasureShiftSettings) -> None:
        self.settings = settings
        self.failed: dict[Path, str] = {}
        self.notes: list[str] = []

    def read(self, folder: DomainFolder) -> Domain:
        """Read and measure one domain. Raises `BadInput` if none of its images can be read."""
        s = self.settings
        reading = read_histograms(folder.root, folder.files, s.representation, s.cache_folder, s.workers)
        if not reading.histograms:
            raise BadInput(f"{folder.root}: none of its {len(folder.files)} images can be read.")
        self.failed |= reading.failed
        classes = by_class(folder.root, reading.histograms)
        self._note_classes(folder.name, classes)
        # Seeded by the name: a domain has the same numbers whatever else is measured, and two domains draw
        # independently, else their sampling noise would cancel in the interval of their IDD.
        rng = np.random.default_rng([s.seed, zlib.crc32(folder.name.encode(errors="surrogateescape"))])
        statistics = measure_domain(
            list(classes.values()), rng, pairs=s.pairs, resamples=s.resamples, balanced=s.balanced
        )
        return Domain(folder.name, len(reading.histograms), len(classes), statistics)

    def read_reference(self) -> Reference | None:
        """The reference, or None. Raises `BadInput` if it is a folder without a readable image."""
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
    """Histograms (images, bins) of each class folder, by its path below `root`; `.` is `root` itself."""
    groups: dict[str, list[Histogram]] = {}
    for file, histogram in histograms.items():
        groups.setdefault(file.parent.relative_to(root).as_posix(), []).append(histogram)
    return {name: np.stack(group) for name, group in groups.items()}


def make_rows(domains: Sequence[Domain], reference: Reference | None, relative_to: str | None) -> list[Row]:
    """One row per domain; the columns icv_ratio and idd only if requested."""
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
    """Write table.csv, and table.json with the settings, versions and machine that are needed to repeat it."""
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
        "machine": measured_on(torch.device("cpu")),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }
    with writing(settings.out / "table.json") as path:
        path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def portable_path(path: Path) -> str:
    """Relative to the working directory, so that no table contains the path of a home directory."""
    return Path(os.path.relpath(path)).as_posix()


def draw_plots(settings: MeasureShiftSettings, domains: Sequence[Domain], reference: Reference | None) -> None:
    """Draw scatter.png, which needs a reference."""
    scatter = settings.out / "scatter.png"
    scatter.unlink(missing_ok=True)  # may be left from an earlier run that had a reference
    if reference:
        distances = [idd(d.statistics.mean, reference.mean).estimate() for d in domains]
        dots = [Dot(d.name, d.statistics.icv.estimate(), e) for d, e in zip(domains, distances, strict=True)]
        draw_scatter(scatter, dots, reference.name, settings.representation)


def pairwise(domains: Sequence[Domain], reference: Reference | None) -> tuple[list[str], NDArray[np.float64]]:
    """Names, and the IDD of each from each in nats; the reference is the last, if there is one."""
    named = [(d.name, d.statistics.mean) for d in domains] + ([(reference.name, reference.mean)] if reference else [])
    names, means = zip(*named, strict=True)
    return list(names), np.array([[idd(a, b).value for b in means] for a in means])
