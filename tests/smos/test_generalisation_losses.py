"""The equations of the generalisation algorithms against slow, obvious ones in float64."""

import copy
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen.errors import BadSetting
from gen.smos.algorithms.base import Algorithm, Batch
from gen.smos.algorithms.boda import BoDA, BoDAOptions, alignment
from gen.smos.algorithms.coral import CORAL, CORALOptions, coral
from gen.smos.algorithms.drm import DRM, DRMOptions, steer
from gen.smos.algorithms.dsp_reg import DSPReg, DSPRegOptions, MeanAndVariance, relative
from gen.smos.algorithms.fishr import Fishr, FishrOptions, gradient_variance
from gen.smos.algorithms.group_dro import DomainPenalisation, GroupDRO, GroupDROOptions, PenalisationOptions
from gen.smos.algorithms.irm import irm_penalty
from gen.smos.algorithms.mixup import Mixup, MixupOptions
from gen.smos.algorithms.registry import find
from gen.smos.algorithms.sam import ascended
from gen.smos.algorithms.soma import MinorComponents, SoMA, SoMAOptions, adapt
from gen.smos.algorithms.udim import UDIM, UDIMOptions, inconsistency
from gen.smos.backbones import Classifier, Prediction, statistics_kept
from tests.smos.runs import random_batch


def exact(actual: Tensor, wanted: Any, atol: float = 1e-12) -> None:
    wanted = wanted.detach().double() if isinstance(wanted, Tensor) else torch.as_tensor(wanted, dtype=torch.float64)
    torch.testing.assert_close(actual.detach().double(), wanted, rtol=max(1e-10, atol), atol=atol)


@pytest.fixture
def student() -> Classifier:
    return Classifier("efficientnet-lite0", ("a", "b", "c"), size=32).double()


def make(kind: type[Algorithm[Any]], options: Any, domains: int = 3) -> Any:
    return kind(options, Classifier("efficientnet-lite0", ("a", "b", "c"), size=32), domains)


def with_losses(losses: list[float], step: int = 0) -> Batch:
    """A batch of one image a domain with these cross-entropies, for two classes."""
    gaps = [-math.log(math.expm1(loss)) for loss in losses]  # log(1 + exp(-gap)) = loss
    logits = torch.tensor([[gap, 0.0] for gap in gaps], dtype=torch.float64)
    prediction = Prediction(logits, logits, [], logits)
    labels = torch.zeros(len(losses), dtype=torch.int64)
    return Batch(torch.zeros(len(losses), 3, 2, 2), labels, len(losses), lambda _: prediction, None, step)


def head_gradients(logits: Tensor, inputs: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Of each image's loss, by autograd, through a linear layer that has these logits."""
    for row, z, y in zip(logits, inputs, labels, strict=True):
        weight = torch.zeros(len(row), len(z), dtype=torch.float64, requires_grad=True)
        bias = row.detach().clone().requires_grad_()
        F.cross_entropy((weight @ z + bias)[None], y[None]).backward()
        assert weight.grad is not None
        assert bias.grad is not None
        yield weight.grad, bias.grad


class TestCORAL:
    def test_is_the_equation(self) -> None:
        x = torch.randn(3, 5, 4, dtype=torch.float64)
        total = 0.0
        for d in range(3):
            for e in range(d + 1, 3):
                a, b = x[d].numpy(), x[e].numpy()
                total += ((a.mean(0) - b.mean(0)) ** 2).mean() + ((np.cov(a.T) - np.cov(b.T)) ** 2).mean()
        exact(coral(x), total / 3)

    def test_known_values_and_symmetries(self) -> None:
        x = torch.randn(3, 5, 4, dtype=torch.float64)
        exact(coral(torch.tensor([[[0.0], [2.0]], [[0.0], [4.0]]], dtype=torch.float64)), 37.0)
        exact(coral(x[:1].expand(3, 5, 4)), 0.0)
        exact(coral(x[:1]), 0.0)
        for same in (x.flip(0), x.flip(1), x + torch.randn(4, dtype=torch.float64)):
            exact(coral(same), coral(x))
        rotation = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64)).Q
        exact(coral(x @ rotation), coral(x))

    def test_one_image_a_domain_has_no_covariance(self) -> None:
        with pytest.raises(BadSetting, match="coral needs at least 2 images of each domain"):
            make(CORAL, CORALOptions()).joint_terms(random_batch(size=1))


