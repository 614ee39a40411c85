"""`gen translate --engine ray`: as without Ray; and what is done when workers, or a machine, end on the way."""

import importlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gen import BadSetting
from gen.cli import main
from gen.media.video import UNLIMITED
from gen.translation import automatic, batch
from gen.translation.ray_worker import Order, Worker
from gen.translation.settings import TranslateSettings
from gen.translation.watch import Watch
from tests.conftest import REPOSITORY
from tests.media.test_video import make_clip, moving_bars
from tests.translation.identity import Identity, picture, report_of, statuses
from tests.translation.test_batch import files_below, model  # noqa: F401  a fixture
from tests.translation.test_watch import Watching, quick, wait_for  # noqa: F401  a fixture

pytest.importorskip("ray")

TEN = 10
CLIP = "drive.mp4"


def tree(root: Path, pictures: int) -> Path:
    """Pictures in two folders and a clip."""
    for number in range(pictures):
        picture(root / f"{number % 2}" / f"{number:03d}.png", number)
    make_clip(root / CLIP, moving_bars(6))
    return root


def entries(out: Path) -> dict[str, dict[str, Any]]:
    """The report without what differs between any two runs."""
    return {
        path: {name: value for name, value in entry.items() if name not in ("seconds", "output", "status")}
        for path, entry in report_of(out).items()
    }


def assert_same(one: Path, other: Path) -> None:
    """The same files in two output folders, and the same entries in their reports."""
    assert files_below(one) == files_below(other)
    assert entries(one) == entries(other)
    for name in files_below(one) - {"report.json"}:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


def test_a_run_on_ray_is_a_plain_run(tmp_path, model, capfd, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)  # relative paths mean the same to workers
    monkeypatch.setattr(sys, "path", [*sys.path])
    Path("who_imports.py").write_text(f"import os\nopen({str(tmp_path / 'who')!r}, 'a').write(f'{{os.getpid()}} ')")
    monkeypatch.setenv("GEN_PLUGINS", "who_imports.py")
    tree(Path("in"), TEN)
    Path("in/bad.jpg").write_bytes(b"not a picture")
    command = ["translate", "in", "plain", "--model", model, "--compare"]
    on_ray = [*command[:2], "ray", *command[3:], "--engine", "ray", "--address", "local"]
    assert main(command) == 1
    plain = capfd.readouterr()
    main(["translate", "in/1/001.png", "ray/1/001.png", "--model", model, "--compare"])  # is taken up by the next run
    capfd.readouterr()
    assert main(on_ray) == 1
    told = capfd.readouterr()
    assert told.err == plain.err == "failed: in/bad.jpg: not an image in a supported format.\n"
    assert f"{TEN} done, 1 finished before, 1 failed; see ray/report.json" in told.out
    assert len(set(Path("who").read_text().split())) > 1  # workers have the plugins too
    assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler  # Ray's own would end without a report
    assert_same(tmp_path / "plain", tmp_path / "ray")
    assert main([*command[:2], "ray", *command[3:]]) == 1
    assert f"0 done, {TEN + 1} finished before, 1 failed" in capfd.readouterr().out


def test_what_is_wrong_is_told_before_ray_starts(tmp_path, monkeypatch, capsys):
    source, out = tree(tmp_path / "in", 2), tmp_path / "out"
    batch.translate(TranslateSettings(source, out, model="same"), lambda _: Identity())
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:2")
    on_ray = TranslateSettings(source, out, model="same", engine="ray", address="127.0.0.1:1")
    assert batch.translate(on_ray, lambda _: Identity()).count("skipped") == 3  # nothing to do
    for changes, message in (
        ({"direction": "normal_to_adverse"}, "was made with same, adverse_to_normal"),
        ({"overwrite": True}, "no Ray cluster can be joined at 127.0.0.1:1"),
        ({"overwrite": True, "address": None}, "no Ray cluster can be joined at 127.0.0.1:2"),
        ({"device": "cuda:1"}, "Ray gives each worker its GPU"),
        ({"engine": "local"}, "address is of a Ray cluster; set engine=ray too"),
    ):
        with pytest.raises(BadSetting, match=message):
            batch.translate(TranslateSettings(**{**vars(on_ray), **changes}), lambda _: Identity())
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(BadSetting, match="engine ray: the package ray is not installed; run pip install ray"):
        batch.translate(on_ray, lambda _: Identity())
    importlib.reload(importlib.import_module("gen.translation.on_ray"))  # a plain run needs no Ray
    assert batch.translate(replace(on_ray, engine="local", address=None), lambda _: Identity()).count("skipped") == 3


