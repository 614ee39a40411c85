"""Markdown tables."""

import json
from pathlib import Path

import pytest

from gen.hda.evaluation import table
from gen.markdown import markdown_table
from gen.smos.analysis import as_markdown as analysis_as_markdown
from gen.smos.markdown import as_markdown
from gen.weights import first_table

DOCS = Path(__file__).parents[1] / "docs"


def test_cells_of_any_type() -> None:
    text = markdown_table(("name", 2), [("a", 1.5), ("", None)])
    assert text == "| name | 2 |\n|---|---|\n| a | 1.5 |\n|  | None |"
    assert first_table(text) == text
    assert markdown_table(("name",), []) == "| name |\n|---|"


def test_the_published_table_of_smos_is_what_its_results_say() -> None:
    results = json.loads((DOCS / "pacs" / "results.json").read_text())
    assert as_markdown(results) == (DOCS / "pacs" / "table.md").read_text()


@pytest.mark.parametrize("name", ["table", "further"])
def test_the_published_tables_of_hda_are_what_their_results_say(name: str) -> None:
    """The heading was worded otherwise when they were written."""
    written = (DOCS / "hda" / f"{name}.md").read_text().splitlines()
    made = table(json.loads((DOCS / "hda" / f"{name}.json").read_text())).splitlines()
    assert [line for line in made if line.startswith("|")] == [line for line in written if line.startswith("|")]


def test_the_published_analysis_of_smos_is_what_its_results_say() -> None:
    made = analysis_as_markdown(json.loads((DOCS / "pacs" / "analysis.json").read_text()))
    assert first_table(made) == first_table((DOCS / "pacs" / "analysis.md").read_text())
