"""Read YAML that other people made: bounded in size, also after its references to other parts are filled in."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from gen.errors import BadInput, short
from gen.formats.json_files import read_bytes

LARGEST = 100_000
"""Bytes of a YAML file. The parser reads some 100 kB a second."""

LONGEST_INTEGER = 100
"""Characters. Python does not print integers of more than 4,300 digits, so that messages about them fail."""

MOST_NODES = 20_000
"""Values, with each counted as often as it is referred to: ten lines of references can stand for a billion."""


MERGE = "<<"
"""Takes over the values of another mapping. It may stand there more than once."""


def read_yaml(path: Path) -> Any:
    """The value in a YAML file. Raises `BadInput` if it is no valid YAML, or too large."""
    try:
        loader = yaml.SafeLoader(read_bytes(path, LARGEST))
        try:
            node = loader.get_single_node()
            _check_size(path, node)
            _check_keys(path, node, loader)
            return loader.construct_document(node) if node is not None else None
        finally:
            loader.dispose()
    except RecursionError as error:
        raise BadInput(f"{path}: this is no valid YAML (nested too deeply).") from error
    except BadInput:
        raise
    except Exception as error:  # odd dates, numbers and keys make the parser raise a dozen kinds
        reason = " ".join(str(error).split())
        raise BadInput(f"{path}: this is no valid YAML ({reason[:200]}).") from error


def _check_size(path: Path, node: yaml.Node | None) -> None:
    """Raises `BadInput` for too many values; also for a value that contains itself, which has no end."""
    for count, part in enumerate(_nodes(node) if node is not None else ()):
        if part.tag == "tag:yaml.org,2002:int" and len(part.value) > LONGEST_INTEGER:
            raise BadInput(f"{path}: an integer of {len(part.value)} characters is too long.")
        if count > MOST_NODES:
            raise BadInput(f"{path}: with its references (&name, *name) it holds more than {MOST_NODES} values.")


def _check_keys(path: Path, node: yaml.Node | None, loader: yaml.SafeLoader) -> None:
    """Raises `BadInput` for a name that stands twice in one mapping: the parser would take the last.

    Names are compared as the parser reads them: 0.5 and 0.50 are one.
    """
    for part in _nodes(node) if node is not None else ():
        if isinstance(part, yaml.MappingNode):
            names = Counter(
                loader.construct_object(key)
                for key, _ in part.value
                if isinstance(key, yaml.ScalarNode) and key.value != MERGE
            )
            if (twice := [str(name) for name, count in names.items() if count > 1]) != []:
                raise BadInput(f"{path}: the name {short(twice[0])!r} is there twice; rename or remove one.")


def _nodes(root: yaml.Node) -> Iterator[yaml.Node]:
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
        elif isinstance(node, yaml.MappingNode):
            waiting += [part for pair in node.value for part in pair]
