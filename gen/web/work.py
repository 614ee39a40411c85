"""The long work of the page, by kind of job: each runs what the command line runs, and tells the job table."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gen.errors import BadInput
from gen.media.files import writing
from gen.web.jobs import Desk, Stopped

if TYPE_CHECKING:
    from gen.web.service import Service

RESULTS = "results.zip"


def run_translate(service: "Service", desk: Desk) -> None:
    """Inputs: source (a path), settings (of gen translate). Leaves output/ and results.zip."""
    from gen.translation.commands import translate_files
    from gen.translation.run import Progress, Watch
    from gen.translation.settings import TranslateSettings

    desk.tell(0, 0, "loading the model")
    inputs, out = desk.job.inputs, desk.folder / "output"
    settings = TranslateSettings(input=Path(inputs["source"]), output=out, **inputs["settings"])
    folders = [settings.input if settings.input.is_dir() else settings.input.parent, desk.folder]

    def tell(progress: Progress) -> None:
        if progress.latest and progress.latest.error:
            desk.job.failures.append(_without_folders(progress.latest.error, folders))
        latest, clip = progress.latest, f"frame {progress.frames} of a clip" if progress.frames else ""
        if progress.of_files == 1 and progress.frames:
            desk.tell(progress.frames, progress.of_frames, unit="frames")
        elif progress.of_files == 1 and latest and latest.kind == "clip" and not latest.error:
            desk.tell(latest.frames, latest.frames, unit="frames")
        else:
            desk.tell(progress.files, progress.of_files, clip, unit="files")

    try:
        report = translate_files(settings, lambda s: service.translator(s.model), Watch(tell, lambda: desk.cancelled))
    finally:
        if not desk.closing and (out / "report.json").exists():
            with writing(out / "report.json") as partial:
                partial.write_text(_without_folders((out / "report.json").read_text("utf-8"), folders), "utf-8")
            pack(desk.folder / RESULTS, out)
    failed = report.count("failed")
    if failed and failed == len(report.entries):
        raise BadInput(desk.job.problems[-1] if desk.job.problems else "None of the files could be translated.")
    notes = [f"{count} {note}" for note, count in report.notes().items()]
    desk.job.note = "; ".join([*notes, *([f"{failed} failed"] if failed else [])])


def run_adapt(service: "Service", desk: Desk) -> None:
    """Inputs: source (a model's name), domains, images. Leaves run/adaptation.safetensors and run/samples/*.jpg."""
    from gen.hda.export import save_adaptation

    desk.tell(0, 0, "loading the generator and looking at the references", "samples")
    trainer = make_trainer(service, desk.job.inputs, desk.folder / "run")

    def watch() -> None:
        shown = ", ".join(f"{name} {100 * value:.0f} %" for name, value in trainer.progress.items())
        desk.tell(trainer.images_shown, trainer.total_images, f"on the way: {shown}", "samples")
        if desk.cancelled:
            trainer.stop()

    trainer.watch = watch
    trainer.fit()
    if desk.closing and not trainer.finished:
        raise Stopped
    save_adaptation(trainer)
    if not trainer.finished:
        raise Stopped
    desk.job.note = trainer.ending()


def make_trainer(service: "Service", inputs: dict[str, Any], out: Path) -> Any:
    """The HDATrainer of an Adapt job; nothing has been trained. Its generator is its own."""
    from gen.hda.pipeline import HDAPipeline
    from gen.hda.training import HDASettings, HDATrainer
    from gen.training.settings import make_settings

    given = {"source": inputs["source"], "domains": inputs["domains"], "out": out, "device": service.device()}
    more = {"images": inputs["images"], "sample_every": 160} if inputs.get("images") else {}
    return HDATrainer(make_settings(HDASettings, given, more), HDAPipeline.from_pretrained(inputs["source"]).generator)


def run_scenes(service: "Service", desk: Desk) -> None:
    """Inputs: settings (of gen render-smd). Leaves scenes/STYLE/CLASS/*.jpg and results.zip."""
    from gen.smd.rendering import chunks, write_chunk
    from gen.smd.settings import RenderSettings

    settings = RenderSettings(out=desk.folder / "scenes", workers=1, **desk.job.inputs["settings"])
    done, total = 0, settings.per_class * len(settings.styles) * len(settings.scenes)
    try:
        for chunk in chunks(settings):
            desk.check()
            (settings.out / chunk.style.name / chunk.scene).mkdir(parents=True, exist_ok=True)
            done += write_chunk(settings, chunk)
            desk.tell(done, total, unit="pictures")
    finally:
        if not desk.closing and settings.out.exists():
            pack(desk.folder / RESULTS, settings.out)


def pack(path: Path, folder: Path) -> None:
    """All files below `folder` in a zip: stored, for pictures are packed already."""
    with writing(path) as partial, zipfile.ZipFile(partial, "w") as archive:
        for file in sorted(p for p in folder.rglob("*") if p.is_file()):
            archive.write(file, file.relative_to(folder).as_posix())


def _without_folders(text: str, folders: list[Path]) -> str:
    """A visitor knows the names of files, not where the server keeps them."""
    for folder in folders:
        text = text.replace(f"{folder}/", "")
    return text


WORK: dict[str, tuple[str, Callable[["Service", Desk], None]]] = {
    "translate": ("device", run_translate),
    "adapt": ("device", run_adapt),
    "scenes": ("render", run_scenes),
}
"""Lane and work by kind of job. One job of a lane runs at a time."""
