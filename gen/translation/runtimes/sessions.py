"""ONNX files in OpenVINO (https://docs.openvino.ai) and in ONNX Runtime (https://onnxruntime.ai), on the CPU."""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from gen.errors import BadSetting

Precision = Literal["fp32", "bf16"]
Values = NDArray[np.float32]
PACKAGES = {"onnx": "onnxruntime", "openvino": "openvino"}
"""The package that each runtime needs."""


class Session(Protocol):
    """A file that is loaded."""

    def run(self, inputs: Mapping[str, Values]) -> list[Values]:
        """Inputs by name -> the outputs in order."""
        ...

    def width(self, name: str) -> int | None:
        """Size of an input's last axis; None if there is no such input."""
        ...


def load_session(runtime: str, file: Path, precision: Precision, threads: int) -> Session:
    """A graph in a runtime of `PACKAGES`. Raises `BadSetting` if its package is missing or lacks the precision."""
    check_installed(runtime)
    return OpenVINO(file, precision, threads) if runtime == "openvino" else OnnxRuntime(file, precision, threads)


def check_installed(runtime: str) -> None:
    """Raises `BadSetting` if the package of a runtime is missing."""
    if not is_installed(runtime):
        name = PACKAGES[runtime]
        raise BadSetting(f"{runtime}: the package {name} is not installed; run pip install {name} onnx.")


def is_installed(runtime: str) -> bool:
    """Whether the package of a runtime is there."""
    return find_spec(PACKAGES[runtime]) is not None


@cache
def openvino_core() -> Any:
    """OpenVINO, once for the process and until its end.

    Where processors have AMX, each `Core` gives its thread a stack for signals, and frees it at its own end. If two end
    in the order of their beginnings, the second brings back the stack of the first: the next signal kills the process.
    """
    openvino: Any = import_module("openvino")  # not installed everywhere, so unknown to type checkers
    return openvino.Core()


class OpenVINO:
    """A graph in OpenVINO."""

    def __init__(self, file: Path, precision: Precision, threads: int) -> None:
        hints = {
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
            "INFERENCE_NUM_THREADS": threads,
            "ENABLE_CPU_PINNING": False,  # else the threads of several sessions share a core
        }
        self._request: Any = openvino_core().compile_model(file, "CPU", hints).create_infer_request()

    def run(self, inputs: Mapping[str, Values]) -> list[Values]:
        """See `Session`."""
        # Copies, because the next call writes to the same memory.
        outputs = [np.array(value) for value in self._request.infer(dict(inputs)).values()]
        if not all(output.size for output in outputs):
            raise MemoryError("OpenVINO gave no result, as it does for lack of memory")
        return outputs

    def width(self, name: str) -> int | None:
        """See `Session`."""
        inputs = self._request.get_compiled_model().inputs
        return next((port.partial_shape[-1].get_length() for port in inputs if name in port.names), None)


class OnnxRuntime:
    """A graph in ONNX Runtime."""

    def __init__(self, file: Path, precision: Precision, threads: int) -> None:
        import onnxruntime

        if precision != "fp32":
            raise BadSetting("precision: runtime onnx computes in fp32; leave precision out, or set another runtime.")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session: Any = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])

    def run(self, inputs: Mapping[str, Values]) -> list[Values]:
        """See `Session`."""
        return self._session.run(None, dict(inputs))

    def width(self, name: str) -> int | None:
        """See `Session`."""
        return next((value.shape[-1] for value in self._session.get_inputs() if value.name == name), None)
