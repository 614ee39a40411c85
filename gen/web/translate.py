"""The tab that translates one image or clip, and shows a per-pixel uncertainty map."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import gradio as gr

from gen.errors import BadInput, BadSetting, GenError
from gen.media.images import decode_still, encode_still
from gen.media.mark import Mark, not_photographed
from gen.media.video import VIDEO_SUFFIXES
from gen.translation.clear_days import is_clear_day, weathers_expected
from gen.translation.maps import colour_uncertainty, decode_uncertainty_raw, encode_uncertainty_raw, overlay_uncertainty
from gen.translation.weathers import any_of
from gen.web import translate_job
from gen.web.choices import HIDDEN, direction_radio, follow, measured_note, model_dropdown, size_radio
from gen.web.estimate import count_frames
from gen.web.events import DEVICE, clip_output, event, image_input, image_output, readable_errors
from gen.web.example import EXAMPLE, MAP, NOTE, OPACITY
from gen.web.job import Job
from gen.web.limits import check_clip, check_number, check_still
from gen.web.names import safe_name
from gen.web.panel import JobPanel
from gen.web.service import check_offered
from gen.web.sizes import clip_size, network_size, strip_rows
from gen.web.tab import Tab
from gen.web.translation import (
    DIRECTIONS,
    FAST_MODEL,
    LEGENDS,
    MapName,
    check_translation,
    map_scale,
    present_weights_id,
    translators,
    uncertainty_map,
    weathers_of,
)

SAMPLES = Path("samples/adverse")
MAX_RESULT = 20
"""About how many times larger than the JPEG that was uploaded its results as PNG are."""

PLAY_BOTH = """start => {
  const [before, after] = ['clip-before', 'clip-after'].map(id => document.querySelector(`#${id} video`));
  const clips = [before, after].filter(Boolean);
  const seconds = (start || '0').split(':').reduce((sum, part) => 60 * sum + Number(part), 0);
  clips.forEach(clip => { clip.pause(); clip.currentTime = clip === before ? seconds : 0; });
  clips.forEach(clip => clip.play());
}"""
"""Plays source and translation side by side; the translation may begin at a later time of the source."""

Files = tuple[str, str, MapName]
"""Paths of the translation and of its raw map, and which map it is."""


def legend(name: MapName) -> str:
    """What a map shows, with its colour scale, as HTML."""
    what, low, high = LEGENDS[name]
    return (
        f'<div class="legend" role="img" aria-label="{what}, from {low} to {high}">'
        f"<b>{what}</b><span>{low}</span><i></i><span>{high}</span></div>"
    )


class TranslateTab(Tab):
    """Translates an image at once, and a clip as a job."""

    TITLE = "Translate"
    JOBS: ClassVar = translate_job.JOBS

    def build(self, page: gr.Blocks) -> None:
        """Model and direction above two inner tabs, one for images and one for clips."""
        with gr.Row():
            self.model = model_dropdown()
            self.direction = direction_radio(self.model)
            self.resolution = size_radio(self.model)
        follow(self.model, self.direction, measured_note(self.model, self.direction))
        with gr.Tabs():
            with gr.Tab("Image"):
                self._image()
            with gr.Tab("Clip"):
                self._clip(page)

    def _image(self) -> None:
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                picture = image_input("Image")
                button = gr.Button("Translate", variant="primary")
                samples = sorted(str(p) for p in SAMPLES.rglob("*.jpg"))[::4]
                examples = _samples(samples, picture, "Samples (click to translate)")
            with gr.Column(scale=3, min_width=300):
                shown = (str(EXAMPLE.before), str(EXAMPLE.after))
                slider = gr.ImageSlider(
                    shown, format="png", type="filepath", label="Before and after", interactive=False
                )
                note = gr.Markdown(NOTE, elem_classes="note")
                state = gr.State((str(EXAMPLE.after), str(EXAMPLE.raw), MAP))
                with gr.Column() as panel:
                    overlay = image_output("Map laid over the translation", str(EXAMPLE.overlay))
                    scale = gr.HTML(legend(MAP))
                    opacity = gr.Slider(0, 1, OPACITY, step=0.05, label="Opacity of the map")
                files = gr.File(label="Downloads: translation, raw map", interactive=False, elem_classes="downloads")
        outputs = [slider, overlay, files, note, state]
        inputs = [picture, self.direction, self.model, self.resolution, opacity]
        clicked = button.click(self.translate, inputs, outputs, api_name="translate", **DEVICE)
        clicked.then(_map_panel, [state], [panel, scale], **HIDDEN)
        asked, shown_first = [picture, self.direction, self.model], [slider, note, panel, files, state]
        picture.upload(self.preview, asked, shown_first, **DEVICE | HIDDEN)
        opacity.release(self.redraw, [opacity, state], [overlay], **HIDDEN)
        if examples:
            loaded = examples.load_input_event
            done = loaded.then(self.translate, inputs, outputs, api_visibility="private", **DEVICE)
            done.then(_map_panel, [state], [panel, scale], **HIDDEN)

    @event("device")
    def preview(self, picture: str, direction: str, model: str) -> tuple[Any, ...]:
        """Before and after by the small model, if it is for the same weather, and a note; the map and files of before
        go."""
        later = "Press Translate for"
        try:
            if not picture or direction != DIRECTIONS[0] or weathers_of(model) != weathers_of(FAST_MODEL):
                raise BadInput(f"{FAST_MODEL} is no preview of this.")
            source = decode_still(check_still(Path(picture), self.service.settings))
            out = self.service.translator(FAST_MODEL)(source.rgb, DIRECTIONS[0], output_type="np")
        except GenError:  # Translate says what is wrong with a picture
            kept = f"This is still the picture before. {later} the new one."
            return gr.skip(), kept, gr.skip(), gr.skip(), gr.skip()
        with self.service.new_folder() as folder:
            shown = folder / "before.png", folder / "after.png"
            encode_still(shown[0], source)
            mark = Mark(f"{FAST_MODEL}, preview, weights {present_weights_id(FAST_MODEL)}", None).text()
            encode_still(shown[1], replace(source, rgb=out.images[0]), mark=mark)
        told = f"A preview by {FAST_MODEL}. {later} {model}."
        return tuple(map(str, shown)), told, gr.Column(visible=False), None, None

    @event("device")
    def translate(
        self, picture: str, direction: str, model: str, resolution: str = "fast", opacity: float = 0.8
    ) -> tuple[Any, ...]:
        """Translate one image.

        Args:
            picture: a JPEG, PNG, WebP, BMP or TIFF file
            direction: adverse_to_normal (to clear day) or normal_to_adverse (from clear day to the model's weather)
            model: name of a model in weights/
            resolution: size at which the network runs: fast, 720p or native
            opacity: opacity of the uncertainty map over the translation, 0 to 1

        Returns:
            the image before and after; the translation with its uncertainty map laid over it; the translation and the
            raw map as files; a note
        """
        if not picture:
            raise BadInput("Choose an image first, or click a sample.")
        if direction not in DIRECTIONS:
            raise BadSetting(f"direction must be adverse_to_normal or normal_to_adverse, not {direction!r}.")
        check_number("opacity", opacity, 0, 1)
        self.service.storage.check(MAX_RESULT * Path(picture).stat().st_size)
        source = decode_still(check_still(Path(picture), self.service.settings))
        height, width = source.rgb.shape[:2]
        size = network_size(resolution, height, width)
        pipe = self.service.translator(model)
        tile = strip_rows(size, height, width, self.service.device())
        out = pipe(source.rgb, direction, resolution=size, output_type="np", tile=tile)
        seen = size if isinstance(size, tuple) else pipe.network_size((height, width), size)
        note = f"Generated image, not a photograph. {width}x{height} pixels, processed at {seen[1]}x{seen[0]}."
        stem, made = safe_name(Path(picture).stem), f"{model}, {direction}, resolution {seen[1]} wide {seen[0]} high"
        mark = Mark(f"{made}, weights {present_weights_id(model)}", None).text()
        if (weathers := weathers_expected(pipe.capabilities, direction)) and is_clear_day(source.rgb):
            note += f" It shows a clear day; the model is for {any_of(weathers)}, and changes whatever it gets."
        with self.service.new_folder() as folder:
            before, after = folder / f"{stem}-before.png", folder / f"{stem}-translated.png"
            encode_still(before, source)
            lost = encode_still(after, replace(source, rgb=out.images[0]), mark=mark)
            note += _remarks([*source.left_out, *lost], [*source.warnings, *not_photographed(Path(picture))])
            found = uncertainty_map(pipe, out, direction)
            if found is None:
                note += " This model has no map in this direction."
                return (str(before), str(after)), None, [str(after)], note, None
            note += " It is no evidence: the map misses some of what is made up."
            name, values = found
            raw = folder / f"{stem}-uncertainty.png"
            encode_uncertainty_raw(raw, values, map_scale(name))
            files = str(after), str(raw), name
            shown = _overlay(folder, files, opacity)
        return (str(before), str(after)), shown, [str(after), str(raw)], note, files

    @readable_errors
    def redraw(self, opacity: float, files: Files | None) -> Any:
        """The overlay at another opacity; at 1 the map alone."""
        if not files:
            return None
        with self.service.new_folder() as folder:
            return _overlay(folder, files, opacity)

    def _clip(self, page: gr.Blocks) -> None:
        with gr.Row():
            with gr.Column(min_width=300):
                clip = gr.Video(label="Clip", sources=["upload"], elem_id="clip-before")
                with gr.Row():
                    start = gr.Textbox("", label="From", info="Seconds or minutes:seconds; empty: the beginning")
                    length = gr.Textbox("", label="Length", info="Seconds or minutes:seconds; empty: to the end")
                with_map = gr.Checkbox(False, label="Also make a clip with the map laid over it")
                button = gr.Button("Translate the clip", variant="primary")
                forecast = gr.Markdown(elem_classes="note")
                _samples(sorted(str(p) for p in SAMPLES.rglob("*.mp4")), clip, "Sample")
            with gr.Column(min_width=300):
                latest = image_output("Being translated: the latest frame, and its translation", visible=False)
                result = clip_output("Translation", elem_id="clip-after")
                both = gr.Button("Play both from the beginning", visible=False)
                mapped = clip_output("Map laid over the translation", visible=False)
        panel = JobPanel(self.service, "clip")
        inputs = [clip, self.direction, self.model, self.resolution, with_map, start, length]
        button.click(self.start_clip, inputs, [panel.number], api_name="start_clip")
        for changed in (clip, self.model, self.resolution):
            changed.change(self.forecast, [clip, self.model, self.resolution], [forecast], **HIDDEN)
        both.click(None, [start], None, js=PLAY_BOTH)
        panel.connect(page, [latest, result, mapped, both], self._show_clip)

    @readable_errors
    def start_clip(
        self,
        clip: str,
        direction: str,
        model: str,
        resolution: str = "fast",
        with_map: bool = False,
        start: str = "",
        length: str = "",
    ) -> str:
        """Start to translate a clip. Follow the job with /job.

        Args:
            clip: an MP4, MOV or MKV file; its sound is kept
            direction: adverse_to_normal (to clear day) or normal_to_adverse (from clear day to the model's weather)
            model: name of a model in weights/
            resolution: size at which the network runs: fast, 720p or native
            with_map: also make a clip with the model's map laid over the translation
            start: where the part to translate begins, in seconds or as minutes:seconds; empty: at the beginning
            length: how long the part is, in seconds or as minutes:seconds; empty: to the end

        Returns:
            the number of the job
        """
        if not clip:
            raise BadInput("Choose a clip first.")
        check_offered(model, translators())
        source = check_clip(Path(clip), self.service.settings)
        size = clip_size(resolution, source, self.service.device())
        self.service.storage.check(source.stat().st_size)
        part = {"start": (start or "").strip() or None, "duration": (length or "").strip() or None}
        settings = {
            "direction": direction,
            "model": model,
            "uncertainty": "overlay" if with_map else "none",
            **size,
            **part,
        }
        check_translation(settings)
        with self.service.new_job() as job_id:
            folder = self.service.jobs.folder(job_id) / "input"
            folder.mkdir()
            target = folder / safe_name(source.name)
            shutil.copyfile(source, target)  # a copy, because gradio deletes its uploads after a while
            self.service.jobs.submit("translate", job_id, {"source": str(target), "settings": settings})
            return job_id

    @readable_errors
    def forecast(self, clip: str | None, model: str, resolution: str) -> str:
        """How long the clip that is chosen will take."""
        if not clip or not (frames := count_frames([clip], self.service.settings)):
            return ""
        return self.service.pace.forecast(model, clip_size(resolution, Path(clip))["resolution"], "clip", frames)

    def _show_clip(self, job: Job | None) -> list[Any]:
        folder, state = (self.service.jobs.folder(job.id), job.state) if job else (Path(), "")
        latest = folder / translate_job.PREVIEW
        preview = str(latest) if state == "running" and latest.is_file() else None
        files = sorted((folder / "output").glob("*.*")) if state == "done" else []
        clips = {f.name: str(f) for f in files if f.suffix.lower() in VIDEO_SUFFIXES}
        maps = [name for name in clips if name.removesuffix(f".overlay{Path(name).suffix}") in clips.keys() - {name}]
        result = next((path for name, path in clips.items() if name not in maps), None)
        return [
            _shown(preview),
            gr.update(value=result, visible=preview is None),
            _shown(clips[maps[0]] if maps else None),
            gr.Button(visible=result is not None),
        ]


def _shown(path: str | None) -> Any:
    """An update of a picture or clip that is hidden where there is none."""
    return gr.update(value=path, visible=path is not None)


def _map_panel(files: Files | None) -> tuple[gr.Column, str]:
    """The part of the tab for the map, which is hidden where there is none; and the map's legend."""
    return gr.Column(visible=files is not None), legend(files[2]) if files else ""


def _overlay(folder: Path, files: Files, opacity: float) -> str:
    """Write the map laid over the translation, with the translation's mark and colour profile; at 1 the map alone."""
    after, raw, name = files
    still, values = decode_still(Path(after)), decode_uncertainty_raw(Path(raw), map_scale(name))
    if opacity == 1:
        still = replace(still, rgb=colour_uncertainty(values, map_scale(name)), icc=None)
    else:
        still = replace(still, rgb=overlay_uncertainty(still.rgb, values, map_scale(name), opacity))
    path = folder / Path(after).name.replace("-translated.", "-overlay.")
    encode_still(path, replace(still, alpha=None))
    return str(path)


def _remarks(left_out: Sequence[str], warnings: Sequence[str]) -> str:
    """What a translation lacks of its source, and what was wrong with that, as sentences after others."""
    lacks = [f"Left out: {'; '.join(dict.fromkeys(left_out))}."] if left_out else []
    return "".join(f" {sentence}" for sentence in (*lacks, *warnings))


def _samples(files: list[str], into: Any, label: str) -> Any:
    """Thumbnails that fill an input; none if the package is installed without the repository's samples."""
    if not files:
        return None
    return gr.Examples(files, [into], label=label, cache_examples=False, api_visibility="private")
