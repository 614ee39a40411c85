"""Uploads as gradio reads them, with a limit that it lacks."""

from gradio import route_utils
from starlette.formparsers import MultiPartException


class FilesOnly(route_utils.GradioMultiPartParser):
    """Refuses what is no file in an upload: gradio would collect it in memory, however long it is."""

    def on_headers_finished(self) -> None:
        """Called before the first byte of a part."""
        super().on_headers_finished()
        if self._current_part.file is None:
            raise MultiPartException("An upload may hold files only.")


def install() -> None:
    """Let gradio read uploads with `FilesOnly`."""
    route_utils.GradioMultiPartParser = FilesOnly
