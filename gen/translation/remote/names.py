"""URLs as a command line gives them, and the paths of a stage that stand for them. Light: help needs it."""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

_URL = re.compile(r"[a-z][a-z0-9+.-]+(::[a-z][a-z0-9+.-]+)*://", re.I)  # of two letters at least: C:// is a drive


def is_url(word: str) -> bool:
    """Whether a word is a URL, such as s3://bucket/night, and not a path."""
    return _URL.match(word) is not None


def urls_in(arguments: Iterable[str]) -> dict[Path, str]:
    """The URLs of a command line, by what they become as paths: Path("s3://a/b") is s3:/a/b."""
    return {Path(word): word for word in arguments if is_url(word)}


def shown(url: str) -> str:
    """A URL as messages and reports may show it: without a password, and without the signature of a web address."""
    url = re.sub(r"://([^/@:]*):[^/@]*@", r"://\1@", url)
    return url.partition("?")[0] if url.startswith(("http://", "https://")) else url


class Names:
    """The folders of a stage and the URLs that they stand for; either may be missing."""

    def __init__(self, source: tuple[Path, str] | None, target: tuple[Path, str] | None) -> None:
        """`source`, `target`: the folder that stands for that of IN or OUT, and its URL."""
        self._source, self._target = source, target

    def shown(self, text: str) -> str:
        """A text with URLs in place of the paths of the stage."""
        for folder, url in filter(None, (self._source, self._target)):
            text = text.replace(f"{folder}/", f"{url}/").replace(str(folder), url)
        return text

    def in_report(self, value: Any) -> Any:
        """The content of a report or of a line of a record, with URLs in place of the paths of the stage."""
        return _mapped(value, lambda _, text: self.shown(text))

    def in_stage(self, value: Any) -> Any:
        """The reverse of `in_report`, as far as inputs and outputs are named, and not messages."""
        return _mapped(value, self._in_stage)

    def _in_stage(self, key: str, text: str) -> str:
        pair = {"input": self._source, "input_path": self._source, "output": self._target}.get(key)
        if pair is None or not (text == pair[1] or text.startswith(f"{pair[1]}/")):
            return text
        return f"{pair[0]}{text.removeprefix(pair[1])}"


def _mapped(value: Any, change: Callable[[str, str], str], key: str = "") -> Any:
    """A value of JSON with every text changed; `change` gets the text's key in its object too."""
    if isinstance(value, Mapping):
        return {name: _mapped(item, change, str(name)) for name, item in value.items()}
    if isinstance(value, list):
        return [_mapped(item, change, key) for item in value]
    return change(key, value) if isinstance(value, str) else value
