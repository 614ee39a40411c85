"""Plugins that cannot be loaded are one sentence, not a traceback."""

import sys
from pathlib import Path

import pytest

from gen.errors import BadSetting
from gen.plugins import import_plugin


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def (", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("import no_such_x", "no_such_x"),
        ("raise SystemExit(3)", "SystemExit"),
    ],
)
def test_a_broken_plugin_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str) -> None:
    monkeypatch.setattr("sys.path", list(sys.path))
    file = tmp_path / f"broken_{abs(hash(text))}.py"
    file.write_text(text)
    with pytest.raises(BadSetting, match=message):
        import_plugin(str(file), "GEN_PLUGINS")


def test_files_beside_a_plugin_hide_no_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of experiments may hold a json.py; the standard library's stays what it is."""
    monkeypatch.setattr("sys.path", list(sys.path))
    (tmp_path / "textwrap.py").write_text("raise RuntimeError")
    (tmp_path / "beside_textwrap.py").write_text("import textwrap\nWIDTH = len(textwrap.fill('word'))")
    assert import_plugin(str(tmp_path / "beside_textwrap.py"), "GEN_PLUGINS").WIDTH == 4
    monkeypatch.delitem(sys.modules, "beside_textwrap")
    with pytest.raises(BadSetting, match="another module is called textwrap"):
        import_plugin(str(tmp_path / "textwrap.py"), "GEN_PLUGINS")


def test_a_missing_file_and_a_taken_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", list(sys.path))
    with pytest.raises(BadSetting, match="no such file"):
        import_plugin(str(tmp_path / "none.py"), "GEN_PLUGINS")
    file = tmp_path / "gen.py"
    file.write_text("")
    with pytest.raises(BadSetting, match="another module is called gen"):
        import_plugin(str(file), "GEN_PLUGINS")
