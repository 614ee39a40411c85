"""Real training runs of the tiny preset: losses fall, kills do not matter, processes do not matter, NaN stops."""

import json
import signal
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
from gen.augan.commands import PRESETS
from gen.augan.export import export_model
from gen.augan.training import AUGANSettings, AUGANTrainer, GeneratorPair, ImagePool, generator_losses
from gen.training.checkpoints import latest_checkpoint, load_checkpoint
from gen.training.settings import make_settings, read_preset

REPOSITORY = Path(__file__).parents[2]
SMALL = {"batch": 2, "width": 4, "blocks": 1, "transfer_blocks": 1, "discriminator_width": 4, "device": "cpu"}


def tiny_settings(two_domains, out, **changes) -> AUGANSettings:
    folders = {"adverse": two_domains[0], "normal": two_domains[1], "out": out}
    return make_settings(AUGANSettings, read_preset(PRESETS / "tiny.yaml"), SMALL, folders, changes)


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


def test_presets_are_valid_and_bdd_is_the_published_size():
    folders = {"adverse": "a", "normal": "b", "out": "c"}
    presets = {p.stem: make_settings(AUGANSettings, read_preset(p), folders) for p in PRESETS.glob("*.yaml")}
    assert presets.keys() == {"bdd", "alderley", "small", "tiny"}
    for name in ("bdd", "alderley"):
        with torch.device("meta"):
            pair = GeneratorPair(presets[name])
        assert sum(p.numel() for p in pair.parameters()) == 20_103_552 + 15_303_872
        assert presets[name].crop == (256, 512)


def test_training_lowers_the_losses_and_leaves_a_full_record(two_domains, tmp_path):
    out = tmp_path / "run"
    trainer = AUGANTrainer(tiny_settings(two_domains, out, images=120, log_every=20, sample_every=60))
    (out / "settings.json").write_text(
        json.dumps({"preset": "tiny", "data": {f.name: f.summary() for f in trainer.frames}})
    )
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


def test_sigkill_and_resume_end_with_the_same_weights_bit_for_bit(two_domains, tmp_path):
    more = ["--set=images=48", "--set=checkpoint_every=8", "--set=log_every=4", "--set=pool_size=6"]
    run_training(*train_command(two_domains, tmp_path / "whole", *more))
    command = [sys.executable, str(REPOSITORY / "scripts" / "train_augan.py")]
    command += train_command(two_domains, tmp_path / "killed", *more)
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        pointer = tmp_path / "killed" / "checkpoints" / "latest.json"
        while not pointer.exists() and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    killed_at = json.loads(pointer.read_text())["images_shown"]
    assert process.returncode == -signal.SIGKILL
    assert 0 < killed_at < 48
    run_training(*train_command(two_domains, tmp_path / "killed", *more))
    assert_same_state(final_state(tmp_path / "whole"), final_state(tmp_path / "killed"), rtol=0, atol=0)
    whole, killed = ((tmp_path / n / "metrics.jsonl").read_text().splitlines() for n in ("whole", "killed"))
    for ours, theirs in zip(whole, killed, strict=True):
        a, b = json.loads(ours), json.loads(theirs)
        assert {k: v for k, v in a.items() if "second" not in k} == {k: v for k, v in b.items() if "second" not in k}


def test_two_processes_train_as_one(two_domains, tmp_path):
    """Without an image pool, which each process has for itself, and up to the rounding of sums."""
    more = ["--set=images=8", "--set=batch=4", "--set=pool_size=0"]
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
    # Adam's first steps are +-lr whatever the gradient's size, so a gradient near zero may turn by rounding.
    assert_same_state(one, two, rtol=0, atol=2e-5)


def test_accumulation_is_the_same_step(two_domains, tmp_path):
    for accumulate in (1, 2):
        settings = tiny_settings(
            two_domains, tmp_path / str(accumulate), images=8, batch=4, accumulate=accumulate, pool_size=0
        )
        AUGANTrainer(settings).fit()
    assert_same_state(final_state(tmp_path / "1"), final_state(tmp_path / "2"), rtol=0, atol=2e-5)


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


def test_ctrl_c_saves_and_the_same_command_goes_on(two_domains, tmp_path):
    command = [sys.executable, str(REPOSITORY / "scripts" / "train_augan.py")]
    arguments = train_command(two_domains, tmp_path / "run", "--set=images=60", "--set=log_every=2")
    with subprocess.Popen(
        [*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        while not (tmp_path / "run" / "metrics.jsonl").exists() and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out = process.communicate()[0]
    assert process.returncode == 130
    assert "the same command goes on" in out
    assert 0 < final_state(tmp_path / "run")["images_shown"] < 60
    run_training(*arguments)
    assert final_state(tmp_path / "run")["images_shown"] == 60


def test_a_resumed_run_must_be_the_same_run(two_domains, tmp_path):
    AUGANTrainer(tiny_settings(two_domains, tmp_path, images=4)).fit()
    with pytest.raises(BadSetting, match="lr: the run in this folder was begun with"):
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
    for network in (trainer.pair, trainer.judges):
        missing = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
        # A norm's shift before a norm is cancelled by it, so those gradients may vanish; weights may not.
        assert not [n for n in missing if not n.endswith("bias")]


def test_generator_losses_are_the_weighted_sum_of_section_2_7(two_domains, tmp_path):
    s = tiny_settings(two_domains, tmp_path)
    pair = GeneratorPair(s).double()
    a, b = (torch.rand(1, 3, 32, 32, dtype=torch.float64) * 2 - 1 for _ in range(2))
    noise = torch.zeros(2, 1, 4 * s.width, 8, 8, dtype=torch.float64)
    out = pair(a, b, noise, noise)
    judged = [[torch.full((1, 1, 2, 2), 0.25)] * 2] * 2
    terms = generator_losses(out, a, b, judged, judged, s)
    e = np.abs((out.cycle_a - a).detach().numpy())
    scale = out.log_scale.detach().numpy()
    by_hand = {
        "adversarial_a": 2 * 0.75**2,
        "cycle_a": (5 * np.exp(-scale) * e + scale / 2).mean(),
        "cycle_b": 10 * np.abs((out.cycle_b - b).detach().numpy()).mean(),
        "reconstruction_a": 10 * np.abs((out.reconstructed_a - a).detach().numpy()).mean(),
    }
    for name, value in by_hand.items():
        assert terms[name].item() == pytest.approx(value, rel=1e-4), name


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
    assert gen.cli.main(["train-augan", *train_command((adverse, normal), out)]) == 1
    assert culprit in capsys.readouterr().err
    assert not (out / "metrics.jsonl").exists()


def test_dry_run_tells_and_leaves_nothing_to_resume(two_domains, tmp_path, capsys):
    assert gen.cli.main(["train-augan", *train_command(two_domains, tmp_path / "run", "--dry-run")]) == 0
    told = capsys.readouterr().out
    for part in (
        "width: 4",
        "'count': 12",
        "'count': 10",
        "parameters of generators",
        "MACs",
        "images/s",
        "hours",
    ):
        assert part in told
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("wdith=3", "wdith: there is no such setting"),
        ("lr=fast", "lr: "),
        ("upsampling=cubic", "upsampling: "),
        ("batch", "field=value"),
        ("accumulate=3", "batch: "),
    ],
)
def test_a_wrong_setting_is_named(setting, message, capsys):
    folders = ["--adverse", "a", "--normal", "b", "--out", "c", "--preset", "tiny"]
    assert gen.cli.main(["train-augan", *folders, "--set", setting]) == 1
    assert message in capsys.readouterr().err
