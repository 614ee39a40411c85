"""The example that the page opens with is what the shipped weights make of its source today."""

from gen.translation.made_with import weights_id
from gen.web.example import EXAMPLE, MODEL


def test_it_was_made_with_the_shipped_weights():
    assert EXAMPLE.weights.read_text("utf-8").strip() == weights_id(MODEL), "run `make docs-web`"
    assert all(path.is_file() for path in EXAMPLE)
