import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from gen.errors import BadSetting
from gen.hda.encoders import channel_statistics, load_encoder, network_of
from gen.hda.templates import BARE, TEMPLATES
from gen.metrics.features import load_features
from gen.pretrained import LiteBackbone


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1


class TestLite:
    def test_folding_the_norms_changes_nothing(self) -> None:
        pictures = torch.randint(
            0, 256, (2, 3, 224, 224), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
        )
        expected = load_features("efficientnet-lite0")(pictures)
        backbone = LiteBackbone()
        found = backbone.pooled(backbone((pictures.float() - 127) / 128)[-1])
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)

    def test_grid_depends_on_position_and_pool_does_not(self) -> None:
        picture = torch.zeros(1, 3, 64, 64)
        picture[..., :20] = 1
        mirrored = picture.flip(3)
        grid, pooled = load_encoder("efficientnet-lite0-grid@64"), load_encoder("efficientnet-lite0@64")
        alike = [float((e(picture) * e(mirrored)).sum()) for e in (grid, pooled)]
        assert alike[0] < alike[1]

    def test_style_depends_on_colour_and_not_on_position(self) -> None:
        generator = torch.Generator().manual_seed(0)
        picture = torch.rand(1, 3, 64, 64, generator=generator) * 2 - 1
        grey = picture.mean(1, keepdim=True).expand_as(picture)
        turned = picture.flip(2, 3)
        style = load_encoder("efficientnet-lite0-style@64")
        place, colour = (float((style(picture) - style(x)).norm()) for x in (turned, grey))
        assert colour > 3 * place

    def test_values_outside_may_only_come_back(self) -> None:
        encoder = load_encoder("squeezenet")
        images = (torch.rand(2, 3, 64, 64) * 4 - 2).requires_grad_()
        encoder(images)[:, :5].sum().backward()
        gradient, x = images.grad, images.detach()
        assert gradient is not None
        assert (gradient[x > 1] >= 0).all()
        assert (gradient[x < -1] <= 0).all()
        for outside in (x > 1, x < -1):
            assert 0.2 < float((gradient[outside] != 0).float().mean()) < 0.8
        again = x.clamp(-1, 1).requires_grad_()
        encoder(again)[:, :5].sum().backward()
        assert again.grad is not None
        torch.testing.assert_close(gradient[x.abs() < 1], again.grad[x.abs() < 1])

    def test_channel_statistics(self) -> None:
        x = torch.rand(2, 3, 5, 7, dtype=torch.float64)
        pixels = x.flatten(2).numpy()
        wanted = np.concatenate([pixels.mean(2), np.sqrt(pixels.var(2) + 1e-6)], 1)
        np.testing.assert_allclose(channel_statistics(x).numpy(), wanted)

    def test_with_tokens_gives_the_same_features(self, images: torch.Tensor) -> None:
        encoder = load_encoder("efficientnet-lite0@64")
        torch.testing.assert_close(encoder.with_tokens(images).features, encoder(images))

    def test_tokens_keep_positions(self, images: torch.Tensor) -> None:
        assert load_encoder("efficientnet-lite0@128").with_tokens(images).tokens.shape == (3, 64, 112)


