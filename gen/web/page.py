"""The page as gradio sees it."""

from typing import Any

import gradio as gr

from gen.web.messages import Messages


class Page(gr.Blocks):
    """gr.Blocks, with messages that say nothing of the server where a request does not fit an endpoint."""

    def __init__(self, messages: Messages, **options: Any) -> None:
        super().__init__(**options)
        self._messages = messages

    async def preprocess_data(self, *args: Any, **kwargs: Any) -> Any:
        """What an endpoint is given, out of what a request holds. Raises `gr.Error` for what does not fit."""
        try:
            return await super().preprocess_data(*args, **kwargs)
        except Exception as error:
            text = str(error.message) if isinstance(error, gr.Error) else str(error)
            first = (text.splitlines() or [""])[0]
            raise gr.Error(self._messages.plain(first), print_exception=False) from None
