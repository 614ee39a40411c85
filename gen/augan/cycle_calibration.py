"""How well AU-GAN's cycle uncertainty ranks the pixels of real frames by their cycle error."""

import torch
from torch import Tensor

from gen.augan.losses import GREY_LEVELS, laplace_scale
from gen.augan.measures import mean
from gen.augan.pipeline import AUGANPipeline
from gen.media.resize import pad_to_multiple, resize, to_float
from gen.metrics.calibration import rank_correlation, sparsification
from gen.translation.pipeline import TranslationPipeline


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
