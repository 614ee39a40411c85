"""Real training runs of the tiny preset: losses fall, kills do not matter, processes do not matter, NaN stops."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import gen.cli
from gen import AUGANPipeline, BadSetting, TrainingDiverged
from gen.augan import dry_run
from gen.augan.export import export_model
from gen.augan.generator_losses import generator_losses
from gen.augan.generator_pair import GeneratorPair
from gen.augan.settings import AUGANSettings
from gen.augan.training import AUGANTrainer
from gen.training.checkpoints import latest_checkpoint, load_checkpoint
from gen.translation import losses as shared
from gen.translation.pool import ImagePool
from tests.conftest import street

REPOSITORY = Path(__file__).parents[2]
SMALL = {"batch": 2, "width": 4, "blocks": 1, "transfer_blocks": 1, "discriminator_width": 4, "device": "cpu"}


def tiny_settings(two_domains, out, **changes) -> AUGANSettings:
    folders = {"adverse": two_domains[0], "normal": two_domains[1], "out": out}
    return AUGANSettings.from_preset("tiny", **SMALL | folders | changes)


def train_command(two_domains, out, *more: str) -> list[str]:
    settings = [f"--set={k}={v}" for k, v in SMALL.items()]
    folders = ["--adverse", str(two_domains[0]), "--normal", str(two_domains[1]), "--out", str(out)]
    return [*folders, "--preset", "tiny", *settings, *more]


def run_training(*arguments: str, check: bool = True) -> subprocess.CompletedProcess:
    command = [sys.executable, str(REPOSITORY / "scripts" / "train_augan.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert not check or done.returncode == 0, done.stderr[-2000:]
    return done


def final_state(out: Path) -> dict:
    return load_checkpoint(latest_checkpoint(out / "checkpoints"))


def assert_same_state(a: dict, b: dict, **tolerance) -> None:
    assert a["images_shown"] == b["images_shown"]
    for network in a["networks"]:
        for name, value in a["networks"][network].items():
            torch.testing.assert_close(value, b["networks"][network][name], msg=name, **tolerance)
    for ours, theirs in zip(a["ema"]["shadow_params"], b["ema"]["shadow_params"], strict=True):
        torch.testing.assert_close(ours, theirs, **tolerance)


def assert_same_gradients(a: dict, b: dict) -> None:
    """After one step Adam's first moment is half the gradient; the step itself would hide its size."""
    for network in a["optimizers"]:
        ours, theirs = (x["optimizers"][network]["state"] for x in (a, b))
        assert ours
        scale = max(v["exp_avg"].abs().max() for v in ours.values())
        for key, value in ours.items():
            torch.testing.assert_close(value["exp_avg"], theirs[key]["exp_avg"], rtol=1e-3, atol=float(scale) * 1e-5)


def test_presets_are_valid_and_bdd_is_the_published_size():
    folders = {"adverse": "a", "normal": "b", "out": "c"}
    presets = {p.stem: AUGANSettings.from_preset(p.stem, **folders) for p in AUGANSettings.presets.glob("*.yaml")}
    assert presets.keys() == {"bdd", "alderley", "pairs", "fast", "small", "tiny"}
    for name in ("bdd", "alderley"):
        with torch.device("meta"):
            pair = GeneratorPair(presets[name])
        assert sum(p.numel() for p in pair.parameters()) == 20_103_552 + 15_303_872
        assert presets[name].crop == (256, 512)


def test_training_lowers_the_losses_and_leaves_a_full_record(two_domains, tmp_path):
    out = tmp_path / "run"
    trainer = AUGANTrainer(tiny_settings(two_domains, out, images=120, log_every=20, sample_every=60))
    trainer.fit()
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["images"] for line in lines] == list(range(20, 121, 20))
    for loss in ("reconstruction_a", "reconstruction_b", "cycle_b", "discriminator_b"):
        assert lines[-1][f"loss/{loss}"] < 0.8 * lines[0][f"loss/{loss}"], loss
    assert lines[-1]["lr"] < lines[0]["lr"]
    assert {p.name for p in (out / "samples").iterdir()} == {f"{n:09d}.jpg" for n in (0, 60, 120)}
    assert list((out / "tensorboard").iterdir())
    export_model(out, tmp_path / "model")
    pipe = AUGANPipeline.from_pretrained(tmp_path / "model")
    averaged = final_state(out)["ema"]["shadow_params"][0]
    torch.testing.assert_close(next(iter(pipe.adverse_to_normal.parameters())), averaged)
    night = next(iter(sorted(two_domains[0].iterdir())))
    assert pipe(night).images[0].size == (128, 80)


