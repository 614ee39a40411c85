"""Train the invention map of a frozen translator on rendered pairs."""

import json
import logging
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from kornia.geometry.transform import hflip
from numpy.typing import NDArray
from torch import Tensor

from gen import weights
from gen.augan.degrade import degrade_at_random
from gen.augan.invention import FOLDER, MULTIPLE, Invention, InventionMap
from gen.augan.invention_calibration import calibrate
from gen.augan.invention_losses import absolute_error, laplace_nll, share_loss, shares_in_batch
from gen.augan.invention_settings import InventionSettings
from gen.augan.pipeline import AUGANPipeline
from gen.augan.seen import was_used
from gen.errors import BadInput, BadSetting
from gen.media.files import write_atomically
from gen.media.folders import find_stills
from gen.media.resize import to_float, to_uint8
from gen.output import output_folder
from gen.provenance import fingerprint, portable, portable_value
from gen.tensors import on_device
from gen.training import longer
from gen.training.averaged import load_averaged, load_last_state
from gen.training.data import Pairs, match_pairs
from gen.training.experiment import write_text
from gen.training.frames import Frames, folder_name, load_frames
from gen.training.loop import Trainer
from gen.training.model_folder import save_model
from gen.training.settings import make_settings
from gen.training.streets import STREETS, streets_of
from gen.translation.maps import GREY_LEVELS_SCALE, SHARE_SCALE, MapScale, colour_uncertainty

log = logging.getLogger(__name__)

SAMPLE_FRAMES = 6
"""Frames in a sample grid."""


class PairBatch(NamedTuple):
    """A batch of rendered pairs."""

    frame: Tensor
    """Adverse, degraded, (B, 3, H, W) in [-1, 1]."""
    truth: Tensor
    """The same moments on a clear day, not degraded."""
    streets: list[str]
    """Name of the street of each sample."""


class TrainingBatch(NamedTuple):
    """Inputs and targets of the map for one batch."""

    frame: Tensor
    translated: Tensor
    """(B, 3, H, W) in [-1, 1], as `frame`."""
    error: Tensor
    """(B, 1, H, W), grey levels."""
    share: Tensor
    """(B, 1, H, W), see `share_invented`."""
    known: Tensor
    """(B,) bool: whether `share` is known."""

    def flipped(self) -> "TrainingBatch":
        """The batch mirrored left to right."""
        return TrainingBatch(
            hflip(self.frame), hflip(self.translated), hflip(self.error), hflip(self.share), self.known
        )


