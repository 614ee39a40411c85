"""The job table: order, cancelling, errors, restarts, old results."""

import dataclasses
import json
import os
import threading
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gen.errors import BadInput, BadSetting
from gen.web.duration import duration
from gen.web.job import Job
from gen.web.jobs import JobContext, Jobs


def wait(jobs: Jobs, ident: str, *states: str) -> str:
    for _ in range(500):
        if jobs.get(ident).state in states:
            return jobs.get(ident).state
        time.sleep(0.01)
    raise AssertionError(jobs.get(ident))


GOOD = {"id": "x" * 20, "kind": "work", "inputs": {}, "state": "running", "attempts": 1, "created": 1.0, "started": 1.0}


class Bench:
    """Work that goes on when it is told to."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.order: list[str] = []

    def run(self, context: JobContext) -> None:
        self.order.append(context.job.inputs["name"])
        for i in range(500):
            context.report(i, 500, "working")
            context.stop_if_cancelled()
            if self.go.wait(0.01):
                return


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture
def jobs(tmp_path, bench):
    def fail(context):
        raise BadInput("night.jpg: this is no picture.")

    def crash(context):
        raise RuntimeError("out of luck\nand more")

    work = {"work": ("a", bench.run), "fail": ("b", fail), "crash": ("b", crash)}
    table = Jobs(tmp_path, work, keep_hours=1, waiting=3)
    yield table
    table.close()


def submit(jobs, kind="work", name="x"):
    return jobs.submit(kind, jobs.new_folder(), {"name": name}).id


def test_one_after_another_with_their_queue_positions(jobs, bench):
    first, second, third = (submit(jobs, name=n) for n in "abc")
    wait(jobs, first, "running")
    assert [jobs.queue_position(jobs.get(i)) for i in (second, third)] == [1, 2]
    assert jobs.describe(jobs.get(third)) == "Waiting: 2 ahead in the queue."
    bench.go.set()
    wait(jobs, third, "done")
    assert bench.order == ["a", "b", "c"]


def test_lanes_do_not_wait_for_each_other(jobs):
    wait(jobs, submit(jobs), "running")
    assert wait(jobs, submit(jobs, "fail"), "failed")


def test_cancel_running_and_waiting(jobs, bench):
    first, second = submit(jobs, name="a"), submit(jobs, name="b")
    wait(jobs, first, "running")
    jobs.cancel(second)
    jobs.cancel(first)
    assert wait(jobs, first, "cancelled") == jobs.get(second).state == "cancelled"
    assert bench.order == ["a"]


def test_an_ended_job_runs_again_with_other_inputs(jobs, bench):
    bench.go.set()
    first = submit(jobs, name="a")
    wait(jobs, first, "done")
    took = jobs.get(first).all_seconds()
    bench.go.clear()
    assert jobs.run_again(first, {"name": "b"}).id == first
    wait(jobs, first, "running")
    with pytest.raises(BadInput, match="has not ended"):
        jobs.run_again(first, {"name": "c"})
    bench.go.set()
    wait(jobs, first, "done")
    assert bench.order == ["a", "b"]
    assert jobs.get(first).all_seconds() > took


def test_an_ended_job_that_cannot_run_again_stays_as_it_was(jobs, bench, monkeypatch):
    bench.go.set()
    first = submit(jobs, name="a")
    wait(jobs, first, "done")
    before = dataclasses.asdict(jobs.get(first))
    monkeypatch.setattr(jobs, "save", lambda job: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        jobs.run_again(first, {"name": "b"})
    assert dataclasses.asdict(jobs.get(first)) == before


def test_errors_are_a_sentence(jobs):
    failed, crashed = submit(jobs, "fail"), submit(jobs, "crash")
    wait(jobs, crashed, "failed")
    assert jobs.describe(jobs.get(failed)) == "Failed: night.jpg: this is no picture."
    assert jobs.get(crashed).error == "RuntimeError: out of luck"


def test_too_many_wait(jobs):
    wait(jobs, submit(jobs), "running")
    for _ in range(3):
        submit(jobs)
    with pytest.raises(BadSetting, match="already waiting"):
        submit(jobs)


def test_a_refused_job_is_refused_before_its_files_are_copied_and_leaves_nothing(jobs, tmp_path):
    wait(jobs, submit(jobs), "running")
    places = [jobs.preparing() for _ in range(3)]
    for place in places:  # three jobs whose zips are being unpacked
        place.__enter__()
    before = set(tmp_path.iterdir())
    with pytest.raises(BadSetting, match="already waiting"), jobs.preparing():
        raise AssertionError("nothing may be copied")
    assert set(tmp_path.iterdir()) == before
    places[0].__exit__(BadInput, BadInput("a.zip: broken"), None)
    assert len(set(tmp_path.iterdir())) == len(before) - 1
    with jobs.preparing() as ident:
        jobs.submit("work", ident, {"name": "x"})
    assert jobs.get(ident).state == "waiting"


def test_a_killed_supervisor_finds_right_records(tmp_path):
    """A supervisor kills a server that does not end soon enough after SIGTERM; that is no crash of the job either."""
    stuck, ended = threading.Event(), threading.Event()

    def slow(context):
        stuck.wait()
        context.report(1, 2)  # writes the record again
        ended.set()

    jobs = Jobs(tmp_path, {"work": ("a", slow)}, 1, 9)
    ident = submit(jobs)
    wait(jobs, ident, "running")
    read = lambda: json.loads((tmp_path / ident / "job.json").read_text())  # noqa: E731
    for _ in range(500):  # the record follows the state
        if read()["state"] == "running":
            break
        time.sleep(0.01)
    assert read()["attempts"] == 1
    closing = threading.Thread(target=jobs.close)
    closing.start()
    for _ in range(500):
        if read()["state"] == "waiting":
            break
        time.sleep(0.01)
    assert (read()["state"], read()["attempts"]) == ("waiting", 0)
    jobs.save(jobs.get(ident))
    assert (read()["state"], read()["attempts"]) == ("waiting", 0)
    stuck.set()
    closing.join()
    assert ended.is_set()
    assert read()["state"] == "done"


@pytest.mark.parametrize(
    ("done", "of", "said"),
    [
        (30, 60, "Running: 30 of 60 frames, 3.0 frames/s, about 10 s left"),
        (30, 0, "Running: 30 frames, 3.0 frames/s"),  # the container does not know its length
        (70, 60, "Running: 70 of 60 frames, 7.0 frames/s"),  # it knew it wrong
        (30, -5, "Running: 30 frames, 3.0 frames/s"),
        (0, 60, "Running: 0 of 60 frames"),
    ],
)
def test_no_time_left_where_the_length_is_unknown(jobs, monkeypatch, done, of, said):
    job = Job("x" * 22, "work", {}, "running", done, of, "frames", started=1.0, begun=0)
    monkeypatch.setattr(Job, "seconds", lambda self: 10.0)
    assert jobs.describe(job) == said


def test_a_restart_does_again_what_was_under_way(tmp_path):
    bench = Bench()
    jobs = Jobs(tmp_path, {"work": ("a", bench.run)}, 1, 9)
    ident, later = submit(jobs, name="a"), submit(jobs, name="b")
    wait(jobs, ident, "running")
    jobs.close()
    assert json.loads((tmp_path / ident / "job.json").read_text())["state"] == "waiting"
    bench.go.set()
    again = Jobs(tmp_path, {"work": ("a", bench.run)}, 1, 9)
    wait(again, later, "done")
    assert bench.order == ["a", "a", "b"]
    again.close()


def test_what_an_earlier_attempt_did_is_no_speed(tmp_path):
    """Before the job has told how much that was."""
    said, ready = list[str](), threading.Event()

    def describe(context: JobContext) -> None:
        ready.wait(5)
        said.append(table.describe(context.job))

    (tmp_path / GOOD["id"]).mkdir()
    (tmp_path / GOOD["id"] / "job.json").write_text(json.dumps({**GOOD, "done": 500, "of": 1000}))
    table = Jobs(tmp_path, {"work": ("a", describe)}, 1, 9)
    ready.set()
    wait(table, GOOD["id"], "done")
    table.close()
    assert said == ["Running: 0 of 1000 files"]


def test_ids_are_not_paths(jobs):
    for ident in ("", "..", "../../etc", "/etc", "a" * 22, "x/y"):
        with pytest.raises(BadInput, match="No job"):
            jobs.folder(ident)
        with pytest.raises(BadInput, match="No job"):
            jobs.get(ident)


def test_old_results_go(jobs, bench, tmp_path):
    bench.go.set()
    old, new = submit(jobs), submit(jobs)
    wait(jobs, new, "done")
    loose = jobs.new_folder()
    jobs.get(old).ended -= 7200
    os.utime(tmp_path / loose, (time.time() - 7200,) * 2)
    jobs.delete_old()
    assert not (tmp_path / old).exists()
    assert not (tmp_path / loose).exists()
    assert (tmp_path / new).exists()


@pytest.mark.parametrize(("seconds", "text"), [(4.6, "5 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")])
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_a_cancelled_job_stays_cancelled_after_a_restart(tmp_path):
    def slow(context):
        while not context.closing:
            time.sleep(0.01)
        context.stop_if_cancelled()

    jobs = Jobs(tmp_path, {"work": ("a", slow)}, 1, 9)
    ident = submit(jobs)
    wait(jobs, ident, "running")
    jobs.cancel(ident)
    jobs.close()
    again = Jobs(tmp_path, {"work": ("a", slow)}, 1, 9)
    assert again.get(ident).state == "cancelled"
    again.close()


@pytest.mark.parametrize("cancelled_before", [True, False])
def test_a_job_that_is_cancelled_around_a_restart_keeps_what_it_had_done(tmp_path, cancelled_before):
    packed = list[bool]()

    def work(context):
        try:
            context.report(1, 9)
            while True:
                context.stop_if_cancelled()
                time.sleep(0.01)
        finally:
            if not context.closing:
                packed.append(True)

    jobs = Jobs(tmp_path, {"work": ("a", work)}, 1, 9)
    ident = submit(jobs)
    wait(jobs, ident, "running")
    while not jobs.get(ident).done:
        time.sleep(0.01)
    jobs.get(ident).started -= 200
    if cancelled_before:
        jobs.closing.set()  # the server is told to stop while the job looks up from its step
        jobs.cancel(ident)
    jobs.close()
    assert not packed
    again = Jobs(tmp_path, {"work": ("a", work)}, 1, 9)
    if not cancelled_before:
        again.cancel(ident)
    assert wait(again, ident, "cancelled")
    assert packed == [True]
    assert again.describe(again.get(ident)).startswith("Cancelled: 1 of 9 files, 3 min 20 s")
    again.close()
    again = Jobs(tmp_path, {"work": ("a", work)}, 1, 9)
    assert again.describe(again.get(ident)).startswith("Cancelled: 1 of 9 files, 3 min 20 s")
    again.close()


def test_a_job_that_takes_the_server_down_is_given_up(tmp_path):
    (tmp_path / ("x" * 20)).mkdir()
    record = {"id": "x" * 20, "kind": "work", "inputs": {}, "state": "running", "attempts": 3}
    (tmp_path / ("x" * 20) / "job.json").write_text(json.dumps(record))
    jobs = Jobs(tmp_path, {"work": ("a", lambda context: None)}, 1, 9)
    assert "3 times" in jobs.describe(jobs.get("x" * 20))
    jobs.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.builds(
            lambda name, value: json.dumps(GOOD | {name: value}).encode(),
            st.sampled_from([*(f.name for f in dataclasses.fields(Job)), "other"]),
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
                lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
                max_leaves=4,
            ),
        ),
        st.just(b"[" * 100_000),
    )
)
def test_a_damaged_record_does_not_keep_the_server_from_starting(tmp_path, data):
    folder = tmp_path / GOOD["id"]
    folder.mkdir(exist_ok=True)
    (folder / "job.json").write_bytes(data)
    jobs = Jobs(tmp_path, {"work": ("a", lambda context: None)}, 1e9, 9)
    try:
        for job in list(jobs._table.values()):
            assert job.id == GOOD["id"]
            jobs.describe(job)
            jobs.queue_position(job)
    finally:
        jobs.close()


def test_a_lane_survives_a_record_that_cannot_be_written(jobs, bench, tmp_path):
    first, second = submit(jobs, name="a"), submit(jobs, name="b")
    wait(jobs, first, "running")
    (tmp_path / first).rename(tmp_path.with_name("elsewhere"))  # in one move, while the job writes into it
    bench.go.set()
    assert wait(jobs, second, "done")


def test_two_servers_do_not_share_a_table(jobs, tmp_path):
    with pytest.raises(BadSetting, match="another run"):
        Jobs(tmp_path, {}, 1, 9)


def test_a_server_that_closes_at_once_is_not_waited_for(tmp_path):
    """Its threads may not have begun to wait when they are called to stop."""
    began = time.monotonic()
    for i in range(40):
        Jobs(tmp_path / str(i), {"work": ("a", lambda context: None)}, 1, 9).close()
    assert time.monotonic() - began < 20


def test_records_keep_their_keys(jobs, bench, tmp_path):
    """Servers of other versions read them."""
    bench.go.set()
    ident = submit(jobs)
    wait(jobs, ident, "done")
    time.sleep(0.1)
    record = json.loads((tmp_path / ident / "job.json").read_text())
    assert list(record) == [
        *("id", "kind", "inputs", "state", "done", "of", "unit", "note", "refused", "failures", "cancel"),
        *("attempts", "begun", "error", "created", "started", "ended", "ran"),
    ]


def test_a_job_whose_record_cannot_be_written_is_none(jobs, monkeypatch):
    def full(job):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, jobs.preparing() as ident:
        patch.setattr(jobs, "save", full)
        with pytest.raises(OSError, match="No space"):
            jobs.submit("work", ident, {"name": "x"})
    with pytest.raises(BadInput):
        jobs.get(ident)


def test_a_folder_that_vanishes_does_not_end_the_deletion(jobs, tmp_path, monkeypatch):
    loose = tmp_path / jobs.new_folder()
    monkeypatch.setattr(type(tmp_path), "glob", lambda self, pattern: [tmp_path / ("g" * 22), loose])
    jobs.keep_seconds = -1
    jobs.delete_old()
    assert not loose.exists()


def test_folders_that_the_server_did_not_make_stay(jobs, tmp_path):
    """--results may name any folder."""
    for name in ("mywork", ".hidden", "precious_research_data"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis.txt").write_text("keep")
    (tmp_path / ("a" * 22)).symlink_to(tmp_path / "mywork")
    jobs.keep_seconds = -1
    jobs.delete_old()
    assert all((tmp_path / name / "thesis.txt").exists() for name in ("mywork", ".hidden", "precious_research_data"))


def test_a_deletion_that_fails_does_not_end_a_lane(jobs, monkeypatch, caplog):
    def many(seconds):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(jobs, "clean", many)
    jobs.delete_old()
    assert "old results cannot be deleted" in caplog.text
