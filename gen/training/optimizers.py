"""Making optimisers and setting their learning rate."""

from torch import nn
from torch.optim import Adam, Optimizer


def adam(network: nn.Module, lr: float, betas: tuple[float, float], weight_decay: float = 0.0) -> Adam:
    """Adam on the parameters of `network` that require gradients."""
    learning = [p for p in network.parameters() if p.requires_grad]
    # Fused: one kernel updates all parameters, which is faster on CUDA and on the CPU.
    return Adam(learning, lr=lr, betas=betas, weight_decay=weight_decay, fused=True)


def set_lr(optimizer: Optimizer, lr: float) -> None:
    """Set the learning rate of all parameter groups."""
    for group in optimizer.param_groups:
        group["lr"] = lr
