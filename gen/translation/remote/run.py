"""`gen translate` with a URL for IN, OUT or both."""

import hashlib
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from gen.errors import BadSetting
from gen.locks import locked
from gen.translation.outputs import report_path
from gen.translation.remote.stage import Stage, Translate
from gen.translation.remote.store import Store
from gen.translation.report import Report
from gen.translation.runtimes.choice import cache
from gen.translation.settings import TranslateSettings, check_settings
from gen.translation.watch import Watch


def translate_urls(settings: TranslateSettings, urls: Mapping[Path, str], translate: Translate) -> tuple[Report, str]:
    """Translate as `translate` does, with URLs in place of paths; returns the report, and where its file is.

    `urls`: the URLs that paths of the settings stand for. Raises `GenError` for what concerns the whole run.
    """
    check_settings(settings)
    source, target = (_place(path, urls.get(path)) for path in (settings.input, settings.output))
    if isinstance(source, Path) and isinstance(target, Path):
        settings = replace(settings, input=source, output=target)
        return translate(settings, Watch()), str(report_path(settings))
    if settings.watch:
        raise BadSetting("watch: gen watches folders of this machine alone, not URLs; leave out --watch.")
    if settings.engine == "ray":
        raise BadSetting("engine=ray: all its machines need IN and OUT as folders, not URLs; leave out --engine ray.")
    names = [place.url if isinstance(place, Store) else str(place.resolve()) for place in (source, target)]
    stages = (cache() / "stages").resolve()
    with _locked(stages, _digest(names[1]), names[1]):  # two runs into one OUT would write one report
        folder = stages / _digest(*names)
        folder.mkdir(exist_ok=True)
        return Stage(settings, source, target, folder).translate(translate)


def _place(path: Path, url: str | None) -> Path | Store:
    """A path of this machine, of which file:// is one too, or what a URL names. Raises `BadSetting`."""
    if url is None:
        return path
    if url.lower().startswith(("file://", "local://")):
        return Path(url2pathname(urlsplit(url).path))
    return Store.of(url)


def _digest(*names: str) -> str:
    return hashlib.sha256("\n".join(names).encode("utf-8", "surrogateescape")).hexdigest()[:16]


@contextmanager
def _locked(stages: Path, name: str, url: str) -> Generator[None]:
    """Keep other runs of this machine out of the same output. Raises `BadSetting`, which names the URL."""
    try:
        stages.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadSetting(
            f"{stages}: the folder cannot be created ({error.strerror}); set $XDG_CACHE_HOME to another."
        ) from error
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(stages, f".gen-{name}.lock"))
        except BadSetting as error:
            raise BadSetting(str(error).replace(f"{stages}: another run", f"{url}: another run")) from error
        yield
