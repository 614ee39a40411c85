"""Meta-DMoE: its gradient against a slow one, its limits, the phases of a run, and what is written."""

import copy
import json
import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.func import functional_call

from gen.cli import main
from gen.errors import BadSetting
from gen.smos.algorithms.base import Batch, Terms
from gen.smos.algorithms.meta_dmoe import Experts, MetaDMoE, MetaDMoEOptions
from gen.smos.backbones import Features, Prediction
from gen.smos.classifiers import load_classifier
from gen.smos.table import train_cell
from tests.smos.runs import trainer, weights

DOMAINS, CLASSES, WIDTH = 3, 4, 8


class Body(nn.Module):
    width = WIDTH

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(12, 6), nn.Tanh(), nn.Linear(6, WIDTH), nn.Tanh())

    def forward(self, x: Tensor) -> Features:
        return Features(self.layers(x), [])


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = Body()
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Prediction:
        z = self.body(x).pooled
        return Prediction(self.head(z), z, [], z)


class OneBatch:
    """A step on a batch, for an algorithm without a trainer."""

    number = 0
    domains = DOMAINS

    def __init__(self, algorithm: MetaDMoE, share: float = 0.9) -> None:
        self.algorithm, self.share, self.updates = algorithm, share, 0
        g = torch.Generator().manual_seed(5)
        images = torch.rand(DOMAINS * 6, 3, 2, 2, generator=g, dtype=torch.float64)
        labels = torch.randint(0, CLASSES, (DOMAINS * 6,), generator=g)
        self.batch = Batch(images, labels, DOMAINS, algorithm.student)

    @property
    def networks(self) -> list[nn.Module]:
        return [self.algorithm.student, *self.algorithm.networks().values()]

    def backward(self, domain: int | None = None, terms: Callable[[Batch], Terms] | None = None) -> Terms:
        for network in self.networks:
            network.zero_grad(set_to_none=True)
        batch = replace(self.batch) if domain is None else self.batch.of_domain(domain)
        values = (terms or self.algorithm.terms)(batch)
        torch.stack([value.double() for value in values.values()]).sum().backward()
        return {name: value.detach() for name, value in values.items()}

    def update(self) -> None:
        self.updates += 1

    def class_means(self) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def gradients(self) -> dict[str, Tensor | None]:
        """After a step, by network and parameter."""
        self.algorithm.step(self)
        names = ("student", *self.algorithm.networks())
        return {
            f"{n}/{k}": p.grad for n, net in zip(names, self.networks, strict=True) for k, p in net.named_parameters()
        }


def tiny(**options: Any) -> MetaDMoE:
    torch.manual_seed(3)
    student: Any = Net().double()
    made = MetaDMoE(MetaDMoEOptions(**{"alpha": 2.0, **options}), student, DOMAINS)
    made.aggregator.double()
    for expert in made.experts.each:
        for parameter in expert.parameters():
            nn.init.normal_(parameter, std=0.4)
    return made


def slow(algorithm: MetaDMoE, batch: Batch, domain: int) -> Tensor:
    """L_d by the equations, with the graph of everything."""
    student: Any = algorithm.student
    part = batch.of_domain(domain)
    support, query, labels = part.images[0::2], part.images[1::2], part.labels[1::2]
    others = [algorithm.experts.each[j] for j in range(DOMAINS) if j != domain]
    features = torch.stack([expert(support).pooled.detach() for expert in others], 1)
    target = algorithm.aggregator.eval()(features)[0]
    theta = dict(student.body.named_parameters())
    distance = (functional_call(student.body, theta, (support,)).pooled - target).square().mean()
    inner = torch.autograd.grad(distance, list(theta.values()), create_graph=True)
    moved = {name: p - algorithm.options.alpha * u for (name, p), u in zip(theta.items(), inner, strict=True)}
    return F.cross_entropy(student.head(functional_call(student.body, moved, (query,)).pooled), labels)


def mean_loss(step: OneBatch) -> Tensor:
    return torch.stack([slow(step.algorithm, step.batch, d) for d in range(DOMAINS)]).mean()


