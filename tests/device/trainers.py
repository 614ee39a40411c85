"""A small run of every trainer, for the tests of devices and of several processes.

As a program (`python -m tests.device.trainers ROOT`, below torch.distributed.run): trains each for a step, is stopped
by one of the processes, resumes to the end, and saves what each process holds.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from gen.augan.invention_settings import InventionSettings
from gen.augan.invention_training import InventionTrainer
from gen.augan.networks import AUGANGenerator
from gen.augan.pipeline import AUGANPipeline
from gen.augan.start import choose_settings
from gen.augan.training import AUGANTrainer
from gen.cyclegan.method import CycleGANTrainer
from gen.cyclegan.settings import CycleGANSettings
from gen.hda.pipeline import HDAPipeline
from gen.hda.settings import HDASettings
from gen.hda.training import HDATrainer
from gen.mobilestylegan.settings import MobileStyleGANSettings
from gen.mobilestylegan.training import MobileStyleGANTrainer
from gen.smos.settings import SMOSSettings
from gen.smos.training import SMOSTrainer
from gen.stylegan2.settings import StyleGAN2Settings
from gen.stylegan2.training import StyleGAN2Trainer
from tests.conftest import street, write_streets
from tests.mobilestylegan.conftest import tiny_mobile
from tests.smos.conftest import write_domains
from tests.stylegan2.conftest import tiny_generator, write_pictures

BATCH, STEPS = 4, 4

Make = Callable[[Path, Path], Any]
"""Folder of data and run directory -> trainer."""


def write_data(root: Path) -> Path:
    """What all trainers read."""
    write_streets(root / "night", 6, True)
    write_streets(root / "day", 6, False)
    for kind in ("rendered", "simulated"):
        for name, dark in (("adverse", True), ("day", False)):
            (root / kind / name).mkdir(parents=True)
            for index in range(5):
                picture = street(np.random.default_rng(index), 80, 128, dark)
                Image.fromarray(picture).save(root / kind / name / f"{index}.png")
    write_pictures(root / "red", 5, (220, 40, 40), seed=1)
    write_pictures(root / "blue", 5, (30, 60, 230), seed=2)
    write_domains(root / "shapes")
    torch.manual_seed(0)
    shape: dict[str, Any] = {"width": 4, "blocks": 1, "reconstruction": False}
    AUGANPipeline(
        AUGANGenerator(transfer_blocks=1, uncertainty=True, **shape),
        AUGANGenerator(transfer_blocks=0, uncertainty=False, **shape),
        trained_height=80,
        trained_width=128,
    ).save_pretrained(root / "model")
    HDAPipeline(tiny_mobile()).save_pretrained(root / "teacher")
    return root


USUAL: dict[str, Any] = {
    "batch": BATCH,
    "images": BATCH * STEPS,
    "log_every": BATCH,
    "checkpoint_every": 1000,
}


def _augan(**changes: Any) -> Make:
    small = {"width": 4, "blocks": 1, "transfer_blocks": 1, "discriminator_width": 4, "sample_every": 2 * BATCH}

    def make(data: Path, out: Path) -> AUGANTrainer:
        folders = {"adverse": data / "night", "normal": data / "day", "out": out}
        pairs = {name: data / name for name in ("rendered", "simulated") if f"{name}_share" in changes}
        if "warm_up" in changes:
            folders["start_from"] = str(data / "model")
        return AUGANTrainer(choose_settings("tiny", USUAL | small | folders | pairs | changes))

    return make


def _cyclegan(**changes: Any) -> Make:
    small = {"width": 4, "blocks": 5, "discriminator_width": 4, "load_height": 64, "crop": (64, 64), "nce_patches": 16}

    def make(data: Path, out: Path) -> CycleGANTrainer:
        folders = {"adverse": data / "night", "normal": data / "day", "out": out}
        return CycleGANTrainer(CycleGANSettings(**USUAL | small | folders | {"sample_every": 2 * BATCH} | changes))

    return make


def _stylegan2(**changes: Any) -> Make:
    small = {
        "size": 32, "channel_multiplier": 0.016, "channel_max": 16, "z_dim": 16, "mapping_layers": 2, "r1_every": 2,
        "path_every": 2, "sample_every": 2 * BATCH, "distance_every": 2 * BATCH, "distance_images": 4,
        "distance_features": "squeezenet",
    }  # fmt: skip

    def make(data: Path, out: Path) -> StyleGAN2Trainer:
        return StyleGAN2Trainer(StyleGAN2Settings(data=data / "red", out=out, **USUAL | small | changes))

    return make


def _mobilestylegan(**changes: Any) -> Make:
    small = {"size": 32, "channel_multiplier": 1 / 128, "channel_max": 16, "teacher_images": 4,
             "measure_every": 2 * BATCH, "sample_every": 2 * BATCH}  # fmt: skip

    def make(data: Path, out: Path) -> MobileStyleGANTrainer:
        given = {"teacher": data / "teacher", "out": out}
        return MobileStyleGANTrainer(MobileStyleGANSettings(**USUAL | small | given | changes))

    return make


def _hda(**changes: Any) -> Make:
    small = {"encoders": ["efficientnet-lite0@64"], "lr": 0.01, "sample_every": 2 * BATCH, "stop_when_stalled": False}

    def make(data: Path, out: Path) -> HDATrainer:
        domains = [f"{name}={data / name}" for name in ("red", "blue")]
        given = {"source": "tiny", "domains": domains, "out": out}
        return HDATrainer(HDASettings(**USUAL | small | given | changes), tiny_generator())

    return make


def _smos(**changes: Any) -> Make:
    usual = {name: value for name, value in USUAL.items() if name != "images"}
    small = {"backbone": "efficientnet-lite0", "size": 32, "target": "ink", "steps": STEPS, "evaluate_every": 2,
             "batch": 2, "workers": 1}  # fmt: skip

    def make(data: Path, out: Path) -> SMOSTrainer:
        folders = {"data": data / "shapes", "out": out, "cache": data / "cache"}
        return SMOSTrainer(SMOSSettings(**usual | small | folders | changes))

    return make


def _invention(**changes: Any) -> Make:
    def make(data: Path, out: Path) -> InventionTrainer:
        given = {"model": str(data / "model"), "rendered": data / "rendered", "out": out, "echoes": 1}
        return InventionTrainer(InventionSettings(**USUAL | given | {"sample_every": 2 * BATCH} | changes))

    return make


PAIRED = {"rendered_share": 0.3, "simulated_share": 0.3}
LIGHT = {"design": "light", "crop": (64, 96), "pretrained": True, "augment": True}
TRAINERS: dict[str, Make] = {
    "augan": _augan(),
    "augan, pairs": _augan(**PAIRED, **LIGHT, pairs_first=2 * BATCH, pair_perceptual_weight=0.1),
    "augan, projected": _augan(**PAIRED, **LIGHT, adversary="both", energy_weight=1, perceptual_weight=1),
    "augan, warm-up": _augan(warm_up=2 * BATCH),
    "cyclegan": _cyclegan(),
    "cut": _cyclegan(directions="adverse_to_normal", cycle_weight=0, identity_weight=0, nce_weight=1, antialias=True),
    "stylegan2": _stylegan2(),
    "stylegan2, ada": _stylegan2(ada_target=0.6),
    "mobilestylegan": _mobilestylegan(),
    "hda": _hda(),
    "hda, nada": _hda(method="nada"),
    "smos": _smos(algorithm="miro"),
    "smos, sam": _smos(algorithm="sam"),
    "smos, groupdro": _smos(algorithm="groupdro"),
    "smos, domain_penalisation": _smos(algorithm="domain_penalisation", options={"epoch": 2}),
    "smos, coral": _smos(algorithm="coral"),
    "smos, irm": _smos(algorithm="irm", options={"start": 1}),
    "smos, fishr": _smos(algorithm="fishr", options={"start": 1}),
    "smos, dsp_reg": _smos(algorithm="dsp_reg"),
    "smos, udim": _smos(algorithm="udim", options={"start": 1}),
    "smos, drm": _smos(algorithm="drm"),
    "smos, soma": _smos(algorithm="soma", options={"rank": 2}),
    "smos, boda": _smos(algorithm="boda", options={"start": 1, "every": 2}),
    "smos, meta_dmoe": _smos(algorithm="meta_dmoe", batch=4),
    "smos, gaqat": _smos(algorithm="gaqat", options={"window": 2}),
    "smos, mixup": _smos(algorithm="smos(mixup)", precursor=Path("smd-precursor")),
    "invention": _invention(),
}


def main(root: Path) -> None:
    """Train all of them, each in a folder of its name; see the module."""
    for name, make in TRAINERS.items():
        first = make(root, root / "runs" / name)
        rank = first.accelerator.process_index
        first.watch = lambda first=first, rank=rank: first.stop() if rank == 1 and first.images_shown else None
        first.fit()
        assert not first.finished, name
        trainer = make(root, root / "runs" / name)
        trainer.fit()
        assert trainer.finished, name
        assert trainer.accelerator.num_processes == 2
        torch.save({n: network.state_dict() for n, network in trainer.raw.items()}, root / f"{name}-{rank}.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
