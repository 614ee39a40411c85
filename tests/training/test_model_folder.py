"""Saving a model over what a folder holds."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from gen.errors import BadSetting
from gen.training.model_folder import save_model


def write_model(folder: Path, kind: str = "Ours", networks: tuple[str, ...] = ("net",), value: float = 1.0) -> None:
    """A pipeline of one number a network."""
    index = {"_class_name": kind} | {name: ["module", "Class"] for name in networks}
    for name in networks:
        (folder / name).mkdir(parents=True)
        save_file({"x": torch.full((1,), value)}, folder / name / "diffusion_pytorch_model.safetensors")
        (folder / name / "config.json").write_text("{}")
    (folder / "model_index.json").write_text(json.dumps(index))


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_model_replaces_one_of_its_kind(tmp_path):
    write_model(tmp_path / "m", networks=("net", "other"))
    (tmp_path / "m" / "training.json").write_text("{}")
    save_model(tmp_path / "m", lambda new: write_model(new, value=2.0), "model_index.json")
    assert sorted(tree(tmp_path / "m")) == [
        "model_index.json",
        "net/config.json",
        "net/diffusion_pytorch_model.safetensors",
    ]
    assert not (tmp_path / "m" / "other").exists()


def test_a_model_of_another_kind_stays(tmp_path):
    write_model(tmp_path / "m", kind="StableDiffusionPipeline", networks=("unet", "vae"))
    (tmp_path / "m" / "MODEL_CARD.md").write_text("mine")
    before = tree(tmp_path / "m")
    with pytest.raises(BadSetting, match=r"holds a model of another kind \(StableDiffusionPipeline\); choose another"):
        save_model(tmp_path / "m", write_model, "model_index.json")
    assert tree(tmp_path / "m") == before


@pytest.mark.parametrize("name", ["..", ".", "../precious", ""])
def test_an_index_that_names_other_folders(name, tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("keep")
    write_model(tmp_path / "model")
    index = tmp_path / "model" / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {name: ["x", "y"]}))
    save_model(tmp_path / "model", write_model, "model_index.json")
    assert (tmp_path / "precious" / "thesis.txt").read_text() == "keep"
    assert index.is_file()


def test_files_of_others_in_an_old_network_stay(tmp_path):
    write_model(tmp_path / "m", networks=("net", "other"))
    (tmp_path / "m" / "other" / "notes.txt").write_text("keep")
    save_model(tmp_path / "m", write_model, "model_index.json")
    assert sorted(path.name for path in (tmp_path / "m" / "other").iterdir()) == ["notes.txt"]