class TestGradient:
    def test_is_that_of_the_equations(self) -> None:
        step = OneBatch(tiny())
        found = step.gradients()
        assert step.updates == 1
        loss = mean_loss(step)
        parameters = {
            f"{name}/{k}": p
            for name, net in zip(("student", "experts", "aggregator"), step.networks, strict=True)
            for k, p in net.named_parameters()
        }
        wanted = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        for (name, _), gradient in zip(parameters.items(), wanted, strict=True):
            if gradient is None:  # the experts, and what only the aggregator's pre-training needs
                assert found[name] is None, name
                continue
            torch.testing.assert_close(found[name], gradient, rtol=1e-5, atol=1e-8, msg=name)

    @pytest.mark.parametrize("of", ["student/body", "student/head", "aggregator/layer"])
    def test_against_finite_differences(self, of: str) -> None:
        step = OneBatch(tiny())
        found = {name: g for name, g in step.gradients().items() if name.startswith(of) and g is not None}
        network = step.algorithm.student if of.startswith("student") else step.algorithm.aggregator
        parameters = {k: p for k, p in network.named_parameters() if f"{of.partition('/')[0]}/{k}" in found}
        g = torch.Generator().manual_seed(1)
        direction = {k: torch.randn(p.shape, generator=g, dtype=torch.float64) for k, p in parameters.items()}
        values = []
        for length in (1e-5, -1e-5):
            with torch.no_grad():
                for k, p in parameters.items():
                    p.add_(direction[k] * length)
            values.append(mean_loss(step).item())
            with torch.no_grad():
                for k, p in parameters.items():
                    p.sub_(direction[k] * length)
        slope = sum((g * direction[name.partition("/")[2]]).sum().item() for name, g in found.items())
        assert abs(slope) > 1e-6
        assert slope == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-4)

    def test_without_an_inner_step_it_is_erm_on_the_query(self) -> None:
        step = OneBatch(tiny(alpha=0.0))
        found = step.gradients()
        logits = step.algorithm.student(step.batch.images[1::2]).logits
        loss = F.cross_entropy(logits.float(), step.batch.labels[1::2])
        for (name, _), g in zip(
            step.algorithm.student.named_parameters(),
            torch.autograd.grad(loss, list(step.algorithm.student.parameters())),
            strict=True,
        ):
            torch.testing.assert_close(found[f"student/{name}"], g, rtol=1e-5, atol=1e-8)
        assert all(g is None for name, g in found.items() if not name.startswith("student"))

    def test_features_that_are_right_already_move_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """t = φ(x_S): of first order this is ERM on the query."""
        step = OneBatch(tiny(first_order=True))
        student = step.algorithm.student
        monkeypatch.setattr(MetaDMoE, "target", lambda self, images, _: student(images).pooled.detach())
        found, plain = step.gradients(), OneBatch(tiny(alpha=0.0)).gradients()
        for name, g in plain.items():
            if g is not None:
                torch.testing.assert_close(found[name], g)

    def test_the_first_order_differs_and_teaches_the_aggregator_nothing(self) -> None:
        second, first = (OneBatch(tiny(first_order=flag)).gradients() for flag in (False, True))
        name = "student/body.layers.1.weight"
        one, other = second[name], first[name]
        assert one is not None
        assert other is not None
        assert (one - other).norm() > 1e-3 * one.norm()
        assert all(g is None for name, g in first.items() if name.startswith("aggregator"))
        assert any(g is not None and bool(g.any()) for name, g in second.items() if name.startswith("aggregator"))

    def test_the_expert_of_the_domain_is_left_out_and_the_others_count(self) -> None:
        algorithm = tiny()
        step = OneBatch(algorithm)
        before = [slow(algorithm, step.batch, d).item() for d in range(DOMAINS)]
        distance = [algorithm.distance(d, algorithm.support(step.batch.of_domain(d))).item() for d in range(DOMAINS)]
        with torch.no_grad():
            for parameter in algorithm.experts.each[1].parameters():
                parameter.add_(1.0)
        for d in range(DOMAINS):
            found = algorithm.distance(d, algorithm.support(step.batch.of_domain(d))).item()
            assert (found == distance[d]) == (d == 1)
            assert (slow(algorithm, step.batch, d).item() == before[d]) == (d == 1)

    def test_the_order_of_experts_does_not_matter(self) -> None:
        algorithm, images = tiny(), torch.rand(5, 3, 2, 2, dtype=torch.float64)
        one, other = (algorithm.target(images, order) for order in ([0, 1, 2], [2, 0, 1]))
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
        assert not torch.allclose(one, algorithm.target(images, [0, 1]))

    def test_sixteen_heads_or_as_many_as_the_width_allows(self) -> None:
        assert tiny().aggregator.layer.self_attn.num_heads == math.gcd(16, WIDTH) == 8


