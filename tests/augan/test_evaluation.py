"""`evaluate` and the model card, on a tiny model and a few frames."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gen.augan.card import evaluation_command, results, write_card
from gen.augan.evaluation import EvaluateSettings, Tally, evaluate, judge, parse_resolution, pick_device
from gen.augan.networks import AUGANGenerator
from gen.augan.pipeline import AUGANPipeline
from gen.errors import BadInput, BadSetting
from gen.metrics.features import EfficientNetLite0Features

SHARED = Path(os.environ.get("GEN_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
DRIVING = SHARED / "driving"


def save_model(folder: Path, *, uncertainty: bool = True, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    AUGANPipeline(
        adverse_to_normal=AUGANGenerator(8, 1, 1, uncertainty, reconstruction=False),
        normal_to_adverse=AUGANGenerator(8, 1, 0, uncertainty=False, reconstruction=False),
        trained_height=64,
        trained_width=112,
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
    for i, (name, count, brightness) in enumerate(
        [("night", 5, 25), ("day", 4, 120), ("more_day", 9, 120), ("more_night", 7, 25)]
    ):
        save_frames(root / name, count, brightness, seed=i)
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
        features="efficientnet-lite0",
        batch=3,
        device="cpu",
    )


@pytest.fixture(scope="module")
def result(settings: EvaluateSettings) -> dict[str, Any]:
    return evaluate(settings)


class TestEvaluate:
    def test_rows_and_counts(self, result: dict[str, Any]) -> None:
        names = ["untouched", "model", "baseline", "floor", "target"]
        counts = {
            direction: [result[direction][name]["images"] for name in names]
            for direction in ("adverse_to_normal", "normal_to_adverse")
        }
        assert counts == {"adverse_to_normal": [5, 5, 5, 5, 4], "normal_to_adverse": [4, 4, 4, 4, 5]}

    def test_untouched_frames_are_farther_than_the_floor(self, result: dict[str, Any]) -> None:
        for direction in ("adverse_to_normal", "normal_to_adverse"):
            rows = result[direction]
            assert rows["untouched"]["frechet"] > rows["floor"]["frechet"]
            assert rows["untouched"]["kernel"] > rows["floor"]["kernel"]

    def test_brightness_is_that_of_the_frames(self, result: dict[str, Any]) -> None:
        rows = result["adverse_to_normal"]
        assert rows["untouched"]["luma"] == pytest.approx(25, abs=5)
        assert rows["target"]["luma"] == pytest.approx(120, abs=20)
        assert rows["target"]["luma"] == result["normal_to_adverse"]["untouched"]["luma"]

    def test_structure_is_measured_on_translations_only(self, result: dict[str, Any]) -> None:
        rows = result["adverse_to_normal"]
        assert -1 <= rows["model"]["structure"] <= 1
        assert "structure" not in rows["untouched"]

    def test_is_what_the_file_says(self, result: dict[str, Any], place: Path) -> None:
        assert json.loads((place / "model" / "evaluation.json").read_text(encoding="utf-8")) == result

    def test_record_names_features_versions_machine_and_no_home(self, result: dict[str, Any]) -> None:
        assert result["frechet_name"] == "Fréchet distance (EfficientNet-Lite0)"
        assert result["settings"]["features"] == "efficientnet-lite0"
        assert torch.__version__.startswith(result["versions"]["torch"])
        assert result["machine"]["cpu"]
        assert not any(os.path.isabs(str(value)) for value in result["settings"].values())

    def test_again_gives_the_same_numbers(
        self, settings: EvaluateSettings, result: dict[str, Any], tmp_path: Path
    ) -> None:
        again = evaluate(dataclasses.replace(settings, baseline=None, out=tmp_path / "elsewhere"))
        assert again["uncertainty"] == pytest.approx(result["uncertainty"])
        assert again["adverse_to_normal"]["model"] == pytest.approx(result["adverse_to_normal"]["model"])
        assert (tmp_path / "elsewhere" / "evaluation.json").is_file()

    def test_limit_and_a_model_without_a_head(self, settings: EvaluateSettings, place: Path, tmp_path: Path) -> None:
        short = dataclasses.replace(
            settings,
            model=str(place / "baseline"),
            baseline=None,
            normal_reference=None,
            limit=2,
            out=tmp_path,
        )
        result = evaluate(short)
        assert result["uncertainty"] is None
        assert result["normal_to_adverse"]["model"]["images"] == 2
        assert "floor" not in result["adverse_to_normal"]


class TestErrors:
    def test_folder_without_images(self, settings: EvaluateSettings, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match="no images"):
            evaluate(dataclasses.replace(settings, adverse=tmp_path))

    @pytest.mark.parametrize("text", ["", "256", "0x512", "256x", "256x512x3", "-1x5", "axb"])
    def test_resolution(self, text: str) -> None:
        with pytest.raises(BadSetting, match="HEIGHTxWIDTH"):
            parse_resolution(text)

    def test_resolutions_that_are_right(self) -> None:
        assert parse_resolution("auto") == "auto"
        assert parse_resolution("native") is None
        assert parse_resolution("256x512") == (256, 512)

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
    def test_a_gpu_that_is_not_there(self) -> None:
        with pytest.raises(BadSetting, match="no CUDA device"):
            pick_device("cuda")

    def test_a_model_with_one_direction_is_refused_at_the_start(self, settings: EvaluateSettings) -> None:
        one = AUGANPipeline(AUGANGenerator(width=4, blocks=1, transfer_blocks=1), None)
        with pytest.raises(BadSetting, match="normal_to_adverse"):
            Tally("normal_to_adverse", {"model": one}, EfficientNetLite0Features(), settings)


class TestDoubt:
    def test_a_scale_that_is_the_error_is_perfect(self) -> None:
        error = torch.rand(20, 30, generator=torch.Generator().manual_seed(0)) * 40
        judged = judge(error.clamp_min(12.75), error)
        assert judged["spearman"] > 0.9
        assert judged["ause"] < 0.2 * judged["ause_chance"]
        assert judged["mean_error"] == pytest.approx(20, abs=2)


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
    }
    (folder / "training.json").write_text(json.dumps(training))
    (folder / "evaluation.json").write_text(json.dumps(result))
    return folder


class TestCard:
    def test_says_what_the_records_say(self, trained: Path, result: dict[str, Any]) -> None:
        card = write_card(trained).read_text(encoding="utf-8")
        rows = result["adverse_to_normal"]
        for part in (
            "# augan-test",
            "AUGANPipeline.from_pretrained",
            "Fréchet distance (EfficientNet-Lite0)",
            f"| {rows['model']['frechet']:.2f} | {rows['model']['kernel']:.4f} |",
            f"| symmetric baseline | 5 | {rows['baseline']['frechet']:.2f} |",
            "| 1.50 h |",
            "| adverse | night | 5 | 72x128 |",
            "20,103,552",
            "| lr | `0.0002` |",
            "gen evaluate-augan --adverse",
            "research and education only",
            f"{result['uncertainty']['spearman']:.3f}",
        ):
            assert part in card

    def test_notes_take_the_place_of_the_licence(self, trained: Path) -> None:
        (trained / "notes.md").write_text("Frames of my own, CC0.\n", encoding="utf-8")
        card = write_card(trained).read_text(encoding="utf-8")
        assert "\n\nFrames of my own, CC0.\n\n" in card
        assert "No licence" not in card

    def test_refuses_numbers_of_other_weights(self, trained: Path) -> None:
        save_model(trained, seed=5)
        with pytest.raises(BadInput, match="other weights: run `gen evaluate-augan"):
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
        }
        expected = "gen evaluate-augan --adverse 'my night' --normal day --batch 4"
        assert evaluation_command(recorded) == expected

    def test_results_without_baseline_and_floor(self, result: dict[str, Any]) -> None:
        few = {d: {k: result[d][k] for k in ("untouched", "model")} for d in result if d.count("_to_")}
        assert "baseline" not in results(few)


@pytest.mark.skipif(not DRIVING.is_dir(), reason="../shared/data/driving is not here")
def test_real_night_is_farther_from_day_than_other_days(tmp_path: Path) -> None:
    result = evaluate(
        EvaluateSettings(
            model=str(save_model(tmp_path / "model")),
            adverse=DRIVING / "val" / "night",
            normal=DRIVING / "val" / "day",
            normal_reference=DRIVING / "train" / "day",
            features="efficientnet-lite0",
            limit=10,
            device="cpu",
        )
    )
    rows = result["adverse_to_normal"]
    assert rows["untouched"]["frechet"] > 1.2 * rows["floor"]["frechet"]
    assert rows["untouched"]["kernel"] > 5 * abs(rows["floor"]["kernel"])
    assert rows["untouched"]["luma"] < rows["target"]["luma"]
