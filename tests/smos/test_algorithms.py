"""Algorithms from outside the package: one class and one call each. They show every hook of the trainer."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from gen.cli import main
from gen.errors import BadSetting
from gen.provenance import fingerprint_file
from gen.smos import losses
from gen.smos.algorithms import registry
from gen.smos.algorithms.base import Algorithm, Batch, NoOptions, Step, Terms
from gen.smos.algorithms.erm import ERM
from gen.smos.backbones import Classifier, Features, Prediction
from gen.smos.classifiers import load_classifier
from gen.smos.export import export_precursor
from gen.smos.markdown import as_markdown
from gen.smos.settings import SMOSSettings
from gen.smos.training import SMOSTrainer

REPOSITORY = Path(__file__).parent.parent.parent
Make = Callable[..., SMOSTrainer]


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "ALGORITHMS", dict(registry.ALGORITHMS))


@pytest.fixture
def train(domains: Path, tmp_path: Path) -> Make:
    """A trainer of an algorithm class, on two tiny domains."""

    def build(algorithm: type[Algorithm[Any]], name: str = "mine", **settings: object) -> SMOSTrainer:
        registry.ALGORITHMS[name] = registry.Row(algorithm, "")
        usual = {
            "data": domains, "out": tmp_path / name, "cache": tmp_path / "cache", "target": "ink", "size": 32,
            "backbone": "efficientnet-lite0", "batch": 4, "steps": 3, "evaluate_every": 2, "device": "cpu", "lr": 1e-3,
            "algorithm": name,
        }  # fmt: skip
        return SMOSTrainer(SMOSSettings(**{**usual, **settings}))  # pyright: ignore[reportArgumentType]

    return build


def gradients(module: nn.Module) -> list[Tensor]:
    return [p.grad.clone() for p in module.parameters() if p.grad is not None]


# The classes that a new file in gen/smos/algorithms would hold.


@dataclass(frozen=True)
class DROOptions:
    rate: float = 0.01


class GroupDRO(Algorithm[DROOptions]):
    """Sagawa et al. 2020: q_d <- q_d exp(rate L_d), normalised; loss Σ q_d L_d. Has options and state of its own."""

    options_class = DROOptions

    def __init__(self, options: DROOptions, student: Classifier, domains: int) -> None:
        super().__init__(options, student, domains)
        self.q = torch.full((domains,), 1 / domains)

    @classmethod
    def describe(cls, options: DROOptions) -> str:
        return f"worst-domain cross-entropy at rate {options.rate:g}"

    def terms(self, batch: Batch) -> Terms:
        each = F.cross_entropy(batch.prediction.logits.float(), batch.labels, reduction="none")
        means = batch.by_domain(each).mean(1)
        self.q = (self.q * (self.options.rate * means.detach()).exp()).double()
        self.q = (self.q / self.q.sum()).float()
        return {"worst_domain": (self.q * means).sum()}

    def state(self) -> dict[str, Any]:
        return {"q": self.q}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.q = state["q"]


class GradientVariance(ERM):
    """DSP-Reg's first step: a gradient for each domain, then their mean; records how much they differ."""

    def step(self, step: Step) -> Terms:
        each: list[list[Tensor]] = []
        terms: list[Terms] = []
        for domain in range(step.domains):
            terms.append(step.backward(domain))
            each.append(gradients(self.student))
        variance = torch.zeros(())
        for parameter, *by_domain in zip(self.student.parameters(), *each, strict=True):
            parameter.grad = torch.stack(by_domain).mean(0)
            variance += torch.stack(by_domain).var(0, correction=0).sum()
        step.update()
        mean = {name: torch.stack([t[name] for t in terms]).mean() for name in terms[0]}
        return mean | {"progress/variance": variance}


@dataclass(frozen=True)
class SAMOptions:
    rho: float = 0.05


