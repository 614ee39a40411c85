"""The sets of layers under their names, and StyleGAN-NADA's adaptive choice against a slow form of it."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen.errors import BadSetting
from gen.hda.adaptation import Adaptation
from gen.hda.export import save_adaptation
from gen.hda.layers import choices, farthest, prefixes_of, set_trainable
from gen.hda.settings import as_now
from gen.hda.training import HDATrainer
from gen.stylegan2.networks import StyleGAN2Generator
from tests.hda.test_training import settings
from tests.stylegan2.conftest import tiny_generator


class TestSets:
    @pytest.mark.parametrize(
        ("layers", "learns", "rests"),
        [
            ("nada", ["constant", "convs.0.conv.weight", "convs.6.conv.affine.bias"], ["to_rgbs.0.bias"]),
            ("all", ["constant", "convs.0.bias", "to_rgbs.3.conv.weight"], ["mapping.layers.0.weight"]),
            ("affine", ["convs.0.conv.affine.weight"], ["convs.0.conv.weight", "to_rgbs.0.conv.affine.weight"]),
            ("coarse", ["constant", "convs.2.conv.weight"], ["convs.3.conv.weight", "to_rgbs.0.bias"]),
            ("fine", ["convs.3.conv.weight", "to_rgbs.0.bias"], ["convs.2.conv.weight", "constant"]),
            ("shape", ["constant", "convs.2.conv.affine.weight"], ["convs.3.conv.weight", "to_rgbs.0.bias"]),
            (
                "texture",
                ["constant", "convs.0.bias", "convs.3.bias"],
                ["convs.2.bias", "to_rgbs.3.bias"],
            ),
            ("no_fine", ["constant", "convs.6.conv.weight"], ["to_rgbs.0.bias"]),
        ],
    )
    def test_parameters(self, generator: StyleGAN2Generator, layers: Any, learns: list[str], rests: list[str]) -> None:
        set_trainable(generator, layers)
        wanted = {name: p.requires_grad for name, p in generator.named_parameters()}
        assert [wanted[name] for name in learns] == [True] * len(learns)
        assert [wanted[name] for name in rests] == [False] * len(rests)
        assert not any(v for k, v in wanted.items() if k.startswith("mapping"))

    @pytest.mark.parametrize("count", [9, 13, 17])
    def test_nada_s_sets_are_those_of_its_code(self, count: int) -> None:
        """There, the module list is constant, first convolution, then `convs`, of which slices are taken."""
        ours = {"constant": "constant", "conv1": "convs.0."} | {
            f"convs.{i}": f"convs.{i + 1}." for i in range(count - 1)
        }
        convs = [f"convs.{i}" for i in range(count - 1)]
        theirs = {"shape": convs[0:2], "texture": convs[2:10], "no_fine": convs[:10]}
        found = prefixes_of(count)
        for name, some in theirs.items():
            assert set(found[name]) == {ours[module] for module in ["constant", "conv1", *some]}  # pyright: ignore

    def test_other_generators_are_trained_as_a_whole(self) -> None:
        with pytest.raises(BadSetting, match="layers=all"):
            set_trainable(nn.Linear(3, 3), "nada")


class TestOldRecords:
    def test_old_names_are_today_s(self) -> None:
        old = {"grid_weight": 0.0}  # there was none
        assert as_now({"layers": "shape", "domains": ["a=b"]}) == {"layers": "coarse", "domains": ["a=b"]} | old
        assert as_now({"layers": "texture"}) == {"layers": "fine"} | old
        assert as_now({"layers": "shape", "auto_layer_k": 1}) == {"layers": "shape", "auto_layer_k": 1} | old
        words = {"domains": ["a=text:b"]}
        assert as_now(words) == words | {"layers": "all", "text_templates": False} | old
        assert as_now({"auto_layer_k": 1, "grid_weight": 5.0})["grid_weight"] == 5.0

    def test_a_run_with_an_old_name_resumes_under_today_s(self, tmp_path: Path, red: Path) -> None:
        domains = [f"red={red}"]
        trainer = HDATrainer(settings(tmp_path / "run", domains, layers="coarse", images=8), tiny_generator())
        trainer.fit()
        (path,) = (tmp_path / "run" / "checkpoints").glob("*.pt")
        state = torch.load(path, weights_only=False)
        new = [name for name in state["settings"] if name.startswith(("auto_layer", "text_templates"))]
        old = {name: value for name, value in state["settings"].items() if name not in new} | {"layers": "shape"}
        trainer._check_state(path, {**state, "settings": old})
        assert len(new) == 4
        other = HDATrainer(settings(tmp_path / "other", domains, layers="shape", images=8), tiny_generator())
        with pytest.raises(BadSetting, match="layers was 'coarse' when this run began and is 'shape' now"):
            other._check_state(path, {**state, "settings": old})


def slow_movement(trainer: HDATrainer, w: Tensor, steps: int) -> Tensor:
    """StyleGAN-NADA's way: torch's SGD on W+, one image after another, for CLIP's words and for references."""
    generator: Any = trainer.generator
    moved = w[:, None].expand(-1, generator.layers, -1).clone()
    start = moved.clone()
    moved.requires_grad_(True)
    optimizer = torch.optim.SGD([moved], lr=0.01)
    for _ in range(steps):
        loss = torch.zeros(())
        for codes in moved:
            image = generator.synthesis(codes[None])
            for encoder, targets in zip(trainer.encoders, trainer.targets, strict=True):
                f = encoder(image)
                for domain, target in zip(trainer.domains, targets, strict=True):
                    if target is not None and domain.words is not None:
                        clip: Any = encoder
                        away = 1 - F.cosine_similarity(f, clip.text(domain.words)[None])[0]
                    elif target is not None:
                        assert target.subspace is not None
                        mean, basis = target.subspace.mean, target.subspace.basis
                        rest = f[0] - mean
                        away = ((rest - basis @ (basis.T @ rest)) ** 2).sum()
                    else:
                        continue
                    loss = loss + domain.weight * away / len(moved)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return (moved.detach() - start).abs().mean(2).mean(0)


