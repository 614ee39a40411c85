"""The runner of experiments, with cells that only write a number."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from gen.errors import BadSetting
from gen.training.experiment import Experiment, mean_and_deviation, named, read_run, write_results
from gen.training.settings import TrainerSettings, as_record

Log = list[tuple[str, str]]


@dataclass(frozen=True)
class Cell:
    name: str
    seed: int

    @property
    def folder(self) -> str:
        return f"{self.name}-{self.seed}"


CELLS = [Cell(name, seed) for seed in range(3) for name in ("a", "b")]


def settings(root: Path, cell: Cell, lr: float = 0.1) -> TrainerSettings:
    return TrainerSettings(out=root / cell.folder, seed=cell.seed, lr=lr)


def run(root: Path, lr: float, stop_at: str, cell: Cell) -> float | None:
    """The result is the seed times the learning rate; `stop_at` is the cell in which Ctrl-C comes."""
    own = settings(root, cell, lr)
    own.out.mkdir(parents=True, exist_ok=True)
    (own.out / "settings.json").write_text(json.dumps({"settings": as_record(own)}))
    with (root / "log").open("a") as log:
        log.write(f"{cell.folder}\n")
    if cell.folder == stop_at:
        return None
    (own.out / "result").write_text(str(cell.seed * lr))
    return cell.seed * lr


def finished(root: Path, lr: float, cell: Cell) -> float | None:
    own = settings(root, cell, lr)
    read_run(own, own.may_change)
    result = own.out / "result"
    return float(result.read_text()) if result.is_file() else None


def experiment(
    root: Path, lr: float = 0.1, stop_at: str = "", cells: Sequence[Cell] = CELLS
) -> Experiment[Cell, float]:
    return Experiment(cells, partial(run, root, lr, stop_at), partial(finished, root, lr))


def ran(root: Path) -> list[str]:
    return (root / "log").read_text().split() if (root / "log").exists() else []


def test_cells_run_in_order_and_once(tmp_path: Path) -> None:
    told: list[tuple[int, str, float]] = []
    for _ in range(2):
        told.clear()
        assert experiment(tmp_path).run_in_order(lambda n, cell, result: told.append((n, cell.folder, result)))
        assert ran(tmp_path) == [cell.folder for cell in CELLS]
        assert told == [(n, cell.folder, cell.seed * 0.1) for n, cell in enumerate(CELLS, 1)]
    assert experiment(tmp_path).done() == {cell: cell.seed * 0.1 for cell in CELLS}
    assert experiment(tmp_path).missing() == []


def test_a_result_of_zero_is_a_result(tmp_path: Path) -> None:
    assert experiment(tmp_path, cells=CELLS[:1]).run_in_order(lambda *_: None)
    assert experiment(tmp_path, cells=CELLS[:1]).done() == {CELLS[0]: 0.0}


def test_again_gives_finished_cells_to_run_too(tmp_path: Path) -> None:
    for _ in range(2):
        experiment(tmp_path).run_in_order(lambda *_: None, again=True)
    assert ran(tmp_path) == 2 * [cell.folder for cell in CELLS]


def test_a_stopped_experiment_names_what_is_missing_and_goes_on(tmp_path: Path) -> None:
    stopped = experiment(tmp_path, stop_at="a-1")
    assert not stopped.run_in_order(lambda *_: None)
    assert [cell.folder for cell in stopped.missing()] == ["a-1", "b-1", "a-2", "b-2"]
    assert named(cell.folder for cell in stopped.missing()) == "Not trained yet: a-1, b-1, a-2, b-2."
    assert named([]) == ""
    assert experiment(tmp_path).run_in_order(lambda *_: None)
    assert ran(tmp_path) == ["a-0", "b-0", "a-1", "a-1", "b-1", "a-2", "b-2"]


def test_processes_fill_the_same_experiment(tmp_path: Path) -> None:
    run(tmp_path, 0.1, "", CELLS[3])
    told: list[tuple[int, Cell, float]] = []
    assert experiment(tmp_path).run_in_processes(2, lambda n, cell, result: told.append((n, cell, result)))
    assert sorted(ran(tmp_path)) == sorted(cell.folder for cell in CELLS)
    assert [n for n, _, _ in told] == [1, 2, 3, 4, 5]
    assert {cell: result for _, cell, result in told} == {c: c.seed * 0.1 for c in CELLS if c != CELLS[3]}
    assert experiment(tmp_path).done() == {cell: cell.seed * 0.1 for cell in CELLS}


def test_a_process_that_is_stopped_stops_the_experiment(tmp_path: Path) -> None:
    assert not experiment(tmp_path, stop_at="a-0", cells=CELLS[:1]).run_in_processes(1, lambda *_: None)


def test_a_cell_of_other_settings_is_refused(tmp_path: Path) -> None:
    experiment(tmp_path, cells=CELLS[:2]).run_in_order(lambda *_: None)
    other = experiment(tmp_path, lr=0.2)
    for ask in (other.check, other.done, other.missing, lambda: other.run_in_order(lambda *_: None)):
        with pytest.raises(BadSetting, match=r"lr was 0\.1 when this run began and is 0\.2 now"):
            ask()
    assert ran(tmp_path) == ["a-0", "b-0"]
    replace(other, cells=CELLS[2:]).check()


def test_a_setting_younger_than_the_run_had_its_default(tmp_path: Path) -> None:
    own = settings(tmp_path, CELLS[0])
    record = as_record(own)
    del record["accumulate"], record["strict"]
    assert read_run(own, own.may_change) is None
    own.out.mkdir()
    (own.out / "settings.json").write_text(json.dumps({"settings": record, "data": {"count": 3}}))
    assert (read_run(own, {"out"}) or {})["data"] == {"count": 3}
    with pytest.raises(BadSetting, match="accumulate"):
        read_run(replace(own, accumulate=2), {"out"})


def test_mean_and_deviation() -> None:
    values = [0.5, 0.7, 0.9, 0.1]
    mean, deviation = mean_and_deviation(values)
    assert mean == pytest.approx(sum(values) / 4)
    assert deviation == pytest.approx((sum((v - mean) ** 2 for v in values) / 3) ** 0.5)
    assert deviation == pytest.approx(statistics.stdev(values))
    assert mean_and_deviation([0.25]) == (0.25, None)


def test_results_are_written_as_json_and_table(tmp_path: Path) -> None:
    write_results(tmp_path / "out", {"λ": [1, 2]}, "| λ |\n")
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == {"λ": [1, 2]}
    assert (tmp_path / "out" / "table.md").read_text(encoding="utf-8") == "| λ |\n"
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"results.json", "table.md"}
