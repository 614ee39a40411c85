"""A tab from outside the package, and what the tabs decide together."""

import json
import shutil
import time
import zipfile
from pathlib import Path
from pkgutil import resolve_name

import pytest
from gradio_client import Client

from gen.errors import BadSetting
from gen.web.app import TABS, build_app, launch
from gen.web.settings import WebSettings
from gen.web.tab import job_kinds
from tests.web.upper_tab import RivalTab, UpperTab


def test_a_tab_of_ones_own_is_one_file_and_one_row(tmp_path):
    settings = WebSettings(results=tmp_path, tabs=(f"{Path(__file__).parent / 'upper_tab.py'}:UpperTab",))
    page, service = build_app(settings)
    _, url, _ = launch(page, settings, prevent_thread_lock=True, quiet=True, show_error=True)
    try:
        client = Client(url, verbose=False, ssl_verify=False)
        number = client.predict("night", api_name="/start_upper")
        end = time.monotonic() + 30
        while (job := client.predict(number, api_name="/job"))["state"] != "done":
            assert time.monotonic() < end, job
            time.sleep(0.1)
        assert (job["done"], job["of"], job["unit"]) == (5, 5, "letters")
        (file,) = client.predict(number, api_name="/job_results")
        assert Path(file).name == "upper.txt"
        assert Path(file).read_text() == "NIGHT"
    finally:
        service.jobs.close()
        page.close()


@pytest.mark.parametrize(
    ("tab", "message"),
    [
        ("no_such_module:Tab", "tabs: no_such_module cannot be imported"),
        ("gen.web.tab:NoTab", "is not MODULE:CLASS"),
        ("UpperTab", "is not MODULE:CLASS"),
        ("os:path", "is not MODULE:CLASS"),
    ],
)
def test_a_tab_that_does_not_exist_is_named(tmp_path, tab, message):
    with pytest.raises(BadSetting, match=message):
        build_app(WebSettings(results=tmp_path, tabs=(tab,)))


def test_job_records_keep_their_kinds_and_folders():
    """Records on disk name their kind; scripts know where results lie in the folder of a job."""
    kinds = job_kinds(resolve_name(tab) for tab in TABS)
    assert {name: (kind.lane, kind.results) for name, kind in kinds.items()} == {
        "translate": ("device", ("results.zip", "output/report.json")),
        "adapt": ("device", ("run/adaptation.safetensors",)),
        "scenes": ("render", ("results.zip",)),
        "generalise": ("generalise", ("output/table.md", "output/gain.png")),
    }


OLD_JOB = {"state": "running", "done": 0, "of": 0, "unit": "files", "note": "", "refused": [], "failures": []}
OLD_JOB |= {"cancel": False, "attempts": 1, "begun": -1, "error": "", "created": 1e9, "started": 1e9, "ended": 0.0}


@pytest.mark.parametrize(
    ("kind", "inputs", "packed"),
    [
        (
            "scenes",
            {"settings": {"styles": ["8bit"], "scenes": ["snow"], "per_class": 1, "size": 64, "seed": 3}},
            {"8bit/snow/000000.jpg"},
        ),
        (
            "translate",
            {
                "source": "input/night.jpg",
                "settings": {"direction": "adverse_to_normal", "model": "augan-night2day", "device": "cpu"},
            },
            {"night.jpg", "report.json"},
        ),
    ],
)
def test_a_job_that_an_earlier_version_left_is_finished(tmp_path, kind, inputs, packed):
    ident = "x" * 22
    folder = tmp_path / "jobs" / ident
    (folder / "input").mkdir(parents=True)
    shutil.copy("samples/adverse/night/000010.jpg", folder / "input" / "night.jpg")
    if "source" in inputs:
        inputs = inputs | {"source": str(folder / inputs["source"])}
    (folder / "job.json").write_text(json.dumps({"id": ident, "kind": kind, "inputs": inputs, **OLD_JOB}))
    _, service = build_app(WebSettings(results=tmp_path))
    try:
        end = time.monotonic() + 60
        while not (job := service.jobs.get(ident)).over:
            assert time.monotonic() < end, job
            time.sleep(0.1)
        assert job.state == "done", job
        with zipfile.ZipFile(folder / "results.zip") as archive:
            assert set(archive.namelist()) == packed
    finally:
        service.jobs.close()


def test_two_tabs_may_share_a_kind_but_not_its_name():
    assert set(job_kinds([UpperTab, UpperTab])) == {"upper"}
    with pytest.raises(ValueError, match="RivalTab"):
        job_kinds([UpperTab, RivalTab])
