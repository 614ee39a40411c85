"""The encoders of a `gen adapt` that names none: CLIP where its weights are on this machine. Free of torch."""

from pathlib import Path

from gen.errors import BadSetting
from gen.hda.settings import HDASettings
from gen.metrics.encoder_names import full_name
from gen.training.settings import read_record
from gen.weights import CLIP as HUB_NAME
from gen.weights import clip_folder

CLIP = ("clip-vit-b32",)


def default_encoders(out: Path) -> tuple[tuple[str, ...], str]:
    """Their names, and a line that says why these. Nothing is downloaded, and no network is asked.

    A run that was begun in `out` keeps its encoders, whatever has come to this machine since. Raises `BadSetting` if
    they are CLIP, and it has gone.
    """
    recorded = (read_record(out) or {}).get("settings", {}).get("encoders")
    if isinstance(recorded, list) and recorded and all(isinstance(name, str) for name in recorded):
        gone = [name for name in recorded if full_name("hda", name.partition("@")[0]) == CLIP[0]]
        if gone and clip_folder() is None:
            raise BadSetting(
                f"encoder {gone[0]}: the run in {out} began with it, but it is no longer on this machine; get it again "
                f"with: hf download {HUB_NAME}"
            )
        return tuple(recorded), f"encoders: {', '.join(recorded)}, as when this run began"
    if folder := clip_folder():
        return CLIP, f"encoders: {CLIP[0]}, from {folder}"
    lite = HDASettings.encoders
    return lite, f"encoders: {', '.join(lite)}, because CLIP is not on this machine (docs/hda.md says how to get it)"