def test_a_worker_that_sees_other_folders_or_weights(tmp_path):
    settings = TranslateSettings(picture(tmp_path / "in" / "a.png").parent, tmp_path / "out", model="same")
    lock = tmp_path / "out" / ".gen.lock"
    lock.parent.mkdir()
    lock.write_text("process 1 on here")
    order = Order(settings, [], None, lock, "process 1 on here")
    worker = Worker(lambda _: Identity())
    assert worker.load(order) == Identity.capabilities
    wrong = [
        (order._replace(owner="process 1 on there"), f"engine ray: {lock.parent} on the machine .* is another folder"),
        (order._replace(settings=replace(settings, input=tmp_path / "i")), f"engine ray: {tmp_path / 'i'} is not on"),
        (order._replace(weights="0"), "model: same has other weights on the machine"),
    ]
    for wrong_order, message in wrong:
        for answer in (worker.load(wrong_order), worker.translate([], wrong_order, UNLIMITED)):
            assert isinstance(answer, BadSetting)
            assert re.match(message, str(answer))
    assert "is not on the machine" in str(worker.start(str(tmp_path / "nowhere")))


class Slow(Identity):
    """Takes its time, notes who works on what, and ends its process for some frames."""

    def __init__(self, log: Path, deadly: int = -1, seconds: float = 0.15) -> None:
        self.log, self.deadly, self.seconds = log, deadly, seconds

    def translate_frames(self, frames, direction, **options):
        time.sleep(self.seconds)
        with self.log.open("a") as file:
            file.write(f"{os.getpid()} {int(frames[0].sum())}\n")
        if int(frames[0].sum()) == self.deadly:
            os._exit(1)
        return frames, None


def by_worker(log: Path) -> dict[str, int]:
    """How many frames each worker has translated."""
    workers = [line.split()[0] for line in log.read_text().splitlines()] if log.exists() else []
    return {worker: workers.count(worker) for worker in workers}


class Together(Slow):
    """Begins when another worker has begun too."""

    def translate_frames(self, frames, direction, **options):
        translated = super().translate_frames(frames, direction, **options)
        wait_for(lambda: len(by_worker(self.log)) > 1, 100)
        return translated


