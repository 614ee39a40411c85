"""The invention map: its losses against closed forms, a short real training, and its way into pipeline and files."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr
from torch.utils.flop_counter import FlopCounterMode

import gen.cli
from gen import AUGANPipeline, BadInput, BadSetting
from gen.augan.card import invention
from gen.augan.invention import InventionMap, local_deviation, stops
from gen.augan.invention_calibration import calibrate
from gen.augan.invention_evaluation import (
    Ranking,
    evaluate,
    mean_in_box,
    of_invented,
    reliability,
    signal_to_noise,
    table,
)
from gen.augan.invention_losses import (
    absolute_error,
    laplace_nll,
    share_invented,
    share_loss,
    shares_in_batch,
    structure_mismatch,
)
from gen.augan.invention_settings import InventionEvaluation, InventionSettings
from gen.augan.invention_training import InventionTrainer, export_invention
from gen.augan.networks import AUGANGenerator
from gen.media.resize import luma, to_float
from gen.provenance import fingerprint
from gen.training import longer
from gen.translation.batch import translate
from gen.translation.maps import SHARE_SCALE, decode_uncertainty_raw
from gen.translation.settings import TranslateSettings

HEIGHT, WIDTH, SQUARE = 48, 64, 24


# What is learnt.


def test_error_is_the_mean_over_the_channels_in_grey_levels():
    a, b = torch.zeros(1, 3, 2, 2), torch.tensor([0.0, 0.2, -0.4]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    torch.testing.assert_close(absolute_error(a, b), torch.full((1, 1, 2, 2), 0.2 * 127.5))


def test_the_laplace_loss_is_least_at_the_mean_error():
    error = torch.tensor([1.0, 2.0, 9.0], dtype=torch.float64)
    log_scale = torch.full((3,), np.log(4.0), dtype=torch.float64, requires_grad=True)
    loss = laplace_nll(log_scale, error)
    assert loss.item() == pytest.approx(1 + np.log(4.0))
    loss.backward()
    assert log_scale.grad.sum().item() == pytest.approx(0, abs=1e-12)
    for other in (3.0, 5.0):
        assert laplace_nll(torch.full((3,), np.log(other), dtype=torch.float64), error) > loss


def slow_mismatch(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Three scales of 1 - cs with scipy's filter; sides are multiples of 4."""
    size, total = a.shape, np.zeros(a.shape)
    for scale in range(3):
        if scale:
            a, b = (x.reshape(x.shape[0] // 2, 2, x.shape[1] // 2, 2).mean((1, 3)) for x in (a, b))
        blur = [gaussian_filter(x, 1.5, mode="nearest", radius=5) for x in (a, b, a * a, b * b, a * b)]
        cs = (2 * (blur[4] - blur[0] * blur[1]) + 0.06**2) / (blur[2] - blur[0] ** 2 + blur[3] - blur[1] ** 2 + 0.06**2)
        enlarged = torch.nn.functional.interpolate(
            torch.from_numpy(1 - cs)[None, None], size=size, mode="bilinear", align_corners=False
        )
        total += enlarged[0, 0].numpy()
    return total


def test_mismatch_is_that_of_a_slow_reference():
    a, b = (torch.rand(1, 3, 40, 56) * 2 - 1 for _ in range(2))
    b = 0.6 * a + 0.4 * b
    found = structure_mismatch(a, b)[0, 0]
    slow = slow_mismatch(*(luma(x)[0, 0].double().numpy() for x in (a, b)))
    np.testing.assert_allclose(found.numpy(), slow, atol=2e-4)


def patches() -> torch.Tensor:
    """(1, 3, 97, 129) in [-0.6, 0.6]: structure at every scale."""
    return (torch.rand(1, 3, 13, 17) * 1.2 - 0.6).repeat_interleave(8, 2).repeat_interleave(8, 3)[..., :97, :129]


def test_mismatch_counts_structure_and_not_brightness():
    a, b = patches(), patches()
    assert structure_mismatch(a, a).abs().max() < 1e-5
    torch.testing.assert_close(structure_mismatch(a, b + 0.3), structure_mismatch(a, b), atol=1e-3, rtol=0)
    assert structure_mismatch(a, b).mean().item() == pytest.approx(3, abs=0.35)
    assert structure_mismatch(a, -a).mean() > 4.8


def test_share_is_nothing_for_the_truth_one_for_a_stranger_and_two_for_its_opposite():
    truth, other = (torch.rand(1, 3, 48, 48) * 2 - 1 for _ in range(2))
    strangers = torch.rand(15, 3, 48, 48) * 2 - 1
    assert share_invented(truth, truth, strangers).mean() < 0.01
    assert share_invented(other, truth, strangers).mean().item() == pytest.approx(1, abs=0.15)
    assert share_invented(-truth, truth, strangers).mean() > 1.9


def test_shares_of_a_batch_leave_out_the_own_street():
    translations, truths = (torch.rand(4, 3, 24, 24) * 2 - 1 for _ in range(2))
    truths[1] = truths[0]
    shares, known = shares_in_batch(translations, truths, ["a", "a", "b", "c"])
    for i, strangers in enumerate(([2, 3], [2, 3], [0, 1, 3], [0, 1, 2])):
        own = share_invented(translations[i : i + 1], truths[i : i + 1], truths[strangers])
        torch.testing.assert_close(shares[i : i + 1], own)
    assert known.tolist() == [True] * 4
    assert shares_in_batch(translations[:2], truths[:2], ["a", "a"])[1].tolist() == [False, False]


def test_the_share_loss_is_least_at_the_mean_share_and_skips_the_unknown():
    share = torch.tensor([[0.0, 0.5], [1.0, 2.0]]).view(1, 1, 2, 2).repeat(2, 1, 1, 1)
    share[1] = 7  # without strangers: must not matter
    known = torch.tensor([True, False])
    probability = share[0].mean() / 2
    logit = torch.logit(probability).expand(2, 1, 2, 2).clone().requires_grad_()
    loss = share_loss(logit, share, known)
    loss.backward()
    assert logit.grad[0].sum().item() == pytest.approx(0, abs=1e-7)
    assert not logit.grad[1].any()
    entropy = -(probability * probability.log() + (1 - probability) * (1 - probability).log())
    assert loss.item() == pytest.approx(entropy.item(), rel=1e-5)


# What sees.


def awake(**settings) -> InventionMap:
    """A network whose last layer says something."""
    network = InventionMap(**settings).eval()
    torch.nn.init.normal_(network.leave.weight)
    return network


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (33, 70), (5, 300)])
def test_any_size_and_both_maps_in_range(size):
    frame, translation = (torch.rand(2, 3, *size) * 2 - 1 for _ in range(2))
    with torch.no_grad():
        found = awake()(frame, translation)
    assert found.error.shape == found.share.shape == (2, 1, *size)
    assert torch.isfinite(found.log_error).all()
    assert found.share.min() >= 0
    assert found.share.max() <= 1


