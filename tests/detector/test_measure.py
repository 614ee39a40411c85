"""`gen measure-detector`: its numbers against slow references, both label formats, and all that may be missing."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image, ImageOps

from gen.cli import main
from gen.detector.labels import read_found, read_labels
from gen.detector.scores import FOUND_SCORE, RECALLS, Matches, match
from gen.detector.settings import MeasureDetectorSettings
from gen.detector.survey import Survey
from gen.detector.tables import BEFORE, Number, as_text, verdict
from gen.errors import BadInput
from gen.metrics.detection import Boxes

NOTHING = Boxes(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.long))


def boxes(rows: list[tuple[float, float, float, float, float]]) -> Boxes:
    """Of (left, top, right, bottom, score), all of group 0."""
    table = torch.tensor(rows, dtype=torch.float32).reshape(-1, 5)
    return Boxes(table[:, :4], table[:, 4], torch.zeros(len(table), dtype=torch.long))


def scene(seed: int, frames: int = 6) -> tuple[list[Boxes], list[Boxes]]:
    """Found and labelled boxes of some frames, near each other often enough."""
    draw = np.random.default_rng(seed)
    found, labelled = [], []
    for _ in range(frames):
        corner = draw.uniform(0, 60, (draw.integers(0, 5), 2))
        truth = np.concatenate([corner, corner + draw.uniform(10, 30, corner.shape)], 1)
        near = truth[draw.random(len(truth)) < 0.8]
        near = np.concatenate([near, near[: draw.integers(0, 2)]]) + draw.normal(0, 2, (1, 4))
        others = draw.uniform(0, 30, (draw.integers(0, 3), 4))
        others[:, 2:] += 30
        rows = np.concatenate([near, others])
        scores = draw.random(len(rows))
        found.append(boxes([(*row, score) for row, score in zip(rows, scores, strict=True)]))
        labelled.append(boxes([(*row, 1.0) for row in truth]))
    return found, labelled


def slow_iou(a: list[float], b: list[float]) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = [(c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)]
    return width * height / (sum(areas) - width * height)


def slow_hits(found: list[Boxes], labelled: list[Boxes]) -> list[tuple[float, bool]]:
    """(score, right) of all frames, best first."""
    all_of: list[tuple[float, bool]] = []
    for boxes_of, truth in zip(found, labelled, strict=True):
        free = truth.corners.tolist()
        pairs = sorted(zip(boxes_of.scores.tolist(), boxes_of.corners.tolist(), strict=True), reverse=True)
        for score, box in pairs:
            best = max(free, key=lambda other: slow_iou(box, other), default=None)
            hit = best is not None and slow_iou(box, best) >= 0.5
            if hit:
                free.remove(best)
            all_of.append((score, hit))
    return sorted(all_of, reverse=True)


def slow_ap(hits: list[tuple[float, bool]], total: int) -> float:
    points = []
    for cut in range(1, len(hits) + 1):
        right = sum(hit for _, hit in hits[:cut])
        points.append((right / total, right / cut))
    return float(np.mean([max([p for r, p in points if r >= level], default=0) for level in RECALLS]))


@pytest.mark.parametrize("seed", range(12))
def test_average_precision_recall_and_precision_are_the_obvious_ones(seed: int) -> None:
    found, labelled = scene(seed)
    hits, total = slow_hits(found, labelled), sum(len(truth.scores) for truth in labelled)
    matches = match(found, labelled, [NOTHING] * len(found), 0)
    ones = np.ones(len(found))
    assert matches.average_precision(ones) == pytest.approx(slow_ap(hits, total))
    sure = [hit for score, hit in hits if score >= FOUND_SCORE]
    assert matches.recall(ones) == pytest.approx(sum(sure) / total)
    assert matches.precision(ones) == pytest.approx(sum(sure) / len(sure))


@pytest.mark.parametrize("seed", range(4))
def test_a_weight_is_a_repeated_frame(seed: int) -> None:
    found, labelled = scene(seed)
    weights = np.random.default_rng(seed).integers(0, 3, len(found))
    order = [index for index, weight in enumerate(weights) for _ in range(weight)]
    none = [NOTHING] * 100
    repeated = match([found[i] for i in order], [labelled[i] for i in order], none[: len(order)], 0)
    weighted = match(found, labelled, none[: len(found)], 0)
    for measure in (Matches.recall, Matches.precision):
        assert measure(weighted, weights.astype(float)) == pytest.approx(measure(repeated, np.ones(len(order))))
    # Repeated objects are tied in their score, and are one step of the weighted curve.
    assert weighted.average_precision(weights.astype(float)) == pytest.approx(
        repeated.average_precision(np.ones(len(order))), abs=0.08
    )


def test_what_lies_in_a_crowd_does_not_count() -> None:
    found = [boxes([(0, 0, 10, 10, 0.9), (50, 0, 60, 10, 0.8)])]
    labelled, crowd = [boxes([(0, 0, 10, 10, 1)])], [boxes([(45, 0, 99, 99, 1)])]
    assert match(found, labelled, [NOTHING], 0).precision(np.ones(1)) == 0.5
    assert match(found, labelled, crowd, 0).precision(np.ones(1)) == 1


def coco(frames: dict[str, list[tuple[str, list[float]]]], size: tuple[int, int] | None = (100, 60)) -> dict[str, Any]:
    """Labels in COCO's format, of (category, [left, top, right, bottom])."""
    names = sorted({category for labels in frames.values() for category, _ in labels})
    more = {"width": size[0], "height": size[1]} if size else {}
    return {
        "images": [{"id": i, "file_name": name, **more} for i, name in enumerate(frames)],
        "categories": [{"id": i, "name": name} for i, name in enumerate(names)],
        "annotations": [
            {"image_id": i, "category_id": names.index(category), "bbox": [*b[:2], b[2] - b[0], b[3] - b[1]]}
            for i, labels in enumerate(frames.values())
            for category, b in labels
        ],
    }


