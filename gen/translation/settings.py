"""Settings of `gen translate`. Nothing heavy is imported here, so that help and usage errors answer at once."""

import os
import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal

import tyro

from gen.device_names import Device
from gen.errors import BadSetting
from gen.sizes import parse_size

Direction = Literal["adverse_to_normal", "normal_to_adverse"]
DIRECTIONS: tuple[Direction, ...] = ("adverse_to_normal", "normal_to_adverse")

MapName = Literal["cycle", "invention"]
"""Kinds of per-pixel uncertainty map. cycle: expected error after translating there and back, in grey levels;
invention: the share of a pixel that is invented, 0..1."""
WhichMap = Literal["auto", "cycle", "invention"]

Resolution = tuple[int, int] | Literal["auto"] | None
"""(height, width) that a network runs at; "auto": the height that suits the model; None: each picture's own."""

Runtime = Literal["auto", "torch", "onnx", "openvino"]

Engine = Literal["local", "ray"]

AUTO = "auto"
"""Instead of a model's name: choose the model for each file by its weather."""
FAST, FAST_MODEL = "fast", "augan-night2day-fast"
"""Instead of a model's name, and the name that it stands for."""

MAX_NAME = 255
"""Bytes of a file name that usual file systems allow."""

STEADY = 0.5
"""Default weight of the previous frame's change in a clip; see `TranslateSettings.steady`."""


@dataclass(frozen=True)
class TranslateSettings:
    """Translate a picture, a clip, or a folder of both. Files that are finished are skipped."""

    input: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="IN")]
    """A picture, a clip, or a folder of them; here or behind a URL, such as s3://bucket/night."""
    output: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="OUT")]
    """Output: a file if the input is a file; if it is a folder, a folder with the same structure. A URL too."""
    model: str = "augan-night2day"
    """Name of a model in weights/, a model folder, or a hub id. auto: for each file, the model made for its weather.
    fast: augan-night2day-fast, a small network for nights."""
    direction: Direction = "adverse_to_normal"
    """adverse_to_normal: from the model's weather to clear day; normal_to_adverse: the other way."""
    resolution: str = "auto"
    """Size the network runs at: auto (best for the model), native, or WIDTHxHEIGHT, for example 512x288."""
    uncertainty: Literal["none", "map", "overlay", "raw"] = "none"
    """Also write the per-pixel uncertainty: as a colour map, as a tinted picture, or as 16-bit values. Another kind
    than that of an earlier run replaces its files."""
    which_map: WhichMap = "auto"
    """Which uncertainty map. invention: share of each pixel that is invented, 0 to 1; cycle: expected error after
    translating there and back, in grey levels; auto: the model's default."""
    compare: bool = False
    """Also write input, translation and map side by side."""
    format: Literal["keep", "jpg", "png", "webp"] = "keep"
    """File format of pictures. keep: the same as the input's."""
    quality: int = 95
    """Quality of JPEG, WebP and AVIF, 1 to 100."""
    max_megapixels: float = 200.0
    """Pictures with more than this many million pixels are refused. Each million needs up to 40 MB of memory."""
    strip_metadata: bool = False
    """Remove EXIF (camera, location), XMP, IPTC, comments, file times, colour profiles and clip tags. The note that gen
    made the picture is kept."""
    overwrite: bool = False
    """Translate finished files again."""
    verify: bool = False
    """Decode finished files to their end, and translate those again that are damaged."""
    hash: bool = False
    """Tell by their content whether inputs have changed since, instead of by size and time."""
    watch: bool = False
    """Go on when all is finished, and translate new files of the input folder as they come, until Ctrl-C."""
    smooth: float = 0.5
    """Clips: time constant in seconds for averaging the normalisation statistics, against flicker; 0 disables it."""
    steady: float = STEADY
    """Clips: weight of the previous frame's change (output minus input), warped by optical flow, against flicker; at
    least 0 (off) and below 1."""
    codec: Literal["h264", "hevc", "av1"] = "h264"
    """Clips: video codec. h264 plays everywhere; hevc and av1 are smaller and slower."""
    crf: int | None = None
    """Clips: quality; lower is better and larger. Default: 18 for h264, 20 for hevc, 24 for av1."""
    bit_depth: Literal[8, 10] = 8
    """Clips: bits per colour of the output. Models work in 8 bits."""
    encoder: str | None = None
    """Clips: ffmpeg's name of a hardware encoder, for example h264_nvenc or hevc_vaapi, instead of the codec's own."""
    start: str | None = None
    """Clips: where to begin, in seconds or HH:MM:SS."""
    duration: str | None = None
    """Clips: how much to translate, in seconds or HH:MM:SS."""
    batch_size: int | None = None
    """Frames per batch. Default: 8 on a GPU, 1 on a CPU."""
    device: Device = "auto"
    """auto: the GPU if there is one."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """bf16 is faster on hardware that has it, and differs by less than a grey level on average. auto: bf16 on a GPU
    that has it, else fp32; files that were finished in the other precision are not translated again."""
    runtime: Runtime = "auto"
    """What computes the network on a CPU. openvino: often twice as fast; needs `pip install openvino onnx`. auto: the
    faster of torch and openvino, measured once, for runs of at least 200 pictures or frames of clips."""
    tile: int | None = None
    """Rows per strip, for frames that do not fit into memory. Default: whole frames."""
    workers: int = 4
    """Threads that decode, as many that encode, and as many that find the motion in clips."""
    engine: Engine = "local"
    """local: this process; ray: all machines of a Ray cluster; needs `pip install ray`. All of them need gen, and the
    same folders under the same paths: IN, OUT, the model's, and the one that the command is run in."""
    address: str | None = None
    """With --engine ray: HOST:PORT of the cluster; local: this machine alone. Default: the cluster that $RAY_ADDRESS
    names or that this machine is part of, else local."""

    @property
    def max_pixels(self) -> int:
        """`max_megapixels` in pixels."""
        return round(self.max_megapixels * 1e6)


