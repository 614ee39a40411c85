"""A model that changes nothing and needs no file, so that what is tested is what is done with files."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from gen.translation import batch
from gen.translation.protocol import Capabilities
from gen.translation.report import Report
from gen.translation.settings import TranslateSettings
from gen.translation.watch import Watch


class Identity:
    """The frames themselves, as a `Translator`."""

    device = torch.device("cpu")
    capabilities = Capabilities({"adverse_to_normal": (), "normal_to_adverse": ()}, 1, (32, 56), 32)

    def shown_map(self, direction, which="auto"):
        return None

    def translate_frames(self, frames, direction, **options):
        return frames, None


def run(source: Path, out: Path, follow: Watch | None = None, **settings: Any) -> Report:
    """`gen translate` with the identity."""
    chosen = TranslateSettings(source, out, **{"model": "same", **settings})
    return batch.translate(chosen, lambda settings: Identity(), follow)


def statuses(report: Report) -> dict[str, str]:
    return {Path(entry.output).name: entry.status for entry in report.entries}


def report_of(out: Path) -> dict[str, dict[str, Any]]:
    """report.json by path inside the output folder."""
    return {file["path"]: file for file in json.loads((out / "report.json").read_text("utf-8"))["files"]}


def picture(path: Path, seed: int = 0, **options: Any) -> Path:
    """A picture of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (24, 32, 3), np.uint8)
    Image.fromarray(pixels).save(path, format=Image.registered_extensions()[path.suffix.strip().lower()], **options)
    return path


if __name__ == "__main__":  # IN OUT NAME=VALUE ...
    more = dict(argument.split("=") for argument in sys.argv[3:])
    run(Path(sys.argv[1]), Path(sys.argv[2]), **more)
