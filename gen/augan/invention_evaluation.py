"""Evaluate the invention map: against the truth on rendered streets, and by indirect measures on real frames."""

import json
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from kornia.filters import box_blur
from numpy.typing import NDArray
from torch import Tensor

from gen.augan.degrade import degrade_at_random
from gen.augan.evaluation_record import FILE_NAME, check_own, identity
from gen.augan.held_out import Streets
from gen.augan.invention import FOLDER, local_deviation
from gen.augan.invention_calibration import PIXEL_STEP
from gen.augan.invention_losses import absolute_error, share_invented
from gen.augan.invention_settings import InventionEvaluation
from gen.augan.invention_training import model_folder
from gen.augan.pipeline import AUGANPipeline
from gen.augan.seen import is_unknown, was_used
from gen.bars import progress_bar
from gen.devices import pick_device
from gen.errors import BadSetting
from gen.markdown import markdown_table
from gen.media.files import write_atomically
from gen.media.left_out import LeftOut
from gen.media.resize import luma, resize, to_float, to_uint8
from gen.metrics.calibration import rank_correlation, sparsification
from gen.metrics.detection import FOUND_SCORE, Detector, invented
from gen.metrics.distances import list_images, read_batches
from gen.output import output_folder
from gen.provenance import measured_on, portable
from gen.seeds import check_seed
from gen.translation.pipeline import Maps

CRUSHED = 8
"""Grey level of luma below which a pixel counts as black."""
DECILES = 10
Floats = NDArray[np.float64]


def evaluate(settings: InventionEvaluation) -> dict[str, Any]:
    """Measure, write `evaluation.json` and return its content.

    Raises `BadSetting` for a model without an invention map and for a detector without real frames, `BadInput` for
    folders that lack frames and for an invalid detector file.
    """
    check_seed(settings.seed)
    check_own(settings.model, settings.out)
    if settings.detector is not None and settings.real is None:
        raise BadSetting("detector: needs real frames; set real to a folder of them.")
    detector = Detector(settings.detector) if settings.detector is not None else None
    folder = model_folder(settings.model)
    weights = identity(folder)  # before hours in which the model may be exported again
    pipeline = AUGANPipeline.from_pretrained(folder)
    if pipeline.invention is None:
        raise BadSetting(
            f"model: {folder} has no invention map; make one with gen train-invention and gen export-invention."
        )
    pipeline.to(pick_device(settings.device))
    out = settings.out or folder / FOLDER
    with output_folder(out):
        return _measured(pipeline, settings, weights, out, detector)


def _measured(
    pipeline: AUGANPipeline, settings: InventionEvaluation, weights: str, out: Path, detector: Detector | None
) -> dict[str, Any]:
    left_out, folder = LeftOut(), model_folder(settings.model)
    trained, frames = (folder, folder / FOLDER), settings.rendered / "adverse"
    seen = any(was_used(frames, model) for model in trained)
    unknown = any(is_unknown([frames], model) for model in trained)
    result: dict[str, Any] = {"rendered": on_rendered(pipeline, settings, left_out)}
    if settings.real is not None:
        result["real"] = on_real(pipeline, settings.real, settings, left_out)
        if detector is not None:
            result["objects"] = on_objects(pipeline, settings.real, detector, settings.limit, left_out)
    result |= {"trained_on": ["rendered"]} if seen else {"training_unknown": ["model"]} if unknown else {}
    if left_out:
        result["left_out"] = len(left_out)
    result |= {
        "settings": portable(settings),
        "weights": weights,
        "machine": measured_on(pipeline.device),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }
    with write_atomically(out / FILE_NAME) as path:
        path.write_text(json.dumps(result, indent=2) + "\n")
    return result


# Against the truth.


def on_rendered(pipeline: AUGANPipeline, settings: InventionEvaluation, left_out: LeftOut) -> dict[str, Any]:
    """By weather, for degraded and undegraded frames: ranking and reliability of each map.

    Images that cannot be read are added to `left_out`, here and below.
    """
    streets = Streets(settings.rendered, settings.limit)
    rankings: dict[str, dict[str, Ranking]] = defaultdict(lambda: {k: Ranking() for k in ("degraded", "as rendered")})
    for index, path, frame, truth, other_days in streets.frames("rendered"):
        poor = degrade_at_random(frame[0], seed=settings.seed * 100_003 + index, spared=0.0)[None]
        for how, source in (("degraded", poor), ("as rendered", frame)):
            pixels = to_uint8(source).permute(0, 2, 3, 1)
            translated, maps = pipeline.translate_with_maps(pixels, "adverse_to_normal")
            translated = to_float(translated.permute(0, 3, 1, 2))
            actual = {
                "error": absolute_error(translated, truth)[0, 0],
                "share": share_invented(translated, truth, other_days)[0, 0],
            }
            rankings[path.parent.name][how].add(predictions(source, maps), actual)
    left_out |= streets.left_out
    return {weather: {how: r.result() for how, r in kinds.items()} for weather, kinds in rankings.items()}


