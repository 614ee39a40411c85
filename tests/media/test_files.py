"""Output folders."""

import os
import socket
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from gen.errors import BadSetting
from gen.media import files
from gen.media.files import make_out_folder, write_atomically


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


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_a_file_of_weights_can_be_read_by_whom_the_umask_lets(tmp_path: Path, umask: int, mode: int) -> None:
    """Safetensors makes its files for their owner alone."""
    before = os.umask(umask)
    try:
        with write_atomically(tmp_path / "a.safetensors") as partial:
            save_file({"a": torch.zeros(1)}, partial)
    finally:
        os.umask(before)
    assert (tmp_path / "a.safetensors").stat().st_mode & 0o777 == mode
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


@pytest.mark.parametrize("other", ["a name that begins alike", "a container", "a machine of this name"])
def test_a_temporary_file_of_another_machine_or_container_stays(tmp_path, monkeypatch, other):
    """Their processes have numbers of their own: none that lives here."""
    monkeypatch.setattr(socket, "gethostname", lambda: "translate-night-drives-2026-long-7d9f8-aaaaa")
    theirs = tmp_path / f"{files._prefix()}999999999-0123456789ab.partial.mp4"
    theirs.touch()
    if other == "a name that begins alike":
        monkeypatch.setattr(socket, "gethostname", lambda: "translate-night-drives-2026-long-7d9f8-bbbbb")
    elif other == "a container":  # it shares the machine's name with --network=host
        monkeypatch.setattr(os, "readlink", lambda path: "pid:[4026532999]")
    else:
        monkeypatch.setattr(Path, "read_text", lambda path, **_: "0123456789abcdef")
    make_out_folder(tmp_path)
    assert theirs.exists()


def test_a_file_is_no_output_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadSetting, match="is a file; give a folder"):
        make_out_folder(tmp_path / "file")
    with pytest.raises(BadSetting, match="cannot be created"):
        make_out_folder(tmp_path / "file" / "below")
