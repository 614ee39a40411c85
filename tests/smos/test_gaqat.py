"""GAQAT: its quantiser against slow equations, its limits SAM and SAM with LSQ, freezing, and what is written."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gen.errors import BadInput, BadSetting
from gen.smos.algorithms.gaqat import GAQATOptions, disorder, negative_inputs
from gen.smos.algorithms.sam import SAM
from gen.smos.backbones import Classifier
from gen.smos.classifiers import load_classifier, save_classifier
from gen.smos.export import export_precursor
from gen.smos.quantisers import (
    InputQuantiser,
    Quantiser,
    WeightQuantiser,
    input_quantisers,
    observing,
    quantisable,
    quantise,
)
from gen.smos.step import TrainerStep
from gen.smos.table import train_cell
from tests.smos.runs import trainer, weights

WIDE = {"low": -(2.0**40), "high": 2.0**40}


def quantiser(bits: int, signed: bool, scale: float) -> Quantiser:
    made = Quantiser(bits, signed).double()
    with torch.no_grad():
        made.scale.fill_(scale)
    return made


def slow(v: float, s: float, low: int, high: int) -> tuple[float, float, float]:
    """v̂, ∂v̂/∂v and ∂v̂/∂s of a single value."""
    ratio = v / s
    if ratio < low:
        return s * low, 0.0, low
    if ratio > high:
        return s * high, 0.0, high
    return s * round(ratio), 1.0, round(ratio) - ratio


class TestQuantiser:
    @pytest.mark.parametrize(("bits", "signed", "low", "high"), [
        (4, True, -8, 7), (3, True, -4, 3), (4, False, 0, 15), (3, False, 0, 7),
    ])  # fmt: skip
    def test_is_the_equation(self, bits: int, signed: bool, low: int, high: int) -> None:
        q, values = quantiser(bits, signed, 0.3), (6 * torch.randn(40, dtype=torch.float64)).requires_grad_()
        weight = torch.randn(40, dtype=torch.float64)
        found = q.quantise(values, count=40)
        (found * weight).sum().backward()
        wanted = [slow(v, 0.3, low, high) for v in values.tolist()]
        assert found.tolist() == pytest.approx([w[0] for w in wanted])
        assert values.grad is not None
        assert values.grad.tolist() == pytest.approx([w[1] * g for w, g in zip(wanted, weight.tolist(), strict=True)])
        by_scale = sum(w[2] * g for w, g in zip(wanted, weight.tolist(), strict=True)) / math.sqrt(40 * high)
        assert q.scale.grad is not None
        assert q.scale.grad.item() == pytest.approx(by_scale)
        assert {w[1] for w in wanted} == {0.0, 1.0}

    def test_known_values(self) -> None:
        q = quantiser(4, True, 0.5)
        value = torch.tensor(0.15, dtype=torch.float64, requires_grad=True)
        q.quantise(value, count=1).backward()
        assert q.scale.grad is not None
        assert value.grad is not None
        assert q.scale.grad.item() == pytest.approx(-0.3 / math.sqrt(7))
        assert value.grad.item() == 1

    @pytest.mark.parametrize(("bits", "signed"), [(3, True), (4, False), (8, True)])
    def test_it_is_idempotent_and_has_few_levels(self, bits: int, signed: bool) -> None:
        q, values = quantiser(bits, signed, 0.1), torch.randn(5000, dtype=torch.float64) * 10
        once = q.quantise(values, 1)
        assert torch.equal(q.quantise(once, 1), once)
        assert len(once.unique()) == 2**bits

    def test_a_scale_that_went_below_zero_still_learns(self) -> None:
        q, values = quantiser(4, True, -0.1), torch.ones(3, dtype=torch.float64)
        found = q.quantise(values, 3)
        found.sum().backward()
        assert found.isfinite().all()
        assert q.scale.grad is not None
        assert q.scale.grad.item() > 0

    def test_scales_start_at_twice_the_mean(self) -> None:
        weight = torch.randn(6, 5)
        q = WeightQuantiser(weight, 4)
        assert q.scale.item() == pytest.approx(2 * weight.abs().mean().item() / math.sqrt(7))

    def test_half_precision_is_computed_in_float32(self) -> None:
        q = InputQuantiser(4)
        values = torch.rand(2, 50).bfloat16()
        assert torch.equal(q(values), q(values.float()))


class TestDisorder:
    def test_signs_that_alternate_agree_or_are_mixed(self) -> None:
        alternating = torch.tensor([1.0, -2, 3, -4, 5])
        constant = torch.tensor([1.0, 2, 3, 4, 5])
        mixed = torch.tensor([1.0, 2, -3, -4, 0])
        found = disorder(torch.stack([alternating, constant, -constant, mixed], 1))
        assert found.tolist() == [1, 0, 0, 0.25]


class TestNetwork:
    def test_all_layers_have_quantisers_and_the_edges_have_eight_bits(self) -> None:
        network = Classifier("resnet18", ("a", "b", "c"), size=32, bits=3)
        layers = list(quantisable(network).values())
        assert len(layers) == 21
        for number, layer in enumerate(layers):
            levels = 256 if number in (0, 20) else 8
            weight: Any = layer.weight
            assert len(weight.unique()) <= levels
            assert isinstance(layer.quantiser, InputQuantiser)
        assert network.config["bits"] == 3

    def test_inputs_after_a_relu_have_no_negative_levels(self) -> None:
        found = negative_inputs(Classifier("resnet18", ("a", "b", "c"), size=32))
        assert {name for name, negative in found.items() if negative} == {"body.stem.0"}
        lite = negative_inputs(Classifier("efficientnet-lite0", ("a", "b", "c"), size=32))
        assert lite["body.network._conv_stem"]
        assert lite["body.network._blocks.3._expand_conv"]  # after a linear bottleneck
        assert not lite["body.network._blocks.3._project_conv"]
        assert not lite["head"]

    def test_a_layer_that_is_not_called_is_named(self) -> None:
        network = Classifier("resnet18", ("a", "b"), size=32)
        network.body.spare = nn.Linear(2, 2)
        with pytest.raises(BadSetting, match=r"backbone: gaqat cannot quantise its layer body\.spare"):
            negative_inputs(network)

    def test_observed_inputs_pass(self) -> None:
        network: Any = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
        quantise(network, 4)
        x = torch.randn(5, 3)
        with observing(network) as quantisers:
            found = network(x)
            assert quantisers[0].seen == x.abs().mean()
        inner = nn.functional.linear(x, network[0].weight, network[0].bias).relu()
        torch.testing.assert_close(found, nn.functional.linear(inner, network[2].weight, network[2].bias))
        assert not torch.allclose(network(x), found)

    def test_a_vit(self) -> None:
        pytest.importorskip("timm")
        network = Classifier("timm:vit_tiny_patch16_224", ("a", "b"), size=32).eval()
        assert all(negative for name, negative in negative_inputs(network).items())
        network.quantise(4)
        assert network(torch.rand(1, 3, 32, 32)).logits.isfinite().all()


def widened(run: Any) -> Any:
    """The trainer, at its second step, with ranges and scales that leave numbers as they are."""
    for module in run.student.modules():
        if isinstance(module, Quantiser):
            module.low.fill_(WIDE["low"])
            module.high.fill_(WIDE["high"])
            module.scale.data.fill_(2.0**-26)
    run.images_shown = run.settings.batch
    return run


def gradients(run: Any) -> dict[str, Tensor]:
    """Of the weights, without the scales, by their names in a plain network."""
    named = run.student.named_parameters()
    return {k.replace(".parametrizations.weight.original", ".weight"): p.grad for k, p in named if p.ndim}


class TestLimits:
    def test_a_wide_range_of_fine_steps_is_sam(self, domains: Path, tmp_path: Path) -> None:
        found = []
        for name in ("gaqat", "sam"):
            run = widened(trainer(domains, tmp_path / name, name, options={"rho": 0.5}))
            run.step(run.share_of(run.images_shown))
            found.append(gradients(run))
        whole = torch.cat([g.flatten() for g in found[1].values()]).norm()
        difference = torch.cat([(found[0][name] - g).flatten() for name, g in found[1].items()]).norm()
        assert difference < 2e-3 * whole

    def test_without_freezing_it_is_sam_with_lsq(self, domains: Path, tmp_path: Path) -> None:
        runs = []
        for name in ("one", "other"):
            run = trainer(domains, tmp_path / name, "gaqat", options={"threshold": 0.0, "window": 2, "rho": 0.5})
            for number in range(4):
                if name == "one":
                    run.step(run.share_of(run.images_shown))
                else:
                    step = TrainerStep(run, run.share_of(run.images_shown))
                    if not number:
                        run.algorithm._start_scales(step)
                    SAM.step(run.algorithm, step)
                run.images_shown += run.settings.batch
            runs.append(weights(run))
        assert all(torch.equal(value, runs[1][name]) for name, value in runs[0].items())


class TestRun:
    def test_scales_of_activations_start_from_the_first_step(self, domains: Path, tmp_path: Path) -> None:
        """The same in any number of parts."""
        for parts in (1, 2):
            run = trainer(domains, tmp_path / str(parts), "gaqat", accumulate=parts)
            samples = run.share_of(0)
            run.algorithm._start_scales(TrainerStep(run, samples))
            images = torch.cat([run.batch(part).images for part in samples])
            with torch.no_grad(), observing(run.student) as quantisers:
                run.student(images)
                for q in quantisers:
                    assert q.seen is not None
                    wanted = 2 * q.seen.item() / math.sqrt(q.high.item())
                    assert q.scale.item() == pytest.approx(wanted, rel=1e-4)
            assert len({q.scale.item() for q in input_quantisers(run.student)}) > 40

    def test_frozen_scales_learn_from_smoothness_alone(self, domains: Path, tmp_path: Path) -> None:
        run = trainer(domains, tmp_path / "run", "gaqat", steps=20, options={"window": 3, "threshold": 0.5, "rho": 0.5})
        algorithm, passes, used = run.algorithm, list[Tensor](), list[Tensor]()

        class Watched(TrainerStep):
            def backward(self, *args: Any, **kwargs: Any) -> Any:
                terms = super().backward(*args, **kwargs)
                if not algorithm.student.body.network._conv_stem.quantiser.observing:
                    passes.append(torch.stack([s.grad.clone() for s in algorithm.scales]))
                return terms

            def update(self) -> None:
                used.append(torch.stack([s.grad.clone() for s in algorithm.scales]))
                super().update()

        frozen = []
        for _ in range(12):
            frozen.append(algorithm.frozen.clone())
            terms = algorithm.step(Watched(run, run.share_of(run.images_shown)))
            assert terms["progress/frozen"] == frozen[-1].float().mean()
            run.images_shown += run.settings.batch
        task, both = passes[0::2], passes[1::2]
        for n in range(12):
            wanted = both[n] - task[n] * frozen[n]
            torch.testing.assert_close(used[n], wanted)
            window = torch.stack(task[n // 3 * 3 - 3 : n // 3 * 3]) if n >= 3 else None
            assert torch.equal(frozen[n], torch.zeros_like(frozen[n]) if window is None else disorder(window) < 0.5)
        assert 0 < frozen[3].float().mean() < 1

    def test_a_scale_thaws_after_a_window_of_disorder(self, domains: Path, tmp_path: Path) -> None:
        algorithm = trainer(domains, tmp_path / "run", "gaqat", options={"window": 4, "threshold": 0.5}).algorithm
        ones = torch.ones(len(algorithm.scales))
        calm, wild = [ones] * 4, [ones, -ones, ones, -ones]
        for number, task in enumerate([*calm, *wild, *calm]):
            assert algorithm.frozen.all() == algorithm.frozen.any() == (4 <= number < 8)
            algorithm._observe(number, task)
        assert algorithm.frozen.all()

    def test_what_is_written_gives_the_quantised_predictions(self, domains: Path, tmp_path: Path) -> None:
        run = trainer(domains, tmp_path / "run", "gaqat", options={"bits": 3, "window": 2}, steps=5)
        assert train_cell(run.settings) is not None
        saved = load_classifier(run.settings.out / "model")
        assert saved.config["bits"] == 3
        again = trainer(domains, tmp_path / "again", "gaqat", options={"bits": 3, "window": 2}, steps=5)
        again.fit()
        images = torch.rand(6, 3, 32, 32)
        with torch.no_grad(), again.using(again.selected()[again.rule][1]):
            again.student.eval()
            logits = again.student(images).logits
        with torch.no_grad():
            torch.testing.assert_close(saved(images).logits, logits, rtol=1e-5, atol=1e-5)
            plain = Classifier(**{k: v for k, v in saved.config.items() if not k.startswith("_")} | {"bits": None})
            names = {
                k.replace(".parametrizations.weight.original", ".weight"): v for k, v in saved.state_dict().items()
            }
            plain.load_state_dict({k: names[k] for k in plain.state_dict()})
            assert not torch.allclose(plain.eval()(images).logits, logits, rtol=1e-2, atol=1e-2)
        levels = [len(layer.weight.unique()) for layer in quantisable(saved).values()]  # pyright: ignore
        assert max(levels[1:-1]) == 8
        assert max(levels) <= 256

    def test_a_precursor_is_exported_with_its_quantisers(self, domains: Path, tmp_path: Path) -> None:
        run = trainer(domains, tmp_path / "run", "gaqat", target=None, swad=False)
        run.fit()
        export_precursor(run, tmp_path / "model", {}, "CC0-1.0")
        assert "a network quantised to 4 bits" in (tmp_path / "model" / "MODEL_CARD.md").read_text()
        saved, images = load_classifier(tmp_path / "model"), torch.rand(6, 3, 32, 32)
        run.student.eval()
        with torch.no_grad():
            logits = run.student(images).logits
            # The file has half precision, so that some values fall on a neighbouring level.
            assert (saved(images).logits - logits).norm() < 0.1 * logits.norm()
        assert saved.config["bits"] == 4


def test_other_bits_are_refused(domains: Path, tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="bits"):
        trainer(domains, tmp_path / "run", "gaqat", options={"bits": 5})
    assert GAQATOptions().bits == 4
    save_classifier(Classifier("resnet18", ("a", "b"), size=32, bits=4), tmp_path / "model")
    config = tmp_path / "model" / "config.json"
    config.write_text(config.read_text().replace('"bits": 4', '"bits": 40'))
    with pytest.raises(BadInput, match="bits is 40, which is wrong"):
        load_classifier(tmp_path / "model")