class TestIRM:
    def test_is_the_gradient_by_a_scale(self) -> None:
        batch = random_batch()
        logits, labels = (batch.by_domain(x) for x in (batch.prediction.logits, batch.labels))
        total = torch.zeros((), dtype=torch.float64)
        for domain in range(3):
            halves = []
            for first in (0, 1):
                scale = torch.ones((), dtype=torch.float64, requires_grad=True)
                loss = F.cross_entropy(logits[domain, first::2] * scale, labels[domain, first::2])
                halves.append(torch.autograd.grad(loss, scale, create_graph=True)[0])
            total = total + halves[0] * halves[1]
        found = irm_penalty(logits, labels)
        exact(found, total / 3)
        gradients = [torch.autograd.grad(x, batch.prediction.logits, retain_graph=True)[0] for x in (found, total / 3)]
        exact(gradients[0], gradients[1])

    def test_the_weight_changes_at_the_start(self) -> None:
        irm = make(find("irm"), find("irm").options_class(penalty=20.0, early_penalty=2.0, start=3))
        before, after = (irm.joint_terms(random_batch(step=step))["irm"] for step in (2, 3))
        exact(after, 10 * before)


class TestFishr:
    def test_the_variance_is_that_of_gradients_of_images(self) -> None:
        batch = random_batch(domains=1, size=7)
        logits, z, labels = batch.prediction.logits, batch.prediction.pooled, batch.labels
        each = [torch.cat([w.flatten(), b]) for w, b in head_gradients(logits, z, labels)]
        exact(gradient_variance(logits, z, labels), torch.stack(each).var(0, correction=0))

    def test_the_penalty_and_its_average(self) -> None:
        """u = 1, 1.95, 2.8525 ... times v for a constant v, and the gradient is that of the newest v alone."""
        options = FishrOptions(penalty=10.0, start=0, ema=0.95)
        fishr, batch = make(Fishr, options), random_batch()
        logits, z, labels = (
            batch.by_domain(x) for x in (batch.prediction.logits, batch.prediction.pooled, batch.labels)
        )
        v = torch.stack([gradient_variance(logits[d], z[d], labels[d]) for d in range(3)])
        for factor in (1.0, 1.95, 2.8525):
            wanted = 10 * (factor * (v - v.mean(0))).square().mean()
            exact(fishr.joint_terms(batch)["fishr"], wanted, atol=1e-6)  # computed in float32

    def test_equal_domains_have_none_and_order_does_not_matter(self) -> None:
        batch = random_batch(domains=1)
        p, labels = batch.prediction, batch.labels.repeat(3)
        thrice = Prediction(p.logits.repeat(3, 1), p.pooled.repeat(3, 1), [], p.pooled.repeat(3, 1))
        equal = Batch(torch.zeros(12, 1), labels, 3, lambda _: thrice)
        options = FishrOptions(penalty=10.0, start=0)
        exact(make(Fishr, options).joint_terms(equal)["fishr"], 0.0, atol=1e-15)
        exact(make(Fishr, options, domains=1).joint_terms(batch)["fishr"], 0.0, atol=1e-15)
        three = random_batch()
        order = torch.arange(12).view(3, 4).flip(0, 1).flatten()
        q = Prediction(*(x[order] for x in three.prediction[:2]), [], three.prediction.pooled[order])
        turned = replace(three, labels=three.labels[order], forward=lambda _: q)
        found = [make(Fishr, options).joint_terms(b)["fishr"] for b in (turned, three)]
        exact(found[0], found[1], atol=1e-6)

    def test_it_starts_late(self) -> None:
        fishr = make(Fishr, FishrOptions(start=5))
        assert fishr.joint_terms(random_batch(step=4)) == {}
        assert fishr.mean.abs().sum() > 0
        assert fishr.joint_terms(random_batch(step=5)).keys() == {"fishr"}


