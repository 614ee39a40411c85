"""A server of the web page without its page: it takes up the jobs of a folder, or starts one, and ends with it."""

import shutil
import time
from pathlib import Path
from pkgutil import resolve_name

from gen.web.app import TABS
from gen.web.service import Service
from gen.web.settings import WebSettings
from gen.web.tab import job_kinds

KINDS = job_kinds(resolve_name(tab) for tab in TABS)


def main(words: list[str]) -> int:
    """ROOT INPUTS: translate the pictures of INPUTS as a job in ROOT; 0 if the job is done."""
    root, inputs = map(Path, words)
    service = Service(WebSettings(results=root, device="cpu"), KINDS)
    jobs = service.jobs
    try:
        known = [folder.parent.name for folder in jobs.root.glob("*/job.json")]
        number = known[0] if known else jobs.new_folder()
        if not known:
            source = jobs.folder(number) / "input"
            shutil.copytree(inputs, source)
            jobs.submit("translate", number, {"source": str(source), "settings": {"model": "cut", "device": "cpu"}})
        while not jobs.get(number).over:
            time.sleep(0.01)
        job = jobs.get(number)
        print(jobs.describe(job), *job.problems, sep="\n")
        return 0 if job.state == "done" else 1
    finally:
        jobs.close()
