"""The network replaced by identity: what comes out must be what went in."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gen.translation import batch
from gen.translation.protocol import Capabilities
from gen.translation.report import Entry
from gen.translation.settings import TranslateSettings


class Identity:
    """A `Translator` that changes nothing."""

    device = torch.device("cpu")
    capabilities = Capabilities({"adverse_to_normal": (), "normal_to_adverse": ()}, 1, (64, 64), 64)

    def shown_map(self, direction: str, which: str = "auto") -> None:
        return None

    def translate_frames(self, frames: Tensor, direction: str, **options: Any) -> tuple[Tensor, None]:
        return frames.clone(), None


def translate_unchanged(source: Path, out: Path, **settings: Any) -> dict[str, Entry]:
    """Run the folder tool with the identity network; returns the entries by the input's name."""
    report = batch.translate(TranslateSettings(source, out, **settings), lambda s: Identity())
    return {Path(entry.input).name: entry for entry in report.entries}


def texts(entries: Sequence[str]) -> str:
    return "; ".join(entries)
