"""Output folders."""

import os
from pathlib import Path

import pytest

from gen.errors import BadSetting
from gen.media import files
from gen.media.files import make_out_folder


def test_an_output_folder_is_made_and_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_out_folder(tmp_path / "a" / "b")
    left = tmp_path / "a" / "b" / f"{files._prefix()}999999999-0123456789ab.partial.png"
    left.touch()
    (tmp_path / "a" / "b" / "kept.png").touch()
    make_out_folder(tmp_path / "a" / "b")
    assert [p.name for p in (tmp_path / "a" / "b").iterdir()] == ["kept.png"]
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(BadSetting, match="not writable"):
        make_out_folder(tmp_path / "a" / "b")


def test_a_file_is_no_output_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadSetting, match="is a file; give a folder"):
        make_out_folder(tmp_path / "file")
    with pytest.raises(BadSetting, match="cannot be created"):
        make_out_folder(tmp_path / "file" / "below")