@pytest.mark.devices
def test_two_processes_train_as_one(two_domains, tmp_path):
    """Without an image pool, which each process has for itself, and up to the rounding of sums."""
    more = ["--set=images=4", "--set=batch=4", "--set=pool_size=0"]
    run_training(*train_command(two_domains, tmp_path / "one", *more))
    script = [
        str(REPOSITORY / "scripts" / "train_augan.py"),
        *train_command(two_domains, tmp_path / "two", *more),
    ]
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone"]
    done = subprocess.run([*launch, *script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = final_state(tmp_path / "one"), final_state(tmp_path / "two")
    assert two["hardware"]["processes"] == 2
    assert_same_gradients(one, two)


def test_accumulation_is_the_same_step(two_domains, tmp_path):
    for accumulate in (1, 2):
        settings = tiny_settings(
            two_domains, tmp_path / str(accumulate), images=4, batch=4, accumulate=accumulate, pool_size=0
        )
        AUGANTrainer(settings).fit()
    assert_same_gradients(final_state(tmp_path / "1"), final_state(tmp_path / "2"))


def test_nan_stops_with_the_loss_and_the_step_and_keeps_the_checkpoint(two_domains, tmp_path):
    trainer = AUGANTrainer(tiny_settings(two_domains, tmp_path, images=40, checkpoint_every=8, log_every=2))
    step, poisoned_at = trainer.step, 12

    def poisoned(parts):
        if trainer.images_shown == poisoned_at:
            with torch.no_grad():
                trainer.pair.a2b.reconstructor.to_rgb[1].weight[0, 0, 0, 0] = float("nan")
        return step(parts)

    trainer.step = poisoned
    with pytest.raises(TrainingDiverged, match=r"loss reconstruction_a became nan at step 6 \(12 images\)"):
        trainer.fit()
    state = final_state(tmp_path)
    assert state["images_shown"] == 8
    assert all(torch.isfinite(v).all() for v in state["networks"]["generators"].values())


def test_new_frames_make_it_another_run(two_domains, tmp_path):
    AUGANTrainer(tiny_settings(two_domains, tmp_path, images=4)).fit()
    Image.new("RGB", (128, 80)).save(two_domains[0] / "new.png")
    with pytest.raises(BadSetting, match=r"adverse\.count was 12 when this run began and is 13 now"):
        AUGANTrainer(tiny_settings(two_domains, tmp_path, images=4)).fit()


def test_a_refused_resume_leaves_the_record_alone(two_domains, tmp_path):
    AUGANTrainer(tiny_settings(two_domains, tmp_path, images=4)).fit()
    before = (tmp_path / "settings.json").read_text()
    with pytest.raises(BadSetting):
        AUGANTrainer(tiny_settings(two_domains, tmp_path, images=4, width=8)).fit()
    assert (tmp_path / "settings.json").read_text() == before


def test_a_resumed_run_must_be_the_same_run(two_domains, tmp_path):
    AUGANTrainer(tiny_settings(two_domains, tmp_path, images=4)).fit()
    with pytest.raises(BadSetting, match="lr was "):
        AUGANTrainer(tiny_settings(two_domains, tmp_path, images=4, lr=1e-3)).fit()


@pytest.mark.parametrize(
    ("changes", "absent"),
    [
        ({"transfer": False}, "a2b.transfer"),
        ({"uncertainty": False}, "a2b.head"),
        ({"reconstruction": "shared"}, "reconstructor"),
        ({"feature_matching": "off"}, None),
        ({"feature_matching": "full"}, None),
        ({"transfer_in_normal_cycle": False}, None),
        ({"upsampling": "deconv"}, None),
        ({"transfer": False, "uncertainty": False, "feature_matching": "off"}, "a2b.transfer"),
        ({"design": "light"}, "up2"),
        ({"adversary": "projected", "crop": [64, 64]}, None),
        ({"adversary": "both", "crop": [64, 64], "design": "light"}, None),
        ({"augment": True}, None),
        ({"exposure": 30.0}, None),
        ({"design": "light", "exposure": 0.01}, None),
        ({"perceptual_weight": 1.0, "crop": [64, 64]}, None),
        ({"adversary": "none"}, None),
        ({"adversary": "none", "energy_weight": 1.0, "crop": [64, 64]}, None),
        ({"design": "light", "pretrained": True, "crop": [64, 64], "exposure": 30.0}, "transfer.frozen"),
    ],
)
def test_every_switch_trains_a_step(two_domains, tmp_path, changes, absent):
    trainer = AUGANTrainer(tiny_settings(two_domains, tmp_path, images=2, **changes))
    trainer.fit()
    names = list(trainer.pair.state_dict())
    assert absent is None or not any(absent in name for name in names)
    lines = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])
    assert ("loss/features" in lines) == (changes.get("feature_matching") != "off")


def test_no_parameter_is_without_a_gradient(two_domains, tmp_path):
    """Nothing is computed for nothing: a decoder that no loss used would have none."""
    trainer = AUGANTrainer(tiny_settings(two_domains, tmp_path, images=2))
    trainer.step([[0, 1]])
    for network in (trainer.pair, trainer.discriminators):
        missing = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
        # A norm's shift before a norm is cancelled by it, so those gradients may vanish; weights may not.
        assert not [n for n in missing if not n.endswith("bias")]


