"""The tab that adapts a generator to domains known by a few pictures, and draws with it."""

import re
from pathlib import Path
from typing import Any

import gradio as gr

from gen.errors import BadInput, BadSetting
from gen.web.jobs import Job
from gen.web.limits import check_still, gather, plain
from gen.web.panel import JobPanel
from gen.web.service import DEVICE, Service, check_offered, generators, picture_input, plainly
from gen.web.work import make_trainer

MOST_DOMAINS = 4
MOST_SEEDS = 64
SIDE = 192
"""Pixels at least that a drawn picture has on the page."""


class AdaptTab:
    """Check, train as a job, draw, and invert."""

    def __init__(self, service: Service, demo: gr.Blocks) -> None:
        self.service = service
        with gr.Tab("Adapt", id="adapt"):
            gr.Markdown("Two to four domains, each known by about ten pictures; one generator that carries them all.")
            models = generators()
            source = gr.Dropdown(models, value=models[0] if models else None, label="Source generator")
            fields: list[Any] = []
            with gr.Row():
                for number in range(1, MOST_DOMAINS + 1):
                    with gr.Column(min_width=220):
                        fields.append(gr.Textbox(label=f"Domain {number}: name", placeholder="sketch"))
                        fields.append(gr.File(label=f"Domain {number}: pictures", file_count="multiple", height=140))
                        fields.append(gr.Slider(0.1, 3, 1, step=0.1, label=f"Domain {number}: weight"))
            images = gr.Slider(
                160, 6400, 1600, step=160, label="Samples to draw at most; it ends before where nothing is gained"
            )
            with gr.Row():
                check = gr.Button("Check the references")
                train = gr.Button("Adapt", variant="primary")
            said = gr.Textbox(label="What the references say", lines=6, interactive=False)
            panel = JobPanel(service, "adapt")
            preview = gr.Image(
                label="Preview: source, adapted, then the pictures of each domain", format="png", interactive=False
            )
            file = gr.File(
                label="Download: the adaptation, for gen generate", interactive=False, elem_classes="downloads"
            )
            check.click(self.check, [source, *fields], [said], api_name="check_domains", **DEVICE)
            train.click(self.start, [source, images, *fields], [panel.number], api_name="start_adaptation")
            panel.connect(demo, [preview, file], self._show)
            self._drawing(source, panel)

    def _drawing(self, source: Any, panel: JobPanel) -> None:
        gr.Markdown("### Draw\nWith the adaptation of the job above; without a job number the source alone is drawn.")
        with gr.Row():
            seeds = gr.Textbox("0-7", label="Seeds", info="Numbers and ranges, as 0-7,12")
            truncation = gr.Slider(0, 1, 0.7, step=0.05, label="Truncation", info="1: all the variety")
            strength = gr.Slider(0, 1.5, 1, step=0.05, label="Strength", info="0: source, 1: adapted")
        with gr.Row():
            second = gr.Textbox("", label="Blend with the adaptation of this job number")
            share = gr.Slider(0, 1, 0.5, step=0.05, label="Share of the second")
        with gr.Row():
            draw, walk = gr.Button("Draw a grid", variant="primary"), gr.Button("Walk clip")
        with gr.Row():
            grid = gr.Image(
                label="From the source, row by row, to the full strength", format="png", interactive=False, scale=3
            )
            clip = gr.Video(label="Walk", interactive=False, autoplay=True, loop=True)
        with gr.Row():
            photo = picture_input("A real photo")
            found = gr.Image(label="Photo, inverted, adapted", format="png", interactive=False)
        steps = gr.Slider(50, 1000, 300, step=50, label="Steps of inversion")
        redraw = gr.Button("Invert and redraw")
        given = [source, panel.number, strength, second, share]
        draw.click(self.draw, [*given, seeds, truncation], [grid], api_name="draw", **DEVICE)
        walk.click(self.walk, [*given, seeds, truncation], [clip], api_name="walk", **DEVICE)
        redraw.click(self.invert, [*given, photo, steps], [found], api_name="invert", **DEVICE)

    def _domains(self, fields: tuple[Any, ...], ident: str) -> tuple[list[str], list[str]]:
        """Copy the references into the job's folder: `name=DIR:weight` of each domain, and what was refused."""
        domains: list[str] = []
        problems: list[str] = []
        folder = self.service.jobs.folder(ident)
        for name, files, weight in zip(fields[::3], fields[1::3], fields[2::3], strict=True):
            if not files:
                continue
            name = plain(name or f"domain{len(domains) + 1}").replace(" ", "-").replace("_", "-")
            place = folder / "input" / f"{len(domains)}-{name}"
            place.parent.mkdir(exist_ok=True)
            problems += gather(files, place, self.service.settings, clips=False)[1]
            domains.append(f"{name}={place}:{weight:g}")
        if not domains:
            raise BadInput("No pictures were given; each domain needs about ten.")
        return domains, problems

    @plainly
    def check(self, source: str, *fields: Any) -> str:
        """What the references say before anything runs: ranks, distances, angles between domains, warnings.

        Args:
            source: name of a generator in weights/
            fields: name, pictures and weight of up to four domains

        Returns:
            the report
        """
        from gen.hda.check import report

        check_offered(source, generators())
        ident = self.service.jobs.new_folder()
        domains, problems = self._domains(fields, ident)
        inputs = {"source": source, "domains": domains}
        text = report(make_trainer(self.service, inputs, self.service.jobs.folder(ident) / "run"))
        return "\n".join([text, *problems])

    @plainly
    def start(self, source: str, images: float, *fields: Any) -> str:
        """Begin to adapt a generator; follow it with /job.

        Args:
            source: name of a generator in weights/
            images: samples to draw at most
            fields: name, pictures and weight of up to four domains

        Returns:
            the number of the job, which is also that of the adaptation
        """
        check_offered(source, generators())
        ident = self.service.jobs.new_folder()
        domains, problems = self._domains(fields, ident)
        inputs = {"source": source, "domains": domains, "images": int(images)}
        self.service.jobs.submit("adapt", ident, inputs, problems)
        return ident

    def _show(self, job: Job | None) -> list[Any]:
        if job is None:
            return [None, None]
        folder = self.service.jobs.folder(job.id) / "run"
        samples = sorted((folder / "samples").glob("*.jpg"))
        file = folder / "adaptation.safetensors"
        return [str(samples[-1]) if samples else None, str(file) if file.exists() else None]

    def _loaded(self, source: str, number: str, strength: float, second: str, share: float) -> Any:
        """The shared generator with the adaptations of these jobs at these strengths, and no others."""
        pipe = self.service.generator(source)
        pipe.adaptations.clear()
        pipe.set_strengths({})
        wanted = [(number, strength * (1 - share if second.strip() else 1)), (second, strength * share)]
        for ident, k in wanted:
            if ident.strip():
                path = self.service.jobs.folder(ident.strip()) / "run" / "adaptation.safetensors"
                if not path.exists():
                    raise BadInput("This job has no adaptation (yet); wait until it is done.")
                pipe.load_adaptation(path, k, f"job{len(pipe.adaptations)}")
        return pipe

    @plainly
    def draw(
        self, source: str, job: str, strength: float, second: str, share: float, seeds: str, truncation: float
    ) -> Any:
        """A grid of the same seeds from the source up to the full strength.

        Args:
            source: name of a generator in weights/
            job: number of an adaptation's job; empty: the source alone
            strength: of the adaptation, 0 to 1.5
            second: number of another adaptation's job to blend in; may be empty
            share: of the second, 0 to 1
            seeds: numbers and ranges, as 0-7,12
            truncation: 0 to 1

        Returns:
            the grid
        """
        from gen.hda.drawing import strength_grid

        numbers = parse(seeds)
        pipe = self._loaded(source, job, strength, second, share)
        rows = [0.0, 0.5, 1.0] if pipe.adaptations else [1.0]
        return enlarged(strength_grid(pipe, pipe.latents(numbers, truncation), rows), len(numbers))

    @plainly
    def walk(
        self, source: str, job: str, strength: float, second: str, share: float, seeds: str, truncation: float
    ) -> str:
        """A clip that wanders through the seeds and returns.

        Args:
            source: name of a generator in weights/
            job: number of an adaptation's job; empty: the source alone
            strength: of the adaptation, 0 to 1.5
            second: number of another adaptation's job to blend in; may be empty
            share: of the second, 0 to 1
            seeds: numbers and ranges, as 0-7,12
            truncation: 0 to 1

        Returns:
            the clip, four seconds
        """
        from gen.hda.drawing import walk
        from gen.media.video import write_clip

        numbers = parse(seeds)
        pipe = self._loaded(source, job, strength, second, share)
        path = self.service.new_folder() / "walk.mp4"
        frames = walk(pipe, pipe.latents(numbers, truncation), 96)
        write_clip(path, (enlarged(frame, 1, 256) for frame in frames), 24)
        return str(path)

    @plainly
    def invert(
        self, source: str, job: str, strength: float, second: str, share: float, photo: str, steps: float
    ) -> Any:
        """Find a real photo in the source generator and draw it adapted.

        Args:
            source: name of a generator in weights/
            job: number of an adaptation's job; empty: the source alone
            strength: of the adaptation, 0 to 1.5
            second: number of another adaptation's job to blend in; may be empty
            share: of the second, 0 to 1
            photo: a picture of what the generator draws, in the middle square
            steps: of the optimiser

        Returns:
            photo, inverted and adapted side by side
        """
        from gen.hda.drawing import invert_photo

        if not photo:
            raise BadInput("Choose a photo first.")
        check_still(Path(photo), self.service.settings)
        pipe = self._loaded(source, job, strength, second, share)
        return enlarged(invert_photo(pipe, Path(photo), int(steps)), 3)


def parse(seeds: str) -> list[int]:
    """Seeds, no more than a page shows. Raises `BadSetting`."""
    from gen.hda.parsing import parse_seeds

    short = len(seeds) < 500 and not re.search(r"\d{7}", seeds)  # a range is spelt out, so it must not be endless
    numbers = parse_seeds(seeds) if short else []
    if not 0 < len(numbers) <= MOST_SEEDS:
        raise BadSetting(f"seeds: give 1 to {MOST_SEEDS} numbers and ranges, as 0-7,12.")
    return numbers


def enlarged(pixels: Any, columns: int, side: int = SIDE) -> Any:
    """A grid (H, W, 3) of small pictures, large enough to be looked at."""
    import numpy as np
    from PIL import Image

    factor = max(1, round(side * columns / pixels.shape[1]))
    size = (pixels.shape[1] * factor, pixels.shape[0] * factor)
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))
