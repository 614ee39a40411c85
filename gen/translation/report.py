"""report.json: the outcome for every file of an output folder, over all runs."""

import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from gen.media.files import writing
from gen.media.folders import Kind, Stamp
from gen.media.walk import describe_left_out
from gen.translation.foreign import is_report
from gen.translation.made_with import model_in, same_text
from gen.weights import licence_of

Status = Literal["done", "skipped", "left", "failed"]
"""Translated now; translated by an earlier run; copied unchanged, because no model fits; failed."""

REPORT = "report.json"
MAX_KINDS = 10
"""Kinds of warning that a summary names; the report has all."""

MEASURED = (
    "seconds",
    "runtime",
    "width",
    "height",
    "frames",
    "mean_uncertainty",
    "p95_uncertainty",
    "mean_invented",
    "p95_invented",
    "flicker",
    "left_out",
    "warnings",
)
"""Values of an entry that a later run, which skips the file, keeps."""

BEFORE = "before"
"""In the entry of a job that was cut off or failed: the entry of the output that it was to replace. What that says was
measured stays true while the output is still there."""

SAID = {"done": "done", "skipped": "finished before", "left": "not translated", "failed": "failed"}
"""What `summary` calls each status."""


@dataclass
class Entry:
    """The result for one file."""

    input: str
    output: str
    kind: Kind
    status: Status
    made_with: str
    """Model, direction and settings that the result depends on. All files of a folder must agree in it."""
    seconds: float = 0.0
    """Of a picture: decoding, its share of the batch's time in the network, and encoding, without waiting in between.
    Of a clip: from its opening to its end."""
    runtime: str | None = None
    """What computed the network: torch, onnx or openvino. Of a clip: of its end, because torch takes over where
    memory is too short."""
    width: int | None = None
    """Of the translation, as are height and frames; None if none was made."""
    height: int | None = None
    frames: int | None = None
    mean_uncertainty: float | None = None
    """Mean cycle uncertainty b, in grey levels, if that map was made."""
    p95_uncertainty: float | None = None
    mean_invented: float | None = None
    """Mean share invented, 0..1, if the invention map was made."""
    p95_invented: float | None = None
    flicker: dict[str, float] | None = None
    """Warp errors of a clip, in grey levels, and its E_warp, in squares of 0..1; see gen.metrics.flicker."""
    error: str | None = None
    weather: str | None = None
    """Weather that the classifier saw, if it chose the model."""
    probability: float | None = None
    """The classifier's probability of that weather, 0 to 1."""
    classifier: str | None = None
    """`WeatherClassifier.fingerprint`: another classifier may see another weather."""
    note: str | None = None
    """Why the file was copied unchanged."""
    left_out: list[str] = field(default_factory=list[str])
    """What the output lacks of the input: tracks, chapters, metadata blocks, each in a few words."""
    warnings: list[str] = field(default_factory=list[str])
    """Faults of the input that the output works around, each a sentence: damaged frames, a sound that is unknown."""
    sides: list[str] = field(default_factory=list[str])
    """Kinds of the files written beside the output: map, overlay or raw, and compare."""
    input_path: str | None = None
    """Absolute path of the input, which may have been given relative to a folder, or through a link."""
    input_bytes: int | None = None
    """Size of the input when it was read."""
    input_mtime_ns: int | None = None
    """Modification time of the input when it was read, in nanoseconds since 1970."""
    input_sha256: str | None = None
    """Hash of the input's content, if the settings ask for it."""
    output_bytes: int | None = None
    """Size of the finished output, by which a later run sees that another file lies under its name."""

    @property
    def stamp(self) -> Stamp | None:
        """The input's size and time; None if they are unknown."""
        if self.input_bytes is None or self.input_mtime_ns is None:
            return None
        return Stamp(self.input_bytes, self.input_mtime_ns)


