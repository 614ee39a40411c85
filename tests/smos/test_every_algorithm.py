"""What every shipped algorithm must do in the trainer: limits, parts, resume, selection."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from gen.errors import BadSetting
from gen.smos.algorithms.registry import ALGORITHMS, find
from gen.smos.backbones import Classifier
from gen.smos.classifiers import load_classifier, save_classifier
from gen.smos.step import TrainerStep
from gen.smos.table import train_cell
from gen.smos.training import SMOSTrainer
from tests.smos.runs import same, trainer, weights

pytestmark = pytest.mark.devices  # minutes, as all that is done with every trainer

LIKE_ERM: dict[str, dict[str, Any]] = {
    "sam": {"rho": 0.0},
    "groupdro": {"eta": 0.0},
    "domain_penalisation": {"epoch": 100},
    "coral": {"gamma": 0.0},
    "mixup": {"alpha": 0.0},
    "fishr": {"penalty": 0.0},
    "irm": {"penalty": 0.0, "early_penalty": 0.0},
    "dsp_reg": {"penalty": 0.0},
    "udim": {"rho": 0.0, "inconsistency": 0.0},
    "boda": {"alignment": 0.0, "gamma": 0.0},
}
"""Options that make each algorithm ERM."""

STRONG: dict[str, dict[str, Any]] = {
    "sam": {"rho": 0.5},
    "groupdro": {"eta": 1.0},
    "domain_penalisation": {"epoch": 2},
    "coral": {"gamma": 10.0},
    "mixup": {"alpha": 1.0},
    "fishr": {"penalty": 100.0, "start": 2},
    "irm": {"penalty": 10.0, "start": 2},
    "dsp_reg": {"penalty": 0.01, "towards": "start"},
    "udim": {"rho": 0.1, "eta": 1.0, "start": 1},
    "drm": {},
    "soma": {"rank": 4},
    "boda": {"start": 1, "every": 2},
    "meta_dmoe": {"alpha": 1.0},
    "gaqat": {"rho": 0.1, "window": 2, "threshold": 1.0},
}
"""Options with which four steps show what an algorithm does."""


def stepped(run: SMOSTrainer, steps: int) -> SMOSTrainer:
    """The trainer after some steps, without evaluations, records and checkpoints."""
    for _ in range(steps):
        run.step(run.share_of(run.images_shown))
        run.images_shown += run.settings.batch
    return run


@pytest.fixture(scope="module")
def erm(domains: Path, tmp_path_factory: pytest.TempPathFactory) -> SMOSTrainer:
    return stepped(trainer(domains, tmp_path_factory.mktemp("erm") / "run", "erm", dropout=0.5), 4)


@pytest.mark.parametrize("name", LIKE_ERM)
def test_at_weight_zero_it_is_erm_bit_for_bit(name: str, erm: SMOSTrainer, domains: Path, tmp_path: Path) -> None:
    run = trainer(domains, tmp_path / "run", name, options=LIKE_ERM[name], dropout=0.5)
    assert same(erm, stepped(run, 4))


# UDIM perturbs the images of a part, and says so.
@pytest.mark.parametrize("name", sorted(STRONG.keys() - {"udim"}))
def test_parts_make_the_same_step(name: str, domains: Path, tmp_path: Path) -> None:
    """Gradients of one step; in float32, hence the tolerance. Terms of parts alone differ by far more."""
    now = {"start": 0} if "start" in STRONG[name] else {}
    found: list[torch.Tensor] = []
    for parts in (1, 2):
        options = STRONG[name] | now
        run = stepped(trainer(domains, tmp_path / str(parts), name, options=options, accumulate=parts), 1)
        networks = run.raw.values()
        found.append(torch.cat([p.grad.flatten() for n in networks for p in n.parameters() if p.grad is not None]))
    assert (found[0] - found[1]).norm() < 2e-3 * found[0].norm()


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow) if n == "meta_dmoe" else n for n in STRONG],  # five networks to save
)
def test_a_run_that_was_stopped_goes_on_as_if_it_was_not(
    name: str, erm: SMOSTrainer, domains: Path, tmp_path: Path
) -> None:
    usual = {"options": STRONG[name], "dropout": 0.5, "evaluate_every": 3}
    whole = trainer(domains, tmp_path / "whole", name, **usual)
    whole.fit()
    assert name in ("soma", "gaqat") or not same(erm, whole)  # their parameters have other names
    cut = trainer(domains, tmp_path / "cut", name, **usual)
    cut.watch = lambda: cut.stop() if cut.steps_done == 3 else None
    cut.fit()
    assert not cut.finished
    again = trainer(domains, tmp_path / "cut", name, **usual)
    again.fit()
    for key, value in weights(whole).items():
        assert torch.equal(value, weights(again)[key]), key
    assert _figures(whole) == _figures(again)


@pytest.fixture(scope="module")
def precursor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(7)
    network = Classifier("efficientnet-lite0", ("x", "y"), size=32)
    network.body.load_imagenet()
    folder = tmp_path_factory.mktemp("precursor")
    save_classifier(network, folder)
    return folder


@pytest.mark.parametrize("name", ["sam", "coral", "mixup", "drm", "soma", "meta_dmoe", "gaqat"])
def test_grounding_of_weight_zero_leaves_an_algorithm_as_it_is_and_else_does_not(
    name: str, precursor: Path, domains: Path, tmp_path: Path
) -> None:
    plain = stepped(trainer(domains, tmp_path / "plain", name, options=STRONG[name]), 3)
    usual = {"options": STRONG[name], "precursor": precursor, "mi_weight": 0.0}
    zero, one = (
        stepped(trainer(domains, tmp_path / str(weight), f"smos({name})", js_weight=weight, **usual), 3)
        for weight in (0.0, 100.0)
    )
    for network in plain.raw:
        assert same(plain, zero, network)
    assert not same(plain, one)
    assert zero.optimizers.keys() == plain.optimizers.keys() | {"variances"}


def test_soma_is_selected_averaged_and_saved_merged(domains: Path, tmp_path: Path) -> None:
    run = trainer(domains, tmp_path / "run", "soma", options=STRONG["soma"], steps=5)
    run.fit()
    images = torch.rand(4, 3, 32, 32)
    own = weights(run)
    for _, selected in run.selected().values():
        assert not any("parametrizations" in key for key in selected)
        with run.using(selected):
            run.student.eval()
            logits = run.student(images).logits.detach()
            save_classifier(run.classifier(), tmp_path / "model")
        saved = load_classifier(tmp_path / "model").eval()
        torch.testing.assert_close(saved(images).logits, logits, rtol=1e-4, atol=1e-4)
    for key, value in weights(run).items():  # A and B are put back after a look at other weights
        assert torch.equal(value, own[key])
    averaged = run.selected()["SWAD"][1]["body.network._conv_head.weight"]
    assert averaged.shape == run.student.body.network._conv_head.weight.shape
    assert not torch.equal(averaged, run.student.body.network._conv_head.weight)


def test_means_of_classes_are_those_of_the_training_images(domains: Path, tmp_path: Path) -> None:
    run = trainer(domains, tmp_path / "run", "boda")
    means, counts = TrainerStep(run, []).class_means()
    assert run.student.training
    run.student.eval()
    for d, part in enumerate(run.train_parts):
        for c in range(2):
            own = part.indices[part.domain.labels[part.indices] == c]
            assert counts[d, c] == len(own) > 0
            with torch.no_grad():
                pooled = run.student(part.domain.images(own).float() / 255).pooled
            torch.testing.assert_close(means[d, c], pooled.mean(0), rtol=1e-4, atol=1e-4)


def test_rendered_scenes_have_no_means_of_classes(tmp_path: Path) -> None:
    settings = {"data": Path("scenes"), "target": None, "batch": 2, "workers": 0}
    run = trainer(Path("scenes"), tmp_path / "run", "boda", **settings)
    with pytest.raises(BadSetting, match="data=scenes: algorithm boda needs a folder of images"):
        run.train_one_step()


def test_drms_layers_are_saved_beside_the_classifier(domains: Path, tmp_path: Path) -> None:
    own = trainer(domains, tmp_path / "run", "drm", steps=2).settings
    assert train_cell(own) is not None
    heads = load_file(own.out / "model" / "heads.safetensors")
    assert sorted(heads) == ["0.bias", "0.weight", "1.bias", "1.weight"]
    assert not torch.equal(heads["0.weight"], heads["1.weight"])
    assert load_classifier(own.out / "model").head.out_features == 2


def _figures(run: SMOSTrainer) -> dict[str, Any]:
    return {k: v for k, v in run.report().items() if not k.endswith("seconds")}


def test_every_shipped_algorithm_is_tested_here() -> None:
    older = {"erm", "miro", "miro_precursor", "smos", "smos_kl", "smos_released"}
    assert STRONG.keys() | older == {n for n, row in ALGORITHMS.items() if isinstance(row.algorithm, str)}
    for name in ALGORITHMS:
        assert find(name).__doc__