class TestGroupDRO:
    def test_weights_follow_the_exponentials_of_losses(self) -> None:
        dro = make(GroupDRO, GroupDROOptions(eta=math.log(3)), domains=2)
        losses = [0.5, 1.5]
        loss = dro.joint_terms(with_losses(losses))["cross_entropy"]
        exact(dro.weights, [0.25, 0.75], atol=1e-6)
        exact(loss, 0.25 * 0.5 + 0.75 * 1.5, atol=1e-6)
        dro.joint_terms(with_losses([1.0, 0.25]))
        wanted = np.exp(math.log(3) * np.array([1.5, 1.75]))
        exact(dro.weights, wanted / wanted.sum(), atol=1e-6)
        assert dro.weights.sum().item() == pytest.approx(1)

    def test_what_is_added_to_all_losses_changes_nothing(self) -> None:
        found = []
        for added in (0.0, 2.0):
            dro = make(GroupDRO, GroupDROOptions(eta=1.0), domains=2)
            dro.joint_terms(with_losses([0.5 + added, 1.0 + added]))
            found.append(dro.weights)
        exact(found[0], found[1], atol=1e-6)


class TestDomainPenalisation:
    def test_an_epochs_losses_make_the_weights_of_the_next(self) -> None:
        it = make(DomainPenalisation, PenalisationOptions(epoch=2), domains=2)
        losses = [[0.5, 0.5], [0.5, 0.5 + 2 * math.log(3)]]
        for step, each in enumerate(losses):
            exact(it.joint_terms(with_losses(each, step))["cross_entropy"], sum(each) / 2, atol=1e-6)  # ERM
        exact(it.weights, [0.25, 0.75], atol=1e-6)
        exact(it.joint_terms(with_losses([1.0, 2.0], 2))["cross_entropy"], 2 * (0.25 + 1.5) / 2, atol=1e-6)


class TestMixup:
    def test_is_the_equation(self) -> None:
        images = torch.rand(12, 3, 2, 2)
        weight = torch.randn(12, 5)
        seen: list[Tensor] = []

        def forward(x: Tensor) -> Prediction:
            seen.append(x)
            return Prediction(x.flatten(1) @ weight, x.flatten(1), [])

        labels = torch.randint(0, 5, (12,))
        mixup = make(Mixup, MixupOptions(alpha=1.0))
        plain = Batch(images, labels, 3, forward, None, step=7, seed=3)
        found = mixup.terms(mixup.prepare(plain))["cross_entropy"]
        partner, lam = mixup.draw(plain.generator, 3)
        total = 0.0
        for d in range(3):
            e = int(partner[d])
            for n in range(4):
                i, j = 4 * d + n, 4 * e + n
                mixed = lam[d] * images[i] + (1 - lam[d]) * images[j]
                torch.testing.assert_close(seen[0][i], mixed.float())
                log_p = (mixed.float().flatten() @ weight).log_softmax(-1)
                total -= lam[d] * log_p[labels[i]] + (1 - lam[d]) * log_p[labels[j]]
        torch.testing.assert_close(found.double(), torch.as_tensor(total).double() / 12, rtol=1e-5, atol=1e-6)

    def test_the_domains_form_a_ring(self) -> None:
        mixup = make(Mixup, MixupOptions())
        for seed in range(20):
            partner, lam = mixup.draw(np.random.default_rng(seed), 4)
            at, visited = 0, set[int]()
            for _ in range(4):
                visited.add(at)
                at = int(partner[at])
            assert (at, len(visited)) == (0, 4)
            assert ((lam >= 0) & (lam <= 1)).all()


