"""Jobs in several processes: all are done, and an error does not wait for the rest."""

import time
from functools import partial
from pathlib import Path

import pytest

from gen.errors import BadInput
from gen.smd.writing import run_jobs


def touch(folder: Path, fails_at: int, job: int) -> int:
    if job == fails_at:
        raise BadInput("this job cannot be done")
    time.sleep(0.02)
    (folder / str(job)).touch()
    return 1


@pytest.mark.parametrize("workers", [1, 2])
def test_every_job_is_done_once(tmp_path, workers):
    run_jobs(partial(touch, tmp_path, -1), range(20), workers, 20, "job")
    assert sorted(int(p.name) for p in tmp_path.iterdir()) == list(range(20))


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_ends_the_run_and_is_told(tmp_path, workers):
    with pytest.raises(BadInput, match="this job cannot be done"):
        run_jobs(partial(touch, tmp_path, 3), range(400), workers, 400, "job")
    assert len(list(tmp_path.iterdir())) < 200
