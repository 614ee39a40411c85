"""What `gen generate` and `gen invert` write: pictures, grids, clips."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from scipy.interpolate import CubicSpline
from torch import Tensor
from torchvision.utils import make_grid
from tqdm import tqdm

from gen.errors import BadInput, BadSetting
from gen.hda.commands import check_folder, parse_adaptation
from gen.hda.inversion import invert
from gen.hda.pipeline import HDAPipeline, parse_seeds
from gen.hda.references import square
from gen.media.files import write_atomically
from gen.media.images import decode_still
from gen.media.resize import to_uint8
from gen.media.video import write_clip
from gen.metrics.paired import load_perceptual

if TYPE_CHECKING:
    from gen.hda.commands import GenerateArguments, InvertArguments

Pixels = NDArray[np.uint8]

CLIP_SIDE = 256
"""Small pictures are enlarged to at least so many pixels in a clip."""


def draw_all(chosen: "GenerateArguments") -> int:
    """`gen generate`: NAME.png for each latent, grid.png, and the clips that were asked for."""
    check_folder(chosen.out)
    if chosen.morph and not chosen.adaptation:
        raise BadSetting("--morph needs --adaptation FILE: it goes from the source to the adapted domain.")
    pipe = load_blended(chosen.model, chosen.adaptation, chosen.device)
    names, latents = _latents(pipe, chosen)
    given = dict(pipe.strengths)
    factors = _strengths(chosen.strengths)
    chosen.out.mkdir(parents=True, exist_ok=True)
    for name, image in zip(names, pipe(latents=latents).images, strict=True):
        _save(chosen.out / f"{name}.png", image)
    if given:
        _save(chosen.out / "grid.png", Image.fromarray(strength_grid(pipe, latents, factors)))
        print(f"grid.png: the same latents at strengths {', '.join(f'{k:g}' for k in factors)}")
    frames = max(2, round(chosen.seconds * chosen.rate))
    if chosen.walk:
        path = walk(pipe, latents, frames)
        write_clip(chosen.out / "walk.mp4", (_enlarged(f) for f in _shown(path, frames, "walk")), chosen.rate)
    if chosen.morph:
        path = morph(pipe, latents[:16], frames)
        write_clip(chosen.out / "morph.mp4", (_enlarged(f) for f in _shown(path, frames, "morph")), chosen.rate)
    print(f"{len(names)} pictures in {chosen.out}")
    return 0


def load_blended(model: str, adaptations: Sequence[str], device: str) -> HDAPipeline:
    """The model with its adaptations at their strengths, on the GPU where there is one, unless `device` is cpu."""
    pipe = HDAPipeline.from_pretrained(model)
    pipe.to("cuda" if device == "auto" and torch.cuda.is_available() else "cpu")
    pipe.generator.requires_grad_(False)
    for text in adaptations:
        path, strength = parse_adaptation(text)
        name, number = path.stem, 2
        while name in pipe.adaptations:  # every run calls its file adaptation.safetensors
            name, number = f"{path.stem}-{number}", number + 1
        pipe.load_adaptation(path, strength, name)
    return pipe


def _latents(pipe: HDAPipeline, chosen: "GenerateArguments") -> tuple[list[str], Tensor]:
    if chosen.latents is None:
        seeds = parse_seeds(chosen.seeds)
        return [f"seed{seed:04d}" for seed in seeds], pipe.latents(seeds, chosen.truncation)
    named = load_latents(chosen.latents)
    layers, width = pipe.generator.layers, pipe.generator.w_dim
    for name, w in named.items():
        if w.shape not in ((width,), (layers, width)):
            raise BadInput(
                f"{chosen.latents}: {name} has the shape {tuple(w.shape)}; this model wants ({layers}, {width})."
            )
    return list(named), torch.stack([w.expand(layers, -1) for w in named.values()]).to(pipe.device)


def load_latents(path: Path) -> dict[str, Tensor]:
    """What `gen invert` wrote: w by the photo's name. Raises `BadInput`."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise BadInput(f"{path}: these are no latents; `gen invert` writes latents.safetensors.") from error


