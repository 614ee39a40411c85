"""Compare AU-GAN recipes at equal cost: the same frames, seeds and CPU time, and one evaluation table."""

import contextlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from gen.augan.arguments import CompareSettings, EvaluateSettings
from gen.augan.evaluation import evaluate
from gen.augan.over_seeds import arms, means, recipe_of
from gen.augan.settings import AUGANSettings
from gen.augan.simulated.pairs import write_pairs
from gen.augan.simulated.settings import SimulateSettings
from gen.augan.tables import MEANING, ROWS, results
from gen.errors import BadInput, BadSetting, short, unknown
from gen.formats.json_files import read_json
from gen.formats.yaml_files import read_yaml
from gen.markdown import markdown_table
from gen.media.files import make_out_folder
from gen.media.folders import find_stills
from gen.provenance import hardware_sentence
from gen.training import longer
from gen.training.data_record import BYTES, EARLIER_BYTES
from gen.training.experiment import Experiment, named, write_text
from gen.translation import registry
from gen.translation.registry import Recipe
from gen.translation.weathers import directions_of
from gen.weights import read_written

TITLE = "# Recipes at equal cost"
"""First line of README.md."""

EQUAL = {"preset", "adverse", "normal", "rendered", "simulated", "out", "core_minutes", "images", "epochs", "seed"}
"""Settings that a recipe may not change, because all recipes share them."""


def compare(settings: CompareSettings) -> int:
    """Train the recipes that are not trained yet, then evaluate all. Returns 0, or 130 if Ctrl-C stopped it."""
    recipes = read_recipes(settings.recipes)
    if settings.judge_now and settings.only:
        raise BadSetting(
            "judge_now evaluates all trained recipes, so it cannot be combined with only; leave out one of them."
        )
    if settings.hold_out < 1:
        raise BadSetting(
            f"hold_out must be at least 1, not {settings.hold_out}; those frames are used for the evaluation."
        )
    if settings.seeds < 1:
        raise BadSetting(f"seeds must be at least 1, not {settings.seeds}: each recipe is trained once for each seed.")
    for name in settings.only:
        if name not in recipes:
            raise BadSetting(f"{settings.recipes}: {unknown('recipe', name, recipes)}")
    about = settings.out / "README.md"
    if about.is_file() and not read_written(about).startswith(TITLE):
        raise BadSetting(f"{about} is not of gen compare-augan, which would replace it; choose another output folder.")
    recipes = arms(recipes, settings.seed, settings.seeds)
    make_out_folder(settings.out)  # not locked: several processes may train recipes, and each of them has its own lock
    for domain, folder in (("adverse", settings.adverse), ("normal", settings.normal)):
        split_frames(folder, settings.out / "frames", domain, settings.hold_out)
    names = [name for name in recipes if not settings.only or recipe_of(name) in settings.only]
    names = [] if settings.judge_now else names
    runs = {name: prepare(settings, name, recipes[name]) for name in names}
    if settings.simulate and names:
        frames = settings.out / "frames"
        write_pairs(SimulateSettings(frames / "train" / "normal", frames / "simulated", settings.simulate))
    torch.set_num_threads(1)  # threads that wait also count as CPU time, so more of them would distort the budget
    plan = experiment(settings.out / "models", list(recipes), runs)
    # Also those that are trained: their time may have been raised, and the trainer refuses other settings.
    if not replace(plan, cells=names).run_in_order(tell, again=True):
        return 130
    missing = plan.missing()
    if missing and not settings.judge_now:
        print(f"no evaluation yet, because these recipes are not trained: {', '.join(missing)}")
        print("Train them, or set judge_now to evaluate the others now.")
        return 0
    if len(missing) == len(recipes):
        raise BadInput(f"{settings.out}: no recipe is trained yet; train at least one before you set judge_now.")
    evaluate_recipes(settings, {name: recipe for name, recipe in recipes.items() if name not in missing}, missing)
    print(f"wrote {settings.out / 'README.md'}")
    return 0


def experiment(models: Path, names: Sequence[str], runs: Mapping[str, Recipe]) -> Experiment[str, Path]:
    """The recipes by name; each ends in a model folder in `models`. `runs`: what trains those that may run."""

    def finished(name: str) -> Path | None:
        # The record is written last. Without it the model may be half written.
        return models / name if (models / name / "training.json").is_file() else None

    return Experiment(names, lambda name: train(name, runs[name], models / name), finished)


def tell(number: int, name: str, model: Path) -> None:
    """Say that a recipe is trained."""
    print(f"{number}: recipe {name} is trained and exported to {model}.", flush=True)