class TestSAM:
    def test_the_gradient_is_taken_above_and_the_weights_come_back(self) -> None:
        """L = ½‖θ‖² has g' = (1 + ρ / ‖θ‖) θ."""
        network = nn.Linear(2, 1, bias=False, dtype=torch.float64)
        theta = torch.tensor([[3.0, 4.0]], dtype=torch.float64)
        with torch.no_grad():
            network.weight.copy_(theta)
        for scale in (1.0, 100.0):  # ε does not depend on the scale of the loss
            network.weight.grad = None
            (scale * network.weight.square().sum() / 2).backward()
            with ascended(network, 0.05):
                exact(network.weight, [[3.03, 4.04]])
            assert torch.equal(network.weight, theta)

    def test_a_gradient_of_zero_moves_nothing(self) -> None:
        network = nn.Linear(2, 1)
        (network(torch.zeros(1, 2)).sum() * 0).backward()
        before = network.weight.clone()
        with ascended(network, 1.0):
            assert torch.equal(network.weight, before)

    def test_running_statistics_are_kept(self) -> None:
        norm = nn.Sequential(nn.BatchNorm2d(3))
        with statistics_kept(norm):
            out = norm(torch.randn(4, 3, 2, 2))
        assert abs(out.mean().item()) < 1e-6  # it normalises by the batch
        assert norm[0].num_batches_tracked == 0
        assert torch.equal(norm[0].running_mean, torch.zeros(3))
        norm(torch.randn(4, 3, 2, 2))
        assert norm[0].num_batches_tracked == 1


class TestDRM:
    def test_agreeing_layers_say_what_they_say(self) -> None:
        logits = torch.randn(6, 5, dtype=torch.float64)
        for gamma in (-1, 0, 0.5, 5):
            exact(steer(logits.expand(3, 6, 5), gamma), logits.log_softmax(-1))

    @pytest.mark.parametrize("gamma", [0, 0.5, 2])
    def test_weights_are_powers_of_the_entropy(self, gamma: float) -> None:
        logits = torch.randn(3, 4, 5, dtype=torch.float64)
        p = np.exp(logits.numpy()) / np.exp(logits.numpy()).sum(-1, keepdims=True)
        entropy = -(p * np.log(p)).sum(-1)
        w = entropy**-gamma / (entropy**-gamma).sum(0)
        exact(steer(logits, gamma).exp(), (w[..., None] * p).sum(0))

    def test_limits(self) -> None:
        logits = torch.randn(3, 4, 5, dtype=torch.float64)
        exact(steer(logits, 0).exp(), logits.softmax(-1).mean(0))
        exact(steer(logits, 1000.0), steer(logits, -1))
        sure = torch.tensor([[[900.0, 0.0]], [[0.0, 0.1]]])  # an entropy of 0
        assert steer(sure, 1.0).isfinite().all()

    def test_training_at_the_start_is_erm(self, student: Classifier) -> None:
        """All layers start equal, so the features' gradient is ERM's."""
        drm = DRM(DRMOptions(), student.float(), 3)
        z = torch.rand(6, student.body.width, requires_grad=True)
        labels = torch.tensor([0, 1, 2, 0, 1, 2])
        prediction = Prediction(student.head(z), z, [], z)
        batch = Batch(torch.zeros(6, 1), labels, 3, lambda _: prediction)
        total = torch.stack(list(drm.terms(batch).values())).sum()
        wanted = F.cross_entropy(student.head(z), labels)
        found, erm = (torch.autograd.grad(x, z, retain_graph=True)[0] for x in (total, wanted))
        torch.testing.assert_close(found, erm, rtol=1e-5, atol=1e-8)

    def test_retraining_is_off_above_a_confidence_of_one_and_leaves_the_layers(self, student: Classifier) -> None:
        drm = DRM(DRMOptions(adapt_steps=3, adapt_lr=0.1, confidence=1.1), student.float(), 2)
        with torch.no_grad():
            for head in drm.heads:
                head.weight.normal_()  # pyright: ignore
        before = copy.deepcopy(drm.heads.state_dict())
        pooled = torch.rand(5, student.body.width)
        with torch.no_grad():
            plain = DRM(DRMOptions(), student, 2)
            plain.heads = drm.heads
            assert torch.equal(drm.mix(pooled, pooled[:, :3]), plain.mix(pooled, pooled[:, :3]))
            sure = DRM(DRMOptions(adapt_steps=3, adapt_lr=0.1, confidence=0.0), student, 2)
            sure.heads = drm.heads
            adapted = sure.mix(pooled, pooled[:, :3])
        assert not torch.equal(adapted, plain.mix(pooled, pooled[:, :3]))
        for name, value in before.items():
            assert torch.equal(value, drm.heads.state_dict()[name])

    @pytest.mark.parametrize("labels", ["mixture", "mean", "shared", "own"])
    def test_a_retraining_step_is_adam_on_pseudo_labels(self, labels: Any, student: Classifier) -> None:
        student.float()
        options = DRMOptions(adapt_steps=1, adapt_lr=0.01, confidence=0.4, adapt_labels=labels)
        drm = DRM(options, student, 2)
        for head in drm.heads:
            nn.init.normal_(head.weight, std=0.1)  # pyright: ignore
        pooled = torch.rand(8, student.body.width)
        shared = student.head(pooled).detach()
        heads = copy.deepcopy(drm.heads)
        adam = torch.optim.Adam(heads.parameters(), lr=0.01)
        losses = []
        logits = torch.stack([head(pooled) for head in heads])
        for d in range(2):
            p = {
                "mixture": steer(logits.detach(), 1.0).exp(), "mean": logits.detach().softmax(-1).mean(0),
                "shared": shared.softmax(-1), "own": logits[d].detach().softmax(-1),
            }[labels]  # fmt: skip
            for n in range(8):
                if p[n].max() >= 0.4:
                    losses.append(-logits[d, n].log_softmax(-1)[p[n].argmax()])
        assert losses
        torch.stack(losses).mean().backward()
        adam.step()
        wanted = steer(torch.stack([head(pooled) for head in heads]), 1.0)
        with torch.no_grad():
            torch.testing.assert_close(drm.mix(pooled, shared), wanted, rtol=1e-4, atol=1e-4)


