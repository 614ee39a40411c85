"""`gen adapt` without --encoder: CLIP where it is on this machine, else EfficientNet-Lite0, and never the network."""

import json
import shutil
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from gen import weights
from gen.cli import main
from gen.errors import BadSetting
from gen.hda.adaptation import Adaptation
from gen.hda.default_encoders import CLIP, default_encoders
from gen.hda.encoders import load_encoder
from gen.hda.settings import HDASettings

FAST = ["--set", "images=8", "--set", "batch=4", "--set", "device=cpu", "--set", "checkpoint_every=4"]
NAME = "clip-vit-base-patch32"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, and a network that nobody may ask."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError(f"asked the network: {args}")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    return tmp_path / "hub"


def downloaded(cache: Path, clip: Path) -> Path:
    """Puts CLIP into the cache as huggingface_hub lays it out; returns its folder."""
    repository = cache / f"models--openai--{NAME}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268")
    folder = repository / "snapshots" / "3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268"
    shutil.copytree(clip, folder)
    return folder


class TestChoice:
    def test_nothing_here(self, tmp_path: Path) -> None:
        names, why = default_encoders(tmp_path / "run")
        assert names == HDASettings.encoders
        assert "CLIP is not on this machine" in why

    def test_in_the_cache_of_the_hub(self, tmp_path: Path, cache: Path, clip_folder: Path) -> None:
        folder = downloaded(cache, clip_folder)
        assert default_encoders(tmp_path / "run") == (CLIP, f"encoders: clip-vit-b32, from {folder}")

    def test_in_a_weights_folder(self, tmp_path: Path, clip_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        shutil.copytree(clip_folder, tmp_path / "weights" / NAME)
        monkeypatch.setenv("GEN_WEIGHTS", str(tmp_path / "weights"))
        assert default_encoders(tmp_path / "run") == (
            CLIP,
            f"encoders: clip-vit-b32, from {tmp_path / 'weights' / NAME}",
        )

    @pytest.mark.parametrize("missing", ["config.json", "model.safetensors", "tokenizer.json"])
    def test_a_part_is_not_enough(self, cache: Path, clip_folder: Path, missing: str) -> None:
        folder = downloaded(cache, clip_folder)
        assert weights.clip_folder() == folder
        (folder / missing).unlink()
        assert weights.clip_folder() is None

    def test_no_path_is_looked_for_under_its_last_part(self, tmp_path: Path, clip_folder: Path) -> None:
        shutil.copytree(clip_folder, tmp_path / "weights" / NAME)
        for name in (f"/no/{NAME}", NAME, f"../{NAME}", f"a/b/{NAME}"):
            assert weights.network_folder(name) is None

    def test_a_run_whose_clip_has_gone(self, tmp_path: Path) -> None:
        (tmp_path / "settings.json").write_text(json.dumps({"settings": {"encoders": ["squeezenet", "clip@96"]}}))
        told = (
            "encoder clip@96: the run in .* began with it, but it is no longer on this machine; get it again with: hf"
        )
        with pytest.raises(BadSetting, match=told):
            default_encoders(tmp_path)

    def test_a_run_keeps_its_encoders(self, tmp_path: Path, cache: Path, clip_folder: Path) -> None:
        record = {"settings": {"encoders": ["squeezenet@96"]}}
        (tmp_path / "settings.json").write_text(json.dumps(record))
        downloaded(cache, clip_folder)
        names, why = default_encoders(tmp_path)
        assert names == ("squeezenet@96",)
        assert "as when this run began" in why
        (tmp_path / "settings.json").write_text('{"settings": {"encoders": [3]}}')  # of something else
        assert default_encoders(tmp_path)[0] == CLIP


class TestAdapt:
    def test_uses_clip_says_so_and_reads_words(
        self, model: Path, tmp_path: Path, cache: Path, clip_folder: Path, red: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        folder = downloaded(cache, clip_folder)
        domains = ["--domain", f"red={red}", "--domain", "angry=text:angry face"]
        command = ["adapt", "--model", str(model), *domains, "--out", str(tmp_path / "run"), *FAST]
        assert main(command) == 0
        said = capsys.readouterr().out
        assert f"encoders: clip-vit-b32, from {folder}" in said
        assert "encoder clip:openai/clip-vit-base-patch32 at 32 pixels" in said
        record = Adaptation.load(tmp_path / "run" / "adaptation.safetensors").record
        assert record["settings"]["encoders"] == ["clip-vit-b32"]
        assert record["encoders"] == ["clip:openai/clip-vit-base-patch32"]
        assert set(record["progress"]) == {"red", "angry"}

    def test_a_resumed_run_keeps_its_own(
        self, model: Path, tmp_path: Path, cache: Path, clip_folder: Path, red: Path,
        capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        monkeypatch.setattr(HDASettings, "encoders", ("efficientnet-lite0@64",))  # the real ones take their time
        command = ["adapt", "--model", str(model), "--domain", f"red={red}", "--out", str(tmp_path / "run"), *FAST]
        assert main(command) == 0
        assert "because CLIP is not on this machine" in capsys.readouterr().out
        downloaded(cache, clip_folder)
        assert main([*command, "--set", "images=16"]) == 0
        said = capsys.readouterr().out
        assert "encoders: efficientnet-lite0@64, as when this run began" in said
        assert "at 8 of 16 images" in said
        record = Adaptation.load(tmp_path / "run" / "adaptation.safetensors").record
        assert (record["samples"], record["encoders"]) == (16, ["efficientnet-lite0"])
        assert main([*command, "--encoder", "clip"]) == 1  # the run cannot go on with another one
        assert "encoders was" in capsys.readouterr().err

    @pytest.mark.parametrize("given", [["--encoder", "squeezenet@96"], ["--set", 'encoders=["squeezenet@96"]']])
    def test_what_is_asked_for_is_used(
        self, model: Path, tmp_path: Path, cache: Path, clip_folder: Path, red: Path, given: list[str],
        capsys: pytest.CaptureFixture[str],
    ) -> None:  # fmt: skip
        downloaded(cache, clip_folder)
        command = ["adapt", "--model", str(model), "--domain", f"red={red}", "--out", str(tmp_path / "run"), *FAST]
        assert main([*command, *given, "--set", "structure_weight=0", "--check"]) == 0
        said = capsys.readouterr().out
        assert "encoder squeezenet at 96 pixels" in said
        assert "clip" not in said

    def test_damaged_weights_are_named(
        self, model: Path, tmp_path: Path, cache: Path, clip_folder: Path, red: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        damaged = downloaded(cache, clip_folder) / "model.safetensors"
        damaged.write_bytes(damaged.read_bytes()[:1000])
        command = ["adapt", "--model", str(model), "--domain", f"red={red}", "--out", str(tmp_path / "run"), *FAST]
        assert main(command) == 1
        said = capsys.readouterr().err
        assert f"{damaged.parent} has no such model, or a damaged one" in said
        assert "Traceback" not in said


class TestNamed:
    def test_what_is_here_is_loaded_without_a_question(self, cache: Path, clip_folder: Path) -> None:
        downloaded(cache, clip_folder)
        encoder = load_encoder("clip")
        assert encoder.name == "clip:openai/clip-vit-base-patch32"
        assert encoder.text("angry face").shape == (12,)  # pyright: ignore[reportCallIssue]

    def test_the_older_form_of_the_weights(self, cache: Path, clip_folder: Path) -> None:
        """transformers would ask the hub for a newer form, in a thread, if it knew that the folder is of the cache."""
        folder = downloaded(cache, clip_folder)
        expected = load_encoder("clip").state_dict()
        state = load_file(folder / "model.safetensors")
        (folder / "model.safetensors").unlink()
        torch.save(state, folder / "pytorch_model.bin")
        found = load_encoder("clip").state_dict()
        assert all(torch.equal(found[name], x) for name, x in expected.items())
        assert not [thread for thread in threading.enumerate() if "conversion" in thread.name]

    def test_a_download_is_announced(self, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        with pytest.raises(
            BadSetting, match="encoder openai/clip-vit-base-patch16: not found, and the download failed"
        ):
            load_encoder("clip-vit-b16")
        assert "clip-vit-base-patch16: not on this machine, or not all of it; it is downloaded" in caplog.text


def test_doctor_says_which(cache: Path, clip_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    assert (
        "network  CLIP, openai/clip-vit-base-patch32, is not on this machine; `gen adapt` uses Ef"
        in capsys.readouterr().out
    )
    folder = downloaded(cache, clip_folder)
    assert main(["doctor"]) == 0
    assert f"network  CLIP, openai/clip-vit-base-patch32, in {folder}; `gen adapt` uses it" in capsys.readouterr().out
