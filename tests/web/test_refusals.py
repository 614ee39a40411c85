"""Bad uploads to a real server: each answer is one sentence without a path of the server, and nothing stays behind."""

import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest
from gradio.utils import is_allowed_file
from PIL import Image

from gen.media.video import write_clip
from gen.web.app import build_app, launch
from gen.web.settings import WebSettings
from gen.web.thumbnails import NONE_YET
from tests.web.test_limits import picture, zipped

MODEL = "augan-night2day"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    settings = WebSettings(results=tmp_path_factory.mktemp("results"), megapixels=2, clip_seconds=5, port=0)
    page, service = build_app(settings)
    _, url, _ = launch(page, settings, quiet=True, show_error=True)
    with httpx.Client(base_url=f"{url}gradio_api", timeout=120) as client:
        yield client, service
    service.jobs.close()
    page.close()


def upload(client, name: str, data: bytes) -> dict:
    answer = client.post("/upload", files={"files": (name, data)})
    assert answer.status_code == 200, answer.text
    return {"path": answer.json()[0], "orig_name": name, "meta": {"_type": "gradio.FileData"}}


def call(client, endpoint: str, *data) -> httpx.Response:
    return client.post(f"/run/{endpoint}", json={"data": data})


def check_sentence(text: str, service) -> None:
    for secret in (service.settings.results, tempfile.gettempdir(), Path.home(), Path.cwd()):
        assert str(secret) not in text
    assert "Traceback" not in text
    assert "Unexpected error" not in text


def truncated(tmp_path) -> bytes:
    file = tmp_path / "whole.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)).save(file)
    return file.read_bytes()[:3000]


BAD = {
    "truncated.png": truncated,
    "empty.jpg": lambda tmp_path: b"",
    "text.png": lambda tmp_path: b"hello",
    "folder.zip": lambda tmp_path: zipped(tmp_path / "z.zip", {"x.jpg/y.txt": b"no", "x.jpg": b"no"}).read_bytes(),
    "slip.zip": lambda tmp_path: zipped(tmp_path / "z.zip", {"../../x.png": picture()}).read_bytes(),
    "nothing.zip": lambda tmp_path: zipped(tmp_path / "z.zip", {}).read_bytes(),
    "broken.zip": lambda tmp_path: b"PK\3\4" * 100,
    "empty.zip": lambda tmp_path: b"",
    "empty.mp4": lambda tmp_path: b"",
    "x" * 300 + ".png": lambda tmp_path: b"no",
    "a\udcff.png".encode("utf-8", "surrogateescape").decode("latin-1"): lambda tmp_path: b"no",
}


@pytest.mark.parametrize("name", BAD, ids=lambda name: name[:20])
def test_bad_files_are_a_sentence_and_leave_no_folder(server, tmp_path, name):
    client, service = server
    file = upload(client, name, BAD[name](tmp_path))
    before = set(service.jobs.root.iterdir())
    calls = [
        call(client, "translate", file, "adverse_to_normal", MODEL, "fast", 0.8),
        call(client, "start_clip", file, "adverse_to_normal", MODEL, "fast"),
        call(client, "check_domains", "stylegan2-faces64", "a/../b", [file], 1, *["", None, 1] * 3),
        call(client, "start_adaptation", "stylegan2-faces64", 160, "a", [file], float(1), *["", None, 1] * 3),
        call(client, "measure_shift", "a", [file], "b", [file], *["", None] * 2),
        call(client, "invert", "stylegan2-faces64", "", 1, "", 0.5, file, 50),
        call(client, "start_generalise", [file], ["erm"], 1, 1),
    ]
    if name != "truncated.png":  # whose header is that of a picture: its job fails, below
        calls.append(call(client, "start_folder", [file], "adverse_to_normal", MODEL, "none", ""))
    for answer in calls:
        if not (name == "truncated.png" and answer.status_code == 200):
            assert answer.status_code == 500, answer.text
        check_sentence(answer.json().get("error") or "", service)
        assert answer.status_code == 200 or answer.json()["error"]
    if name != "truncated.png":
        assert set(service.jobs.root.iterdir()) == before


def test_two_domains_of_one_name_are_refused_before_they_are_checked(server, tmp_path):
    client, _ = server
    file = upload(client, "a.png", picture())
    answer = call(client, "check_domains", "stylegan2-faces64", "a b", [file], 1, "a-b", [file], 1, *["", None, 1] * 2)
    assert answer.json()["error"] == "Two domains are called a-b; give each another name."


def test_a_job_of_a_picture_that_ends_early(server, tmp_path):
    client, service = server
    files = [
        upload(client, "cut.png", truncated(tmp_path)),
        upload(client, "z.zip", zipped(tmp_path / "z.zip", {"d/cut.png": truncated(tmp_path)}).read_bytes()),
    ]
    number = call(client, "start_folder", files, "adverse_to_normal", MODEL, "none", "").json()["data"][0]
    end = time.monotonic() + 120
    while (job := call(client, "job", number).json()["data"][0])["state"] in ("waiting", "running"):
        assert time.monotonic() < end
        time.sleep(0.1)
    assert job["state"] == "failed"
    assert len(job["problems"]) == 2
    check_sentence(json.dumps(job), service)


