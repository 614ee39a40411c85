"""The tab that renders scenes: game levels in all styles, and streets in any weather."""

from collections.abc import Mapping
from typing import Any, ClassVar, get_args

import gradio as gr
import numpy as np

from gen.errors import BadSetting
from gen.media.images import Still, encode_still
from gen.smd import styles as console
from gen.smd.names import SCENES as CLASSES
from gen.smd.rendering import contact_sheet
from gen.smd.street.settings import WeatherName
from gen.web.events import RENDER, event, image_output, readable_errors
from gen.web.job import Job
from gen.web.jobs import JobContext
from gen.web.panel import JobPanel
from gen.web.results import RESULTS, kept, pack
from gen.web.service import JobKind, Service, check_offered
from gen.web.tab import Tab

SCENES, STYLES, WEATHERS = list(CLASSES), list(console.STYLES), list(get_args(WeatherName))
MAX_DEPTH = 100.0
"""Metres at which the depth image is white."""
MAX_SEED = 999_999_999


def run_scenes(service: Service, context: JobContext) -> None:
    """Inputs: settings (of gen render-smd). Leaves scenes/STYLE/CLASS/*.jpg and results.zip."""
    from gen.smd.rendering import chunks, write_chunk
    from gen.smd.settings import RenderSettings

    settings = RenderSettings(out=context.folder / "scenes", workers=1, **context.job.inputs["settings"])
    done, total = 0, settings.per_class * len(settings.styles) * len(settings.scenes)

    def keep() -> None:
        if settings.out.exists():
            pack(context.folder / RESULTS, settings.out)

    with kept(context, keep):
        for chunk in chunks(settings):
            context.stop_if_cancelled()
            (settings.out / chunk.style.name / chunk.scene).mkdir(parents=True, exist_ok=True)
            done += write_chunk(settings, chunk)
            context.report(done, total, unit="images")