def test_no_parameter_of_the_light_design_and_the_projected_heads_is_without_a_gradient(two_domains, tmp_path):
    changes = {"design": "light", "adversary": "projected", "crop": [64, 64]}
    trainer = AUGANTrainer(tiny_settings(two_domains, tmp_path, images=2, **changes))
    frozen = [p.detach().clone() for p in trainer.projector.parameters()]
    trainer.step([[0, 1]])
    for network in (trainer.pair, trainer.discriminators):
        missing = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
        assert not [n for n in missing if not n.endswith("bias")]
    for before, now in zip(frozen, trainer.projector.parameters(), strict=True):
        assert now.grad is None
        assert torch.equal(before, now)


@pytest.mark.parametrize(
    "changes",
    [
        {"design": "light", "adversary": "both", "augment": True, "reconstruct_every": 3},
        {"design": "light", "pretrained": True, "adversary": "none", "energy_weight": 1.0},
    ],
)
def test_a_resumed_run_is_the_same_to_the_bit(two_domains, tmp_path, monkeypatch, changes):
    monkeypatch.setattr("gen.training.energy.MIN_IMAGES", 2)
    changes = {"crop": [64, 64], **changes}
    for name, stops in (("whole", ()), ("halves", (4,))):
        for stop in (*stops, None):
            trainer = AUGANTrainer(
                tiny_settings(two_domains, tmp_path / name, images=12, checkpoint_every=4, **changes)
            )
            trainer.watch = lambda t=trainer, s=stop: t.stop() if t.images_shown == s else None
            trainer.fit()
            assert trainer.images_shown == (stop or 12)
    assert_same_state(final_state(tmp_path / "whole"), final_state(tmp_path / "halves"), rtol=0, atol=0)


def test_self_reconstruction_every_third_step_counts_threefold(two_domains, tmp_path):
    trainer = AUGANTrainer(tiny_settings(two_domains, tmp_path, images=8, reconstruct_every=3, log_every=2))
    batch = trainer.data.batch([0, 1])
    out, (_, terms) = trainer._forward(batch), trainer.generator_terms(batch)
    expected = 3 * 10 * (out.reconstructed_a - batch.adverse).abs().mean()
    torch.testing.assert_close(terms["reconstruction_a"], expected)
    trainer.fit()
    lines = [
        json.loads(line)["loss/reconstruction_a"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()
    ]
    assert [line > 0 for line in lines] == [True, False, False, True]


def test_cycles_every_other_step_count_twofold(two_domains, tmp_path):
    trainer = AUGANTrainer(tiny_settings(two_domains, tmp_path, images=8, cycle_every=2, log_every=2))
    batch = trainer.data.batch([0, 1])
    out, (_, terms) = trainer._forward(batch), trainer.generator_terms(batch)
    torch.testing.assert_close(terms["cycle_b"], 2 * 10 * (out.cycle.b - batch.normal).abs().mean())
    trainer.fit()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    for name in ("cycle_a", "cycle_b", "features"):
        assert [line[f"loss/{name}"] > 0 for line in lines] == [True, False, True, False]


def test_core_minutes_end_a_run(two_domains, tmp_path):
    began = time.process_time()
    trainer = AUGANTrainer(tiny_settings(two_domains, tmp_path, images=None, epochs=1000, core_minutes=0.02))
    trainer.fit()
    assert trainer.finished
    assert 1.2 <= trainer.core_seconds <= time.process_time() - began
    assert 0 < trainer.images_shown < trainer.total_images
    again = AUGANTrainer(tiny_settings(two_domains, tmp_path, images=None, epochs=1000, core_minutes=0.02))
    again.fit()
    assert again.images_shown == trainer.images_shown
    longer = AUGANTrainer(tiny_settings(two_domains, tmp_path, images=1, core_minutes=0.03))
    longer.fit()
    assert longer.images_shown > trainer.images_shown
    shorter = AUGANTrainer(tiny_settings(two_domains, tmp_path, images=1, core_minutes=0.01))
    with pytest.raises(BadSetting, match=r"already been trained for 0\.03.* core-minutes, more than the 0\.01"):
        shorter.fit()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"adversary": "projected"}, "crop: .*multiples of 32 .*, for example 64x96 instead of 64x112"),
        ({"design": "light", "pretrained": True, "crop": [64, 72]}, "multiples of 16 .*, for example 64x64"),
        ({"pretrained": True}, "only design=light has a pretrained encoder, not design=published"),
        ({"design": "light", "crop": [64, 68]}, "crop: .*multiples of 8 .*, for example 64x64 instead of 64x68"),
    ],
)
def test_a_crop_that_the_networks_cannot_take_is_refused(two_domains, tmp_path, changes, message):
    with pytest.raises(BadSetting, match=message):
        AUGANTrainer(tiny_settings(two_domains, tmp_path, **changes))


def small_pair(two_domains, tmp_path, **changes) -> tuple[AUGANSettings, GeneratorPair, list[torch.Tensor]]:
    """A pair in float64, two images and two noises."""
    s = tiny_settings(two_domains, tmp_path, **changes)
    pair = GeneratorPair(s).double()
    images = [torch.rand(1, 3, 32, 32, dtype=torch.float64) * 2 - 1 for _ in range(2)]
    noises = [torch.randn(2, 1, 4 * s.width, 8, 8, dtype=torch.float64) for _ in range(2)]
    return s, pair, images + noises


