"""The table of training methods as a job of the page, with real runs on tiny pictures."""

import json
import shutil
import time
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from gen.cli import main
from gen.errors import BadSetting
from gen.locks import check_free
from gen.web.app import build_app, launch
from gen.web.generalise import Generalise
from gen.web.generalise_job import OUT, pictures, runs_of
from gen.web.settings import WebSettings
from tests.smos.conftest import write_domains
from tests.web.process import Process

LEAST = 0.1


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Two domains of two classes."""
    root = write_domains(tmp_path_factory.mktemp("shared") / "shapes", count=6)
    shutil.rmtree(root / "ink")
    return root


@pytest.fixture(scope="module")
def server(tmp_path_factory, data):
    settings = WebSettings(results=tmp_path_factory.mktemp("results"), root=data.parent, device="cpu", runs=8)
    page, service = build_app(settings)
    _, url, _ = launch(page, settings, quiet=True, show_error=True)
    yield Client(url, verbose=False, ssl_verify=False), service
    service.jobs.close()
    page.close()


def zipped(root: Path, file: Path) -> Path:
    with zipfile.ZipFile(file, "w") as archive:
        for image in sorted(root.rglob("*.png")):
            archive.write(image, f"{root.name}/{image.relative_to(root)}")
    return file


def start(client: Client, files=None, methods=("erm",), minutes=LEAST, seeds=1, server_folder="") -> str:
    given = [handle_file(file) for file in files] if files else None
    return client.predict(given, list(methods), minutes, seeds, server_folder, None, api_name="/start_generalise")


def until(condition, seconds: float = 150):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.1)
    return found


def curve(service, number: str) -> list[Path]:
    """The pictures of the curve, once the first run was measured."""
    return until(lambda: service.jobs.get(number).over or pictures(service.jobs.folder(number)))


def test_a_zip_becomes_a_table_and_a_figure(server, data, tmp_path):
    client, service = server
    number = start(client, [zipped(data, tmp_path / "set.zip")], ["erm", "mixup"])
    with Image.open(curve(service, number)[-1]) as picture:
        assert picture.size == (750, 300)
    assert "right on held-out images" in until(lambda: service.jobs.describe(service.jobs.get(number)))
    until(lambda: service.jobs.get(number).over)
    job = service.jobs.get(number)
    assert (job.state, job.done, job.of, job.unit) == ("done", 4, 4, "runs"), job
    assert job.problems == ["In 4 of the runs" + job.problems[0].partition("runs")[2]]
    assert "more processor time" in job.problems[0]
    table, gain = map(Path, client.predict(number, api_name="/job_results"))
    text = table.read_text()
    assert text.startswith("shapes, preset cpu with core_minutes=0.1, efficientnet-lite0 at 96 pixels, 0.1 minutes of")
    assert "4 of 4 cells done" in text
    own = service.jobs.folder(number) / OUT
    for method in ("erm", "mixup"):
        for target in ("art", "flat"):
            results = json.loads((own / method / f"{target}-0" / "results.json").read_text())
            assert 6 <= results["core_seconds"] < 30
            assert f"{100 * results['rules']['SWAD']['accuracy']:.1f}" in text
    with Image.open(gain) as picture:
        assert min(picture.size) > 100
    hidden, shown, figure, files = Generalise(service)._show(job)
    assert not hidden["visible"]
    assert "| mixup |" in shown
    assert "![" not in shown
    assert figure["value"] == files["value"][1]


def test_cancel_keeps_what_is_done_and_ends_the_process(server):
    client, service = server
    number = start(client, minutes=10, server_folder="shapes")
    assert curve(service, number)
    client.predict(number, api_name="/cancel_job")
    until(lambda: service.jobs.get(number).over, 60)
    assert service.jobs.get(number).state == "cancelled"
    own = service.jobs.folder(number) / OUT
    check_free(own)
    assert list(own.glob("erm/art-0/checkpoints/*"))
    assert "0 of 2 cells done" in Path(client.predict(number, api_name="/job_results")[0]).read_text()


def test_the_forecast_counts_the_runs(server, data, tmp_path):
    said = Generalise.forecast.__wrapped__
    files = [str(zipped(data, tmp_path / "set.zip"))]
    text = said(Generalise(server[1]), files, ["erm", "coral"], 2.5, 2, "", None)
    assert text.startswith("2 domains × 2 methods × 2 seeds = 8 runs of 2 min 30 s: 20 min 0 s of processor time")
    assert said(Generalise(server[1]), None, ["erm"], 1, 1, "shapes", None).startswith("2 domains × 1 method × 1 seed")
    assert "12 runs are too many, at most 8" in said(Generalise(server[1]), files, ["erm", "sam"], 1, 3, "", None)
    assert said(Generalise(server[1]), None, ["erm"], 1, 1, "", None) == ""


def without_class(root: Path) -> None:
    shutil.rmtree(root / "flat" / "disc")


def without_domain(root: Path) -> None:
    shutil.rmtree(root / "flat")


@pytest.mark.parametrize(
    ("spoil", "said"), [(without_class, "the class disc is missing"), (without_domain, "at least two domains")]
)
def test_a_bad_data_set_is_refused_with_the_sentence_of_the_command_line(server, data, tmp_path, capsys, spoil, said):
    client, service = server
    root = tmp_path / "shapes"
    shutil.copytree(data, root)
    spoil(root)
    assert main(["train-smos", "--data", str(root), "--out", str(tmp_path / "out"), "--algorithm", "erm"]) == 1
    sentence = capsys.readouterr().err.strip().rpartition("shapes")[2]
    before = set(service.jobs.root.iterdir())
    with pytest.raises(AppError) as error:
        start(client, [zipped(root, tmp_path / "set.zip")])
    assert str(error.value).endswith(sentence)
    assert said in sentence
    assert str(service.jobs.root) not in str(error.value)
    assert set(service.jobs.root.iterdir()) == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"methods": []}, "at least one method"),
        ({"methods": ["my_file.py:Mine"]}, "not in the list"),  # a visitor must have no way to name a file that is run
        ({"methods": ["smos(my_file.py:Mine)"]}, "not in the list"),
        ({"minutes": 11}, r"maximum value 10|from 0\.1 to 10"),
        ({"minutes": 0}, r"minimum value 0\.1|from 0\.1 to 10"),
        ({"seeds": 9}, "maximum value 5|from 1 to 5"),
        ({"seeds": 5}, "10 runs are too many, at most 8"),
        ({"server_folder": ""}, "Choose a zip or a folder"),
        ({"server_folder": "../.."}, "no such folder"),
    ],
)
def test_refusals(server, change, words):
    client, service = server
    before = set(service.jobs.root.iterdir())
    with pytest.raises(AppError, match=words):
        start(client, **{"server_folder": "shapes"} | change)
    assert set(service.jobs.root.iterdir()) == before


@pytest.mark.slow
def test_a_job_goes_on_after_a_restart(tmp_path, data):
    settings = WebSettings(results=tmp_path, device="cpu")
    _, service = build_app(settings)
    with service.new_job() as number:
        runs = runs_of(data, service.jobs.folder(number) / OUT, ["erm"], 0.2, 1)
        inputs = {"source": str(data), "methods": ["erm"], "minutes": 0.2, "seeds": 1, "runs": runs}
        service.jobs.submit("generalise", number, inputs)
    assert curve(service, number)
    service.jobs.close()
    assert service.jobs.get(number).state == "waiting"
    _, service = build_app(settings)
    try:
        until(lambda: service.jobs.get(number).over)
        assert service.jobs.get(number).state == "done", service.jobs.get(number)
        assert "resuming" in (service.jobs.folder(number) / "log.txt").read_text()
    finally:
        service.jobs.close()


@pytest.mark.slow
def test_the_training_ends_with_a_server_that_is_killed(tmp_path, data):
    ident = "j" * 22
    folder = tmp_path / "jobs" / ident
    folder.mkdir(parents=True)
    runs = runs_of(data, folder / OUT, ["erm"], 10, 1)
    inputs = {"source": str(data), "methods": ["erm"], "minutes": 10, "seeds": 1, "runs": runs}
    (folder / "job.json").write_text(json.dumps({"id": ident, "kind": "generalise", "inputs": inputs, "created": 1e9}))
    with Process(tmp_path, "--device", "cpu") as server:
        until(lambda: pictures(folder))
        with pytest.raises(BadSetting, match="another run"):
            check_free(folder / OUT)
        server.process.kill()
        until(lambda: is_free(folder / OUT), 60)
    assert list((folder / OUT).glob("erm/art-0/checkpoints/*"))


def is_free(folder: Path) -> bool:
    with suppress(BadSetting):
        check_free(folder)
        return True
    return False
