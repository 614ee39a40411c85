"""The trainer on three tiny domains, with the real network and its ImageNet weights."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from diffusers.training_utils import EMAModel
from PIL import Image

from gen.errors import BadInput, BadSetting, TrainingDiverged
from gen.smos import losses
from gen.smos.algorithms.registry import find
from gen.smos.augment import augment
from gen.smos.backbones import Classifier, load_backbone
from gen.smos.classifiers import load_classifier, save_classifier
from gen.smos.datasets import draw, load_domains, split_domain
from gen.smos.settings import SMOSSettings
from gen.smos.training import SMOSTrainer
from gen.training.checkpoints import latest_checkpoint, load_checkpoint
from tests.smos.conftest import write_domains

Make = Callable[..., SMOSSettings]


@pytest.fixture(scope="module")
def precursor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(7)
    network = Classifier("efficientnet-lite0", ("x", "y"), size=32)
    network.body.load_imagenet()
    with torch.no_grad():
        for weight in network.body.parameters():
            weight.mul_(1 + 0.02 * torch.randn_like(weight))
    folder = tmp_path_factory.mktemp("precursor")
    save_classifier(network, folder)
    return folder


@pytest.fixture
def make(domains: Path, tmp_path: Path) -> Make:
    def build(name: str = "run", **settings: object) -> SMOSSettings:
        usual = {
            "data": domains, "out": tmp_path / name, "cache": tmp_path / "cache", "target": "ink", "size": 32,
            "backbone": "efficientnet-lite0", "batch": 4, "steps": 6, "evaluate_every": 2, "device": "cpu",
            "log_every": 4, "checkpoint_every": 1000, "lr": 1e-3,
        }  # fmt: skip
        return SMOSSettings(**{**usual, **settings})  # pyright: ignore[reportArgumentType]

    return build


def state(trainer: SMOSTrainer) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in trainer.student.state_dict().items()}


def assert_same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    for name, value in a.items():
        torch.testing.assert_close(value, b[name], rtol=0, atol=0, msg=name)


class TestLearning:
    def test_it_learns_shapes_and_reports_by_rule(self, make: Make) -> None:
        trainer = SMOSTrainer(make(steps=40, evaluate_every=10, batch=8))
        trainer.fit()
        results = trainer.report()
        assert set(results["rules"]) == {"SWAD", "training-domain validation", "oracle", "last step"}
        assert results["history"][-1]["validation accuracy"] > 0.8  # chance: 0.5
        assert results["rules"]["training-domain validation"]["accuracy"] > 0.65
        assert json.loads((trainer.settings.out / "results.json").read_text()) == results

    def test_a_step_is_the_equation(self, make: Make, precursor: Path, domains: Path, tmp_path: Path) -> None:
        """The terms of SMOS computed from the files again."""
        trainer = SMOSTrainer(
            make(algorithm="smos", precursor=precursor, js_weight=2.0, mi_weight=0.3, temperature=0.5)
        )
        student = Classifier("efficientnet-lite0", ("bar", "disc"), size=32)
        student.load_state_dict(state(trainer))
        student.train()
        samples = [5, 6, 7]
        data = load_domains(domains, 32, tmp_path / "c")
        images, labels, keys = [], [], []
        for index, domain in enumerate(data.domains[:2]):
            inner = split_domain(len(domain), 0, index).inner
            drawn = [draw(inner, 0, index, n, True) for n in samples]
            images.append(domain.images(drawn))
            labels += domain.labels[drawn].tolist()
            keys += [(0, index, n, 2) for n in samples]
        x = augment(torch.cat(images).float() / 255, keys)
        prediction = student(x)
        u, maps = load_classifier(precursor).body(x)
        wanted = {
            "cross_entropy": F.cross_entropy(prediction.logits, torch.tensor(labels)),
            "grounding": 2.0 * losses.grounding_js(u, prediction.pooled, 0.5),
            "mutual_information": 0.3 * losses.MutualInformationBound(student.body.channels)(prediction.maps, maps),
        }
        terms = trainer.algorithm.terms(trainer.batch(samples))
        assert terms.keys() == wanted.keys()
        for name, value in wanted.items():
            torch.testing.assert_close(terms[name], value, rtol=2e-3, atol=1e-5, msg=name)

    def test_miro_is_grounded_in_the_weights_that_it_began_with(self, make: Make, tmp_path: Path) -> None:
        body = load_backbone("efficientnet-lite0")
        with torch.no_grad():
            body.network._bn0.weight.mul_(2)
        torch.save(body.network.state_dict(), tmp_path / "own.pth")
        miro = SMOSTrainer(make(algorithm="miro", weights=str(tmp_path / "own.pth")))
        assert miro.reference is not None
        assert_same(dict(miro.reference.state_dict()), dict(body.state_dict()))

    def test_evaluations_are_domainbeds(self, make: Make) -> None:
        trainer = SMOSTrainer(make(steps=6, evaluate_every=2))
        trainer.fit()
        assert [line["step"] for line in trainer.history] == [1, 3, 5, 6]

    def test_miro_is_grounded_in_imagenet_and_erm_in_nothing(self, make: Make) -> None:
        miro = SMOSTrainer(make(algorithm="miro"))
        wanted = load_backbone("efficientnet-lite0").state_dict()
        assert miro.reference is not None
        assert_same(dict(miro.reference.state_dict()), wanted)
        assert miro.algorithm.terms(miro.batch([0])).keys() == {"cross_entropy", "mutual_information"}
        erm = SMOSTrainer(make("b", algorithm="erm"))
        assert erm.reference is None
        assert erm.algorithm.terms(erm.batch([0])).keys() == {"cross_entropy"}

    def test_weights_of_l_mi(self, make: Make) -> None:
        def beta(algorithm: str, **changes: float) -> float:
            return find(algorithm).read_options(make(algorithm=algorithm, **changes)).mi_weight

        assert beta("miro") == beta("miro_precursor") == 0.01
        assert beta("miro", miro_weight=0.1) == 0.1
        assert beta("miro", mi_weight=0.5, miro_weight=0.1) == 0.5
        for algorithm in ("smos", "smos_kl", "smos_released"):
            assert beta(algorithm, js_weight=5.0) == 0.5
            assert beta(algorithm, mi_weight=0.0) == 0.0

    def test_the_precursor_does_not_move_and_the_variances_do(self, make: Make, precursor: Path) -> None:
        trainer = SMOSTrainer(make(algorithm="smos", precursor=precursor))
        assert trainer.reference is not None
        before = {k: v.clone() for k, v in trainer.reference.state_dict().items()}
        variances = [v.clone() for v in trainer.raw["variances"].parameters()]
        trainer.fit()
        assert_same(before, dict(trainer.reference.state_dict()))
        for old, new in zip(variances, trainer.raw["variances"].parameters(), strict=True):
            assert not torch.equal(old, new)

    def test_mixed_precision_trains(self, make: Make, precursor: Path) -> None:
        runs = [SMOSTrainer(make(p, precision=p, algorithm="smos", precursor=precursor, steps=1))
                for p in ("fp32", "bf16")]  # fmt: skip
        losses_ = [t.algorithm.terms(t.batch([0, 1, 2, 3])) for t in runs]
        for name in losses_[0]:
            assert losses_[1][name].dtype == torch.float32
            torch.testing.assert_close(losses_[1][name], losses_[0][name], rtol=0.1, atol=0.02, msg=name)
        runs[1].fit()
        assert all(p.isfinite().all() for p in runs[1].student.parameters())

    def test_accumulation_is_the_same_step(self, make: Make) -> None:
        trainers = [SMOSTrainer(make(str(n), accumulate=n, steps=1, replacement=False)) for n in (1, 2)]
        for trainer in trainers:
            trainer.fit()
        gradients = [torch.cat([p.grad.flatten() for p in t.student.parameters() if p.grad is not None])
                     for t in trainers]  # fmt: skip
        torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-4)


class TestTarget:
    def test_the_target_is_never_trained_on(self, make: Make) -> None:
        trainer = SMOSTrainer(make())
        assert [p.domain.name for p in trainer.train_parts] == ["art", "flat"]
        assert trainer.target is not None
        assert trainer.target_held_out is not None
        assert (trainer.target.domain.name, len(trainer.target.indices)) == ("ink", 16)
        assert not set(trainer.target.indices) & set(trainer.target_held_out.indices)
        for train, validation in zip(trainer.train_parts, trainer.validation, strict=True):
            assert train.index == validation.index
            assert not set(train.indices) & set(validation.indices)

    def test_held_out_pictures_come_from_val(self, make: Make, tmp_path: Path) -> None:
        val = write_domains(tmp_path / "val", count=3, seed=9)
        trainer = SMOSTrainer(make(val=val))
        assert [len(p.indices) for p in trainer.train_parts] == [20, 20]
        assert [len(p.indices) for p in trainer.validation] == [6, 6]
        assert all(str(p).startswith(str(val)) for part in trainer.validation for p in part.domain.frames.paths)
        assert trainer.target is not None
        assert str(trainer.target.domain.frames.paths[0]).startswith(str(val))

    def test_accuracy_is_the_share_of_right_answers(self, make: Make) -> None:
        trainer = SMOSTrainer(make())
        part = trainer.train_parts[1]
        trainer.student.eval()
        with torch.no_grad():
            logits = trainer.student(part.domain.images(part.indices).float() / 255).logits
        labels = torch.from_numpy(part.domain.labels[part.indices])
        accuracy, loss = trainer.measure_on(part, batch=3)
        assert accuracy == pytest.approx((logits.argmax(1) == labels).double().mean().item())
        assert loss == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-4)
        assert trainer.student.training

    def test_rules_pick_what_they_say(self, make: Make) -> None:
        trainer = SMOSTrainer(make())
        for step, (validation, oracle) in enumerate([(0.5, 0.9), (0.8, 0.2), (0.8, 0.95), (0.7, 0.1)]):
            trainer._select("training-domain validation", validation, step)
            trainer._select("oracle", oracle, step)
        assert trainer.best["training-domain validation"].step == 1  # the first of equals, as argmax takes it
        assert trainer.best["oracle"].step == 2


class TestResume:
    def test_a_killed_run_ends_with_the_same_numbers(
        self, make: Make, precursor: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings = {"algorithm": "smos", "precursor": precursor, "steps": 7, "checkpoint_every": 12, "dropout": 0.5}
        whole = SMOSTrainer(make("whole", **settings))
        whole.fit()
        cut = SMOSTrainer(make("cut", **settings))
        original = SMOSTrainer.after_step

        def killed(self: SMOSTrainer) -> None:
            if self.images_shown == 20:
                raise KeyboardInterrupt
            original(self)

        monkeypatch.setattr(SMOSTrainer, "after_step", killed)
        with pytest.raises(KeyboardInterrupt):
            cut.fit()
        monkeypatch.setattr(SMOSTrainer, "after_step", original)
        again = SMOSTrainer(make("cut", **settings))
        again.fit()
        assert_same(state(whole), state(again))
        a, b = whole.report(), again.report()
        assert all(a[name] == b[name] for name in a.keys() | b.keys() if "seconds" not in name)
        assert_same(whole.valley.weights(), again.valley.weights())

    def test_a_run_from_when_every_trainer_had_an_average_and_a_length_in_images(self, make: Make) -> None:
        whole = SMOSTrainer(make("whole"))
        whole.fit()
        cut = SMOSTrainer(make("cut"))
        cut.watch = lambda: cut.stop() if cut.steps_done == 3 else None
        cut.fit()
        path = latest_checkpoint(cut.settings.out / "checkpoints")
        assert path is not None
        old = load_checkpoint(path)
        assert "ema" not in old
        old["settings"] |= {"images": None, "epochs": 20.0, "core_minutes": None, "ema_half_life": 1000}
        old["settings"]["ema_ramp"] = None
        old["ema"] = EMAModel(cut.student.parameters(), decay=0.0, foreach=True).state_dict()
        torch.save(old, path)
        (cut.settings.out / "settings.json").write_text(json.dumps({"settings": old["settings"], "data": old["data"]}))
        again = SMOSTrainer(make("cut"))
        again.fit()
        assert_same(state(whole), state(again))

    def test_another_target_is_another_run(self, make: Make) -> None:
        SMOSTrainer(make()).fit()
        with pytest.raises(BadSetting, match="target was 'ink' when this run began"):
            SMOSTrainer(make(target="art")).fit()


class TestEnds:
    def test_it_stops_where_the_valley_ends(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        falls = iter([1.0, 1.1, 1.2, *[9.0] * 50])
        monkeypatch.setattr(SMOSTrainer, "measure_on", lambda self, part: (0.5, 0.0))
        trainer = SMOSTrainer(make(steps=100, evaluate_every=1))
        monkeypatch.setattr(trainer.valley, "evaluated", lambda loss, f=trainer.valley.evaluated: f(next(falls)))
        trainer.fit()
        assert trainer.valley.over
        assert trainer.images_shown == 4 * 9  # three in the valley, six above

    def test_a_term_without_a_bound_is_stopped(self, make: Make, precursor: Path) -> None:
        settings = make(algorithm="smos_released", precursor=precursor, js_weight=1e5, mi_weight=0.0, lr=0.05, steps=50)
        with pytest.raises(TrainingDiverged, match="A smaller lr often helps"):
            SMOSTrainer(settings).fit()


class TestBadSettings:
    def test_precursor_where_it_belongs(self, make: Make, precursor: Path) -> None:
        with pytest.raises(BadSetting, match="algorithm smos: it needs a precursor"):
            SMOSTrainer(make(algorithm="smos"))
        with pytest.raises(BadSetting, match="algorithm erm: it uses no precursor"):
            SMOSTrainer(make(precursor=precursor))

    def test_a_precursor_of_another_network(self, make: Make, precursor: Path) -> None:
        with pytest.raises(BadSetting, match="its network is not the backbone resnet18"):
            SMOSTrainer(make(algorithm="smos", precursor=precursor, backbone="resnet18", weights="none"))

    def test_too_few_pictures(self, make: Make, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match="art: 4 images are too few to hold out a fifth"):
            SMOSTrainer(make(data=write_domains(tmp_path / "few", count=2)))

    def test_val_with_other_classes(self, make: Make, tmp_path: Path) -> None:
        val = write_domains(tmp_path / "val", count=3)
        for domain in val.iterdir():
            (domain / "disc").rename(domain / "ring")
        with pytest.raises(BadInput, match="its domains and classes differ from those of"):
            SMOSTrainer(make(val=val))

    def test_val_of_what_is_trained_on(self, make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        data = make().data
        copy = shutil.copytree(data, tmp_path / "copy")
        for folder in (data, copy):
            with pytest.raises(BadInput, match="nothing is held out"):
                SMOSTrainer(make(val=folder))
        for folder in copy.glob("*/*"):
            Image.new("RGB", (32, 32)).save(folder / "other.png")
        SMOSTrainer(make(val=copy))
        assert re.search(r"copy: \d+ of its images are also among those of", caplog.text)
        val = write_domains(tmp_path / "val", count=3, seed=9)
        for folder, split in ((data, "train"), (val, "val")):
            (folder / "render.json").write_text(json.dumps({"seed": 0, "split": split}))
        SMOSTrainer(make(val=val))
        (val / "render.json").write_text(json.dumps({"seed": 0, "split": "train"}))  # rendered without --split val
        with pytest.raises(BadInput, match="gen render-smd --split val"):
            SMOSTrainer(make(val=val))

    def test_scenes_have_no_target(self, make: Make) -> None:
        with pytest.raises(BadSetting, match="data=scenes"):
            SMOSTrainer(replace(make(), data=Path("scenes")))


def test_rendered_scenes_are_learned_from_and_drawn_again_from_anywhere(make: Make) -> None:
    settings = {"data": Path("scenes"), "target": None, "batch": 2, "steps": 4, "checkpoint_every": 4, "workers": 1}
    whole = SMOSTrainer(make("whole", **settings))
    whole.fit()
    assert whole.student.head.out_features == 8
    batch = whole.batch([3])
    assert batch.images.shape == (4, 3, 32, 32)
    assert len(batch.labels) == batch.domains == 4
    again = SMOSTrainer(make("other", **settings)).batch([3])
    torch.testing.assert_close(batch.images, again.images, rtol=0, atol=0)
    assert not np.array_equal(whole.batch([0]).images.numpy(), batch.images.numpy())