@pytest.mark.parametrize("transfer_in_normal_cycle", [True, False])
def test_the_passes_of_a_step_are_those_of_the_paper(two_domains, tmp_path, transfer_in_normal_cycle):
    """Each tensor of section 2, composed by hand from encoders, T-net and decoders."""
    _, pair, (a, b, noise_a, noise_b) = small_pair(
        two_domains, tmp_path, transfer_in_normal_cycle=transfer_in_normal_cycle
    )
    out = pair(a, b, (noise_a, noise_b))
    ab, ba = pair.a2b, pair.b2a
    t = ab.transfer if transfer_in_normal_cycle else torch.nn.Identity()
    fake_b, d1 = ab.decoder(ab.transfer(ab.encoder(a)))
    fake_a, _ = ba.decoder(ba.encoder(b))
    by_hand = {
        "fake_b": fake_b,
        "fake_a": fake_a,
        "a": ba.decoder(ba.encoder(fake_b))[0],
        "b": ab.decoder(t(ab.encoder(fake_a)))[0],
        "reconstructed_a": ab.reconstructor(ab.encoder(a), noise_a)[0],
        "reconstructed_b": ba.reconstructor(ba.encoder(b), noise_b)[0],
        "transferred_a": ab.transfer(ab.encoder(a)),
        "features_fake_b": ba.encoder(fake_b),
        "features_b": ba.encoder(b),
        "features_fake_a": ab.encoder(fake_a),
        "log_scale": ab.head(d1),
    }
    found = out._asdict() | out.cycle._asdict()
    del found["cycle"]
    assert by_hand.keys() == found.keys()
    for name, value in by_hand.items():
        torch.testing.assert_close(found[name], value, msg=name)
    quiet = pair(a, b, (0 * noise_a, 0 * noise_b))
    assert not torch.equal(quiet.reconstructed_a, out.reconstructed_a)
    assert torch.equal(quiet.fake_b, out.fake_b)


def test_shared_reconstruction_goes_through_the_other_decoder(two_domains, tmp_path):
    _, pair, (a, b, noise_a, noise_b) = small_pair(two_domains, tmp_path, reconstruction="shared")
    out = pair(a, b, (noise_a, noise_b))
    torch.testing.assert_close(out.reconstructed_a, pair.b2a.decoder(pair.a2b.encoder(a), noise_a)[0])
    torch.testing.assert_close(out.reconstructed_b, pair.a2b.decoder(pair.b2a.encoder(b), noise_b)[0])


@pytest.mark.parametrize("uncertainty", [True, False])
def test_generator_losses_are_the_weighted_sum_of_section_2_7(two_domains, tmp_path, uncertainty):
    weights = {"cycle_weight": 9, "uncertain_cycle_weight": 2, "reconstruction_weight": 7, "feature_weight": 3}
    s, pair, inputs = small_pair(two_domains, tmp_path, uncertainty=uncertainty, **weights)
    a, b, *noises = inputs
    out = pair(a, b, noises)
    judged_a, judged_b = ([[torch.full((1, 1, 2, 2), v)] * 2] * 2 for v in (0.25, 0.5))
    terms = generator_losses(out, a, b, judged_a, judged_b, s)
    tensors = out._asdict() | {f"cycle_{n}" if n in "ab" else n: value for n, value in out.cycle._asdict().items()}
    x = {name: value.detach().numpy() for name, value in tensors.items() if isinstance(value, torch.Tensor)}
    x |= {"a": a.numpy(), "b": b.numpy()}

    def l1(one, other):
        return np.abs(x[one] - x[other]).mean()

    def channel_mean_l1(one, other):
        return np.abs(x[one].mean(1) - x[other].mean(1)).mean()

    cycle_a = 9 * l1("cycle_a", "a")
    if uncertainty:
        cycle_a = 2 * (5 * np.exp(-x["log_scale"]) * np.abs(x["cycle_a"] - x["a"]) + x["log_scale"] / 2).mean()
    matched = channel_mean_l1("transferred_a", "features_fake_b") + channel_mean_l1("features_b", "features_fake_a")
    by_hand = {
        "adversarial_a": 2 * 0.75**2,
        "adversarial_b": 2 * 0.5**2,
        "cycle_a": cycle_a,
        "cycle_b": 9 * l1("cycle_b", "b"),
        "reconstruction_a": 7 * l1("reconstructed_a", "a"),
        "reconstruction_b": 7 * l1("reconstructed_b", "b"),
        "features": 3 * matched,
    }
    assert by_hand.keys() == terms.keys()
    for name, value in by_hand.items():
        assert terms[name].item() == pytest.approx(value, rel=1e-4), name