@dataclass
class Report:
    """The results for every file of a run."""

    settings: dict[str, object]
    entries: list[Entry] = field(default_factory=list[Entry])
    left_out: dict[str, str] = field(default_factory=dict[str, str])
    """Files of the input folder that the run does not read, by path inside it, with the reason."""
    warnings: list[str] = field(default_factory=list[str])
    """Sentences that concern the run as a whole."""
    licences: dict[str, str] = field(default_factory=dict[str, str])
    """What may be done with the pictures of this run, by model; the file also has those of earlier runs."""
    stopped: str | None = None
    """Why the run ended before its last file; None if it did not."""
    _positions: dict[str, int] = field(default_factory=dict[str, int])

    def add(self, entry: Entry) -> None:
        """Add a file's result. It replaces one that the same run has for the same output."""
        position = self._positions.setdefault(entry.output, len(self.entries))
        self.entries[position : position + 1] = [entry]

    def drop(self, output: Path) -> None:
        """Forget the result for an output that is there no more."""
        self.entries = [entry for entry in self.entries if entry.output != str(output)]
        self._positions = {entry.output: position for position, entry in enumerate(self.entries)}

    def lists(self, output: Path) -> bool:
        """Whether this run has a result for the output."""
        return str(output) in self._positions

    def count(self, status: str) -> int:
        """Number of files with this status."""
        return sum(entry.status == status for entry in self.entries)

    def summary(self) -> str:
        """How many files have each status, in words."""
        counts = {status: self.count(status) for status in SAID}
        return ", ".join(f"{count} {SAID[status]}" for status, count in counts.items() if count or status != "left")

    def notes(self) -> dict[str, int]:
        """Number of files for each note."""
        return dict(Counter(entry.note for entry in self.entries if entry.note))

    def weathers(self) -> str | None:
        """How many files show each weather, in words; None if nobody has looked."""
        counts = Counter(entry.weather for entry in self.entries if entry.weather)
        ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        return "weather: " + ", ".join(f"{count} {name}" for name, count in ordered) if counts else None

    def invented(self) -> str | None:
        """How much of the files was made up, in words; None if no map says."""
        known = [(entry.mean_invented, entry.output) for entry in self.entries if entry.mean_invented is not None]
        if not known:
            return None
        mean, (most, output) = sum(share for share, _ in known) / len(known), max(known)
        return f"made up: {mean:.0%} of a frame on average, most in {output} ({most:.0%})"

    def runtimes(self) -> str | None:
        """What computed the networks of this run, in words; None if it was torch alone."""
        used = sorted({entry.runtime for entry in self.entries if entry.status == "done" and entry.runtime} - {"torch"})
        return f"computed by {' and '.join(used)}, not torch" if used else None

    def remarks(self) -> Iterator[str]:
        """What the outputs lack and what went wrong on the way, each kind once with its number of files, and one."""
        yield from describe_left_out(self.left_out)
        yield from (f"warning: {words}" for words in self.warnings)
        for title, found in (
            ("left out", [(words, entry.input) for entry in self.entries for words in entry.left_out]),
            ("warning", [(words, entry.input) for entry in self.entries for words in entry.warnings]),
        ):
            counts, first = Counter(words for words, _ in found), dict(reversed(found))
            for words, count in counts.most_common(MAX_KINDS):
                where = f"{count} files, for example {first[words]}" if count > 1 else first[words]
                yield f"{title}: {words} ({where})" if len(self.entries) > 1 else f"{title}: {words}"
            if len(counts) > MAX_KINDS:
                yield f"{title}: {len(counts) - MAX_KINDS} more kinds, see the report"

    def write(self, path: Path, earlier: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        """Write as JSON, with the entries of earlier runs whose files are still there.

        `earlier`: these entries by path; None: those that `earlier_entries` finds. A skipped file keeps its earlier
        measurements. Raises `BadInput` if the file cannot be written.
        """
        if earlier is None:
            earlier = earlier_entries(path)
        files: dict[str, dict[str, Any]] = {}
        for entry in self.entries:
            name = inside(entry.output, path.parent)
            old = earlier.get(name, {})
            known = old.get("status") not in (None, "failed") and same_text(str(old.get("made_with")), entry.made_with)
            if entry.status == "skipped" and known:  # not of a file that was copied over the one that was measured
                keep_measured(entry, old)
            files[name] = entry_json(entry, path.parent)
            if entry.status == "failed" and BEFORE in old:
                files[name][BEFORE] = old[BEFORE]
        kept = [
            {"path": name, **old}
            for name, old in earlier.items()
            if name not in files and _still_there(name, old, path.parent)
        ]
        everything = [*files.values(), *kept]
        totals = {status: sum(file.get("status") == status for file in everything) for status in get_args(Status)}
        about = self._about(path)
        about["licences"] = _licences_of(everything, _joined(_earlier_licences(path), self.licences, kept))
        record = {"totals": totals, "settings": about.pop("settings"), "files": everything, **about}
        with writing(path) as partial:
            partial.write_text(dump(record, indent=1), encoding="utf-8")

    def _about(self, path: Path) -> dict[str, Any]:
        """What the report says of the run. A run of a part of the folder adds to what is said of the folder's run."""
        own = {name: getattr(self, name) for name in ("settings", "left_out", "warnings", "stopped")}
        source, part = self.settings.get("input"), inside(str(self.settings.get("output", path.parent)), path.parent)
        single = isinstance(source, Path) and source.is_file()
        if path.name != REPORT or (part == "." and not single):
            return own
        try:
            report = json.loads(path.read_text(encoding="utf-8"))
            old = {name: report[name] for name in own}
            if single and Path(str(old["settings"]["input"])).is_file():
                return own
            elsewhere = {name: why for name, why in old["left_out"].items() if not name.startswith(f"{part}/")}
            here = {f"{part}/{name}": why for name, why in self.left_out.items()}
            warnings = list(dict.fromkeys([*old["warnings"], *self.warnings]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):  # none, or not one of ours
            return own
        return {
            **old,
            "left_out": elsewhere | here,
            "warnings": warnings,
            "stopped": self.stopped or old["stopped"],
        }


def _earlier_licences(path: Path) -> dict[str, str]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))["licences"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):  # none, or one of version 0.1, or not of ours
        return {}


