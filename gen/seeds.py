"""The range of random seeds, and lists of them as people type them. Free of torch."""

from gen.errors import BadSetting, short

SEEDS = 2**32
"""A seed is below this, the range of NumPy's older generator, which accelerate seeds too."""


def check_seed(seed: int) -> None:
    """Raises `BadSetting` unless 0 <= seed < `SEEDS`."""
    if not 0 <= seed < SEEDS:
        raise BadSetting(f"seed must be a whole number from 0 to {SEEDS - 1}, not {short(str(seed))}.")


MOST_SEEDS = 10_000
"""Pictures of one run."""

LARGEST_SEED = 2**63 - 1
"""The largest seed that torch takes."""


def parse_seeds(text: str) -> list[int]:
    """`0-3,8` -> [0, 1, 2, 3, 8]. Raises `BadSetting`, also for more than `MOST_SEEDS`."""
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not _is_number(first) or (dash and not _is_number(last)):
            raise BadSetting(f"seeds {short(text)}: expected numbers and ranges, for example 0-15,20.")
        if max(len(first), len(last)) > len(str(LARGEST_SEED)) or max(int(first), int(last or 0)) > LARGEST_SEED:
            raise BadSetting(f"seeds {short(text)}: a seed must be at most 2^63 - 1.")
        chosen = range(int(first), int(last or first) + 1)
        if chosen.stop - chosen.start > MOST_SEEDS - len(seeds):
            raise BadSetting(f"seeds {short(text)}: at most {MOST_SEEDS} seeds at once.")
        if not chosen:
            raise BadSetting(f"seeds {short(text)}: the range is empty; give the smaller number first.")
        seeds += chosen
    return seeds


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()  # isdigit alone accepts characters such as "²", which int() refuses
