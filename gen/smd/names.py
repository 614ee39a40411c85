"""The classes of game scenes and the splits of a data set, by name. No heavy imports: command-line help reads this."""

from typing import Literal, get_args

SceneName = Literal["grassland", "cave", "underwater", "fortress", "sky", "snow", "desert", "haunted"]
SCENES: tuple[str, ...] = get_args(SceneName)
"""A class's label is its index here. Seeds depend on it too: append new classes, never reorder them."""

Split = Literal["train", "val"]
