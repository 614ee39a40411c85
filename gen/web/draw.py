"""The step of the Adapt tab that draws with an adaptation: a grid, a clip, one's own photo."""

import re
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import gradio as gr

from gen.errors import BadInput, BadSetting, GenError
from gen.hda.parsing import ADAPTATION_FILE, adaptation_file, made_for
from gen.web.domains import domain_names
from gen.web.duration import duration
from gen.web.events import DEVICE, PRIVATE, clip_output, event, image_input, image_output
from gen.web.job import Job
from gen.web.limits import check_number, check_still
from gen.web.panel import JobPanel, numbers_of
from gen.web.service import Service, generators
from gen.weights import available

MAX_SEEDS = 64
MAX_STEPS = 1000
MIN_SIDE = 192
"""Pixels to which each drawn image is enlarged at least: those of a small generator would be tiny on the page."""
ADAPTATION = f"run/{ADAPTATION_FILE}"
PROGRESS = gr.Progress()
FIRST = "faces128-sketch-sunglasses"
"""The shipped adaptation that is offered first."""


class DrawStep:
    """Draws with shipped adaptations and with those of the visitor's jobs."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.stopping: set[str | None] = set()
        """Browser sessions that want their photo no longer."""

    def build(self, page: gr.Blocks, source: Any, panel: JobPanel) -> None:
        """Lay it out. `panel`: that of step 4, whose jobs can be drawn with."""
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
                photo = image_input("Your photo: one face that fills it, from the front")
                steps = gr.Slider(
                    50, MAX_STEPS, 300, step=50, label="Steps", info="More steps draw you more closely and take longer."
                )
                with gr.Row():
                    redraw, stop = gr.Button("Draw this photo", variant="primary"), gr.Button("Stop")
            with gr.Column(min_width=300):
                inverted = image_output("Your photo, as the generator draws it, and adapted")
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
        stop.click(self.stop, None, None, **PRIVATE)
        adaptation.change(_nothing, None, [grid], **PRIVATE)  # the grid is of another adaptation
        known = [panel.state, panel.mine, adaptation]
        gr.on([panel.state.change, panel.mine.change, page.load], self.offer, known, [adaptation], **PRIVATE)

    @event("status")
    def offer(self, state: str, mine: str, now: str) -> Any:
        """The choices of adaptations; chosen is that of the job of step 4 once it is over, else what is chosen now.

        Args:
            state: number and state of the job of step 4
            mine: numbers of this browser's jobs, as JSON
            now: what is chosen
        """
        number, _, ended = (state or "").partition(" ")
        own = [(_label(job), job.id) for job in self._own([number, *numbers_of(mine)])]
        known = [value for _, value in own]
        # One that was cancelled does not take the place of another of one's own.
        over = ended not in ("waiting", "running") and not (ended == "cancelled" and now in known)
        value = number if number in known and over else now or _choices()[:2][-1][1]
        return gr.Dropdown([*own, *_choices()], value=value)

    def _own(self, numbers: Iterable[str]) -> list[Job]:
        """Those of these jobs that have an adaptation."""
        jobs: list[Job] = []
        for number in dict.fromkeys(numbers):
            with suppress(GenError):  # deleted meanwhile
                if number and (self.service.jobs.folder(number) / ADAPTATION).exists():
                    jobs.append(self.service.jobs.get(number))
        return jobs

    def _file(self, name: str) -> Path:
        """The adaptation that a visitor names: a shipped one, or the number of a job. Raises `BadInput`."""
        if name in available(ADAPTATION_FILE):
            return adaptation_file(name)
        path = self.service.jobs.folder(name) / ADAPTATION
        if not path.exists():
            raise BadInput("This job has no adaptation yet; wait until it is done.")
        return path

    def _source(self, chosen: str, names: list[str]) -> str:
        """The generator that these adaptations were made for; the chosen one where they do not say."""
        made = (Path(made_for(self._file(name)) or "").name for name in names)
        return next((name for name in made if name in generators()), chosen)

    @contextmanager
    def _loaded(
        self, chosen: str, number: str, strength: float, second: str, share: float
    ) -> Generator[tuple[str, Any]]:
        """Within the block, the shared generator has these adaptations at these strengths, and no others.

        Yields its name and its pipeline.
        """
        number, second = number or "", second or ""  # a script may leave them out
        check_number("strength", strength, 0, 1.5)
        check_number("share", share, 0, 1)
        both = [(number, strength * (1 - share if second.strip() else 1)), (second, strength * share)]
        wanted = [(name.strip(), k) for name, k in both if name.strip()]
        source = self._source(chosen, [name for name, _ in wanted])
        pipe = self.service.generator(source)
        with pipe.lock:
            pipe.adaptations.clear()
            pipe.set_strengths({})
            for name, k in wanted:
                pipe.load_adaptation(self._file(name), k, f"part{len(pipe.adaptations)}")
            yield source, pipe

    @event("device")
    def draw(
        self, source: str, job: str, strength: float, second: str, share: float, seeds: str, truncation: float
    ) -> str:
        """Draw a grid: the same seeds at strength 0, half and full strength.

        Args:
            source: name of a generator in weights/; an adaptation is drawn with its own
            job: number of an Adapt job, or name of a shipped adaptation; empty draws the source generator alone
            strength: strength of the adaptation, 0 (source) to 1.5
            second: a second adaptation to blend in, given in the same way; may be empty
            share: share of the second adaptation, 0 to 1
            seeds: numbers and ranges, for example 0-7,12
            truncation: 0 (average image) to 1 (full variety)

        Returns:
            the grid
        """
        from gen.hda.grids import strength_grid
        from gen.hda.marks import drawn_with

        numbers, truncation = parse(seeds), check_number("truncation", truncation, 0, 1)
        with self._loaded(source, job, strength, second, share) as (source, pipe):
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
            source: name of a generator in weights/; an adaptation is drawn with its own
            job: number of an Adapt job, or name of a shipped adaptation; empty draws the source generator alone
            strength: strength of the adaptation, 0 (source) to 1.5
            second: a second adaptation to blend in, given in the same way; may be empty
            share: share of the second adaptation, 0 to 1
            seeds: numbers and ranges, for example 0-7,12
            truncation: 0 (average image) to 1 (full variety)

        Returns:
            the clip, four seconds long
        """
        from gen.hda.marks import drawn_with
        from gen.hda.moving import walk
        from gen.media.video import write_clip

        numbers, truncation = parse(seeds), check_number("truncation", truncation, 0, 1)
        with self._loaded(source, job, strength, second, share) as (source, pipe), self.service.new_folder() as folder:
            frames = walk(pipe, pipe.latents(numbers, truncation), 96)
            mark = drawn_with(pipe, source, f"seeds {seeds}, truncation {truncation:g}")
            write_clip(folder / "walk.mp4", (enlarged(frame, 1, 256) for frame in frames), 24, mark)
            return str(folder / "walk.mp4")

    @event("device")
    def invert(
        self,
        source: str,
        job: str,
        strength: float,
        second: str,
        share: float,
        photo: str,
        steps: float,
        request: gr.Request | None = None,
        progress: gr.Progress = PROGRESS,
    ) -> str:
        """Find the latent of a photo in the source generator, and draw that latent adapted.

        Args:
            source: name of a generator in weights/; an adaptation is drawn with its own
            job: number of an Adapt job, or name of a shipped adaptation; empty draws the source generator alone
            strength: strength of the adaptation, 0 (source) to 1.5
            second: a second adaptation to blend in, given in the same way; may be empty
            share: share of the second adaptation, 0 to 1
            photo: an image of what the generator draws; only its central square is used
            steps: steps of the optimiser

        Returns:
            photo, inversion and adapted inversion side by side
        """
        from gen.hda.inversion import found_in
        from gen.hda.inverting import invert_photo
        from gen.hda.marks import drawn_with
        from gen.provenance import fingerprint_file

        if not photo:
            raise BadInput("Choose a photo first.")
        check_still(Path(photo), self.service.settings)
        steps = int(check_number("steps", steps, 1, MAX_STEPS))
        session, began, done = request and request.session_hash, time.monotonic(), 0
        self.stopping.discard(session)

        def tell(distance: float) -> None:
            nonlocal done
            done += 1
            if session in self.stopping:
                raise BadInput("Stopped.")
            left = (time.monotonic() - began) / done * (steps - done)
            progress((done, steps), f"About {duration(left)} left", unit="steps")

        with self._loaded(source, job, strength, second, share) as (source, pipe):
            drawn = invert_photo(pipe, Path(photo), steps, tell)
            found = found_in(fingerprint_file(Path(photo)), steps)
            mark = drawn_with(pipe, source, found)
        return self._marked(enlarged(drawn, 3), mark)

    @event("status")
    def stop(self, request: gr.Request | None = None) -> None:
        """Stop drawing the photo of this browser session."""
        self.stopping.add(request and request.session_hash)

    def _marked(self, pixels: Any, mark: str) -> str:
        """The file of a drawn picture (H, W, 3), which says what drew it wherever it is taken."""
        from PIL import Image

        from gen.hda.marks import save_marked

        with self.service.new_folder() as folder:
            save_marked(folder / "drawn.png", Image.fromarray(pixels), mark)
            return str(folder / "drawn.png")


def _label(job: Job) -> str:
    state = "" if job.state == "done" else f", {job.state}"
    return f"{domain_names(job.inputs) or 'job'} (yours{state}, job {job.id[:4]})"


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