def test_it_costs_less_than_a_tenth_of_the_shipped_generator():
    def macs(network, *inputs):
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network(*inputs)
        return counter.get_total_flops()

    image = torch.zeros(1, 3, 96, 176)
    generator = AUGANGenerator(width=24, upsampling="resize", reconstruction=False)
    assert macs(InventionMap(), image, image) < 0.1 * macs(generator, image)
    assert sum(p.numel() for p in InventionMap().parameters()) < 200_000


def test_a_lamp_far_away_changes_nothing():
    """No statistics of the whole frame: black is black whatever else the frame shows."""
    frame = torch.full((1, 3, 32, 704), -0.98)
    lamp = frame.clone()
    lamp[..., -40:] = 1
    network = awake()
    with torch.no_grad():
        here, there = (network(x, torch.zeros_like(x)) for x in (frame, lamp))
    torch.testing.assert_close(here.log_error[..., :200], there.log_error[..., :200], atol=1e-5, rtol=0)
    assert (here.log_error - there.log_error).abs()[..., -40:].max() > 1e-3


def test_light_is_seen_in_stops_and_noise_in_grey_levels():
    assert stops(torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1).expand(2, 3, 1, 1)).flatten().tolist() == [-12, 0]
    noise = torch.randn(1, 1, 200, 200).expand(1, 3, 200, 200) * (4 / 127.5)
    # The mean of 25 pixels takes a 25th of the variance with it.
    assert (local_deviation(noise) ** 2).mean().item() == pytest.approx(16, rel=0.06)
    assert signal_to_noise(torch.full((1, 3, 9, 9), -1.0)).max() == 0
    assert signal_to_noise(torch.zeros(1, 3, 9, 9)).mean().item() == pytest.approx(127.5)