class SAM(Algorithm[SAMOptions]):
    """Foret et al. 2021: the gradient at θ + ρ g / ‖g‖, applied at θ. Two passes in one step."""

    options_class = SAMOptions

    @classmethod
    def describe(cls, options: SAMOptions) -> str:
        return f"cross-entropy, sharpness-aware at rho {options.rho:g}"

    def terms(self, batch: Batch) -> Terms:
        return {"cross_entropy": F.cross_entropy(batch.prediction.logits.float(), batch.labels)}

    @torch.no_grad()
    def _move(self, scale: float) -> list[Tensor]:
        before = [p.clone() for p in self.student.parameters()]
        for parameter in self.student.parameters():
            if parameter.grad is not None:
                parameter.add_(parameter.grad, alpha=scale)
        return before

    def step(self, step: Step) -> Terms:
        terms = step.backward()
        norm = torch.stack([g.norm() for g in gradients(self.student)]).norm()
        before = self._move(float(self.options.rho / (norm + 1e-12)))
        step.backward()
        with torch.no_grad():
            for parameter, value in zip(self.student.parameters(), before, strict=True):
                parameter.copy_(value)
        step.update()
        return terms


class Lookahead(Optimizer):
    """Zhang et al. 2019, k = 1: go a share of the way of the inner optimiser."""

    def __init__(self, inner: Optimizer, share: float) -> None:
        self.inner, self.share = inner, share
        super().__init__(inner.param_groups, {})
        self.param_groups = inner.param_groups

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        parameters = [p for group in self.param_groups for p in group["params"]]
        before = [p.clone() for p in parameters]
        self.inner.step()
        for parameter, old in zip(parameters, before, strict=True):
            parameter.copy_(old.lerp(parameter, self.share))

    def state_dict(self) -> dict[str, Any]:
        return self.inner.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.inner.load_state_dict(state_dict)


class HeadPerDomain(Algorithm[NoOptions]):
    """DRM's networks: a head for each domain beside the shared one; at test time the most certain head of an image."""

    options_class = NoOptions
    predicts_with = ("heads",)
    lr_factors: ClassVar[Mapping[str, float]] = {"heads": 5.0}

    def __init__(self, options: NoOptions, student: Classifier, domains: int) -> None:
        super().__init__(options, student, domains)
        self.heads = nn.ModuleList([nn.Linear(student.body.width, student.head.out_features) for _ in range(domains)])

    @classmethod
    def describe(cls, options: NoOptions) -> str:
        return "cross-entropy of shared and own heads"

    def networks(self) -> dict[str, nn.Module]:
        return {"heads": self.heads}

    def terms(self, batch: Batch) -> Terms:
        pooled = batch.by_domain(batch.prediction.pooled.float())
        own = torch.stack([head(z) for head, z in zip(self.heads, pooled, strict=True)]).flatten(0, 1)
        shared = batch.prediction.logits.float()
        return {"shared": F.cross_entropy(shared, batch.labels) / 2, "own": F.cross_entropy(own, batch.labels) / 2}

    def predict(self, images: Tensor) -> Tensor:
        pooled = self.student(images).pooled
        logits = torch.stack([head(pooled) for head in self.heads])
        certain = logits.softmax(-1).amax(-1).argmax(0)
        return logits[certain, torch.arange(len(images))]