def read_recipes(path: Path) -> dict[str, dict[str, Any]]:
    """The recipes by name. Raises `BadInput` if the file does not hold recipes."""
    recipes = read_yaml(path)
    if not isinstance(recipes, dict) or not recipes or any(not _is_recipe(r) for r in recipes.values()):
        raise BadInput(
            f"{path}: expected recipe names with settings below them, for example `light:` and `  width: 24`."
        )
    for name, recipe in recipes.items():
        if not isinstance(name, str):
            raise BadInput(f"{path}: recipe name {name!r} is not text in YAML; put it in quotes.")
        if not re.fullmatch(r"\w[\w.+-]{0,99}", name):
            raise BadInput(f"{path}: recipe name {short(repr(name))} may have only letters, digits and . + - _.")
        if str(name) in ROWS:
            raise BadInput(
                f"{path}: recipe name {name!r} is reserved for another row of the table; choose another name."
            )
        other = (recipe or {}).get("method", "augan") != "augan"  # whose presets are its own
        if equal := (EQUAL - {"preset"} if other else EQUAL) & (recipe or {}).keys():
            raise BadInput(
                f"{path}: recipe {name!r} sets {', '.join(sorted(equal))}, which all recipes share; remove it."
            )
    return {str(name): dict(recipe or {}) for name, recipe in recipes.items()}


def _is_recipe(value: Any) -> bool:
    """Whether a value is nothing, or settings by name."""
    return value is None or (isinstance(value, dict) and all(isinstance(name, str) for name in value))


