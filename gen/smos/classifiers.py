"""Classifiers on disk: a folder with config.json and safetensors."""

from pathlib import Path

from gen import weights
from gen.formats.model_folders import load_network
from gen.loading import loading
from gen.provenance import fingerprint_weights
from gen.smos.backbones import Classifier
from gen.training.averaged import SHARD
from gen.training.model_folder import save_model

CONFIG = "config.json"
PRECURSOR_WEIGHTS = "precursor weights"
"""Key of a precursor's fingerprint in the record of a run."""


@loading
def load_classifier(name_or_folder: str | Path) -> Classifier:
    """A classifier that `save_pretrained` wrote, by folder or by the name of a shipped one, in float32, on the CPU.

    Raises `BadInput` if there is none.
    """
    return load_network(Classifier, weights.fetch(name_or_folder, weights.CONFIG))


def fingerprint(classifier: Classifier) -> str:
    """First 16 hex digits of the SHA-256 over all weights, by name.

    A run records it, because a precursor may be trained again under the same name.
    """
    return fingerprint_weights(classifier.state_dict())


@loading
def save_classifier(classifier: Classifier, folder: Path, half: bool = False) -> None:
    """Write config and weights; `half` stores float16, half the size."""
    # A copy: `half` converts in place, and the caller may still train.
    saved = Classifier(**{k: v for k, v in classifier.config.items() if not k.startswith("_")})
    saved.load_state_dict(classifier.state_dict())
    saved = saved.half() if half else saved
    save_model(folder, lambda new: saved.save_pretrained(new, max_shard_size=SHARD), CONFIG)
