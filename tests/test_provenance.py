"""What a measurement says of the code that made it."""

import subprocess
from pathlib import Path

import torch

from gen.provenance import commit, machine, measured_on


def test_the_commit_of_a_checkout(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        named = ("-c", "user.name=a", "-c", "user.email=a@b.example")
        done = subprocess.run(["git", "-C", tmp_path, *named, *arguments], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def now() -> str | None:
        commit.cache_clear()
        return commit(tmp_path)

    assert now() is None
    (tmp_path / "gen").mkdir()
    for name in ("gen/code.py", "results.json"):
        (tmp_path / name).write_text("1")
    git("init")
    assert now() is None  # nothing is committed yet
    git("add", ".")
    git("commit", "-m", "first")
    assert now() == git("rev-parse", "HEAD")[:7]
    (tmp_path / "results.json").write_text("2")
    assert now() == git("rev-parse", "HEAD")[:7]
    (tmp_path / "gen" / "code.py").write_text("2")
    assert now() == git("rev-parse", "HEAD")[:7] + "+"


def test_a_measurement_names_the_commit_where_there_is_one() -> None:
    commit.cache_clear()
    here, found = machine(torch.device("cpu")), commit()
    assert measured_on(torch.device("cpu")) == (here | {"commit": found} if found else here)
