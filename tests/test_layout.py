"""The layout holds: no two modules import each other in a circle, and help answers without torch."""

import ast
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from gen.cli import COMMANDS

PACKAGE = Path(__file__).parents[1] / "gen"

HEAVY = ("torch", "diffusers", "numpy", "gradio", "cv2", "kornia", "PIL", "scipy", "sklearn", "matplotlib")


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports() -> dict[str, set[str]]:
    """Module -> modules of gen that it imports anywhere: in functions and under TYPE_CHECKING too."""
    paths = {module_name(path): path for path in PACKAGE.rglob("*.py")}
    graph: dict[str, set[str]] = {name: set() for name in paths}
    for name, path in paths.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            found: list[str] = []
            if isinstance(node, ast.Import):
                found = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                found = [f"{node.module}.{alias.name}" for alias in node.names] + [node.module]
                # `from gen.smd import styles` imports the module, and from a package's __init__ only a name.
                found = [f for f in found[:-1] if f in paths] or found[-1:]
            graph[name] |= {f for f in found if f in paths and f != name}
    return graph


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Strongly connected components of more than one module (Tarjan's algorithm, by repeated reachability)."""
    reach: dict[str, set[str]] = {}
    for start in graph:
        seen, todo = set(), [start]
        while todo:
            for after in graph[todo.pop()] - seen:
                seen.add(after)
                todo.append(after)
        reach[start] = seen
    tied = {name: frozenset(n for n in reach[name] if name in reach[n]) | {name} for name in graph}
    return sorted(sorted(group) for group in set(tied.values()) if len(group) > 1)


def test_the_finder_of_circles_finds_them():
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set(), "e": {"d"}}
    assert circles(graph) == [["a", "b", "c"]]


def test_no_two_modules_import_each_other():
    graph = imports()
    del graph["gen"]  # the public names, which load on first use
    assert circles({name: found - {"gen"} for name, found in graph.items()}) == []


PROBE = """
import json, os, sys
from gen.cli import COMMANDS, main

heavy, folder = set({heavy!r}), {folder!r}
for command in COMMANDS:
    for option in {options!r}:
        name = os.path.join(folder, command + option)
        if pid := os.fork():  # as a new process, without the second that Python takes to begin
            os.waitpid(pid, 0)
            continue
        for stream, suffix in ((1, ".out"), (2, ".err")):
            os.dup2(os.open(name + suffix, os.O_WRONLY | os.O_CREAT), stream)
        try:
            main([command, option])
        except SystemExit:
            pass
        sys.stdout.flush()
        with open(name + ".json", "w") as file:
            json.dump(sorted(heavy & set(sys.modules)), file)
        os._exit(0)
"""
OPTIONS = ["--help", "--no-such-option"]


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """A folder with what each command printed, and which heavy packages it imported."""
    folder = tmp_path_factory.mktemp("answers")
    code = PROBE.format(heavy=HEAVY, folder=str(folder), options=OPTIONS)
    subprocess.run([sys.executable, "-c", code], check=True)
    return folder


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("option", OPTIONS)
def test_help_and_usage_errors_import_nothing_heavy(command, option, answers):
    said = {suffix: (answers / f"{command}{option}.{suffix}").read_text() for suffix in ("out", "err", "json")}
    assert json.loads(said["json"]) == []
    assert "Traceback" not in said["err"]
    assert command in (said["out"] if option == "--help" else said["err"])


def test_import_gen_is_light():
    code = f"import sys, gen; print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_exists(command):
    module, function = COMMANDS[command][0].split(":")
    path = importlib.util.find_spec(module)
    assert path is not None
    assert f"def {function}(" in Path(path.origin).read_text(encoding="utf-8")
    assert module.endswith(".commands")
