"""Fine-tuning: a run that begins with a model's generators, and fresh discriminators that learn first."""

import errno
import json
import shutil
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from PIL import Image

import gen.cli
from gen import AUGANPipeline, BadSetting
from gen.augan.export import export_model
from gen.augan.invention import InventionMap
from gen.augan.networks import AUGANGenerator
from gen.augan.settings import AUGANSettings
from gen.augan.start import choose_settings, network_settings
from gen.augan.training import WARM_UP, AUGANTrainer
from gen.training.frames import folder_name
from tests.augan.test_training import REPOSITORY, assert_same_gradients, assert_same_state, final_state, train_command

QUICK = {"device": "cpu", "images": 12, "discriminator_width": 4, "discriminators": 1}
RECONSTRUCTORS = ("a2b.reconstructor", "b2a.reconstructor")


def tiny_model(folder: Path, **both) -> Path:
    """A model of a shape that no preset has, with the record of its training."""
    shape = {"width": 6, "blocks": 1, "upsampling": "deconv", "reconstruction": False, **both}
    pair = AUGANGenerator(transfer_blocks=3, **shape), AUGANGenerator(transfer_blocks=0, uncertainty=False, **shape)
    AUGANPipeline(*pair, trained_height=68, trained_width=109).save_pretrained(folder)
    (folder / "training.json").write_text(json.dumps({"settings": {"load_height": 68, "crop": [64, 96]}}))
    return folder


@pytest.fixture
def model(tmp_path) -> Path:
    return tiny_model(tmp_path / "weights" / "augan-tiny")


def fine_tuning(two_domains, out: Path, model: Path, **changes) -> AUGANSettings:
    """Settings as the command line makes them: preset, model, then what is given."""
    given = {"adverse": two_domains[0], "normal": two_domains[1], "out": out, "start_from": model}
    return choose_settings("tiny", given | QUICK | changes)


def weights_of(trainer: AUGANTrainer, name: str) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in trainer.raw[name].state_dict().items()}


