"""What is fuzzed, and with what."""

import json
import struct
from itertools import pairwise
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from gen import weights
from gen.augan.compare import read_recipes
from gen.augan.settings import AUGANSettings
from gen.cyclegan.convert import read_generator
from gen.cyclegan.settings import CycleGANSettings
from gen.errors import GenError
from gen.formats.state_dicts import read_state_dict
from gen.hda.adaptation import Adaptation
from gen.hda.domains import parse_domains
from gen.hda.latents import load_latents
from gen.hda.parsing import parse_adaptation, parse_strengths
from gen.hda.pipeline import HDAPipeline
from gen.hda.settings import HDASettings
from gen.media.images import decode_still
from gen.media.still import Still
from gen.media.still_writing import encode_still
from gen.media.video.reader import WHOLE, ClipLimits, ClipReader
from gen.seeds import parse_seeds
from gen.smos.classifiers import load_classifier
from gen.smos.settings import SMOSSettings
from gen.stylegan2.checkpoints import load_stylegan2
from gen.stylegan2.psp import load_photo_encoder
from gen.training.settings import as_record, make_settings, parse_overrides, read_preset
from gen.translation import registry
from gen.translation.settings import parse_resolution
from gen.translation.weathers import directions_of, weathers_of
from gen.web.job import Job, requeue, stored_jobs
from gen.web.limits import inside
from gen.web.names import safe_name
from gen.web.settings import WebSettings
from gen.web.uploads import gather
from tests.fuzz import endpoints, seeds
from tests.fuzz.guard import Target
from tests.fuzz.mutate import damaged, damaged_json, damaged_zip, programs, texts, values

MOST_PIXELS = 1_000_000
"""A header can be damaged to any size, and what is allowed takes memory."""


def _named(files: dict[str, list[bytes]], change: Any = damaged) -> Any:
    """(suffix, content) of a damaged file."""
    return st.sampled_from(sorted(files)).flatmap(lambda suffix: st.tuples(st.just(suffix), change(files[suffix])))


# Pictures and clips.


def check_still(case: tuple[str, bytes], folder: Path) -> None:
    suffix, content = case
    path = folder / f"a{suffix}"
    path.write_bytes(content)
    still = decode_still(path, MOST_PIXELS)
    assert still.rgb.ndim == 3
    assert still.rgb.shape[2] == 3
    write(still, folder / f"b{suffix}")


def write(still: Still, path: Path) -> None:
    """What can be read can be written again, and read."""
    encode_still(path, still, mark="made by gen")
    assert decode_still(path).rgb.shape == still.rgb.shape


def check_clip(case: tuple[str, bytes], folder: Path) -> None:
    suffix, content = case
    path = folder / f"a{suffix}"
    path.write_bytes(content)
    with ClipReader(path, WHOLE, ClipLimits(MOST_PIXELS, frames=40, seconds=100)) as reader:
        times = [-1]
        for frame in reader:
            assert frame.rgb.shape == (reader.height, reader.width, 3)
            times.append(frame.pts)
        assert all(a < b for a, b in pairwise(times))


# What visitors send.

LIMITS = WebSettings(files=50, unpacked_mb=20, megapixels=1)


def check_zip(content: bytes, folder: Path) -> None:
    (folder / "up").mkdir()
    (folder / "up" / "a.zip").write_bytes(content)
    taken, _ = gather([str(folder / "up" / "a.zip")], folder / "into", LIMITS)
    assert all(path.resolve().is_relative_to((folder / "into").resolve()) for path in taken)


def check_job(content: bytes, folder: Path) -> None:
    """A record of a job, as an earlier server, another version or a full disk left it."""
    (folder / seeds.JOB["id"]).mkdir()
    (folder / seeds.JOB["id"] / "job.json").write_bytes(content)
    for job in stored_jobs(folder):
        assert isinstance(job, Job)
        requeue(job)
        json.dumps([job.over, job.problems, job.seconds()])


# Settings.


def check_recipes(content: bytes, folder: Path) -> None:
    path = folder / "a.yaml"
    path.write_bytes(content)
    for recipe in _either(read_recipes, path) or {}:
        assert isinstance(recipe, str)
    preset = read_preset(path)
    as_record(make_settings(AUGANSettings, {"out": folder}, preset))


def _either(function: Any, *arguments: Any) -> Any:
    """The result; None if it refuses."""
    try:
        return function(*arguments)
    except GenError:
        return None


def yaml_texts() -> Any:
    """Damaged recipes, and any values as YAML, with some of its signs between."""
    import yaml

    whole = st.dictionaries(texts(), values(), max_size=4).map(lambda x: yaml.safe_dump(x, allow_unicode=True))
    signs = st.lists(st.one_of(st.sampled_from(list("[]{}-:?,&*!|>'\"%@`# \n\t~<=")), texts()), max_size=60).map(
        "".join
    )
    written = st.one_of(whole, signs).map(lambda text: text.encode("utf-8", "replace"))
    return st.one_of(damaged([seeds.RECIPES]), written)


KINDS = (AUGANSettings, CycleGANSettings, HDASettings, SMOSSettings)


