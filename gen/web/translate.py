"""The tab that translates one picture or clip, with a map of where not to believe it."""

from pathlib import Path
from typing import Any, Literal

import gradio as gr

from gen.errors import BadInput, BadSetting
from gen.media.images import Still, decode_still, encode_still
from gen.media.video import ClipReader
from gen.translation.maps import (
    SCALES,
    colour_uncertainty,
    decode_uncertainty_raw,
    encode_uncertainty_raw,
    overlay_uncertainty,
)
from gen.translation.registry import translators
from gen.translation.settings import DIRECTIONS, MapName
from gen.web.choices import direction_radio, follow, model_dropdown
from gen.web.jobs import Job
from gen.web.limits import check_clip, check_still, plain
from gen.web.panel import JobPanel
from gen.web.service import DEVICE, Service, check_offered, picture_input, plainly

SAMPLES = Path("samples/adverse")
RESOLUTIONS = [("Fast", "fast"), ("720p", "720p"), ("Native", "native")]
WHOLE_FRAME_PIXELS = 4_000_000
"""Above it a picture goes through the network in strips: memory for whole frames grows with their size."""
LEGENDS: dict[str, tuple[str, str, str]] = {
    "invention": ("How much is made up", "nothing", "all of it"),
    "cycle": ("Expected cycle error", "13 grey levels or less", "128"),
}
"""By map: what it shows, and the ends of its scale."""


def network_size(name: str, height: int, width: int) -> tuple[int, int] | Literal["auto"] | None:
    """Fast, 720p or native -> what the pipeline takes."""
    if name not in ("fast", "720p", "native"):
        raise BadSetting(f"resolution: {name!r} is not fast, 720p or native.")
    if name == "720p" and height > 720:
        return 720, round(width * 720 / height)
    return "auto" if name == "fast" else None


def clip_size(name: str, clip: Path) -> dict[str, Any]:
    """Fast, 720p or native -> the settings of `gen translate` for this clip."""
    with ClipReader(clip) as reader:
        height, width = reader.height, reader.width
    size = network_size(name, height, width)
    if isinstance(size, tuple):
        return {"resolution": f"{size[0]}x{size[1]}"}
    strips = {"tile": 256} if size is None and height * width > WHOLE_FRAME_PIXELS else {}
    return {"resolution": size or "native", **strips}


Made = tuple[str, str, MapName]
"""Files of the translation and of its raw map, and which map it is."""


def legend(made: Made | None) -> str:
    """The scale of the map that is shown, as HTML; nothing where none is."""
    if not made:
        return ""
    what, least, most = LEGENDS[made[2]]
    return (
        f'<div class="legend" role="img" aria-label="{what}, from {least} to {most}">'
        f"<b>{what}</b><span>{least}</span><i></i><span>{most}</span></div>"
    )


