"""The tab of rendered scenes: game levels in four styles, and streets under any weather."""

from typing import Any, get_args

import gradio as gr
import numpy as np

from gen.errors import BadSetting
from gen.smd import styles as console
from gen.smd.names import SCENES as CLASSES
from gen.smd.rendering import contact_sheet
from gen.smd.street.settings import WeatherName
from gen.web.jobs import Job
from gen.web.panel import JobPanel
from gen.web.service import RENDER, Service, check_offered, plainly
from gen.web.work import RESULTS

SCENES, STYLES, WEATHERS = list(CLASSES), list(console.STYLES), list(get_args(WeatherName))
FARTHEST = 100.0
"""Metres that the picture of the depth shows."""


class ScenesTab:
    """Renders while one waits; a data set is a job."""

    def __init__(self, service: Service, demo: gr.Blocks) -> None:
        self.service = service
        with gr.Tab("Scenes", id="scenes"), gr.Tabs():
            with gr.Tab("Game levels"):
                self._levels(demo)
            with gr.Tab("Streets"):
                self._streets()

    def _levels(self, demo: gr.Blocks) -> None:
        with gr.Row():
            scene = gr.Dropdown(SCENES, value="snow", label="Class")
            seed = gr.Number(3, label="Seed", precision=0, minimum=0, maximum=999_999_999)
            button = gr.Button("Render in all styles", variant="primary")
            sheet = gr.Button("Contact sheet of all classes")
        with gr.Row():
            pictures = [gr.Image(label=style, format="png", interactive=False, min_width=240) for style in STYLES]
        contact = gr.Image(label="Contact sheet", format="jpeg", interactive=False)
        button.click(self.render, [scene, seed], pictures, api_name="render_level", **RENDER)
        sheet.click(self.sheet, [seed], [contact], api_name="contact_sheet", **RENDER)
        gr.Markdown("### A data set: STYLE/CLASS/NUMBER.jpg in a zip")
        with gr.Row():
            styles = gr.CheckboxGroup(STYLES, value=STYLES, label="Styles")
            classes = gr.CheckboxGroup(SCENES, value=SCENES, label="Classes")
        with gr.Row():
            count = gr.Number(4, label="Levels of each class", precision=0, minimum=1)
            size = gr.Number(224, label="Pixels a side", precision=0, minimum=16, maximum=1024)
            start = gr.Button("Render the data set", variant="primary")
        panel = JobPanel(self.service, "scenes")
        file = gr.File(label="Download: the data set in a zip", interactive=False, elem_classes="downloads")
        start.click(self.start, [styles, classes, count, size, seed], [panel.number], api_name="start_scenes")
        panel.connect(demo, [file], self._show)

    def _streets(self) -> None:
        with gr.Row():
            weather = gr.Dropdown(WEATHERS, value="rainy_night", label="Weather")
            seed = gr.Number(17, label="Street", precision=0, minimum=0, maximum=999_999_999)
            button = gr.Button("Render the street", variant="primary")
        with gr.Row():
            names = ["Under the weather", "Its clear day", "Depth, near is dark, to 100 m", "Labels"]
            outputs = [gr.Image(label=name, format="png", interactive=False, min_width=280) for name in names]
        button.click(self.street, [weather, seed], outputs, api_name="render_street", **RENDER)

    @plainly
    def render(self, scene: str, seed: int) -> tuple[Any, ...]:
        """One level in all styles.

        Args:
            scene: class of the level
            seed: number of the level

        Returns:
            one picture for each style
        """
        from gen.smd.styles import render
        from gen.smd.world import make_world

        check_offered(scene, SCENES)
        world = make_world(scene, number(seed))
        return tuple(render([world], style)[0] for style in STYLES)

    @plainly
    def sheet(self, seed: int) -> Any:
        """One level of each class in each style.

        Args:
            seed: number of the levels

        Returns:
            the sheet
        """
        return contact_sheet(STYLES, SCENES, number(seed))

    @plainly
    def street(self, weather: str, seed: int) -> tuple[Any, ...]:
        """A street from a dash-cam.

        Args:
            weather: day, dusk, night, rain, rainy_night, fog or snow
            seed: number of the street

        Returns:
            the street, the same on a clear day, its depth, its labels
        """
        from matplotlib import colormaps

        from gen.smd.street.render import render_street
        from gen.smd.street.street import make_street

        check_offered(weather, WEATHERS)
        frame = render_street(make_street(number(seed)), 0.0, list({weather: 0, "day": 0}))
        pictures = [frame.images[name].permute(1, 2, 0).numpy() for name in (weather, "day")]
        depth = (frame.depth.clamp(max=FARTHEST) * (255 / FARTHEST)).byte().numpy()
        labels = (colormaps["tab10"](frame.labels.numpy() % 10)[..., :3] * 255).astype(np.uint8)
        return pictures[0], pictures[1], depth, labels

    @plainly
    def start(self, styles: list[str], classes: list[str], count: int, size: int, seed: int) -> str:
        """Begin to render a data set; follow it with /job.

        Args:
            styles: names of styles
            classes: of the levels
            count: levels of each class, each rendered in every style
            size: pixels a side, 16 to 1024
            seed: another seed is another data set

        Returns:
            the number of the job
        """
        if not styles or not classes:
            raise BadSetting("Choose at least one style and one class.")
        for name in styles:
            check_offered(name, STYLES)
        for name in classes:
            check_offered(name, SCENES)
        total, most = int(count or 0) * len(styles) * len(classes), self.service.settings.scenes
        if not 0 < total <= most or not 16 <= (size or 0) <= 1024:
            raise BadSetting(f"{total} pictures of {size} pixels; 1 to {most} of 16 to 1024 pixels are possible here.")
        settings = {"styles": styles, "scenes": classes, "per_class": int(count), "size": int(size)}
        ident = self.service.jobs.new_folder()
        self.service.jobs.submit("scenes", ident, {"settings": settings | {"seed": number(seed) % 100_000}})
        return ident

    def _show(self, job: Job | None) -> list[Any]:
        path = self.service.jobs.folder(job.id) / RESULTS if job else None
        return [str(path) if path is not None and path.exists() else None]


def number(seed: Any) -> int:
    """A seed. Raises `BadSetting`."""
    if seed is None or not 0 <= seed <= 999_999_999:
        raise BadSetting("seed: a whole number from 0 to 999999999.")
    return int(seed)
