"""Target domains: a folder of reference images each, or words. Free of torch."""

import math
import re
from dataclasses import dataclass, replace
from pathlib import Path

from gen.errors import BadSetting

TEXT = "text:"


@dataclass(frozen=True)
class Domain:
    """A target domain, as `name=DIR[:alpha]` or `name=text:WORDS[:alpha]` describes it."""

    name: str
    folder: Path | None
    """Its reference images; none for a domain given by words."""
    words: str | None
    """Its description; none for a domain given by images."""
    weight: float
    """alpha; `parse_domains` scales the weights of all domains to a sum of one."""

    @property
    def recorded(self) -> str:
        """For the record: name=text:WORDS, or name= and the last two parts of the folder (no absolute paths)."""
        if self.folder is None:
            return f"{self.name}={TEXT}{self.words}"
        return f"{self.name}={'/'.join(self.folder.parts[-2:])}"


def parse_domain(text: str) -> Domain:
    """`sketch=refs/sketch`, `sketch=refs/sketch:0.5`, `angry=text:an angry face:0.3`. Raises `BadSetting`.

    A number after the last colon is always a weight.
    """
    name, equals, rest = text.partition("=")
    if not (equals and name and rest):
        raise BadSetting(f"domain {text}: expected name=DIR, for example sketch=refs/sketch:0.5.")
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise BadSetting(f"domain {text}: the name may have only letters, digits and . - _.")
    target, weight = _split_weight(rest)
    if not math.isfinite(weight) or weight < 0:
        raise BadSetting(f"domain {text}: the weight after the colon must be a number >= 0.")
    if target.startswith(TEXT):
        if not target.removeprefix(TEXT).strip():
            raise BadSetting(f"domain {text}: words must follow text:, for example angry=text:an angry face.")
        return Domain(name, None, target.removeprefix(TEXT), weight)
    return Domain(name, Path(target), None, weight)


def _split_weight(text: str) -> tuple[str, float]:
    """`refs/sketch:0.5` -> ("refs/sketch", 0.5); the weight is 1 if none is given."""
    target, colon, weight = text.rpartition(":")
    if not colon or target in ("", TEXT[:-1]):  # the colon of `text:` itself; `text:2` means the word "2"
        return text, 1.0
    try:
        return target, float(weight)
    except ValueError:
        return text, 1.0


def parse_domains(texts: tuple[str, ...]) -> list[Domain]:
    """All domains, their weights scaled to a sum of one. Raises `BadSetting`."""
    if not texts:
        raise BadSetting("domains: give at least one, for example sketch=refs/sketch.")
    domains = [parse_domain(text) for text in texts]
    names = [d.name for d in domains]
    if len(set(names)) < len(names):
        raise BadSetting(f"domains: names must be different, not {', '.join(names)}.")
    total = sum(d.weight for d in domains)
    if total == 0:
        raise BadSetting("domains: at least one weight must be above zero.")
    return [replace(d, weight=d.weight / total) for d in domains]