# A short real training.


def streets(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Days of patches, their nights (dim, with a crushed black square), and where those are."""
    coarse = rng.integers(0, 256, (count, HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
    day = coarse.repeat(8, axis=1).repeat(8, axis=2)
    night, black = (day * 0.6 + 10).astype(np.uint8), np.zeros((count, HEIGHT, WIDTH), bool)
    for i in range(count):
        top, left = rng.integers(0, HEIGHT - SQUARE), rng.integers(0, WIDTH - SQUARE)
        black[i, top : top + SQUARE, left : left + SQUARE] = True
    night[black] = rng.integers(0, 4, (int(black.sum()), 3))
    return day, night, black


def write(folder: Path, pictures: np.ndarray) -> None:
    folder.mkdir(parents=True)
    for i, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / f"{i:03d}.png")


def to_tensor(pictures: np.ndarray) -> torch.Tensor:
    return to_float(torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2))


def translator(day: np.ndarray, night: np.ndarray) -> AUGANPipeline:
    """A tiny generator that has really learnt night to day, as far as it can be seen."""
    torch.manual_seed(0)
    shape = {"width": 8, "blocks": 1, "reconstruction": False, "upsampling": "resize"}
    there = AUGANGenerator(transfer_blocks=1, uncertainty=True, **shape)
    optimizer = torch.optim.Adam(there.parameters(), lr=5e-3)
    nights, days = to_tensor(night), to_tensor(day)
    for step in range(100):
        pick = torch.arange(4) + 4 * step
        optimizer.zero_grad()
        (there(nights[pick % len(nights)]).image - days[pick % len(days)]).abs().mean().backward()
        optimizer.step()
    back = AUGANGenerator(transfer_blocks=0, uncertainty=False, **shape)
    return AUGANPipeline(there, back, trained_height=HEIGHT, trained_width=WIDTH)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """Folder with rendered/, model/ (with a map), old/ (without), run/, and held-out streets."""
    root = tmp_path_factory.mktemp("invention")
    rng = np.random.default_rng(0)
    day, night, _ = streets(rng, 24)
    write(root / "rendered" / "day", day)
    write(root / "rendered" / "adverse" / "night", night)
    translator(day, night).save_pretrained(root / "old")
    shutil.copytree(root / "old", root / "model")
    InventionTrainer(settings(root)).fit()
    export_invention(root / "run", str(root / "model"))
    day, night, black = streets(rng, 6)
    write(root / "held" / "day", day)
    write(root / "held" / "adverse" / "night", night)
    np.save(root / "black.npy", black)
    return root


def settings(root: Path, **changes) -> InventionSettings:
    values = {"images": 240, "lr": 4e-3, "ema_half_life": 40, "spared": 0.6, "device": "cpu"} | changes
    return InventionSettings(model=str(root / "model"), rendered=root / "rendered", out=root / "run", **values)


def held_out(root: Path) -> tuple[list[Path], np.ndarray]:
    return sorted((root / "held" / "adverse" / "night").iterdir()), np.load(root / "black.npy")


def test_crushed_black_squares_are_told_to_be_made_up(trained):
    """On streets that it never saw; the cycle uncertainty of the same model does not know."""
    frames, black = held_out(trained)
    out = AUGANPipeline.from_pretrained(trained / "model")(frames, output_type="np")
    share, error = np.stack(out.invented), np.stack(out.expected_error)
    assert share.shape == black.shape
    assert share[black].mean() > share[~black].mean() + 0.12
    assert share[black].mean() > 3 * share[~black].mean()
    assert error[black].mean() > 1.5 * error[~black].mean()
    truth = np.stack([np.asarray(Image.open(p)) for p in sorted((trained / "held" / "day").iterdir())])
    actual = np.abs(np.stack(out.images).astype(float) - truth).mean(-1)
    assert error[black].mean() == pytest.approx(actual[black].mean(), rel=0.35)  # grey levels, and not only a rank


def test_the_lessons_are_poor_frames_with_clean_truths(trained):
    trainer = InventionTrainer(settings(trained, spared=0.0))
    shown, again = trainer.data.batch([5, 6, 7]), trainer.data.batch([5, 6, 7])
    for name in ("frame", "truth"):
        torch.testing.assert_close(getattr(shown, name), getattr(again, name), rtol=0, atol=0)
    for frame, truth, street in zip(*shown, strict=True):
        day, night = (
            to_tensor(np.asarray(Image.open(trained / "rendered" / where / f"{street}.png"))[None])[0]
            for where in ("day", "adverse/night")
        )
        assert min((truth - d).abs().max().item() for d in (day, day.flip(2))) == 0
        assert min((frame - n).abs().mean().item() for n in (night, night.flip(2))) > 0.01


def test_a_lesson_is_the_translators_error_and_is_echoed_flipped(trained):
    trainer = InventionTrainer(settings(trained, echoes=2))
    pictures = trainer.data.batch(range(4, 8))
    batch, echo = trainer.training_batch(range(8, 12)), trainer.training_batch(range(12, 16))
    torch.testing.assert_close(batch.frame, pictures.frame)
    with torch.no_grad():
        translated = trainer.translator(pictures.frame).image
    torch.testing.assert_close(batch.error, absolute_error(translated, pictures.truth))
    torch.testing.assert_close(batch.share, shares_in_batch(translated, pictures.truth, pictures.streets)[0])
    for ours, flipped in zip(batch[:4], echo[:4], strict=True):
        torch.testing.assert_close(ours.flip(3), flipped)
    assert not torch.equal(trainer.training_batch(range(16, 20)).frame, batch.frame)


def test_old_folders_load_as_before(trained):
    index = json.loads((trained / "old" / "model_index.json").read_text())
    for key in ("invention", "default_map"):  # as exported before there was such a map
        index.pop(key)
    (trained / "old" / "model_index.json").write_text(json.dumps(index))
    frames, _ = held_out(trained)
    old, new = (AUGANPipeline.from_pretrained(trained / name) for name in ("old", "model"))
    assert old.invention is None
    before, after = (pipe(frames[0], output_type="np") for pipe in (old, new))
    np.testing.assert_array_equal(before.images[0], after.images[0])
    np.testing.assert_array_equal(before.uncertainty[0], after.uncertainty[0])
    assert before.invented is None
    assert before.expected_error is None
    assert new(frames[0], direction="normal_to_adverse").invented is None
    with pytest.raises(BadSetting, match="no invention map"):
        old.translate_frames(torch.zeros(1, 8, 8, 3, dtype=torch.uint8), "adverse_to_normal", which_map="invention")


def test_the_map_of_the_run_is_the_map_of_the_pipeline(trained):
    pipe = AUGANPipeline.from_pretrained(trained / "model")
    trainer = InventionTrainer(settings(trained))
    trainer.resume()
    assert trainer.finished
    with trainer.averaged_weights():
        for ours, theirs in zip(trainer.map.parameters(), pipe.invention.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs)
    assert pipe.invention.config["height"] == HEIGHT
    assert fingerprint(trained / "model", exclude="invention") == fingerprint(trained / "old")
    assert fingerprint(trained / "model") != fingerprint(trained / "old")


def test_saved_and_loaded_again_also_in_half(trained, tmp_path):
    pipe = AUGANPipeline.from_pretrained(trained / "model")
    pipe.save_pretrained(tmp_path / "again")
    pipe.save_pretrained(tmp_path / "again", variant="fp16")
    frames, _ = held_out(trained)
    share = pipe(frames[0]).invented[0]
    np.testing.assert_array_equal(AUGANPipeline.from_pretrained(tmp_path / "again")(frames[0]).invented[0], share)
    half = AUGANPipeline.from_pretrained(tmp_path / "again", dtype=torch.bfloat16)
    assert np.abs(half(frames[0]).invented[0] - share).mean() < 0.05


def test_which_map_is_shown(trained, tmp_path):
    frames, _ = held_out(trained)
    pixels = torch.from_numpy(np.asarray(Image.open(frames[0])).copy())[None]
    pipe = AUGANPipeline.from_pretrained(trained / "model")
    cycle, invention, auto = (
        pipe.translate_frames(pixels, "adverse_to_normal", which_map=w)[1] for w in ("cycle", "invention", "auto")
    )
    assert cycle.min() >= 12.749
    assert invention.max() <= 1
    torch.testing.assert_close(auto, cycle)
    shutil.copytree(trained / "model", tmp_path / "model")
    export_invention(trained / "run", str(tmp_path / "model"), default=True)
    assert AUGANPipeline.from_pretrained(tmp_path / "model").shown_map("adverse_to_normal") == "invention"
    assert pipe.shown_map("normal_to_adverse") is None


def test_large_frames_are_looked_at_as_it_learnt_to(trained):
    """A frame enlarged threefold and translated at its own size gets about the map of the small frame."""
    frames, _ = held_out(trained)
    pipe = AUGANPipeline.from_pretrained(trained / "model")
    small = Image.open(frames[0])
    large = small.resize((3 * WIDTH, 3 * HEIGHT), Image.Resampling.BILINEAR)
    share = pipe(large, resolution=None).invented[0]
    assert share.shape == (3 * HEIGHT, 3 * WIDTH)
    assert np.corrcoef(share[1::3, 1::3].ravel(), pipe(small).invented[0].ravel())[0, 1] > 0.8


def test_a_map_for_other_weights_is_refused(trained, tmp_path):
    pipe = AUGANPipeline.from_pretrained(trained / "old")
    pipe.adverse_to_normal.decoder.to_rgb[1].weight.data += 0.1
    pipe.save_pretrained(tmp_path / "other")
    with pytest.raises(BadInput, match="trained for other weights"):
        export_invention(trained / "run", str(tmp_path / "other"))
    with pytest.raises(BadInput, match="no checkpoint"):
        export_invention(tmp_path, str(trained / "model"))


def test_translate_writes_the_share_and_reports_it(trained, tmp_path):
    frames, _ = held_out(trained)
    done = translate(
        TranslateSettings(
            frames[0], tmp_path / "x.png", model=str(trained / "model"), uncertainty="raw", which_map="invention"
        )
    )
    share = decode_uncertainty_raw(tmp_path / "x.png.uncertainty.png", SHARE_SCALE)
    entry = done.entries[0]
    assert entry.mean_invented == pytest.approx(float(share.mean()), abs=1e-4)
    assert entry.mean_uncertainty is None
    expected = AUGANPipeline.from_pretrained(trained / "model")(frames[0]).invented[0]
    np.testing.assert_allclose(share, expected, atol=1e-4)
    with pytest.raises(BadSetting, match="map invention"):  # or a map of another kind would pass for this one
        translate(
            TranslateSettings(
                frames[0], tmp_path / "x.png", model=str(trained / "model"), uncertainty="raw", which_map="cycle"
            )
        )


# What is measured.


def test_a_perfect_map_ranks_perfectly_and_a_constant_one_not_at_all():
    truth = torch.rand(30, 40)
    ranking = Ranking()
    maps = {"error": truth * 2, "share": truth, "cycle": torch.ones(30, 40), "darkness": -truth, "noise": truth.sqrt()}
    ranking.add(maps, {"error": truth, "share": truth})
    found = ranking.result()
    rows = found["error"]["maps"]
    assert rows["invention"] == pytest.approx({"spearman": 1, "ause": 0, "ause_chance": rows["cycle"]["ause"]})
    assert rows["cycle"]["spearman"] == 0
    assert rows["darkness"]["spearman"] == pytest.approx(-1)
    assert all(d["predicted"] == pytest.approx(2 * d["actual"]) for d in found["error"]["reliability"])


def test_reliability_groups_by_prediction():
    predicted = np.arange(100.0)[::-1]
    found = reliability(predicted, predicted % 10)
    assert [d["predicted"] for d in found] == [4.5 + 10 * i for i in range(10)]
    assert all(d["actual"] == 4.5 for d in found)


def test_evaluation_of_a_model_folder(trained, tmp_path):
    real = tmp_path / "real"
    shutil.copytree(trained / "held" / "adverse" / "night", real)
    other = AUGANPipeline.from_pretrained(trained / "old")
    with torch.no_grad():
        for parameter in other.adverse_to_normal.parameters():
            parameter += 0.05 * parameter.std() * torch.randn_like(parameter) if parameter.numel() > 1 else 0
    other.save_pretrained(tmp_path / "other")
    (real / "broken.jpg").write_bytes(b"\xff\xd8")
    result = evaluate(
        InventionEvaluation(
            rendered=trained / "held",
            model=str(trained / "model"),
            real=real,
            other_model=str(tmp_path / "other"),
            out=tmp_path / "out",
        )
    )
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text()) == result
    (real / "broken.jpg").unlink()
    assert result["left_out"] == 1
    assert "Left out, because they cannot be read: 1 images." in table(result)
    plain = result["rendered"]["night"]["as rendered"]
    assert plain["share"]["maps"]["invention"]["ause"] < plain["share"]["maps"]["invention"]["ause_chance"]
    assert plain["error"]["maps"]["invention"]["spearman"] > 0.3
    black = result["real"]["share"]
    assert black["mean_in_black"] > black["mean_elsewhere"] + 0.1
    assert black["signal_to_noise"] < 0
    pipe = AUGANPipeline.from_pretrained(trained / "model")
    frames = [np.asarray(Image.open(path))[None] for path in sorted(real.iterdir())]
    expected = []
    for frame in map(torch.from_numpy, frames):
        ours, share = pipe.translate_frames(frame, "adverse_to_normal", which_map="invention")
        theirs, _ = other.translate_frames(frame, "adverse_to_normal")
        expected.append(
            spearmanr(share[0].flatten(), (ours.float() - theirs.float()).abs().mean(3).flatten()).statistic
        )
    assert black["disagreement"] == pytest.approx(np.mean(expected), abs=1e-4)
    text = table(result)
    assert "| night | degraded | invention |" in text
    assert "\nReal frames, by map\n- error: signal to noise " in text
    shutil.copytree(trained / "model", tmp_path / "model")
    assert "has not been measured with these weights" in invention(tmp_path / "model")[0]
    assert invention(trained / "old") == []
    shutil.copy(tmp_path / "out" / "evaluation.json", tmp_path / "model" / "invention")
    (section,) = invention(tmp_path / "model")
    assert section.startswith("## Invention map")
    assert text in section
    assert "gen evaluate-invention --rendered " in section
    shutil.rmtree(tmp_path / "model" / "normal_to_adverse")
    (section,) = invention(tmp_path / "model")  # of other weights than those that the numbers are of
    assert "has not been measured with these weights" in section
    assert "| night |" not in section
    with pytest.raises(BadSetting, match="no invention map"):
        evaluate(InventionEvaluation(rendered=trained / "held", model=str(trained / "old")))
    with pytest.raises(BadSetting, match="augan-night2day is a name and its weights may be shared"):
        evaluate(InventionEvaluation(rendered=trained / "held"))


def test_a_box_has_the_mean_of_what_it_covers():
    values = torch.arange(20.0).view(4, 5)
    assert mean_in_box(values, torch.tensor([1.2, 0.9, 2.5, 1.5])) == values[0:2, 1:3].mean()
    assert mean_in_box(values, torch.tensor([-3, -3, 90, 90])) == values.mean()
    assert mean_in_box(values, torch.tensor([7, 7, 9, 9])) == 19  # beyond the frame: the nearest pixel


@settings_of_hypothesis(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=12))
def test_invented_boxes_are_ranked_against_each_of_the_others(boxes):
    means, new = np.array([float(m) for m, _ in boxes]), np.array([n for _, n in boxes], dtype=bool)
    found = of_invented(means, new)
    pairs = [(a, b) for a, n in boxes if n for b, m in boxes if not m]
    assert (found["invented"], found["others"]) == (new.sum(), (~new).sum())
    if pairs:
        assert found["auc"] == pytest.approx(np.mean([1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs]))
    else:
        assert found["auc"] is None


def test_the_map_is_read_in_the_boxes_of_a_real_detector(trained, shared_data, tmp_path):
    detector = shared_data / "models" / "yolox_nano.onnx"
    result = evaluate(
        InventionEvaluation(
            rendered=trained / "held",
            model="augan-night2day",  # the small model's pictures show nothing that a detector finds
            real=shared_data / "driving" / "val" / "night",
            detector=detector,
            limit=4,
            out=tmp_path,
        )
    )
    objects = result["objects"]["share"]
    assert objects["invented"] + objects["others"] > 0
    assert f"Boxes in real frames, by map\n- error: invented {objects['invented']}, " in table(result)
    with pytest.raises(BadSetting, match="set real to a folder"):
        evaluate(InventionEvaluation(rendered=trained / "held", model=str(trained / "model"), detector=detector))


def test_calibration_finds_the_line_that_was_bent(trained, tmp_path):
    """A map whose outputs were scaled and shifted says again what it said, and where it was right it stays."""
    straight = AUGANPipeline.from_pretrained(trained / "model")
    calibrate(straight, trained / "held", spared=1.0)
    bent = AUGANPipeline.from_pretrained(trained / "model")
    with torch.no_grad():
        for parameter in (bent.invention.leave.weight, bent.invention.leave.bias):
            parameter *= 0.5
        bent.invention.leave.bias += 1.5
    calibrate(bent, trained / "held", spared=1.0)
    again = calibrate(bent, trained / "held", spared=1.0)
    for line in again.values():
        assert line.scale == pytest.approx(1, abs=0.02)
        assert line.shift == pytest.approx(0, abs=0.05)
    frames, _ = held_out(trained)
    one, other = (pipe(frames[0], output_type="np") for pipe in (straight, bent))
    np.testing.assert_allclose(one.invented[0], other.invented[0], atol=0.02)
    np.testing.assert_allclose(one.expected_error[0], other.expected_error[0], rtol=0.05)


def test_export_calibrates_and_says_so(trained, tmp_path):
    shutil.copytree(trained / "old", tmp_path / "model")
    command = ["export-invention", str(trained / "run"), str(tmp_path / "model"), "--default"]
    assert gen.cli.main([*command, "--calibrate", str(trained / "held")]) == 0
    record = json.loads((tmp_path / "model" / "invention" / "training.json").read_text())
    assert set(record["calibration"]) == {"rendered", "error", "share"}
    assert record["calibration"]["share"]["scale"] > 0
    assert record["data"]["calibration"]["folder"].endswith("held/adverse")  # which is then not held out
    model = AUGANPipeline.from_pretrained(tmp_path / "model")
    measured = evaluate(InventionEvaluation(rendered=trained / "held", model=str(tmp_path / "model"), out=tmp_path))
    table = measured["rendered"]["night"]["as rendered"]["share"]["reliability"]
    assert abs(np.mean([row["predicted"] - row["actual"] for row in table])) < 0.05
    assert model.shown_map("adverse_to_normal") == "invention"
    assert gen.cli.main(command[:3]) == 0  # without --default, what was the default stays
    assert AUGANPipeline.from_pretrained(tmp_path / "model").shown_map("adverse_to_normal") == "invention"


def test_the_record_of_a_run_that_was_made_longer_says_so(trained, tmp_path):
    shutil.copytree(trained / "run", tmp_path / "run")
    shutil.copytree(trained / "old", tmp_path / "model")
    InventionTrainer(replace(settings(trained, images=244), out=tmp_path / "run")).fit()
    export_invention(tmp_path / "run", str(tmp_path / "model"))
    record = json.loads((tmp_path / "model" / "invention" / "training.json").read_text())
    assert longer.in_words(record).startswith("images=240 until 240 images")


def test_pairs_of_several_sizes_can_be_measured_and_calibrated_on(trained, tmp_path):
    """As `gen simulate-weather` makes them of the days of several cameras."""
    shutil.copytree(trained / "held", tmp_path / "pairs")
    for path in (tmp_path / "pairs").rglob("000.png"):
        with Image.open(path) as image:
            image.resize((80, 112)).save(path)
    shutil.copytree(trained / "model", tmp_path / "model")
    measured = evaluate(InventionEvaluation(rendered=tmp_path / "pairs", model=str(tmp_path / "model"), out=tmp_path))
    assert measured["rendered"].keys() == {"night"}
    export_invention(trained / "run", str(tmp_path / "model"), calibrated_on=tmp_path / "pairs")
