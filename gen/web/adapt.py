"""The tab that adapts a generator to domains known from a few images, and draws with it."""

import html
import re
import shutil
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

import gradio as gr

from gen.errors import BadInput, BadSetting, GenError
from gen.hda.parsing import ADAPTATION_FILE, adaptation_file
from gen.web.events import DEVICE, PRIVATE, clip_output, event, image_input, image_output, readable_errors
from gen.web.jobs import Job, JobContext, Stopped
from gen.web.limits import check_number, check_still
from gen.web.names import safe_name
from gen.web.panel import JobPanel
from gen.web.service import JobKind, Service, check_offered, generators
from gen.web.tab import Tab
from gen.web.uploads import gather
from gen.weights import available, resolve

MAX_DOMAINS = 4
MAX_SEEDS = 64
MAX_SAMPLES, MAX_STEPS = 6400, 1000
MIN_SIDE = 192
"""Pixels to which each drawn image is enlarged at least: those of a small generator would be tiny on the page."""
ADAPTATION = f"run/{ADAPTATION_FILE}"
FIRST = "faces64-sketch-sunglasses"
"""The shipped adaptation that is offered first."""
EXAMPLES = ("sketch", "sunglasses", "caricature", "oil painting")


def run_adapt(service: Service, context: JobContext) -> None:
    """Inputs: source (a model's name), domains, images. Leaves run/adaptation.safetensors and run/samples/*.jpg."""
    from gen.hda.export import save_adaptation

    context.report(0, 0, "loading the generator and the references", "samples")
    trainer = make_trainer(service, context.job.inputs, context.folder / "run")
    skipped = [f"{name}: {why}" for name, references in trainer.references.items() for why in references.warnings]
    context.job.failures = list(map(service.messages.plain, skipped))

    def watch() -> None:
        shown = ", ".join(f"{name} {100 * value:.0f} %" for name, value in trainer.progress.items())
        context.report(trainer.images_shown, trainer.total_images, f"adapted: {shown}", "samples")
        if context.cancelled:
            trainer.stop()

    trainer.watch = watch
    trainer.fit()
    if context.closing and not trainer.finished:
        raise Stopped
    save_adaptation(trainer)  # a cancelled job too: what it has learned so far can be drawn with
    if not trainer.finished:
        raise Stopped
    context.job.note = trainer.ending()