def test_discriminators_see_pooled_fakes_of_their_own_domain(two_domains, tmp_path):
    trainer = AUGANTrainer(tiny_settings(two_domains, tmp_path))
    seen = []
    trainer.discriminators.register_forward_hook(lambda _, inputs, __: seen.append([x.detach() for x in inputs[:2]]))
    trainer.step([[0, 1]])
    batch = trainer.data.batch([0, 1])
    (fake_a, fake_b), (shown_a, shown_b) = seen  # the generators' turn, then the discriminators'
    torch.testing.assert_close(shown_a, torch.cat([batch.adverse, fake_a]))
    torch.testing.assert_close(shown_b, torch.cat([batch.normal, fake_b]))
    torch.testing.assert_close(torch.stack(trainer.pools[0].images), fake_a)
    torch.testing.assert_close(torch.stack(trainer.pools[1].images), fake_b)


def test_averaged_weights_follow_the_closed_form(two_domains, tmp_path):
    """Half-life in images, and diffusers' start-up: decay = min(decay, (1 + n) / (10 + n)) at its n-th step."""
    trainer = AUGANTrainer(tiny_settings(two_domains, tmp_path, images=8, ema_half_life=1))
    parameter = next(iter(trainer.pair.parameters()))
    expected, step = parameter.detach().clone(), trainer.step

    def followed(parts):
        losses = step(parts)
        n = trainer.images_shown // 2
        decay = min(0.5**2, (1 + n) / (10 + n)) if n > 0 else 0.0
        expected.mul_(decay).add_(parameter.detach(), alpha=1 - decay)
        return losses

    trainer.step = followed
    trainer.fit()
    torch.testing.assert_close(final_state(tmp_path)["ema"]["shadow_params"][0], expected)


def test_image_pool_holds_images_and_answers_half_of_the_time_with_old_ones():
    pool = ImagePool(10)
    images = torch.arange(200.0).view(200, 1, 1, 1).expand(-1, 3, 2, 2)
    found = torch.cat([pool.exchange(images[i : i + 4], range(i, i + 4)) for i in range(0, 200, 4)])
    torch.testing.assert_close(found[:10], images[:10])  # filling up
    old = (found != images).flatten(1).any(1)[10:].float().mean().item()
    assert 0.35 < old < 0.65
    assert len(pool.images) == 10
    assert np.unique(found[:, 0, 0, 0], return_counts=True)[1].max() == 2  # once new, once old


@pytest.mark.parametrize("problem", ["empty", "missing", "unreadable", "small"])
def test_bad_data_is_refused_before_training(two_domains, tmp_path, capsys, problem):
    """Pictures that could be left out are refused with --strict."""
    adverse, normal = two_domains
    out, culprit = tmp_path / "run", ""
    if problem == "empty":
        adverse = tmp_path / "nothing"
        adverse.mkdir()
        culprit = "nothing"
    elif problem == "missing":
        normal = tmp_path / "nowhere"
        culprit = "nowhere"
    elif problem == "unreadable":
        (normal / "broken.jpg").write_bytes(b"\xff\xd8 not a picture")
        culprit = "broken.jpg"
    else:
        Image.new("RGB", (60, 80)).save(normal / "narrow.png")
        culprit = "narrow.png"
    assert gen.cli.main(["train-augan", *train_command((adverse, normal), out, "--strict")]) == 1
    assert culprit in capsys.readouterr().err
    assert not (out / "metrics.jsonl").exists()


def test_dry_run_tells_and_leaves_nothing(two_domains, tmp_path, capsys):
    Image.new("RGB", (60, 80)).save(two_domains[1] / "0-narrow.png")
    assert gen.cli.main(["train-augan", *train_command(two_domains, tmp_path / "run", "--dry-run")]) == 0
    told = capsys.readouterr().out
    for part in (
        "width: 4",
        "adverse frames: 12 pictures",
        "normal frames: 11 pictures",
        "cannot be used: ",
        "parameters of generators",
        "parameters of discriminators",
        "MACs",
        "images/s",
        "extrapolated from steps at crops of 64x64 and 128x128",
        "memory: about ",
    ):
        assert part in told
    assert "parameters of discriminators: 0" not in told
    assert not (tmp_path / "run").exists()


def test_a_dry_run_of_the_largest_preset_takes_no_step_at_full_size(two_domains, tmp_path, monkeypatch):
    sizes = []

    def step(trainer, parts):
        sizes.append((trainer.settings.crop, len(parts[0])))
        return {"loss": torch.zeros(())}

    monkeypatch.setattr(AUGANTrainer, "step", step)
    monkeypatch.setattr(dry_run, "_step_seconds", lambda t, shown, steps: t.step([[0]]) and 0.1 * t.settings.crop[0])
    settings = AUGANSettings(adverse=two_domains[0], normal=two_domains[1], out=tmp_path / "run", width=4, batch=8)
    told = dry_run.duration(settings, 8 * 3600)
    assert sizes == 2 * [((64, 64), 1), ((128, 128), 1)]  # for the time, and for the memory
    # 6.4 and 12.8 seconds at 4096 and 16384 pixels make 550 seconds at 8 * 256 * 512.
    assert "about 550.4 hours on cpu" in told


