"""Train the weather classifier's linear layer, and measure it on held-out frames."""

import csv
import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from torch import Tensor

from gen.bars import progress_bar
from gen.devices import pick_device
from gen.errors import BadInput, BadSetting
from gen.formats.json_files import json_if_whole
from gen.loading import loading
from gen.media.left_out import LeftOut
from gen.metrics.distances import list_images, read_batches
from gen.metrics.features import EfficientNetLite0Features
from gen.provenance import fingerprint_file, machine, portable_value
from gen.training.experiment import write_text
from gen.training.model_folder import check_kind, save_model, tell_of_notes
from gen.translation.weather import CLEAR_DAY, WeatherHead, extract
from gen.translation.weather_card import write_card
from gen.translation.weather_settings import WeatherSettings
from gen.weights import CONFIG

FOLDS = 4
"""Folds of the cross-validation."""
GROUP = 15
"""Average number of frames in a group of similar frames."""

Confusion = dict[str, dict[str, int]]
"""True weather -> predicted weather -> number of frames."""


class Source(NamedTuple):
    """The frames of one folder."""

    folder: str
    features: Tensor
    """(N, d)."""
    weathers: list[str]
    """N names."""
    left_out: int = 0
    """Frames that cannot be read."""


def train(settings: WeatherSettings) -> dict[str, Any]:
    """Write the model folder, and return what training.json says. Raises `BadSetting`, `BadInput`."""
    folders = {name: [_named(item) for item in getattr(settings, name)] for name in ("train", "cross", "test")}
    weathers = list(dict.fromkeys(weather for name in ("train", "cross") for weather, _ in folders[name]))
    if CLEAR_DAY not in weathers or len(weathers) < 2:
        raise BadSetting(f"train needs frames of {CLEAR_DAY} and of another weather, for example night=FOLDER.")
    check_kind(settings.out, CONFIG)
    labels = read_labels(settings.labels)
    frames = {
        folder: {path.resolve() for path in list_images(folder)} for part in folders.values() for _, folder in part
    }
    if labels and not labels.keys() & set[Path]().union(*frames.values()):
        raise BadInput(
            f"{settings.labels}: it names no frame of these folders; its column file must hold their paths, relative "
            "to the folder of the CSV file."
        )
    # By content: a copy of a frame, under whatever name, is not held out.
    content = {folder: set(_content(paths)) for folder, paths in frames.items()}
    fitted = set[str]().union(*(content[folder] for _, folder in folders["train"]))
    for _, folder in folders["cross"]:
        if not fitted.isdisjoint(content[folder]):
            raise BadSetting(
                f"cross: frames of {folder} are among those of train too, so its numbers would not be of held-out "
                "frames; give them once."
            )
    device = pick_device(settings.device)
    network = EfficientNetLite0Features().to(device)
    given, cross, test = (
        [read_source(network, weather, folder, labels, weathers) for weather, folder in folders[name]]
        for name in ("train", "cross", "test")
    )
    used = fitted.union(*(content[folder] for _, folder in folders["cross"]))
    head = fit([*given, *cross], weathers, settings.decay)
    record: dict[str, Any] = {
        "weathers": weathers,
        "decay": settings.decay,
        "weights_license": settings.weights_license,
        "labels": settings.labels and portable_value(settings.labels),
        "train": {source.folder: dict(Counter(source.weathers)) for source in given},
        "cross": {source.folder: dict(Counter(source.weathers)) for source in cross},
        "test": {source.folder: confusion(head, [source]) for source in test},
        "trained_on": [
            str(portable_value(folder)) for _, folder in folders["test"] if not used.isdisjoint(content[folder])
        ],
        "held out groups": cross_confusion(given, cross, weathers, settings.decay),
        "other cameras": confusion(fit(given, weathers, settings.decay), cross) if cross else {},
        "hardware": machine(device),
    }
    if left_out := {s.folder: s.left_out for s in (*given, *cross, *test) if s.left_out}:
        record["left_out"] = left_out
    before = json_if_whole(settings.out / "training.json")
    tell_of_notes(settings.out, *({*of.get("train", ()), *of.get("cross", ())} for of in (before, record)))
    save_model(settings.out, head.save_pretrained, CONFIG)
    write_text(settings.out / "training.json", json.dumps(record, indent=2) + "\n")
    write_card(settings.out)
    return record


def _named(item: str) -> tuple[str, Path]:
    weather, _, folder = item.partition("=")
    if not weather or not folder:
        raise BadSetting(f"{item!r} must be WEATHER=FOLDER, for example night=driving/train/night.")
    return weather, Path(folder)


def _content(paths: Iterable[Path]) -> Iterator[str]:
    """A fingerprint of each file that can be read."""
    for path in paths:
        with suppress(OSError):  # it is left out where its features are read
            yield fingerprint_file(path)