class TestDSPReg:
    def test_mean_and_variance_of_sets(self) -> None:
        sets = [[torch.randn(2, 3, dtype=torch.float64), torch.randn(4, dtype=torch.float64)] for _ in range(4)]
        found = MeanAndVariance()
        for each in sets:
            found.add(each)
        for n in range(2):
            stack = torch.stack([each[n] for each in sets])
            exact(found.mean[n], stack.mean(0))
            exact(found.variance()[n], stack.var(0, correction=0))

    def test_quadratics_have_the_variance_of_their_minima(self) -> None:
        """L_d = ½ (θ - a_d)²: s = Var(a) for every θ, and a common shift of the gradients changes nothing."""
        minima = torch.tensor([1.0, 2.0, 6.0], dtype=torch.float64)
        for theta in (0.0, 5.0, -3.0):
            found = MeanAndVariance()
            for a in minima:
                found.add([torch.tensor([theta], dtype=torch.float64) - a])
            exact(found.variance()[0], [minima.var(correction=0).item()])

    def test_scale_cancels(self) -> None:
        s = torch.rand(5, dtype=torch.float64)
        exact(relative(s), relative(100 * s))
        exact(relative(s).mean(), 1.0)
        exact(relative(torch.zeros(3, dtype=torch.float64)), torch.zeros(3))

    def test_the_pull_is_the_gradient_of_the_penalty(self, student: Classifier) -> None:
        dsp = DSPReg(DSPRegOptions(penalty=0.3), student, 2)
        parameters = [nn.Parameter(torch.randn(3, dtype=torch.float64)) for _ in range(2)]
        sensitivity = [torch.rand(3, dtype=torch.float64) for _ in range(2)]
        for towards in (None, [torch.randn(3, dtype=torch.float64) for _ in range(2)]):
            dsp.sensitivity, dsp.start = sensitivity, towards or []
            penalty = torch.zeros((), dtype=torch.float64)
            for n, p in enumerate(parameters):
                p.grad = torch.ones_like(p)
                a = towards[n] if towards else 0.0
                penalty = penalty + 0.3 * (sensitivity[n] / sensitivity[n].mean() * (p - a) ** 2).sum()
            wanted = torch.autograd.grad(penalty, parameters)
            torch.testing.assert_close(dsp._pull(parameters), penalty.detach().float())
            for p, g in zip(parameters, wanted, strict=True):
                assert p.grad is not None
                exact(p.grad, 1 + g)