def bdd(frames: dict[str, list[tuple[str, list[float]]]], score: float | None = None) -> list[dict[str, Any]]:
    """Labels or found objects in BDD100K's format."""
    more = {} if score is None else {"score": score}
    return [
        {
            "name": name,
            "labels": [
                {"category": c, "box2d": dict(zip(("x1", "y1", "x2", "y2"), b, strict=True)), **more} for c, b in labels
            ]
            or None,
        }
        for name, labels in frames.items()
    ]


def save(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


FRAMES: dict[str, list[tuple[str, list[float]]]] = {
    "a.jpg": [("car", [10, 10, 40, 40]), ("Pedestrian", [60, 10, 70, 40])],
    "b.jpg": [("bus", [0, 0, 90, 50]), ("caravan", [5, 5, 15, 15])],
    "c.jpg": [],
}


class TestLabels:
    def test_both_formats_say_the_same(self, tmp_path: Path) -> None:
        ours = read_labels(save(tmp_path / "coco.json", coco(FRAMES)))
        theirs = read_labels(save(tmp_path / "bdd.json", bdd(FRAMES)))
        assert ours.frames == theirs.frames
        assert ours.groups() == ["vehicles", "people", "caravan"]
        assert [item.group for item in ours.frames["b.jpg"]] == ["vehicles", "caravan"]
        assert ours.sizes["c.jpg"] == (100, 60)

    def test_found_objects(self, tmp_path: Path) -> None:
        labels = read_labels(save(tmp_path / "coco.json", coco(FRAMES)))
        category = next(key for key, name in labels.categories.items() if name == "bus")
        results = [{"image_id": 1, "category_id": category, "bbox": [1, 2, 3, 4], "score": 0.5}]
        found = read_found(save(tmp_path / "found.json", results), labels)
        assert found["a.jpg"] == []
        assert found["b.jpg"] == [("vehicles", (1, 2, 4, 6), 0.5, False)]

    def test_a_name_in_a_sub_folder(self, tmp_path: Path) -> None:
        from pathlib import PurePosixPath

        labels = read_labels(save(tmp_path / "coco.json", coco({**FRAMES, "x/d.jpg": [], "y/d.jpg": []})))
        assert labels.key_of(PurePosixPath("any/where/a.jpg")) == "a.jpg"
        assert labels.key_of(PurePosixPath("x/d.jpg")) == "x/d.jpg"
        assert labels.key_of(PurePosixPath("z/d.jpg")) is None  # two have this name

    def test_frames_of_several_videos_that_number_alike(self, tmp_path: Path) -> None:
        """As in the data set SHIFT, whose frames lie in a folder for each video."""
        from pathlib import PurePosixPath

        videos = {"x": {"0.jpg": FRAMES["a.jpg"], "1.jpg": []}, "y": {"0.jpg": FRAMES["b.jpg"]}}
        frames = [{**frame, "videoName": video} for video, some in videos.items() for frame in bdd(some)]
        labels = read_labels(save(tmp_path / "shift.json", {"frames": frames}))
        assert {name: len(items) for name, items in labels.frames.items()} == {"x/0.jpg": 2, "1.jpg": 0, "y/0.jpg": 2}
        assert labels.key_of(PurePosixPath("0.jpg")) is None
        assert labels.key_of(PurePosixPath("x/1.jpg")) == "1.jpg"
        one = [{**bdd({"0.jpg": FRAMES["b.jpg"]}, 0.5)[0], "videoName": "y"}]
        assert list(read_found(save(tmp_path / "found.json", one), labels)) == ["y/0.jpg"]

    def test_pictures_of_one_name_are_refused(self, tmp_path: Path) -> None:
        content = coco({"a.jpg": FRAMES["a.jpg"], "b.jpg": []})
        content["images"][1]["file_name"] = "a.jpg"
        with pytest.raises(BadInput, match=r"1 pictures have the file_name of another one, for example a\.jpg"):
            read_labels(save(tmp_path / "x.json", content))

    @pytest.mark.parametrize("content", [[1], {"images": 3}, [{"name": "a", "labels": [{"box2d": {"x1": 1}}]}], "x"])
    def test_other_json_is_one_sentence(self, content: object, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match="expected the JSON of COCO"):
            read_labels(save(tmp_path / "x.json", content))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"score": 5}, r"entry 2, of b\.jpg: the score is 5, but must be from 0 to 1"),
            ({"score": 90}, "score is 90"),
            ({"score": -1}, "score is -1"),
            ({"score": "nan"}, "score is nan"),
            ({"bbox": [1, 2, -3, 4]}, r"entry 2, of b\.jpg: the box is -3 wide and 4 high"),
            ({"bbox": [1, 2, 3, -4]}, "the box is 3 wide and -4 high"),
            ({"bbox": [1, 2, "inf", 4]}, "the box is inf wide"),
            ({"category_id": 99}, r"entry 2, of b\.jpg: category_id 99 is no category of the labels' `categories`"),
            ({"category_id": [1]}, r"category_id \[1\] is no category"),
            ({"image_id": "1"}, "entry 2: image_id '1' is no image of the labels' `images`"),
            ({"image_id": None}, "entry 2: image_id None is no image"),
        ],
    )
    def test_impossible_found_objects_of_coco_are_named(
        self, change: dict[str, Any], message: str, tmp_path: Path
    ) -> None:
        labels = read_labels(save(tmp_path / "coco.json", coco(FRAMES)))
        result = {"image_id": 1, "category_id": 0, "bbox": [1, 2, 3, 4], "score": 0.5}
        with pytest.raises(BadInput, match=message) as raised:
            read_found(save(tmp_path / "found.json", [result, result | change]), labels)
        assert str(raised.value).startswith(str(tmp_path / "found.json"))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"bbox": [1, 2, -3, 4]}, r"annotation 1, of a\.jpg: the box is -3 wide and 4 high"),
            ({"category_id": 99}, r"annotation 1, of a\.jpg: category_id 99 is no category"),
            ({"image_id": "a"}, "annotation 1: image_id 'a' is no image"),
        ],
    )
    def test_impossible_labels_of_coco_are_named(self, change: dict[str, Any], message: str, tmp_path: Path) -> None:
        content = coco(FRAMES)
        content["annotations"][0] |= change
        with pytest.raises(BadInput, match=message):
            read_labels(save(tmp_path / "coco.json", content))

    def test_impossible_objects_of_bdd_are_named(self, tmp_path: Path) -> None:
        backwards = save(tmp_path / "b.json", bdd({"a.jpg": [("car", [10, 10, 5, 40])]}, 0.5))
        with pytest.raises(BadInput, match=r"b\.json: label 1 of a\.jpg: the box is -5 wide and 30 high"):
            read_labels(backwards)
        labels = read_labels(save(tmp_path / "bdd.json", bdd(FRAMES)))
        with pytest.raises(BadInput, match=r"b\.json: label 1 of a\.jpg: the box"):
            read_found(backwards, labels)
        with pytest.raises(BadInput, match=r"p\.json: label 1 of a\.jpg: the score is 90, but must be from 0 to 1"):
            read_found(save(tmp_path / "p.json", bdd(FRAMES, 90)), labels)

    def test_boxes_without_area_are_taken(self, tmp_path: Path) -> None:
        """COCO's own labels have a few."""
        flat = {"a.jpg": [("car", [10, 10, 10, 40]), ("car", [10, 10, 40, 40])]}
        for content in (coco(flat), bdd(flat)):
            assert len(read_labels(save(tmp_path / "x.json", content)).frames["a.jpg"]) == 2

    def test_no_object_at_all(self, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match="no labelled object"):
            read_labels(save(tmp_path / "x.json", coco({"a.jpg": []})))


