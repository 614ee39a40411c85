"""The text of `--set help`: every setting of a trainer with its type, default and meaning."""

import ast
import dataclasses
import inspect
import textwrap
import types
from itertools import pairwise
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

WIDTH = 100


def settings_help(kind: type) -> str:
    """One paragraph a setting, in order of name. Settings without a default, which commands ask for, are left out."""
    hints, lines = get_type_hints(kind, include_extras=True), docstrings(kind)
    return "\n".join(
        f"{field.name}={_value(field.default)}  ({_type(hints[field.name])})\n"
        + textwrap.fill(lines.get(field.name, ""), WIDTH, initial_indent="    ", subsequent_indent="    ")
        for field in sorted(dataclasses.fields(kind), key=lambda field: field.name)
        if field.default is not dataclasses.MISSING
    )


def docstrings(kind: type) -> dict[str, str]:
    """The text below each field of a dataclass and of those that it inherits."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if dataclasses.is_dataclass(base):
            body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]
            found |= _below_fields(body.body if isinstance(body, ast.ClassDef) else [])
    return found


def _below_fields(body: list[ast.stmt]) -> dict[str, str]:
    found: dict[str, str] = {}
    for field, below in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
            text = below.value.value if isinstance(below.value, ast.Constant) else None
            if isinstance(text, str):
                found[field.target.id] = " ".join(text.split())
    return found


def _value(default: Any) -> str:
    """A default as `--set` takes it."""
    if default is None:
        return "null"
    if isinstance(default, bool):
        return str(default).lower()
    return f"[{','.join(map(_value, default))}]" if isinstance(default, tuple | list) else str(default)


def _type(hint: Any) -> str:
    """A type in words: off | on, whole number or null."""
    if get_origin(hint) is Annotated:
        return _type(get_args(hint)[0])
    if get_origin(hint) is Literal:
        return " | ".join(map(str, get_args(hint)))
    if isinstance(hint, types.UnionType) or str(get_origin(hint)) == "typing.Union":
        return " or ".join(map(_type, get_args(hint)))
    if get_origin(hint) in (tuple, list):
        return f"list of {_type(get_args(hint)[0])}"
    words = {int: "whole number", float: "number", bool: "true | false", str: "text", type(None): "null"}
    return words.get(hint, getattr(hint, "__name__", str(hint)).lower())