class TestSoMA:
    def test_the_parts_of_a_weight(self) -> None:
        weight = torch.randn(7, 5, dtype=torch.float64)
        minor = MinorComponents(weight, 2)
        product = (minor.B @ minor.A)[0].detach()
        residual = weight - product
        exact(torch.linalg.svdvals(residual)[:3], torch.linalg.svdvals(weight)[:3])
        assert torch.linalg.matrix_rank(residual).item() == 3
        exact(minor.B[0].T @ residual, torch.zeros(2, 5), atol=1e-10)
        exact(residual @ minor.A[0].T, torch.zeros(7, 2), atol=1e-10)
        exact(torch.linalg.svdvals(minor.A[0]), torch.linalg.svdvals(weight)[3:].sqrt())

    def test_three_fused_weights_are_three(self) -> None:
        weight = torch.randn(9, 4, dtype=torch.float64)
        minor = MinorComponents(weight, 1, parts=3)
        for n, rows in enumerate(weight.split(3)):
            alone = MinorComponents(rows, 1)
            exact(minor.B[n] @ minor.A[n], alone.B[0] @ alone.A[0])

    @pytest.mark.parametrize("layer", [nn.Linear(6, 4), nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 1, bias=False)])
    def test_a_layer_is_unchanged_until_it_learns(self, layer: Any) -> None:
        layer = copy.deepcopy(layer).double()
        x = torch.randn(2, *((6,) if isinstance(layer, nn.Linear) else (3, 5, 5)), dtype=torch.float64)
        before = layer(x)
        adapt(layer, 2, 1)
        exact(layer(x), before)
        layer(x).sum().backward()
        grads = {name for name, p in layer.named_parameters() if p.grad is not None}
        expected = {"parametrizations.weight.0.A", "parametrizations.weight.0.B"} | (
            {"bias"} if layer.bias is not None else set()
        )
        assert grads == expected

    def test_a_network_is_unchanged_at_first_and_merged_later(self) -> None:
        student = Classifier("efficientnet-lite0", ("a", "b"), size=32)
        student.body.load_imagenet()
        student.double().eval()
        plain = copy.deepcopy(student)
        soma = SoMA(SoMAOptions(rank=4), student, 2)
        x = torch.rand(2, 3, 32, 32, dtype=torch.float64)
        exact(student(x).logits, plain(x).logits, atol=1e-8)
        optimizer = torch.optim.SGD([p for p in student.parameters() if p.requires_grad], lr=0.1)
        student(x).logits.square().sum().backward()
        optimizer.step()
        learnt = student(x).logits.detach()
        assert (learnt - plain(x).logits).abs().max() > 1e-3
        merged = dict(soma.plain_weights())
        plain.load_state_dict(merged)
        exact(plain(x).logits, learnt, atol=1e-8)
        soma.load_plain_weights({k: v.clone() for k, v in merged.items()})
        exact(student(x).logits, learnt, atol=1e-8)
        names = {n for n, p in student.named_parameters() if p.requires_grad}
        assert {n.rpartition(".")[2] for n in names} == {"A", "B", "weight", "bias"}
        assert {n for n in names if n.endswith("weight")} == {"head.weight"}

    def test_the_mean_of_merged_weights_is_not_the_product_of_means(self) -> None:
        """Why SWAD averages the merged weights."""
        layer = nn.Linear(4, 4).double()
        adapt(layer, 1, 1)
        minor: Any = layer.parametrizations["weight"][0]  # pyright: ignore
        products, factors = [], []
        for _ in range(2):
            with torch.no_grad():
                minor.A.normal_()
                minor.B.normal_()
            products.append((minor.B @ minor.A).detach())
            factors.append((minor.A.detach().clone(), minor.B.detach().clone()))
        a, b = (sum(f[n] for f in factors) / 2 for n in range(2))
        assert (torch.stack(products).mean(0) - b @ a).abs().max() > 1e-3

    def test_fused_weights_of_a_vit_are_found(self) -> None:
        pytest.importorskip("timm")
        student = Classifier("timm:vit_tiny_patch16_224", ("a", "b"), size=32).eval()
        x = torch.rand(1, 3, 32, 32)
        before = student(x).logits
        soma = SoMA(SoMAOptions(rank=2, frozen=0.5), student, 2)
        torch.testing.assert_close(student(x).logits, before, rtol=1e-4, atol=1e-4)
        fused = [layer for name, layer in soma.layers.items() if name.endswith("qkv")]
        assert fused
        for layer in fused:
            assert len(layer.parametrizations["weight"][0].A) == 3  # pyright: ignore