def read_labels(path: Path | None) -> dict[Path, str]:
    """The labels of single frames, by their resolved path. Raises `BadInput` for a file without the two columns."""
    if path is None:
        return {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets begin it with a mark
            return {(path.parent / row["file"]).resolve(): row["weather"] for row in csv.DictReader(file)}
    except (OSError, KeyError, ValueError) as error:
        raise BadInput(f"{path}: the labels must be a CSV file with the columns file and weather ({error}).") from error


def read_source(
    network: EfficientNetLite0Features, weather: str, folder: Path, labels: Mapping[Path, str], weathers: Iterable[str]
) -> Source:
    """Features of a folder's frames, each with its own label if it has one; unreadable frames are left out."""
    named = [(path, label_of(weather, labels.get(path.resolve()), weathers)) for path in list_images(folder)]
    kept = [(path, label) for path, label in named if label is not None]
    if not kept:
        raise BadInput(f"{folder}: the labels leave out every frame of this folder.")
    left_out, device = LeftOut(), next(network.parameters()).device
    batches = read_batches([path for path, _ in kept], left_out=left_out)
    bar = progress_bar(batches, desc=folder.as_posix(), total=math.ceil(len(kept) / 8), leave=False)
    features = torch.cat([extract(network, batch.to(device)).cpu() for batch in bar])
    return Source(
        portable_value(folder), features, [label for path, label in kept if path not in left_out], len(left_out)
    )


def label_of(folder: str, seen: str | None, weathers: Iterable[str]) -> str | None:
    """The label of a frame in a folder of weather `folder` that a person labelled `seen`; None: leave the frame out.

    Labels only replace the weather of day folders: a rainy night counts as night.
    """
    if seen == "twilight":
        return None
    if folder != CLEAR_DAY or seen in (None, "clear"):
        return folder
    return seen if seen in weathers else None


def fit(sources: Sequence[Source], weathers: Sequence[str], decay: float) -> WeatherHead:
    """Minimise cross-entropy plus `decay` times the squared weights by L-BFGS, which is a convex problem.

    Features are standardised for the fit. Every weather has the same total weight, however many frames it has.
    """
    features = torch.cat([source.features for source in sources])
    labels = torch.tensor([weathers.index(name) for source in sources for name in source.weathers])
    counts = torch.bincount(labels, minlength=len(weathers))
    weights = 1 / (counts[labels] * int((counts > 0).sum()))
    mean, std = features.mean(dim=0), features.std(dim=0) + 1e-3
    standardised = (features - mean) / std
    weight = torch.zeros(len(weathers), features.shape[1], requires_grad=True)
    bias = torch.zeros(len(weathers), requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> float:
        optimiser.zero_grad()
        errors = F.cross_entropy(F.linear(standardised, weight, bias), labels, reduction="none")
        value = (weights * errors).sum() + decay * weight.square().sum()
        value.backward()
        return float(value.detach())

    optimiser.step(loss)
    with loading:
        head = WeatherHead(list(weathers), features.shape[1])
    with torch.no_grad():
        head.linear.weight.copy_(weight / std)
        head.linear.bias.copy_(bias - (weight / std) @ mean)
    return head.eval()


@torch.no_grad()
def confusion(head: WeatherHead, sources: Sequence[Source]) -> Confusion:
    """Confusion matrix of these sources."""
    names = list(head.config["weathers"])
    table: dict[str, Counter[str]] = defaultdict(Counter)
    for source in sources:
        for truth, best in zip(source.weathers, head(source.features).argmax(dim=1).tolist(), strict=True):
            table[truth][names[best]] += 1
    return {truth: {name: row[name] for name in names} for truth, row in table.items()}


def cross_confusion(
    given: Sequence[Source], cross: Sequence[Source], weathers: Sequence[str], decay: float
) -> Confusion:
    """Confusion matrix by cross-validation: each frame is classified by a layer that was not fitted to its fold."""
    folds = [torch.from_numpy(groups(source.features)) % FOLDS for source in cross]
    total: dict[str, Counter[str]] = defaultdict(Counter)
    for fold in range(FOLDS) if cross else ():
        seen = [s for source, f in zip(cross, folds, strict=True) for s in _part(source, f != fold)]
        held = [s for source, f in zip(cross, folds, strict=True) for s in _part(source, f == fold)]
        for truth, row in confusion(fit([*given, *seen], weathers, decay), held).items():
            total[truth].update(row)
    return {truth: {name: row[name] for name in weathers} for truth, row in total.items()}


def _part(source: Source, mask: Tensor) -> Iterator[Source]:
    if mask.any():
        kept = [name for name, take in zip(source.weathers, mask.tolist(), strict=True) if take]
        yield Source(source.folder, source.features[mask], kept)


def groups(features: Tensor) -> NDArray[np.int64]:
    """Group numbers (N,) by Ward's clustering of the features, `GROUP` frames each on average.

    Groups stand in for drives, which file names do not tell: frames of one place and time fall into one group.
    Numbers are shuffled, so that the number modulo `FOLDS` mixes similar and different groups.
    """
    count = max(FOLDS, len(features) // GROUP)
    found = fcluster(linkage(features.numpy(), "ward"), count, "maxclust") - 1
    return np.random.default_rng(0).permutation(int(found.max()) + 1)[found]
