"""The encoders of a `gen adapt` that names none: CLIP where its weights are on this machine. Free of torch."""

from pathlib import Path

from gen.hda.settings import HDASettings
from gen.training.settings import read_record
from gen.weights import clip_folder

CLIP = ("clip-vit-b32",)


def default_encoders(out: Path) -> tuple[tuple[str, ...], str]:
    """Their names, and a line that says why these. Nothing is downloaded, and no network is asked.

    A run that was begun in `out` keeps its encoders, whatever has come to this machine since, or has gone.
    """
    recorded = (read_record(out) or {}).get("settings", {}).get("encoders")
    if isinstance(recorded, list) and recorded and all(isinstance(name, str) for name in recorded):
        return tuple(recorded), f"encoders: {', '.join(recorded)}, as when this run began"
    if folder := clip_folder():
        return CLIP, f"encoders: {CLIP[0]}, from {folder}"
    lite = HDASettings.encoders
    return lite, f"encoders: {', '.join(lite)}, because CLIP is not on this machine (docs/hda.md says how to get it)"