class TestBoDA:
    @staticmethod
    def pairs(domains: int = 3, classes: int = 4, width: int = 5) -> tuple[Tensor, Tensor]:
        means = torch.randn(domains, classes, width, dtype=torch.float64)
        return means, torch.randint(3, 9, (domains, classes)).double()

    def test_is_the_equation(self) -> None:
        means, counts = self.pairs()
        counts[1, 2] = 0  # a class that a domain lacks
        z = torch.randn(3, 2, 5, dtype=torch.float64)
        labels = torch.tensor([[0, 1], [0, 3], [2, 1]])
        nu, tau, terms = 0.5, 2.0, []
        pairs = [(d, c) for d in range(3) for c in range(4) if counts[d, c]]
        for d in range(3):
            for n in range(2):
                own = (d, int(labels[d, n]))
                n_i = counts[own].item()
                score = {
                    k: -(np.linalg.norm(means[k].numpy() - z[d, n].numpy()) / n_i)
                    * (counts[k].item() / n_i) ** nu
                    / tau
                    for k in pairs
                }
                rest = math.log(sum(math.exp(score[k]) for k in pairs if k != own))
                terms += [score[k] - rest for k in pairs if k[1] == own[1] and k[0] != own[0]]
        exact(alignment(z, labels, means, counts, nu, tau), -np.mean(terms))

    def test_known_values_and_symmetries(self) -> None:
        for domains, value in ((3, math.log(20)), (4, math.log(27))):  # log(pairs - 1)
            means, counts = self.pairs(domains, 7)
            z, labels = torch.zeros(domains, 1, 5, dtype=torch.float64), torch.zeros(domains, 1, dtype=torch.int64)
            exact(alignment(z, labels, torch.zeros_like(means), counts, 0.5, 1.0), value)
        (means, counts), z = self.pairs(), torch.randn(3, 2, 5, dtype=torch.float64)
        labels = torch.tensor([[0, 1], [2, 3], [0, 3]])
        value, shift = alignment(z, labels, means, counts, 0.5, 1.0), torch.randn(5, dtype=torch.float64)
        exact(alignment(z + shift, labels, means + shift, counts, 0.5, 1.0), value)
        exact(alignment(z, labels, means, 4 * counts, 0.5, 1.0 / 4), value)

    def test_a_class_of_one_domain_has_nothing_to_meet(self) -> None:
        counts = torch.tensor([[3.0, 0.0], [0.0, 4.0]])
        z = torch.randn(2, 1, 5, requires_grad=True)
        loss = alignment(z, torch.tensor([[0], [1]]), torch.randn(2, 2, 5), counts, 0.5, 1.0)
        loss.backward()
        assert loss.item() == 0
        assert z.grad is not None
        assert not z.grad.any()

    def test_without_alignment_it_is_coral(self) -> None:
        batch = random_batch()
        found = make(BoDA, BoDAOptions(alignment=0.0, gamma=0.7)).joint_terms(batch)
        assert found.keys() == {"coral"}
        exact(found["coral"], make(CORAL, CORALOptions(gamma=0.7)).joint_terms(batch)["coral"], atol=1e-7)


