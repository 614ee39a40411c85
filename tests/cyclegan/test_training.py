"""CycleGAN and CUT: real runs of the tiny preset, and PatchNCE against its definition."""

import json
import math

import pytest
import torch

from gen.cli import main
from gen.cyclegan.method import CycleGANPipeline, CycleGANTrainer, ResNetGenerator, patch_nce
from gen.cyclegan.settings import CycleGANSettings, check_settings
from gen.errors import BadSetting
from gen.training.checkpoints import latest_checkpoint, load_checkpoint
from gen.training.settings import as_record, make_settings

CUT = {"directions": "adverse_to_normal", "cycle_weight": 0, "identity_weight": 0, "nce_weight": 1, "antialias": True}


def settings_of(two_domains, out, **changes) -> CycleGANSettings:
    night, day = two_domains
    small = {"width": 4, "blocks": 5, "discriminator_width": 4, "load_height": 64, "crop": [64, 64], "device": "cpu"}
    given = {
        "adverse": night,
        "normal": day,
        "out": out,
        "images": 8,
        "batch": 2,
        "nce_patches": 16,
        **small,
        **changes,
    }
    return make_settings(CycleGANSettings, given)


def test_patch_nce_is_its_definition():
    """By hand, patch by patch: a patch must be recognised among those of its own image."""
    queries, keys = (torch.nn.functional.normalize(torch.randn(2, 5, 8), dim=-1) for _ in range(2))
    total = 0.0
    for q, k in zip(queries.tolist(), keys.tolist(), strict=True):
        for p in range(5):
            scores = [sum(x * y for x, y in zip(q[p], k[j], strict=True)) / 0.07 for j in range(5)]
            total += math.log(sum(math.exp(s) for s in scores)) - scores[p]
    assert patch_nce(queries, keys, 0.07).item() == pytest.approx(total / 10, rel=1e-4)


def test_no_gradient_flows_to_the_keys():
    queries, keys = (torch.randn(1, 4, 8, requires_grad=True) for _ in range(2))
    patch_nce(queries, keys, 0.07).backward()
    assert queries.grad is not None
    assert keys.grad is None


@pytest.mark.parametrize("antialias", [False, True])
def test_features_are_those_of_the_published_layers(antialias):
    """Input, both downsampling convolutions, blocks 1 and 5; a later in-place layer has not changed them."""
    network = ResNetGenerator(4, 6, antialias_down=antialias)
    image = torch.randn(1, 3, 32, 48)
    found = network.features(image)
    halves = 1 if antialias else 2  # an antialiased convolution keeps the size
    assert [tuple(x.shape[1:]) for x in found] == [
        (3, 38, 54), (8, 32 // halves, 48 // halves), (16, 16 // halves, 24 // halves), (16, 8, 12), (16, 8, 12),
    ]  # fmt: skip
    first = network.model[: network.feature_layers[1] + 1](image)
    torch.testing.assert_close(found[1], first)
    assert (found[1] < 0).any()


@pytest.mark.parametrize("changes", [{}, CUT], ids=["cyclegan", "cut"])
def test_a_resumed_run_is_the_same_run(two_domains, tmp_path, changes):
    whole = CycleGANTrainer(settings_of(two_domains, tmp_path / "whole", **changes))
    whole.fit()
    for stop in (4, None):
        part = CycleGANTrainer(settings_of(two_domains, tmp_path / "parts", **changes))
        part.watch = lambda p=part, s=stop: p.stop() if p.images_shown == s else None
        part.fit()
    states = [load_checkpoint(latest_checkpoint(tmp_path / n / "checkpoints"))["networks"] for n in ("whole", "parts")]
    for name, network in states[0].items():
        for key, value in network.items():
            assert torch.equal(value, states[1][name][key]), (name, key)


def test_the_losses_are_the_published_ones(two_domains, tmp_path):
    trainer = CycleGANTrainer(settings_of(two_domains, tmp_path))
    batch = trainer.data.batch([0, 1])
    fakes, terms = trainer.generator_terms(batch)
    there, back = trainer.pair.generators["adverse_to_normal"], trainer.pair.generators["normal_to_adverse"]
    a, b = batch.adverse, batch.normal
    torch.testing.assert_close(fakes.normal, there(a))
    torch.testing.assert_close(terms["cycle_a"], 10 * (back(there(a)) - a).abs().mean())
    torch.testing.assert_close(terms["cycle_b"], 10 * (there(back(b)) - b).abs().mean())
    torch.testing.assert_close(terms["identity_adverse_to_normal"], 5 * (there(b) - b).abs().mean())
    judged = trainer.discriminators["adverse_to_normal"]
    torch.testing.assert_close(terms["adversarial_adverse_to_normal"], (judged(there(a)) - 1).square().mean())
    expected = (judged(b) - 1).square().mean() / 2 + judged(there(a)).square().mean() / 2
    found = trainer.discriminator_terms(batch, fakes.detached())
    torch.testing.assert_close(found["discriminator_adverse_to_normal"], expected)


@pytest.mark.parametrize("preset", ["cyclegan", "cut", "tiny"])
def test_presets_are_settings(two_domains, tmp_path, preset):
    night, day = two_domains
    values = CycleGANSettings.read_preset(preset)
    settings = CycleGANSettings.from_preset(preset, adverse=night, normal=day, out=tmp_path)
    check_settings(settings)
    assert all(as_record(settings)[name] == value for name, value in values.items())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"directions": "adverse_to_normal"}, "cycle_weight must be 0"),
        ({"cycle_weight": 0}, "one of them must be above 0"),
        ({"crop": [62, 64]}, "crop"),
    ],
)
def test_settings_that_cannot_work_are_refused(two_domains, tmp_path, changes, message):
    with pytest.raises(BadSetting, match=message):
        CycleGANTrainer(settings_of(two_domains, tmp_path, **changes))