class TestEvery:
    @pytest.mark.parametrize(
        "name", ["efficientnet-lite0@64", "efficientnet-lite0-grid@96", "efficientnet-lite0-style@64", "squeezenet@96"]
    )
    def test_features_have_length_one_and_gradients_reach_the_picture(self, name: str, images: torch.Tensor) -> None:
        encoder = load_encoder(name)
        picture = images.clone().requires_grad_(True)
        features = encoder(picture)
        torch.testing.assert_close(features.norm(dim=1), torch.ones(3))
        features[:, :50].sum().backward()
        assert picture.grad is not None
        assert picture.grad.abs().sum() > 0
        assert not any(p.requires_grad for p in encoder.parameters())

    def test_stays_in_evaluation_mode(self, images: torch.Tensor) -> None:
        encoder = load_encoder("squeezenet@96")
        before = encoder(images)
        torch.testing.assert_close(encoder.train()(images), before)

    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("vgg", "unknown encoder 'vgg'; available"),
            ("efficientnet-lite0@100", "multiple of 32"),
            ("efficientnet-lite0@big", "size in pixels"),
            ("timm", "unknown encoder 'timm'; did you mean timm:MODEL"),
            ("clip:/no/such/folder", "not found"),
        ],
    )
    def test_bad_names(self, name: str, reason: str) -> None:
        with pytest.raises(BadSetting, match=reason):
            load_encoder(name)

    def test_not_every_encoder_has_tokens(self, images: torch.Tensor) -> None:
        with pytest.raises(BadSetting, match="no patch tokens"):
            load_encoder("squeezenet").with_tokens(images)


