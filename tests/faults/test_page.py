"""SIGKILL of a server with a running job: the next server takes the job up and ends it."""

import random
import shutil
import signal
import zipfile
from pathlib import Path

import pytest

from tests.faults.conftest import COUNTS, KILLS, long_only
from tests.faults.process import ForkServer
from tests.faults.whole import content, first_difference


@long_only
@pytest.mark.timeout(3600)
def test_kills_of_a_page_job(root: Path, inputs: Path, folder: Path) -> None:
    environment = {"GEN_WEIGHTS": str(inputs / "models"), "GEN_FAULTS_PRELOAD": "tests.faults.page_job"}
    server = ForkServer(root / "page", environment)
    try:
        unbroken = server.run(folder / "unbroken", inputs / "night", function="tests.faults.page_job:main")
        assert unbroken.status == 0, unbroken.errors + unbroken.output
        rng = random.Random(0)
        for number in range(KILLS):
            out = folder / f"killed-{number}"
            words = (out, inputs / "night")
            kill_at = rng.randint(1, unbroken.changes)
            killed = server.run(*words, function="tests.faults.page_job:main", kill_at=kill_at)
            assert killed.status in (0, -signal.SIGKILL), killed.errors
            COUNTS["kills of a page job"] += killed.status != 0
            again = server.run(*words, function="tests.faults.page_job:main")
            assert again.status == 0, again.errors + again.output
            assert "Traceback" not in again.errors, again.errors
            check_results(out, folder / "unbroken")
            shutil.rmtree(out)
    finally:
        server.close()


def check_results(out: Path, unbroken: Path) -> None:
    """The zip to download holds the same pictures."""
    ours, theirs = (unpacked(next(f.glob("jobs/*/results.zip"))) for f in (out, unbroken))
    assert ours.keys() == theirs.keys(), sorted(ours.keys() ^ theirs.keys())
    for name, path in ours.items():
        if path.suffix == ".png":
            assert first_difference(content(path), content(theirs[name]), name) is None


def unpacked(archive: Path) -> dict[str, Path]:
    """The files of a zip by name."""
    target = archive.parent / "unpacked"
    shutil.rmtree(target, ignore_errors=True)
    with zipfile.ZipFile(archive) as file:
        assert file.testzip() is None
        file.extractall(target)
    return {path.relative_to(target).as_posix(): path for path in target.rglob("*") if path.is_file()}
