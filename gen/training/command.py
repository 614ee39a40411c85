"""What every training command does once its trainer is made."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gen.training.loop import Trainer


def run_to_end(trainer: "Trainer[Any]", next_step: str) -> int:
    """Train, print how it ended, and return the exit code: 0, or 130 if Ctrl-C stopped it.

    `next_step`: what to do with a finished run, for example a command.
    """
    trainer.fit()
    if not trainer.finished:
        print(f"stopped at {trainer.images_shown} of {trainer.total_images} images; run the same command to resume.")
        return 130
    print(f"done; {next_step}")
    return 0