def _strengths(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise BadSetting(f"--strengths {text}: give numbers, for example 0,0.5,1.") from error


def strength_grid(pipe: HDAPipeline, latents: Tensor, factors: Sequence[float]) -> Pixels:
    """One row a factor of the strengths that the pipeline has now, one column a latent: (H, W, 3)."""
    given, rows = dict(pipe.strengths), []
    for factor in factors:
        pipe.set_strengths({name: factor * k for name, k in given.items()})
        rows += [torch.from_numpy(a).permute(2, 0, 1) for a in pipe(latents=latents, output_type="np").images]
    pipe.set_strengths(given)
    return make_grid(rows, nrow=len(latents), padding=2, pad_value=255).permute(1, 2, 0).numpy()


def walk(pipe: HDAPipeline, latents: Tensor, frames: int) -> Iterator[Pixels]:
    """A smooth closed path through the latents, (H, W, 3) a frame."""
    points = latents.cpu().double().numpy()
    spline = CubicSpline(np.arange(len(points) + 1), np.concatenate([points, points[:1]]), bc_type="periodic")
    for t in np.arange(frames) * len(points) / frames:
        w = torch.from_numpy(spline(t)).to(latents)[None]
        yield pipe(latents=w, output_type="np").images[0]


def morph(pipe: HDAPipeline, latents: Tensor, frames: int) -> Iterator[Pixels]:
    """The same latents while the domain changes, as a sheet (H, W, 3) a frame: a closed way, from the source to the
    adaptation and back, or with several adaptations from each to the next."""
    given = dict(pipe.strengths)
    poses = [{name: k} for name, k in given.items()] if len(given) > 1 else [{}, given]
    columns = max(1, min(4, len(latents)))
    for index in range(frames):
        place, way = divmod(index * len(poses) / frames, 1)
        here, there = poses[int(place)], poses[(int(place) + 1) % len(poses)]
        rise = 0.5 - 0.5 * np.cos(np.pi * way)
        pipe.set_strengths({n: (1 - rise) * here.get(n, 0.0) + rise * there.get(n, 0.0) for n in given})
        drawn = [torch.from_numpy(a).permute(2, 0, 1) for a in pipe(latents=latents, output_type="np").images]
        yield make_grid(drawn, nrow=columns, padding=0).permute(1, 2, 0).numpy()
    pipe.set_strengths(given)


def _enlarged(frame: Pixels) -> Pixels:
    factor = -(-CLIP_SIDE // min(frame.shape[:2]))
    height, width = (factor * n // 2 * 2 for n in frame.shape[:2])
    return np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.BICUBIC))


def _shown(frames: Iterator[Pixels], count: int, name: str) -> Iterator[Pixels]:
    return iter(tqdm(frames, total=count, desc=name, disable=None))


def _save(path: Path, image: Image.Image) -> None:
    with write_atomically(path) as partial:
        image.save(partial)


def invert_all(chosen: "InvertArguments") -> int:
    """`gen invert`: latents.safetensors, and NAME.png = photo | inverted | adapted, for each photo that can be read."""
    check_folder(chosen.out)
    pipe = load_blended(chosen.model, chosen.adaptation, chosen.device)
    given = dict(pipe.strengths)
    photos, failed = _read_photos(chosen.photos, pipe.generator.size)
    perceptual = load_perceptual().to(pipe.device)
    chosen.out.mkdir(parents=True, exist_ok=True)
    latents: dict[str, Tensor] = {}
    for name, photo in photos.items():
        pipe.set_strengths(0.0)  # a latent belongs to the source, where the mapping was learnt
        with tqdm(total=chosen.steps, desc=name, disable=None) as bar:
            image = photo[None].to(pipe.device)

            def show(distance: float, bar: Any = bar) -> None:
                bar.set_postfix(distance=f"{distance:.3f}", refresh=False)
                bar.update()

            w = invert(
                pipe.generator, image, perceptual, chosen.steps, chosen.extended, seed=chosen.seed, progress=show
            )
        latents[name] = w[0].cpu().contiguous()
        _save(chosen.out / f"{name}.png", _side_by_side(pipe, photo, w[0], given))
        with write_atomically(chosen.out / "latents.safetensors") as partial:
            save_file(latents, partial)
    for reason in failed:
        print(f"left out: {reason}")
    print(f"{len(latents)} of {len(chosen.photos)} photos in {chosen.out}; to draw them anew: gen generate --latents")
    return 1 if failed else 0


def invert_photo(pipe: HDAPipeline, photo: Path, steps: int) -> Pixels:
    """Photo | inverted | adapted at the pipeline's strengths, (H, W, 3)."""
    given = dict(pipe.strengths)
    pixels = square(torch.from_numpy(decode_still(photo).rgb).permute(2, 0, 1), pipe.generator.size)
    pipe.set_strengths(0.0)  # a latent belongs to the source, where the mapping was learnt
    w = invert(pipe.generator, pixels[None].to(pipe.device), load_perceptual().to(pipe.device), steps)
    return np.asarray(_side_by_side(pipe, pixels, w[0], given))


def _read_photos(paths: Sequence[Path], size: int) -> tuple[dict[str, Tensor], list[str]]:
    photos: dict[str, Tensor] = {}
    failed: list[str] = []
    for path in paths:
        try:
            names = itertools.chain([path.stem], (f"{path.stem}-{n}" for n in itertools.count(2)))
            name = next(name for name in names if name not in photos)
            photos[name] = square(torch.from_numpy(decode_still(path).rgb).permute(2, 0, 1), size)
        except BadInput as error:
            failed.append(str(error))
    return photos, failed


def _side_by_side(pipe: HDAPipeline, photo: Tensor, w: Tensor, strengths: dict[str, float]) -> Image.Image:
    pictures = [to_uint8(photo[None])[0]]
    for k in ({name: 0.0 for name in strengths}, strengths):
        pipe.set_strengths(k)
        drawn = pipe(latents=w[None].to(pipe.device), output_type="np").images[0]
        pictures.append(torch.from_numpy(drawn).permute(2, 0, 1))
    shown = pictures if strengths else pictures[:2]
    return Image.fromarray(make_grid(shown, nrow=3, padding=2, pad_value=255).permute(1, 2, 0).numpy())