class RenderedPairs:
    """Rendered pairs in random order, both frames flipped alike; only the adverse frame is degraded.

    Frames are not cropped except to multiples of 16, because the translator's normalisation depends on the whole frame
    and must see it as in use.
    """

    def __init__(self, pairs: Pairs, seed: int, spared: float, device: torch.device) -> None:
        self.pairs, self.seed, self.spared, self.device = pairs, seed, spared, device
        sides = zip(*pairs.adverse.sizes, strict=True)
        self.size = tuple(min(side) // MULTIPLE * MULTIPLE for side in sides)

    def batch(self, samples: Sequence[int]) -> PairBatch:
        """The batch of these sample numbers, which count from 0 over the whole run."""
        drawn = [self._draw(sample) for sample in samples]
        frames, truths, streets = zip(*drawn, strict=True)
        adverse, normal = (on_device(torch.stack(pictures), self.device) for pictures in (frames, truths))
        return PairBatch(adverse, normal, list(streets))

    def _draw(self, sample: int) -> tuple[Tensor, Tensor, str]:
        rng = np.random.default_rng((self.seed, sample))
        frame, truth, street = self.pair(int(rng.integers(len(self.pairs.adverse))))
        if rng.random() < 0.5:
            frame, truth = hflip(frame), hflip(truth)
        return degrade_at_random(frame, int(rng.integers(2**62)), self.spared), truth, street

    def pair(self, index: int) -> tuple[Tensor, Tensor, str]:
        """Frame and true day (3, H, W) in [-1, 1], as rendered, and the street's name."""
        height, width = self.size
        both = (self.pairs.adverse.frame(index), self.pairs.normal.frame(index))
        frame, truth = (to_float(f[None, :, :height, :width])[0] for f in both)
        return frame, truth, self.pairs.normal.paths[index].stem


class InventionTrainer(Trainer[InventionSettings]):
    """Trains the map; the translator is frozen."""

    betas = (0.9, 0.999)  # Adam's defaults; the base class has 0.5, which suits GANs

    def __init__(self, settings: InventionSettings) -> None:
        super().__init__(settings)
        s = settings
        pipeline = AUGANPipeline.from_pretrained(s.model)
        self.translator = pipeline.to(self.device).generator("adverse_to_normal").eval().requires_grad_(False)
        self.height = int(pipeline.config["auto_height"] or pipeline.config["trained_height"])
        self.translator_weights = fingerprint(model_folder(s.model), exclude=FOLDER)
        with self.accelerator.main_process_first():  # writes the cache, which the others then read
            adverse, day = (self._load(name, s.rendered / name) for name in ("adverse", "day"))
        self.data = RenderedPairs(match_pairs(adverse, day, share=1.0, strict=s.strict), s.seed, s.spared, self.device)
        self.prepared = lru_cache(maxsize=s.accumulate)(self.prepare)
        self.map = InventionMap(height=self.height)
        self.setup({"map": self.map}, averaged="map")

    def _load(self, name: str, folder: Path) -> Frames:
        s = self.settings
        return load_frames(name, folder, s.out / "cache", self.height, (MULTIPLE, MULTIPLE), strict=s.strict)

    @property
    def total_images(self) -> int:
        """`images`, or `epochs` of the frames."""
        return self.settings.images_to_show(len(self.data.pairs.adverse))

    def step(self, parts: Sequence[Sequence[int]]) -> dict[str, Tensor]:
        """One optimiser step of the map on the translator's errors."""
        records: list[dict[str, Tensor]] = []
        with self.updating("map"):
            for part, samples in enumerate(parts):
                batch = self.training_batch(samples)
                with self.synchronised("map", part):
                    with self.accelerator.autocast():
                        expected: Invention = self.wrapped["map"](batch.frame, batch.translated)
                    terms = {
                        "error": laplace_nll(expected.log_error, batch.error),
                        "share": share_loss(expected.share_logit, batch.share, batch.known),
                    }
                    self.backward(terms)
                records.append({name: term.detach() for name, term in terms.items()})
        return {name: torch.stack([r[name] for r in records]).mean() for name in records[0]}

    def training_batch(self, samples: Sequence[int]) -> TrainingBatch:
        """The batch for these samples: a new one every `echoes` steps, and the same one in between (data echoing).

        Choi et al., "Faster Neural Network Training with Data Echoing", arXiv 1907.05550.
        """
        step, batch = samples[0] // self.settings.batch, self.settings.batch
        fresh = tuple(step // self.settings.echoes * batch + sample % batch for sample in samples)
        batch = self.prepared(fresh)
        return batch.flipped() if step % 2 else batch

    @torch.no_grad()
    def prepare(self, samples: Sequence[int]) -> TrainingBatch:
        """Translate these samples and compute the map's targets."""
        frame, truth, streets = self.data.batch(samples)
        translated = self.translator(frame, uncertainty=False).image
        shares = shares_in_batch(translated, truth, streets)
        return TrainingBatch(frame, translated, absolute_error(translated, truth), *shares)

    def data_record(self) -> dict[str, Any]:
        """The frames, their height and the translator's fingerprint; a resumed run must find the same."""
        frames = (self.data.pairs.adverse, self.data.pairs.normal)
        return {"translator": self.translator_weights, "height": self.height} | {f.name: f.summary() for f in frames}

    @torch.no_grad()
    def sample_grid(self) -> NDArray[np.uint8]:
        """Rows of degraded frame, translation, true day, predicted and true error, predicted and true share."""
        indices = np.linspace(0, len(self.data.pairs.adverse) - 1, SAMPLE_FRAMES).round().astype(int)
        drawn = [self.data.pair(int(i)) for i in indices]
        frames = [degrade_at_random(d[0], int(i), spared=0.0) for d, i in zip(drawn, indices, strict=True)]
        frame, truth = torch.stack(frames).to(self.device), torch.stack([d[1] for d in drawn]).to(self.device)
        translated = self.translator(frame, uncertainty=False).image
        expected: Invention = self.map(frame, translated)
        shares, _ = shares_in_batch(translated, truth, [d[2] for d in drawn])
        pictures = [to_uint8(x).permute(0, 2, 3, 1).cpu().numpy() for x in (frame, translated, truth)]
        errors = [_coloured(x, GREY_LEVELS_SCALE) for x in (expected.error, absolute_error(translated, truth))]
        invented = [_coloured(x, SHARE_SCALE) for x in (expected.share, shares)]
        return np.concatenate(np.concatenate([*pictures, *errors, *invented], axis=2))


def _coloured(values: Tensor, on: MapScale) -> NDArray[np.uint8]:
    return np.stack([colour_uncertainty(v, on) for v in values[:, 0].float().cpu().numpy()])


def model_folder(model: str) -> Path:
    """The translator's folder. Raises `BadSetting` if it is not a local one."""
    folder = Path(weights.resolve(model))
    if not folder.is_dir():
        raise BadSetting(f"model: {model} comes from a hub; download it and give its folder.")
    return folder


def export_invention(run: Path, model: str, default: bool = False, calibrated_on: Path | None = None) -> Path:
    """Add the averaged map of a run's last checkpoint to the folder of its model, and return that folder.

    Writes to the sub-folder invention/; the translator's files are not changed. `default`: make it the map that
    pipelines show by default. `calibrated_on`: rendered frames for `calibrate`. Raises `BadInput` if `run` has no
    checkpoint, or if the map was trained for other weights of the model.
    """
    state, folder = load_last_state(run, "train-invention"), model_folder(model)
    if state["data"]["translator"] != fingerprint(folder, exclude=FOLDER):
        raise BadInput(f"{folder}: the map in {run} was trained for other weights; train one for this model.")
    network = InventionMap(height=state["data"]["height"])
    load_averaged(network, state)
    record = _record(state)
    if calibrated_on is not None:
        pipeline = AUGANPipeline.from_pretrained(folder, invention=network.eval())
        affine = calibrate(pipeline, calibrated_on, make_settings(InventionSettings, state["settings"]).spared)
        record["calibration"] = {"rendered": portable_value(calibrated_on)} | {
            k: v._asdict() for k, v in affine.items()
        }
        frames = calibrated_on / "adverse"
        if was_used(frames, folder):
            log.warning("%s: %s was trained on these streets, and errs more on others; give those", frames, folder)
        # Numbers that were fitted to these streets are not held out on them.
        shown = {"folder": folder_name(frames), STREETS: streets_of(find_stills(frames, quiet=True))}
        record["data"] = record["data"] | {"calibration": shown}
    with output_folder(folder):
        save_model(folder / FOLDER, network.save_pretrained, "config.json")
        write_text(folder / FOLDER / "training.json", json.dumps(record, indent=2) + "\n")
        _name_in_index(folder / "model_index.json", default)
    return folder


def _record(state: dict[str, Any]) -> dict[str, Any]:
    settings = portable(make_settings(InventionSettings, state["settings"]))
    return {
        "settings": {k: v for k, v in settings.items() if k not in ("preset", "out")},
        **longer.recorded(state),
        **{k: state[k] for k in ("images_shown", "hardware", "data")},
        "seconds": round(state["seconds"]),
    }


def _name_in_index(index: Path, default: bool) -> None:
    """Add the map to model_index.json; saving the whole pipeline would rewrite the translator's weights."""
    entries = json.loads(index.read_text()) | {FOLDER: [InventionMap.__module__, InventionMap.__name__]}
    if default:
        entries["default_map"] = "invention"
    with write_atomically(index) as partial:
        partial.write_text(json.dumps(entries, indent=2, sort_keys=True) + "\n")
