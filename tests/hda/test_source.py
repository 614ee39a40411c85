"""Which generator draws where only an adaptation is named."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from gen.hda.parsing import made_for
from gen.hda.settings import SHIPPED, GenerateSettings, InvertSettings


def write(path, source):
    save_file({"a": torch.zeros(1)}, path, metadata={"record": json.dumps({"settings": {"source": str(source)}})})
    return str(path)


BROKEN = ("[]", "{", '{"settings": 1}', "[" * 100_000)


class TestMadeFor:
    def test_a_shipped_generator_or_a_file(self, tmp_path):
        write(tmp_path / "a.safetensors", "stylegan2-faces64")
        assert made_for(tmp_path / "a.safetensors") == "stylegan2-faces64"
        (tmp_path / "generator.pt").write_bytes(b"")
        write(tmp_path / "b.safetensors", tmp_path / "generator.pt")
        assert made_for(tmp_path / "b.safetensors") == str(tmp_path / "generator.pt")

    def test_one_that_is_not_here(self, tmp_path):
        write(tmp_path / "a.safetensors", "runs/another/model")
        assert made_for(tmp_path / "a.safetensors") is None

    def test_no_such_record(self, tmp_path):
        for number, metadata in enumerate((None, *({"record": record} for record in BROKEN))):
            path = tmp_path / f"{number}.safetensors"
            save_file({"a": torch.zeros(1)}, path, metadata=metadata)
            assert made_for(path) is None
        (tmp_path / "cut.safetensors").write_bytes(b"\x08")
        assert made_for(tmp_path / "cut.safetensors") is None
        assert made_for(tmp_path / "none.safetensors") is None
        assert made_for(tmp_path) is None

    def test_a_class_and_a_folder(self, tmp_path):
        (tmp_path / "a.pkl").write_bytes(b"")
        assert made_for(Path(write(tmp_path / "a.safetensors", f"{tmp_path / 'a.pkl'}:3"))).endswith("a.pkl:3")
        model = tmp_path / "model"
        file = Path(write(tmp_path / "b.safetensors", model))
        model.mkdir()
        assert made_for(file) is None  # another folder of this name
        (model / "model_index.json").write_text("{}")
        assert made_for(file) == str(model)


class TestSource:
    def test_the_one_that_is_named_goes_before_the_adaptations(self, tmp_path):
        file = write(tmp_path / "a.safetensors", "stylegan2-faces64")
        for kind, more in ((GenerateSettings, {}), (InvertSettings, {"photos": ()})):
            assert kind(**more).source == SHIPPED
            assert kind(adaptation=(f"{file}:0.5",), **more).source == "stylegan2-faces64"
            assert kind(model="mine", adaptation=(file,), **more).source == "mine"

    def test_an_adaptation_of_one_that_is_not_here(self, tmp_path):
        assert GenerateSettings(adaptation=(write(tmp_path / "a.safetensors", "gone"),)).source == SHIPPED

    def test_a_shipped_adaptation(self):
        assert GenerateSettings(adaptation=("faces64-sketch-sunglasses",)).source == "stylegan2-faces64"
