"""The presets against the settings of the repositories that they are named after, copied from these by hand."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from gen.cli import main
from gen.errors import BadSetting
from gen.smos.algorithms.registry import find
from gen.smos.benchmarks import BENCHMARKS
from gen.smos.settings import SMOSSettings
from gen.smos.training import SMOSTrainer
from gen.training.settings import as_record, check_same_settings

COLUMNS = ("batch", "lr", "weight_decay", "dropout", "steps", "evaluate_every", "swad", "swad_ratio", "miro_weight")
# DomainBed 7df6f06: domainbed/hparams_registry.py, CHECKPOINT_FREQ and N_STEPS of domainbed/datasets.py.
# SWAD: README "Reproduce the results of the paper", config.yaml, N_STEPS of domainbed/datasets/datasets.py.
# MIRO: README "Main experiment", CHECKPOINT_FREQ. SMOS: README "Benchmarking", config.yaml, domainbed/datasets.
NO = None  # the preset leaves it at its default, as it has no effect there
PUBLISHED = {
    ("domainbed", "PACS"): (32, 5e-5, 0, 0, 5001, 300, False, NO, NO),
    ("domainbed", "VLCS"): (32, 5e-5, 0, 0, 5001, 300, False, NO, NO),
    ("domainbed", "OfficeHome"): (32, 5e-5, 0, 0, 5001, 300, False, NO, NO),
    ("domainbed", "TerraIncognita"): (32, 5e-5, 0, 0, 5001, 300, False, NO, NO),
    ("domainbed", "DomainNet"): (32, 5e-5, 0, 0, 5001, 1000, False, NO, NO),
    ("swad", "PACS"): (32, 5e-5, 0, 0, 5001, 100, True, 0.3, NO),
    ("swad", "VLCS"): (32, 5e-5, 0, 0, 5001, 50, True, 0.2, NO),
    ("swad", "OfficeHome"): (32, 5e-5, 0, 0, 5001, 100, True, 0.3, NO),
    ("swad", "TerraIncognita"): (32, 5e-5, 0, 0, 5001, 100, True, 0.3, NO),
    ("swad", "DomainNet"): (32, 5e-5, 0, 0, 15001, 500, True, 0.3, NO),
    ("miro", "PACS"): (32, 3e-5, 0, 0, 5001, 200, False, 0.3, 0.01),
    ("miro", "VLCS"): (32, 1e-5, 1e-6, 0.5, 5001, 200, False, 0.3, 0.01),
    ("miro", "OfficeHome"): (32, 3e-5, 1e-6, 0.1, 5001, 200, False, 0.3, 0.1),
    ("miro", "TerraIncognita"): (32, 3e-5, 1e-4, 0, 5001, 200, False, 0.3, 0.1),
    ("miro", "DomainNet"): (32, 3e-5, 0, 0.1, 15001, 1000, False, 0.3, 0.1),
    ("smos", "PACS"): (16, 3e-5, 0, 0, 5001, 200, True, 0.3, NO),
    ("smos", "VLCS"): (16, 5e-5, 0, 0, 5001, 200, True, 0.3, NO),
    ("smos", "OfficeHome"): (16, 5e-5, 0, 0, 5001, 200, True, 0.3, NO),
    ("smos", "TerraIncognita"): (16, 5e-5, 0, 0, 5001, 200, True, 0.3, NO),
    ("smos", "DomainNet"): (16, 5e-5, 0, 0, 15001, 500, True, 0.3, NO),
}


@pytest.mark.parametrize(("preset", "dataset"), PUBLISHED)
def test_a_preset_is_its_repositorys(preset: str, dataset: str, tmp_path: Path) -> None:
    for domain in BENCHMARKS[dataset].domains:
        (tmp_path / domain).mkdir()
    settings = SMOSSettings.from_preset(preset, data=tmp_path, out=tmp_path / "out")
    for name, wanted in zip(COLUMNS, PUBLISHED[preset, dataset], strict=True):
        assert wanted is None or getattr(settings, name) == wanted, name
    assert settings.swad_segment == ("published" if preset != "domainbed" else "paper")
    assert (settings.backbone, settings.size, settings.frozen_norms, settings.decay) == ("resnet50", 224, True, 0)
    given = SMOSSettings.from_preset(preset, data=tmp_path, out=tmp_path / "out", lr=1.0, dropout=0.25)
    assert (given.lr, given.dropout) == (1.0, 0.25)  # before what the preset has for the data set, too


def test_other_data_gets_the_defaults_of_the_code(domains: Path, tmp_path: Path) -> None:
    for preset, batch in {"domainbed": 32, "swad": 32, "miro": 32, "smos": 16}.items():
        settings = SMOSSettings.from_preset(preset, data=domains, out=tmp_path)
        assert (settings.lr, settings.batch) == (5e-5, batch)


def test_the_preset_that_mixed_repositories_names_those_that_it_mixed() -> None:
    with pytest.raises(BadSetting, match="choose the settings of one: domainbed, swad, miro, smos"):
        SMOSSettings.from_preset("published", data="d", out="o")


@pytest.fixture
def settings(domains: Path, tmp_path: Path) -> SMOSSettings:
    return SMOSSettings(
        data=domains, out=tmp_path / "run", target="ink", size=32, backbone="efficientnet-lite0", batch=2, steps=1,
        device="cpu", swad=False, weight_decay=0.25,
    )  # fmt: skip


def test_variances_have_the_weight_decay_of_the_student(settings: SMOSSettings) -> None:
    """As in MIRO's code, where they are a group of the same optimiser. Adam's decay adds to the gradient."""
    trainer = SMOSTrainer(dataclasses.replace(settings, algorithm="miro", miro_weight=0.0))  # no gradient but decay
    before = [p.detach().clone() for p in trainer.raw["variances"].parameters()]
    for parameter in trainer.raw["variances"].parameters():
        parameter.grad = torch.zeros_like(parameter)
    trainer.optimizers["variances"].step()
    for old, new in zip(before, trainer.raw["variances"].parameters(), strict=True):
        g = 0.25 * old  # the first step of Adam is lr g / (|g| + eps)
        lr = trainer.optimizers["variances"].param_groups[0]["lr"]
        torch.testing.assert_close(new.detach(), old - lr * g / (g.abs() + 1e-8))


class TestWeightOfGrounding:
    def test_the_released_terms_have_the_released_weight(self, settings: SMOSSettings) -> None:
        wanted = {"smos": (1.0, 0.1), "smos_released": (0.15, 0.015), "smos_kl": (0.15, 0.015)}
        for algorithm, weights in wanted.items():
            options = find(algorithm).read_options(dataclasses.replace(settings, algorithm=algorithm))
            assert (options.js_weight, options.mi_weight) == pytest.approx(weights)
            own = dataclasses.replace(settings, algorithm=algorithm, js_weight=5.0)
            assert find(algorithm).read_options(own).js_weight == 5.0

    def test_records_that_have_the_old_default_are_of_the_same_run_if_it_is_the_default_still(
        self, settings: SMOSSettings
    ) -> None:
        for algorithm in ("erm", "smos", "miro"):
            now = dataclasses.replace(settings, algorithm=algorithm)
            old = as_record(now) | {"js_weight": 1.0}
            del old["swad_segment"]
            check_same_settings(old, now, now.may_change)
            check_same_settings(old, dataclasses.replace(now, js_weight=1.0), now.may_change)
            with pytest.raises(BadSetting, match=r"js_weight was 2.0 when this run began and is 1.0 now"):
                check_same_settings(old | {"js_weight": 2.0}, now, now.may_change)
        now = dataclasses.replace(settings, algorithm="smos_released")
        with pytest.raises(BadSetting, match=r"js_weight was 1.0 when this run began and is 0.15 now; change it back"):
            check_same_settings(as_record(now) | {"js_weight": 1.0}, now, now.may_change)


@pytest.mark.parametrize(("preset", "given", "frozen"),
                         [("smos", (), True), ("smos", ("frozen_norms=false",), False), ("cpu", (), False),
                          ("cpu", ("frozen_norms=true",), True)])  # fmt: skip
def test_a_precursor_from_scratch(
    preset: str, given: tuple[str, ...], frozen: bool, domains: Path, tmp_path: Path
) -> None:
    """SMOS-: the released code freezes the batch norms at their first statistics, mean 0 and variance 1."""
    small = ["backbone=efficientnet-lite0", "size=32", "batch=2", "steps=2", "accumulate=1", "device=cpu", *given]
    command = ["train-precursor", "--data", domains, "--out", tmp_path / "run", "--scratch", "--preset", preset]
    assert main([*map(str, command), *(word for pair in small for word in ("--set", pair))]) == 0
    record = json.loads((tmp_path / "run" / "settings.json").read_text())["settings"]
    assert (record["frozen_norms"], record["weights"], record["preset"]) == (frozen, "none", f"precursor-{preset}")
    state = torch.load(next((tmp_path / "run" / "checkpoints").glob("*.pt")), weights_only=True)["networks"]["student"]
    means = [value for name, value in state.items() if name.endswith("running_mean")]
    assert all(not mean.any() for mean in means) == frozen