class TestCommand:
    def test_objects_that_another_detector_found(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        frames = {f"{i}.jpg": [("car", [10.0 + i, 10, 40 + i, 40])] for i in range(30)}
        half = {name: labels if i % 2 else [] for i, (name, labels) in enumerate(frames.items())}
        paths = [save(tmp_path / f"{n}.json", c) for n, c in (("labels", bdd(frames)), ("night", bdd(half, 0.9)),
                                                              ("day", bdd(frames, 0.8)))]  # fmt: skip
        status = main(
            ["measure-detector", *map(str, paths[1:]), "--labels", str(paths[0]), "--out", str(tmp_path / "out")]
        )
        said = capsys.readouterr().out
        assert status == 0
        assert "vehicles: day helps the detector (AP50 1.000, before 0.505" in said  # 51 of 101 levels of recall
        record = json.loads((tmp_path / "out" / "table.json").read_text(encoding="utf-8"))
        rows = record["objects"]["vehicles"]
        assert rows["before"]["recall"]["value"] == 0.5
        assert rows["day"]["recall"] == pytest.approx(
            {"value": 1, "low": 1, "high": 1, "difference": 0.5, "difference_low": 0.33, "difference_high": 0.67},
            abs=0.05,
        )
        assert rows["day"]["invented"]["value"] == 0.5
        assert rows["day"]["kept"]["value"] == 1
        assert record["frames"] == 30
        assert (tmp_path / "out" / "table.md").read_text(encoding="utf-8").strip() == said.strip()

    def test_frames_that_only_one_side_has(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        labels = save(tmp_path / "labels.json", bdd(FRAMES))
        before = save(tmp_path / "x.json", bdd(FRAMES, 0.9))
        after = save(tmp_path / "y.json", bdd({"a.jpg": FRAMES["a.jpg"]}, 0.9))
        assert main(["measure-detector", str(before), str(after), "--labels", str(labels)]) == 0
        said = capsys.readouterr().out
        assert "lacks frames, which are left out of every row: b.jpg, c.jpg" in said
        assert "Frames: 1." in said
        assert main(["measure-detector", str(after), str(before), "--labels", str(labels)]) == 0
        assert "lacks frames that have labels, which are left out: b.jpg, c.jpg" in capsys.readouterr().out

    def test_a_limit_holds_for_found_objects_too(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        labels, found = save(tmp_path / "labels.json", bdd(FRAMES)), save(tmp_path / "x.json", bdd(FRAMES, 0.9))
        assert main(["measure-detector", str(found), str(found), "--labels", str(labels), "--limit", "2"]) == 0
        assert "Frames: 2." in capsys.readouterr().out

    def test_the_record_names_the_rows(self, tmp_path: Path) -> None:
        for folder in ("a", "b"):
            (tmp_path / folder).mkdir()
        labels = save(tmp_path / "labels.json", bdd(FRAMES))
        found = [str(save(tmp_path / folder / "x.json", bdd(FRAMES, 0.9))) for folder in ("a", "b")]
        given = [found[0], *found, "--labels", str(labels), "--out", str(tmp_path / "out")]
        assert main(["measure-detector", *given]) == 0
        record = json.loads((tmp_path / "out" / "table.json").read_text())
        assert all(list(rows) == ["before", *record["settings"]["after"]] for rows in record["objects"].values())
        folders = {row: Path(path).resolve() for row, path in record["folders"].items()}
        assert folders == dict(zip(["before", *found], map(Path, [found[0], *found]), strict=True))

    def test_a_folder_called_before_is_not_the_row_of_the_frames_before(self, tmp_path: Path) -> None:
        settings = MeasureDetectorSettings(tmp_path / "x.json", (Path("before"), Path("b")), labels=tmp_path / "l.json")
        save(tmp_path / "l.json", bdd(FRAMES))
        assert list(Survey(settings).names()) == ["./before", "b"]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("x.json", "y.json"), "labels: found objects in a JSON file"),
            (("x", "y"), "detector: set it to a YOLOX model"),
            (("x.json", "y.json", "--labels", "l.json", "--resamples", "0"), "resamples must be at least 1"),
            (("x.json", "y.json", "--labels", "none.json"), "none.json: no such file"),
            (("x.json", "y", "--labels", "l.json", "--detector", "d.onnx"), "before and after must all be folders"),
        ],
    )
    def test_what_is_missing_is_told(
        self, arguments: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        monkeypatch.chdir(tmp_path)
        assert main(["measure-detector", *arguments]) == 1
        assert message in capsys.readouterr().err


class TestFolders:
    """With the real detector, on rendered streets."""

    @pytest.fixture(scope="class")
    @staticmethod
    def streets(tmp_path_factory: pytest.TempPathFactory) -> Path:
        folder = tmp_path_factory.mktemp("streets")
        assert (
            main(["render-street", str(folder), "--frames", "4", "--size", "416x240", "--no-depth", "--seed", "3"]) == 0
        )
        return folder

    def test_the_same_frames_change_nothing_and_dark_ones_lose(
        self, streets: Path, shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        day, dark, same = streets / "day", tmp_path / "dark", tmp_path / "same"
        for folder in (dark, same):
            folder.mkdir()
        for path in sorted(day.iterdir()):
            with Image.open(path) as picture:
                picture.point(lambda v: v // 40).save(dark / f"{path.stem}.png")  # another suffix
                picture.resize((picture.width * 2, picture.height * 2)).save(same / path.name, quality=95)
        (dark / "broken.jpg").write_bytes(b"x")
        detector = str(shared_data / "models" / "yolox_nano.onnx")
        capsys.readouterr()
        assert main(["measure-detector", str(day), str(same), str(dark), "--detector", detector]) == 0
        lines = [line.split("|") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
        found = {line[1].strip(): float(line[2].split()[0]) for line in lines[:4] if "vehicles" not in line[1]}
        assert found["before"] > 0
        assert found["same"] == pytest.approx(found["before"], rel=0.35)
        assert found["dark"] < found["before"]

    def test_labels_of_larger_pictures_are_refused(
        self, streets: Path, shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        name = min(path.name for path in (streets / "day").iterdir())
        labels = {name: [("car", [900.0, 500.0, 1000.0, 600.0])]}
        detector = str(shared_data / "models" / "yolox_nano.onnx")
        command = ["measure-detector", str(streets / "day"), str(streets / "day"), "--detector", detector, "--labels"]
        assert main([*command, str(save(tmp_path / "bdd.json", bdd(labels)))]) == 1
        assert "lies outside of the frame (416x240)" in capsys.readouterr().err
        assert main([*command, str(save(tmp_path / "coco.json", coco(labels, (1280, 720))))]) == 0
        assert "frames without labels are left out" in capsys.readouterr().out

    def test_a_frame_of_another_drive_is_not_taken_for_one_that_is_missing(
        self, streets: Path, shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        first, second = sorted((streets / "day").iterdir())[:2]
        for name, source in {"before/x/1.jpg": first, "before/y/1.jpg": second, "after/y/1.jpg": second}.items():
            (tmp_path / name).parent.mkdir(parents=True)
            (tmp_path / name).write_bytes(source.read_bytes())
        command = ["measure-detector", str(tmp_path / "before"), str(tmp_path / "after"), "--detector"]
        command.append(str(shared_data / "models" / "yolox_nano.onnx"))
        assert main(command) == 0
        said = capsys.readouterr().out
        assert "lacks frames, which are left out of every row: x/1.jpg" in said
        assert "Frames: 1." in said
        # Labels that name a frame without its folder mean neither of two, or the one that lies there.
        labels = save(tmp_path / "labels.json", bdd({"1.jpg": [("car", [10.0, 10.0, 40.0, 40.0])]}))
        assert main([*command, "--labels", str(labels)]) == 1
        assert "none of the frames in" in capsys.readouterr().err
        (tmp_path / "before" / "1.jpg").write_bytes(first.read_bytes())
        (tmp_path / "after" / "1.jpg").write_bytes(first.read_bytes())
        assert main([*command, "--labels", str(labels)]) == 0
        assert "frames without labels are left out: x/1.jpg, y/1.jpg" in capsys.readouterr().out

    @pytest.mark.parametrize("orientation", range(2, 9))
    def test_labels_of_the_stored_picture_are_turned_as_exif_turns_it(
        self, shared_data: Path, tmp_path: Path, orientation: int
    ) -> None:
        """COCO's width and height tell it, where the turn swaps them; else a note says what is assumed."""
        before = tmp_path / "before"
        before.mkdir()
        stored = Image.new("RGB", (100, 60))
        stored.paste((255, 255, 255), (10, 20, 40, 30))
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        stored.save(before / "a.png", exif=exif)
        upright = ImageOps.exif_transpose(Image.open(before / "a.png"))
        seen = np.array(upright.getbbox()) / [*upright.size, *upright.size]
        detector = shared_data / "models" / "yolox_nano.onnx"

        def truth(box: list[float], size: tuple[int, int]) -> tuple[Survey, list[float]]:
            labels = save(tmp_path / "labels.json", coco({"a.png": [("car", box)]}, size))
            survey = Survey(MeasureDetectorSettings(before, (before,), labels=labels, detector=detector))
            survey.read_before()
            return survey, survey.truth(["a.png"])[0][0].corners[0].tolist()

        survey, of_upright = truth([float(v) for v in upright.getbbox()], upright.size)
        assert of_upright == pytest.approx(seen)
        assert any("EXIF turns these frames" in note for note in survey.notes) == (orientation < 5)
        if orientation >= 5:
            assert truth([10, 20, 40, 30], (100, 60))[1] == pytest.approx(seen)


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (-0.4, 0.0, "lights: these frames cannot tell what day does to the detector, the interval is too wide (found"),
        (-0.1, 0.1, "lights: day makes no clear difference to the detector (found"),
        (-0.4, -0.1, "lights: day shows fewer to the detector (found"),
        (0.1, 0.9, "lights: day shows more to the detector (found"),
    ],
)
def test_a_wide_interval_is_no_all_clear(low: float, high: float, words: str) -> None:
    rows = {BEFORE: {"found": Number(0.3, 0.1, 0.5)}, "day": {"found": Number(0.2, 0.0, 0.4, -0.1, low, high)}}
    (sentence,) = verdict("lights", rows)
    assert sentence.startswith(words)
    assert ("--labels" in sentence) == ("shows" in words)  # more that is found may also be more that is wrong


@pytest.mark.parametrize("high", [0.0, 0.4])
def test_where_nothing_was_found_nothing_is_clear(high: float) -> None:
    rows = {
        BEFORE: {"found": Number(0, 0, 0), "precision": Number(math.nan, math.nan, math.nan)},
        "day": {
            "found": Number(high / 2, 0, high, high / 2, 0, high),
            "precision": Number(0.5, 0.5, 0.5, *[math.nan] * 3),
        },
    }
    text = as_text({"lights": rows})
    assert "frames cannot tell what day does to the detector" in text
    assert ("lights: nothing was found" in text) == (high == 0)
    assert "nan" not in text


def test_labelled_objects_that_are_never_found_are_enough() -> None:
    (sentence,) = verdict("lights", {BEFORE: {"ap50": Number(0, 0, 0)}, "day": {"ap50": Number(0, 0, 0, 0, 0, 0)}})
    assert "makes no clear difference" in sentence