@pytest.fixture(scope="module")
def two_nodes():
    """A cluster of two machines, as far as Ray can tell, with a worker each, and one that only holds it together."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    yield cluster, nodes
    cluster.shutdown()


@pytest.mark.devices
class TestTwoMachines:
    def settings(self, cluster: Any, source: Path, out: Path, **more: Any) -> TranslateSettings:
        return TranslateSettings(source, out, **{"model": "same", "engine": "ray", "address": cluster.address, **more})

    def test_a_file_that_ends_its_worker_fails_by_name_and_alone(self, two_nodes, tmp_path):
        source, log = tree(tmp_path / "in", 16), tmp_path / "log"
        deadly = int(np.asarray(Image.open(source / "1" / "007.png")).sum())
        settings = self.settings(two_nodes[0], source, tmp_path / "out")
        report = batch.translate(settings, lambda _: Slow(log, deadly, 0))
        (failed,) = [entry for entry in report.entries if entry.status == "failed"]
        assert failed.input.endswith("007.png")
        assert "007.png: 3 workers ended while they translated it" in (failed.error or "")
        assert log.read_text().count(f" {deadly}\n") == 3
        assert report.count("done") == 16  # with the clip
        assert not (tmp_path / "out" / "1" / "007.png").exists()

    def test_ctrl_c_keeps_what_is_finished_and_the_next_run_goes_on(self, two_nodes, tmp_path):
        source, out, log = tree(tmp_path / "in", 40), tmp_path / "out", tmp_path / "log"
        (source / CLIP).unlink()
        finished: list[str] = []
        watch = Watch(tell=lambda progress: finished.append(progress.latest.output), stop=lambda: len(finished) >= 8)
        with pytest.raises(KeyboardInterrupt, match=r"done.*; run the same command to go on"):
            batch.translate(self.settings(two_nodes[0], source, out), lambda _: Slow(log), watch)
        assert json.loads((out / "report.json").read_text())["stopped"] == "cancelled"
        assert 8 <= len(finished) == len(set(finished)) < 40
        # What the workers were writing is finished too: nothing lies there of which the record does not know.
        assert {str(path) for path in out.rglob("*.png")} == set(finished)
        report = batch.translate(TranslateSettings(source, out, model="same"), lambda _: Identity())
        assert (report.count("skipped"), report.count("done")) == (len(finished), 40 - len(finished))

    def test_new_files_are_translated_as_they_come(self, two_nodes, tmp_path, quick):  # noqa: F811
        source, out = tmp_path / "in", tmp_path / "out"
        picture(source / "a.png")
        with Watching(source, out, engine="ray", address=two_nodes[0].address) as watching:
            wait_for((out / "a.png").exists)
            picture(source / "b.png", 1)
            wait_for((out / "b.png").exists)
        assert statuses(watching.report) == {"a.png": "done", "b.png": "done"}

    def test_each_file_by_its_weather(self, two_nodes, tmp_path):
        source = tmp_path / "in"
        for folder in ("adverse", "day"):
            shutil.copytree(REPOSITORY / "samples" / folder, source / folder, ignore=shutil.ignore_patterns("*.mp4"))
        plain = TranslateSettings(source, tmp_path / "plain", model="auto")
        automatic.translate(plain, lambda _: Identity())
        automatic.translate(self.settings(two_nodes[0], source, tmp_path / "ray", model="auto"), lambda _: Identity())
        assert_same(tmp_path / "plain", tmp_path / "ray")
        assert {entry["status"] for entry in report_of(tmp_path / "ray").values()} == {"done", "left"}

    def test_a_machine_that_is_lost(self, two_nodes, tmp_path, caplog):
        """The last test: one machine is left after it."""
        cluster, nodes = two_nodes
        source, out, log = tree(tmp_path / "in", 60), tmp_path / "out", tmp_path / "log"
        finished: list[str] = []

        def tell(progress: Any) -> None:
            finished.append(progress.latest.output)
            if len(nodes) == 2:  # both are at work
                cluster.remove_node(nodes.pop(), allow_graceful=False)

        settings = self.settings(cluster, source, out)
        report = batch.translate(settings, lambda _: Together(log, seconds=0.3), Watch(tell=tell))
        assert "a worker of the Ray cluster has ended" in caplog.text
        assert len(by_worker(log)) >= 2
        assert len(finished) == len(set(finished)) == len(report.entries) == report.count("done") == 61
        batch.translate(TranslateSettings(source, tmp_path / "plain", model="same"), lambda _: Identity())
        assert_same(tmp_path / "plain", out)


@pytest.mark.devices
def test_ctrl_c_in_a_terminal(tmp_path, model):  # noqa: F811
    source, out = tmp_path / "in", tmp_path / "out"
    for number in range(TEN * TEN):
        picture(source / f"{number:03d}.png", number)
    command = [sys.executable, "-m", "gen.cli", "translate", str(source), str(out), "--model", model]
    on_ray = [*command, "--engine", "ray", "--address", "local", "--resolution", "512x384"]
    with subprocess.Popen(on_ray, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True, process_group=0) as running:
        wait_for(lambda: len(list(out.glob("*.png"))) > TEN)
        os.killpg(running.pid, signal.SIGINT)
        told = running.communicate(timeout=60)[1]
    assert running.returncode == 130
    assert "gen translate: stopped: " in told
    assert "done" in told
    finished = len(list(out.glob("*.png")))
    assert finished < TEN * TEN
    done = subprocess.run([*command, "--resolution", "512x384"], cwd=REPOSITORY, capture_output=True, text=True)
    assert f"{TEN * TEN - finished} done, {finished} finished before" in done.stdout


@pytest.mark.devices
def test_a_cluster_that_asks_for_a_token_is_joined(tmp_path, model):  # noqa: F811
    """`ray start` asks for one wherever ~/.ray/auth_token is there, as it is after the first local run."""
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("0123456789abcdef" * 4)
    picture(tmp_path / "in" / "a.png", 0)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ours = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    ours |= {"HOME": str(tmp_path), "RAY_TMPDIR": tempfile.mkdtemp(prefix="ray"), "RAY_USAGE_STATS_ENABLED": "0"}
    cluster = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--port", str(port)]
    cluster += ["--num-cpus", "1", "--include-dashboard=false"]
    command = ["in", "out", "--model", model, "--engine", "ray", "--address", f"127.0.0.1:{port}"]
    with subprocess.Popen(cluster, env=ours, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as head:
        try:
            wait_for(lambda: _answers(port))
            told = subprocess.run(
                [sys.executable, str(REPOSITORY / "scripts" / "translate.py"), *command],
                env=ours, cwd=tmp_path, capture_output=True, text=True, timeout=180, check=False,
            )  # fmt: skip
        finally:
            head.terminate()
    assert told.returncode == 0, told.stderr
    assert "1 done" in told.stdout


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
