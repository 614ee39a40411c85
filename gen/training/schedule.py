"""The learning rate schedule."""


def constant_then_linear(progress: float, decay: float = 0.5) -> float:
    """Share of the full learning rate at `progress` in [0, 1]: 1, then over the last share `decay` linearly to 0.

    With `decay` 0 it stays 1, for runs whose end is not known.
    """
    return min(1.0, (1.0 - progress) / decay) if decay else 1.0
