from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gen.errors import BadInput, BadSetting
from gen.hda.adaptation import Adaptation, blend, difference, fingerprint
from gen.hda.pipeline import HDAPipeline
from gen.seeds import parse_seeds
from gen.stylegan2.networks import StyleGAN2Generator
from tests.stylegan2.conftest import tiny_generator


def moved(source: StyleGAN2Generator, seed: int, size: float = 0.1) -> StyleGAN2Generator:
    """The generator with its convolutions moved at random."""
    other = StyleGAN2Generator(**source.settings())
    other.load_state_dict(source.state_dict())
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in other.named_parameters():
            if name.startswith("convs."):
                p += size * torch.randn(p.shape, generator=random)
    return other.eval()


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Two adaptations of the tiny generator."""
    source = tiny_generator()
    paths: list[Path] = []
    for seed, name in enumerate(("sketch", "glasses")):
        change = difference(source, moved(source, seed))
        paths.append(tmp_path / f"{name}.safetensors")
        Adaptation(name, fingerprint(source), change, {"seed": seed}).save(paths[-1])
    return paths


class TestAdaptation:
    def test_holds_only_what_changed(self, generator: StyleGAN2Generator) -> None:
        change = difference(generator, moved(generator, 0))
        assert change
        assert all(key.startswith("convs.") and not key.endswith(".noise") for key in change)

    def test_file_is_half_precision_and_keeps_the_record(self, files: list[Path]) -> None:
        loaded = Adaptation.load(files[0])
        assert loaded.name == "sketch"
        assert loaded.record == {"seed": 0}
        assert {v.dtype for v in loaded.difference.values()} == {torch.float16}
        exact = difference(tiny_generator(), moved(tiny_generator(), 0))
        for key, value in exact.items():
            torch.testing.assert_close(loaded.difference[key].float(), value, atol=1e-6, rtol=1e-3)

    def test_fingerprint_survives_half_precision_and_sees_a_change(self, generator: StyleGAN2Generator) -> None:
        before = fingerprint(generator)
        half = tiny_generator()
        torch.nn.Module.half(half)
        assert fingerprint(half) == before
        assert fingerprint(moved(generator, 0, size=0.01)) != before

    @pytest.mark.parametrize("content", [b"", b"not safetensors at all", b"\x08\0\0\0\0\0\0\0{}      "])
    def test_other_files_are_refused(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "x.safetensors"
        path.write_bytes(content)
        with pytest.raises(BadInput, match=r"x\.safetensors"):
            Adaptation.load(path)
        with pytest.raises(BadInput, match="unknown adaptation"):
            Adaptation.load(tmp_path / "none.safetensors")

    def test_a_name_cannot_lead_out_of_a_folder(self, model: Path, tmp_path: Path) -> None:
        pipe = HDAPipeline.from_pretrained(model)
        Adaptation("../../pwned", pipe.fingerprint, {"constant": torch.ones(1)}, {}).save(tmp_path / "x.safetensors")
        with pytest.raises(BadInput, match=r"x\.safetensors: this file was not written by"):
            pipe.load_adaptation(tmp_path / "x.safetensors")
        Adaptation("x", pipe.fingerprint, {}, {}).save(tmp_path / "y.safetensors")
        with pytest.raises(BadSetting, match="letters, digits"):
            pipe.load_adaptation(tmp_path / "y.safetensors", name="../y")

    def test_of_another_shape_is_refused(self, generator: StyleGAN2Generator) -> None:
        odd = Adaptation("odd", "", {"constant": torch.ones(1, 2, 4, 4)}, {})
        with pytest.raises(BadInput, match=r"another shape \(constant\)"):
            blend(generator, generator.state_dict(), [(odd, 1.0)])


class TestStrength:
    def test_zero_is_the_source_bit_for_bit(self, model: Path, files: list[Path]) -> None:
        pipe = HDAPipeline.from_pretrained(model)
        source = pipe(seeds=[1, 2], output_type="np").images
        for file in files:
            pipe.load_adaptation(file)
        assert any((a != b).any() for a, b in zip(source, pipe(seeds=[1, 2], output_type="np").images, strict=True))
        pipe.set_strengths(0.0)
        for key, value in pipe.generator.state_dict().items():
            torch.testing.assert_close(value, pipe.source[key], atol=0, rtol=0)
        np.testing.assert_array_equal(source, pipe(seeds=[1, 2], output_type="np").images)

    @pytest.mark.parametrize("strength", [0.25, 1.0, 1.5])
    def test_moves_along_the_line_between_the_weights(self, model: Path, files: list[Path], strength: float) -> None:
        pipe = HDAPipeline.from_pretrained(model)
        pipe.load_adaptation(files[0], strength)
        target = moved(tiny_generator(), 0).state_dict()
        for key, value in pipe.generator.state_dict().items():
            expected = pipe.source[key] + strength * (target[key] - pipe.source[key])
            torch.testing.assert_close(value, expected, atol=1e-3, rtol=1e-3)

    def test_strengths_of_a_half_average_two_models(self, model: Path, files: list[Path]) -> None:
        pipe = HDAPipeline.from_pretrained(model)
        names = [pipe.load_adaptation(file) for file in files]
        pipe.set_strengths(dict.fromkeys(names, 0.5))
        models = [moved(tiny_generator(), seed).state_dict() for seed in (0, 1)]
        for key, value in pipe.generator.state_dict().items():
            torch.testing.assert_close(value, (models[0][key] + models[1][key]) / 2, atol=1e-3, rtol=1e-3)

    def test_unknown_names_are_refused(self, model: Path, files: list[Path]) -> None:
        pipe = HDAPipeline.from_pretrained(model)
        pipe.load_adaptation(files[0])
        with pytest.raises(BadSetting, match="unknown adaptation 'baby'; loaded: sketch"):
            pipe.set_strengths({"baby": 1.0})

    def test_of_another_generator_is_refused(self, files: list[Path]) -> None:
        with pytest.raises(BadInput, match="belongs to the generator"):
            HDAPipeline(tiny_generator(seed=9)).load_adaptation(files[0])


class TestDrawing:
    def test_a_seed_gives_the_same_image_in_any_batch(self, model: Path) -> None:
        pipe = HDAPipeline.from_pretrained(model)
        together = pipe(seeds=range(5), output_type="np").images
        alone = pipe(seeds=3, output_type="np").images
        assert len(alone) == 1
        assert np.abs(together[3].astype(int) - alone[0].astype(int)).max() <= 1

    def test_latents_draw_the_picture_again(self, model: Path) -> None:
        pipe = HDAPipeline.from_pretrained(model)
        out = pipe(seeds=[4], output_type="np")
        again = pipe(latents=out.latents, output_type="np")
        np.testing.assert_array_equal(out.images, again.images)

    def test_kinds_of_output(self, model: Path) -> None:
        pipe = HDAPipeline.from_pretrained(model)
        picture, array, tensor = (pipe(seeds=[0], output_type=kind).images[0] for kind in ("pil", "np", "pt"))
        assert picture.size == (32, 32)
        np.testing.assert_array_equal(np.asarray(picture), array)
        assert tensor.shape == (3, 32, 32)
        assert 0 <= float(tensor.min()) <= float(tensor.max()) <= 1

    def test_either_seeds_or_latents(self, model: Path) -> None:
        pipe = HDAPipeline.from_pretrained(model)
        for arguments in ({}, {"seeds": [0], "latents": torch.zeros(1, 16)}):
            with pytest.raises(BadSetting, match="give either seeds or latents"):
                pipe(**arguments)

    def test_a_model_folder_brings_its_adaptations(self, model: Path, files: list[Path], tmp_path: Path) -> None:
        pipe = HDAPipeline.from_pretrained(model)
        for file, strength, name in zip(files, (0.3, 0.5), ("a", "b"), strict=True):
            pipe.load_adaptation(file, strength, name)
        pictures = pipe(seeds=[0], output_type="np").images
        pipe.save_pretrained(tmp_path / "full")
        np.testing.assert_array_equal(pictures, pipe(seeds=[0], output_type="np").images)  # saving changed nothing
        again = HDAPipeline.from_pretrained(tmp_path / "full")
        assert again.strengths == {"a": 0.3, "b": 0.5}
        assert again.fingerprint == pipe.fingerprint
        difference = np.abs(np.asarray(pictures, int) - np.asarray(again(seeds=[0], output_type="np").images, int))
        assert difference.max() <= 1
        HDAPipeline.from_pretrained(model).save_pretrained(tmp_path / "full")  # over it, without adaptations
        assert not HDAPipeline.from_pretrained(tmp_path / "full").adaptations

    def test_a_model_of_another_kind_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "model_index.json").write_text('{"_class_name": "AUGANPipeline"}')
        with pytest.raises(BadInput, match="not a StyleGAN model"):
            HDAPipeline.from_pretrained(tmp_path)


class TestSeeds:
    def test_numbers_and_ranges(self) -> None:
        assert parse_seeds("0-3, 8,10-10") == [0, 1, 2, 3, 8, 10]

    @pytest.mark.parametrize("text", ["", "a", "3-", "-3", "1,,2", "5-2", "²"])
    def test_nonsense(self, text: str) -> None:
        with pytest.raises(BadSetting, match="seeds"):
            parse_seeds(text)

    @given(st.lists(st.integers(0, 10**6), min_size=1, max_size=20))
    def test_round_trip_of_a_list(self, seeds: list[int]) -> None:
        assert parse_seeds(",".join(map(str, seeds))) == seeds
