"""`evaluate` and the model card, on a tiny model and a few frames."""

import dataclasses
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gen.augan.arguments import EvaluateSettings
from gen.augan.card import evaluation_command, refresh_card, write_card
from gen.augan.cycle_calibration import calibration
from gen.augan.direction_evaluation import DirectionEvaluation, other_images, ratio
from gen.augan.evaluation import evaluate
from gen.augan.evaluation_record import identity
from gen.augan.measures import Measures
from gen.augan.networks import AUGANGenerator
from gen.augan.pipeline import AUGANPipeline
from gen.augan.rows import simulations
from gen.augan.tables import results
from gen.augan.verdict import in_short, verdict
from gen.cli import main
from gen.cyclegan.method import CycleGANPipeline, ResNetGenerator
from gen.devices import pick_device
from gen.errors import BadInput, BadSetting
from gen.media.left_out import LeftOut
from gen.media.video import write_clip
from gen.metrics.distances import list_images
from gen.metrics.features import EfficientNetLite0Features
from gen.translation.settings import parse_resolution
from gen.weights import SHIPPED

SHARED = Path(os.environ.get("GEN_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
DRIVING = SHARED / "driving"


def save_model(folder: Path, *, uncertainty: bool = True, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    AUGANPipeline(
        adverse_to_normal=AUGANGenerator(8, 1, 1, uncertainty, reconstruction=False),
        normal_to_adverse=AUGANGenerator(8, 1, 0, uncertainty=False, reconstruction=False),
        trained_height=64,
        trained_width=112,
        weathers=["night", "snow"],
    ).save_pretrained(folder)
    return folder


def save_frames(folder: Path, count: int, brightness: int, seed: int) -> Path:
    """Coloured rectangles on grey of the given brightness: 72x128 PNG."""
    draw = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for i in range(count):
        frame = np.full((72, 128, 3), brightness, np.uint8)
        for y, x in zip(draw.integers(0, 60, 8), draw.integers(0, 110, 8), strict=True):
            frame[y : y + 12, x : x + 16] = draw.integers(0, 2 * brightness, 3)
        Image.fromarray(frame).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, a baseline and the folders of frames."""
    root = tmp_path_factory.mktemp("place")
    save_model(root / "model")
    save_model(root / "baseline", uncertainty=False, seed=1)
    save_model(root / "other", seed=2)
    (root / "other" / "training.json").write_text(json.dumps({"feature_networks": ["efficientnet-lite0"]}))
    for i, (name, count, brightness) in enumerate(
        [("night", 5, 25), ("day", 4, 120), ("more_day", 9, 120), ("more_night", 7, 25)]
    ):
        save_frames(root / name, count, brightness, seed=i)
    for i, weather in enumerate(("night", "rain")):
        save_frames(root / "rendered" / "adverse" / weather, 2, 25, seed=9 + i)
        for j in range(2):
            (root / "rendered" / "adverse" / weather / f"{j}.png").rename(
                root / "rendered" / "adverse" / weather / f"{2 * i + j}.png"
            )
    save_frames(root / "rendered" / "day", 4, 120, seed=11)
    draw = np.random.default_rng(0)
    still = draw.integers(0, 50, (72, 128, 3)).astype(np.uint8)
    write_clip(root / "clip.mp4", [still] * 4, rate=10)
    return root


@pytest.fixture(scope="module")
def settings(place: Path) -> EvaluateSettings:
    return EvaluateSettings(
        model=str(place / "model"),
        baseline=place / "baseline",
        adverse=place / "night",
        normal=place / "day",
        adverse_reference=place / "more_night",
        normal_reference=place / "more_day",
        rival=(f"other={place / 'other'}",),
        rendered=place / "rendered",
        perceptual=SHIPPED / "squeezenet1_1" / "model.safetensors",
        clip=place / "clip.mp4",
        features=("squeezenet", "efficientnet-lite0"),
        batch=3,
        device="cpu",
    )


@pytest.fixture(scope="module")
def result(settings: EvaluateSettings) -> dict[str, Any]:
    return evaluate(settings)


ROWS = ["untouched", "gamma", "histogram", "baseline", "model", "other"]
SPACES = ["squeezenet", "efficientnet-lite0"]


class TestEvaluate:
    def test_rows_and_counts(self, result: dict[str, Any]) -> None:
        counts = {
            direction: {name: row["images"] for name, row in result[direction].items()}
            for direction in ("adverse_to_normal", "normal_to_adverse")
        }
        assert counts == {
            "adverse_to_normal": dict.fromkeys([*ROWS, "floor"], 5) | {"target": 4},
            "normal_to_adverse": dict.fromkeys([*ROWS, "floor", "simulated night"], 4) | {"target": 5},
        }

    def test_a_simulated_night_is_dark_and_a_function_of_the_frame(self, result: dict[str, Any], place: Path) -> None:
        row = result["normal_to_adverse"]["simulated night"]
        assert row["luma"] < 0.6 * result["normal_to_adverse"]["untouched"]["luma"]
        rows = simulations(AUGANPipeline.from_pretrained(str(place / "model")))
        assert list(rows) == ["simulated night"]  # the model knows snow too, which nothing simulates
        frames = torch.randint(0, 256, (2, 72, 128, 3), dtype=torch.uint8)
        first, again = (rows["simulated night"](frames) for _ in range(2))
        assert torch.equal(first, again)
        assert first.shape == frames.shape
        assert torch.equal(rows["simulated night"](frames[1:])[0], first[1])

    @pytest.mark.parametrize("direction", ["adverse_to_normal", "normal_to_adverse"])
    def test_every_row_is_measured_in_every_space(self, result: dict[str, Any], direction: str) -> None:
        rows = result[direction]
        assert list(result["spaces"]) == SPACES
        for name in (*ROWS, "floor"):
            for space in SPACES:
                distance, untouched = (rows[row]["distances"][space] for row in (name, "untouched"))
                assert distance["kernel_ratio"] == pytest.approx(distance["kernel"] / untouched["kernel"])
                assert distance["frechet_ratio"] == pytest.approx(distance["frechet"] / untouched["frechet"])
        assert rows["untouched"]["distances"]["squeezenet"]["kernel_std"] > 0

    def test_untouched_frames_are_farther_than_the_floor(self, result: dict[str, Any]) -> None:
        for direction in ("adverse_to_normal", "normal_to_adverse"):
            floor = result[direction]["floor"]["distances"]["efficientnet-lite0"]
            assert floor["frechet_ratio"] < 1
            assert floor["kernel_ratio"] < 1

    def test_rivals_have_the_brightness_of_the_target(self, result: dict[str, Any]) -> None:
        for direction in ("adverse_to_normal", "normal_to_adverse"):
            rows = result[direction]
            assert rows["gamma"]["luma"] == pytest.approx(rows["target"]["luma"], abs=1)
            assert rows["histogram"]["luma"] == pytest.approx(rows["target"]["luma"], abs=12)

    def test_a_space_that_a_training_used_is_told(self, result: dict[str, Any]) -> None:
        used = {name: space["used_by"] for name, space in result["spaces"].items()}
        assert used == {"squeezenet": [], "efficientnet-lite0": ["other"]}

    def test_a_still_clip_does_not_flicker(self, result: dict[str, Any]) -> None:
        rows = result["adverse_to_normal"]
        assert result["clip"]["frames"] == 4
        for name in ROWS[1:]:
            assert rows[name]["flicker"] == pytest.approx(0, abs=0.5)
            assert rows[name]["flicker"] == result["clip"]["flicker"][name]["added_warp_error"]
        assert "flicker" not in rows["untouched"]

    def test_rendered_pairs_by_weather_and_row(self, result: dict[str, Any]) -> None:
        assert {weather: list(rows) for weather, rows in result["rendered"].items()} == {"night": ROWS, "rain": ROWS}
        night = result["rendered"]["night"]
        assert night["gamma"]["psnr"] > night["untouched"]["psnr"]
        assert night["untouched"]["perceptual"] > 0
        assert result["perceptual_name"] == "perceptual distance (SqueezeNet, unweighted)"

    def test_the_models_folder_gets_rendered_pictures_only(self, result: dict[str, Any], place: Path) -> None:
        assert [p.name for p in (place / "model").glob("*.jpg")] == ["rendered.jpg"]
        with Image.open(place / "model" / "rendered.jpg") as sheet:
            columns = 8  # source, two trivial rivals, baseline, the other model, the model, its map
            assert sheet.width == (columns - 1) * 258
            assert sheet.height == 16 + 4 * (144 + 2)

    def test_brightness_is_that_of_the_frames(self, result: dict[str, Any]) -> None:
        rows = result["adverse_to_normal"]
        assert rows["untouched"]["luma"] == pytest.approx(25, abs=5)
        assert rows["target"]["luma"] == pytest.approx(120, abs=20)
        assert rows["target"]["luma"] == result["normal_to_adverse"]["untouched"]["luma"]

    def test_structure_is_measured_on_translations_only(self, result: dict[str, Any]) -> None:
        rows = result["adverse_to_normal"]
        assert rows["gamma"]["structure"] > rows["histogram"]["structure"]  # gamma bends every edge alike
        assert "structure" not in rows["untouched"]

    def test_is_what_the_file_says(self, result: dict[str, Any], place: Path) -> None:
        assert json.loads((place / "model" / "evaluation.json").read_text(encoding="utf-8")) == result

    def test_record_names_features_versions_machine_and_no_home(self, result: dict[str, Any], place: Path) -> None:
        assert result["spaces"]["efficientnet-lite0"]["frechet_name"] == "Fréchet distance (EfficientNet-Lite0)"
        assert result["settings"]["features"] == SPACES
        assert torch.__version__.startswith(result["versions"]["torch"])
        assert result["machine"]["cpu"]
        assert not any(os.path.isabs(str(value)) for value in result["settings"].values())
        assert result["settings"]["rival"] == [f"other={os.path.relpath(place / 'other')}"]

    def test_again_gives_the_same_numbers(
        self, settings: EvaluateSettings, result: dict[str, Any], tmp_path: Path
    ) -> None:
        short = dataclasses.replace(
            settings,
            baseline=None,
            rival=(),
            rendered=None,
            clip=None,
            direction="adverse_to_normal",
            out=tmp_path / "elsewhere",
        )
        again = evaluate(short)
        assert again["uncertainty"] == pytest.approx(result["uncertainty"])
        for name in ("untouched", "gamma", "histogram", "model", "floor"):
            for space in SPACES:
                before, after = (r["adverse_to_normal"][name]["distances"][space] for r in (result, again))
                assert after == pytest.approx(before)
        assert "normal_to_adverse" not in again
        assert sorted(p.name for p in (tmp_path / "elsewhere").iterdir()) == ["evaluation.json", "sheet.jpg"]

    def test_limit_and_a_model_without_a_head(self, settings: EvaluateSettings, place: Path, tmp_path: Path) -> None:
        adverse = shutil.copytree(settings.adverse, tmp_path / "night")
        last = sorted(adverse.iterdir())[-1]
        last.write_bytes(b"broken")
        short = dataclasses.replace(
            settings,
            adverse=adverse,
            model=str(place / "baseline"),
            baseline=None,
            rival=(),
            rendered=None,
            clip=None,
            normal_reference=None,
            limit=2,
            out=tmp_path,
        )
        result = evaluate(short)
        assert result["uncertainty"] is None
        assert result["adverse_to_normal"]["model"]["images"] == result["normal_to_adverse"]["model"]["images"] == 2
        assert "left_out" not in result  # a picture that only the contact sheet was to show
        assert "floor" not in result["adverse_to_normal"]

    def test_the_floor_has_no_frames_of_the_target(
        self, settings: EvaluateSettings, place: Path, tmp_path: Path, caplog
    ) -> None:
        both = shutil.copytree(place / "day", tmp_path / "both")
        with pytest.raises(BadSetting, match="needs two frames at least"):
            evaluate(dataclasses.replace(settings, normal_reference=both, out=tmp_path / "judged"))
        more = [Path(shutil.copy(place / "more_day" / f"{i}.png", both / f"other{i}.png")) for i in (5, 6)]
        assert other_images(both, list_images(place / "day")) == more
        assert "4 frames are those to measure with" in caplog.text

    def test_a_model_that_is_exported_again_meanwhile(
        self, settings: EvaluateSettings, place: Path, tmp_path: Path, monkeypatch
    ) -> None:
        """The record names the weights that were measured."""
        model = save_model(tmp_path / "model")
        before = identity(model)

        def measured(*_: Any) -> dict[str, Any]:
            save_model(model, seed=3)
            return {"spaces": {}}

        monkeypatch.setattr("gen.augan.evaluation.measure_all", measured)
        again = evaluate(dataclasses.replace(settings, model=str(model), out=tmp_path / "judged"))
        assert again["weights"] == before != identity(model)

    def test_out_names_and_holds_the_sheets_of_this_measurement_alone(
        self, settings: EvaluateSettings, place: Path, tmp_path: Path, capsys
    ) -> None:
        (tmp_path / "sheet.jpg").write_bytes(b"of another model")
        (tmp_path / "evaluation.json").write_text('{"spaces": {}}')
        command = ["evaluate-augan", "--model", settings.model, "--out", str(tmp_path), "--features", "squeezenet"]
        command += ["--adverse", str(settings.adverse), "--normal", str(settings.normal)]
        for direction, made in (("normal_to_adverse", []), ("adverse_to_normal", ["sheet.jpg"])):
            assert main([*command, "--limit", "2", "--direction", direction]) == 0
            assert [p.name for p in tmp_path.glob("*.jpg")] == made
            assert capsys.readouterr().out.count("sheet.jpg") == len(made)

    @pytest.mark.parametrize("name", ["sheet.jpg", "evaluation.json"])
    def test_files_that_no_measurement_wrote_stay(
        self, settings: EvaluateSettings, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / name).write_text("{}")
        command = ["evaluate-augan", "--model", settings.model, "--out", str(tmp_path), "--features", "squeezenet"]
        assert main([*command, "--adverse", str(settings.adverse), "--normal", str(settings.normal)]) == 1
        assert f"{name}: a file that gen did not write would be replaced" in capsys.readouterr().err
        assert (tmp_path / name).read_text() == "{}"

    def test_sets_of_one_domain_have_no_ratio(self) -> None:
        assert ratio(3.0, 2.0) == 1.5
        assert ratio(3.0, -2.0) is None  # by chance; -1.5 would look far better than the untouched frames
        assert ratio(3.0, 0.0) is None


def test_a_model_by_name_is_not_written_to_unasked(settings: EvaluateSettings) -> None:
    card = Path("weights/augan-night2day/MODEL_CARD.md")
    before = card.read_bytes()
    with pytest.raises(BadSetting, match="out must be set to a folder, because augan-night2day is a name"):
        evaluate(dataclasses.replace(settings, model="augan-night2day", out=None))
    assert card.read_bytes() == before


def test_weights_that_are_replaced_meanwhile_are_not_recorded(
    settings: EvaluateSettings, result: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A measurement takes hours, and training goes on."""
    model = save_model(tmp_path / "model", seed=1)
    before = identity(model)

    def measured_while_exported(*_: object) -> dict[str, Any]:
        save_model(model, seed=2)
        return {"spaces": {}}

    monkeypatch.setattr("gen.augan.evaluation.measure_all", measured_while_exported)
    rival, baseline = (save_model(tmp_path / name, seed=seed) for name, seed in (("rival", 3), ("baseline", 4)))
    others = {"rival": (f"other={rival}",), "baseline": baseline}
    found = evaluate(dataclasses.replace(settings, model=str(model), out=tmp_path / "out", **others))
    assert found["weights"] == before != identity(model)
    assert found["weights_of_others"] == {"baseline": identity(baseline), "other": identity(rival)}
    assert found["training_unknown"] == ["baseline", "model", "other"]


class TestErrors:
    def test_one_folder_for_both_domains(self, settings: EvaluateSettings) -> None:
        with pytest.raises(BadSetting, match="the same frames"):
            evaluate(dataclasses.replace(settings, normal=settings.adverse))

    def test_folder_without_images(self, settings: EvaluateSettings, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match="no images"):
            evaluate(dataclasses.replace(settings, adverse=tmp_path))

    @pytest.mark.parametrize("text", ["", "256", "0x512", "256x", "256x512x3", "-1x5", "axb"])
    def test_resolution(self, text: str) -> None:
        with pytest.raises(BadSetting, match="WIDTHxHEIGHT"):
            parse_resolution(text)

    def test_resolutions_that_are_right(self) -> None:
        assert parse_resolution("auto") == "auto"
        assert parse_resolution("native") is None
        assert parse_resolution("512x256") == (256, 512)

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
    def test_a_gpu_that_is_not_there(self) -> None:
        with pytest.raises(BadSetting, match="no CUDA device"):
            pick_device("cuda")

    def test_a_model_with_one_direction_is_refused_at_the_start(self, settings: EvaluateSettings) -> None:
        one = AUGANPipeline(AUGANGenerator(width=4, blocks=1, transfer_blocks=1), None)
        wanted = dataclasses.replace(settings, direction="normal_to_adverse")
        measures = Measures([EfficientNetLite0Features()])
        with pytest.raises(BadSetting, match="normal_to_adverse"):
            DirectionEvaluation("normal_to_adverse", {"model": one}, measures, wanted, [], LeftOut())

    @pytest.mark.parametrize(
        ("rival", "message"),
        [
            ("other", "must be name=FOLDER"),
            ("=x", "must be name=FOLDER"),
            ("gamma=x", "already"),
            ("model=x", "already"),
            ("simulated night=x", "already"),
        ],
    )
    def test_a_rival_without_a_name_of_its_own(self, settings: EvaluateSettings, rival: str, message: str) -> None:
        with pytest.raises(BadSetting, match=message):
            evaluate(dataclasses.replace(settings, rival=(rival,)))


class TestCalibration:
    def test_a_scale_that_is_the_error_is_perfect(self) -> None:
        error = torch.rand(20, 30, generator=torch.Generator().manual_seed(0)) * 40
        measured = calibration(error.clamp_min(12.75), error)
        assert measured["spearman"] > 0.9
        assert measured["ause"] < 0.2 * measured["ause_chance"]
        assert measured["mean_error"] == pytest.approx(20, abs=2)


@pytest.fixture
def trained(settings: EvaluateSettings, result: dict[str, Any], tmp_path: Path) -> Path:
    """A folder as the exporter leaves it: weights, training.json, evaluation.json."""
    folder = save_model(tmp_path / "augan-test")
    training = {
        "settings": {"width": 8, "lr": 0.0002, "uncertainty": True},
        "preset": "tiny",
        "images_shown": 1234,
        "steps": 617,
        "hardware": {"device": "cpu", "cores": 2, "torch": torch.__version__},
        "seconds": 5400.0,
        "data": {"adverse": {"folder": "night", "count": 5, "cached_size": [72, 128]}},
        "parameters": {"adverse_to_normal": 20103552},
        "macs": 123456789,
        "trainer": {"class": "edges:EdgeTrainer", "file_sha256": "c0ffee", "earlier_file_sha256": ["beef"]},
    }
    (folder / "training.json").write_text(json.dumps(training))
    (folder / "evaluation.json").write_text(json.dumps(result))
    return folder


class TestCard:
    def test_says_what_the_records_say(self, trained: Path, result: dict[str, Any]) -> None:
        card = write_card(trained).read_text(encoding="utf-8")
        rows = result["adverse_to_normal"]
        clean, used = (rows["model"]["distances"][space] for space in SPACES)
        for part in (
            "# augan-test",
            "AUGANPipeline.from_pretrained",
            verdict(result),
            verdict(result, "normal_to_adverse"),
            "| Kernel distance (SqueezeNet 1.1) ↓ | Fréchet distance (SqueezeNet 1.1) ↓ |"
            " Kernel distance (EfficientNet-Lite0)† ↓ | Fréchet distance (EfficientNet-Lite0)† ↓ |",
            f"| **this model** | 5 | {clean['kernel']:.4g} ± {clean['kernel_std']:.2g} ({clean['kernel_ratio']:.2f}) |",
            f"| {used['frechet']:.1f} ({used['frechet_ratio']:.2f}) | {rows['model']['structure']:.3f} |",
            "| gamma to the target's mean | 5 |",
            "| symmetric baseline | 5 |",
            "(EfficientNet-Lite0 by other)",
            "| perceptual distance (SqueezeNet, unweighted) ↓ |",
            "| 1.50 h |",
            "| trainer | `edges:EdgeTrainer`, a file of its own (SHA-256 begins with c0ffee, before that beef) |",
            "| adverse | night | 5 | 72x128 |",
            "20,103,552",
            "| lr | `0.0002` |",
            "gen evaluate-augan --adverse",
            "research and teaching only",
            f"{result['uncertainty']['spearman']:.3f}",
        ):
            assert part in card

    def test_notes_take_the_place_of_the_licence(self, trained: Path) -> None:
        (trained / "notes.md").write_text("Frames of my own, CC0.\n", encoding="utf-8")
        card = write_card(trained).read_text(encoding="utf-8")
        assert "\n\nFrames of my own, CC0.\n\n" in card
        assert "licence of these frames" not in card

    def test_tells_pairs_apart(self, trained: Path) -> None:
        path = trained / "training.json"
        record = json.loads(path.read_text())
        card = write_card(trained).read_text(encoding="utf-8")
        assert "simulate-weather" not in card
        assert "The frames are not paired." in card  # two folders of rendered frames train, too: nothing says "real"
        record["data"]["simulated day"] = record["data"]["adverse"]
        path.write_text(json.dumps(record))
        card = write_card(trained).read_text(encoding="utf-8")
        assert "The real frames are not paired. Simulated frames (`gen simulate-weather`)" in card
        assert "of a synthetic street in" not in card
        record["data"]["adverse"] |= {"streets": [[1, 4]]}  # of one weather that gen rendered
        path.write_text(json.dumps(record))
        assert "The real frames" not in write_card(trained).read_text(encoding="utf-8")

    def test_links_no_sheet_of_an_earlier_measurement(self, trained: Path, result: dict[str, Any]) -> None:
        (trained / "rendered.jpg").touch()
        assert "](rendered.jpg)" in write_card(trained).read_text(encoding="utf-8")
        record = {name: part for name, part in result.items() if name != "rendered"}
        (trained / "evaluation.json").write_text(json.dumps(record))
        assert "](rendered.jpg)" not in write_card(trained).read_text(encoding="utf-8")

    def test_an_export_writes_it_anew_or_removes_it(self, trained: Path) -> None:
        card = write_card(trained)
        written = card.read_text(encoding="utf-8")
        card.write_text("old")
        refresh_card(trained)
        assert card.read_text(encoding="utf-8") == written
        save_model(trained, seed=5)
        refresh_card(trained)
        assert not card.exists()

    def test_refuses_numbers_of_other_weights(self, trained: Path) -> None:
        training = (trained / "training.json").read_text()
        save_model(trained, seed=5)  # which removes what was said of the old weights
        (trained / "training.json").write_text(training)
        with pytest.raises(BadInput, match="other weights or at another height; run `gen evaluate-augan"):
            write_card(trained)

    @pytest.mark.parametrize("content", [None, "{", "{}"])
    def test_needs_its_records(self, trained: Path, content: str | None) -> None:
        record = trained / "training.json"
        record.unlink() if content is None else record.write_text(content)
        with pytest.raises(BadInput, match=r"training\.json"):
            write_card(trained)

    def test_command_leaves_out_defaults(self) -> None:
        recorded = {
            "adverse": "my night",
            "normal": "day",
            "model": "augan-night2day",
            "batch": 4,
            "limit": None,
            "rival": ["a=runs/a", "b=runs/b"],
            "features": ["squeezenet", "inception"],
        }
        expected = (
            "gen evaluate-augan --adverse 'my night' --normal day --rival a=runs/a --rival b=runs/b "
            "--features squeezenet inception --batch 4"
        )
        assert evaluation_command(recorded) == expected

    def test_results_without_baseline_and_floor(self, result: dict[str, Any]) -> None:
        few = {d: {k: result[d][k] for k in ("untouched", "model")} for d in result if d.count("_to_")}
        assert "baseline" not in results(few | {"spaces": result["spaces"]})


def table_of(untouched: float, gamma: float, histogram: float, model: float, spread: float = 0.01) -> dict[str, Any]:
    """A record with these kernel distances in one clean space."""
    kernels = {"untouched": untouched, "gamma": gamma, "histogram": histogram, "model": model}
    rows = {
        name: {"distances": {"squeezenet": {"kernel": k, "kernel_std": spread, "kernel_ratio": ratio(k, untouched)}}}
        for name, k in kernels.items()
    }
    return {"spaces": {"squeezenet": {"title": "SqueezeNet 1.1", "used_by": []}}, "adverse_to_normal": rows}


class TestVerdict:
    def test_a_model_that_loses_is_said_to_lose(self) -> None:
        said = verdict(table_of(1.0, 0.84, 0.7, 0.8))
        assert "is 0.80 of that of the untouched frames (gamma correction 0.84, histogram matching 0.70)" in said
        assert said.endswith("it loses to histogram matching and it beats the untouched frames and gamma correction.")

    def test_frames_of_the_training_are_not_called_held_out(self) -> None:
        record = table_of(1.0, 0.84, 0.7, 0.8)
        record["adverse_to_normal"]["model"]["images"] = 12
        assert "On 12 held-out frames it is 0.80" in in_short(record)
        assert "On 12 frames of its training it is 0.80" in in_short(record | {"trained_on": ["adverse"]})
        assert "On 12 frames it is 0.80" in in_short(record | {"training_unknown": ["model"]})

    def test_level_within_the_spread(self) -> None:
        said = verdict(table_of(1.0, 0.81, 0.9, 0.8, spread=0.02))
        assert "it ties with gamma correction" in said

    def test_a_model_that_wins(self) -> None:
        said = verdict(table_of(1.0, 0.8, 0.9, 0.4))
        assert said.endswith(": it beats the untouched frames, gamma correction and histogram matching.")

    def test_without_a_ratio(self) -> None:
        assert "as near to the target as its own" in verdict(table_of(-0.1, 0.1, 0.2, 0.3))
        assert "as near to the target as its own" in in_short(table_of(-0.1, 0.1, 0.2, 0.3))  # what the page shows

    def test_a_used_space_does_not_decide(self) -> None:
        record = table_of(1.0, 0.8, 0.9, 0.4)
        record["spaces"]["squeezenet"]["used_by"] = ["model"]
        assert verdict(record).startswith("There is no verdict: every feature space was used")

    def test_the_worst_of_several_clean_spaces_counts(self) -> None:
        record, other = table_of(1.0, 0.8, 0.9, 0.4), table_of(1.0, 0.3, 0.9, 0.4)
        record["spaces"]["efficientnet-lite0"] = {"title": "EfficientNet-Lite0", "used_by": []}
        for name, row in record["adverse_to_normal"].items():
            distances = other["adverse_to_normal"][name]["distances"]
            row["distances"]["efficientnet-lite0"] = distances["squeezenet"]
        assert verdict(record).startswith("By kernel distance, this model loses to gamma correction.")

    @pytest.mark.parametrize(
        ("model", "words"),
        [(2.3, "fewer vehicles in the translation than"), (2.9, "more vehicles in the translation than")],
    )
    def test_the_detector_has_its_say(self, model: float, words: str) -> None:
        record = table_of(1.0, 0.8, 0.9, 0.4)
        for name, row in record["adverse_to_normal"].items():
            row["vehicles"] = model if name == "model" else 2.71
        assert f"{words} in the untouched frames: {model:.2f} per frame (untouched 2.71" in verdict(record)


@pytest.mark.skipif(not DRIVING.is_dir(), reason="../shared/data/driving is not here")
def test_real_night_is_farther_from_day_than_other_days(tmp_path: Path) -> None:
    result = evaluate(
        EvaluateSettings(
            model=str(save_model(tmp_path / "model")),
            adverse=DRIVING / "val" / "night",
            normal=DRIVING / "val" / "day",
            normal_reference=DRIVING / "train" / "day",
            detector=SHARED / "models" / "yolox_nano.onnx",
            features=("efficientnet-lite0",),
            direction="adverse_to_normal",
            limit=6,
            device="cpu",
        )
    )
    rows = result["adverse_to_normal"]
    untouched, floor = (rows[name]["distances"]["efficientnet-lite0"] for name in ("untouched", "floor"))
    assert untouched["frechet"] > 1.2 * floor["frechet"]
    assert untouched["kernel"] > 5 * abs(floor["kernel"])
    assert rows["untouched"]["luma"] < rows["target"]["luma"]
    assert rows["untouched"]["vehicles"] < rows["target"]["vehicles"]
    assert 0 < rows["gamma"]["kept"] < 1
    assert "kept" not in rows["target"]


def test_a_model_of_another_method_is_a_row_where_it_translates(settings, place, tmp_path, caplog):
    """A CUT, which goes one way alone, beside an AU-GAN."""
    CycleGANPipeline(ResNetGenerator(4, 5), None, 64, 112).save_pretrained(tmp_path / "cut")
    changes = {"baseline": None, "rival": (f"cut={tmp_path / 'cut'}",), "features": ("squeezenet",), "rendered": None}
    result = evaluate(dataclasses.replace(settings, **changes, clip=None, limit=2, out=tmp_path / "out"))
    assert "cut" in result["adverse_to_normal"]
    assert "cut" not in result["normal_to_adverse"]
    assert "normal_to_adverse: cut cannot translate it and is left out" in caplog.text
    alone = dataclasses.replace(settings, **changes | {"rival": ()}, model=str(tmp_path / "cut"), clip=None, limit=2)
    assert {"model", "untouched"} < evaluate(dataclasses.replace(alone, out=tmp_path / "alone"))[
        "adverse_to_normal"
    ].keys()
    with pytest.raises(BadSetting, match="does not translate normal_to_adverse"):
        evaluate(dataclasses.replace(alone, direction="normal_to_adverse", out=tmp_path / "alone"))
