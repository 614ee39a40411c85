"""Clips of faces: through the latents, or from domain to domain."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.interpolate import CubicSpline
from torch import Tensor
from torchvision.utils import make_grid

from gen.hda.pipeline import HDAPipeline
from gen.media.resize import to_chw

CLIP_SIDE = 256
"""Smaller frames are enlarged to at least this side in a clip."""


def walk(pipe: HDAPipeline, latents: Tensor, frames: int) -> Iterator[NDArray[np.uint8]]:
    """Frames (H, W, 3) along a smooth closed path through the latents."""
    points = latents.cpu().double().numpy()
    spline = CubicSpline(np.arange(len(points) + 1), np.concatenate([points, points[:1]]), bc_type="periodic")
    for t in np.arange(frames) * len(points) / frames:
        w = torch.from_numpy(spline(t)).to(latents)[None]
        yield pipe(latents=w, output_type="np").images[0]


def morph(pipe: HDAPipeline, latents: Tensor, frames: int) -> Iterator[NDArray[np.uint8]]:
    """Frames (H, W, 3), each a grid of the same latents, while the domain changes.

    A closed path: from the source to the adaptation and back, or with several adaptations from each to the next.
    """
    given = dict(pipe.strengths)
    poses = [{name: k} for name, k in given.items()] if len(given) > 1 else [{}, given]
    columns = max(1, min(4, len(latents)))
    for index in range(frames):
        pose, fraction = divmod(index * len(poses) / frames, 1)
        start, end = poses[int(pose)], poses[(int(pose) + 1) % len(poses)]
        share = 0.5 - 0.5 * np.cos(np.pi * fraction)  # eases in and out, so that the clip rests at each domain
        pipe.set_strengths({n: (1 - share) * start.get(n, 0.0) + share * end.get(n, 0.0) for n in given})
        drawn = [to_chw(a) for a in pipe(latents=latents, output_type="np").images]
        yield make_grid(drawn, nrow=columns, padding=0).permute(1, 2, 0).numpy()
    pipe.set_strengths(given)


def enlarged(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A frame for a clip: its sides are even, and at least `CLIP_SIDE`."""
    factor = -(-CLIP_SIDE // min(frame.shape[:2]))
    height, width = (factor * n // 2 * 2 for n in frame.shape[:2])  # video codecs need even sides
    return np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.BICUBIC))
