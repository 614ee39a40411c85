"""The documentation holds: links resolve, named code exists, and the Python files that it shows can be imported."""

import ast
import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from gen.about import VERSION
from gen.augan.compare import COSTS
from gen.augan.tables import COLUMNS, MARKED
from gen.augan.verdict import unused_spaces
from gen.cli import COMMANDS
from gen.formats.yaml_files import read_yaml
from gen.translation.registry import translators
from gen.weights import describe

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    ROOT / "benchmarks" / "README.md",
    *sorted(ROOT.glob("docs/**/*.md")),
]
LINK = re.compile(r"\[([^\[\]]*)\]\(([^()\s]+)\)")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
TOP = ("gen", "docs", "tests", "scripts", "benchmarks", "weights", "samples")


def test_readme_says_how_good_the_shipped_translators_are():
    """The table on its first screen is that of their evaluations."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for model in translators():
        evaluation = json.loads((ROOT / "weights" / model / "evaluation.json").read_text(encoding="utf-8"))
        rows, space = evaluation["adverse_to_normal"], unused_spaces(evaluation)[0]
        ratios = [rows[name]["distances"][space]["kernel_ratio"] for name in ("model", "gamma", "histogram")]
        vehicles = [rows[name]["vehicles"] for name in ("model", "untouched")]
        licence = describe(ROOT / "weights" / model).licence
        cells = [model, *(f"{ratio:.2f}" for ratio in ratios), *(f"{count:.1f}" for count in vehicles), licence]
        assert f"| {' | '.join(cells)} |\n" in text


def test_the_page_of_recipes_begins_with_what_is_shipped():
    """Its first table is that of their evaluations, and recipes.md has the headings of `gen compare-augan`."""
    text = (ROOT / "docs" / "augan" / "README.md").read_text(encoding="utf-8")
    for model in translators():
        evaluation = json.loads((ROOT / "weights" / model / "evaluation.json").read_text(encoding="utf-8"))
        ours, untouched = (evaluation["adverse_to_normal"][row] for row in ("model", "untouched"))
        distance = ours["distances"][unused_spaces(evaluation)[0]]
        cells = [
            model,
            f"{ours['images']}",
            f"{distance['kernel']:.0f} ± {distance['kernel_std']:.0f} ({distance['kernel_ratio']:.2f})",
            f"{distance['frechet']:.0f} ({distance['frechet_ratio']:.2f})",
            f"{ours['structure']:.3f}",
            f"{ours['vehicles']:.2f} (untouched {untouched['vehicles']:.2f})",
            f"{ours['kept']:.2f}",
            f"{ours['invented']:.2f}",
        ]
        assert f"| {' | '.join(cells)} |\n" in text
    recipes = (ROOT / "docs" / "augan" / "recipes.md").read_text(encoding="utf-8")
    assert f" | {' | '.join(COSTS[:3])} |\n" in recipes  # minutes were not recorded then
    assert MARKED.rpartition("({})")[2] in recipes
    assert all(title in recipes for key, (title, _) in COLUMNS.items() if key != "flicker")


def test_the_citation_is_of_this_version():
    citation = read_yaml(ROOT / "CITATION.cff")
    assert citation["version"] == VERSION
    assert citation["date-released"].year >= 2026


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def prose(page: Path) -> str:
    """The text without code blocks."""
    return BLOCK.sub("", page.read_text(encoding="utf-8"))


def blocks(language: str) -> list[tuple[Path, str]]:
    found = [(page, *match) for page in PAGES for match in BLOCK.findall(page.read_text(encoding="utf-8"))]
    return [(page, code) for page, kind, code in found if kind == language]


def anchors(page: Path) -> set[str]:
    """GitHub's names for the headings of a page."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@cache
def names_in(path: Path) -> frozenset[str]:
    """What a module defines: functions, classes, variables, and the members of classes as CLASS.MEMBER."""
    found: set[str] = set()

    def visit(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                found.add(prefix + node.name)
            if isinstance(node, ast.ClassDef):
                visit(node.body, f"{node.name}.")
            if isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                found.update(prefix + n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name))

    visit(ast.parse(path.read_text(encoding="utf-8")).body, "")
    return frozenset(found)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_resolve_and_name_what_is_there(page):
    for text, target in LINK.findall(prose(page)):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        path = (page.parent / file).resolve() if file else page
        assert path.exists(), f"{name_of(page)}: [{text}]({target})"
        if anchor:
            assert anchor in anchors(path), f"{name_of(page)}: no heading for [{text}]({target})"
        symbol = re.fullmatch(r"`([A-Za-z_][\w.]*)`", text)
        if path.suffix == ".py" and symbol and not symbol[1].endswith(".py"):
            assert symbol[1] in names_in(path), f"{name_of(page)}: {target} does not define {symbol[1]}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_paths_and_modules_in_backticks_exist(page):
    for text in re.findall(r"(?<!\$)`([^`\n]+)`(?!\$)", prose(page)):
        if re.fullmatch(rf"({'|'.join(TOP)})/[\w./-]*", text):
            assert (ROOT / text).exists(), f"{name_of(page)}: `{text}`"
        module = re.fullmatch(r"gen((?:\.\w+)+)", text)
        if module:
            path = ROOT / "gen" / module[1][1:].replace(".", "/")
            whole = path.is_dir() or path.with_suffix(".py").exists()
            member = path.parent.with_suffix(".py")
            assert whole or (member.exists() and path.name in names_in(member)), f"{name_of(page)}: `{text}`"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_exist(page):
    text = page.read_text(encoding="utf-8")
    for command in re.findall(r"(?:^|`|GEN_PLUGINS=\S+ )gen ([a-z][\w-]+)", text, re.M):
        assert command in COMMANDS, f"{name_of(page)}: gen {command}"
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"(?:^|`)make ([a-z][\w-]+)", text, re.M):
        assert re.search(rf"^{target}:", makefile, re.M), f"{name_of(page)}: make {target}"


def test_python_blocks_compile():
    for page, code in blocks("python"):
        compile(code, name_of(page), "exec")


WHOLE_FILES = {code.split("\n")[0].removeprefix("# "): code for _, code in blocks("python") if code.startswith("# ")}


def test_every_page_shows_a_whole_file():
    assert set(WHOLE_FILES) >= {
        "my_method.py",
        "my_generator.py",
        "checks.py",
        "group_dro.py",
        "saturation.py",
        "upper_tab.py",
    }


def test_whole_files_can_be_imported(tmp_path):
    """Plugins are loaded by $GEN_PLUGINS, as their pages say."""
    for name, text in WHOLE_FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    names = ", ".join(Path(name).stem for name in WHOLE_FILES)
    code = f"from gen.plugins import load_plugins; load_plugins(); import {names}"
    environment = os.environ | {"GEN_PLUGINS": ",".join(str(tmp_path / name) for name in WHOLE_FILES)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1500:]


def test_readme_of_docs_lists_every_page():
    listed = {target for _, target in LINK.findall((ROOT / "docs" / "README.md").read_text(encoding="utf-8"))}
    assert listed >= {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}
