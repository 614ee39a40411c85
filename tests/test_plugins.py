"""Plugins that cannot be loaded are one sentence, not a traceback."""

import sys
from pathlib import Path

import pytest

from gen.errors import BadSetting
from gen.plugins import import_plugin


@pytest.mark.parametrize(
    ("text", "message"),
    [("def (", "SyntaxError"), ("1 / 0", "ZeroDivisionError: division by zero"), ("import no_such_x", "no_such_x")],
)
def test_a_broken_plugin_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str) -> None:
    monkeypatch.setattr("sys.path", list(sys.path))
    file = tmp_path / f"broken_{abs(hash(text))}.py"
    file.write_text(text)
    with pytest.raises(BadSetting, match=message):
        import_plugin(str(file), "GEN_PLUGINS")


def test_a_missing_file_and_a_taken_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", list(sys.path))
    with pytest.raises(BadSetting, match="no such file"):
        import_plugin(str(tmp_path / "none.py"), "GEN_PLUGINS")
    file = tmp_path / "gen.py"
    file.write_text("")
    with pytest.raises(BadSetting, match="another module is called gen"):
        import_plugin(str(file), "GEN_PLUGINS")