class ScenesTab(Tab):
    """Renders levels and streets at once, and a data set as a job."""

    TITLE = "Scenes"
    JOBS: ClassVar = {"scenes": JobKind("render", run_scenes)}

    def build(self, page: gr.Blocks) -> None:
        """Two inner tabs, one for game levels and one for streets."""
        with gr.Tabs():
            with gr.Tab("Game levels"):
                self._levels(page)
            with gr.Tab("Streets"):
                self._streets()

    def _levels(self, page: gr.Blocks) -> None:
        with gr.Row():
            scene = gr.Dropdown(SCENES, value="snow", label="Class")
            seed = gr.Number(3, label="Seed", precision=0, minimum=0, maximum=MAX_SEED)
            button = gr.Button("Render in all styles", variant="primary")
            sheet = gr.Button("Contact sheet of all classes")
        with gr.Row():
            images = [image_output(style, min_width=240) for style in STYLES]
        contact = image_output("Contact sheet")
        button.click(self.render, [scene, seed], images, api_name="render_level", **RENDER)
        sheet.click(self.sheet, [seed], [contact], api_name="contact_sheet", **RENDER)
        gr.Markdown("### Data set\nA zip of STYLE/CLASS/NUMBER.jpg.")
        with gr.Row():
            styles = gr.CheckboxGroup(STYLES, value=STYLES, label="Styles")
            classes = gr.CheckboxGroup(SCENES, value=SCENES, label="Classes")
        with gr.Row():
            count = gr.Number(4, label="Levels per class", precision=0, minimum=1)
            size = gr.Number(224, label="Image size, pixels", precision=0, minimum=16, maximum=1024)
            start = gr.Button("Render the data set", variant="primary")
        panel = JobPanel(self.service, "scenes")
        file = gr.File(label="Download: data set", interactive=False, elem_classes="downloads")
        start.click(self.start, [styles, classes, count, size, seed], [panel.number], api_name="start_scenes")
        panel.connect(page, [file], self._show)

    def _streets(self) -> None:
        with gr.Row():
            weather = gr.Dropdown(WEATHERS, value="rainy_night", label="Weather")
            seed = gr.Number(17, label="Seed", precision=0, minimum=0, maximum=MAX_SEED)
            button = gr.Button("Render the street", variant="primary")
        with gr.Row():
            names = ["Chosen weather", "Clear day", "Depth (black 0 m, white 100 m or more)", "Labels"]
            outputs = [image_output(name, min_width=280) for name in names]
        button.click(self.street, [weather, seed], outputs, api_name="render_street", **RENDER)

    @event("render")
    def render(self, scene: str, seed: int) -> tuple[Any, ...]:
        """Render one level in all styles.

        Args:
            scene: class of the level
            seed: seed of the level

        Returns:
            one image for each of 8bit, 16bit, lowpoly and hd
        """
        from gen.smd.styles import render
        from gen.smd.world import make_world

        check_offered(scene, SCENES)
        world = make_world(scene, number(seed))
        return self._marked({style: render([world], style)[0] for style in STYLES})

    @event("render")
    def sheet(self, seed: int) -> Any:
        """Render one level of each class in each style.

        Args:
            seed: seed of the levels

        Returns:
            the contact sheet
        """
        return contact_sheet(STYLES, SCENES, number(seed))

    @event("render")
    def street(self, weather: str, seed: int) -> tuple[Any, ...]:
        """Render a street as a dash-cam sees it.

        Args:
            weather: day, dusk, night, rain, rainy_night, fog or snow
            seed: seed of the street

        Returns:
            the street in this weather, the same street on a clear day, its depth, its class labels in colour
        """
        from matplotlib import colormaps

        from gen.smd.street.render import render_street
        from gen.smd.street.street import make_street

        check_offered(weather, WEATHERS)
        weathers = list(dict.fromkeys((weather, "day")))  # "day" only once: its name is a key of the result
        frame = render_street(make_street(number(seed)), 0.0, weathers)
        images = self._marked({name: frame.images[name].permute(1, 2, 0).numpy() for name in weathers})
        depth = (frame.depth.clamp(max=MAX_DEPTH) * (255 / MAX_DEPTH)).byte().numpy()
        labels = (colormaps["tab10"](frame.labels.numpy() % 10)[..., :3] * 255).astype(np.uint8)
        return images[0], images[-1], depth, labels

    def _marked(self, pictures: Mapping[str, Any]) -> tuple[str, ...]:
        """The files of rendered pictures (H, W, 3) by style or weather: they say so wherever they are taken."""
        with self.service.new_folder() as folder:
            paths = {folder / f"{name}.png": name for name in pictures}
            for path, name in paths.items():
                encode_still(path, Still(pictures[name]), mark=f"gen: rendered, {name}")
        return tuple(map(str, paths))

    @readable_errors
    def start(self, styles: list[str], classes: list[str], count: int, size: int, seed: int) -> str:
        """Start to render a data set. Follow the job with /job.

        Args:
            styles: some of 8bit, 16bit, lowpoly, hd
            classes: some of the classes of /render_level
            count: levels per class; each is rendered in every style
            size: width and height of the images in pixels, 16 to 1024
            seed: another seed gives another data set

        Returns:
            the number of the job
        """
        styles, classes = list(dict.fromkeys(styles or ())), list(dict.fromkeys(classes or ()))
        if not styles or not classes:
            raise BadSetting("Choose at least one style and one class.")
        for name in styles:
            check_offered(name, STYLES)
        for name in classes:
            check_offered(name, SCENES)
        total, limit = int(count or 0) * len(styles) * len(classes), self.service.settings.scenes
        if not 0 < total <= limit:
            raise BadSetting(f"{total} images (levels x classes x styles) requested; must be 1 to {limit}.")
        if not 16 <= (size or 0) <= 1024:
            raise BadSetting(f"size must be from 16 to 1024 pixels, not {size}.")
        settings = {"styles": styles, "scenes": classes, "per_class": int(count), "size": int(size)}
        settings |= {"seed": number(seed)}
        with self.service.new_job() as job_id:
            self.service.jobs.submit("scenes", job_id, {"settings": settings})
            return job_id

    def _show(self, job: Job | None) -> list[Any]:
        return [next(iter(self.service.result_files(job)), None) if job else None]


def number(seed: Any) -> int:
    """The seed as an int. Raises `BadSetting` if it is missing or out of range."""
    if seed is None or not 0 <= seed <= MAX_SEED:
        raise BadSetting(f"seed must be a whole number from 0 to {MAX_SEED}.")
    return int(seed)
