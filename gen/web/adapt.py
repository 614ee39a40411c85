"""The tab that adapts a generator to domains known from a few images, and draws with it."""

import html
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import gradio as gr

from gen.errors import BadInput
from gen.formats.json_files import json_if_whole
from gen.hda.settings import SAMPLES, SHIPPED
from gen.web.choices import licence_of
from gen.web.domains import DomainFields, domain_names, gather_domains
from gen.web.draw import ADAPTATION, DrawStep
from gen.web.events import DEVICE, PRIVATE, event, image_output, readable_errors
from gen.web.job import Job
from gen.web.jobs import JobContext, Stopped
from gen.web.limits import check_number
from gen.web.panel import JobPanel
from gen.web.service import JobKind, Service, check_offered, generators
from gen.web.tab import Tab
from gen.weights import resolve

MAX_SAMPLES = 6400


def run_adapt(service: Service, context: JobContext) -> None:
    """Inputs: source (a model's name), domains, images. Leaves run/adaptation.safetensors and run/samples/*.jpg."""
    from gen.hda.export import save_adaptation

    context.report(0, 0, "loading the generator and the references", "samples")
    trainer = make_trainer(service, context.job.inputs, context.folder / "run")
    skipped = [f"{name}: {why}" for name, references in trainer.references.items() for why in references.warnings]
    context.job.failures = list(map(service.messages.plain, skipped))

    def watch() -> None:
        context.report(trainer.images_shown, trainer.total_images, trainer.way(), "samples")
        if context.cancelled:
            trainer.stop()

    trainer.watch = watch
    trainer.fit()
    if context.closing and not trainer.finished:
        raise Stopped
    save_adaptation(trainer)  # a cancelled job too: what it has learned so far can be drawn with
    if not trainer.finished:
        raise Stopped
    why = "it learned nothing more; " if trainer.stalled else ""
    context.job.note = f"{why}{trainer.way()}. Too weak? Train on."


def make_trainer(service: Service, inputs: Mapping[str, Any], out: Path) -> Any:
    """The HDATrainer of an Adapt job, before its first step."""
    from gen.hda.pipeline import load_source
    from gen.hda.training import HDASettings, HDATrainer
    from gen.training.settings import make_settings

    given = {"source": inputs["source"], "domains": inputs["domains"], "out": out, "device": service.device()}
    more = {"images": inputs["images"], "sample_every": 160} if inputs.get("images") else {}
    more |= {"stop_when_stalled": False} if inputs.get("trained_on") else {}
    # Not `service.generator`: training changes the generator, and visitors draw with the shared one meanwhile.
    generator = load_source(inputs["source"]).generator
    return HDATrainer(make_settings(HDASettings, given, more), generator)