class TestTestTime:
    def test_the_first_images_make_one_step_that_is_taken_back(self) -> None:
        algorithm = tiny()
        student: Any = algorithm.student
        first, later = torch.rand(2, 5, 3, 2, 2, dtype=torch.float64)
        before = copy.deepcopy(student.state_dict())
        expected = copy.deepcopy(student)
        target = algorithm.target(first, range(DOMAINS)).detach()
        inner = torch.autograd.grad(
            (expected.body(first).pooled - target).square().mean(), list(expected.body.parameters())
        )
        with torch.no_grad():
            for p, u in zip(expected.body.parameters(), inner, strict=True):
                p.sub_(2.0 * u)
            plain = algorithm.predict(later)
            with algorithm.adapted(first):
                found = algorithm.predict(later)
                torch.testing.assert_close(algorithm.predict(later[:2]), found[:2])  # batches do not matter
        torch.testing.assert_close(found, expected(later).logits)
        assert not torch.allclose(found, plain)
        assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())

    def test_without_adaptation_the_student_predicts(self) -> None:
        algorithm = tiny(adapt=False)
        first, later = torch.rand(2, 5, 3, 2, 2, dtype=torch.float64)
        with torch.no_grad(), algorithm.adapted(first):
            assert torch.equal(algorithm.predict(later), algorithm.student(later).logits)
        assert "test time" not in MetaDMoE.describe(algorithm.options)
        assert "adapted at test time to a first unlabelled batch" in MetaDMoE.describe(MetaDMoEOptions())


class TestRun:
    """The phases of a run with a real network: steps 0 and 1 experts, 2 and 3 aggregator, 4 to 7 distillation."""

    @pytest.fixture
    def run(self, domains: Path, tmp_path: Path) -> Any:
        return trainer(domains, tmp_path / "run", "meta_dmoe", steps=8, options={"alpha": 1.0})

    def test_each_phase_trains_what_it_should(self, run: Any) -> None:
        alone = [(copy.deepcopy(run.student), d) for d in range(2)]
        adams = [torch.optim.Adam(network.parameters(), lr=run.settings.lr, fused=True) for network, _ in alone]
        states = [weights(run)]
        for number in range(8):
            if number < 2:
                batch = run.batch(run.share_of(run.images_shown)[0])
                for (network, d), adam in zip(alone, adams, strict=True):
                    adam.zero_grad()
                    own = batch.of_domain(d)
                    F.cross_entropy(network(own.images).logits, own.labels).backward()
                    adam.step()
            run.train_one_step()
            states.append(weights(run))
        changed = [
            {name.partition("/")[0] for name in now if not torch.equal(now[name], before[name])}
            for before, now in pairwise(states)
        ]
        assert changed == [{"student", "experts"}] * 2 + [{"student", "aggregator"}] * 6
        heads = [not torch.equal(now["aggregator/head.1.weight"], before["aggregator/head.1.weight"])
                 for before, now in pairwise(states)]  # fmt: skip
        assert heads == [False] * 2 + [True] * 2 + [False] * 4
        for network, d in alone:
            for name, value in network.state_dict().items():
                torch.testing.assert_close(states[-1][f"experts/each.{d}.{name}"], value, rtol=1e-5, atol=1e-6)

    def test_nothing_is_measured_or_selected_in_the_warm_up(self, run: Any) -> None:
        run.fit()
        assert [line["step"] for line in run.history] == [5, 7, 8]
        assert min(best.step for best in run.best.values()) > 4
        assert run.valley.threshold is not None or run.valley.waiting

    def test_accuracy_is_measured_after_adapting_to_the_first_batch(self, run: Any) -> None:
        for _ in range(8):
            run.train_one_step()
        part, algorithm = run.target, run.algorithm
        found = run.measure_on(part, batch=4)
        run.student.eval()
        images = part.domain.images(part.indices).float() / 255
        labels = torch.from_numpy(part.domain.labels[part.indices])
        with torch.no_grad(), algorithm.adapted(images[:4]):
            logits = algorithm.predict(images)
        with torch.no_grad():
            plain = F.cross_entropy(run.student(images).logits, labels).item()
        assert found[1] == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-4)
        assert found[1] != pytest.approx(plain, rel=1e-3)

    def test_mixed_precision_predicts_with_the_adapted_weights(self, domains: Path, tmp_path: Path) -> None:
        """Autocast keeps copies of weights, which must not be those from before the inner step."""
        losses = []
        for alpha in (0.0, 5.0):
            options = {"alpha": alpha, "warm_up": 0.0}
            run = trainer(domains, tmp_path / str(alpha), "meta_dmoe", precision="bf16", options=options)
            nn.init.normal_(run.student.head.weight)
            losses.append(run.measure_on(run.target)[1])
        assert losses[0] != pytest.approx(losses[1], rel=1e-2)

    @pytest.mark.slow
    def test_a_run_that_was_stopped_in_the_warm_up_goes_on(self, domains: Path, tmp_path: Path) -> None:
        """In both of its phases; tests/smos/test_every_algorithm.py stops one later."""
        usual = {"steps": 8, "dropout": 0.5, "swad": False}
        whole = trainer(domains, tmp_path / "whole", "meta_dmoe", **usual)
        whole.fit()
        for stop in (1, 3, 8):
            run = trainer(domains, tmp_path / "cut", "meta_dmoe", **usual)
            run.watch = lambda run=run, stop=stop: run.stop() if run.steps_done == stop else None
            run.fit()
            assert run.steps_done == stop
        assert all(torch.equal(value, weights(run)[name]) for name, value in weights(whole).items())
        assert whole.history == run.history

    def test_phases_are_shares_of_time_where_the_run_has_a_time(self, domains: Path, tmp_path: Path) -> None:
        run = trainer(domains, tmp_path / "run", "meta_dmoe", core_minutes=1.0)
        for seconds, wanted in ((0.0, "experts"), (14.9, "experts"), (15.1, "aggregator"), (30.1, "aggregator")):
            run.core_seconds = seconds
            before = weights(run)
            terms = run.step(run.share_of(run.images_shown))
            changed = {name.partition("/")[0] for name, value in weights(run).items() if not value.equal(before[name])}
            assert changed == {"student", wanted}
            assert ("progress/distance" in terms) == (seconds > 30)

    def test_a_run_that_ends_in_its_warm_up_says_so(self, domains: Path, tmp_path: Path) -> None:
        run = trainer(domains, tmp_path / "run", "meta_dmoe", steps=1)
        with pytest.raises(
            BadSetting, match="steps: the run ended after 1 steps, in the warm-up of meta_dmoe; make it"
        ):
            run.fit()