def make_trainer(service: Service, inputs: Mapping[str, Any], out: Path) -> Any:
    """The HDATrainer of an Adapt job, before its first step."""
    from gen.hda.pipeline import load_source
    from gen.hda.training import HDASettings, HDATrainer
    from gen.training.settings import make_settings

    device = "cpu" if service.device() == "cpu" else "auto"  # a trainer knows no other names
    given = {"source": inputs["source"], "domains": inputs["domains"], "out": out, "device": device}
    more = {"images": inputs["images"], "sample_every": 160} if inputs.get("images") else {}
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
                fields = _domain_fields()
                _go(steps, 3, "Next: check the pictures")
            with gr.Tab("3 Check", id=3):
                self._checking(source, fields)
                _go(steps, 4, "Next: train", "secondary")
            with gr.Tab("4 Train", id=4):
                panel = self._training(page, source, fields)
                _go(steps, 5, "Next: draw", "secondary")
            with gr.Tab("5 Draw", id=5):
                self._drawing(page, source, panel)

    def _checking(self, source: Any, fields: list[Any]) -> None:
        gr.Markdown("The check takes some seconds. It finds pictures that are missing, alike or in each other's way.")
        check = gr.Button("Check the pictures", variant="primary")
        said = gr.HTML("", min_height=40, padding=False)
        with gr.Accordion("Detailed report", open=False, visible=False) as details:
            report = gr.Textbox(label="Report on the references", lines=12, interactive=False)
        checked = check.click(
            self.check, [source, *fields], [report], api_name="check_domains", show_progress_on=said, **DEVICE
        )
        checked.success(_in_short, [report], [said, details], **PRIVATE)
        gr.on([field.change for field in (source, *fields)], _outdated, [said], [said, details], **PRIVATE)

    def _training(self, page: gr.Blocks, source: Any, fields: list[Any]) -> JobPanel:
        images = gr.Slider(
            160,
            MAX_SAMPLES,
            1600,
            step=160,
            label="Training samples at most",
            info="Training stops earlier when it learns nothing more. 1600 take a few minutes without a GPU.",
        )
        train = gr.Button("Adapt", variant="primary")
        panel = JobPanel(self.service, "adapt")
        preview = image_output("Preview: source, adapted, then the references of each domain", visible=False)
        file = gr.File(
            label="Download: adaptation file for `gen generate`",
            interactive=False,
            visible=False,
            elem_classes="downloads",
        )
        train.click(self.start, [source, images, *fields], [panel.number], api_name="start_adaptation")
        panel.connect(page, [preview, file], self._show)
        return panel

    def _drawing(self, page: gr.Blocks, source: Any, panel: JobPanel) -> None:
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                adaptation = _adaptation(
                    "Adaptation", "A shipped one, your own, or the number of an Adapt job", _choices()[:2][-1][1]
                )
                strength = gr.Slider(0, 1.5, 1, step=0.05, label="Strength", info="0: source, 1: adapted")
                seeds = gr.Textbox("0-7", label="Seeds", info="One face for each number, for example 0-7,12")
                truncation = gr.Slider(0, 1, 0.7, step=0.05, label="Variety", info="0: the average face, 1: all faces")
                with gr.Accordion("Blend with a second adaptation", open=False):
                    second = _adaptation("Second adaptation", "A shipped one, or the number of an Adapt job")
                    share = gr.Slider(0, 1, 0.5, step=0.05, label="Share of the second adaptation")
            with gr.Column(scale=3, min_width=300):
                example = _example()
                label = "Grid: strength grows from the top row (source) to the bottom row"
                grid = image_output(label, example, visible=example is not None)
                with gr.Row():
                    draw, walk = gr.Button("Draw a grid", variant="primary"), gr.Button("Make an interpolation clip")
                clip = clip_output("Interpolation clip", autoplay=True, loop=True, visible=False)
        with gr.Accordion("Draw your own photo", open=False), gr.Row():
            with gr.Column(min_width=300):
                photo = image_input("Photo to invert")
                steps = gr.Slider(50, MAX_STEPS, 300, step=50, label="Inversion steps")
                redraw = gr.Button("Invert and adapt", variant="primary")
            with gr.Column(min_width=300):
                inverted = image_output("Photo, inverted, adapted", visible=False)
        shared = [source, adaptation, strength, second, share]
        for button, function, inputs, output, waits in (
            (draw, self.draw, [seeds, truncation], grid, draw),
            (walk, self.walk, [seeds, truncation], clip, walk),
            (redraw, self.invert, [photo, steps], inverted, redraw),
        ):
            name = function.__name__
            done = button.click(
                function, [*shared, *inputs], [output], api_name=name, show_progress_on=[output, waits], **DEVICE
            )
            done.success(_reveal, None, [output], **PRIVATE)
        redraw.click(_reveal, None, [inverted], **PRIVATE)  # at once, because the progress is shown on it
        adaptation.change(_nothing, None, [grid], **PRIVATE)  # the grid is of another adaptation
        panel.state.change(self.offer, [panel.state], [adaptation], **PRIVATE)
        page.load(self.offer, [panel.state], [adaptation], **PRIVATE)

    @event("status")
    def offer(self, state: str) -> Any:
        """The choices of adaptations, with the job that is shown as the first one if it has an adaptation."""
        number = (state or "").partition(" ")[0]
        with suppress(GenError):
            if number and (self.service.jobs.folder(number) / ADAPTATION).exists():
                return gr.Dropdown([("The job of step 4", number), *_choices()], value=number)
        return gr.Dropdown(_choices(), value=_choices()[:2][-1][1])  # the first shipped one, if there is any

    def _domains(self, fields: tuple[Any, ...], folder: Path) -> tuple[list[str], list[str]]:
        """Copy the references to `folder`. Returns `NAME=FOLDER:WEIGHT` of each domain, and rejected files."""
        domains: list[str] = []
        problems: list[str] = []
        for name, files, weight in zip(fields[::3], fields[1::3], fields[2::3], strict=True):
            if not files:
                continue
            # The name becomes part of NAME=FOLDER:WEIGHT and of file names, so it holds no separators.
            name = safe_name(name or f"domain{len(domains) + 1}").replace(" ", "-").replace("_", "-")
            path = folder / "input" / f"{len(domains)}-{name}"
            path.parent.mkdir(exist_ok=True)
            weight = check_number(f"weight of {name}", weight, 0.01, 100)
            problems += gather(files, path, self.service.limits(), clips=False)[1]
            domains.append(f"{name}={path}:{weight:g}")
        if not domains:
            raise BadInput("No images were given; each domain needs about ten.")
        return domains, problems

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
                domains, problems = self._domains(fields, folder)
                inputs = {"source": source, "domains": domains}
                text = report(make_trainer(self.service, inputs, folder / "run"))
            finally:
                shutil.rmtree(folder, ignore_errors=True)  # only the text is wanted of it
        return "\n".join([text, *problems])

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
            domains, problems = self._domains(fields, self.service.jobs.folder(job_id))
            inputs = {"source": source, "domains": domains, "images": int(images)}
            self.service.jobs.submit("adapt", job_id, inputs, problems)
            return job_id

    def _show(self, job: Job | None) -> list[Any]:
        """The newest preview and the adaptation file, each hidden until there is one."""
        samples = sorted((self.service.jobs.folder(job.id) / "run" / "samples").glob("*.jpg")) if job else []
        files = self.service.result_files(job) if job else []
        newest = (str(samples[-1]) if samples else None, files[0] if files else None)
        return [gr.update(value=path, visible=path is not None) for path in newest]

    def _file(self, name: str) -> Path:
        """The adaptation that a visitor names: a shipped one, or the number of a job. Raises `BadInput`."""
        if name in available(ADAPTATION_FILE):
            return adaptation_file(name)
        path = self.service.jobs.folder(name) / ADAPTATION
        if not path.exists():
            raise BadInput("This job has no adaptation yet; wait until it is done.")
        return path

    @contextmanager
    def _loaded(self, source: str, number: str, strength: float, second: str, share: float) -> Generator[Any]:
        """Within the block, the shared generator has these adaptations at these strengths, and no others."""
        number, second = number or "", second or ""  # a script may leave them out
        check_number("strength", strength, 0, 1.5)
        check_number("share", share, 0, 1)
        pipe = self.service.generator(source)
        wanted = [(number, strength * (1 - share if second.strip() else 1)), (second, strength * share)]
        with pipe.lock:
            pipe.adaptations.clear()
            pipe.set_strengths({})
            for name, k in wanted:
                if name.strip():
                    pipe.load_adaptation(self._file(name.strip()), k, f"part{len(pipe.adaptations)}")
            yield pipe

    @event("device")
    def draw(
        self, source: str, job: str, strength: float, second: str, share: float, seeds: str, truncation: float
    ) -> str:
        """Draw a grid: the same seeds at strength 0, half and full strength.

        Args:
            source: name of a generator in weights/
            job: number of an Adapt job, or name of a shipped adaptation; empty draws the source generator alone
            strength: strength of the adaptation, 0 (source) to 1.5
            second: a second adaptation to blend in, given in the same way; may be empty
            share: share of the second adaptation, 0 to 1
            seeds: numbers and ranges, for example 0-7,12
            truncation: 0 (average image) to 1 (full variety)

        Returns:
            the grid
        """
        from gen.hda.drawing import drawn_with, strength_grid

        numbers, truncation = parse(seeds), check_number("truncation", truncation, 0, 1)
        with self._loaded(source, job, strength, second, share) as pipe:
            rows = [0.0, 0.5, 1.0] if pipe.adaptations else [1.0]
            grid = strength_grid(pipe, pipe.latents(numbers, truncation), rows)
            of_rows = ", strengths 0,0.5,1" if pipe.adaptations else ""
            mark = drawn_with(pipe, source, f"seeds {seeds}, truncation {truncation:g}{of_rows}")
        return self._marked(enlarged(grid, len(numbers)), mark)

    @event("device")
    def walk(
        self, source: str, job: str, strength: float, second: str, share: float, seeds: str, truncation: float
    ) -> str:
        """Make a looping clip that interpolates between the seeds.

        Args:
            source: name of a generator in weights/
            job: number of an Adapt job, or name of a shipped adaptation; empty draws the source generator alone
            strength: strength of the adaptation, 0 (source) to 1.5
            second: a second adaptation to blend in, given in the same way; may be empty
            share: share of the second adaptation, 0 to 1
            seeds: numbers and ranges, for example 0-7,12
            truncation: 0 (average image) to 1 (full variety)

        Returns:
            the clip, four seconds long
        """
        from gen.hda.drawing import drawn_with, walk
        from gen.media.video import write_clip

        numbers, truncation = parse(seeds), check_number("truncation", truncation, 0, 1)
        with self._loaded(source, job, strength, second, share) as pipe, self.service.new_folder() as folder:
            frames = walk(pipe, pipe.latents(numbers, truncation), 96)
            mark = drawn_with(pipe, source, f"seeds {seeds}, truncation {truncation:g}")
            write_clip(folder / "walk.mp4", (enlarged(frame, 1, 256) for frame in frames), 24, mark)
            return str(folder / "walk.mp4")

    @event("device")
    def invert(
        self, source: str, job: str, strength: float, second: str, share: float, photo: str, steps: float
    ) -> str:
        """Find the latent of a photo in the source generator, and draw that latent adapted.

        Args:
            source: name of a generator in weights/
            job: number of an Adapt job, or name of a shipped adaptation; empty draws the source generator alone
            strength: strength of the adaptation, 0 (source) to 1.5
            second: a second adaptation to blend in, given in the same way; may be empty
            share: share of the second adaptation, 0 to 1
            photo: an image of what the generator draws; only its central square is used
            steps: steps of the optimiser

        Returns:
            photo, inversion and adapted inversion side by side
        """
        from gen.hda.drawing import drawn_with, invert_photo
        from gen.provenance import fingerprint_file

        if not photo:
            raise BadInput("Choose a photo first.")
        check_still(Path(photo), self.service.settings)
        steps = check_number("steps", steps, 1, MAX_STEPS)
        with self._loaded(source, job, strength, second, share) as pipe:
            drawn = invert_photo(pipe, Path(photo), int(steps))
            found = f"photo {fingerprint_file(Path(photo))} inverted in {int(steps)} steps, seed 0"
            mark = drawn_with(pipe, source, found)
        return self._marked(enlarged(drawn, 3), mark)

    def _marked(self, pixels: Any, mark: str) -> str:
        """The file of a drawn picture (H, W, 3), which says what drew it wherever it is taken."""
        from PIL import Image

        from gen.hda.drawing import save_marked

        with self.service.new_folder() as folder:
            save_marked(folder / "drawn.png", Image.fromarray(pixels), mark)
            return str(folder / "drawn.png")


