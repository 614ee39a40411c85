"""Frozen image encoders behind one interface, with one way of preparing images for them."""

import importlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen.errors import BadSetting, short, unknown
from gen.hda.templates import BARE
from gen.loading import loading
from gen.metrics.encoder_names import full_name, loader_of, names_of
from gen.metrics.features import IMAGENET_MEAN, IMAGENET_STD, SqueezeNetFeatures
from gen.pretrained import LiteBackbone
from gen.tensors import spatial_moments
from gen.weights import NETWORK_WEIGHTS, TOKENIZERS, network_folder

log = logging.getLogger(__name__)

LITE = "efficientnet-lite0"
LITE_KINDS: dict[str, Literal["", "grid", "style"]] = {LITE: "", f"{LITE}-grid": "grid", f"{LITE}-style": "style"}
"""Encoder name -> how features are made from the maps of the network."""


class _Clamped(torch.autograd.Function):
    """x.clamp(-1, 1), with the gradient of the values outside that leads back inside.

    Clamp itself gives them none: a pixel that has become too bright could never become darker again.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp(-1, 1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        outwards = ((x > 1) & (grads[0] < 0)) | ((x < -1) & (grads[0] > 0))  # a descent goes against the gradient
        return grads[0].masked_fill(outwards, 0)


class EncoderOutput(NamedTuple):
    """Features of a batch of images."""

    features: Tensor
    """(B, d), normalised to length one."""
    tokens: Tensor | None
    """Patch tokens (B, K, d) for the spatial structure loss; none where they were not asked for."""


class Encoder(nn.Module, ABC):
    """Images (B, 3, H, W) in [-1, 1], square -> features (B, d), float32, of length one.

    Gradients flow to the images, none to the weights. References and samples are prepared by the same code; any
    difference would shift the subspaces against the samples. Features have length one, as in StyleGAN-NADA and its
    successors.
    """

    name: str
    """The name that `load_encoder` takes."""
    mean: Tensor
    std: Tensor

    def __init__(self, size: int, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, d)."""
        return F.normalize(self.features(self.prepared(images)).float(), dim=1)

    def prepared(self, images: Tensor) -> Tensor:
        """Clamped, resized to the encoder's size (bicubic, antialiased), normalised: (B, 3, size, size)."""
        x = (cast(Tensor, _Clamped.apply(images)) + 1) / 2
        if x.shape[-1] != self.size:
            x = F.interpolate(x, (self.size, self.size), mode="bicubic", antialias=True).clamp(0, 1)
        return (x - self.mean) / self.std

    @abstractmethod
    def features(self, prepared: Tensor) -> Tensor:
        """Prepared images (B, 3, size, size) -> features (B, d) of any length."""

    def with_tokens(self, images: Tensor) -> EncoderOutput:
        """Images (B, 3, H, W) in [-1, 1] -> features and patch tokens. Raises `BadSetting` if there are no tokens."""
        raise BadSetting(f"encoder {self.name}: it has no patch tokens; use efficientnet-lite0, clip or dinov2.")

    def train(self, mode: bool = True) -> "Encoder":
        """Stays in evaluation mode, whatever `mode` is: the encoder is frozen."""
        return super().train(False)


class LiteEncoder(Encoder):
    """EfficientNet-Lite0 (ImageNet), pooled over the image (1280-d): what the image shows.

    `grid`: the stride-16 map pooled to 4x4 (1792-d), which keeps positions and so suits aligned faces. `style`: mean
    and standard deviation of each channel of the image and of four maps (998-d), each level normalised to length one:
    how the image is drawn (after Huang and Belongie 2017).
    """

    GRID = 4

    def __init__(self, size: int = 224, kind: Literal["", "grid", "style"] = "") -> None:
        super().__init__(size, [127 / 255] * 3, [128 / 255] * 3)
        self.name = f"{LITE}-{kind}" if kind else LITE
        self.backbone = LiteBackbone()
        self.kind = kind

    def features(self, prepared: Tensor) -> Tensor:
        """(B, 3, size, size) -> (B, 1280), (B, 112 x 16) or (B, 998)."""
        return self._of_maps(prepared, self.backbone(prepared))

    def _of_maps(self, prepared: Tensor, maps: list[Tensor]) -> Tensor:
        if self.kind == "grid":
            return F.adaptive_avg_pool2d(maps[2], self.GRID).flatten(1)
        if self.kind == "style":
            return torch.cat([F.normalize(channel_statistics(x), dim=1) for x in (prepared, *maps)], 1)
        return self.backbone.pooled(maps[-1])

    def with_tokens(self, images: Tensor) -> EncoderOutput:
        """Tokens: the stride-16 map, (B, (size / 16)^2, 112)."""
        prepared = self.prepared(images)
        maps = self.backbone(prepared)
        features = F.normalize(self._of_maps(prepared, maps).float(), dim=1)
        return EncoderOutput(features, maps[2].flatten(2).transpose(1, 2).float())