def predictions(source: Tensor, maps: Maps) -> dict[str, Tensor]:
    """All maps (H, W) to compare: both invention maps, the cycle uncertainty, and two baselines."""
    baselines = {
        "darkness": 127.5 - luma(source)[0, 0] * 127.5,
        "noise": local_deviation(source)[0, 0],
    }
    ours = {"error": maps.expected_error, "share": maps.invented, "cycle": maps.cycle}
    return {name: values[0].cpu() for name, values in ours.items() if values is not None} | baselines


class Ranking:
    """How well maps rank the pixels of each frame by the true value, and the reliability of the invention map."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, list[dict[str, float]]]] = {
            "error": defaultdict(list),
            "share": defaultdict(list),
        }
        self.pixels: dict[str, list[tuple[Floats, Floats]]] = {"error": [], "share": []}

    def add(self, predicted: Mapping[str, Tensor], actual: Mapping[str, Tensor]) -> None:
        """Add one frame: maps and true values, (H, W) each. The maps "error" and "share" predict those values."""
        for target, truth in actual.items():
            for name, values in predicted.items():
                if name in (target, "cycle", "darkness", "noise"):
                    self.rows[target]["invention" if name == target else name].append(rank(values, truth))
            flat = [x.double().numpy().ravel()[::PIXEL_STEP] for x in (predicted[target], truth)]
            self.pixels[target].append((flat[0], flat[1]))

    def result(self) -> dict[str, Any]:
        """By target: ranking of each map, averaged over frames, and the reliability table over all pixels."""
        return {
            target: {
                "maps": {name: mean_of(frames) for name, frames in maps.items()},
                "reliability": reliability(*(np.concatenate(x) for x in zip(*self.pixels[target], strict=True))),
            }
            for target, maps in self.rows.items()
        }


def rank(predicted: Tensor, actual: Tensor) -> dict[str, float]:
    """Spearman's rho, AUSE, and AUSE of a random ranking, from (H, W) each."""
    p, a = predicted.double().numpy(), actual.double().numpy()
    ause, chance = sparsification(p, a)
    return {"spearman": rank_correlation(p, a), "ause": ause, "ause_chance": chance}


def reliability(predicted: Floats, actual: Floats) -> list[dict[str, float]]:
    """Mean predicted and actual value in each decile of the prediction; they are equal if it is calibrated."""
    groups = np.array_split(np.argsort(predicted, kind="stable"), DECILES)
    return [{"predicted": float(predicted[g].mean()), "actual": float(actual[g].mean())} for g in groups]


def mean_of(rows: list[dict[str, float]]) -> dict[str, float]:
    """Mean of each key over the frames."""
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}


# On real frames, which have no truth.


def on_real(pipeline: AUGANPipeline, folder: Path, settings: InventionEvaluation, left_out: LeftOut) -> dict[str, Any]:
    """By map: rank correlations, averaged over frames, and the mean in black and in other pixels over all frames.

    The correlation with signal-to-noise should be negative, and that with the disagreement of two models positive.
    """
    other = AUGANPipeline.from_pretrained(settings.other_model) if settings.other_model else None
    rows: dict[str, list[dict[str, float]]] = defaultdict(list)
    black: dict[str, list[Floats]] = defaultdict(list)
    paths = list_images(folder, settings.limit)
    for pixels in progress_bar(read_batches(paths, 1, left_out), total=len(paths), desc="real", unit="frame"):
        source = to_float(pixels.permute(0, 3, 1, 2))
        size = pipeline.network_size((source.shape[2], source.shape[3]), "auto")
        small = resize(source, size)
        translated, maps = pipeline.translate_with_maps(to_uint8(small).permute(0, 2, 3, 1), "adverse_to_normal")
        references = {"signal_to_noise": signal_to_noise(small)[0, 0]}
        if other is not None:
            theirs, _ = other.translate_frames(to_uint8(small).permute(0, 2, 3, 1), "adverse_to_normal")
            references["disagreement"] = (theirs.float() - translated.float()).abs().mean(dim=3)[0]
        dark = ((luma(small)[0, 0] + 1) * 127.5 < CRUSHED).numpy()
        for name, values in predictions(small, maps).items():
            p = values.double().numpy()
            rows[name].append({k: rank_correlation(p, v.double().numpy()) for k, v in references.items()})
            black[name].append(np.array([p[dark].sum(), dark.sum(), p[~dark].sum(), (~dark).sum()]))
    return {name: mean_of(frames) | black_and_others(np.sum(black[name], axis=0)) for name, frames in rows.items()}


