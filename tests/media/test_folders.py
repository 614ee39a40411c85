"""Planning: which file becomes which, and the report."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gen import BadInput
from gen.media.folders import SIDES, Job, find_stills, plan_jobs, side_files
from gen.translation.report import Entry, Report

words = st.text("abc é夜", min_size=1, max_size=4).map(str.strip).filter(bool)
names = st.builds(str.__add__, words, st.sampled_from(["", "", ".jpg", ".png", ".1"]))
suffixes = st.sampled_from([".jpg", ".JPG", ".jpeg", ".png", ".webp", ".bmp", ".tiff", ".mp4", ".mov", ".avi", ".txt"])
trees = st.lists(st.tuples(st.lists(names, max_size=2), names, suffixes), min_size=1, max_size=12)


def make_tree(root: Path, files) -> list[Path]:
    made = []
    for folders, name, suffix in files:
        path = root.joinpath(*folders, name + suffix)
        if not any(p.is_file() for p in path.parents) and not path.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
            made.append(path)
    return made


@given(trees, st.sampled_from(["keep", "jpg", "png"]))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_file_has_an_output_of_its_own_in_the_mirrored_place(tmp_path_factory, files, still_format):
    root = tmp_path_factory.mktemp("plan")
    made = {p for p in make_tree(root / "in", files) if p.suffix != ".txt"}
    if not made:
        with pytest.raises(BadInput, match="no images"):
            plan_jobs(root / "in", root / "out", still_format)
        return
    jobs = plan_jobs(root / "in", root / "out", still_format)
    assert {j.source for j in jobs} == made
    written = [p for j in jobs for p in (j.target, j.beside(".uncertainty", ".png"), j.beside(".compare"))]
    assert len(set(written)) == 3 * len(jobs)
    for job in jobs:
        assert job.target.parent.relative_to(root / "out") == job.source.parent.relative_to(root / "in")
        assert job.target.name.startswith(job.source.stem)
        if job.kind == "still":
            assert job.target.suffix == (job.source.suffix if still_format == "keep" else f".{still_format}")
        else:
            assert job.target.suffix in (".mp4", ".mov")


def test_inputs_that_would_meet_keep_their_suffix(tmp_path):
    make_tree(tmp_path / "in", [([], "a", ".jpg"), ([], "a", ".png"), ([], "b", ".png")])
    found = sorted(j.target.name for j in plan_jobs(tmp_path / "in", tmp_path / "out", "jpg"))
    assert found == ["a.jpg.jpg", "a.png.jpg", "b.jpg"]
    make_tree(tmp_path / "in", [([], "a.png", ".png")])
    found = sorted(j.target.name for j in plan_jobs(tmp_path / "in", tmp_path / "out", "png"))
    assert found == ["a.jpg.png", "a.png.png", "a.png.png.png", "b.png.png"]


stems = st.builds(str.__add__, st.sampled_from(["a", "b"]), st.sampled_from(["", ".png", ".jpg", ".mp4"]))
marks = st.lists(st.sampled_from([".compare", ".overlay", ".uncertainty", ".png", ".jpg", ".mp4"]), max_size=3)
kinds = st.sampled_from([".gif", ".pgm", ".png", ".jpg", ".heic", ".jfif", ".avi", ".ts", ".mp4"])
crowds = st.lists(st.tuples(stems, marks.map("".join), kinds).map("".join), min_size=1, max_size=8, unique=True)


@given(crowds, st.sampled_from(["keep", "jpg", "png"]))
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_file_beside_a_translation_is_the_translation_of_another_input(tmp_path_factory, crowd, still_format):
    root = tmp_path_factory.mktemp("plan")
    (root / "in").mkdir()
    for name in crowd:
        (root / "in" / name).touch()
    jobs = plan_jobs(root / "in", root / "out", still_format)
    targets, beside = {job.target for job in jobs}, [path for job in jobs for path in set(side_files(job, SIDES))]
    assert len(targets) == len(jobs)
    assert len(set(beside)) == len(beside)
    assert targets.isdisjoint(beside)


@pytest.mark.parametrize(
    ("names", "still_format", "targets"),
    [
        (["a.gif", "a.png.compare.png"], "keep", ["a.gif.png", "a.png.compare.png"]),
        (["a.png", "a.jpg.overlay.png"], "jpg", ["a.jpg.overlay.jpg", "a.png.jpg"]),
        (["a.jfif", "a.jpg.uncertainty.gif"], "keep", ["a.jfif.jpg", "a.jpg.uncertainty.png"]),
        (["a.avi", "a.mp4.compare.ts"], "keep", ["a.avi.mp4", "a.mp4.compare.mp4"]),
        # The whole name of the first is that of the second.
        (["a.gif", "a.gif.png", "a.png.compare.png"], "keep", ["a.gif.png", "a.gif.png.png", "a.png.compare.png.png"]),
        (["a.gif", "b.png.compare.png"], "keep", ["a.png", "b.png.compare.png"]),
    ],
)
def test_an_input_whose_comparison_is_the_output_of_another_keeps_its_suffix(tmp_path, names, still_format, targets):
    make_tree(tmp_path / "in", [([], Path(name).stem, Path(name).suffix) for name in names])
    assert sorted(j.target.name for j in plan_jobs(tmp_path / "in", tmp_path / "out", still_format)) == targets


def test_an_output_above_the_input_is_no_reason_to_skip_it(tmp_path, monkeypatch):
    make_tree(tmp_path / "drives" / "night", [([], "a", ".jpg"), (["out"], "a", ".jpg")])
    assert len(plan_jobs(tmp_path / "drives" / "night", tmp_path / "drives")) == 2
    monkeypatch.chdir(tmp_path / "drives")
    absolute = tmp_path / "drives" / "night" / "out"
    assert [j.source.name for j in plan_jobs(Path("night"), absolute)] == ["a.jpg"]


def test_the_output_inside_the_input_is_not_input_again(tmp_path):
    make_tree(tmp_path, [([], "a", ".jpg"), (["out"], "a", ".jpg"), ([".hidden"], "b", ".jpg"), ([], "._c", ".jpg")])
    assert [j.source.name for j in plan_jobs(tmp_path, tmp_path / "out")] == ["a.jpg"]
    assert find_stills(tmp_path) == [tmp_path / "a.jpg", tmp_path / "out" / "a.jpg"]


def test_the_output_is_known_under_any_name(tmp_path, monkeypatch):
    """A relative input, and its output inside given in full, or through a link."""
    make_tree(tmp_path, [(["in"], "a", ".jpg"), (["in", "out"], "a", ".jpg")])
    (tmp_path / "link").symlink_to(tmp_path / "in" / "out")
    monkeypatch.chdir(tmp_path)
    for target in (tmp_path / "in" / "out", tmp_path / "link", Path("in/../in/out")):
        assert [j.source for j in plan_jobs(Path("in"), target)] == [Path("in/a.jpg")]


def test_the_input_may_lie_inside_the_output(tmp_path):
    make_tree(tmp_path, [(["night"], "a", ".jpg")])
    assert [j.target for j in plan_jobs(tmp_path / "night", tmp_path)] == [tmp_path / "a.jpg"]


def test_side_files_are_no_input_and_own_names_are(tmp_path):
    made = ["a.jpg.uncertainty.png", "a.jpg.overlay.jpg", "b.png.compare.png", "v1.2.png.compare.png"]
    own = ["a.jpg", "b.png", "v1.2.png", "bridge.compare.jpg", "a.compare.jpg"]
    make_tree(tmp_path / "in", [([], Path(n).stem, Path(n).suffix) for n in made + own])
    assert {j.source.name for j in plan_jobs(tmp_path / "in", tmp_path / "out")} == set(own)


@pytest.mark.parametrize("target", ["in", "in/sub/..", "link"])
def test_an_input_is_never_written_over(tmp_path, target):
    make_tree(tmp_path / "in", [([], "a", ".jpg"), (["sub"], "b", ".jpg")])
    (tmp_path / "link").symlink_to(tmp_path / "in")
    with pytest.raises(BadInput, match="overwrite an input"):
        plan_jobs(tmp_path / "in", tmp_path / target)


def test_no_output_lies_among_the_inputs(tmp_path):
    make_tree(tmp_path / "in", [(["in"], "a", ".jpg"), (["sub"], "b", ".jpg")])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sub").symlink_to(tmp_path / "in" / "sub")
    for target, format in ((tmp_path, "keep"), (tmp_path / "out", "png")):
        with pytest.raises(BadInput, match="would lie among the inputs"):
            plan_jobs(tmp_path / "in", target, format)
    assert len(plan_jobs(tmp_path / "in", tmp_path / "in" / "out")) == 2


def test_single_files(tmp_path):
    make_tree(tmp_path, [([], "a", ".jpg"), ([], "c", ".avi"), ([], "x", ".xcf")])
    a, c = tmp_path / "a.jpg", tmp_path / "c.avi"
    assert plan_jobs(a, tmp_path / "b.png") == [Job(a, tmp_path / "b.png", "still")]
    assert plan_jobs(a, tmp_path / "folder") == [Job(a, tmp_path / "folder" / "a.jpg", "still")]
    assert plan_jobs(c, tmp_path / "folder") == [Job(c, tmp_path / "folder" / "c.mp4", "clip")]
    for source, target, problem in [
        (a, a, "overwrite an input"),
        (tmp_path / "x.xcf", tmp_path / "folder", r"x\.xcf: no images"),
        (a, tmp_path / "b.xyz", "cannot be written as"),
        (c, tmp_path / "b.png", "cannot be written as"),
        (tmp_path / "none.jpg", tmp_path / "b.jpg", "no such file"),
    ]:
        with pytest.raises(BadInput, match=problem):
            plan_jobs(source, target)


def test_a_report_keeps_what_an_earlier_run_measured(tmp_path):
    path = tmp_path / "report.json"
    Report({}, [Entry("a", "A", "still", "done", "m", seconds=1.5, mean_uncertainty=20.0)]).write(path)
    Report({}, [Entry("a", "A", "still", "skipped", "m"), Entry("b", "B", "still", "failed", "m", error="why")]).write(
        path
    )
    found = json.loads(path.read_text())
    assert found["totals"] == {"done": 0, "skipped": 1, "left": 0, "failed": 1}
    assert found["files"][0]["seconds"] == 1.5
    assert found["files"][0]["mean_uncertainty"] == 20.0
    assert found["files"][1]["error"] == "why"


@pytest.mark.parametrize("text", ["", "[1, 2]", '{"files": [3]}', '{"files": 4}', "no json"])
def test_a_report_that_is_not_ours_does_not_stop_a_run(tmp_path, text):
    (tmp_path / "report.json").write_text(text)
    Report({}, [Entry("a", "A", "still", "done", "m")]).write(tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text())["totals"]["done"] == 1
