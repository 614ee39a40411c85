"""Training the invention map on rendered pairs, beside a translator that stays as it is."""

import json
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
from gen.errors import BadInput, BadSetting
from gen.media.files import write_atomically
from gen.media.resize import to_float, to_uint8
from gen.provenance import fingerprint, portable, portable_value
from gen.training.averaged import load_averaged, load_last_state
from gen.training.data import Frames, Pairs, load_frames, match_pairs
from gen.training.loop import Trainer
from gen.training.settings import make_settings
from gen.translation.maps import GREY_LEVELS_SCALE, SHARE_SCALE, MapScale, colour_uncertainty

SAMPLE_FRAMES = 6
"""Frames in a sample grid."""


class Pictures(NamedTuple):
    """Rendered pairs."""

    frame: Tensor
    """Adverse, degraded, (B, 3, H, W) in [-1, 1]."""
    truth: Tensor
    """The same moment on the clear day, not degraded."""
    streets: list[str]
    """Which street each shows."""


class Lesson(NamedTuple):
    """What one batch teaches; all but `known` can be flipped."""

    frame: Tensor
    translated: Tensor
    """(B, 3, H, W) in [-1, 1], as `frame`."""
    error: Tensor
    """(B, 1, H, W), grey levels."""
    share: Tensor
    """(B, 1, H, W), see `share_invented`."""
    known: Tensor
    """(B,), whether `share` is."""

    def flipped(self) -> "Lesson":
        """Left is right."""
        return Lesson(hflip(self.frame), hflip(self.translated), hflip(self.error), hflip(self.share), self.known)


