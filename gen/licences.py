"""What may be done with weights, for their model cards, in words for those who must decide."""

from typing import Annotated, Literal

import tyro

Licence = Literal["research", "apache-2.0", "unstated"]
"""research: trained on data that were published for research; apache-2.0: any use, for weights whose data allow
that, such as rendered frames or your own; unstated: nobody has said."""

LicenceArgument = Annotated[
    Licence,
    tyro.conf.arg(
        help="What may be done with the weights, for the model card. research: what the training data allow; "
        "apache-2.0: any use, where all training data allow that."
    ),
]

RESEARCH = """## Licence

Licence of the weights: research use only.

- You may use the weights, and pictures made with them, for research, teaching and other not-for-profit work, and pass
  the weights on for such work together with this card.
- You may not use them in or for a product or a paid service. Labelling data or training a model for one counts as such
  a use.
- The reason is the data on which they, or the networks that they started from, were trained: their owners published
  them for research. gen cannot grant more than they do.
- The code is under Apache-2.0, for any use. For weights without this limit, train on data of your own."""

ANY_USE = """## Licence

Licence of the weights: Apache-2.0, any use.

- You may use the weights, and pictures made with them, for any purpose, products and paid services included. You may
  change them and pass them on under the terms of the Apache License 2.0, which is also that of the code.
- They come without warranty, as sections 7 and 8 of that licence say."""

UNSTATED = """## Licence

Licence of the weights: not stated.

- Whoever exported these weights did not say what may be done with them. It depends on the data that they were trained
  on. Ask them, or use the weights for research and teaching only."""

SECTIONS: dict[str, str] = {"research": RESEARCH, "apache-2.0": ANY_USE, "unstated": UNSTATED}


def section(licence: str) -> str:
    """The section of a model card on a `Licence`, or on a licence in words, as records of earlier versions have it."""
    if licence.startswith("research use only"):
        licence = "research"
    return SECTIONS.get(licence, f"## Licence\n\nLicence of the weights: {licence}.")


def in_short(licence: str) -> str:
    """What may be done, for somebody who is about to make pictures. `licence`: as `weights.describe` has it."""
    if licence.startswith("research use only"):
        return "Licence: research use only. Pictures made with it are not for a product or a paid service."
    return f"Licence: {licence}."


def front_matter(licence: str) -> str:
    """The licence as model hubs know it."""
    return "apache-2.0" if licence == "apache-2.0" else "other"
