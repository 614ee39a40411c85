"""The command lines of translation: `gen translate`, `gen train-weather`."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING

import tyro

from gen import weights
from gen.errors import BadInput, BadSetting
from gen.translation.registry import at_hand
from gen.translation.remote.names import urls_in
from gen.translation.settings import AUTO, FAST, FAST_MODEL, ExportSettings, TranslateSettings

if TYPE_CHECKING:
    from gen.translation.batch import Load
    from gen.translation.report import Report
    from gen.translation.watch import Watch


TRANSLATORS, GENERATORS = "gen.translation.runtimes.export:export", "gen.hda.for_programs:export"
"""What writes the files of `gen export`. Named, because torch takes seconds to import, and gen.hda lies above this."""


def translate(arguments: Sequence[str]) -> int:
    """`gen translate`: 0 all done, 1 some failed."""
    given = list(takewhile(lambda word: not word.startswith("-"), arguments))
    if len(given) > 2:  # as a shell makes them of IN/*.jpg
        raise BadSetting(
            f"{len(given)} names were given, but there is one input and one output: to translate several files, name "
            "their folder."
        )
    about = f"{TranslateSettings.__doc__}\n\n{at_hand()}"
    settings = tyro.cli(TranslateSettings, args=list(arguments), prog="gen translate", description=about)
    return run(replace(settings, model=model_of(settings.model)), urls_in(arguments))


def model_of(name: str) -> str:
    """The model that a name on the command line stands for."""
    return FAST_MODEL if name == FAST else name


def translate_files(settings: TranslateSettings, load: "Load | None" = None, watch: "Watch | None" = None) -> "Report":
    """Translate everything that is not finished yet; see `batch.translate` and `automatic.translate`."""
    from gen.translation import automatic, batch

    engine = automatic if settings.model == AUTO else batch
    return engine.translate(settings, load or batch.load_model, watch)


def translate_there(settings: TranslateSettings, urls: "Mapping[Path, str]") -> "tuple[Report, str]":
    """As `translate_files`, behind URLs too; returns the report and where its file is."""
    if {settings.input, settings.output}.isdisjoint(urls):
        from gen.translation.outputs import report_path

        return translate_files(settings), str(report_path(settings))
    from gen.translation.remote.run import translate_urls

    return translate_urls(settings, urls, lambda chosen, watch: translate_files(chosen, watch=watch))


def run(settings: TranslateSettings, urls: Mapping[Path, str] | None = None) -> int:
    """Translate and print the result: 0 all done, 1 some failed. `urls`: those that paths of the settings stand for."""
    report, where = translate_there(settings, urls or {})
    for entry in report.entries:
        if entry.flicker and entry.status == "done":
            grey = ", ".join(f"{name} {value:.2f}" for name, value in entry.flicker.items() if name.endswith("error"))
            squares = "".join(f", {n} {value:.2g}" for n, value in entry.flicker.items() if n.endswith("_e_warp"))
            print(f"{entry.output}: {entry.frames} frames, {grey} grey levels{squares}")
    for note, count in report.notes().items():
        print(f"{count} {note}")
    for line in report.remarks():
        print(line)
    for line in (report.weathers(), report.invented(), report.runtimes(), *sorted(set(report.licences.values()))):
        if line:
            print(line)
    print(f"{report.summary()}; see {where}")
    return 1 if report.count("failed") else 0


def export(arguments: Sequence[str]) -> int:
    """`gen export`."""
    settings = tyro.cli(ExportSettings, args=list(arguments), prog="gen export")
    settings = replace(settings, model=model_of(settings.model))
    for file in resolve_name(GENERATORS if is_generator(settings.model) else TRANSLATORS)(settings):
        print(f"wrote {file}")
    print(f"{settings.out / 'README.md'} says what goes in and comes out")
    return 0


def is_generator(model: str) -> bool:
    """Whether a model draws faces and the like: a model folder of `gen.HDAPipeline`, or a StyleGAN file of others."""
    if re.search(r"\.(pt|pkl|whl)(:\d+)?$", model):
        return True
    try:
        return weights.kind(weights.resolve(model)) == "HDAPipeline"
    except BadInput:  # said when it is loaded
        return False


def train_weather(arguments: Sequence[str]) -> int:
    """`gen train-weather`."""
    from gen.translation.weather_settings import WeatherSettings

    settings = tyro.cli(WeatherSettings, args=list(arguments), prog="gen train-weather")
    from gen.output import output_folder
    from gen.translation.weather_training import train

    with output_folder(settings.out):
        train(settings)
    print(f"wrote {settings.out}; its accuracy is in {settings.out / 'MODEL_CARD.md'}")
    return 0
