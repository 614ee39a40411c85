"""gen: generative image translation and adaptation.

The public names load on first use, because torch and diffusers take seconds to import and `gen --help` must not.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gen.about import VERSION as __version__
from gen.errors import BadInput, BadSetting, GenError, TrainingDiverged

if TYPE_CHECKING:
    from gen.augan.networks import AUGANGenerator
    from gen.augan.pipeline import AUGANOutput, AUGANPipeline
    from gen.augan.training import AUGANSettings, AUGANTrainer

_LAZY = {
    "AUGANGenerator": "gen.augan.networks",
    "AUGANOutput": "gen.augan.pipeline",
    "AUGANPipeline": "gen.augan.pipeline",
    "AUGANSettings": "gen.augan.training",
    "AUGANTrainer": "gen.augan.training",
}

__all__ = [
    "AUGANGenerator",
    "AUGANOutput",
    "AUGANPipeline",
    "AUGANSettings",
    "AUGANTrainer",
    "BadInput",
    "BadSetting",
    "GenError",
    "TrainingDiverged",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'gen' has no attribute {name!r}")
