"""The tab that adapts a generator to domains known from a few images, and draws with it."""

import re
import shutil
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import gradio as gr

from gen.errors import BadInput, BadSetting
from gen.web.events import DEVICE, clip_output, event, image_input, readable_errors
from gen.web.jobs import Job, JobContext, Stopped
from gen.web.limits import check_number, check_still
from gen.web.names import safe_name
from gen.web.panel import JobPanel
from gen.web.service import JobKind, Service, check_offered, generators
from gen.web.tab import Tab
from gen.web.uploads import gather

MAX_DOMAINS = 4
MAX_SEEDS = 64
MAX_SAMPLES, MAX_STEPS = 6400, 1000
MIN_SIDE = 192
"""Pixels to which each drawn image is enlarged at least: those of a small generator would be tiny on the page."""
ADAPTATION = "run/adaptation.safetensors"


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
    from gen.hda.pipeline import HDAPipeline
    from gen.hda.training import HDASettings, HDATrainer
    from gen.training.settings import make_settings

    device = "cpu" if service.device() == "cpu" else "auto"  # a trainer knows no other names
    given = {"source": inputs["source"], "domains": inputs["domains"], "out": out, "device": device}
    more = {"images": inputs["images"], "sample_every": 160} if inputs.get("images") else {}
    # Not `service.generator`: training changes the generator, and visitors draw with the shared one meanwhile.
    generator = HDAPipeline.from_pretrained(inputs["source"]).generator
    return HDATrainer(make_settings(HDASettings, given, more), generator)


