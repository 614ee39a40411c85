"""Markdown tables."""

from collections.abc import Iterable


def markdown_table(head: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    """A table with a header row; cells are written with `str`. There is no newline at the end."""
    titles = list(head)
    lines = [f"| {' | '.join(str(cell) for cell in row)} |" for row in (titles, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(titles), *lines[1:]])