@pytest.mark.parametrize(("megabytes", "parts"), [(10_000, 1), (60, 2), (40, 4)])
def test_a_step_in_as_many_parts_as_the_memory_needs(two_domains, tmp_path, monkeypatch, capsys, megabytes, parts):
    """4 MB of weights, and 12 MB of activations a pair: 51, 27 or 16 MB, of half of what is free."""
    monkeypatch.setattr(dry_run, "free_bytes", lambda device: megabytes * 10**6)
    command = train_command(two_domains, tmp_path / "run", "--fit-memory", "--set", "batch=4", "images=8")
    assert gen.cli.main(["train-augan", *command]) == 0
    assert f"accumulate={parts}\n" in capsys.readouterr().out
    assert json.loads((tmp_path / "run" / "settings.json").read_text())["settings"]["accumulate"] == parts


def test_a_step_that_fits_in_no_way_is_refused(two_domains, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(dry_run, "free_bytes", lambda device: 10**6)
    command = train_command(two_domains, tmp_path / "run", "--fit-memory", "--set=batch=4")
    assert gen.cli.main(["train-augan", *command]) == 1
    assert "even one pair at a time needs more than the 0.0005 GB" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("wdith=3", "unknown setting 'wdith'; did you mean width"),
        ("lr=fast", "lr: "),
        ("upsampling=cubic", "upsampling: "),
        ("batch", "batch: write a setting as name=value"),
        ("accumulate=3", "batch: "),
        ("blocks=0", "blocks: "),
        ("images=0", "images: "),
        ("seed=-1", "seed: "),
        ("crop=[62,110]", "crop.0: "),
    ],
)
def test_a_wrong_setting_is_named(setting, message, capsys):
    folders = ["--adverse", "a", "--normal", "b", "--out", "c", "--preset", "tiny"]
    assert gen.cli.main(["train-augan", *folders, "--set", setting]) == 1
    assert message in capsys.readouterr().err


