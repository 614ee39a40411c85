"""The page as gradio sees it."""

from typing import Any

import gradio as gr
from gradio_client.utils import is_file_obj_with_meta, is_http_url_like, traverse

from gen.web.messages import Messages


class Page(gr.Blocks):
    """gr.Blocks, with messages that say nothing of the server where a request does not fit an endpoint."""

    def __init__(self, messages: Messages, description: str, **options: Any) -> None:
        """`description`: of the page, for link previews."""
        super().__init__(**options)
        self._messages, self.description = messages, description

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], *args: Any, **kwargs: Any) -> Any:
        """What an endpoint is given, out of what a request holds. Raises `gr.Error` for what does not fit.

        A script written for an earlier version leaves out the parameters that are new: they get their defaults.
        """
        try:
            traverse(inputs, _refuse_address, is_file_obj_with_meta)
            missing = [getattr(component, "value", None) for component in block_fn.inputs[len(inputs) :]]
            return await super().preprocess_data(block_fn, [*inputs, *missing], *args, **kwargs)
        except Exception as error:
            text = str(error.message) if isinstance(error, gr.Error) else str(error)
            first = (text.splitlines() or [""])[0]
            raise gr.Error(self._messages.plain(first), duration=None, print_exception=False) from None


def _refuse_address(file: dict[str, Any]) -> None:
    """Raises `gr.Error` for a file by its address: gradio would look the host up, and fetch it for the visitor."""
    if is_http_url_like(str(file.get("path", ""))):
        raise gr.Error(
            "Upload the file itself; this server fetches none from other addresses.",
            duration=None,
            print_exception=False,
        )
