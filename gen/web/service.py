"""What all tabs share: settings, models loaded once, the job table, and plain words for errors."""

import functools
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import gradio as gr
from PIL import Image

from gen import weights
from gen.errors import BadInput, GenError
from gen.translation.registry import translators
from gen.web.jobs import Jobs
from gen.web.settings import WebSettings
from gen.web.work import WORK

if TYPE_CHECKING:
    from gen.augan.pipeline import AUGANPipeline
    from gen.hda.pipeline import HDAPipeline

DEVICE: dict[str, Any] = {"concurrency_id": "device", "concurrency_limit": 1}
"""Events that run a network: one at a time, whichever tab they belong to."""
RENDER: dict[str, Any] = {"concurrency_id": "render", "concurrency_limit": 1}
"""Events that keep the processor busy."""

F = TypeVar("F", bound=Callable[..., Any])
log = logging.getLogger(__name__)


def picture_input(label: str) -> gr.Image:
    """A picture as the file that was uploaded: gradio itself would decode it before it is checked.

    Not a subclass: for one, gradio writes a stub beside the source file. Once an example was clicked, gradio works with
    a fresh copy, which decodes: a wrong file is then refused in gradio's own, longer words.
    """
    image = gr.Image(type="filepath", format="png", label=label, sources=["upload", "clipboard"])
    image.preprocess = lambda payload: payload.path if payload else None
    return image


class Service:
    """One a server."""

    def __init__(self, settings: WebSettings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._translators: dict[str, AUGANPipeline] = {}
        self._generators: dict[str, HDAPipeline] = {}
        work = {kind: (lane, functools.partial(run, self)) for kind, (lane, run) in WORK.items()}
        self.jobs = Jobs(settings.results.resolve() / "jobs", work, settings.keep_hours, settings.waiting)

    def device(self) -> str:
        """Where networks run."""
        import torch

        return self.settings.device or ("cuda" if torch.cuda.is_available() else "cpu")

    def translator(self, name: str) -> "AUGANPipeline":
        """The AU-GAN of this name in weights/; loaded once. Raises `BadInput` for a name that is not offered."""
        from diffusers.utils.logging import disable_progress_bar

        from gen.augan.pipeline import AUGANPipeline

        check_offered(name, translators())
        with self._lock:
            if name not in self._translators:
                disable_progress_bar()
                self._translators[name] = AUGANPipeline.from_pretrained(name).to(self.device())
        return self._translators[name]

    def generator(self, name: str) -> "HDAPipeline":
        """The StyleGAN2 of this name in weights/; loaded once, for events of `DEVICE` alone: it holds strengths."""
        from diffusers.utils.logging import disable_progress_bar

        from gen.hda.pipeline import HDAPipeline

        check_offered(name, generators())
        with self._lock:
            if name not in self._generators:
                disable_progress_bar()
                pipe = HDAPipeline.from_pretrained(name).to(self.device())
                pipe.generator.requires_grad_(False)
                self._generators[name] = pipe
        return self._generators[name]

    def new_folder(self) -> Path:
        """For results that need no job."""
        return self.jobs.folder(self.jobs.new_folder())


def check_offered(name: str, offered: list[str]) -> None:
    """A visitor's word is a name from the list, never a path or a download. Raises `BadInput`."""
    if name not in offered:
        raise BadInput(f"{name}: there is none of this name; there are: {', '.join(offered) or 'none'}.")


def generators() -> list[str]:
    """StyleGAN2 generators at hand."""
    return weights.models_of("HDAPipeline")


def plainly(function: F) -> F:
    """An event's errors as one sentence for the visitor; the stack trace goes to the server's log."""

    @functools.wraps(function)
    def told(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except GenError as error:
            raise gr.Error(str(error), print_exception=False) from None
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            raise gr.Error("The picture has more pixels than are allowed; make it smaller.") from None
        except Exception as error:
            log.exception("%s failed", function.__name__)
            first = (str(error).splitlines() or [""])[0]
            raise gr.Error(f"That did not work ({type(error).__name__}: {first}).", print_exception=False) from None

    return told  # pyright: ignore[reportReturnType]