class AdaptTab(Tab):
    """Checks references, trains as a job, draws, and inverts photos."""

    TITLE = "Adapt"
    JOBS: ClassVar = {"adapt": JobKind("device", run_adapt, (ADAPTATION,))}

    def build(self, page: gr.Blocks) -> None:
        """Five steps. Each can be opened at any time, so that Draw needs no training."""
        gr.Markdown(
            "Teach a generator one to four looks at once, for example sketches and sunglasses, from about ten pictures "
            "of each. Step 5, Draw, works at once, with what we have taught it."
        )
        with gr.Tabs(selected=1, elem_classes="steps") as steps:
            with gr.Tab("1 Source", id=1):
                source = _source()
                _go(steps, 2, "Next: add domains")
            with gr.Tab("2 Domains", id=2):
                domains = DomainFields(self.service)
                domains.build()
                fields = domains.fields
                gr.Markdown("If you reload the page, choose the pictures again. A job that was started has copies.")
                to_check = _go(steps, 3, "Next: check the pictures")
            with gr.Tab("3 Check", id=3):
                self._checking(source, fields, to_check, steps)
            with gr.Tab("4 Train", id=4):
                panel = self._training(page, source, fields, steps)
            with gr.Tab("5 Draw", id=5):
                DrawStep(self.service).build(page, source, panel)
        licence = gr.Markdown(licence_of(source.value), elem_classes="note")  # on every step
        source.change(licence_of, [source], [licence], **PRIVATE)

    def _checking(self, source: Any, fields: list[Any], to_check: gr.Button, steps: gr.Tabs) -> None:
        gr.Markdown("The check takes some seconds. It finds pictures that are missing, alike or in each other's way.")
        check = gr.Button("Check the pictures", variant="primary")
        said = gr.HTML("", min_height=40, padding=False)
        with gr.Accordion("Detailed report", open=False, visible=False) as details:
            report = gr.Textbox(label="Report on the references", lines=12, interactive=False)
        checked = gr.on(
            [check.click, to_check.click],
            self.check,
            [source, *fields],
            [report],
            api_name="check_domains",
            show_progress_on=said,
            **DEVICE,
        )
        to_train = _go(steps, 4, "Next: train", "secondary")
        shown = [said, details, check, to_train]
        checked.success(_in_short, [report], shown, **PRIVATE)
        gr.on([field.change for field in (source, *fields)], _outdated, [said], shown, **PRIVATE)

    def _training(self, page: gr.Blocks, source: Any, fields: list[Any], steps: gr.Tabs) -> JobPanel:
        images = gr.Slider(
            160,
            MAX_SAMPLES,
            SAMPLES,
            step=160,
            label="Training samples at most",
            info="Training stops earlier when it learns nothing more. Without a GPU, 1600 of the shipped generator "
            "take about ten minutes. For an adaptation that has ended, Train on adds this number.",
        )
        train = gr.Button("Adapt", variant="primary")
        panel = JobPanel(self.service, "adapt", lambda job: domain_names(job.inputs))
        longer = gr.Button(_longer(SAMPLES), visible=False)
        images.change(_longer_by, [images], [longer], **PRIVATE)
        preview = image_output("Preview: source, adapted, then the references of each domain", visible=False)
        file = gr.File(
            label="Download the adaptation, for gen generate",
            interactive=False,
            visible=False,
            elem_classes="downloads",
        )
        train.click(self.start, [source, images, *fields], [panel.number], api_name="start_adaptation")
        again = longer.click(self.train_on, [panel.number, images], [panel.number], api_name="continue_adaptation")
        to_draw = _go(steps, 5, "Next: draw", "secondary")
        panel.connect(page, [preview, file, longer, to_draw], self._show, again)
        return panel

    @event("device")
    def check(self, source: str, *fields: Any) -> str:
        """Check the references before training: rank of each domain, distances and angles between domains, warnings.

        Args:
            source: name of a generator in weights/
            fields: name, images and weight of each of four domains; leave images empty for unused ones

        Returns:
            the report
        """
        from gen.hda.check import report

        check_offered(source, generators())
        with self.service.new_folder() as folder:
            try:
                domains, problems = gather_domains(self.service, fields, folder)
                inputs = {"source": source, "domains": domains}
                text = report(make_trainer(self.service, inputs, folder / "run"))
            finally:
                shutil.rmtree(folder, ignore_errors=True)  # only the text is wanted of it
        return "\n".join([self.service.messages.plain(text), *problems])

    @readable_errors
    def start(self, source: str, images: float, *fields: Any) -> str:
        """Start to adapt a generator. Follow the job with /job.

        Args:
            source: name of a generator in weights/
            images: maximum number of training samples
            fields: name, images and weight of each of four domains; leave images empty for unused ones

        Returns:
            the number of the job; /draw, /walk and /invert take it as the adaptation
        """
        check_offered(source, generators())
        images = check_number("maximum number of training samples", images, 1, MAX_SAMPLES)
        with self.service.new_job() as job_id:
            domains, problems = gather_domains(self.service, fields, self.service.jobs.folder(job_id))
            inputs = {"source": source, "domains": domains, "images": int(images)}
            self.service.jobs.submit("adapt", job_id, inputs, problems)
            return job_id

    @readable_errors
    def train_on(self, job: str, images: float) -> str:
        """Go on with an adaptation that has ended, even if it learned nothing more. Follow it with /job.

        Args:
            job: number of the Adapt job
            images: maximum number of training samples to add

        Returns:
            the number of the job, which stays the same
        """
        ended = self.service.jobs.get(job)
        images = check_number("maximum number of training samples", images, 1, MAX_SAMPLES)
        trained = self._trained(ended)
        if ended.kind != "adapt" or not trained:
            raise BadInput("Only an adaptation that has begun to train can be trained on.")
        inputs = ended.inputs | {"images": trained + int(images), "trained_on": True}
        return self.service.jobs.run_again(ended.id, inputs).id

    def _trained(self, job: Job) -> int:
        """Samples of its last checkpoint: its record counts those of the last attempt, which may have failed early."""
        from gen.training.checkpoints import POINTER  # it imports torch

        pointer = json_if_whole(self.service.jobs.folder(job.id) / "run" / "checkpoints" / POINTER)
        return int(pointer.get("images_shown", 0))

    def _show(self, job: Job | None) -> list[Any]:
        """The newest preview and the adaptation file, hidden until there is one; the buttons for what comes next."""
        samples = sorted((self.service.jobs.folder(job.id) / "run" / "samples").glob("*.jpg")) if job else []
        files = self.service.result_files(job) if job else []
        newest = (str(samples[-1]) if samples else None, files[0] if files else None)
        ended = job is not None and job.over and newest[1] is not None
        next_is = gr.Button(variant="primary" if ended else "secondary")
        return [
            *(gr.update(value=path, visible=path is not None) for path in newest),
            gr.Button(visible=ended),
            next_is,
        ]