def channel_statistics(x: Tensor) -> Tensor:
    """(B, C, H, W) -> mean and standard deviation of each channel, (B, 2 C)."""
    variance, mean = (moment.flatten(1) for moment in spatial_moments(x))
    return torch.cat([mean, (variance + 1e-6).sqrt()], 1)  # 1e-6: the root has no finite gradient at 0


class SqueezeEncoder(Encoder):
    """SqueezeNet 1.1 (ImageNet), pooled, 512-d: small; by default it scores what EfficientNet-Lite0 trained."""

    name = "squeezenet"

    def __init__(self, size: int = 224) -> None:
        super().__init__(size, IMAGENET_MEAN, IMAGENET_STD)
        self.network = SqueezeNetFeatures().network

    def features(self, prepared: Tensor) -> Tensor:
        """(B, 3, size, size) -> (B, 512)."""
        return self.network.features(prepared).mean((2, 3))


class CLIPEncoder(Encoder):
    """CLIP's image encoder from transformers; `text` embeds words in the same space."""

    def __init__(self, model: str, size: int | None = None) -> None:
        from transformers import AutoTokenizer, CLIPModel

        network: Any = _pretrained(CLIPModel, model)
        vision = network.config.vision_config
        super().__init__(
            size or vision.image_size, (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
        )
        self.name = f"clip:{model}"
        self.network = network.requires_grad_(False).eval()
        self.resized = self.size != vision.image_size
        self._tokenizer = lambda: _pretrained(AutoTokenizer, model, TOKENIZERS)

    def features(self, prepared: Tensor) -> Tensor:
        """(B, 3, size, size) -> (B, projection dimension)."""
        return self.network.visual_projection(self._vision(prepared).pooler_output)

    def with_tokens(self, images: Tensor) -> EncoderOutput:
        """Tokens: the patches, (B, (size / patch)^2, width)."""
        out = self._vision(self.prepared(images))
        features = self.network.visual_projection(out.pooler_output)
        return EncoderOutput(F.normalize(features.float(), dim=1), out.last_hidden_state[:, 1:].float())

    def _vision(self, prepared: Tensor) -> Any:
        return self.network.vision_model(pixel_values=prepared, interpolate_pos_encoding=self.resized)

    @torch.no_grad()
    def text(self, words: str, templates: Sequence[str] = BARE) -> Tensor:
        """Words -> text feature (d,): the mean of features of length one, one for each template with the words in it.

        Raises `BadSetting` for words that are too long.
        """
        sentences = [template.format(words) for template in templates]
        tokens = self._tokenizer()(sentences, return_tensors="pt", padding=True)
        most = self.network.config.text_config.max_position_embeddings
        if (length := tokens["input_ids"].shape[1]) > most:
            raise BadSetting(f"domain {short(words)}: {length} tokens of text; {self.name} reads at most {most}.")
        out = self.network.text_model(**tokens.to(self.mean.device))
        return F.normalize(self.network.text_projection(out.pooler_output).float(), dim=1).mean(0)


class DINOEncoder(Encoder):
    """DINOv2 from transformers: the class token as the feature, and patch tokens."""

    def __init__(self, model: str, size: int | None = None) -> None:
        from transformers import AutoModel

        network: Any = _pretrained(AutoModel, model)
        patch = network.config.patch_size
        super().__init__(size or 16 * patch, IMAGENET_MEAN, IMAGENET_STD)
        if self.size % patch:
            raise BadSetting(f"encoder dinov2:{model}@{size}: the size must be a multiple of {patch} pixels.")
        self.name = f"dinov2:{model}"
        self.network = network.requires_grad_(False).eval()

    def features(self, prepared: Tensor) -> Tensor:
        """(B, 3, size, size) -> (B, d)."""
        return self.network(pixel_values=prepared).last_hidden_state[:, 0]

    def with_tokens(self, images: Tensor) -> EncoderOutput:
        """Tokens: the patches, (B, (size / patch)^2, d)."""
        states = self.network(pixel_values=self.prepared(images)).last_hidden_state.float()
        return EncoderOutput(F.normalize(states[:, 0], dim=1), states[:, 1:])


class TimmEncoder(Encoder):
    """Any classification network of timm; the features before its classifier."""

    def __init__(self, model: str, size: int | None = None) -> None:
        try:
            timm: Any = importlib.import_module("timm")
        except ImportError as error:
            raise BadSetting(
                f"encoder timm:{model}: the package timm is not installed; run pip install timm."
            ) from error
        try:
            network = timm.create_model(model, pretrained=True, num_classes=0)
        except Exception as error:  # an unknown name, or the hub cannot be reached
            raise BadSetting(f"encoder timm:{model}: timm cannot load this model ({error}).") from error
        shape: Any = timm.data.resolve_model_data_config(network)
        super().__init__(size or shape["input_size"][-1], shape["mean"], shape["std"])
        self.name = f"timm:{model}"
        self.network = network.requires_grad_(False).eval()

    def features(self, prepared: Tensor) -> Tensor:
        """(B, 3, size, size) -> (B, d)."""
        return self.network(prepared)


FAMILIES = {"clip": CLIPEncoder, "dinov2": DINOEncoder, "timm": TimmEncoder}
"""What loads family:model."""


@loading
def load_encoder(name: str) -> Encoder:
    """Load an encoder by `name[@pixels]` or `family:model[@pixels]`; it is frozen and on the CPU.

    Names: those of `gen.metrics.encoder_names` for hda, and efficientnet-lite0-grid and efficientnet-lite0-style, other
    features of efficientnet-lite0. Families: clip and dinov2 (with a hub id or folder) and timm, which are downloaded
    where they are not on this machine.
    Raises `BadSetting` for other names and for weights that cannot be loaded.
    """
    base, _, pixels = name.partition("@")
    family, _, model = loader_of("hda", base).partition(":")
    if pixels and not pixels.isdigit():
        raise BadSetting(f"encoder {name}: expected a size in pixels after @, for example {base}@128.")
    size = int(pixels) if pixels else None
    if family in LITE_KINDS:
        if size is not None and size % 32:
            raise BadSetting(f"encoder {name}: the size must be a multiple of 32 pixels.")
        return LiteEncoder(size or 224, LITE_KINDS[family])
    if family == "squeezenet":
        return SqueezeEncoder(size or 224)
    if family in FAMILIES and model:
        return FAMILIES[family](model, size)
    offered = (*names_of("hda"), f"{LITE}-grid", f"{LITE}-style", *(f"{family}:MODEL" for family in FAMILIES))
    raise BadSetting(unknown("encoder", name, offered, ", each optionally with @pixels"))


def network_of(name: str) -> str:
    """The full name of the network behind an encoder name, without the kind of features and the size."""
    base = name.partition("@")[0]
    return LITE if base in LITE_KINDS else full_name("hda", base)


def _pretrained(kind: Any, model: str, needed: Sequence[str] = NETWORK_WEIGHTS) -> Any:
    """Load a transformers object from a folder, from where it is on this machine, or else from the hub.

    What is here is loaded as a folder: transformers would otherwise ask the hub whether there is a newer one, and wait
    where no network answers. `needed`: a folder that has it has one of these files. Raises `BadSetting`.
    """
    folder = Path(model) if Path(model).is_dir() else network_folder(model, needed)
    if folder is None:
        log.warning(f"encoder {model}: not on this machine, or not all of it; it is downloaded from the hub now.")
    try:
        return kind.from_pretrained(model if folder is None else str(folder))
    except Exception as error:  # files that are missing or damaged, no network: transformers has a dozen kinds
        reason = (
            "not found, and the download failed" if folder is None else f"{folder} has no such model, or a damaged one"
        )
        raise BadSetting(f"encoder {model}: {reason}.") from error