def _joined(before: Mapping[str, str], now: Mapping[str, str], kept: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Licences by model; both of them where pictures stay that a model of another licence made under the same name."""
    joined = {**before, **now}
    stay = {model for file in kept if (model := model_in(str(file.get("made_with"))))}
    for model in stay & before.keys() & now.keys():
        new, old = now[model], before[model]
        joined[model] = old if new in old else f"{new} Of pictures of earlier runs: {old}"
    return joined


def _licences_of(files: Iterable[Mapping[str, Any]], known: Mapping[str, str]) -> dict[str, str]:
    """What may be done with the pictures of these entries, of earlier runs too, by model. `known`: as recorded."""
    models = {model_in(made) for made in {str(file.get("made_with")) for file in files}}
    found = {model: known.get(model) or licence_of(model) for model in sorted(filter(None, models))}
    return {model: licence for model, licence in found.items() if licence}


def keep_measured(entry: Entry, old: Mapping[str, Any]) -> None:
    """Give an entry what an earlier entry of the same output says was measured."""
    for value in MEASURED:
        setattr(entry, value, old.get(value, getattr(entry, value)))


def _still_there(name: str, old: Mapping[str, Any], folder: Path) -> bool:
    """Whether an earlier entry still says something: its output exists or, if it failed, its input does."""
    failed = old.get("status") == "failed"
    source = name_in(old, "input_path") or str(old.get("input"))  # the latter may be relative to another folder
    return (folder / name).is_file() or (failed and Path(source).exists())


def inside(output: str | Path, folder: Path) -> str:
    """An output's path inside the output folder, with "/" between its parts; as it is, if it lies elsewhere."""
    prefix = f"{folder}{os.sep}"
    if str(output).startswith(prefix):  # as planned; quick, because reports may have 100,000 files
        return str(output).removeprefix(prefix).replace(os.sep, "/")
    for spelt in (os.path.abspath, os.path.realpath):  # the latter: a link elsewhere may lead into the folder
        path, root = Path(spelt(output)), Path(spelt(folder))
        if path.is_relative_to(root):
            return path.relative_to(root).as_posix()
    return str(output)


def entry_json(entry: Entry, folder: Path) -> dict[str, Any]:
    """The entry as the report has it: first its path inside the output folder.

    A name that is no UTF-8 cannot be written as JSON text. `path`, `input` and `input_path` then have backslashes for
    the odd bytes, and `path_hex`, `input_hex` and `input_path_hex` the true bytes in hexadecimal digits.
    """
    names = {"path": inside(entry.output, folder), "input": entry.input, "input_path": entry.input_path or ""}
    odd = {f"{key}_hex": os.fsencode(name).hex() for key, name in names.items() if plain(name) != name}
    return {"path": names["path"], **odd, **asdict(entry)}


def plain(text: str) -> str:
    """Text that can be written as UTF-8: backslashes stand for what cannot, the odd bytes of file names."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def dump(value: object, indent: int | None = None) -> str:
    """JSON text. NaN and infinities, which JSON lacks, become null; paths become strings."""
    return json.dumps(_clean(value), indent=indent, ensure_ascii=False, allow_nan=False)


def _clean(value: object) -> object:
    if isinstance(value, Mapping):
        return {plain(str(key)): _clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, int) else plain(str(value))


def earlier_entries(path: Path) -> dict[str, dict[str, Any]]:
    """The entries of a report by their path inside the output folder; {} if there is no report of gen."""
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):  # none, or not one of ours
        return {}
    if not is_report(report):
        return {}
    return entries_by_path(report["files"], path.parent, str(report["settings"].get("output", "")))


def entries_by_path(files: Iterable[Any], folder: Path, out: str = "") -> dict[str, dict[str, Any]]:
    """Entries as they are on disk, by their path inside the output folder; what is no entry is left out."""
    found: dict[str, dict[str, Any]] = {}
    for file in files:
        try:
            found[path_of(file, folder, out)] = dict(file)
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return found


def renamed(entry: Mapping[str, Any], path: str) -> dict[str, Any]:
    """An entry with another path, as it stands in the report of another folder."""
    odd = {"path_hex": os.fsencode(path).hex()} if plain(path) != path else {}
    return {**{key: value for key, value in entry.items() if key != "path_hex"}, "path": path, **odd}


def name_in(file: Mapping[str, Any], key: str) -> str | None:
    """A file name of an entry as the file system has it; None if the entry has none."""
    name, digits = file.get(key), file.get(f"{key}_hex")
    if isinstance(digits, str):
        return os.fsdecode(bytes.fromhex(digits))
    return name if isinstance(name, str) else None


def path_of(file: Mapping[str, Any], folder: Path, out: str = "") -> str:
    """The path of a report's entry inside the output folder.

    `out`: the output folder as the report's run was given it. Reports of version 0.1 have only the output's path, which
    begins with it; it may have been relative to another working directory.
    """
    if (path := name_in(file, "path")) is not None:
        return path
    output = Path(file["output"])
    if out and output == Path(out):  # a single file
        return output.name
    return output.relative_to(out).as_posix() if out and output.is_relative_to(out) else inside(output, folder)