def _go(steps: Any, number: int, label: str, variant: Any = "primary") -> None:
    """A button that opens a step."""
    gr.Button(label, variant=variant).click(lambda: gr.Tabs(selected=number), None, [steps], **PRIVATE)


def _source() -> Any:
    """The choice of a generator, and what the first one draws."""
    models = generators()
    source = gr.Dropdown(models, value=models[0] if models else None, label="Source generator")
    samples = Path(resolve(models[0])) / "samples.jpg" if models else None
    if samples and samples.is_file():
        drawn = image_output("What it draws: none of these people exist", str(samples), elem_classes="sheet")
        source.change(_only_for(models[0]), [source], [drawn], **PRIVATE)
    return source


def _only_for(model: str) -> Callable[[str], Any]:
    """An update that hides a picture of one generator where another one is chosen."""
    return lambda name: gr.update(visible=name == model)


def _domain_fields() -> list[Any]:
    """Name, images and weight of each domain. Only the first domain is shown; a button shows the next."""
    fields: list[Any] = []
    groups: list[Any] = []
    for number in range(1, MAX_DOMAINS + 1):
        with gr.Row(visible=number == 1) as group:
            example = f"for example {EXAMPLES[number - 1]}"
            fields.append(gr.Textbox(label=f"Domain {number}: name", placeholder=example, min_width=220))
            fields.append(
                gr.File(label=f"Domain {number}: images", file_count="multiple", height=140, scale=2, min_width=220)
            )
            fields.append(gr.Slider(0.1, 3, 1, step=0.1, label=f"Domain {number}: weight", min_width=220))
        groups.append(group)
    add, shown = gr.Button("Add a domain"), gr.State(1)
    add.click(_one_more, [shown], [shown, add, *groups], **PRIVATE)
    return fields