class RenderedPairs:
    """Rendered pairs, drawn at random with one flip for both; only the adverse frame is degraded.

    Frames are whole, but for the few rows and columns beyond a multiple of 16: the translator's normalisation sees
    the frame as a user's pipeline would show it.
    """

    def __init__(self, pairs: Pairs, seed: int, spared: float, device: torch.device) -> None:
        self.pairs, self.seed, self.spared, self.device = pairs, seed, spared, device
        sides = zip(*pairs.adverse.sizes, strict=True)
        self.size = tuple(min(side) // MULTIPLE * MULTIPLE for side in sides)

    def batch(self, samples: Sequence[int]) -> Pictures:
        """The batch of these numbers of the run's endless sequence."""
        drawn = [self._draw(sample) for sample in samples]
        frames, truths, streets = zip(*drawn, strict=True)
        return Pictures(torch.stack(frames).to(self.device), torch.stack(truths).to(self.device), list(streets))

    def _draw(self, sample: int) -> tuple[Tensor, Tensor, str]:
        rng = np.random.default_rng((self.seed, sample))
        frame, truth, street = self.pair(int(rng.integers(len(self.pairs.adverse))))
        if rng.random() < 0.5:
            frame, truth = hflip(frame), hflip(truth)
        return degrade_at_random(frame, int(rng.integers(2**62)), self.spared), truth, street

    def pair(self, index: int) -> tuple[Tensor, Tensor, str]:
        """Frame, true day (3, H, W) in [-1, 1], and the street's name, as rendered."""
        height, width = self.size
        both = (self.pairs.adverse.frame(index), self.pairs.normal.frame(index))
        frame, truth = (to_float(f[None, :, :height, :width])[0] for f in both)
        return frame, truth, self.pairs.normal.paths[index].stem


class InventionTrainer(Trainer[InventionSettings]):
    """Trains the map; the translator is frozen."""

    betas = (0.9, 0.999)

    def __init__(self, settings: InventionSettings) -> None:
        super().__init__(settings)
        s = settings
        pipeline = AUGANPipeline.from_pretrained(s.model)
        self.translator = pipeline.to(self.device).generator("adverse_to_normal").eval().requires_grad_(False)
        self.height = int(pipeline.config["auto_height"] or pipeline.config["trained_height"])
        self.translator_weights = fingerprint(model_folder(s.model), without=FOLDER)
        with self.accelerator.main_process_first():  # the others find the cache that the first one wrote
            adverse, day = (self._load(name, s.rendered / name) for name in ("adverse", "day"))
        self.data = RenderedPairs(match_pairs(adverse, day, share=1.0), s.seed, s.spared, self.device)
        self.remembered = lru_cache(maxsize=s.accumulate)(self.prepare)
        self.map = InventionMap(height=self.height)
        self.setup({"map": self.map}, averaged="map")

    def _load(self, name: str, folder: Path) -> Frames:
        s = self.settings
        return load_frames(name, folder, s.out / "cache", self.height, (MULTIPLE, MULTIPLE), strict=s.strict)

    @property
    def total_images(self) -> int:
        """`images`, or `epochs` of the frames."""
        s = self.settings
        return s.images if s.images is not None else round(s.epochs * len(self.data.pairs.adverse))

    def step(self, parts: Sequence[Sequence[int]]) -> dict[str, Tensor]:
        """One step of the map on the translator's errors."""
        records: list[dict[str, Tensor]] = []
        with self.updating("map"):
            for part, samples in enumerate(parts):
                lesson = self.lesson(samples)
                with self.synchronised("map", part):
                    with self.accelerator.autocast():
                        expected: Invention = self.wrapped["map"](lesson.frame, lesson.translated)
                    terms = {
                        "error": laplace_nll(expected.log_error, lesson.error),
                        "share": share_loss(expected.share_logit, lesson.share, lesson.known),
                    }
                    self.backward(terms)
                records.append({name: term.detach() for name, term in terms.items()})
        return {name: torch.stack([r[name] for r in records]).mean() for name in records[0]}

    def lesson(self, samples: Sequence[int]) -> Lesson:
        """The lesson of these samples of the run: a new one every `echoes` steps, in between the last one again.

        Choi et al., "Faster Neural Network Training with Data Echoing", arXiv 1907.05550.
        """
        step, batch = samples[0] // self.settings.batch, self.settings.batch
        fresh = tuple(step // self.settings.echoes * batch + sample % batch for sample in samples)
        lesson = self.remembered(fresh)
        return lesson.flipped() if step % 2 else lesson

    @torch.no_grad()
    def prepare(self, samples: Sequence[int]) -> Lesson:
        """Translate these samples and measure how far they are from the truth."""
        frame, truth, streets = self.data.batch(samples)
        translated = self.translator(frame, uncertainty=False).image
        shares = shares_in_batch(translated, truth, streets)
        return Lesson(frame, translated, absolute_error(translated, truth), *shares)

    def data_record(self) -> dict[str, Any]:
        """The frames, how many rows they are reduced to, and which weights translate them."""
        frames = (self.data.pairs.adverse, self.data.pairs.normal)
        return {"translator": self.translator_weights, "height": self.height} | {f.name: f.summary() for f in frames}

    @torch.no_grad()
    def sample_grid(self) -> NDArray[np.uint8]:
        """Rows of degraded frame, translation, true day, error expected and measured, share expected and measured."""
        places = np.linspace(0, len(self.data.pairs.adverse) - 1, SAMPLE_FRAMES).round().astype(int)
        drawn = [self.data.pair(int(i)) for i in places]
        frames = [degrade_at_random(d[0], int(i), spared=0.0) for d, i in zip(drawn, places, strict=True)]
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
    """Where the translator lies. Raises `BadSetting` for one that has to be downloaded."""
    folder = Path(weights.resolve(model))
    if not folder.is_dir():
        raise BadSetting(f"model: {model} comes from a hub; download it first and give its folder.")
    return folder


def export_invention(run: Path, model: str, default: bool = False, calibrated_on: Path | None = None) -> Path:
    """Put the averaged map of a run's last checkpoint into the folder of the model that it was trained for.

    Its files lie in invention/ there; the translator's are left as they are. `default`: pipelines then show this map
    where none is asked for. `calibrated_on`: rendered frames for `calibrate`. Returns the folder. Raises `BadInput`
    where `run` has no checkpoint, or the model has other weights than those that the map was trained for.
    """
    state, folder = load_last_state(run), model_folder(model)
    if state["data"]["translator"] != fingerprint(folder, without=FOLDER):
        raise BadInput(f"{folder}: the map in {run} was trained for other weights; train one for these.")
    network = InventionMap(height=state["data"]["height"])
    load_averaged(network, state)
    record = _record(state)
    if calibrated_on is not None:
        pipeline = AUGANPipeline.from_pretrained(folder, invention=network.eval())
        lines = calibrate(pipeline, calibrated_on, make_settings(InventionSettings, state["settings"]).spared)
        record["calibration"] = {"rendered": portable_value(calibrated_on)} | {k: v._asdict() for k, v in lines.items()}
    network.save_pretrained(folder / FOLDER)
    (folder / FOLDER / "training.json").write_text(json.dumps(record, indent=2) + "\n")
    _name_in_index(folder / "model_index.json", default)
    return folder


def _record(state: dict[str, Any]) -> dict[str, Any]:
    settings = portable(make_settings(InventionSettings, state["settings"]))
    return {
        "settings": {k: v for k, v in settings.items() if k not in ("preset", "out")},
        **{k: state[k] for k in ("images_shown", "hardware", "data")},
        "seconds": round(state["seconds"]),
    }


def _name_in_index(index: Path, default: bool) -> None:
    """Tell the pipeline of its new part. (Saving the whole pipeline would write the translator's weights anew.)"""
    entries = json.loads(index.read_text()) | {FOLDER: [InventionMap.__module__, InventionMap.__name__]}
    if default:
        entries["default_map"] = "invention"
    with write_atomically(index) as partial:
        partial.write_text(json.dumps(entries, indent=2, sort_keys=True) + "\n")