@dataclass(frozen=True)
class ExportSettings:
    """Write the networks of a model as files for programs without torch: of a translator (images of any size in, images
    and maps out) or of a generator (z or w in, images out)."""

    model: tyro.conf.Positional[str]
    """Name of a model in weights/, a model folder, or a hub id. fast: augan-night2day-fast. Of a generator also a
    rosinality .pt, an NVlabs .pkl, FILE.pkl:3, or random-face's .whl."""
    out: tyro.conf.Positional[Path]
    """Folder for the files and a README.md that says what goes in and comes out."""
    to: Literal["onnx", "openvino"] = "onnx"
    """Format. Both need `pip install onnx`, and openvino the package openvino too."""
    int8: Path | None = None
    """Folder with frames of the weather that a translator removes: adverse_to_normal then computes in 8-bit
    integers (with --to openvino), scaled on up to 64 of these frames. Needs `pip install nncf`."""
    adaptation: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Of a generator: FILE[:strength], what `gen adapt` wrote or a shipped adaptation's name, blended in. May be
    repeated."""


def check_settings(settings: TranslateSettings) -> None:
    """Raises `BadSetting` for values that cannot work, before any file is opened."""
    parse_resolution(settings.resolution)
    for path in (settings.input, settings.output):
        if any(len(os.fsencode(part)) > MAX_NAME for part in path.parts):
            raise BadSetting(f"{path}: a name in this path has more than {MAX_NAME} bytes; choose a shorter one.")
    if settings.uncertainty != "none" and settings.direction == "normal_to_adverse":
        raise BadSetting("uncertainty: only adverse_to_normal has an uncertainty map; normal_to_adverse has none.")
    if not 1 <= settings.quality <= 100:
        raise BadSetting(f"quality must be from 1 to 100, not {settings.quality}; try 95.")
    if not 0 < settings.max_megapixels <= 100_000:
        raise BadSetting(f"max_megapixels must be above 0 and at most 100000, not {settings.max_megapixels}; try 200.")
    if not settings.smooth >= 0:
        raise BadSetting(f"smooth must be >= 0 seconds (0 disables smoothing), not {settings.smooth}.")
    if not 0 <= settings.steady < 1:
        raise BadSetting(f"steady must be at least 0 (off) and below 1, not {settings.steady}; try {STEADY}.")
    if settings.tile is not None and settings.runtime not in ("auto", "torch"):
        raise BadSetting(f"tile: runtime {settings.runtime} cannot work in strips; leave out tile or runtime.")
    for name in ("workers", "batch_size", "tile"):
        value = getattr(settings, name)
        if value is not None and value < 1:
            raise BadSetting(f"{name} must be at least 1, not {value}.")
    if settings.address is not None and settings.engine != "ray":
        raise BadSetting("address is of a Ray cluster; set engine=ray too.")
    if settings.engine == "ray" and settings.device not in ("auto", "cpu", "cuda"):
        raise BadSetting(f"device={settings.device}: Ray gives each worker its GPU; use auto, cuda or cpu.")
    _check_clip_settings(settings)


def _check_clip_settings(settings: TranslateSettings) -> None:
    """Raises `BadSetting` for a part or an encoding of clips that cannot be."""
    parse_time("start", settings.start)
    if parse_time("duration", settings.duration) == 0:
        raise BadSetting("duration must be above 0 seconds; leave it out to translate the clip to its end.")
    most = 63 if "av1" in (settings.encoder or settings.codec) else 51
    if settings.crf is not None and not 0 <= settings.crf <= most:
        raise BadSetting(f"crf must be from 0 (best) to {most} for this codec, not {settings.crf}; try 18.")
    if settings.encoder is not None:
        from gen.media.video import Encoding, check_encoding  # not needed by others, and heavy

        check_encoding(Encoding(settings.codec, settings.crf, settings.bit_depth, settings.encoder))


def parse_time(name: str, text: str | None) -> Fraction | None:
    """Seconds, MM:SS or HH:MM:SS -> seconds; None stays None. Raises `BadSetting`, which calls the setting `name`."""
    if text is None:
        return None
    # So few digits that the time fits into the 64-bit integers of containers, whose units go down to nanoseconds.
    if not re.fullmatch(r"((\d{1,6}:)?\d{1,6}:)?\d{1,9}(\.\d{1,30})?", text):
        raise BadSetting(f"{name} must be seconds or HH:MM:SS, for example 90 or 0:01:30, not {text[:40]!r}.")
    seconds = Fraction(0)
    for part in text.split(":"):
        seconds = seconds * 60 + Fraction(part)
    return seconds


def parse_resolution(text: str) -> Resolution:
    """auto, native, or WIDTHxHEIGHT -> what a pipeline takes, which is (height, width). Raises `BadSetting`."""
    if text in ("auto", "native"):
        return "auto" if text == "auto" else None
    width, height = parse_size(text, "resolution", "auto, native or ")
    return height, width


def clip_options(settings: TranslateSettings) -> str:
    """The part and the encoding of clips as `made_with` has them; empty for the default ones."""
    default = {"codec": "h264", "crf": None, "bit_depth": 8, "encoder": None, "start": None, "duration": None}
    chosen = {name: getattr(settings, name) for name in default}
    return "".join(f", {name.replace('_', ' ')} {value}" for name, value in chosen.items() if value != default[name])


def encoding_options(settings: TranslateSettings, kind: str) -> str:
    """`clip_options` for clips, and for pictures the quality, unless it is the default one."""
    if kind == "clip":
        return clip_options(settings)
    return f", quality {settings.quality}" if settings.quality != TranslateSettings.quality else ""
