import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from gen.errors import BadInput, BadSetting
from gen.hda.adaptation import Adaptation
from gen.hda.pipeline import ADAPTATIONS, HDAPipeline
from gen.stylegan2.export import export_model
from gen.stylegan2.settings import StyleGAN2Settings
from gen.stylegan2.training import DISCRIMINATOR, GENERATOR, PATH, R1, StyleGAN2Trainer, latents
from gen.training.data import ImageData
from gen.training.frames import load_frames
from gen.training.settings import make_settings
from tests.stylegan2.conftest import write_pictures


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("data") / "boxes", 12, (90, 160, 90), size=40)


def settings(data: Path, out: Path, **changes: Any) -> StyleGAN2Settings:
    base = {
        "data": data, "out": out, "size": 32, "channel_multiplier": 0.016, "channel_max": 16, "z_dim": 16,
        "mapping_layers": 2, "batch": 4, "images": 32, "sample_every": 1000, "log_every": 8, "checkpoint_every": 1000,
        "distance_images": 0, "device": "cpu",
    }  # fmt: skip
    return make_settings(StyleGAN2Settings, base, changes)


class TestTraining:
    @pytest.mark.parametrize("changes", [{}, {"ada_target": 0.6}])
    def test_resume_is_exact(self, pictures: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
        whole = StyleGAN2Trainer(settings(pictures, tmp_path / "a", **changes))
        whole.fit()
        half = StyleGAN2Trainer(settings(pictures, tmp_path / "b", **changes))
        while half.images_shown < 20:
            half.train_one_step()
        half.save()
        rest = StyleGAN2Trainer(settings(pictures, tmp_path / "b", **changes))
        rest.fit()
        assert torch.equal(rest.augment_share, whole.augment_share)
        assert rest.images_shown == 32
        torch.testing.assert_close(rest.path_mean, whole.path_mean, atol=0, rtol=0)
        for name in ("generator", "discriminator"):
            for key, value in whole.raw[name].state_dict().items():
                torch.testing.assert_close(rest.raw[name].state_dict()[key], value, atol=0, rtol=0)
        for a, b in zip(whole.ema.weights, rest.ema.weights, strict=True):
            torch.testing.assert_close(a, b, atol=0, rtol=0)

    def test_learns_the_colour_of_its_pictures(self, pictures: Path, tmp_path: Path) -> None:
        """The mean image is green; a generator that starts at grey must learn that in a hundred steps."""
        trainer = StyleGAN2Trainer(settings(pictures, tmp_path, images=600, batch=8, path_weight=0, augment=False))
        target = torch.stack([trainer.data.image(i).float() for i in range(12)]).mean((0, 2, 3)) / 127.5 - 1

        def off() -> float:
            with torch.no_grad(), trainer.averaged_weights():
                drawn = trainer.generator(latents(range(64), 16))
            return float((drawn.mean((0, 2, 3)) - target).abs().mean())

        before = off()
        trainer.fit()
        assert off() < 0.5 * before

    def test_regularisation_happens_on_its_steps_alone(
        self, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        trainer = StyleGAN2Trainer(settings(pictures, tmp_path, r1_every=4, path_every=2))
        calls: list[tuple[str, int]] = []
        for name in ("_r1", "_path_penalty"):
            real = getattr(trainer, name)

            def noted(*inputs: Any, name: str = name, real: Any = real) -> Tensor:
                calls.append((name, trainer.images_shown // 4))
                return real(*inputs)

            monkeypatch.setattr(trainer, name, noted)
        trainer.fit()
        assert calls == [("_r1", 0), ("_path_penalty", 0), ("_path_penalty", 2), ("_r1", 4), ("_path_penalty", 4),
                         ("_path_penalty", 6)]  # fmt: skip

    def test_rates_are_corrected_beside_lazy_regularisation(self, pictures: Path, tmp_path: Path) -> None:
        trainer = StyleGAN2Trainer(settings(pictures, tmp_path, lr=0.002, r1_every=16, path_weight=0))
        assert trainer.learning_rate("discriminator", 0.5) == pytest.approx(0.002 * 16 / 17)
        assert trainer.learning_rate("generator", 0.5) == 0.002
        assert trainer.optimizers["discriminator"].param_groups[0]["betas"] == (0.0, 0.99 ** (16 / 17))

    def test_half_life_of_the_average_ramps_up(self, pictures: Path, tmp_path: Path) -> None:
        trainer = StyleGAN2Trainer(settings(pictures, tmp_path, ema_half_life=100, ema_ramp=0.5))
        assert trainer.ema.decay(0) == 0
        assert trainer.ema.decay(40) == pytest.approx(0.5 ** (4 / 20))
        assert trainer.ema.decay(10_000) == pytest.approx(0.5 ** (4 / 100))

    def test_the_average_has_the_half_life_of_the_settings(self, pictures: Path, tmp_path: Path) -> None:
        """From the first step on: the warm-up schedule of diffusers' EMAModel is not used."""
        trainer = StyleGAN2Trainer(settings(pictures, tmp_path, ema_half_life=4, ema_ramp=None, path_weight=0))
        name, weight = "constant", trainer.generator.constant
        expected = weight.detach().clone()
        index = [n for n, _ in trainer.generator.named_parameters()].index(name)
        for step in range(4):
            trainer.train_one_step()
            expected = weight.detach().clone() if step == 0 else 0.5 * (expected + weight.detach())
            torch.testing.assert_close(trainer.ema.weights[index], expected)

    def test_r1_is_computed_in_float32(self, pictures: Path, tmp_path: Path) -> None:
        trainers = [StyleGAN2Trainer(settings(pictures, tmp_path / p, precision=p)) for p in ("fp32", "bf16")]
        penalties = [t._r1(t.data.batch(range(4)), t.draw(range(4))) for t in trainers]
        torch.testing.assert_close(*penalties, rtol=1e-6, atol=0)

    def test_fine_layers_take_another_style_in_most_samples(self, pictures: Path, tmp_path: Path) -> None:
        trainer = StyleGAN2Trainer(settings(pictures, tmp_path))
        draws, layers = trainer.draw(range(200)), trainer.generator.layers
        share = float((draws.crossing < layers).float().mean())
        assert 0.8 < share < 0.97
        assert draws.crossing.min() == 1
        ws, (coarse, fine) = trainer._styles(draws), trainer.generator.mapping(draws.z[7]).unbind(0)
        for layer in range(layers):
            wanted = coarse if layer < draws.crossing[7] else fine
            torch.testing.assert_close(ws[7, layer], wanted, atol=1e-5, rtol=1e-4)
        none = StyleGAN2Trainer(settings(pictures, tmp_path / "none", mixing=0.0)).draw(range(20))
        assert (none.crossing == layers).all()

    def test_a_run_may_be_made_longer(self, pictures: Path, tmp_path: Path) -> None:
        StyleGAN2Trainer(settings(pictures, tmp_path, images=8)).fit()
        longer = StyleGAN2Trainer(settings(pictures, tmp_path, images=16, distance_every=99))
        longer.fit()
        assert longer.images_shown == 16
        with pytest.raises(BadSetting, match="accumulate was 1 when this run began"):
            StyleGAN2Trainer(settings(pictures, tmp_path, accumulate=2)).fit()

    def test_random_numbers_depend_on_the_sample_alone(self, pictures: Path, tmp_path: Path) -> None:
        trainer = StyleGAN2Trainer(settings(pictures, tmp_path))
        together, alone = trainer.draw([5, 6, 7]), trainer.draw([6])
        torch.testing.assert_close(together.z[1:2], alone.z)
        torch.testing.assert_close(together.augment[:, 1:2], alone.augment)
        for a, b in zip(together.noise, alone.noise, strict=True):
            torch.testing.assert_close(a[1:2], b)
        assert [tuple(n.shape[1:]) for n in alone.noise] == [(1, r, r) for r in trainer.generator.noise_sizes]

    def test_each_update_draws_anew(self, pictures: Path, tmp_path: Path) -> None:
        trainer = StyleGAN2Trainer(settings(pictures, tmp_path))
        drawn = [trainer.draw([6], stream) for stream in (DISCRIMINATOR, GENERATOR, R1, PATH)]
        assert len({float(draws.z[0, 0, 0]) for draws in drawn}) == 4

    def test_distance_is_measured_on_the_way(self, pictures: Path, tmp_path: Path) -> None:
        run = settings(
            pictures, tmp_path, images=16, distance_every=8, distance_images=6, distance_features="efficientnet-lite0"
        )
        StyleGAN2Trainer(run).fit()
        lines = [line for line in (tmp_path / "metrics.jsonl").read_text().splitlines() if "frechet" in line]
        assert len(lines) == 2

    def test_sizes_are_powers_of_two(self, pictures: Path, tmp_path: Path) -> None:
        with pytest.raises(BadSetting, match="power of two"):
            StyleGAN2Trainer(settings(pictures, tmp_path, size=48))

    def test_there_must_be_channels(self, pictures: Path, tmp_path: Path) -> None:
        with pytest.raises(BadSetting, match="leaves no channels at 32 pixels"):
            StyleGAN2Trainer(settings(pictures, tmp_path, channel_multiplier=0.0005))

    @pytest.mark.parametrize("shape", [(60, 40), (40, 60)], ids=["portrait", "landscape"])
    def test_other_shapes_are_cut_to_their_middle_square(self, tmp_path: Path, shape: tuple[int, int]) -> None:
        height, width = shape
        picture = np.zeros((height, width, 3), np.uint8)
        picture[(height - 40) // 2 : (height + 40) // 2, (width - 40) // 2 : (width + 40) // 2] = 200
        (tmp_path / "data").mkdir()
        Image.fromarray(picture).save(tmp_path / "data" / "a.png")
        trainer = StyleGAN2Trainer(settings(tmp_path / "data", tmp_path / "run"))
        assert trainer.data.image(0).shape == (3, 32, 32)
        assert (trainer.data.image(0) == 200).all()


class TestExport:
    def test_model_folder(self, pictures: Path, tmp_path: Path) -> None:
        class Mine(StyleGAN2Trainer):
            pass

        trainer = Mine(settings(pictures, tmp_path / "run"))
        trainer.fit()
        out = tmp_path / "model"
        export_model(
            tmp_path / "run", out, False, pictures, 8, ["efficientnet-lite0"], "research only", ["It is tiny."]
        )
        pipe = HDAPipeline.from_pretrained(out)
        with torch.no_grad(), trainer.averaged_weights():
            expected = trainer.generator(latents([3], 16))
            mean = trainer.generator.mapping(latents(range(2000), 16)).mean(0)
        torch.testing.assert_close(pipe.generator(latents([3], 16)), expected, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(pipe.generator.w_average, mean, atol=0.1, rtol=0)
        card = (out / "MODEL_CARD.md").read_text()
        for text in (
            "12 images of",
            "32 images shown",
            "research only",
            "It is tiny.",
            "Fréchet distance",
            "Mine`, a file of its",
        ):
            assert text in card
        assert "12 training images:" in card
        assert "DiffAugment on" in card
        assert (out / "samples.jpg").is_file()
        other = shutil.copytree(pictures, tmp_path / "held-out")
        change = {"w_average": torch.ones_like(pipe.generator.w_average)}
        Adaptation("a", pipe.fingerprint, change, {}).save(out / ADAPTATIONS / "a.safetensors")
        assert HDAPipeline.from_pretrained(out).adaptations
        export_model(tmp_path / "run", out, False, other, 8, ["efficientnet-lite0"], "research only")
        card = (out / "MODEL_CARD.md").read_text()
        assert f"12 images of `{tmp_path.parent.name}/{tmp_path.name}/held-out`:" in card
        assert "training images" not in card.partition("## Distance")[2]
        half = HDAPipeline.from_pretrained(out, variant="fp16")
        assert half.fingerprint == pipe.fingerprint
        assert not half.adaptations  # the card is of the generator that was exported

    def test_the_card_names_the_augmentation_that_there_was(self, pictures: Path, tmp_path: Path) -> None:
        StyleGAN2Trainer(settings(pictures, tmp_path / "run", ada_target=0.6)).fit()
        export_model(tmp_path / "run", tmp_path / "model", True, None, 0, [], "research only")
        card = (tmp_path / "model" / "MODEL_CARD.md").read_text()
        assert "adaptive augmentation (ADA) with a target of 0.6" in card
        assert "DiffAugment" not in card

    def test_an_export_that_is_cut_off_leaves_no_card_of_the_old_weights(
        self, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        StyleGAN2Trainer(settings(pictures, tmp_path / "run")).fit()
        again = (tmp_path / "run", tmp_path / "model", False, pictures, 8, ["efficientnet-lite0"], "research only")
        export_model(*again)
        assert (tmp_path / "model" / "MODEL_CARD.md").is_file()

        def stop(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        before = {path: path.stat().st_mtime_ns for path in (tmp_path / "model").rglob("*")}
        for step in ("measure", "save_variants"):
            with monkeypatch.context() as patched:
                patched.setattr(f"gen.stylegan2.export.{step}", stop)
                with pytest.raises(KeyboardInterrupt):
                    export_model(*again)
        with pytest.raises(BadInput, match="no such folder"):
            export_model(*again[:3], tmp_path / "typo", *again[4:])
        after = {path: path.stat().st_mtime_ns for path in (tmp_path / "model").rglob("*")}
        assert after == before  # nothing was replaced yet

        monkeypatch.setattr("gen.stylegan2.export.write_card", stop)
        with pytest.raises(KeyboardInterrupt):
            export_model(*again)
        assert not (tmp_path / "model" / "MODEL_CARD.md").exists()

    def test_no_run(self, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match="no checkpoint here"):
            export_model(tmp_path, tmp_path / "out", False, None, 0, [], "")


class TestImageData:
    def test_an_epoch_shows_each_image_once_and_flips_about_half(self, pictures: Path, tmp_path: Path) -> None:
        frames = load_frames("images", pictures, tmp_path, 32, (32, 32), square=True)
        data = ImageData(frames, 32, seed=1, device=torch.device("cpu"))
        whole = torch.stack([data.image(i) for i in range(12)]).float() / 127.5 - 1
        for epoch in range(2):
            shown = data.batch(range(12 * epoch, 12 * epoch + 12))
            assert shown.shape == (12, 3, 32, 32)
            plain = (shown[:, None] - whole[None]).abs().amax((2, 3, 4)) < 0.01
            mirrored = (shown.flip(3)[:, None] - whole[None]).abs().amax((2, 3, 4)) < 0.01
            assert ((plain | mirrored).sum(0) == 1).all()
        unflipped = ImageData(frames, 32, seed=1, device=torch.device("cpu"), flip=False).batch(range(24))
        share = float(((unflipped - data.batch(range(24))).abs().amax((1, 2, 3)) > 0.01).float().mean())
        assert 0.2 < share < 0.8

    def test_latents_are_those_of_their_seeds(self) -> None:
        np.testing.assert_array_equal(latents([7, 8], 4)[1], latents([8], 4)[0])
