"""Names of devices as people write them. Free of torch, which `gen.devices` asks what is there."""

import re
from typing import Annotated

import tyro
from pydantic import AfterValidator

from gen.devices import NAME, NAMES


def _checked(name: str) -> str:
    if not re.fullmatch(NAME, name):
        raise ValueError(f"expected {NAMES}")
    return name


Device = Annotated[str, tyro.conf.arg(metavar="{auto,cpu,cuda,cuda:1,mps}"), AfterValidator(_checked)]
"""Type of every setting `device`."""
