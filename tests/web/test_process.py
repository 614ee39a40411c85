"""The server as a process: start-up behind a proxy, a second server, SIGTERM, and what a restart continues."""

import contextlib
import json
import shutil
import socket
import time
from pathlib import Path

import httpx
import pytest

from gen.web import app
from gen.web.settings import WebSettings
from tests.web.process import Process

NIGHT = Path("samples/adverse/night/000010.jpg")


def write_job(results: Path, count: int) -> Path:
    """The record of a waiting job, as a server that was stopped leaves it."""
    ident = "j" * 22
    folder = results / "jobs" / ident
    (folder / "input").mkdir(parents=True)
    for index in range(count):
        shutil.copy(NIGHT, folder / "input" / f"{index:03d}.jpg")
    settings = {"direction": "adverse_to_normal", "model": "augan-night2day", "device": "cpu"}
    inputs = {"source": str(folder / "input"), "settings": settings}
    (folder / "job.json").write_text(json.dumps({"id": ident, "kind": "translate", "inputs": inputs, "created": 1e9}))
    return folder


def record(folder: Path) -> dict:
    return json.loads((folder / "job.json").read_text())


def finished(folder: Path) -> int:
    return len(list((folder / "output").glob("[0-9]*.jpg")))


def until(condition, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.slow
def test_sigterm_is_no_crash_and_the_counts_are_right_after_a_restart(tmp_path):
    count = 8
    folder = write_job(tmp_path, count)
    with Process(tmp_path) as server:
        until(lambda: finished(folder) >= 3)
        assert server.stop() == 0, server.lines
    assert (record(folder)["state"], record(folder)["attempts"]) == ("waiting", 0)
    done = finished(folder)
    assert done < count
    with Process(tmp_path) as server:
        seen = set()
        while (job := job_of(server, folder.name))["state"] in ("waiting", "running"):
            seen |= {(job["done"], job["of"])} if job["of"] else set()
            time.sleep(0.05)
        assert (job["state"], job["done"], job["of"]) == ("done", count, count)
        assert all(of == count and now >= done for now, of in seen)
        assert server.stop() == 0


def job_of(server: Process, number: str) -> dict:
    answer = httpx.post(f"{server.url}/gradio_api/run/job", json={"data": [number]}, timeout=60)
    return answer.json()["data"][0]


def test_a_proxy_that_does_not_answer_a_second_server_and_a_foreign_page(tmp_path):
    proxies = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    with Process(tmp_path, **proxies) as server:
        assert server.url
        with Process(tmp_path) as refused:
            assert refused.process.wait(60) == 1
        with httpx.Client(base_url=server.url, trust_env=False, timeout=60) as client:
            assert client.get("/config").status_code == 200
            for path in ("upload", "run/draw"):
                for headers in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}, {"Origin": "null"}):
                    answer = client.post(f"/gradio_api/{path}", headers=headers, files={"files": b"x"})
                    assert answer.status_code == 403, headers
        said = refused.said()
        assert "another run is writing to this folder" in said
        assert "Traceback" not in said


def test_a_port_that_another_server_was_quicker_to_take_is_left_for_the_next(tmp_path, monkeypatch):
    choose = app.choose_port
    with socket.socket() as other:

        def slow(settings):
            port = choose(settings)
            if not other.getsockname()[1]:
                with contextlib.suppress(OSError):  # a third one was still quicker
                    other.bind(("127.0.0.1", port))
                    other.listen()
            return port

        monkeypatch.setattr(app, "choose_port", slow)
        settings = WebSettings(results=tmp_path)
        page, service = app.build_app(settings, [])
        try:
            _, url, _ = app.launch(page, settings, quiet=True)
            assert httpx.get(url).status_code == 200
            assert not url.endswith(f":{other.getsockname()[1]}/")
        finally:
            service.jobs.close()
            page.close(verbose=False)