class TestOutsideThePackage:
    def test_one_class_and_one_call_make_a_row_of_a_table(
        self, domains: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        registry.register("dro", GroupDRO, "worst domain")
        command = ["train-smos", "--data", str(domains), "--out", str(tmp_path), "--seeds", "0", "--target", "ink"]
        for setting in ("size=32", "steps=4", "evaluate_every=2", "batch=2", "device=cpu"):
            command += ["--set", setting]
        command += ["--preset", "cpu", "--method", "dro", "--method", "fast=dro,rate=0.5,lr=0.002", "--method", "erm"]
        assert main(command) == 0
        text = (tmp_path / "table.md").read_text()
        own = f"`{__name__}:GroupDRO`, a file of its own (SHA-256 begins with {fingerprint_file(Path(__file__))})"
        assert f"- dro: worst-domain cross-entropy at rate 0.01 ({own})\n" in text
        assert f"- fast: worst-domain cross-entropy at rate 0.5 ({own}); lr=0.002\n" in text
        assert "3 of 3 cells done" in text
        record = json.loads((tmp_path / "results.json").read_text())["methods"]["fast"]
        loss = f"worst-domain cross-entropy at rate 0.5 ({own})"
        assert record == {"algorithm": "dro", "loss": loss, "rate": 0.5, "changes": {"lr": 0.002}}
        settings = json.loads((tmp_path / "fast" / "ink-0" / "settings.json").read_text())["settings"]
        assert settings["options"] == {"rate": 0.5}
        assert main(command) == 0  # nothing is run again
        assert main([*command, "--method", "other=dro,speed=1"]) == 1
        assert "speed: neither a setting nor an option of dro; its options: rate" in capsys.readouterr().err

    def test_the_command_line_offers_it(self, capsys: pytest.CaptureFixture[str]) -> None:
        registry.register("dro", GroupDRO)
        with pytest.raises(SystemExit):
            main(["train-smos", "--help"])
        assert f"{[*registry.ALGORITHMS][-2]},dro" in capsys.readouterr().out.replace("\n", "").replace(
            " ", ""
        ).replace("│", "")

    def test_names_are_unique_and_known(self) -> None:
        with pytest.raises(BadSetting, match="algorithm 'erm' is registered already"):
            registry.register("erm", GroupDRO)
        with pytest.raises(BadSetting, match="unknown algorithm 'ERM'; did you mean erm"):
            registry.find("ERM")

    def test_every_row_has_a_class_with_default_options(self) -> None:
        for name in registry.ALGORITHMS:
            algorithm = registry.find(name)
            assert algorithm.describe(algorithm.options_class()).startswith("cross-entropy")


class TestTerms:
    """The terms of the shipped algorithms against their sums, on random tensors."""

    @staticmethod
    def batch() -> tuple[Batch, Prediction, Features]:
        g = torch.Generator().manual_seed(0)
        maps = [[torch.rand(6, c, 4, 4, generator=g) for c in (3, 5)] for _ in range(2)]
        u, z = torch.rand(2, 6, 5, generator=g)
        prediction, reference = Prediction(torch.randn(6, 2, generator=g), z, maps[0]), Features(u, maps[1])
        images, labels = torch.zeros(6, 3, 8, 8), torch.tensor([0, 1, 1, 0, 1, 0])
        return Batch(images, labels, 2, lambda _: prediction, lambda _: reference), prediction, reference

    @pytest.mark.parametrize(
        ("name", "grounding"),
        [
            ("erm", None),
            ("miro", None),
            ("miro_precursor", None),
            ("smos", lambda u, z: losses.grounding_js(u, z, 0.5)),
            ("smos_kl", losses.released_kl),
            ("smos_released", losses.released_js),
        ],
    )
    def test_are_the_equations(self, name: str, grounding: Callable[[Tensor, Tensor], Tensor] | None) -> None:
        settings = SMOSSettings(data=Path(), out=Path(), algorithm=name, js_weight=0.7, temperature=0.5, mi_weight=0.3)
        student = Classifier("efficientnet-lite0", ("a", "b"), size=32)
        student.body.channels = (3, 5)
        algorithm = registry.find(name)
        batch, prediction, reference = self.batch()
        terms = algorithm(algorithm.read_options(settings), student, 2).terms(batch)
        wanted = {"cross_entropy": F.cross_entropy(prediction.logits, batch.labels)}
        if grounding:
            wanted["grounding"] = 0.7 * grounding(reference.pooled, prediction.pooled)
        if name != "erm":
            bound = losses.MutualInformationBound((3, 5))
            wanted["mutual_information"] = 0.3 * bound(prediction.maps, reference.maps)
        assert list(terms) == list(wanted)
        for term, value in wanted.items():
            torch.testing.assert_close(terms[term], value, rtol=0, atol=0)


class TestHooks:
    def test_gradients_of_domains_have_the_mean_of_the_joint_gradient(self, train: Make) -> None:
        """With frozen norms, the forward of a domain is the same alone and together."""
        erm, mine = train(ERM, "a", steps=1), train(GradientVariance, "b", steps=1)
        for trainer in (erm, mine):
            trainer.fit()
        for joint, mean in zip(gradients(erm.student), gradients(mine.student), strict=True):
            torch.testing.assert_close(joint, mean, rtol=1e-3, atol=1e-5)
        lines = (mine.settings.out / "metrics.jsonl").read_text()
        assert "progress/variance" in lines

    def test_a_second_pass_sees_the_same_images_and_dropout(self, train: Make) -> None:
        """SAM at ρ = 0 is ERM, bit by bit; at ρ > 0 it is not."""
        options = {"dropout": 0.5, "accumulate": 2, "steps": 2}
        trainers = [
            train(ERM, "a", **options),
            train(SAM, "b", options={"rho": 0.0}, **options),
            train(SAM, "c", options={"rho": 0.5}, **options),
        ]
        erm, zero, sam = ([p.detach() for p in t.student.parameters()] for t in trainers if t.fit() is None)
        assert all(torch.equal(a, b) for a, b in zip(erm, zero, strict=True))
        assert not all(torch.equal(a, b) for a, b in zip(erm, sam, strict=True))

    def test_an_optimizer_can_be_wrapped_and_resumes(self, train: Make) -> None:
        class Slow(ERM):
            def optimizer(self, name: str, optimizer: Optimizer) -> Optimizer:
                return Lookahead(optimizer, 0.5)

        slow, erm = train(Slow, "slow", steps=1), train(ERM, "erm1", steps=1)
        start = [p.detach().clone() for p in slow.student.parameters()]
        for trainer in (slow, erm):
            trainer.fit()
        ends = zip(start, slow.student.parameters(), erm.student.parameters(), strict=True)
        for begin, half, whole in ends:
            torch.testing.assert_close(half, begin.lerp(whole, 0.5))
        again = train(Slow, "slow", steps=1)
        again.resume()
        assert again.finished

    def test_an_optimizer_can_be_replaced(self, train: Make) -> None:
        class Plain(ERM):
            def optimizer(self, name: str, optimizer: Optimizer) -> Optimizer:
                return SGD(self.student.parameters(), lr=1.0)

        trainer = train(Plain, steps=1)
        start = [p.detach().clone() for p in trainer.student.parameters()]
        trainer.fit()
        for old, new in zip(start, trainer.student.parameters(), strict=True):
            assert new.grad is not None
            torch.testing.assert_close(new, old - 1e-3 * new.grad)  # the schedule's rate, not the constructor's

    def test_a_head_for_each_domain_is_trained_selected_and_used(self, train: Make) -> None:
        trainer = train(HeadPerDomain, steps=5)  # the last segment of SWAD has two steps
        before = [h.weight.detach().clone() for h in trainer.algorithm.heads]  # pyright: ignore
        trainer.fit()
        assert trainer.optimizers["heads"].param_groups[0]["lr"] == pytest.approx(5e-3)
        for old, head in zip(before, trainer.raw["heads"], strict=True):  # pyright: ignore
            assert not torch.equal(old, head.weight)
        averaged = trainer.selected()["SWAD"][1]
        assert "heads/1.bias" in averaged
        results = trainer.report()
        part = trainer.target
        assert part is not None
        with trainer.using(averaged), torch.no_grad():
            assert torch.equal(trainer.raw["heads"].state_dict()["1.bias"], averaged["heads/1.bias"])
            trainer.student.eval()
            logits = trainer.algorithm.predict(part.domain.images(part.indices).float() / 255)
        correct = logits.argmax(1) == torch.from_numpy(part.domain.labels[part.indices])
        assert results["rules"]["SWAD"]["accuracy"] == pytest.approx(correct.double().mean().item())
        assert not torch.equal(trainer.raw["heads"].state_dict()["1.bias"], averaged["heads/1.bias"])

    def test_state_of_the_algorithm_survives(self, train: Make) -> None:
        options = {"options": {"rate": 0.5}}
        first = train(GroupDRO, "dro", **options)
        first.fit()
        again = train(GroupDRO, "dro", **options)
        again.resume()
        assert torch.equal(first.algorithm.q, again.algorithm.q)  # pyright: ignore
        assert not torch.allclose(again.algorithm.q, torch.tensor([0.5, 0.5]))  # pyright: ignore

    def test_a_test_time_pass_sees_evaluation_mode(self, train: Make) -> None:
        class Looks(ERM):
            modes: ClassVar[list[bool]] = []

            def predict(self, images: Tensor) -> Tensor:
                Looks.modes.append(self.student.training)
                return super().predict(images)

        train(Looks, steps=1).fit()
        assert Looks.modes
        assert not any(Looks.modes)


class TestOldFiles:
    def test_a_table_of_an_earlier_version_is_read(self) -> None:
        folder = REPOSITORY / "docs" / "pacs"
        assert as_markdown(json.loads((folder / "results.json").read_text())) == (folder / "table.md").read_text()

    @pytest.mark.slow
    def test_a_run_of_an_earlier_version_resumes(self, domains: Path, tmp_path: Path) -> None:
        """Before algorithms had files of their own, settings had no `options`, and checkpoints no `algorithm`."""

        def trainer(name: str, **settings: Any) -> SMOSTrainer:
            return SMOSTrainer(
                SMOSSettings(
                    data=domains, out=tmp_path / name, cache=tmp_path / "cache", target="ink", size=32, device="cpu",
                    backbone="efficientnet-lite0", batch=4, steps=4, evaluate_every=2, checkpoint_every=8, lr=1e-3,
                    algorithm="miro", **settings,
                )
            )  # fmt: skip

        whole = trainer("new")
        whole.fit()
        shutil.copytree(tmp_path / "new", tmp_path / "old")
        checkpoints = tmp_path / "old" / "checkpoints"
        (checkpoints / "state-000000016.pt").unlink()
        (checkpoints / "latest.json").write_text('{"file": "state-000000008.pt", "images_shown": 8}')
        state = torch.load(checkpoints / "state-000000008.pt", weights_only=True)
        del state["settings"]["options"], state["extra"]["algorithm"]
        assert {"algorithm", "js_weight", "mi_weight", "miro_weight", "temperature"} <= state["settings"].keys()
        assert state["networks"].keys() == {"student", "variances"}
        torch.save(state, checkpoints / "state-000000008.pt")
        with pytest.raises(BadSetting, match=r"miro_weight was 0\.01 when this run began"):
            trainer("old", miro_weight=0.1).resume()
        again = trainer("old")
        again.resume()
        assert again.steps_done == 2
        again.fit()
        for name, value in whole.student.state_dict().items():
            assert torch.equal(value, again.student.state_dict()[name]), name
        assert again.report()["rules"] == whole.report()["rules"]

    def test_shipped_precursors_load(self) -> None:
        assert load_classifier("smd-precursor").config["backbone"] == "efficientnet-lite0"


def test_a_card_names_ones_own_algorithm(train: Make, tmp_path: Path) -> None:
    class Twice(ERM):
        @classmethod
        def describe(cls, options: NoOptions) -> str:
            return "twice the cross-entropy"

    trainer = train(Twice, target=None, steps=1)
    trainer.fit()
    export_precursor(trainer, tmp_path / "model", {}, "unstated")
    card = (tmp_path / "model" / "MODEL_CARD.md").read_text(encoding="utf-8")
    sha = fingerprint_file(Path(__file__))
    assert "twice the cross-entropy by `tests.smos.test_algorithms:" in card
    assert f"Twice`, a file of its own (SHA-256 begins with {sha}), on all styles" in card
