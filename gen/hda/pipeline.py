"""Draw images from a StyleGAN2, StyleGAN3 or MobileStyleGAN generator and its adaptations to other domains."""

import json
import math
import os
import re
import threading
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
from gen.devices import pick_device
from gen.errors import BadInput, BadSetting, NotFinite, short
from gen.formats.json_files import read_json
from gen.formats.model_folders import INDEX, load_pipeline
from gen.hda.adaptation import Adaptation, blend, fingerprint, plain_name
from gen.hda.parsing import parse_adaptation
from gen.loading import loading
from gen.media.resize import to_uint8
from gen.mobilestylegan.checkpoints import StyleGenerator, is_checkpoint, load_generator
from gen.training.model_folder import save_parts

ADAPTATIONS = "adaptations"
"""Subfolder of a model folder for its adaptations."""

STRENGTHS = f"{ADAPTATIONS}/strengths.json"
"""The strengths at which they are blended."""


@dataclass
class HDAOutput(BaseOutput):
    """Result of the pipeline."""

    images: list[Any]
    """PIL images; uint8 arrays (H, W, 3) with output_type="np"; float tensors (3, H, W) in [0, 1] with "pt"."""
    latents: Tensor
    """w of each image, (B, w_dim) or (B, layers, w_dim), to draw it again in another domain."""