class TestUDIM:
    def test_is_the_equation(self) -> None:
        g = torch.Generator().manual_seed(1)
        logits = torch.randn(2, 6, 4, generator=g, dtype=torch.float64)
        z = torch.rand(2, 6, 3, generator=g, dtype=torch.float64)
        labels = torch.randint(0, 4, (6,), generator=g)
        clean, moved = (list(head_gradients(logits[n], z[n], labels)) for n in range(2))
        joined = [torch.stack([torch.cat([w.flatten(), b]) for w, b in each]) for each in (clean, moved)]
        v = joined[0].var(0, correction=0)
        about = (joined[1] - joined[0].mean(0)).square().mean(0)
        norms = sum(np.mean([float(pair[n].square().sum()) for pair in moved]) / moved[0][n].numel() for n in range(2))
        exact(inconsistency(logits, z, labels), (v - about).square().mean() / 4 + norms)

    def test_equal_images_leave_the_second_term(self) -> None:
        batch = random_batch(domains=1)
        p = batch.prediction
        twice = inconsistency(torch.stack([p.logits] * 2), torch.stack([p.pooled] * 2), batch.labels)
        each = list(head_gradients(p.logits, p.pooled, batch.labels))
        wanted = sum(np.mean([float(g[n].square().mean()) for g in each]) for n in range(2))
        exact(twice, wanted)

    @staticmethod
    def tiny(eta: float, normalise: Any = "image", rho: float = 0.3) -> UDIM:
        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.body = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.Tanh())
                self.head = nn.Linear(5, 3)

            def forward(self, x: Tensor) -> Prediction:
                z = self.body(x)
                return Prediction(self.head(z), z, [], z)

        torch.manual_seed(3)
        net: Any = Net().double()
        return UDIM(UDIMOptions(rho=rho, eta=eta, normalise=normalise), net, 2)

    def test_the_perturbation_ascends_the_sharp_loss(self) -> None:
        """Its direction against finite differences of L + ρ ‖∇L‖, and its length."""
        udim = self.tiny(0.7)
        x, y = torch.rand(3, 3, 2, 2, dtype=torch.float64), torch.tensor([0, 1, 2])

        def sharp(images: Tensor) -> float:
            loss = F.cross_entropy(udim.student(images).logits, y)
            gradients = torch.autograd.grad(loss, list(udim.student.parameters()))
            return (loss + 0.3 * torch.cat([g.flatten() for g in gradients]).norm()).item()

        step = 1e-5
        numeric = torch.zeros_like(x)
        for n in range(x.numel()):
            up, down = x.clone(), x.clone()
            up.view(-1)[n] += step
            down.view(-1)[n] -= step
            numeric.view(-1)[n] = (sharp(up) - sharp(down)) / (2 * step)
        moved = udim.perturbed(x, y) - x
        torch.testing.assert_close(moved.flatten(1).norm(dim=1), torch.full((3,), 0.7, dtype=torch.float64))
        cosine = F.cosine_similarity(moved.flatten(1), numeric.flatten(1))
        torch.testing.assert_close(cosine, torch.ones(3, dtype=torch.float64), rtol=0, atol=1e-5)
        across = self.tiny(0.7, "batch").perturbed(x, y) - x
        torch.testing.assert_close(across.norm(dim=0), torch.full((3, 2, 2), 0.7, dtype=torch.float64))
        assert torch.equal(self.tiny(0.0).perturbed(x, y), x)
        assert all(p.grad is None for p in udim.student.parameters())


def test_grounding_adds_its_terms_and_describes_them(tmp_path: Path) -> None:
    """smos(coral) has CORAL's terms and SMOS's, and smos(erm) is SMOS."""
    from gen.smos.settings import SMOSSettings

    settings = SMOSSettings(data=Path(), out=tmp_path, js_weight=0.7, mi_weight=0.3, options={"gamma": 2.0})
    kind = find("smos(coral)")
    options = kind.read_options(settings)
    assert (options.gamma, options.js_weight, options.mi_weight) == (2.0, 0.7, 0.3)
    assert kind.reference == "precursor"
    assert kind.describe(options) == (
        "cross-entropy + 2 distance of the domains' means and covariances + 0.7 JS at temperature 1 + 0.3 L_MI to the "
        "precursor"
    )
    plain = find("smos")
    own = plain.read_options(replace(settings, options=None))
    twin = find("smos(erm)")
    assert twin.describe(twin.read_options(replace(settings, options=None))) == plain.describe(own)
    batch = random_batch(width=1280, classes=3)
    algorithm = make(kind, replace(options, mi_weight=0.0))
    assert algorithm.terms(batch).keys() == {"cross_entropy", "grounding"}
    assert algorithm.joint_terms(batch).keys() == {"coral"}
    assert algorithm.networks().keys() == {"variances"}
    assert make(find("smos_kl(drm)"), find("smos_kl(drm)").options_class()).networks().keys() == {"heads", "variances"}


def test_what_cannot_be_grounded_is_named() -> None:
    with pytest.raises(BadSetting, match="miro has a frozen network of its own"):
        find("smos(miro)")
    with pytest.raises(BadSetting, match="unknown algorithm 'corel'; did you mean coral"):
        find("smos(corel)")
    with pytest.raises(BadSetting, match="unknown algorithm"):
        find("sam(coral)")