def _one_more(shown: int) -> list[Any]:
    """The number of domains that are shown then; the button, until all are; and the domains."""
    shown += 1
    return [shown, gr.Button(visible=shown < MAX_DOMAINS), *(gr.Row(visible=n < shown) for n in range(MAX_DOMAINS))]


def _in_short(report: str | None) -> tuple[str, Any]:
    """The report's first line as HTML, in bold up to its colon or full stop; and the details, now visible."""
    line = (report or "").split("\n")[0]
    first, mark, rest = re.findall(r"\A([^:.]*)([:.]?)(.*)", line, re.S)[0]
    kind = "go" if first.startswith("Go ahead") else "wait"
    text = f"<b>{html.escape(first)}{mark}</b>{html.escape(rest)}"
    return f'<p class="verdict {kind}" role="status">{text}</p>', gr.Accordion(visible=True)


def _outdated(said: str | None) -> tuple[str, Any]:
    """In place of a verdict on what has changed since; nothing where there was none."""
    told = '<p class="verdict wait" role="status">Something has changed. Check the pictures again.</p>'
    return told if said else "", gr.Accordion(visible=False)


def _choices() -> list[tuple[str, str]]:
    """Label and value of what everybody can draw with."""
    return [("None: the source generator", ""), *((name, name) for name in _shipped())]