def test_what_cannot_be_trained_is_named(domains: Path, tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match=r"compile: what torch\.compile makes .* set compile=false, or its option"):
        trainer(domains, tmp_path / "a", "meta_dmoe", compile=True)
    with pytest.raises(BadSetting, match="batch: meta_dmoe needs at least 2 images of each domain"):
        trainer(domains, tmp_path / "b", "meta_dmoe", batch=4, accumulate=4)
    few = OneBatch(tiny(), share=0.0)  # as one of several processes has them
    few.batch = replace(few.batch, images=few.batch.images[:DOMAINS], labels=few.batch.labels[:DOMAINS])
    with pytest.raises(BadSetting, match="batch: meta_dmoe needs at least 2 images of each domain"):
        few.gradients()
    with pytest.raises(BadSetting, match="at least two source domains"):
        MetaDMoE(MetaDMoEOptions(), tiny().student, 1)


def test_aggregator_and_experts_are_saved_beside_the_student(domains: Path, tmp_path: Path) -> None:
    run = trainer(domains, tmp_path / "run", "meta_dmoe")
    assert train_cell(run.settings) is not None
    folder = run.settings.out / "model"
    student = load_classifier(folder)
    experts = Experts(student, 2)
    experts.load_state_dict(load_file(folder / "experts.safetensors"))
    run.algorithm.aggregator.load_state_dict(load_file(folder / "aggregator.safetensors"))
    one, two = (experts.each[n].state_dict()["body.network._conv_head.weight"] for n in range(2))
    assert not torch.equal(one, two)
    assert not torch.equal(one, student.state_dict()["body.network._conv_head.weight"])


@pytest.mark.slow
def test_both_new_algorithms_are_rows_of_a_table_also_grounded(
    domains: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ["erm", "meta_dmoe", "gaqat,window=2", "smos(meta_dmoe)", "smos(gaqat)"]
    tiny_run = ["size=32", "steps=4", "evaluate_every=2", "batch=4", "device=cpu"]
    command = ["train-smos", "--data", str(domains), "--out", str(tmp_path / "t"), "--seeds", "0", "--target", "ink",
               "--preset", "cpu"]  # fmt: skip
    command += [word for row in rows for word in ("--method", row)]
    assert main([*command, *(word for setting in tiny_run for word in ("--set", setting))]) == 0
    table = capsys.readouterr().out
    assert "5 of 5 cells done" in table
    assert "- meta_dmoe: cross-entropy after a step of 0.0003 towards features mixed from experts" in table
    assert table.count("adapted at test time to a first unlabelled batch of the target") == 2
    assert "- gaqat: cross-entropy, sharpness-aware with rho 0.05, of a network quantised to 4 bits" in table
    results = json.loads((tmp_path / "t" / "results.json").read_text())
    assert results["accuracy"]["SWAD"].keys() == {"erm", "meta_dmoe", "gaqat", "smos-meta_dmoe", "smos-gaqat"}
