"""Clear days that are given to a model for bad weather."""

import shutil
from pathlib import Path

import pytest

from gen.media.folders import Job, plan_jobs
from gen.translation import batch, clear_days
from gen.translation.clear_days import LOOKED_AT, clear_days_among
from gen.translation.protocol import Capabilities
from gen.translation.settings import TranslateSettings
from tests.conftest import REPOSITORY
from tests.translation.identity import Identity

SAMPLES = REPOSITORY / "samples"
DAYS = sorted((SAMPLES / "day_real").glob("*.jpg"))
NIGHTS = sorted((SAMPLES / "adverse" / "night").glob("*.jpg"))


class ForNights(Identity):
    capabilities = Capabilities({"adverse_to_normal": ()}, 1, (32, 56), 32, ("night", "rainy night"))


class Nameless(Identity):
    capabilities = Capabilities({"adverse_to_normal": ()}, 1, (32, 56), 32)


def warnings(tmp_path: Path, files: list[Path], model: Identity, **settings) -> list[str]:
    source = tmp_path / "in"
    source.mkdir()
    for i, file in enumerate(files):
        shutil.copyfile(file, source / f"{i:03d}{file.suffix}")
    chosen = TranslateSettings(source, tmp_path / "out", model="same", **settings)
    return batch.translate(chosen, lambda settings: model).warnings


def test_a_folder_of_clear_days_draws_a_warning_at_once_and_in_the_report(tmp_path, caplog):
    (told,) = warnings(tmp_path, DAYS[:2] + NIGHTS[:2], ForNights())
    assert told.startswith("2 of 4 files that were looked at show a clear day, but same is for night or rainy night,")
    assert told in caplog.messages


@pytest.mark.parametrize(
    ("files", "model", "settings"),
    [
        (DAYS[:1] + NIGHTS[:2], ForNights(), {}),  # most are as they should be
        (DAYS[:1], Nameless(), {}),
        (DAYS[:1], ForNights(), {"direction": "normal_to_adverse"}),
    ],
)
def test_no_warning(tmp_path, files, model, settings):
    assert warnings(tmp_path, files, model, **settings) == []


@pytest.mark.parametrize(("folder", "shown"), [("day", True), ("adverse", False)])
def test_a_clip_is_known_by_its_first_frame(tmp_path, folder, shown):
    (clip,) = [job for job in plan_jobs(SAMPLES / folder, tmp_path, None, {}) if job.kind == "clip"]
    sentence = clear_days_among(
        [clip], ForNights.capabilities, TranslateSettings(clip.source, clip.target, model="same")
    )
    assert (sentence or "").startswith(f"{clip.source} shows a clear day") == shown


def test_a_large_folder_is_only_sampled(monkeypatch, tmp_path):
    looked_at: list[Path] = []

    def note(job: Job, settings: TranslateSettings):
        looked_at.append(job.source)
        raise OSError

    monkeypatch.setattr(clear_days, "first_frame", note)
    jobs = [Job(Path(f"{i}.jpg"), tmp_path / f"{i}.jpg", "still") for i in range(1000)]
    assert clear_days_among(jobs, ForNights.capabilities, TranslateSettings(tmp_path, tmp_path)) is None
    assert LOOKED_AT - 1 <= len(looked_at) <= LOOKED_AT
    assert int(looked_at[-1].stem) > 900