def split_frames(folder: Path, out: Path, domain: str, hold_out: int) -> None:
    """Link `hold_out` evenly spaced frames of `folder` into `out`/hold/`domain`, the rest into `out`/train/`domain`."""
    # A file that several links lead to is one frame: else it could be held out and trained on.
    frames = list({frame.resolve(): frame for frame in reversed(find_stills(folder))}.values())[::-1]
    if len(frames) <= hold_out:
        raise BadInput(f"hold_out must be less than the {len(frames)} frames in {folder}, not {hold_out}.")
    held = {frames[i * len(frames) // hold_out] for i in range(hold_out)}
    links = {
        out / ("hold" if frame in held else "train") / domain / f"{number:06d}{frame.suffix}": frame.resolve()
        for number, frame in enumerate(frames)
    }
    for part in ("hold", "train"):
        (out / part / domain).mkdir(parents=True, exist_ok=True)
    made = {link: link.resolve() for part in ("hold", "train") for link in (out / part / domain).iterdir()}
    if _without_vanished(made, frames, out / "hold" / domain, hold_out):
        return
    for link, frame in made.items():
        if links.get(link) != frame:
            raise BadInput(f"{link}: this folder has another split of the frames; choose another output folder.")
    for link, frame in links.items():
        with contextlib.suppress(FileExistsError):  # made by an earlier or a parallel process
            link.symlink_to(frame)


def _without_vanished(made: Mapping[Path, Path], frames: Sequence[Path], hold: Path, hold_out: int) -> bool:
    """Whether the links were made for these frames and for some that have vanished since: the split then stays."""
    there = {frame for frame in made.values() if frame.is_file()}
    held = sum(link.parent == hold for link in made)
    return len(there) < len(made) and held == hold_out and there == {frame.resolve() for frame in frames}


def prepare(settings: CompareSettings, name: str, recipe: Mapping[str, Any]) -> Recipe:
    """What trains one recipe, its settings checked. `method` in a recipe names another method than AU-GAN.

    Raises `BadSetting` for wrong settings, for example `pairs_first` without pairs.
    """
    changes = dict(recipe)
    method = registry.find_method(str(changes.pop("method", "augan")))
    preset = AUGANSettings.read_preset(settings.preset) if method.name == "augan" else {}
    uses = settings.simulate and (preset | changes).get("simulated_share", 1) > 0
    given = {
        "preset": settings.preset,
        "adverse": settings.out / "frames" / "train" / "adverse",
        "normal": settings.out / "frames" / "train" / "normal",
        "rendered": settings.rendered,
        "simulated": settings.out / "frames" / "simulated" if uses else None,
        "out": settings.out / "runs" / name,
        "core_minutes": settings.core_minutes,
        "seed": settings.seed,
    }
    try:
        return method.make_recipe(given | changes)
    except BadSetting as error:
        pairs = " To give all recipes pairs, set simulate or rendered." if changes.get("pairs_first") else ""
        raise BadSetting(f"recipe {name}: {error}{pairs}") from error


def train(name: str, recipe: Recipe, model: Path) -> Path | None:
    """Train one recipe and export it to `model`; None if Ctrl-C stopped it."""
    if recipe(model):
        return model
    print(f"stopped in recipe {name}; run the same command to resume.")
    return None


def evaluate_recipes(
    settings: CompareSettings, recipes: Mapping[str, Mapping[str, Any]], missing: Sequence[str]
) -> None:
    """Evaluate with one row per recipe, and write README.md with the table and the names of missing recipes.

    Raises `BadSetting` for a recipe that has changed since it was trained: its row would not be what it says.
    """
    for name, recipe in recipes.items():
        try:
            prepare(settings, name, recipe).check()
        except BadSetting as error:
            raise BadSetting(f"recipe {name} is not evaluated, because it is not as it was trained: {error}") from error
    models, hold = settings.out / "models", settings.out / "frames" / "hold"
    # The first is the evaluated model: a direction that it lacked would have no table for the others either.
    recipes = dict(sorted(recipes.items(), key=lambda named: -len(directions_of(models / named[0]))))
    first, *others = recipes
    measured = evaluate(
        EvaluateSettings(
            adverse=hold / "adverse",
            normal=hold / "normal",
            model=str(models / first),
            rival=tuple(f"{name}={models / name}" for name in others),
            detector=settings.detector,
            out=settings.out,
        )
    )
    parts = [
        TITLE,
        costs(settings, recipes),
        unequal(models, recipes),
        busy(models, recipes),
        named(missing),
        means(measured, list(recipes)),
        results(measured, model=first),
        f"## How to read this\n\n{evidence(settings)}\n\n{MEANING}",
    ]
    write_text(settings.out / "README.md", "\n\n".join(filter(None, parts)) + "\n")


def evidence(settings: CompareSettings) -> str:
    """How much the tables are evidence of."""
    frames = f"All recipes were judged on {settings.hold_out} frames of each folder that none was trained on."
    if settings.seeds > 1:
        return f"{frames} Each was trained {settings.seeds} times."
    return (
        f"{frames} Each was trained once, so that small differences may be chance: `--seeds 3` trains each three times "
        "and adds the spread."
    )


def unequal(models: Path, recipes: Iterable[str]) -> str:
    """A sentence each for time, schedules, machines and frames that not all recipes shared; empty if all did."""
    records = {name: read_json(models / name / "training.json") for name in recipes}
    shared: dict[str, Callable[[Mapping[str, Any]], object]] = {
        "The cost was not equal; core-minutes": lambda r: r["settings"].get("core_minutes"),
        "The schedules were not the same, as lengths were changed during runs; before that": longer.before,
        "The machines were not the same": lambda r: hardware_sentence(r["hardware"]),
    }
    for part in dict.fromkeys(part for record in records.values() for part in record["data"]):
        shared[f"The {part} frames were not the same"] = partial(_frames, part=part)
    sentences: list[str] = []
    for what, value in shared.items():
        # A recipe may be without pairs, which its settings say.
        values = {name: found for name, record in records.items() if (found := value(record)) != NO_FRAMES}
        if len(set(values.values())) > 1:
            sentences.append(f"{what}: {', '.join(f'{name} {found}' for name, found in values.items())}.")
    if sentences and "cost" in sentences[0]:
        sentences[0] += " Run the command without `--judge-now` and `--only`."
    return "\n\n".join(sentences)


NO_FRAMES = ""


def _frames(record: Mapping[str, Any], part: str) -> str:
    """What tells the frames of a data set from others of their number; `NO_FRAMES` if it was not used."""
    data = record["data"].get(part)
    if data is None:
        return NO_FRAMES
    size = f"{data[BYTES]:,} bytes" if BYTES in data else "of unknown size"  # in records of earlier versions
    before = f", earlier {', '.join(f'{n:,}' for n in data[EARLIER_BYTES])} bytes" if EARLIER_BYTES in data else ""
    return f"{data['count']} ({size}{before})"


def busy(models: Path, recipes: Iterable[str]) -> str:
    """A sentence that names the recipes whose wall-clock time was far above their processor time; empty for none."""
    times: list[str] = []
    for name in recipes:
        record = read_json(models / name / "training.json")
        wall, core = record["seconds"], record["core_seconds"]
        if wall > LOADED * core and wall - core > 10 and not record["hardware"].get("gpu"):
            times.append(f"{name} {wall / 60:.1f} minutes for {core / 60:.1f} core-minutes")
    return f"The machine was busy or waited: {', '.join(times)}. {LOAD}" if times else ""


LOADED = 1.25
"""Wall-clock time per processor time above which `busy` names a recipe."""
LOAD = """Core-minutes leave out the time in which others had the processor, but not what shared memory and caches cost;
so these recipes were shown fewer images than on an idle machine."""


COSTS = ("images shown", "core-minutes", "core-seconds per image", "minutes")


def costs(settings: CompareSettings, recipes: Mapping[str, Mapping[str, Any]]) -> str:
    """A table of each recipe's changes, and how much it trained in its time."""
    rows: list[tuple[object, ...]] = []
    for name, recipe in recipes.items():
        record = read_json(settings.out / "models" / name / "training.json")
        changes = ", ".join(f"{key}={value}" for key, value in recipe.items()) or "none"
        rows.append(
            (name, changes, record["images_shown"], f"{record['core_seconds'] / 60:.3g}",
             f"{record['core_seconds'] / record['images_shown']:.2f}", f"{record['seconds'] / 60:.3g}")
        )  # fmt: skip
    return markdown_table(("recipe", f"changes to preset {settings.preset}", *COSTS), rows)
