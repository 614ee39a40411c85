"""The range of random seeds."""

from gen.errors import BadSetting, short

SEEDS = 2**32
"""A seed is below this, the range of NumPy's older generator, which accelerate seeds too."""


def check_seed(seed: int) -> None:
    """Raises `BadSetting` unless 0 <= seed < `SEEDS`."""
    if not 0 <= seed < SEEDS:
        raise BadSetting(f"seed must be a whole number from 0 to {SEEDS - 1}, not {short(str(seed))}.")
