"""Records of a training run: progress bar, metrics as JSON lines, TensorBoard, sample grids."""

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
    """Writes a run directory's records. On resume, it drops metrics after the checkpoint, which will be repeated."""

    def __init__(self, folder: Path, images: int, images_shown: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

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
            # If the process was killed, the last line may be incomplete; drop it too.
            whole = [line for line in path.read_text().splitlines() if line.endswith("}")]
            kept = [line for line in whole if json.loads(line)["images"] <= images_shown]
            with write_atomically(path) as partial:
                partial.write_text("".join(line + "\n" for line in kept))

    def settings(self, record: Mapping[str, Any]) -> None:
        """Write settings.json, which identifies the run."""
        with write_atomically(self.folder / "settings.json") as partial:
            partial.write_text(json.dumps(record, indent=2))

    def metrics(self, images: int, values: Mapping[str, float]) -> None:
        """Append one line of metrics for this number of images shown."""
        with (self.folder / METRICS).open("a") as file:
            file.write(json.dumps({"images": images, **{k: float(f"{v:.6g}") for k, v in values.items()}}) + "\n")
        for name, value in values.items():
            self.board.add_scalar(name, value, images)
        displayed = {k: v for k, v in values.items() if k.startswith("progress/")} or {
            k.removeprefix("loss/"): v for k, v in values.items() if k.startswith("loss/")
        }
        if displayed:
            self.bar.set_postfix({k: f"{v:.3f}" for k, v in displayed.items()}, refresh=False)

    def progress(self, images: int) -> None:
        """Advance the bar by this many images."""
        self.bar.update(images)

    def sample(self, images: int, grid: NDArray[np.uint8]) -> None:
        """Write a grid of sample images (H, W, 3) as a JPEG and to TensorBoard."""
        with write_atomically(self.folder / "samples" / f"{images:09d}.jpg") as partial:
            Image.fromarray(grid).save(partial, quality=92)
        self.board.add_image("samples", grid, images, dataformats="HWC")

    def close(self) -> None:
        """Flush and close everything."""
        self.board.close()
        self.bar.close()
