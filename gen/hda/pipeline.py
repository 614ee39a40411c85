"""Draw images from a StyleGAN2 generator and the domains it was adapted to."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.utils import BaseOutput
from PIL import Image
from torch import Tensor

from gen import weights
from gen.errors import BadInput, BadSetting
from gen.hda.adaptation import Adaptation, blend, fingerprint, plain_name
from gen.hda.networks import StyleGAN2Generator
from gen.media.resize import to_uint8

ADAPTATIONS = "adaptations"
"""Sub-folder of a model folder that holds its adaptations."""

STRENGTHS = f"{ADAPTATIONS}/strengths.json"
"""How strongly they are blended."""


@dataclass
class HDAOutput(BaseOutput):
    """What the pipeline returns."""

    images: list[Any]
    """PIL images; uint8 arrays (H, W, 3) with output_type="np"; float tensors (3, H, W) in [0, 1] with "pt"."""
    latents: Tensor
    """(B, w_dim) or (B, layers, w_dim): w of each image, to draw it again in another domain."""


class HDAPipeline(DiffusionPipeline):
    """A source generator and any number of adaptations, each with a strength.

    >>> pipe = HDAPipeline.from_pretrained("stylegan2-faces64")
    >>> pipe.load_adaptation("runs/x/adaptation.safetensors")
    >>> pipe(seeds=[0, 1, 2], truncation=0.7).images[0].save("face.png")
    """

    generator: StyleGAN2Generator

    def __init__(self, generator: StyleGAN2Generator) -> None:
        super().__init__()
        self.register_modules(generator=generator)
        self.source = {key: value.detach().clone() for key, value in generator.state_dict().items()}
        self.fingerprint = fingerprint(generator)
        self.adaptations: dict[str, Adaptation] = {}
        self.strengths: dict[str, float] = {}

    @classmethod
    def from_pretrained(  # pyright: ignore[reportIncompatibleMethodOverride]
        cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any
    ) -> Self:
        """Load by name ("stylegan2-faces64"), folder, hub id, or a StyleGAN2 checkpoint (.pt, .pkl).

        The adaptations that were saved with it are loaded and blended as they were.
        """
        path = Path(pretrained_model_name_or_path)
        if path.suffix in (".pt", ".pkl"):
            from gen.hda.checkpoints import load_stylegan2

            return cls(load_stylegan2(path))
        folder = weights.resolve(pretrained_model_name_or_path)
        if (Path(folder) / "model_index.json").is_file() and not _is_own(Path(folder)):
            raise BadInput(f"{folder}: this is not a StyleGAN2 model; `gen translate` may be what it is for.")
        try:
            pipe = super().from_pretrained(folder, **{"use_safetensors": True, **kwargs})
        except (OSError, ValueError) as error:
            raise BadInput(f"{folder}: the model cannot be loaded ({str(error).splitlines()[0]}).") from error
        for file in sorted((Path(folder) / ADAPTATIONS).glob("*.safetensors")):
            pipe.load_adaptation(file, name=file.stem)
        if (Path(folder) / STRENGTHS).is_file():
            pipe.set_strengths(json.loads((Path(folder) / STRENGTHS).read_text()))
        return pipe

    def save_pretrained(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, save_directory: str | os.PathLike[str], **kwargs: Any
    ) -> None:
        """Write the source generator, and the adaptations beside it."""
        strengths = self.strengths
        self.set_strengths({name: 0.0 for name in strengths})
        super().save_pretrained(save_directory, **kwargs)
        self.set_strengths(strengths)
        for name, adaptation in self.adaptations.items():
            adaptation.save(Path(save_directory) / ADAPTATIONS / f"{name}.safetensors")
        if strengths:
            (Path(save_directory) / STRENGTHS).write_text(json.dumps(strengths))

    def load_adaptation(self, path: str | os.PathLike[str], strength: float = 1.0, name: str | None = None) -> str:
        """Add an adaptation and blend it in; returns its name. Raises `BadInput` if it belongs to another generator."""
        adaptation = Adaptation.load(Path(path))
        if adaptation.source != self.fingerprint:
            raise BadInput(
                f"{path}: this adaptation was made for the generator {adaptation.source}, and this one is "
                f"{self.fingerprint}; load the one that `gen adapt` had as --source."
            )
        try:
            name = plain_name(name or adaptation.name)
        except ValueError as error:
            raise BadSetting(f"adaptation name {name!r}: letters, digits and . + - _ only.") from error
        self.adaptations[name] = adaptation
        self.set_strengths({**self.strengths, name: strength})
        return name

    def set_strengths(self, strengths: float | Mapping[str, float]) -> None:
        """theta = theta_S + sum k (theta_T - theta_S): one k for all adaptations, or k by name.

        0 is the source bit for bit, 1 the adapted generator, beyond 1 overdoes it. k that add up to 1 average models.
        Raises `BadSetting` for a name that is not loaded.
        """
        if isinstance(strengths, Mapping):
            wanted = {str(name): float(k) for name, k in strengths.items()}
        else:
            wanted = {name: float(strengths) for name in self.adaptations}
        for name in wanted.keys() - self.adaptations.keys():
            loaded = ", ".join(self.adaptations) or "none"
            raise BadSetting(f"strength of {name}: no such adaptation is loaded; there are: {loaded}.")
        self.strengths = {name: wanted.get(name, 0.0) for name in self.adaptations}
        blend(self.generator, self.source, [(self.adaptations[n], k) for n, k in self.strengths.items()])

    @torch.no_grad()
    def __call__(
        self,
        seeds: Sequence[int] | int | None = None,
        latents: Tensor | None = None,
        truncation: float = 0.7,
        batch_size: int = 16,
        output_type: Literal["pil", "np", "pt"] = "pil",
    ) -> HDAOutput:
        """Draw one image for each of `seeds`, or for each of `latents`, (B, w_dim) or (B, layers, w_dim).

        `truncation` pulls w towards its average: 1 leaves it, 0.7 trades variety for quality; given latents are
        left as they are.
        """
        if (seeds is None) == (latents is None):
            raise BadSetting("give either seeds or latents.")
        if latents is None:
            latents = self.latents([seeds] if isinstance(seeds, int) else list(seeds or []), truncation)
        images = torch.cat([self.generator.synthesis(w).float().cpu() for w in latents.split(batch_size)])
        return HDAOutput(images=_converted(images, output_type), latents=latents)

    @torch.no_grad()
    def latents(self, seeds: Sequence[int], truncation: float = 0.7) -> Tensor:
        """w of these seeds, (len(seeds), w_dim); the same on every machine."""
        if not seeds:
            raise BadSetting("seeds: none was given; for example 0-15,20.")
        random = torch.Generator()
        z = torch.stack([torch.randn(self.generator.z_dim, generator=random.manual_seed(seed)) for seed in seeds])
        w = self.generator.mapping(z.to(self.device, self.generator.w_average.dtype))
        return self.generator.truncated(w, truncation)


def _is_own(folder: Path) -> bool:
    return weights.kind(folder) == "HDAPipeline"


def _converted(images: Tensor, output_type: str) -> list[Any]:
    if output_type == "pt":
        return list((images / 2 + 0.5).clamp(0, 1))
    arrays = to_uint8(images).permute(0, 2, 3, 1).numpy()
    return [Image.fromarray(a) for a in arrays] if output_type == "pil" else list(arrays)


def parse_seeds(text: str) -> list[int]:
    """`0-3,8` -> [0, 1, 2, 3, 8]. Raises `BadSetting`."""
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not (first.isascii() and first.isdigit()) or (dash and not (last.isascii() and last.isdigit())):
            raise BadSetting(f"--seeds {text}: give numbers and ranges, for example 0-15,20.")
        seeds += range(int(first), int(last or first) + 1)
    if not seeds:
        raise BadSetting(f"--seeds {text}: the range is empty; the smaller number comes first.")
    return seeds