class TranslateTab:
    """Translates while one waits; a clip is a job."""

    def __init__(self, service: Service, demo: gr.Blocks) -> None:
        self.service = service
        with gr.Tab("Translate", id="translate"):
            with gr.Row():
                self.model = model_dropdown()
                self.direction = direction_radio(self.model)
                self.resolution = gr.Radio(
                    RESOLUTIONS, value="fast", label="Working resolution", info="What the network sees", min_width=260
                )
            follow(self.model, self.direction)
            with gr.Tabs():
                with gr.Tab("Picture"):
                    self._picture()
                with gr.Tab("Clip"):
                    self._clip(demo)

    def _picture(self) -> None:
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                picture = picture_input("Picture")
                button = gr.Button("Translate", variant="primary")
                samples = sorted(str(p) for p in SAMPLES.rglob("*.jpg"))[::4]
                examples = _samples(samples, picture, "Samples: click one")
            with gr.Column(scale=3, min_width=300):
                slider = gr.ImageSlider(format="png", type="filepath", label="Before and after", interactive=False)
                note = gr.Markdown()
        made = gr.State()
        with gr.Row():
            with gr.Column(scale=3, min_width=300):
                overlay = gr.Image(label="Where not to believe it", format="png", interactive=False)
            with gr.Column(scale=2, min_width=300):
                scale = gr.HTML()
                opacity = gr.Slider(0, 1, 0.8, step=0.05, label="Opacity of the map")
                files = gr.File(label="Downloads: picture, raw map", interactive=False, elem_classes="downloads")
        outputs = [slider, overlay, files, note, made]
        inputs = [picture, self.direction, self.model, self.resolution, opacity]
        clicked = button.click(self.translate, inputs, outputs, api_name="translate", **DEVICE)
        clicked.then(legend, [made], [scale], api_visibility="private", show_progress="hidden")
        opacity.release(self.redraw, [opacity, made], [overlay], api_visibility="private", show_progress="hidden")
        if examples:
            loaded = examples.load_input_event
            shown = loaded.then(self.translate, inputs, outputs, api_visibility="private", **DEVICE)
            shown.then(legend, [made], [scale], api_visibility="private", show_progress="hidden")

    @plainly
    def translate(
        self, picture: str, direction: str, model: str, resolution: str = "fast", opacity: float = 0.8
    ) -> tuple[Any, ...]:
        """Translate one picture.

        Args:
            picture: a JPEG, PNG, WebP, BMP or TIFF file
            direction: adverse_to_normal (to clear day) or normal_to_adverse (from clear day to the model's weather)
            model: name of a model in weights/
            resolution: fast, 720p or native: what the network sees
            opacity: of the map's colours over the picture, 0 to 1

        Returns:
            before and after; the picture tinted where the model's map (what is made up, or cycle uncertainty) is high;
            picture and raw map as files; a note
        """
        if not picture:
            raise BadInput("Choose a picture first, or click a sample.")
        if direction not in DIRECTIONS:
            raise BadSetting(f"direction: {direction!r} is not adverse_to_normal or normal_to_adverse.")
        source = decode_still(check_still(Path(picture), self.service.settings))
        height, width = source.rgb.shape[:2]
        size = network_size(resolution, height, width)
        pipe = self.service.translator(model)
        tile = 256 if size is None and height * width > WHOLE_FRAME_PIXELS else None
        out = pipe(source.rgb, direction, resolution=size, output_type="np", tile=tile)
        folder = self.service.new_folder()
        stem = plain(Path(picture).stem)
        before, after = folder / f"{stem}-before.png", folder / f"{stem}-translated.png"
        mark = f"Translated by gen ({model}, {direction}): not a photograph"
        encode_still(before, Still(source.rgb))
        encode_still(after, Still(out.images[0]), mark=mark)
        seen = size if isinstance(size, tuple) else pipe.network_size((height, width), size)
        note = f"{width}x{height} pixels; the network saw {seen[1]}x{seen[0]}. Made by a network: not a photograph."
        kind = pipe.shown_map(direction)
        maps = out.invented if kind == "invention" else out.uncertainty
        if kind is None or maps is None:
            note += " This direction has no map."
            return (str(before), str(after)), None, [str(after)], note, None
        raw = folder / f"{stem}-uncertainty.png"
        encode_uncertainty_raw(raw, maps[0], SCALES[kind])
        shown = overlay_uncertainty(out.images[0], maps[0], SCALES[kind], opacity)
        return (str(before), str(after)), shown, [str(after), str(raw)], note, (str(after), str(raw), kind)

    @plainly
    def redraw(self, opacity: float, made: Made | None) -> Any:
        """The overlay at another opacity; at 1 the map alone."""
        if not made:
            return None
        after, raw, kind = made
        rgb, values = decode_still(Path(after)).rgb, decode_uncertainty_raw(Path(raw), SCALES[kind])
        if opacity == 1:
            return colour_uncertainty(values, SCALES[kind])
        return overlay_uncertainty(rgb, values, SCALES[kind], opacity)

    def _clip(self, demo: gr.Blocks) -> None:
        with gr.Row():
            clip = gr.Video(label="Clip", sources=["upload"])
            result = gr.Video(label="Translated", interactive=False)
        button = gr.Button("Translate the clip", variant="primary")
        panel = JobPanel(self.service, "clip")
        inputs = [clip, self.direction, self.model, self.resolution]
        button.click(self.start_clip, inputs, [panel.number], api_name="start_clip")
        _samples(sorted(str(p) for p in SAMPLES.rglob("*.mp4")), clip, "Sample")
        panel.connect(demo, [result], self._show_clip)

    @plainly
    def start_clip(self, clip: str, direction: str, model: str, resolution: str = "fast") -> str:
        """Begin to translate a clip; follow it with /job.

        Args:
            clip: an MP4, MOV or MKV file; its sound is kept
            direction: adverse_to_normal (to clear day) or normal_to_adverse (from clear day to the model's weather)
            model: name of a model in weights/
            resolution: fast, 720p or native: what the network sees

        Returns:
            the number of the job
        """
        if not clip:
            raise BadInput("Choose a clip first.")
        check_offered(model, translators())
        source = check_clip(Path(clip), self.service.settings)
        ident = self.service.jobs.new_folder()
        folder = self.service.jobs.folder(ident) / "input"
        folder.mkdir()
        target = folder / plain(source.name)
        target.write_bytes(source.read_bytes())
        settings = {
            "direction": direction,
            "model": model,
            "device": self.service.device(),
            **clip_size(resolution, source),
        }
        self.service.jobs.submit("translate", ident, {"source": str(target), "settings": settings})
        return ident

    def _show_clip(self, job: Job | None) -> list[Any]:
        files = sorted((self.service.jobs.folder(job.id) / "output").glob("*.*")) if job and job.state == "done" else []
        clips = [str(f) for f in files if f.suffix in (".mp4", ".mov", ".mkv")]
        if not clips:
            return [None]
        return [clips[0]]


def _samples(files: list[str], into: Any, label: str) -> Any:
    """Thumbnails that fill an input; none where the package stands without its repository."""
    if not files:
        return None
    return gr.Examples(files, [into], label=label, cache_examples=False, api_visibility="private")