class TestAdaptiveChoice:
    @pytest.fixture
    def domains(self, red: Path) -> list[str]:
        return ["angry=text:angry face", f"red={red}:2"]

    def test_the_layers_that_move_most_are_trained_and_no_others(
        self, tmp_path: Path, clip_folder: Path, domains: list[str]
    ) -> None:
        run = settings(
            tmp_path / "run", domains, encoders=[f"clip:{clip_folder}", "efficientnet-lite0@64"],
            auto_layer_iters=2, auto_layer_k=3, auto_layer_batch=2, structure_weight=0.0,
        )  # fmt: skip
        trainer = HDATrainer(run, tiny_generator())
        generator: Any = trainer.generator
        for _ in range(2):  # another choice in each step
            before = {name: p.detach().clone() for name, p in generator.named_parameters()}
            first = trainer.images_shown // run.batch * 2
            movement = slow_movement(trainer, generator.mapping(trainer.latents(range(first, first + 2), 6)), steps=2)
            wanted = {f"convs.{i}." for i in movement[:7].topk(3).indices.tolist()}
            seen = trainer.chosen.copy()
            trainer.train_one_step()
            assert set(trainer.chosen - seen) == wanted
            changed = {name for name, p in generator.named_parameters() if not torch.equal(p, before[name])}
            assert changed == {name for name in before if name.startswith(tuple(wanted))}

    def test_movement_equals_the_slow_form(self, tmp_path: Path, clip_folder: Path, domains: list[str]) -> None:
        from gen.hda.layers import latent_movement

        encoders = [f"clip:{clip_folder}", "efficientnet-lite0@64"]
        trainer = HDATrainer(settings(tmp_path / "run", domains, encoders=encoders), tiny_generator())
        generator: Any = trainer.generator
        w = generator.mapping(trainer.latents(range(3)))
        found = latent_movement(generator.synthesis, trainer.layer_loss, w, generator.layers, 2)
        expected = slow_movement(trainer, w, 2)
        assert expected.max() > 2 * expected.min() > 0
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3 * float(expected.max()))

    def test_resumed_it_chooses_the_same(self, tmp_path: Path, red: Path) -> None:
        adaptive = {"auto_layer_iters": 1, "auto_layer_k": 2, "auto_layer_batch": 2, "images": 24}
        whole = HDATrainer(settings(tmp_path / "a", [f"red={red}"], **adaptive), tiny_generator())
        whole.fit()
        half = HDATrainer(settings(tmp_path / "b", [f"red={red}"], **adaptive), tiny_generator())
        while half.images_shown < 12:
            half.train_one_step()
        half.save()
        rest = HDATrainer(settings(tmp_path / "b", [f"red={red}"], **adaptive), tiny_generator())
        rest.fit()
        assert rest.chosen == whole.chosen
        assert sum(whole.chosen.values()) == 2 * 6
        for key, value in whole.generator.state_dict().items():
            torch.testing.assert_close(rest.generator.state_dict()[key], value, atol=0, rtol=0)
        record = Adaptation.load(save_adaptation(whole)).record
        assert record["chosen layers"] == dict(whole.chosen)

    def test_only_of_the_layers_that_are_trained(self, generator: StyleGAN2Generator) -> None:
        set_trainable(generator, "shape")
        assert choices(generator, 3) == {0: "convs.0.", 1: "convs.1.", 2: "convs.2."}
        with pytest.raises(BadSetting, match="auto_layer_k: there are 3 layers"):
            choices(generator, 4)
        with pytest.raises(BadSetting, match="StyleGAN generator"):
            choices(nn.Linear(3, 3), 1)

    def test_farthest_among_some(self) -> None:
        assert farthest(torch.tensor([3.0, 9.0, 1.0, 5.0]), [0, 2, 3], 2) == [0, 3]
