"""What all residual blocks of AU-GAN's generators do with their layers."""

from torch import Tensor, nn

from gen.translation.tiling import Run


class Residual(nn.Module):
    """`body`, plus the input: no ReLU after the sum."""

    def __init__(self, body: nn.Module) -> None:
        """`body`: (B, C, H, W) -> the same shape."""
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        return x + self.body(x)

    def in_strips(self, x: Tensor, run: Run) -> Tensor:
        """Like `forward`, see `gen.translation.tiling`."""
        return run(self.body, x).add_(x)
