"""What the tabs need for their buttons, lanes and readable errors, and the inputs and outputs that they share."""

import functools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np
from gradio.data_classes import FileData
from PIL import Image

from gen.errors import GenError
from gen.web.lanes import Lane
from gen.web.settings import WebSettings

if TYPE_CHECKING:
    from gen.web.service import Service

DEVICE: dict[str, Any] = {"concurrency_id": "device", "concurrency_limit": 1}
"""For the clicks of events with `event("device")`: gradio then shows visitors their place in the queue."""
RENDER: dict[str, Any] = {"concurrency_id": "render", "concurrency_limit": 1}
"""The same for `event("render")`."""
STATUS: dict[str, Any] = {"concurrency_id": "status", "concurrency_limit": None}
"""The same for `event("status")`; they never wait in gradio's queue."""

PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "queue": False}
"""For events that only update the page. Not queued: it must react while the queue is full of long events."""

log = logging.getLogger(__name__)


def image_input(label: str) -> gr.Image:
    """An image input that hands over the uploaded file's path. Gradio would decode the file before it is checked."""
    # Not a subclass of gr.Image: for those, gradio writes a .pyi file beside the source. After a click on an example,
    # gradio uses a fresh copy that does decode; a bad file then gets gradio's longer error message.
    image = gr.Image(type="filepath", format="png", label=label, sources=["upload", "clipboard"])
    image.preprocess = lambda payload: payload.path if payload else None
    return image


def server_folder(label: str, settings: WebSettings) -> gr.Textbox:
    """An input for a path inside the server's shared folder; hidden where the server has none."""
    info = "Path inside the server's shared folder"
    return gr.Textbox(label=label, value="", info=info, visible=settings.root is not None)


def image_output(label: str, value: str | None = None, **options: Any) -> gr.Image:
    """A picture to look at. Without gradio's button to share it, which works only on its makers' servers."""
    return gr.Image(value, label=label, format="png", interactive=False, buttons=["download", "fullscreen"], **options)


def clip_output(label: str, **options: Any) -> gr.Video:
    """A clip to look at, as it is. Gradio would convert some, and answer nobody meanwhile."""
    clip = gr.Video(label=label, interactive=False, **options)
    clip.postprocess = lambda value: FileData(path=str(value), orig_name=Path(value).name) if value else None
    return clip


def event(lane: Lane) -> Callable[[Callable[..., Any]], Any]:
    """Make a method an event: it runs in a lane of the server, and its errors are shown as one sentence.

    The method's object has the `Service` as `service`. The result is a coroutine function with the same parameters.
    Arrays (H, W, 3) that the method returns become files: gradio would encode them while everybody waits.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        @functools.wraps(function)
        async def run(self: Any, *args: Any, **kwargs: Any) -> Any:
            service: Service = self.service
            try:
                return await service.lanes.run(lane, lambda: _filed(service, function(self, *args, **kwargs)))
            except Exception as error:
                raise gr.Error(
                    service.messages.plain(sentence(error, function.__name__)), duration=None, print_exception=False
                ) from None

        return run

    return decorate


readable_errors = event("files")
"""For events that neither run a network nor keep the processor busy."""


def _filed(service: "Service", result: Any) -> Any:
    """What an event returns, with the paths of PNG files in place of arrays (H, W, 3)."""
    values = result if isinstance(result, tuple) else (result,)
    if not any(isinstance(value, np.ndarray) for value in values):
        return result
    with service.new_folder() as folder:
        filed = tuple(
            _png(folder / f"image{index}.png", value) if isinstance(value, np.ndarray) else value
            for index, value in enumerate(values)
        )
    return filed if isinstance(result, tuple) else filed[0]


def _png(path: Path, pixels: Any) -> str:
    Image.fromarray(pixels).save(path, compress_level=1)
    return str(path)


def sentence(error: Exception, event: str) -> str:
    """What a visitor is told of an error. The stack trace of an unexpected one goes to the server's log."""
    if isinstance(error, GenError | gr.Error):
        return str(error) if isinstance(error, GenError) else str(error.message)
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return "The image has too many pixels; reduce its size."
    log.error("%s failed", event, exc_info=error)
    first = (str(error).splitlines() or [""])[0]
    return f"Unexpected error ({type(error).__name__}: {first})."