def black_and_others(sums: Floats) -> dict[str, float | None]:
    """(sum, count) of black pixels, (sum, count) of the others -> the two means; None for a count of 0."""
    return {
        "mean_in_black": float(sums[0] / sums[1]) if sums[1] else None,
        "mean_elsewhere": float(sums[2] / sums[3]) if sums[3] else None,
    }


def on_objects(
    pipeline: AUGANPipeline, folder: Path, detector: Detector, limit: int | None, left_out: LeftOut
) -> dict[str, Any]:
    """By map: its mean over boxes that a detector finds only in the translation (invented), and over its other boxes.

    `auc`: probability that a random invented box has a higher mean than a random other box; 0.5 is random.
    """
    seen: dict[str, list[float]] = defaultdict(list)
    new: list[bool] = []
    paths = list_images(folder, limit)
    for pixels in progress_bar(read_batches(paths, 1, left_out), total=len(paths), desc="objects", unit="frame"):
        translated, maps = pipeline.translate_with_maps(pixels, "adverse_to_normal")
        (before,), (after,) = detector(pixels), detector(translated)
        found = after.above(FOUND_SCORE)
        new += invented(found, before).tolist()
        for name, values in predictions(to_float(pixels.permute(0, 3, 1, 2)), maps).items():
            seen[name] += [mean_in_box(values, corners) for corners in found.corners]
    return {name: of_invented(np.array(means), np.array(new, dtype=bool)) for name, means in seen.items()}


def mean_in_box(values: Tensor, corners: Tensor) -> float:
    """Mean of a map (H, W) over the pixels of a box (left, top, right, bottom); at least one pixel is used."""
    left, top = (int(c) for c in corners[:2].floor().clamp_min(0))
    right, bottom = (int(c) for c in corners[2:].ceil())
    top, left = min(top, values.shape[0] - 1), min(left, values.shape[1] - 1)
    return float(values[top : max(bottom, top + 1), left : max(right, left + 1)].mean())


def of_invented(means: Floats, new: NDArray[np.bool_]) -> dict[str, float | None]:
    """Counts and means of both kinds of boxes, and the area under the ROC curve (Mann-Whitney U)."""
    both = bool(new.any() and (~new).any())
    # 1 if the invented box is higher, 0.5 for a tie, 0 if it is lower.
    ahead = np.sign(means[new][:, None] - means[~new]) / 2 + 0.5
    return {
        "invented": int(new.sum()),
        "others": int((~new).sum()),
        "mean_in_invented": float(means[new].mean()) if new.any() else None,
        "mean_in_others": float(means[~new].mean()) if (~new).any() else None,
        "auc": float(ahead.mean()) if both else None,
    }


def signal_to_noise(frame: Tensor) -> Tensor:
    """Signal-to-noise ratio (B, 1, H, W): local mean of luma / (`local_deviation` + 1), in 5x5 windows.

    The local deviation is noise in flat areas. One grey level, the resolution of 8 bits, is added to it; otherwise
    crushed blacks would seem free of noise.
    """
    signal = box_blur((luma(frame) + 1) * 127.5, (5, 5), border_type="replicate")
    return signal / (local_deviation(frame) + 1)


# Report.


def table(result: Mapping[str, Any]) -> str:
    """The measured numbers as Markdown."""
    rows: list[tuple[str, ...]] = []
    for weather, kinds in result["rendered"].items():
        for how, targets in kinds.items():
            error, share = (targets[t]["maps"] for t in ("error", "share"))
            for name in error:
                cells = [f"{t[name][k]:.3f}" for t in (error, share) for k in ("spearman", "ause")]
                rows.append((weather, how, name, *cells))
            chance = [f"{t['darkness']['ause_chance']:.3f}" for t in (error, share)]
            rows.append((weather, how, "random", "0", chance[0], "0", chance[1]))
    head = ("weather", "frames", "map", "error: Spearman", "AUSE", "share: Spearman", "AUSE")
    lines = [markdown_table(head, rows)]
    for target in ("error", "share"):
        lines += ["", f"Reliability of the {target}: mean predicted / actual value, by decile of the prediction"]
        for weather, kinds in result["rendered"].items():
            pairs = [f"{d['predicted']:.2f}/{d['actual']:.2f}" for d in kinds["degraded"][target]["reliability"]]
            lines.append(f"- {weather}: {' '.join(pairs)}")
    for part, title in (("real", "Real frames, by map"), ("objects", "Boxes in real frames, by map")):
        lines += ["", title] if part in result else []
        for name, numbers in result.get(part, {}).items():
            cells = [
                f"{key.replace('_', ' ')} {value if isinstance(value, int) else f'{value:.3f}'}"
                for key, value in numbers.items()
                if value is not None
            ]
            lines.append(f"- {name}: {', '.join(cells)}")
    if number := result.get("left_out"):
        lines += ["", f"Left out, because they cannot be read: {number} images."]
    return "\n".join(lines)