class HDAPipeline(DiffusionPipeline):
    """A source generator and any number of adaptations, each with a strength.

    >>> pipe = HDAPipeline.from_pretrained("mobilestylegan-faces128")
    >>> pipe.load_adaptation("runs/x/adaptation.safetensors")
    >>> pipe(seeds=[0, 1, 2], truncation=0.7).images[0].save("face.png")
    """

    generator: StyleGenerator

    def __init__(self, generator: StyleGenerator) -> None:
        super().__init__()
        self.register_modules(generator=generator)
        self.source = {key: value.detach().clone() for key, value in generator.state_dict().items()}
        self.fingerprint = fingerprint(generator)
        self.adaptations: dict[str, Adaptation] = {}
        self.strengths: dict[str, float] = {}
        self.lock = threading.RLock()
        """Held while weights change and while they draw. Hold it to set strengths and draw with them."""

    def __getstate__(self) -> dict[str, Any]:
        """Without the lock, which can be neither copied nor pickled."""
        return {name: value for name, value in self.__dict__.items() if name != "lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.lock = threading.RLock()

    @classmethod
    @loading
    def from_pretrained(  # pyright: ignore[reportIncompatibleMethodOverride]
        cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any
    ) -> Self:
        """Load by name ("mobilestylegan-faces128"), folder, hub id, or a StyleGAN file (.pt, .pkl, .pkl:CLASS, .whl).

        Adaptations saved in the folder are loaded and blended at their saved strengths. Raises `BadInput`.
        """
        path = Path(pretrained_model_name_or_path)
        if is_checkpoint(path):
            return cls(load_generator(path))
        hub = {name: kwargs.pop(name) for name in weights.HUB_OPTIONS & kwargs.keys()}
        folder = weights.fetch(pretrained_model_name_or_path, **hub)
        if weights.kind(folder) not in ("HDAPipeline", None):
            raise BadInput(f"{folder}: this is not a StyleGAN model; a translation model works with `gen translate`.")
        pipe = load_pipeline(cls, folder, **kwargs)
        for file in sorted((folder / ADAPTATIONS).glob("*.safetensors")):
            pipe.load_adaptation(file, name=file.stem)
        if (folder / STRENGTHS).is_file():
            pipe.set_strengths(_read_strengths(folder / STRENGTHS))
        return pipe

    def save_pretrained(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, save_directory: str | os.PathLike[str], **kwargs: Any
    ) -> None:
        """Write the source generator, and the adaptations beside it."""
        # The generator holds the blend; what is saved is the source, from which any blend can be made again.
        with self.lock:
            strengths = self.strengths
            self.set_strengths({name: 0.0 for name in strengths})
            try:
                save_parts(
                    Path(save_directory),
                    {"generator"},
                    lambda folder: super(HDAPipeline, self).save_pretrained(folder, **kwargs),
                    INDEX,
                    kwargs.get("variant"),
                )
            finally:
                self.set_strengths(strengths)
        folder = Path(save_directory)
        for old in (*(folder / ADAPTATIONS).glob("*.safetensors"), folder / STRENGTHS):  # of what was saved here before
            old.unlink(missing_ok=True)
        for name, adaptation in self.adaptations.items():
            adaptation.save(folder / ADAPTATIONS / f"{name}.safetensors")
        if strengths:
            (folder / STRENGTHS).write_text(json.dumps(strengths))

    def load_adaptation(self, path: str | os.PathLike[str], strength: float = 1.0, name: str | None = None) -> str:
        """Load an adaptation and blend it in; returns its name. Raises `BadInput` for that of another generator."""
        adaptation = Adaptation.load(Path(path))
        if adaptation.source != self.fingerprint:
            raise BadInput(
                f"{path}: this adaptation belongs to the generator {short(adaptation.source)}{adaptation.named}, "
                f"but this one is {self.fingerprint}; load the source generator of the adaptation."
            )
        try:
            name = plain_name(name or adaptation.name)
        except ValueError as error:
            raise BadSetting(f"adaptation name {name!r}: it may have only letters, digits and . + - _.") from error
        with self.lock:
            self.adaptations[name] = adaptation
            self.set_strengths({**self.strengths, name: strength})
        return name

    def set_strengths(self, strengths: float | Mapping[str, float]) -> None:
        """Blend: theta = theta_S + sum k (theta_T - theta_S), with one k for all adaptations or k by name.

        0 gives the source bit for bit, 1 the adapted generator, more than 1 exaggerates. If the k of several
        adaptations sum to 1, the result is the weighted mean of the adapted generators. Names that are left out get 0.
        Raises `BadSetting` for a name that is not loaded.
        """
        if isinstance(strengths, Mapping):
            wanted = {str(name): float(k) for name, k in strengths.items()}
        else:
            wanted = {name: float(strengths) for name in self.adaptations}
        for name, strength in wanted.items():
            if not math.isfinite(strength):
                raise BadSetting(f"the strength of {name} must be a number, for example 0.5, not {strength}.")
        for name in wanted.keys() - self.adaptations.keys():
            loaded = ", ".join(self.adaptations) or "none"
            raise BadSetting(f"unknown adaptation {name!r}; loaded: {loaded}.")
        with self.lock:
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

        `truncation` pulls w towards its average: 1 leaves it unchanged, 0.7 trades variety for quality. It applies to
        seeds only; latents are used as they are.
        """
        if (seeds is None) == (latents is None):
            raise BadSetting("give either seeds or latents, not both or neither.")
        if latents is None:
            latents = self.latents([seeds] if isinstance(seeds, int) else list(seeds or []), truncation)
        with self.lock:
            images = torch.cat([self.generator.synthesis(w).float().cpu() for w in latents.split(batch_size)])
        if not images.isfinite().all():
            raise NotFinite("the generator drew NaN or infinite numbers; lower the strengths or the truncation.")
        return HDAOutput(images=_converted(images, output_type), latents=latents)

    @torch.no_grad()
    def latents(self, seeds: Sequence[int], truncation: float = 0.7) -> Tensor:
        """w of these seeds, (len(seeds), w_dim), drawn on the CPU and so the same on every machine."""
        if not seeds:
            raise BadSetting("seeds: the list is empty; give at least one number.")
        if wrong := [seed for seed in seeds if not 0 <= seed < 1 << 63]:
            raise BadSetting(f"seeds: a seed must be from 0 to 2^63 - 1, not {short(str(wrong[0]))}.")
        if not math.isfinite(truncation):
            raise BadSetting(f"truncation must be a number, for example 0.7, not {truncation}.")
        random = torch.Generator()
        z = torch.stack([torch.randn(self.generator.z_dim, generator=random.manual_seed(seed)) for seed in seeds])
        w = self.generator.mapping(z.to(self.device, self.generator.w_average.dtype))
        return self.generator.truncated(w, truncation)


def load_source(model: str) -> HDAPipeline:
    """The model whose generator is to be adapted. Raises `BadSetting` for one that is adapted already."""
    pipe = HDAPipeline.from_pretrained(model)
    if pipe.adaptations:
        raise BadSetting(
            f"--model {model}: this model is adapted already ({', '.join(pipe.adaptations)}); adapt its "
            f"source generator, then blend both with gen generate --adaptation A:0.5 --adaptation B:0.5."
        )
    return pipe


def load_blended(model: str, adaptations: Sequence[str], device: str) -> HDAPipeline:
    """The model with these adaptations at their strengths, on the GPU if there is one and `device` is not "cpu"."""
    pipe = HDAPipeline.from_pretrained(model)
    pipe.to(pick_device(device))
    pipe.generator.requires_grad_(False)
    for text in adaptations:
        path, strength = parse_adaptation(text)
        stem = re.sub(r"[^\w.+-]+", "-", path.stem).strip("-+.") or "adaptation"  # browsers: adaptation (1)
        name, number = stem, 2
        while name in pipe.adaptations:  # files of different runs have the same name
            name, number = f"{stem}-{number}", number + 1
        pipe.load_adaptation(path, strength, name)
    return pipe


def _read_strengths(file: Path) -> dict[str, float]:
    strengths = read_json(file)
    for name, strength in strengths.items():
        if not isinstance(strength, int | float):
            raise BadInput(f"{file}: the strength of {short(name)} must be a number, not {short(repr(strength))}.")
    return strengths


def _converted(images: Tensor, output_type: str) -> list[Any]:
    if output_type == "pt":
        return list((images / 2 + 0.5).clamp(0, 1))
    arrays = to_uint8(images).permute(0, 2, 3, 1).numpy()
    return [Image.fromarray(a) for a in arrays] if output_type == "pil" else list(arrays)
