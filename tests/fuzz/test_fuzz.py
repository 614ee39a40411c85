"""The short form of the fuzzer: some new cases of each target at each run of the suite, and all that was ever found."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from tests.fuzz import endpoints, seeds
from tests.fuzz.guard import Offence, Target, run_case
from tests.fuzz.targets import TARGETS

CASES = {
    "still": 60, "clip": 20, "zip": 60, "yaml": 60, "set": 60, "checkpoint": 60, "model": 25, "job": 60, "name": 40,
    "endpoint": 25,
}  # fmt: skip


@pytest.mark.parametrize("name", TARGETS)
def test_cases(name: str) -> None:
    @settings(max_examples=CASES[name], deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(TARGETS[name].cases)
    def check(case: object) -> None:
        run_case(TARGETS[name], case)

    check()


def test_every_endpoint_answers_a_call_without_arguments() -> None:
    for name in sorted(endpoints.page().named):
        run_case(TARGETS["endpoint"], (name, []))


class TestGuard:
    """The guard does see what it forbids."""

    def run(self, check: object) -> None:
        run_case(Target(None, lambda case, folder: check(folder), 1), None)

    def test_files_outside(self, tmp_path: Path) -> None:
        self.run(lambda folder: (folder / "a").write_text("x"))
        with pytest.raises(Offence, match="open"):
            self.run(lambda folder: (tmp_path / "a").write_text("x"))
        with pytest.raises(Offence, match=r"os\.remove"):
            self.run(lambda folder: (tmp_path / "a").unlink())
        with pytest.raises(Offence, match=r"os\.mkdir"):
            self.run(lambda folder: (folder / ".." / tmp_path.relative_to(folder.parent) / "b").mkdir())

    def test_programs(self) -> None:
        with pytest.raises(Offence, match=r"subprocess\.Popen"):
            self.run(lambda folder: subprocess.run(["true"]))

    def test_time_and_memory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tests.fuzz.guard.SECONDS", 0.01)
        with pytest.raises(Offence, match="took"):
            self.run(lambda folder: sum(range(10**6)))

    def test_other_errors_come_out(self) -> None:
        with pytest.raises(ZeroDivisionError):
            self.run(lambda folder: 1 / 0)


@pytest.mark.slow
def test_the_long_form_counts_and_reports(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--cases", "20", "--target", "name", "--jobs", "1"]
    root = Path(__file__).parents[2]
    ended = subprocess.run([*command, "--keep", str(tmp_path)], capture_output=True, text=True, cwd=root)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "all" in ended.stdout


def quoted_by_zipfile() -> bytes:
    """The name in the first file's own header is longer than the file says, and zipfile's message quotes it."""
    content = bytearray(seeds.uploads()[0])
    content[26:28] = (4000).to_bytes(2, "little")
    return bytes(content)


def file_data(path: str) -> dict[str, object]:
    """A file as gradio's clients name it."""
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


FOUND: list[tuple[str, object]] = [
    ("zip", quoted_by_zipfile()),
    ("endpoint", ("translate", [file_data("https://example.org/a.jpg")])),
    ("endpoint", ("stop_1", [file_data("/dev/zero")])),
    ("endpoint", ("model_card", [[]])),
    ("set", ['{"' + "x" * 300 + '": 1:2']),
    ("name", "\0"),
    ("job", b'{"id": "abcdefghijklmnop", "kind": "translate", "inputs": {}, "state": "running", "attempts": null}'),
    ("job", b'{"id": "../x", "kind": "translate", "inputs": {}}'),
    ("job", b"[" * 100_000),
]
"""Cases that once broke a rule, as (target, case)."""


@pytest.mark.parametrize("index", range(len(FOUND)))
def test_found(index: int) -> None:
    name, case = FOUND[index]
    endpoints.page()  # it makes its folder before a case is watched
    run_case(TARGETS[name], case)