def test_from_the_command_line_to_a_model(two_domains, tmp_path, capsys):
    """CUT has one direction; the other one is refused in a sentence."""
    night, day = two_domains
    sets = [f"--set={k}={v}" for k, v in (CUT | {"width": 4, "blocks": 5, "images": 2, "device": "cpu"}).items()]
    sets += ["--set=crop=[64,64]", "--set=load_height=64", "--set=pool_size=0"]
    run, model, mine = tmp_path / "run", tmp_path / "cut-night", tmp_path / "mine.py"
    mine.write_text("from gen.cyclegan.method import CycleGANTrainer\n\nclass Mine(CycleGANTrainer):\n    pass\n")
    assert (
        main(
            [
                "train-cyclegan",
                "--trainer",
                f"{mine}:Mine",
                "--adverse",
                str(night),
                "--normal",
                str(day),
                "--out",
                str(run),
                "--preset",
                "tiny",
                *sets,
            ]
        )
        == 0
    )
    assert main(["export-cyclegan", str(run), str(model), "--half", "--weather", "night"]) == 0
    (model / "backward").mkdir()  # as an export of CycleGAN, which has two directions, left it
    index = json.loads((model / "model_index.json").read_text())
    (model / "model_index.json").write_text(json.dumps(index | {"backward": ["gen", "X"], "../x": ["gen", "X"]}))
    (tmp_path / "x").mkdir()
    assert main(["export-cyclegan", str(run), str(model), "--half", "--weather", "night"]) == 0
    assert not (model / "backward").exists()
    assert (tmp_path / "x").exists()
    pipe = CycleGANPipeline.from_pretrained(model)
    assert pipe.capabilities.directions == ("adverse_to_normal",)
    said = (model / "MODEL_CARD.md").read_text().replace("\n", " ")
    assert "2 images of each" in said
    assert "with the trainer `mine:Mine`, a file of its own (SHA-256 begins with " in said
    frame = next(night.iterdir())
    assert main(["translate", str(frame), str(tmp_path / "out.png"), "--model", str(model)]) == 0
    capsys.readouterr()
    assert (
        main(
            [
                "translate",
                str(frame),
                str(tmp_path / "x.png"),
                "--model",
                str(model),
                "--direction",
                "normal_to_adverse",
            ]
        )
        == 1
    )
    assert "it translates adverse_to_normal" in capsys.readouterr().err
    card = (model / "MODEL_CARD.md").read_text()
    assert main(["evaluate-augan", "--model", str(model), "--adverse", str(night), "--normal", str(day)]) == 0
    assert "**this model**" in (said := capsys.readouterr().out)
    assert f"wrote {model / 'evaluation.json'}" in said
    assert (model / "MODEL_CARD.md").read_text() == card  # that of CycleGAN, not AU-GAN's
