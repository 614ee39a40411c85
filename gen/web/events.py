"""What the tabs need for their buttons: queues, readable errors, and an image input that does not decode."""

import functools
import logging
from collections.abc import Callable
from typing import Any, TypeVar

import gradio as gr
from PIL import Image

from gen.errors import GenError

DEVICE: dict[str, Any] = {"concurrency_id": "device", "concurrency_limit": 1}
"""For events that run a network: one at a time, over all tabs and visitors."""
RENDER: dict[str, Any] = {"concurrency_id": "render", "concurrency_limit": 1}
"""For events that keep the processor busy: one at a time."""

F = TypeVar("F", bound=Callable[..., Any])
log = logging.getLogger(__name__)


def image_input(label: str) -> gr.Image:
    """An image input that hands over the uploaded file's path. Gradio would decode the file before it is checked."""
    # Not a subclass of gr.Image: for those, gradio writes a .pyi file beside the source. After a click on an example,
    # gradio uses a fresh copy that does decode; a bad file then gets gradio's longer error message.
    image = gr.Image(type="filepath", format="png", label=label, sources=["upload", "clipboard"])
    image.preprocess = lambda payload: payload.path if payload else None
    return image


def readable_errors(function: F) -> F:
    """Show an event's errors to the visitor as one sentence; stack traces go to the server's log."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except GenError as error:
            raise gr.Error(str(error), print_exception=False) from None
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            raise gr.Error("The image has too many pixels; reduce its size.") from None
        except Exception as error:
            log.exception("%s failed", function.__name__)
            first = (str(error).splitlines() or [""])[0]
            raise gr.Error(f"Unexpected error ({type(error).__name__}: {first}).", print_exception=False) from None

    return wrapped  # pyright: ignore[reportReturnType]
