"""Measure translators on real frames: distance to the target domain, structure, detections, calibration, flicker."""

import filecmp
import json
import logging
import math
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gen import weights
from gen.augan import seen
from gen.augan.arguments import EvaluateSettings
from gen.augan.direction_evaluation import DirectionEvaluation
from gen.augan.evaluation_record import FILE_NAME, check_own, how_measured, identity
from gen.augan.invention import FOLDER
from gen.augan.measures import Measures, feature_networks, load_spaces
from gen.augan.rows import BASELINES, able, model_folders, translators
from gen.augan.sheet import BACK_SHEET_NAME, RENDERED_SHEET_NAME, SHEET_NAME, SHEETS, remove_old_sheets, save_sheet
from gen.devices import pick_device
from gen.errors import BadInput, BadSetting
from gen.formats.json_files import json_if_whole
from gen.media.files import write_atomically
from gen.media.left_out import LeftOut
from gen.media.motion import FlickerFilter, MotionFinder, farneback
from gen.media.video import ClipReader
from gen.metrics import rivals
from gen.metrics.detection import Detector
from gen.metrics.distances import list_images, read_batches, read_frame
from gen.metrics.flicker import FlickerMeter
from gen.metrics.paired import PairedScores, load_perceptual
from gen.output import output_folder
from gen.seeds import check_seed
from gen.translation import registry
from gen.translation.pipeline import TranslationPipeline
from gen.translation.settings import STEADY, parse_resolution

CLIP_MEMORY = 0.5
"""Seconds over which normalisation statistics are averaged in a clip; the default of `gen translate`."""
FLICKER_WIDTH = 480
"""Width in pixels of the frames in which flicker is measured."""

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
        result = measure_all(settings, folder, device, out) | how_measured(settings, measured, device) | known
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


def model_folder(settings: EvaluateSettings) -> Path:
    """The model's folder. Raises `BadSetting` as `check_own`."""
    check_own(settings.model, settings.out)
    return weights.fetch(weights.resolve(settings.model))


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
