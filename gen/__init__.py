"""gen: generative image translation and adaptation.

The public names load on first use: torch and diffusers take seconds to import, and `gen --help` must be fast.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from gen.about import VERSION as __version__
from gen.errors import BadInput, BadSetting, GenError, TrainingDiverged

# Threads of a network that wait for each other spin, in torch's OpenMP for milliseconds. Beside more busy programs than
# cores, that takes the time that they wait for. A shorter spin costs little on an idle machine: benchmarks/waiting.py.
# It must be set before torch is imported.
if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
    os.environ["GOMP_SPINCOUNT"] = "10000"

if TYPE_CHECKING:
    from gen.augan.networks import AUGANGenerator
    from gen.augan.pipeline import AUGANOutput, AUGANPipeline
    from gen.augan.settings import AUGANSettings
    from gen.augan.training import AUGANTrainer
    from gen.hda.pipeline import HDAOutput, HDAPipeline
    from gen.hda.settings import HDASettings
    from gen.hda.training import HDATrainer
    from gen.mobilestylegan.networks import MobileStyleGANGenerator
    from gen.mobilestylegan.settings import MobileStyleGANSettings
    from gen.mobilestylegan.training import MobileStyleGANTrainer
    from gen.stylegan2.networks import StyleGAN2Discriminator, StyleGAN2Generator
    from gen.stylegan2.settings import StyleGAN2Settings
    from gen.stylegan2.training import StyleGAN2Trainer
    from gen.stylegan3.networks import StyleGAN3Generator

_LAZY = {
    "AUGANGenerator": "gen.augan.networks",
    "AUGANOutput": "gen.augan.pipeline",
    "AUGANPipeline": "gen.augan.pipeline",
    "AUGANSettings": "gen.augan.settings",
    "AUGANTrainer": "gen.augan.training",
    "HDAOutput": "gen.hda.pipeline",
    "HDAPipeline": "gen.hda.pipeline",
    "HDASettings": "gen.hda.settings",
    "HDATrainer": "gen.hda.training",
    "MobileStyleGANGenerator": "gen.mobilestylegan.networks",
    "MobileStyleGANSettings": "gen.mobilestylegan.settings",
    "MobileStyleGANTrainer": "gen.mobilestylegan.training",
    "StyleGAN2Discriminator": "gen.stylegan2.networks",
    "StyleGAN2Generator": "gen.stylegan2.networks",
    "StyleGAN2Settings": "gen.stylegan2.settings",
    "StyleGAN2Trainer": "gen.stylegan2.training",
    "StyleGAN3Generator": "gen.stylegan3.networks",
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
    "HDAOutput",
    "HDAPipeline",
    "HDASettings",
    "HDATrainer",
    "MobileStyleGANGenerator",
    "MobileStyleGANSettings",
    "MobileStyleGANTrainer",
    "StyleGAN2Discriminator",
    "StyleGAN2Generator",
    "StyleGAN2Settings",
    "StyleGAN2Trainer",
    "StyleGAN3Generator",
    "TrainingDiverged",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'gen' has no attribute {name!r}")