class TestTransformers:
    def test_clip_equals_transformers(self, clip_folder: Path, images: torch.Tensor) -> None:
        from transformers import CLIPModel

        encoder = load_encoder(f"clip:{clip_folder}")
        network: Any = CLIPModel.from_pretrained(clip_folder)
        prepared = encoder.prepared(images)
        assert prepared.shape[2:] == (32, 32)
        out: Any = network.get_image_features(pixel_values=prepared)
        expected = F.normalize(out if isinstance(out, torch.Tensor) else out.pooler_output, dim=1)
        torch.testing.assert_close(encoder(images), expected)

    def test_clip_at_another_size(self, clip_folder: Path, images: torch.Tensor) -> None:
        assert load_encoder(f"clip:{clip_folder}@64")(images).shape == (3, 12)

    def test_words_are_features_of_length_one(self, clip_folder: Path) -> None:
        encoder: Any = load_encoder(f"clip:{clip_folder}")
        angry, sketch = encoder.text("an angry face"), encoder.text("a sketch")
        assert float(angry.norm()) == pytest.approx(1)
        assert not torch.allclose(angry, sketch)

    def test_words_in_all_templates_are_the_mean_over_single_sentences(self, clip_folder: Path) -> None:
        """By StyleGAN-NADA's rule, one sentence after another: the mean of the differences of features of length one.

        Several sentences at once are padded to one length, which must change nothing.
        """
        from transformers import CLIPModel

        network: Any = CLIPModel.from_pretrained(clip_folder)
        vocabulary = json.loads((clip_folder / "tokenizer.json").read_text())["model"]["vocab"]

        @torch.no_grad()
        def feature(sentence: str) -> np.ndarray[Any, Any]:
            ids = [vocabulary[word] for word in re.findall(r"\w+|[^\w\s]+", sentence)]
            out: Any = network.get_text_features(input_ids=torch.tensor([[0, *ids, 1]]))
            x = (out if isinstance(out, torch.Tensor) else out.pooler_output).double().numpy()[0]
            return x / np.linalg.norm(x)

        assert len(set(TEMPLATES)) == 79
        target, source = ([feature(t.replace("{}", w)) for t in TEMPLATES] for w in ("angry face", "photo"))
        encoder: Any = load_encoder(f"clip:{clip_folder}")
        found = [encoder.text(words, TEMPLATES).double().numpy() for words in ("angry face", "photo")]
        np.testing.assert_allclose(found[0], np.mean(target, 0), atol=1e-6)
        direction = np.mean([t - s for t, s in zip(target, source, strict=True)], 0)
        np.testing.assert_allclose(found[0] - found[1], direction, atol=1e-6)
        bare = encoder.text("angry face").double().numpy()
        np.testing.assert_allclose(bare, feature("angry face"), atol=1e-6)
        assert np.abs(bare - found[0]).max() > 1e-2

    def test_a_domain_by_words_uses_the_templates_unless_told_otherwise(
        self, clip_folder: Path, tmp_path: Path
    ) -> None:
        from gen.hda.training import HDATrainer
        from tests.hda.test_training import settings
        from tests.stylegan2.conftest import tiny_generator

        encoder: Any = load_encoder(f"clip:{clip_folder}")
        for templates, changes in ((TEMPLATES, {}), (BARE, {"text_templates": False})):
            run = settings(tmp_path / "run", ["angry=text:angry face"], encoders=[f"clip:{clip_folder}"], **changes)
            target = HDATrainer(run, tiny_generator()).targets[0][0]
            assert target is not None
            expected = encoder.text("angry face", templates) - encoder.text("photo", templates)
            torch.testing.assert_close(target.direction, expected)

    def test_words_that_cannot_be_a_domain(self, clip_folder: Path, tmp_path: Path) -> None:
        from gen.hda.training import HDATrainer
        from tests.hda.test_training import settings
        from tests.stylegan2.conftest import tiny_generator

        for words, told in (("photo " * 30, "tokens of text"), ("photo", "source_words")):
            run = settings(tmp_path / "run", [f"same=text:{words}"], encoders=[f"clip:{clip_folder}"])
            with pytest.raises(BadSetting, match=told):
                HDATrainer(run, tiny_generator())

    def test_dino_gives_class_token_and_patch_tokens(self, tmp_path: Path, images: torch.Tensor) -> None:
        from transformers import Dinov2Config, Dinov2Model

        torch.manual_seed(0)
        small = Dinov2Config(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14)
        Dinov2Model(small).save_pretrained(tmp_path)
        encoder = load_encoder(f"dinov2:{tmp_path}@56")
        assert encoder(images).shape == (3, 16)
        assert encoder.with_tokens(images).tokens.shape == (3, 16, 16)
        with pytest.raises(BadSetting, match="multiple of 14"):
            load_encoder(f"dinov2:{tmp_path}@60")

    def test_a_domain_by_words_is_approached(self, clip_folder: Path, tmp_path: Path) -> None:
        from gen.hda.training import HDATrainer
        from tests.hda.test_training import settings
        from tests.stylegan2.conftest import tiny_generator

        run = settings(
            tmp_path / "run", ["angry=text:an angry face"], encoders=[f"clip:{clip_folder}"], images=160, lr=0.02
        )
        trainer = HDATrainer(run, tiny_generator())
        trainer.fit()
        assert trainer.progress["angry"] > 0.1  # the cosine of the way taken to the way wanted

    def test_words_beside_pictures_with_the_structure_loss(self, clip_folder: Path, tmp_path: Path, red: Path) -> None:
        """UniHDA: CLIP encodes the words, every encoder the images, and CLIP's patch tokens give the structure loss."""
        from gen.hda.training import HDATrainer
        from tests.hda.test_training import settings
        from tests.stylegan2.conftest import tiny_generator

        run = settings(
            tmp_path / "run", ["angry=text:an angry face", f"red={red}"], images=160,
            encoders=[f"clip:{clip_folder}", "efficientnet-lite0@64"], structure_weight=0.1,
        )  # fmt: skip
        trainer = HDATrainer(run, tiny_generator())
        terms, _ = trainer.terms(trainer.latents(range(4)))
        assert terms.keys() == {"direction/angry", "distance/red", "direction/red", "structure", "grid"}
        trainer.fit()
        assert all(value > 0.01 for value in trainer.progress.values()), trainer.progress

    def test_names_of_one_network(self) -> None:
        assert network_of("efficientnet-lite0-grid@96") == network_of("efficientnet-lite0") == "efficientnet-lite0"
        assert network_of("clip") == network_of("clip:openai/clip-vit-base-patch32@64")
        assert network_of("squeezenet") != network_of("efficientnet-lite0")


def test_timm_models_by_name(images: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    timm: Any = pytest.importorskip("timm")
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained, **k: create(name, pretrained=False, **k))
    assert load_encoder("timm:resnet18@64")(images).shape == (3, 512)