class AdaptTab(Tab):
    """Checks references, trains as a job, draws, and inverts photos."""

    TITLE = "Adapt"
    JOBS: ClassVar = {"adapt": JobKind("device", run_adapt, (ADAPTATION,))}

    def build(self, page: gr.Blocks) -> None:
        """Domains and training above, drawing below."""
        gr.Markdown(
            "Adapt a generator to one to four domains at once, for example sketches and oil paintings. About ten "
            "images are enough for each."
        )
        models = generators()
        source = gr.Dropdown(models, value=models[0] if models else None, label="Source generator")
        fields: list[Any] = []
        with gr.Row():
            for number in range(1, MAX_DOMAINS + 1):
                with gr.Column(min_width=220):
                    fields.append(gr.Textbox(label=f"Domain {number}: name", placeholder="sketch"))
                    fields.append(gr.File(label=f"Domain {number}: images", file_count="multiple", height=140))
                    fields.append(gr.Slider(0.1, 3, 1, step=0.1, label=f"Domain {number}: weight"))
        images = gr.Slider(
            160,
            MAX_SAMPLES,
            1600,
            step=160,
            label="Maximum training samples (stops early when converged)",
        )
        with gr.Row():
            check = gr.Button("Check the references")
            train = gr.Button("Adapt", variant="primary")
        report = gr.Textbox(label="Report on the references", lines=6, interactive=False)
        panel = JobPanel(self.service, "adapt")
        preview = gr.Image(
            label="Preview: source, adapted, then the references of each domain", format="png", interactive=False
        )
        file = gr.File(
            label="Download: adaptation file for `gen generate`", interactive=False, elem_classes="downloads"
        )
        check.click(self.check, [source, *fields], [report], api_name="check_domains", **DEVICE)
        train.click(self.start, [source, images, *fields], [panel.number], api_name="start_adaptation")
        panel.connect(page, [preview, file], self._show)
        self._drawing(source, panel)

    def _drawing(self, source: Any, panel: JobPanel) -> None:
        gr.Markdown("### Draw\nUses the adaptation of the job above. Without a job number, draws the source generator.")
        with gr.Row():
            seeds = gr.Textbox("0-7", label="Seeds", info="Numbers and ranges, for example 0-7,12")
            truncation = gr.Slider(0, 1, 0.7, step=0.05, label="Truncation", info="0: average image, 1: full variety")
            strength = gr.Slider(0, 1.5, 1, step=0.05, label="Strength", info="0: source, 1: adapted")
        with gr.Row():
            second = gr.Textbox("", label="Blend with a second adaptation (its job number)")
            share = gr.Slider(0, 1, 0.5, step=0.05, label="Share of the second adaptation")
        with gr.Row():
            draw, walk = gr.Button("Draw a grid", variant="primary"), gr.Button("Make an interpolation clip")
        with gr.Row():
            grid = gr.Image(
                label="Grid: strength grows from the top row (source) to the bottom row",
                format="png",
                interactive=False,
                scale=3,
            )
            clip = clip_output("Interpolation clip", autoplay=True, loop=True)
        with gr.Row():
            photo = image_input("Photo to invert")
            inverted = gr.Image(label="Photo, inverted, adapted", format="png", interactive=False)
        steps = gr.Slider(50, MAX_STEPS, 300, step=50, label="Inversion steps")
        redraw = gr.Button("Invert and adapt")
        shared = [source, panel.number, strength, second, share]
        draw.click(self.draw, [*shared, seeds, truncation], [grid], api_name="draw", **DEVICE)
        walk.click(self.walk, [*shared, seeds, truncation], [clip], api_name="walk", **DEVICE)
        redraw.click(self.invert, [*shared, photo, steps], [inverted], api_name="invert", **DEVICE)

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
        if job is None:
            return [None, None]
        samples = sorted((self.service.jobs.folder(job.id) / "run" / "samples").glob("*.jpg"))
        return [str(samples[-1]) if samples else None, next(iter(self.service.result_files(job)), None)]

    @contextmanager
    def _loaded(self, source: str, number: str, strength: float, second: str, share: float) -> Generator[Any]:
        """Within the block, the shared generator has these jobs' adaptations at these strengths, and no others."""
        number, second = number or "", second or ""  # a script may leave them out
        check_number("strength", strength, 0, 1.5)
        check_number("share", share, 0, 1)
        pipe = self.service.generator(source)
        wanted = [(number, strength * (1 - share if second.strip() else 1)), (second, strength * share)]
        with pipe.lock:
            pipe.adaptations.clear()
            pipe.set_strengths({})
            for job_id, k in wanted:
                if job_id.strip():
                    path = self.service.jobs.folder(job_id.strip()) / ADAPTATION
                    if not path.exists():
                        raise BadInput("This job has no adaptation yet; wait until it is done.")
                    pipe.load_adaptation(path, k, f"job{len(pipe.adaptations)}")
            yield pipe

    @event("device")
    def draw(
        self, source: str, job: str, strength: float, second: str, share: float, seeds: str, truncation: float
    ) -> Any:
        """Draw a grid: the same seeds at strength 0, half and full strength.

        Args:
            source: name of a generator in weights/
            job: number of an Adapt job; empty draws the source generator alone
            strength: strength of the adaptation, 0 (source) to 1.5
            second: number of a second Adapt job to blend in; may be empty
            share: share of the second adaptation, 0 to 1
            seeds: numbers and ranges, for example 0-7,12
            truncation: 0 (average image) to 1 (full variety)

        Returns:
            the grid
        """
        from gen.hda.drawing import strength_grid

        numbers, truncation = parse(seeds), check_number("truncation", truncation, 0, 1)
        with self._loaded(source, job, strength, second, share) as pipe:
            rows = [0.0, 0.5, 1.0] if pipe.adaptations else [1.0]
            grid = strength_grid(pipe, pipe.latents(numbers, truncation), rows)
        return enlarged(grid, len(numbers))

    @event("device")
    def walk(
        self, source: str, job: str, strength: float, second: str, share: float, seeds: str, truncation: float
    ) -> str:
        """Make a looping clip that interpolates between the seeds.

        Args:
            source: name of a generator in weights/
            job: number of an Adapt job; empty draws the source generator alone
            strength: strength of the adaptation, 0 (source) to 1.5
            second: number of a second Adapt job to blend in; may be empty
            share: share of the second adaptation, 0 to 1
            seeds: numbers and ranges, for example 0-7,12
            truncation: 0 (average image) to 1 (full variety)

        Returns:
            the clip, four seconds long
        """
        from gen.hda.drawing import walk
        from gen.media.video import write_clip

        numbers, truncation = parse(seeds), check_number("truncation", truncation, 0, 1)
        with self._loaded(source, job, strength, second, share) as pipe, self.service.new_folder() as folder:
            frames = walk(pipe, pipe.latents(numbers, truncation), 96)
            write_clip(folder / "walk.mp4", (enlarged(frame, 1, 256) for frame in frames), 24)
            return str(folder / "walk.mp4")

    @event("device")
    def invert(
        self, source: str, job: str, strength: float, second: str, share: float, photo: str, steps: float
    ) -> Any:
        """Find the latent of a photo in the source generator, and draw that latent adapted.

        Args:
            source: name of a generator in weights/
            job: number of an Adapt job; empty draws the source generator alone
            strength: strength of the adaptation, 0 (source) to 1.5
            second: number of a second Adapt job to blend in; may be empty
            share: share of the second adaptation, 0 to 1
            photo: an image of what the generator draws; only its central square is used
            steps: steps of the optimiser

        Returns:
            photo, inversion and adapted inversion side by side
        """
        from gen.hda.drawing import invert_photo

        if not photo:
            raise BadInput("Choose a photo first.")
        check_still(Path(photo), self.service.settings)
        steps = check_number("steps", steps, 1, MAX_STEPS)
        with self._loaded(source, job, strength, second, share) as pipe:
            return enlarged(invert_photo(pipe, Path(photo), int(steps)), 3)


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