def moved(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    return {key for key, value in before.items() if not torch.equal(value, after[key])}


def test_what_shapes_the_networks_comes_from_the_model(two_domains, tmp_path, model):
    settings = fine_tuning(two_domains, tmp_path / "run", model)
    assert (settings.width, settings.blocks, settings.upsampling) == (6, 1, "deconv")  # tiny has 8, 2, resize
    assert (settings.transfer, settings.transfer_blocks, settings.uncertainty) == (True, 3, True)
    assert (settings.load_height, settings.crop) == (68, (64, 96))
    assert (settings.batch, settings.ema_half_life) == (2, 50)  # the preset's own
    assert fine_tuning(two_domains, tmp_path / "run", model, load_height=80).load_height == 80


def test_every_setting_of_a_generator_is_taken(model):
    """But the reconstruction decoder: a new way to shape a generator is a setting of the training too."""
    assert network_settings(model).keys() - {"transfer"} == AUGANGenerator().settings().keys() - {"reconstruction"}
    assert network_settings(model).keys() <= AUGANSettings.__dataclass_fields__.keys()


def test_a_model_without_a_t_net(two_domains, tmp_path):
    pair = [AUGANGenerator(4, 1, 0, False, False) for _ in range(2)]
    AUGANPipeline(*pair).save_pretrained(tmp_path / "plain")
    settings = fine_tuning(two_domains, tmp_path / "run", tmp_path / "plain", crop=[64, 64])
    assert (settings.transfer, settings.uncertainty) == (False, False)
    AUGANTrainer(settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [("width", 8), ("blocks", 2), ("upsampling", "resize"), ("transfer", False), ("uncertainty", False)],
)
def test_a_contradiction_is_named(two_domains, tmp_path, model, name, value):
    with pytest.raises(BadSetting, match=f"^{name}: must be .*augan-tiny, not"):
        fine_tuning(two_domains, tmp_path / "run", model, **{name: value})


def test_settings_made_by_hand_are_checked_too(two_domains, tmp_path, model):
    settings = fine_tuning(two_domains, tmp_path / "run", model)
    with pytest.raises(
        BadSetting, match=r"^width: must be 6, as in adverse_to_normal of start_from .*augan-tiny, not 8"
    ):
        AUGANTrainer(replace(settings, width=8))


def test_no_model_and_one_direction_alone_are_told(two_domains, tmp_path, model):
    with pytest.raises(
        BadSetting, match=r"start_from: .*nowhere is neither a run directory with a checkpoint nor a model"
    ):
        fine_tuning(two_domains, tmp_path / "run", tmp_path / "nowhere")
    settings = fine_tuning(two_domains, tmp_path / "run", model)
    shutil.rmtree(model / "normal_to_adverse")
    with pytest.raises(BadSetting, match=r"start_from: normal_to_adverse of .* is needed, but cannot be loaded"):
        AUGANTrainer(settings)


def test_the_run_begins_with_the_models_translations(two_domains, tmp_path, model):
    """By the weights that learn and by the averaged ones; what the model lacks begins as in any run of this seed."""
    trainer = AUGANTrainer(fine_tuning(two_domains, tmp_path / "run", model, channels_last=False))
    pipe = AUGANPipeline.from_pretrained(model)
    image = torch.rand(1, 3, 64, 96) * 2 - 1
    for weights_in_use in (nullcontext, trainer.averaged_weights):
        with weights_in_use(), torch.no_grad():
            ours, theirs = trainer.pair.a2b(image), pipe.adverse_to_normal(image)
            assert torch.equal(ours.image, theirs.image)
            assert torch.equal(ours.log_scale, theirs.log_scale)
            assert torch.equal(trainer.pair.b2a(image).image, pipe.normal_to_adverse(image).image)
    fresh = AUGANTrainer(replace(trainer.settings, start_from=None))
    assert not moved(weights_of(fresh, "discriminators"), weights_of(trainer, "discriminators"))
    ours = weights_of(trainer, "generators")
    weights = {key: value for key, value in weights_of(fresh, "generators").items() if key.endswith("weight")}
    assert weights.keys() - moved(weights, ours) == {key for key in weights if key.startswith(RECONSTRUCTORS)}


def test_translations_stay_in_the_warm_up_and_move_after_it(two_domains, tmp_path, model):
    """Six images of warm-up in steps of two: three steps for discriminators and reconstruction decoders alone."""
    trainer = AUGANTrainer(fine_tuning(two_domains, tmp_path / "run", model, warm_up=6, images=10))
    seen = []

    def look() -> None:
        seen.append((weights_of(trainer, "generators"), weights_of(trainer, "discriminators")))
        seen[-1][0]["averaged"] = trainer.ema.weights[0].clone()

    look()
    trainer.watch = look
    trainer.fit()
    for step, ((generators, judges), (generators_after, judges_after)) in enumerate(pairwise(seen)):
        assert "adverse.0.heads.0.1.weight" in moved(judges, judges_after)
        changed = moved(generators, generators_after)
        assert any(key.startswith(RECONSTRUCTORS[0]) for key in changed)
        assert any(key.startswith(RECONSTRUCTORS[1]) for key in changed)
        rest = {key for key in changed if not key.startswith(RECONSTRUCTORS)}
        assert bool(rest) == (step >= 3)
        assert ("averaged" in rest) == (step >= 3)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [(line["images"], "loss/cycle_a" in line, "loss/discriminator_a" in line) for line in lines] == [
        (6, False, True),
        (10, True, True),
    ]


def test_with_shared_reconstruction_discriminators_alone_warm_up(two_domains, tmp_path, model):
    trainer = AUGANTrainer(fine_tuning(two_domains, tmp_path / "run", model, reconstruction="shared", images=4))
    before = weights_of(trainer, "generators"), weights_of(trainer, "discriminators")
    trainer.fit()
    assert not moved(before[0], weights_of(trainer, "generators"))
    assert moved(before[1], weights_of(trainer, "discriminators"))


def test_a_run_that_stops_in_its_warm_up_goes_on_as_if_it_had_not(two_domains, tmp_path, model):
    """And it needs the model no more."""
    length = {"warm_up": 4, "images": 6}
    AUGANTrainer(fine_tuning(two_domains, tmp_path / "whole", model, **length)).fit()
    own = Path(shutil.copytree(model, tmp_path / "own"))
    trainer = AUGANTrainer(fine_tuning(two_domains, tmp_path / "stopped", own, **length))
    trainer.watch = trainer.stop
    trainer.fit()
    assert trainer.images_shown == 2
    shutil.rmtree(own)
    AUGANTrainer(fine_tuning(two_domains, tmp_path / "stopped", own, **length)).fit()
    assert_same_state(final_state(tmp_path / "whole"), final_state(tmp_path / "stopped"), rtol=0, atol=0)


@pytest.mark.devices
def test_two_processes_warm_up_as_one(two_domains, tmp_path, model):
    step = {"images": 4, "batch": 4, "pool_size": 0, "warm_up": 4}
    AUGANTrainer(fine_tuning(two_domains, tmp_path / "one", model, **step)).fit()
    folders = ["--adverse", str(two_domains[0]), "--normal", str(two_domains[1]), "--out", str(tmp_path / "two")]
    settings = [f"--set={k}={v}" for k, v in {**QUICK, **step, "start_from": model}.items()]
    script = [str(REPOSITORY / "scripts" / "train_augan.py"), *folders, "--preset", "tiny", *settings]
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone"]
    done = subprocess.run([*launch, *script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    two = final_state(tmp_path / "two")
    assert two["hardware"]["processes"] == 2
    assert_same_gradients(final_state(tmp_path / "one"), two)


def test_the_warm_up_is_on_where_discriminators_are_fresh_beside_a_model(two_domains, tmp_path, model):
    def begun(out: str, **changes) -> AUGANTrainer:
        return AUGANTrainer(fine_tuning(two_domains, tmp_path / out, model, **changes))

    trainer = begun("tuned", images=2)
    assert trainer.warm_up == WARM_UP
    trainer.fit()
    resumed = begun("tuned", images=2)
    resumed.resume()
    assert resumed.warm_up == WARM_UP
    assert begun("none", warm_up=0).warm_up == 0
    shape = {name: getattr(trainer.settings, name) for name in network_settings(model)}
    size = {"load_height": 68, "crop": (64, 96)}
    assert begun("again", start_from=tmp_path / "tuned", **shape, **size).warm_up == 0
    assert begun("fresh", start_from=None).warm_up == 0


def test_a_run_that_ends_within_its_warm_up_says_so(two_domains, tmp_path, model, caplog):
    for images, told in ((6, True), (7, False)):
        caplog.clear()
        AUGANTrainer(fine_tuning(two_domains, tmp_path / str(images), model, warm_up=6, images=images))
        assert ("end of the warm-up at 6" in caplog.text) == told


def test_fine_tune_by_name_in_one_command_and_export(two_domains, tmp_path, monkeypatch, model):
    """What the README shows. The folder of weights is searched, the model it makes translates."""
    monkeypatch.setenv("GEN_WEIGHTS", str(model.parent))
    folders = ["--adverse", str(two_domains[0]), "--normal", str(two_domains[1]), "--out", str(tmp_path / "run")]
    more = ["--set=start_from=augan-tiny", "--set=warm_up=4", *(f"--set={k}={v}" for k, v in QUICK.items())]
    command = ["train-augan", *folders, "--preset", "tiny", *more]
    assert gen.cli.main(command) == 0
    assert gen.cli.main(command) == 0  # a finished run has nothing to do
    assert gen.cli.main(["export-augan", str(tmp_path / "run"), str(tmp_path / "mine")]) == 0
    record = json.loads((tmp_path / "mine" / "training.json").read_text())
    assert record["settings"]["start_from"] == "augan-tiny"
    night = two_domains[0] / "000.png"
    tuned, begun = (AUGANPipeline.from_pretrained(folder)(night) for folder in (tmp_path / "mine", model))
    assert tuned.images[0].size == Image.open(night).size
    change = np.abs(np.asarray(tuned.images[0]).astype(int) - np.asarray(begun.images[0])).mean()
    assert 0 < change < 10  # four steps from where it began, and not elsewhere
    state = final_state(tmp_path / "run")
    own = dict(zip(state["networks"]["generators"], state["ema"]["shadow_params"], strict=True))
    torch.testing.assert_close(tuned_weight(tmp_path / "mine"), own["a2b.encoder.1.weight"])


def tuned_weight(folder: Path) -> torch.Tensor:
    return AUGANPipeline.from_pretrained(folder).adverse_to_normal.state_dict()["encoder.1.weight"]


def test_dry_run_of_a_run_from_a_model_has_its_networks(two_domains, tmp_path, model, capsys):
    arguments = train_command(two_domains, tmp_path / "run", "--dry-run", f"--set=start_from={model}")
    shaping = ("--set=width", "--set=blocks", "--set=transfer_blocks")
    assert gen.cli.main(["train-augan", *(a for a in arguments if not a.startswith(shaping))]) == 0
    told = capsys.readouterr().out
    assert "width: 6" in told
    assert "images/s" in told


def test_what_the_models_training_looked_through_stays_in_the_record(two_domains, tmp_path, model):
    """Fine-tuned against published discriminators, it still has learnt from the frozen network."""
    record = json.loads((model / "training.json").read_text()) | {"feature_networks": ["efficientnet-lite0"]}
    (model / "training.json").write_text(json.dumps(record))
    trainer = AUGANTrainer(fine_tuning(two_domains, tmp_path / "run", model, images=2))
    trainer.fit()
    export_model(tmp_path / "run", tmp_path / "fine")
    assert json.loads((tmp_path / "fine" / "training.json").read_text())["feature_networks"] == ["efficientnet-lite0"]
    settings = replace(trainer.settings, start_from=tmp_path / "run", out=tmp_path / "again")
    assert AUGANTrainer(settings).feature_networks == {"efficientnet-lite0"}


def test_a_crop_taken_from_a_model_suits_every_judge(two_domains, tmp_path, model):
    record = {"settings": {"load_height": 68, "crop": [68, 108]}}
    (model / "training.json").write_text(json.dumps(record))
    settings = fine_tuning(two_domains, tmp_path / "run", model, adversary="projected")
    assert settings.crop == (64, 96)
    AUGANTrainer(settings).step([[0]])


def test_an_export_keeps_what_the_model_said_and_how_it_came_to_be(two_domains, tmp_path, model):
    """Fine-tuned twice: words and size come from the first model, the history lists every run before."""
    index = json.loads((model / "model_index.json").read_text()) | {"weathers": ["night", "fog"], "auto_height": 96}
    (model / "model_index.json").write_text(json.dumps(index))
    record = json.loads((model / "training.json").read_text()) | {"images_shown": 4}
    (model / "training.json").write_text(json.dumps(record))
    first = fine_tuning(two_domains, tmp_path / "one", model, images=2)
    AUGANTrainer(first).fit()
    AUGANTrainer(replace(first, start_from=tmp_path / "one", out=tmp_path / "two")).fit()
    for run, images in (("one", [4]), ("two", [4, 2])):
        export_model(tmp_path / run, tmp_path / f"{run}-model")
        config = AUGANPipeline.from_pretrained(tmp_path / f"{run}-model").config
        assert (config["weathers"], config["auto_height"]) == (["night", "fog"], 96)
        record = json.loads((tmp_path / f"{run}-model" / "training.json").read_text())
        assert [before["images_shown"] for before in record["history"]] == images
        assert f'"{tmp_path}' not in json.dumps(record["history"])  # no absolute path, which another machine lacks
    assert record["history"][1]["folders"] == sorted(map(folder_name, two_domains))
    export_model(tmp_path / "two", tmp_path / "said", auto_height=64, weathers=["rain"])
    config = AUGANPipeline.from_pretrained(tmp_path / "said").config
    assert (config["weathers"], config["auto_height"]) == (["rain"], 64)


def test_an_export_drops_a_card_that_tells_of_other_weights(two_domains, tmp_path, model):
    run, mine = tmp_path / "run", tmp_path / "mine"
    AUGANTrainer(fine_tuning(two_domains, run, model, images=2)).fit()
    shutil.copytree(model, mine)
    measured = {"weights": "of before", "settings": {}}
    (mine / "evaluation.json").write_text(json.dumps(measured))
    (mine / "MODEL_CARD.md").write_text("These weights beat all others.")
    export_model(run, mine)
    assert not (mine / "MODEL_CARD.md").exists()
    assert json.loads((mine / "evaluation.json").read_text()) == measured


def test_an_export_drops_a_map_that_other_weights_had(two_domains, tmp_path, model, monkeypatch, caplog):
    run = tmp_path / "run"
    AUGANTrainer(fine_tuning(two_domains, run, model, images=2)).fit()
    pipe = AUGANPipeline.from_pretrained(model)
    both = (pipe.adverse_to_normal, pipe.normal_to_adverse)
    AUGANPipeline(*both, invention=InventionMap(height=64), default_map="invention").save_pretrained(tmp_path / "mine")
    with monkeypatch.context() as patched:
        patched.setattr("gen.augan.export.save_variants", Mock(side_effect=OSError(errno.ENOSPC, "full")))
        with pytest.raises(BadSetting):
            export_model(run, tmp_path / "mine")
    assert AUGANPipeline.from_pretrained(tmp_path / "mine").invention is not None  # all of the old model is there
    (tmp_path / "mine" / "notes.md").write_text("Frames of another city.")
    (tmp_path / "mine" / "training.json").write_text('{"data": {"adverse": {"folder": "city/night"}}}')
    export_model(run, tmp_path / "mine")
    assert "its invention map is gone" in caplog.text
    assert "notes.md was written when the model was trained on city/night; it goes into the card" in caplog.text
    caplog.clear()
    export_model(run, tmp_path / "mine")
    assert "notes.md" not in caplog.text
    assert "weather" not in caplog.text
    export_model(run, tmp_path / "mine", weathers=["night"])
    export_model(run, tmp_path / "mine")
    assert "names night, and this export does not" in caplog.text
    mine = AUGANPipeline.from_pretrained(tmp_path / "mine")
    assert mine.invention is None
    assert mine.shown_map("adverse_to_normal") == "cycle"
    assert not (tmp_path / "mine" / "invention").exists()
