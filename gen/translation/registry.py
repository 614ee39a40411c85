"""The translation methods: one row each. A model folder names its pipeline class, and the class names its method."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from gen import weights
from gen.errors import BadInput, BadSetting, short, unknown
from gen.formats.json_files import read_json
from gen.translation.weathers import directions_of, sentence, weathers_of

if TYPE_CHECKING:
    import torch

    from gen.training.loop import Trainer
    from gen.training.settings import TrainerSettings
    from gen.translation.pipeline import TranslationPipeline


@dataclass(frozen=True)
class Recipe:
    """A training run that ends in a model folder."""

    settings: "TrainerSettings"
    make_trainer: "Callable[[], Trainer[Any]]"
    export: Callable[[Path], None]
    """Writes the model folder."""

    def __call__(self, model: Path) -> bool:
        """Train, or resume, and export to `model`; False if Ctrl-C stopped it first. Raises as `check` does."""
        from gen.training.model_record import NAME, write_record

        self.check()
        trainer = self.make_trainer()
        trainer.fit()
        if trainer.finished:
            self.export(model)
            if not (model / NAME).is_file():
                write_record(trainer, model)
        return trainer.finished

    def check(self) -> None:
        """Raises `BadSetting` if the run was begun with other settings."""
        from gen.training.experiment import read_run

        read_run(self.settings, self.settings.may_change - {"decay"})


@dataclass(frozen=True)
class Method:
    """A translation method. Classes are named and not imported, because torch takes seconds to import."""

    name: str
    """For example augan."""
    pipeline: str
    """MODULE:CLASS of its pipeline, a `TranslationPipeline`; model_index.json names the class."""
    recipe: str = ""
    """MODULE:FUNCTION that makes a `Recipe` of settings, so that `gen compare-augan` can train it; empty: it cannot."""

    def __post_init__(self) -> None:
        for field in ("pipeline", "recipe"):
            if not isinstance(getattr(self, field), str):
                raise BadSetting(f'method {self.name}: give its {field} as text, "MODULE:NAME".')

    @property
    def class_name(self) -> str:
        """What model_index.json calls the pipeline."""
        return self.pipeline.partition(":")[2]

    def make_recipe(self, settings: Mapping[str, Any]) -> Recipe:
        """What trains with these settings. Raises `BadSetting` for wrong settings, and if the method has no recipes."""
        if not self.recipe:
            raise BadSetting(f"method {self.name} cannot be trained from a recipe.")
        return resolve_name(self.recipe)(settings)

    def load_class(self) -> "type[TranslationPipeline]":
        """Import the pipeline's class."""
        return resolve_name(self.pipeline)


_METHODS: dict[str, Method] = {}


def register(method: Method) -> None:
    """Add a method: its models are then listed, loaded and translated with like any other."""
    _METHODS[method.class_name] = method


register(Method("augan", "gen.augan.pipeline:AUGANPipeline", "gen.augan.recipe:make_recipe"))
register(Method("cyclegan", "gen.cyclegan.method:CycleGANPipeline", "gen.cyclegan.export:make_recipe"))


def find_method(name: str) -> Method:
    """The method of this name. Raises `BadSetting` for an unknown one."""
    found = {method.name: method for method in _METHODS.values()}
    if name not in found:
        raise BadSetting(unknown("method", name, found))
    return found[name]


def translators() -> list[str]:
    """Names of the available models that translate, by any method."""
    return sorted(name for name in weights.models_of(*_METHODS))


def method_of(model: str | os.PathLike[str]) -> Method:
    """The method of a model. Raises `BadInput` for an unknown name, and for a folder of another kind of model.

    Nothing is known of a hub id before it is downloaded: it counts as an AU-GAN.
    """
    try:
        folder = weights.resolve(model)
    except BadInput as error:
        if translators():  # the folders of other models are no help here
            raise BadInput(unknown("model", os.fspath(model), translators())) from error
        raise
    name = weights.kind(folder)
    if name is None and not os.path.isdir(folder):
        return _METHODS["AUGANPipeline"]
    if name is None:
        read_json(Path(folder) / weights.INDEX)  # says what is wrong, if the file is damaged
    if name is None or name not in _METHODS:
        known = ", ".join(translators()) or "none"
        raise BadInput(
            f"{os.fspath(model)}: this model ({short(str(name))}) does not translate frames; available: {known}. "
            f"If it is of a method of your own, set $GEN_PLUGINS to the file that registers it."
        )
    return _METHODS[name]


def load(
    model: str | os.PathLike[str], device: str = "cpu", dtype: "torch.dtype | None" = None, **options: Any
) -> "TranslationPipeline":
    """Load a translator by name, folder or hub id, onto `device`, in `dtype` (None: float32).

    `options` go to `from_pretrained`. Raises `BadInput` for a model that cannot be loaded and `BadSetting` for a device
    that cannot be used.
    """
    import torch

    kind = method_of(model).load_class()
    pipeline = kind.from_pretrained(model, dtype=dtype or torch.float32, **options)
    try:
        return pipeline.to(device)
    except (RuntimeError, AssertionError) as error:
        raise BadSetting(f"device: {device!r} cannot be used here ({str(error).splitlines()[0]}).") from error


def at_hand() -> str:
    """What each available model translates, one line each, for the help text."""
    lines = [
        f"  {model}: {'; '.join(sentence(d, weathers_of(model)).lower() for d in directions_of(model))}"
        for model in translators()
    ]
    return "\n".join(["Available models:", *lines]) if lines else weights.NONE_FOUND
