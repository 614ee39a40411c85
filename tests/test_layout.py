"""The layout holds: no two modules import each other in a circle, and help answers without torch."""

import ast
import importlib.util
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
import sys
from gen.cli import main
try:
    main({arguments!r})
except SystemExit as error:
    pass
print("HEAVY", sorted(set({heavy!r}) & set(sys.modules)))
"""


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("arguments", [["--help"], ["--no-such-option"]], ids=["help", "usage-error"])
def test_help_and_usage_errors_import_nothing_heavy(command, arguments):
    code = PROBE.format(arguments=[command, *arguments], heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "HEAVY []", done.stdout[-500:]
    assert "Traceback" not in done.stderr


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