def test_a_check_of_references_keeps_no_copy(server):
    client, service = server
    file = upload(client, "a.png", picture())
    before = set(service.jobs.root.iterdir())
    answer = call(client, "check_domains", "stylegan2-faces64", "a", [file], 1, *["", None, 1] * 3)
    assert answer.status_code == 200, answer.text
    assert set(service.jobs.root.iterdir()) == before


@pytest.mark.parametrize(
    ("endpoint", "data"),
    [
        ("draw", ["stylegan2-faces64", "", 1e308, "", 0.5, "0", 0.7]),
        ("draw", ["stylegan2-faces64", "", 1, "", 0.5, "0", -1e9]),
        ("draw", ["stylegan2-faces64", "../" * 8 + "etc", 1, "", 0.5, "0", 0.7]),
        ("draw", ["../../etc", "", 1, "", 0.5, "0", 0.7]),
        ("render_level", ["snow", -1]),
        ("render_level", ["snow", 1e30]),
        ("render_level", ["snow", None]),
        ("start_scenes", [["8bit"], ["snow"], 1e300, 64, 1]),
        ("start_scenes", [["8bit"], ["snow"], 1, 1e9, 1]),
        ("start_scenes", [["8bit"], ["snow"], 1, 64, None]),
        ("start_folder", [None, "adverse_to_normal", MODEL, "none", "../.."]),
        ("start_folder", [[], "sideways", MODEL, "none", ""]),
        ("start_generalise", [None, ["erm"], 1, 1, "../.."]),
        ("start_generalise", [None, ["erm"], 1e300, 1, "a"]),
        ("start_generalise", [None, ["/tmp/mine.py:Mine"], 1, 1, "a"]),
        ("job", ["../../etc/passwd"]),
        ("cancel_job", [""]),
        ("job_results", ["a" * 22]),
        ("model_card", ["../gen"]),
    ],
)
def test_absurd_arguments(server, endpoint, data):
    client, service = server
    before = set(service.jobs.root.iterdir())
    answer = call(client, endpoint, *data)
    assert answer.status_code == 500, answer.text
    check_sentence(answer.json()["error"] or "", service)
    assert set(service.jobs.root.iterdir()) == before


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/run/nope", {"data": []}, 400),
        ("/run/predict", {"data": [], "fn_index": 99_999}, 400),
        ("/run/translate", {"data": ["x"]}, 500),
        (
            "/run/translate",
            {"data": [{"path": "data:image/png;base64,aa", "meta": {"_type": "gradio.FileData"}}] * 5},
            500,
        ),
        ("/run/translate", {"data": [{"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}] * 5}, 500),
        ("/run/job", {"data": [None]}, 500),
        ("/run/job", {"data": [{}]}, 500),
    ],
)
def test_requests_that_fit_no_endpoint(server, path, body, status):
    client, service = server
    answer = client.post(path, json=body)
    assert answer.status_code == status
    check_sentence(answer.json()["error"], service)


def test_the_lock_of_the_folder_is_not_served(server):
    client, service = server
    assert client.get(f"/file={service.jobs.root}/.lock").status_code == 403


def test_a_clip_that_goes_on_after_its_header_is_stopped(server, tmp_path, monkeypatch):
    """Should a container hide frames from the check at the upload, the job stops at the limit."""
    client, service = server
    clip = tmp_path / "a.mp4"
    write_clip(clip, (np.full((48, 64, 3), i, np.uint8) for i in range(40)), 10)
    file = upload(client, "a.mp4", clip.read_bytes())
    monkeypatch.setattr("gen.web.translate.check_clip", lambda path, settings: path)
    monkeypatch.setattr(service, "settings", replace(service.settings, clip_frames=10))
    number = call(client, "start_clip", file, "adverse_to_normal", MODEL, "fast").json()["data"][0]
    end = time.monotonic() + 120
    while (job := call(client, "job", number).json()["data"][0])["state"] in ("waiting", "running"):
        assert time.monotonic() < end
        time.sleep(0.1)
    assert job["state"] == "failed"
    assert "more than 10 frames" in job["said"]


def test_a_map_that_a_model_lacks_is_refused_before_files_are_copied(server, tmp_path):
    client, service = server
    file, before = upload(client, "night.png", picture()), set(service.jobs.root.iterdir())
    for direction, model in (("adverse_to_normal", "augan-night2day-fast"), ("normal_to_adverse", MODEL)):
        answer = call(client, "start_folder", [file], direction, model, "map", "")
        assert f"{model} has no uncertainty map for {direction}; choose the translation alone" in answer.json()["error"]
    assert set(service.jobs.root.iterdir()) == before


def test_a_job_without_a_result_is_shown_wherever_the_server_was_started(tmp_path):
    """Its placeholder lies beside the code, and gradio shows files of the working folder alone."""
    settings = WebSettings(results=tmp_path, port=0)
    page, service = build_app(settings)
    launch(page, settings, quiet=True)
    allowed, _ = is_allowed_file(
        NONE_YET, blocked_paths=page.blocked_paths, allowed_paths=page.allowed_paths, created_paths=[]
    )
    service.jobs.close()
    page.close()
    assert allowed
