"""Which runtime runs a pipeline's network: torch, or another that is faster on this machine."""

import copy
import json
import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from gen.about import VERSION
from gen.errors import BadSetting, GenError
from gen.formats.json_files import json_if_whole
from gen.media.files import writing
from gen.provenance import fingerprint_bytes, fingerprint_file, fingerprint_weights, machine
from gen.translation.pipeline import TranslationPipeline
from gen.translation.protocol import Translator
from gen.translation.runtimes.graph import Graph, can_write, write_graph
from gen.translation.runtimes.runner import Runner
from gen.translation.runtimes.sessions import Precision, is_installed, load_session
from gen.translation.settings import Direction, Runtime, TranslateSettings

log = logging.getLogger(__name__)

LEAST = 200
"""Frames of a run that repay the ten seconds of writing a graph and measuring it."""
SECONDS = 1.5
"""For which each runtime is measured."""


def use_runtime(model: Translator, settings: TranslateSettings, frames: int) -> str:
    """Run the model's network in the runtime of the settings; returns which one is used.

    "auto": the faster one of torch and OpenVINO, if OpenVINO is installed, as measured once for these weights on this
    machine and remembered. It is measured for runs of at least `LEAST` frames; if that fails, a warning says so and
    torch is used. Raises `BadSetting` for another runtime that cannot be used.
    """
    runtime, direction = settings.runtime, settings.direction
    if not isinstance(model, TranslationPipeline):
        if runtime not in ("auto", "torch"):
            raise BadSetting(f"runtime: {settings.model} runs in torch alone; leave runtime out.")
        return "torch"
    model.runners.pop(direction, None)
    if runtime not in ("auto", "torch"):
        try:
            model.runners[direction] = runner_for(model, direction, runtime)
        except GenError:
            raise
        except Exception as error:  # such as a cache that cannot be written
            raise BadSetting(
                f"runtime: {runtime} failed ({_first_line(error)}); set runtime=torch, or $XDG_CACHE_HOME to a folder "
                "that can be written."
            ) from error
        return runtime
    if runtime == "torch" or settings.tile is not None:
        return "torch"
    try:
        if _faster(model, direction, frames) == "openvino":
            model.runners[direction] = runner_for(model, direction, "openvino")
            return "openvino"
    except Exception as error:  # such as a cache that cannot be written: torch always works
        log.warning("OpenVINO is not used, because it failed: %s", _first_line(error))
    return "torch"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [repr(error)])[0]


def _faster(pipe: TranslationPipeline, direction: Direction, frames: int) -> Runtime:
    able = pipe.device.type == "cpu" and pipe.dtype in (torch.float32, torch.bfloat16)
    if not (able and is_installed("openvino") and can_write() and pipe.network(direction)):
        return "torch"
    known = json_if_whole(cache() / "speeds.json")
    key = json.dumps([_weights_key(pipe, direction), str(pipe.dtype), torch.get_num_threads(), machine(pipe.device)])
    seconds = known.get(key)
    if not (isinstance(seconds, dict) and all(isinstance(seconds.get(n), float) for n in ("torch", "openvino"))):
        if frames < LEAST:
            return "torch"
        seconds = measure(pipe, direction)
        cache().mkdir(parents=True, exist_ok=True)
        with writing(cache() / "speeds.json") as partial:
            partial.write_text(json.dumps(known | {key: seconds}, indent=1))
    return "openvino" if seconds["openvino"] < seconds["torch"] else "torch"


def measure(pipe: TranslationPipeline, direction: Direction) -> dict[str, float]:
    """Seconds for a frame of the size that the model is made for, by runtime."""
    network = pipe.network(direction)
    assert network is not None
    rows, (height, width) = pipe.capabilities.auto_height, pipe.capabilities.trained_size
    image = pipe.padded(torch.zeros(1, 3, rows, round(width * rows / height)))
    with torch.inference_mode():
        return {"torch": _seconds(network, image), "openvino": _seconds(runner_for(pipe, direction, "openvino"), image)}


def _seconds(network: Callable[[Tensor], object], image: Tensor) -> float:
    """The fastest of the calls that fit into `SECONDS`, after one to warm up: others may use the machine too."""
    network(image)
    end, fastest = time.perf_counter() + SECONDS, float("inf")
    while time.perf_counter() < end:
        began = time.perf_counter()
        network(image)
        fastest = min(fastest, time.perf_counter() - began)
    return fastest


def runner_for(pipe: TranslationPipeline, direction: Direction, runtime: str, threads: int | None = None) -> Runner:
    """What runs a direction's network in another runtime than torch. `threads`: None for as many as torch uses."""
    if pipe.device.type != "cpu":
        raise BadSetting(f"runtime: {runtime} computes on the CPU; set device=cpu, or runtime=torch.")
    if pipe.network(direction) is None:
        raise BadSetting(f"runtime: this model runs in torch alone, not in {runtime}; set runtime=torch.")
    precision: Precision = "bf16" if pipe.dtype == torch.bfloat16 else "fp32"
    file, threads = graph_file(pipe, direction), threads or torch.get_num_threads()
    try:
        return Runner(load_session(runtime, file, precision, threads))
    except BadSetting:
        raise
    except Exception:  # a damaged file, as a machine that loses power leaves it
        file.unlink(missing_ok=True)
        return Runner(load_session(runtime, graph_file(pipe, direction), precision, threads))


def graph_file(pipe: TranslationPipeline, direction: Direction) -> Path:
    """The graph of a direction as an ONNX file; written if it is not there yet, or not as it was written."""
    file = cache() / "graphs" / f"{_weights_key(pipe, direction)}.onnx"
    digest = file.with_suffix(".sha256")
    if not (file.is_file() and digest.is_file() and digest.read_bytes() == _digest(file)):
        file.parent.mkdir(parents=True, exist_ok=True)
        plain = pipe if pipe.dtype == torch.float32 else copy.deepcopy(pipe).to(torch.float32)
        network = plain.network(direction)
        assert network is not None
        write_graph(network, plain.generator(direction), file)
        with writing(digest) as partial:
            partial.write_bytes(_digest(file))
    return file


def _digest(file: Path) -> bytes:
    """A graph that is damaged in its weights still loads, and translates wrongly."""
    return fingerprint_file(file).encode()


def _weights_key(pipe: TranslationPipeline, direction: Direction) -> str:
    """16 hex digits for the weights and the shape of a network, and for what writes its graph."""
    network = pipe.generator(direction)
    about = [fingerprint_weights(network.state_dict(), torch.float32), dict(network.config), VERSION, torch.__version__]
    about += [_code_of(kind) for kind in (type(pipe), type(network), Graph)]  # a method of one's own is still changing
    return fingerprint_bytes(json.dumps(about, default=str).encode())


def _code_of(kind: type) -> str | None:
    """The fingerprint of the file that a class is in; None without a file."""
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    return fingerprint_file(Path(file)) if file and Path(file).is_file() else None


def cache() -> Path:
    """Where graphs and measurements are kept: $XDG_CACHE_HOME/gen, or ~/.cache/gen."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gen"
