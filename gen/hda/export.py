"""Write the result of a run: adaptation.safetensors."""

from pathlib import Path

from gen.hda.adaptation import Adaptation, difference, fingerprint
from gen.hda.training import HDATrainer
from gen.provenance import portable
from gen.training import longer
from gen.training.own_code import recorded_code


def save_adaptation(trainer: HDATrainer) -> Path:
    """Write adaptation.safetensors in the run directory, from the averaged (EMA) weights; returns its path."""
    s = trainer.settings
    with trainer.averaged_weights():
        change = difference(trainer.source, trainer.generator)
    kept = {k: v for k, v in portable(s).items() if k not in ("preset", "out", "device")}
    kept["domains"] = [d.recorded for d in trainer.domains]
    record = {
        "settings": kept,
        **recorded_code(trainer.origin),
        **longer.recorded(trainer.origin),
        "weights": {d.name: d.weight for d in trainer.domains},
        "encoders": [encoder.name for encoder in trainer.encoders],
        "references": trainer.origin["data"]["references"],
        "samples": trainer.images_shown,
        **({"chosen layers": dict(trainer.chosen)} if trainer.chosen else {}),
        "seconds": round(trainer.seconds),
        "progress": trainer.progress,
        "reached": trainer.reached,
        "hardware": trainer.hardware,
    }
    adaptation = Adaptation("+".join(d.name for d in trainer.domains), fingerprint(trainer.source), change, record)
    path = s.out / "adaptation.safetensors"
    adaptation.save(path)
    return path
