"""Train the weather classifier's one layer, and measure it on frames that it has not seen."""

import csv
import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from torch import Tensor
from tqdm import tqdm

from gen.errors import BadInput, BadSetting
from gen.metrics.distances import list_images, read_batches
from gen.metrics.features import EfficientNetLite0Features
from gen.provenance import machine
from gen.translation.weather import CLEAR_DAY, WeatherHead, extract
from gen.translation.weather_card import write_card
from gen.translation.weather_settings import WeatherSettings

FOLDS = 4
"""Parts that the groups of `cross` folders are dealt into."""
GROUP = 15
"""Frames that a group of look-alikes has on average."""

Confusion = dict[str, dict[str, int]]
"""True weather -> weather seen -> number of frames."""


class Source(NamedTuple):
    """The frames of one folder."""

    folder: str
    features: Tensor
    """(N, d)."""
    weathers: list[str]
    """N names."""


def train(settings: WeatherSettings) -> dict[str, Any]:
    """Write the model folder, and return what training.json says. Raises `BadSetting`, `BadInput`."""
    folders = {name: [_named(item) for item in getattr(settings, name)] for name in ("train", "cross", "test")}
    weathers = list(dict.fromkeys(weather for name in ("train", "cross") for weather, _ in folders[name]))
    if CLEAR_DAY not in weathers or len(weathers) < 2:
        raise BadSetting(f"train: give frames of {CLEAR_DAY} and of one more weather at least, as in night=FOLDER.")
    labels = read_labels(settings.labels)
    network = EfficientNetLite0Features()
    given, cross, test = (
        [read_source(network, weather, folder, labels, weathers) for weather, folder in folders[name]]
        for name in ("train", "cross", "test")
    )
    head = fit([*given, *cross], weathers, settings.decay)
    record: dict[str, Any] = {
        "weathers": weathers,
        "decay": settings.decay,
        "labels": settings.labels and settings.labels.as_posix(),
        "train": {source.folder: dict(Counter(source.weathers)) for source in given},
        "cross": {source.folder: dict(Counter(source.weathers)) for source in cross},
        "test": {source.folder: confusion(head, [source]) for source in test},
        "held out groups": cross_confusion(given, cross, weathers, settings.decay),
        "other cameras": confusion(fit(given, weathers, settings.decay), cross) if cross else {},
        "hardware": machine(torch.device("cpu")),
    }
    head.save_pretrained(settings.out)
    (settings.out / "training.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    write_card(settings.out)
    return record


def _named(item: str) -> tuple[str, Path]:
    weather, _, folder = item.partition("=")
    if not weather or not folder:
        raise BadSetting(f"{item!r}: give WEATHER=FOLDER, for example night=driving/train/night.")
    return weather, Path(folder)


def read_labels(path: Path | None) -> dict[Path, str]:
    """The weather of single frames, by their resolved path. Raises `BadInput` for a file that is not such a table."""
    if path is None:
        return {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return {(path.parent / row["file"]).resolve(): row["weather"] for row in csv.DictReader(file)}
    except (OSError, KeyError, ValueError) as error:
        raise BadInput(f"{path}: a table with the columns file and weather is needed ({error}).") from error


def read_source(
    network: EfficientNetLite0Features, weather: str, folder: Path, labels: Mapping[Path, str], weathers: Iterable[str]
) -> Source:
    """Features of a folder's frames, each under its own label where it has one."""
    named = [(path, label_of(weather, labels.get(path.resolve()), weathers)) for path in list_images(folder)]
    kept = [(path, label) for path, label in named if label is not None]
    if not kept:
        raise BadInput(f"{folder}: the labels leave no frame of it.")
    frames = tqdm(read_batches([path for path, _ in kept]), folder.as_posix(), math.ceil(len(kept) / 8), leave=False)
    features = torch.cat([extract(network, batch) for batch in frames])
    return Source(folder.as_posix(), features, [label for _, label in kept])


def label_of(folder: str, seen: str | None, weathers: Iterable[str]) -> str | None:
    """The weather of a frame in a folder of that weather where a person has `seen` another; None: neither is sure.

    By day rain is another weather than clear; a rainy night is a night.
    """
    if seen == "twilight":
        return None
    if folder != CLEAR_DAY or seen in (None, "clear"):
        return folder
    return seen if seen in weathers else None


def fit(sources: Sequence[Source], weathers: Sequence[str], decay: float) -> WeatherHead:
    """The layer with the least cross-entropy plus `decay` times its squared weights, by L-BFGS: a convex problem.

    Features are standardised for the fit. All weathers weigh the same, and so do all frames of a weather.
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
    head = WeatherHead(list(weathers), features.shape[1])
    with torch.no_grad():
        head.linear.weight.copy_(weight / std)
        head.linear.bias.copy_(bias - (weight / std) @ mean)
    return head.eval()


@torch.no_grad()
def confusion(head: WeatherHead, sources: Sequence[Source]) -> Confusion:
    """What the frames of these sources are taken for."""
    names = list(head.config["weathers"])
    table: dict[str, Counter[str]] = defaultdict(Counter)
    for source in sources:
        for truth, best in zip(source.weathers, head(source.features).argmax(dim=1).tolist(), strict=True):
            table[truth][names[best]] += 1
    return {truth: {name: row[name] for name in names} for truth, row in table.items()}


def cross_confusion(
    given: Sequence[Source], cross: Sequence[Source], weathers: Sequence[str], decay: float
) -> Confusion:
    """What each frame of `cross` is taken for by a layer that has seen no frame of its fold, so none of its group."""
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
    """Numbers (N,) of groups that look alike, `GROUP` frames each on average: Ward's clustering of the features.

    It stands in for drives where file names do not tell them: frames of one place and time fall into one group.
    Groups are numbered at random, so that a number modulo `FOLDS` mixes near and far ones.
    """
    count = max(FOLDS, len(features) // GROUP)
    found = fcluster(linkage(features.numpy(), "ward"), count, "maxclust") - 1
    return np.random.default_rng(0).permutation(int(found.max()) + 1)[found]
