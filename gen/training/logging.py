"""The records of a run: progress bar, metrics.jsonl, TensorBoard, sample grids, settings.json."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from gen.media.files import write_atomically

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
        self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=images_shown)
        self.bar = tqdm(
            total=images, initial=images_shown, unit="img", smoothing=0.05, dynamic_ncols=True, disable=None
        )

    def _drop_lines_after(self, images_shown: int) -> None:
        path = self.folder / METRICS
        if path.exists():
            # A killed process may have left half a line at the end. It came after the checkpoint too.
            whole = [line for line in path.read_text().splitlines() if line.endswith("}")]
            kept = [line for line in whole if json.loads(line)["images"] <= images_shown]
            with write_atomically(path) as partial:
                partial.write_text("".join(line + "\n" for line in kept))

    def settings(self, record: Mapping[str, Any]) -> None:
        """Write `record` to settings.json."""
        with write_atomically(self.folder / "settings.json") as partial:
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
        self.board.close()
        self.bar.close()
