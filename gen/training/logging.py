"""The records of a run: progress bar, metrics.jsonl, TensorBoard, sample grids, settings.json."""

import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gen.bars import progress_bar
from gen.disk import why_not_written
from gen.media.files import write_atomically
from gen.training.settings import RECORD

METRICS = "metrics.jsonl"


class RunLog:
    """Writes the records into a run directory.

    On resume, lines of metrics after the checkpoint are dropped, because their steps are done again.
    """

    def __init__(self, folder: Path, images: int, images_shown: int) -> None:
        """`images`: length of the run; `images_shown`: where it starts or resumes."""
        from torch.utils.tensorboard import SummaryWriter  # imported late: it takes a second

        self.folder = folder
        (folder / "samples").mkdir(parents=True, exist_ok=True)
        self._drop_lines_after(images_shown)
        self._hook = threading.excepthook
        threading.excepthook = self._on_thread_error
        self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=images_shown)
        self.bar = progress_bar(total=images, initial=images_shown, unit="img", smoothing=0.05, dynamic_ncols=True)

    def _on_thread_error(self, error: threading.ExceptHookArgs) -> None:
        """No traceback for TensorBoard's thread on a full disk: its next call raises the same error in this thread."""
        if error.exc_value is None or why_not_written(error.exc_value) is None:
            self._hook(error)

    def _drop_lines_after(self, images_shown: int) -> None:
        path = self.folder / METRICS
        if path.exists():
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            with write_atomically(path) as partial:
                partial.write_text("".join(line + "\n" for line in lines if 0 <= _images(line) <= images_shown))

    def settings(self, record: Mapping[str, Any]) -> None:
        """Write `record` to settings.json."""
        with write_atomically(self.folder / RECORD) as partial:
            partial.write_text(json.dumps(record, indent=2))

    def metrics(self, images: int, values: Mapping[str, float]) -> None:
        """Add a line of metrics at this number of images shown."""
        with (self.folder / METRICS).open("a") as file:  # opened each time, so that a killed run keeps its lines
            file.write(json.dumps({"images": images, **{k: float(f"{v:.6g}") for k, v in values.items()}}) + "\n")
        for name, value in values.items():
            self.board.add_scalar(name, value, images)
        # The bar shows a trainer's progress values, or its losses if it has none.
        shown = {k: v for k, v in values.items() if k.startswith("progress/")} or {
            k.removeprefix("loss/"): v for k, v in values.items() if k.startswith("loss/")
        }
        if shown:
            self.bar.set_postfix({k: f"{v:.3f}" for k, v in shown.items()}, refresh=False)

    def sync(self) -> None:
        """Wait until the metrics are on the disk: after a power cut, the curve must reach as far as the checkpoint."""
        if (self.folder / METRICS).exists():
            with (self.folder / METRICS).open("a") as file:
                os.fsync(file.fileno())

    def progress(self, images: int) -> None:
        """Advance the bar by this many images."""
        self.bar.update(images)

    def sample(self, images: int, grid: NDArray[np.uint8]) -> None:
        """Save a grid of sample pictures (H, W, 3) as samples/IMAGES.jpg and to TensorBoard."""
        with write_atomically(self.folder / "samples" / f"{images:09d}.jpg") as partial:
            Image.fromarray(grid).save(partial, quality=92)
        self.board.add_image("samples", grid, images, dataformats="HWC")

    def close(self) -> None:
        """Flush and close everything."""
        try:
            self.board.close()
        finally:
            self.bar.close()
            threading.excepthook = self._hook


def _images(line: str) -> int:
    """The number of images of a line of metrics; -1 for a damaged line.

    A killed process leaves half a line, and a power cut may leave zeros.
    """
    try:
        return int(json.loads(line)["images"])
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError):
        return -1
