"""The page as gradio sees it."""

from typing import Any

import gradio as gr
from gradio_client.utils import is_file_obj_with_meta, is_http_url_like, traverse

from gen.web.messages import Messages


class Page(gr.Blocks):
    """gr.Blocks, with messages that say nothing of the server where a request does not fit an endpoint."""

    def __init__(self, messages: Messages, **options: Any) -> None:
        super().__init__(**options)
        self._messages = messages

    async def preprocess_data(self, *args: Any, **kwargs: Any) -> Any:
        """What an endpoint is given, out of what a request holds. Raises `gr.Error` for what does not fit."""
        try:
            traverse((args, kwargs), _refuse_address, is_file_obj_with_meta)
            return await super().preprocess_data(*args, **kwargs)
        except Exception as error:
            text = str(error.message) if isinstance(error, gr.Error) else str(error)
            first = (text.splitlines() or [""])[0]
            raise gr.Error(self._messages.plain(first), print_exception=False) from None


def _refuse_address(file: dict[str, Any]) -> None:
    """Raises `gr.Error` for a file by its address: gradio would look the host up, and fetch it for the visitor."""
    if is_http_url_like(str(file.get("path", ""))):
        raise gr.Error("Upload the file itself; this server fetches none from other addresses.", print_exception=False)
