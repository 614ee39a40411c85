"""`gen translate --engine ray` and one long clip: over two machines, of which one is lost on the way."""

import threading
from pathlib import Path
from typing import Any

import pytest

from gen.media.folders import plan_jobs
from gen.media.video import UNLIMITED
from gen.translation import batch
from gen.translation.clip_parts import plan_parts
from gen.translation.settings import TranslateSettings
from gen.translation.watch import Watch
from tests.media.test_video_faults import damaged, rewrite
from tests.translation.identity import Identity, report_of
from tests.translation.test_batch import files_below
from tests.translation.test_clip_parts import CRF, RATE, assert_same_clip, drive_clip
from tests.translation.test_ray import Slow, Together, assert_same, by_worker, two_nodes  # noqa: F401  a fixture
from tests.translation.test_watch import wait_for

pytest.importorskip("ray")
pytestmark = pytest.mark.devices

SECONDS = 24


def on_ray(cluster: Any, source: Path, out: Path) -> TranslateSettings:
    return TranslateSettings(source, out, model="same", crf=CRF, engine="ray", address=cluster.address)


def plainly(source: Path, out: Path) -> Path:
    batch.translate(TranslateSettings(source, out, model="same", crf=CRF), lambda _: Identity())
    return out


def read_by_parts(source: Path, settings: TranslateSettings) -> list[int]:
    """How many frames each of two workers has to translate, with the warm-up."""
    (job,) = plan_jobs(source, settings.output)
    plan = plan_parts(job, settings, UNLIMITED, 2)
    assert plan is not None
    ends = [*plan.begins[1:], len(plan.times)]
    return [end - plan.times.index(piece.first) for piece, end in zip(plan.pieces, ends, strict=True)]


def entry(out: Path) -> dict[str, Any]:
    (found,) = report_of(out).values()
    return {name: value for name, value in found.items() if name not in ("seconds", "output", "output_bytes")}


def assert_as_in_a_plain_run(source: Path, out: Path, plain: Path) -> None:
    assert files_below(out) == files_below(plain)  # hidden files are among them
    assert_same_clip(out / source.name, plain / source.name)
    found, wanted = entry(out), entry(plain)
    assert found.pop("flicker") == pytest.approx(wanted.pop("flicker"), rel=1e-6)
    assert found == wanted


def test_a_long_clip_is_split_and_a_short_one_is_not(two_nodes, tmp_path):  # noqa: F811
    cluster, _ = two_nodes
    source, log = drive_clip(tmp_path / "in" / "a.mp4", SECONDS), tmp_path / "log"
    settings = on_ray(cluster, source.parent, tmp_path / "out")
    batch.translate(settings, lambda _: Together(log, seconds=0))
    assert sorted(by_worker(log).values()) == sorted(read_by_parts(source, settings))
    assert_as_in_a_plain_run(source, tmp_path / "out", plainly(source.parent, tmp_path / "plain"))
    short, log = drive_clip(tmp_path / "short" / "a.mp4", 8), tmp_path / "log of the short one"
    batch.translate(on_ray(cluster, short.parent, tmp_path / "short out"), lambda _: Slow(log, seconds=0.01))
    assert list(by_worker(log).values()) == [8 * RATE]
    assert_same(tmp_path / "short out", plainly(short.parent, tmp_path / "short plain"))


def test_as_many_clips_as_workers_are_not_split(two_nodes, tmp_path):  # noqa: F811
    cluster, _ = two_nodes
    source = drive_clip(tmp_path / "in" / "a.mp4", SECONDS)
    drive_clip(tmp_path / "in" / "b.mp4", SECONDS)
    batch.translate(on_ray(cluster, source.parent, tmp_path / "out"), lambda _: Slow(tmp_path / "log", seconds=0.01))
    assert sum(by_worker(tmp_path / "log").values()) == 2 * SECONDS * RATE
    assert_same(tmp_path / "out", plainly(source.parent, tmp_path / "plain"))


def test_a_clip_that_proves_damaged_is_translated_whole(two_nodes, tmp_path, caplog):  # noqa: F811
    cluster, _ = two_nodes
    whole, source = drive_clip(tmp_path / "whole.mp4", SECONDS), tmp_path / "in" / "a.mp4"
    source.parent.mkdir()
    rewrite(whole, source, lambda number, packet: damaged(packet) if number == 30 else packet)
    batch.translate(on_ray(cluster, source.parent, tmp_path / "out"), lambda _: Slow(tmp_path / "log", seconds=0))
    assert "a.mp4 is translated by one worker: it cannot be joined from parts (it is damaged" in caplog.text
    assert_same(tmp_path / "out", plainly(source.parent, tmp_path / "plain"))
    assert any("could not be decoded" in words for words in entry(tmp_path / "out")["warnings"])


def test_ctrl_c_leaves_nothing_of_the_parts(two_nodes, tmp_path):  # noqa: F811
    cluster, _ = two_nodes
    source, out, log = drive_clip(tmp_path / "in" / "a.mp4", SECONDS), tmp_path / "out", tmp_path / "log"
    watch = Watch(stop=lambda: max(by_worker(log).values(), default=0) > 5)
    with pytest.raises(KeyboardInterrupt, match="0 done"):
        batch.translate(on_ray(cluster, source.parent, out), lambda _: Slow(log, seconds=0.05), watch)
    assert files_below(out) == {"report.json", ".gen-report.jsonl"}  # the latter knows the clip as begun
    assert batch.translate(on_ray(cluster, source.parent, out), lambda _: Identity()).count("done") == 1
    assert_as_in_a_plain_run(source, out, plainly(source.parent, tmp_path / "plain"))


def test_a_machine_that_is_lost_amid_a_clip(two_nodes, tmp_path, caplog):  # noqa: F811
    """The last test: one machine is left after it."""
    cluster, nodes = two_nodes
    source, out, log = drive_clip(tmp_path / "in" / "a.mp4", SECONDS), tmp_path / "out", tmp_path / "log"
    settings, finished = on_ray(cluster, source.parent, out), list[str]()

    def lose_a_machine() -> None:
        wait_for(lambda: len(by_worker(log)) == 2 and min(by_worker(log).values()) > 2)
        cluster.remove_node(nodes.pop(), allow_graceful=False)

    losing = threading.Thread(target=lose_a_machine)
    losing.start()
    watch = Watch(tell=lambda progress: finished.append(progress.latest.output))
    batch.translate(settings, lambda _: Together(log), watch)
    losing.join()
    assert "a worker of the Ray cluster has ended" in caplog.text
    assert finished == [str(out / "a.mp4")]
    # The one that is left has done its own part and the lost one, each once; of the other one's work nothing is there.
    assert max(by_worker(log).values()) == sum(read_by_parts(source, settings))
    assert_as_in_a_plain_run(source, out, plainly(source.parent, tmp_path / "plain"))