def rendered_pairs(folder: Path) -> Path:
    """Four days and their nights, as `gen render-street` lays them out."""
    rng = np.random.default_rng(5)
    for name in range(4):
        day = street(rng, 80, 128, night=False)
        for sub, picture in (("day", day), ("adverse/night", day // 6)):
            (folder / sub).mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(folder / sub / f"{name}.png")
    return folder


def test_rendered_pairs_teach_their_truth(two_domains, tmp_path):
    """With nothing but pairs the distance to the true frames falls; the record names them."""
    pairs = {"rendered": rendered_pairs(tmp_path / "pairs"), "rendered_share": 1.0, "images": 60, "log_every": 20}
    AUGANTrainer(tiny_settings(two_domains, tmp_path / "run", **pairs)).fit()
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    distances = [line["loss/pair"] for line in lines if "loss/pair" in line]
    assert distances[-1] < 0.8 * distances[0]
    assert final_state(tmp_path / "run")["data"]["rendered day"]["count"] == 4


def test_a_step_without_pairs_has_no_pair_loss():
    translated, truth = torch.rand(3, 3, 8, 8), torch.rand(3, 3, 8, 8)
    assert shared.pair(translated, truth, torch.tensor([False] * 3)) == 0
    only = shared.pair(translated, truth, torch.tensor([False, True, False]))
    torch.testing.assert_close(only, (translated[1] - truth[1]).abs().mean())


@pytest.mark.parametrize("quantile", [0.3, 0.5, 0.8])
def test_the_pair_loss_aims_at_a_quantile_of_what_is_open(quantile):
    """Of eleven days that all look alike at night, the best answer is that quantile; at a half it is mean |e|."""
    days = torch.linspace(-1, 1, 11).view(11, 1, 1, 1)
    answers = torch.linspace(-1, 1, 201)
    known = torch.ones(11, dtype=torch.bool)
    costs = torch.stack([shared.pair(answer.expand(11, 1, 1, 1), days, known, quantile) for answer in answers])
    assert answers[costs.argmin()].item() == pytest.approx(
        float(np.quantile(days.flatten().numpy(), quantile)), abs=0.11
    )
    if quantile == 0.5:
        torch.testing.assert_close(costs[0], (answers[0] - days).abs().mean())


def test_a_run_may_start_from_another_runs_networks(two_domains, tmp_path):
    AUGANTrainer(tiny_settings(two_domains, tmp_path / "first", images=4)).fit()
    begun = AUGANTrainer(tiny_settings(two_domains, tmp_path / "second", start_from=tmp_path / "first", seed=9))
    for name, weights in final_state(tmp_path / "first")["networks"].items():
        for key, value in begun.raw[name].state_dict().items():
            torch.testing.assert_close(value, weights[key], rtol=0, atol=0)
    assert begun.images_shown == 0
    with pytest.raises(BadSetting, match=r"start_from: .*neither a run directory"):
        AUGANTrainer(tiny_settings(two_domains, tmp_path / "third", start_from=tmp_path / "nowhere"))
    with pytest.raises(BadSetting, match="does not fit"):
        AUGANTrainer(tiny_settings(two_domains, tmp_path / "third", start_from=tmp_path / "first", width=8))


def test_broken_pictures_are_left_out_and_counted_in_the_records(two_domains, tmp_path, caplog):
    (two_domains[0] / "broken.jpg").write_bytes(b"\xff\xd8 not a picture")
    Image.new("RGB", (60, 80)).save(two_domains[0] / "narrow.png")
    out = tmp_path / "run"
    assert gen.cli.main(["train-augan", *train_command(two_domains, out, "--set=images=2")]) == 0
    assert "broken.jpg" in caplog.text
    assert "narrow.png" in caplog.text
    export_model(out, tmp_path / "model")
    for record in (out / "settings.json", tmp_path / "model" / "training.json"):
        data = json.loads(record.read_text())["data"]
        assert (data["adverse"]["count"], data["adverse"]["left_out"]) == (12, 2)
        assert (data["normal"]["count"], data["normal"].get("left_out")) == (10, None)


class TestALongerRun:
    def test_it_ends_where_a_run_of_that_length_ends(self, two_domains, tmp_path):
        """Without decay, the length leaves no trace in the weights."""
        AUGANTrainer(tiny_settings(two_domains, tmp_path / "long", images=12, decay=0)).fit()
        for images in (6, 12):
            AUGANTrainer(tiny_settings(two_domains, tmp_path / "grown", images=images, decay=0)).fit()
        assert_same_state(final_state(tmp_path / "long"), final_state(tmp_path / "grown"), rtol=0, atol=0)

    def test_the_learning_rate_follows_the_new_length(self, two_domains, tmp_path, capsys):
        AUGANTrainer(tiny_settings(two_domains, tmp_path, images=8, log_every=2)).fit()
        AUGANTrainer(tiny_settings(two_domains, tmp_path, images=16, log_every=2)).fit()
        assert "images is 16 (was 8): the learning rate continues at 0.0002 (was 0.0001)" in capsys.readouterr().out
        lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
        rates = [1, 1, 1, 0.5, 1, 0.75, 0.5, 0.25]  # of steps that begin at 0, 2, 4, 6 of 8, then at 8 to 14 of 16
        assert [line["lr"] for line in lines] == pytest.approx([2e-4 * rate for rate in rates])
        assert json.loads((tmp_path / "settings.json").read_text())["settings"]["images"] == 16

    def test_epochs_may_be_raised_too(self, two_domains, tmp_path):
        for epochs, images in ((0.2, 2), (0.6, 6)):
            AUGANTrainer(tiny_settings(two_domains, tmp_path, images=None, epochs=epochs)).fit()
            assert final_state(tmp_path)["images_shown"] == images

    def test_it_cannot_end_before_what_was_shown(self, two_domains, tmp_path):
        AUGANTrainer(tiny_settings(two_domains, tmp_path, images=7)).fit()  # the last batch ends at 8
        AUGANTrainer(tiny_settings(two_domains, tmp_path, images=7)).fit()
        with pytest.raises(BadSetting, match="already been trained on 8 images, more than the 6 in"):
            AUGANTrainer(tiny_settings(two_domains, tmp_path, images=6)).fit()

    def test_a_checkpoint_from_before_a_setting_goes_on(self, two_domains, tmp_path):
        AUGANTrainer(tiny_settings(two_domains, tmp_path, images=4)).fit()
        path = latest_checkpoint(tmp_path / "checkpoints")
        state = load_checkpoint(path)
        for name in ("decay", "strict", "warm_up"):
            del state["settings"][name]
        del state["extra"]["warm_up"]
        torch.save(state, path)
        AUGANTrainer(tiny_settings(two_domains, tmp_path, images=8)).fit()
        assert final_state(tmp_path)["images_shown"] == 8


def test_pairs_of_two_kinds_and_pairs_first(two_domains, tmp_path):
    """At first only pairs teach, and no discriminator learns; the shares of both kinds are told in the record."""
    rendered, simulated = rendered_pairs(tmp_path / "rendered"), rendered_pairs(tmp_path / "simulated")
    settings = tiny_settings(
        two_domains, tmp_path / "run", rendered=rendered, rendered_share=0.3, simulated=simulated, simulated_share=0.3,
        pairs_first=20, images=30, log_every=10, checkpoint_every=20,
    )  # fmt: skip
    trainer = AUGANTrainer(settings)
    judges = {name: value.clone() for name, value in trainer.discriminators.state_dict().items()}
    translators = {name: value.clone() for name, value in trainer.pair.state_dict().items()}
    for first in range(0, 20, 2):
        record = trainer.step([[first, first + 1]])
        trainer.images_shown += 2
        assert record.keys() == {"pair"}
    assert all(torch.equal(value, judges[name]) for name, value in trainer.discriminators.state_dict().items())
    assert any(not torch.equal(value, translators[name]) for name, value in trainer.pair.state_dict().items())
    assert {"adversarial_a", "cycle_a", "discriminator_a"} <= trainer.step([[20, 21]]).keys()
    assert {"rendered adverse", "simulated day"} <= trainer.data_record().keys()


def test_the_way_back_may_learn_from_every_third_pair_only(two_domains, tmp_path):
    pairs = {"simulated": rendered_pairs(tmp_path / "pairs"), "pairs_first": 20, "pairs_back_every": 3}
    trainer = AUGANTrainer(tiny_settings(two_domains, tmp_path / "run", **pairs))
    for step in range(6):
        before = {name: value.clone() for name, value in trainer.pair.state_dict().items()}
        trainer.step([[trainer.images_shown, trainer.images_shown + 1]])
        trainer.images_shown += 2
        changed = {
            name[:3] for name, value in trainer.pair.state_dict().items() if not torch.equal(value, before[name])
        }
        assert changed == ({"a2b", "b2a"} if step % 3 == 0 else {"a2b"})


def test_the_energy_distance_is_that_of_unpaired_translations(two_domains, tmp_path, monkeypatch):
    """Pairs neither pay it nor are remembered; the first translations have nothing to be compared with."""
    monkeypatch.setattr("gen.training.energy.MIN_IMAGES", 2)
    simulated = rendered_pairs(tmp_path / "pairs")
    changes = {"adversary": "none", "energy_weight": 1.0, "simulated": simulated, "crop": [64, 64], "load_height": 64}
    trainer = AUGANTrainer(tiny_settings(two_domains, tmp_path / "run", simulated_share=0.5, **changes))
    assert "discriminators" not in trainer.optimizers
    unpaired, told = 0, []
    for first in range(0, 12, 2):
        batch = trainer.data.batch([first, first + 1], trainer.layout)
        record = trainer.step([[first, first + 1]])
        told.append((unpaired, not all(batch.paired), record["energy_a"].item(), record["energy_b"].item()))
        unpaired += batch.paired.count(False)
        assert {len(memory) for memory in trainer.memories.values()} == {unpaired}
        trainer.images_shown += 2
    assert 0 < unpaired < 12
    for before, some, *energies in told:
        assert all((energy != 0) == (before >= 2 and some) for energy in energies)


def test_the_warm_up_follows_the_pairs(two_domains, tmp_path):
    pairs = {"simulated": rendered_pairs(tmp_path / "pairs"), "pairs_first": 2, "warm_up": 2}
    trainer = AUGANTrainer(tiny_settings(two_domains, tmp_path / "run", **pairs))
    told = []
    for first in (0, 2, 4):
        told.append(trainer.step([[first, first + 1]]).keys())
        trainer.images_shown += 2
    assert "discriminator_a" not in told[0]
    assert "discriminator_a" in told[1]
    assert "adversarial_a" not in told[1]
    assert "adversarial_a" in told[2]


def test_pairs_may_be_seen_through_the_frozen_network(two_domains, tmp_path):
    """The distance in its features counts by its weight, and the record says that the network was looked through."""
    pairs = {"simulated": rendered_pairs(tmp_path / "pairs"), "pairs_first": 2, "crop": [64, 64], "load_height": 64}
    told = []
    for weight in (1.0, 3.0):
        changes = pairs | {"pair_perceptual_weight": weight}
        trainer = AUGANTrainer(tiny_settings(two_domains, tmp_path / f"run{weight:g}", **changes))
        told.append(trainer.step([[0, 1]])["pair_perceptual"].item())
        assert trainer.feature_networks == {"efficientnet-lite0"}
    assert 0 < told[0] == pytest.approx(told[1] / 3, rel=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pairs_first": 10}, "but there are no pairs"),
        ({"rendered_share": 0.6, "simulated_share": 0.5}, "their sum must be at most 1"),
    ],
)
def test_shares_that_cannot_be_are_refused(two_domains, tmp_path, changes, message):
    if "rendered_share" in changes:
        changes |= {name: rendered_pairs(tmp_path / name) for name in ("rendered", "simulated")}
    with pytest.raises(BadSetting, match=message):
        AUGANTrainer(tiny_settings(two_domains, tmp_path / "run", **changes))


def test_a_run_of_pairs_alone_exports_no_uncertainty_head(two_domains, tmp_path):
    """No cycle has taught it anything; its map would be noise that looks like doubt."""
    for folder in ("adverse", "day"):
        shutil.copytree(two_domains[0], tmp_path / "pairs" / folder)
    pairs = {"simulated": tmp_path / "pairs", "simulated_share": 0.5, "images": 4, "log_every": 2, "sample_every": 4}
    for name, alone in (("pairs", 10), ("both", 2)):
        AUGANTrainer(tiny_settings(two_domains, tmp_path / name, pairs_first=alone, **pairs)).fit()
        export_model(tmp_path / name, tmp_path / f"{name}-model")
        pipe = AUGANPipeline.from_pretrained(tmp_path / f"{name}-model")
        assert (pipe(two_domains[0] / "000.png").uncertainty is None) == (name == "pairs")
