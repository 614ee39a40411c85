"""Other runtimes than torch for the jobs of the page."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gen.errors import BadSetting
from gen.web.app import build_app
from gen.web.settings import WebSettings

NIGHT = Path("samples/adverse/night/000010.jpg")
GIVEN = {"direction": "adverse_to_normal", "model": "augan-night2day-fast"}


@pytest.mark.parametrize("runtime", ["openvino", "torch"])
def test_a_job_is_computed_in_the_runtime_of_the_server(tmp_path: Path, runtime: Any) -> None:
    service = build_app(WebSettings(results=tmp_path, device="cpu", runtime=runtime))[1]
    try:
        shared = service.translator(GIVEN["model"])
        before = shared(Image.open(NIGHT)).images[0]
        with service.new_job() as number:
            service.jobs.submit("translate", number, {"source": str(NIGHT.resolve()), "settings": GIVEN}, [])
        while not (job := service.jobs.get(number)).over:
            time.sleep(0.1)
        assert job.state == "done", job
        folder = service.jobs.folder(number) / "output"
        report = json.loads((folder / "report.json").read_text())
        assert [file["runtime"] for file in report["files"]] == [runtime]
        # Visitors translate with it at the same time, and must not get into the job's network.
        assert not shared.runners
        assert shared(Image.open(NIGHT)).images[0].tobytes() == before.tobytes()
        made = np.asarray(Image.open(next(folder.glob("*.jpg")))).astype(int)
        assert np.abs(made - np.asarray(before)).mean() < 2  # the file is a JPEG
    finally:
        service.jobs.close()


def test_a_model_that_cannot_be_copied_translates_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pipe: object, memo: object) -> None:
        raise TypeError("cannot pickle this object")

    service = build_app(WebSettings(results=tmp_path, device="cpu"))[1]
    monkeypatch.setattr(type(service.translator(GIVEN["model"])), "__deepcopy__", refuse, raising=False)
    try:
        with service.new_job() as number:
            service.jobs.submit("translate", number, {"source": str(NIGHT.resolve()), "settings": GIVEN}, [])
        while not (job := service.jobs.get(number)).over:
            time.sleep(0.1)
        assert job.state == "done", job
    finally:
        service.jobs.close()


def test_a_runtime_that_is_not_installed_is_said_when_the_server_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gen.translation.runtimes.sessions.find_spec", lambda name: None)
    with pytest.raises(BadSetting, match="openvino is not installed; run pip install openvino onnx"):
        build_app(WebSettings(results=tmp_path, runtime="openvino"))