def _longer_by(images: float) -> gr.Button:
    return gr.Button(_longer(images))


def _longer(images: float) -> str:
    return f"Train on: at most {images:,.0f} samples more"


def _go(steps: Any, number: int, label: str, variant: Any = "primary") -> gr.Button:
    """A button that opens a step."""
    button = gr.Button(label, variant=variant)
    button.click(lambda: gr.Tabs(selected=number), None, [steps], **PRIVATE)
    return button


def _source() -> Any:
    """The choice of a generator, and what each one draws."""
    models = sorted(generators(), key=lambda name: name != SHIPPED)
    source = gr.Dropdown(models, value=models[0] if models else None, label="Source generator")
    samples = {model: Path(resolve(model)) / "samples.jpg" for model in models}
    drawn = {
        model: image_output(
            "What it draws: all made up", str(file), elem_classes="sheet", visible=model == source.value
        )
        for model, file in samples.items()
        if file.is_file()
    }

    def show(name: str) -> dict[Any, Any]:
        return {picture: gr.update(visible=model == name) for model, picture in drawn.items()}

    if drawn:
        source.change(show, [source], [*drawn.values()], **PRIVATE)
    return source


def _in_short(report: str | None) -> tuple[Any, ...]:
    """The report's first line as HTML, in bold up to its colon or full stop; the details, now visible; the buttons."""
    line = (report or "").split("\n")[0]
    first, mark, rest = re.findall(r"\A([^:.]*)([:.]?)(.*)", line, re.S)[0]
    kind = "go" if first == "Go ahead" else "wait"
    text = f"<b>{html.escape(first)}{mark}</b>{html.escape(rest)}"
    return f'<p class="verdict {kind}" role="status">{text}</p>', gr.Accordion(visible=True), *_next_is(kind == "go")


def _next_is(training: bool) -> list[gr.Button]:
    """The button that checks and the one that leads to the training: the one that comes next stands out."""
    return [gr.Button(variant="secondary" if it_is else "primary") for it_is in (training, not training)]


def _outdated(said: str | None) -> tuple[Any, ...]:
    """In place of a verdict on what has changed since; nothing where there was none."""
    told = '<p class="verdict wait" role="status">Something has changed. Check the pictures again.</p>'
    return told if said else "", gr.Accordion(visible=False), *_next_is(False)