def _shipped() -> list[str]:
    """The adaptations in weights/, the one that shows the most first."""
    return sorted(available(ADAPTATION_FILE), key=lambda name: (name != FIRST, name))


def _adaptation(label: str, info: str, value: str = "") -> Any:
    return gr.Dropdown(_choices(), value=value, label=label, info=info, allow_custom_value=True)


def _example() -> str | None:
    """What the first shipped adaptation draws; none where there is none."""
    pictures = (adaptation_file(name).with_name("grid.jpg") for name in _shipped())
    return next((str(picture) for picture in pictures if picture.is_file()), None)


def _reveal() -> Any:
    return gr.update(visible=True)


def _nothing() -> None:
    """Empties a picture."""


def parse(seeds: str) -> list[int]:
    """1 to `MAX_SEEDS` seeds from text such as "0-7,12". Raises `BadSetting`."""
    from gen.seeds import parse_seeds

    # A range is expanded to a list, so one from a visitor must be known to be short before it is parsed.
    short = bool(seeds) and len(seeds) < 500 and not re.search(r"\d{7}", seeds)
    numbers = parse_seeds(seeds) if short else []
    if not 0 < len(numbers) <= MAX_SEEDS:
        raise BadSetting(f"give 1 to {MAX_SEEDS} seeds, as numbers or ranges, for example 0-7,12.")
    return numbers


def enlarged(pixels: Any, columns: int, side: int = MIN_SIDE) -> Any:
    """A grid (H, W, 3), enlarged by a whole factor until each of its columns is about `side` pixels wide."""
    import numpy as np
    from PIL import Image

    factor = max(1, round(side * columns / pixels.shape[1]))
    size = (pixels.shape[1] * factor, pixels.shape[0] * factor)
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))
