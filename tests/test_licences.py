"""Each model card says in a section of its own what may be done with the weights."""

from typing import get_args

import pytest

from gen.licences import Licence, front_matter, in_short, section
from gen.weights import describe, model_folders

SHIPPED = [folder for name, folder in model_folders().items() if name != "squeezenet1_1"]  # that one has a licence file


@pytest.mark.parametrize("licence", get_args(Licence))
def test_a_licence_is_a_section(licence: str) -> None:
    text = section(licence)
    assert text.startswith("## Licence\n\nLicence of the weights: ")
    assert ("any purpose" in text) == (licence == "apache-2.0")
    assert (front_matter(licence) == "apache-2.0") == (licence == "apache-2.0")


def test_words_of_earlier_versions() -> None:
    assert section("research use only, as the pictures that they were trained on") == section("research")
    assert section("CC BY 4.0") == "## Licence\n\nLicence of the weights: CC BY 4.0."


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
def test_shipped_cards_say_what_may_be_done(folder) -> None:
    card = (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    licence = "apache-2.0" if "license: apache-2.0\n" in card else "research"
    assert card.count("Licence of the weights:") == 1
    said = in_short(describe(folder).licence)
    assert ("not for a product" in said) == (licence == "research")
    assert ("any use" in said) == (licence == "apache-2.0")
    assert section(licence) in card
    assert describe(folder).licence == {"research": "research use only", "apache-2.0": "Apache-2.0, any use"}[licence]