def check_set(case: list[str], folder: Path) -> None:
    pairs = _either(parse_overrides, case)
    for kind in KINDS if pairs is not None else ():
        settings = _either(make_settings, kind, {"out": folder}, pairs)
        if settings is not None:
            json.dumps(as_record(settings), allow_nan=False)
    for text in case:
        for function in (parse_seeds, parse_strengths, parse_adaptation, parse_resolution):
            _either(function, text)
        _either(parse_domains, [text])


def pairs() -> Any:
    """name=value of settings that there are, and other texts."""
    names = sorted({name for kind in KINDS for name in kind.__dataclass_fields__})
    value = st.one_of(
        values().map(json.dumps), texts(), st.sampled_from(["0-99999999999", "1-", "-1", "nan", "inf", "1e400"])
    )
    pair = st.builds(lambda name, text: f"{name}={text}", st.one_of(st.sampled_from(names), texts()), value)
    return st.lists(st.one_of(pair, pair, texts(), value), min_size=1, max_size=4)


# Models.


def check_checkpoint(case: tuple[str, bytes], folder: Path) -> None:
    suffix, content = case
    path = folder / f"a{suffix}"
    path.write_bytes(content)
    generator = _either(load_stylegan2, path)
    if generator is not None:
        assert all(x.isfinite().all() for x in generator.state_dict().values())
    _either(read_generator, path)
    _either(load_photo_encoder, path, seeds.tiny_generator())
    _either(read_state_dict, path)
    _either(load_latents, path, "source")
    _either(Adaptation.load, path)


def checkpoints() -> Any:
    pickles = st.tuples(st.just(".pkl"), programs())
    inside_pt = st.tuples(st.just(".pt"), programs().map(_with_pickle))
    header = st.tuples(st.just(".safetensors"), _headers(seeds.loose()[".safetensors"][0]))
    return st.one_of(_named(seeds.torch_zips(), damaged_zip), _named(seeds.loose()), pickles, inside_pt, header)


def _with_pickle(content: bytes) -> bytes:
    """A checkpoint with this pickle inside."""
    import io
    import zipfile

    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(seeds.torch_zips()[".pt"][0])) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            new.writestr(zipfile.ZipInfo(name), content if name.endswith("data.pkl") else old.read(name))
    return buffer.getvalue()


@st.composite
def _headers(draw: Any, content: bytes) -> bytes:
    """Safetensors with a changed header, whose length is right or wrong."""
    (length,) = struct.unpack("<Q", content[:8])
    header = dict(json.loads(content[8 : 8 + length]))
    name = draw(st.sampled_from(sorted(header)))
    entry = dict(header[name])
    entry[draw(st.sampled_from(["dtype", "shape", "data_offsets", "name", "record"]))] = draw(values())
    header[draw(st.one_of(st.just(name), texts()))] = draw(st.one_of(st.just(entry), values()))
    text = json.dumps(header).encode()
    size = draw(st.one_of(st.just(len(text)), st.sampled_from([0, 1, len(text) - 1, len(text) + 1, 2**63])))
    return struct.pack("<Q", size) + text + content[8 + length :]


def check_model(case: dict[str, bytes], folder: Path) -> None:
    for name, content in case.items():
        (folder / "m" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "m" / name).write_bytes(content)
    model = folder / "m"
    weights.describe(model)
    weathers_of(model)
    directions_of(model)
    for load in (registry.load, HDAPipeline.from_pretrained, load_classifier):
        _either(load, model)


@st.composite
def models(draw: Any) -> dict[str, bytes]:
    files = dict(draw(st.sampled_from([seeds.model(), seeds.generator()])))
    for _ in range(draw(st.integers(1, 2))):
        name = draw(st.sampled_from(sorted(files)))
        if name.endswith(".json"):
            files[name] = draw(damaged_json([_object(files[name])]))
        else:
            files[name] = draw(st.one_of(damaged([files[name]]), _headers(seeds.model()[_WEIGHTS])))
    return files


_WEIGHTS = "adverse_to_normal/diffusion_pytorch_model.safetensors"


def _object(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def check_names(case: str, folder: Path) -> None:
    """Names that a visitor or a command line gives."""
    assert safe_name(case) not in ("", ".", "..")
    assert "/" not in safe_name(case)
    (folder / "root").mkdir()
    found = _either(inside, folder / "root", case)
    assert found is None or found.is_relative_to((folder / "root").resolve())
    assert not weights.resolve(case).startswith(("/", "."))


TARGETS: dict[str, Target] = {
    "still": Target(st.deferred(lambda: _named(seeds.stills())), check_still, 22),
    "clip": Target(st.deferred(lambda: _named(seeds.clips())), check_clip, 8),
    "zip": Target(st.deferred(lambda: damaged_zip(seeds.uploads())), check_zip, 12),
    "yaml": Target(yaml_texts(), check_recipes, 10),
    "set": Target(pairs(), check_set, 14),
    "checkpoint": Target(st.deferred(checkpoints), check_checkpoint, 14),
    "model": Target(models(), check_model, 6),
    "job": Target(damaged_json([seeds.JOB]), check_job, 6),
    "name": Target(texts(), check_names, 4),
    "endpoint": Target(st.deferred(endpoints.cases), endpoints.check, 4),
}
