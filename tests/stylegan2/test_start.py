"""Training that starts from a smaller generator, and the projected discriminator."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from gen.errors import BadSetting
from gen.stylegan2.export import export_model
from gen.stylegan2.networks import upsample
from gen.stylegan2.settings import StyleGAN2Settings
from gen.stylegan2.training import DISCRIMINATOR, GENERATOR, StyleGAN2Trainer, latents
from tests.stylegan2.conftest import write_pictures
from tests.stylegan2.test_training import settings


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("data") / "boxes", 12, (90, 160, 90), size=80)


@pytest.fixture(scope="module")
def small(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model for images of 32 pixels."""
    folder = tmp_path_factory.mktemp("small")
    StyleGAN2Trainer(settings(pictures, folder / "run", images=16)).fit()
    export_model(
        folder / "run", folder / "model", half=False, data=None, count=0, features=(), weights_license="unstated"
    )
    return folder / "model"


def projected(pictures: Path, out: Path, **changes: Any) -> StyleGAN2Settings:
    base = {"size": 64, "adversary": "projected", "r1_gamma": 0, "path_weight": 0, "projected_width": 8}
    return settings(pictures, out, **base | changes)


def test_a_larger_generator_begins_with_the_images_of_the_smaller(pictures: Path, small: Path, tmp_path: Path) -> None:
    trainer = StyleGAN2Trainer(settings(pictures, tmp_path / "large", size=64, start_from=small))
    same = StyleGAN2Trainer(settings(pictures, tmp_path / "same", start_from=small))
    z = latents(range(4), 16)
    with torch.no_grad():
        drawn, theirs = trainer.generator(z), same.generator(z)
        torch.testing.assert_close(drawn, upsample(theirs), atol=1e-5, rtol=0)
        with trainer.averaged_weights():
            torch.testing.assert_close(trainer.generator(z), drawn)
    trainer.train_one_step()
    fine = trainer.raw["generator"].to_rgbs[-1].conv.weight
    assert fine.abs().max() > 0  # the new level learns


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"z_dim": 8}, "z_dim: must be 16"),
        ({"mapping_layers": 3}, "mapping_layers: must be 2"),
        ({"channel_max": 8}, "channel_max: must give"),
        ({"start_from": Path("no-such-model")}, "start_from: "),
    ],
)
def test_a_start_that_does_not_fit_is_told(
    pictures: Path, small: Path, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(BadSetting, match=words):
        StyleGAN2Trainer(settings(pictures, tmp_path, **{"size": 64, "start_from": small} | changes))


def test_a_start_for_larger_images_is_told(pictures: Path, tmp_path: Path) -> None:
    run = StyleGAN2Trainer(settings(pictures, tmp_path / "run", size=64, images=4))
    run.fit()
    export_model(tmp_path / "run", tmp_path / "model", False, None, 0, (), "unstated")
    with pytest.raises(BadSetting, match="size: must be at least 64"):
        StyleGAN2Trainer(settings(pictures, tmp_path / "small", start_from=tmp_path / "model"))


def test_a_resumed_run_keeps_what_it_has_learned(pictures: Path, small: Path, tmp_path: Path) -> None:
    """It neither starts again nor needs the model."""
    chosen = projected(pictures, tmp_path / "run", start_from=small, images=12)
    whole = StyleGAN2Trainer(projected(pictures, tmp_path / "whole", start_from=small, images=12))
    whole.fit()
    half = StyleGAN2Trainer(chosen)
    half.train_one_step()
    half.save()
    rest = StyleGAN2Trainer(chosen)
    rest.fit()
    for name in ("generator", "discriminator"):
        for key, value in whole.raw[name].state_dict().items():
            torch.testing.assert_close(rest.raw[name].state_dict()[key], value, atol=0, rtol=0)
    assert not any("backbone" in key for key in whole.raw["discriminator"].state_dict())


def test_warm_up_trains_the_discriminator_alone(pictures: Path, small: Path, tmp_path: Path) -> None:
    trainer = StyleGAN2Trainer(projected(pictures, tmp_path, start_from=small, warm_up=4))
    before = {name: _copied(trainer, name) for name in ("generator", "discriminator")}

    def changed(name: str) -> bool:
        return any(not torch.equal(x, y) for x, y in zip(before[name], _copied(trainer, name), strict=True))

    trainer.train_one_step()
    assert not changed("generator")
    assert changed("discriminator")
    trainer.train_one_step()
    assert changed("generator")


def _copied(trainer: StyleGAN2Trainer, name: str) -> list[torch.Tensor]:
    return [p.detach().clone() for p in trainer.raw[name].parameters()]


def test_projected_losses(pictures: Path, tmp_path: Path) -> None:
    """The sum over scales of the hinge losses of all patches, on the frozen network's maps."""
    trainer = StyleGAN2Trainer(projected(pictures, tmp_path, augment=False))
    samples = range(4)
    real = trainer.data.batch(samples)
    draws = trainer.draw(samples, DISCRIMINATOR)
    with torch.no_grad():
        fake = trainer.generator.synthesis(trainer._styles(draws), draws.noise)
        maps = [trainer.discriminator(trainer.projector(images)) for images in (real, fake)]
        expected = sum(F.relu(1 - r).mean() + F.relu(1 + f).mean() for r, f in zip(*maps, strict=True))
        torch.testing.assert_close(trainer.discriminator_loss(real, draws), expected, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(
            trainer.generator_loss(real, draws), -sum(f.mean() for f in maps[1]), atol=1e-4, rtol=1e-4
        )
    assert len(maps[0]) == 4
    assert trainer.draw(samples, GENERATOR).z.shape == draws.z.shape


def test_r1_is_refused_with_projected(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="r1_gamma: must be 0"):
        StyleGAN2Trainer(projected(pictures, tmp_path, r1_gamma=1))


def test_the_card_says_which_judge_took_part_in_training(pictures: Path, tmp_path: Path) -> None:
    StyleGAN2Trainer(projected(pictures, tmp_path / "run", images=4)).fit()
    export_model(tmp_path / "run", tmp_path / "model", False, pictures, 12, (), "unstated")
    card = (tmp_path / "model" / "MODEL_CARD.md").read_text()
    assert "a projected discriminator on EfficientNet-Lite0" in card
    rows = [line for line in card.splitlines() if line.startswith("| ") and "distance (" in line]
    assert {("EfficientNet" in row): ("the discriminator used it" in row) for row in rows} == {True: True, False: False}
