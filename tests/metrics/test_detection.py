"""Boxes: the detector's arithmetic against slow references, and what counts as kept and as invented."""

from pathlib import Path

import numpy as np
import pytest
import torch

from gen.errors import BadInput
from gen.media.images import decode_still
from gen.metrics.detection import (
    GROUPS,
    Boxes,
    DetectionScores,
    Detector,
    anchors,
    covered,
    decode,
    letterbox,
    select,
)

VEHICLE, PERSON, LIGHT = range(3)


def boxes(*rows: tuple[int, float, tuple[float, float, float, float]]) -> Boxes:
    """Of (group, score, corners)."""
    return Boxes(
        torch.tensor([r[2] for r in rows], dtype=torch.float32).reshape(-1, 4),
        torch.tensor([r[1] for r in rows], dtype=torch.float32),
        torch.tensor([r[0] for r in rows], dtype=torch.long),
    )


def slow_iou(a: torch.Tensor, b: torch.Tensor) -> float:
    """By counting the cells of a fine grid."""
    step = 0.25
    y, x = np.mgrid[0:40:step, 0:40:step] + step / 2

    def inside(box: torch.Tensor) -> np.ndarray:
        left, top, right, bottom = box.tolist()
        return (x > left) & (x < right) & (y > top) & (y < bottom)

    return float((inside(a) & inside(b)).sum() / (inside(a) | inside(b)).sum())


class TestCovered:
    @pytest.mark.parametrize("iou", [0.1, 0.3, 0.5])
    def test_is_overlap_of_the_same_group(self, iou: float) -> None:
        draw = np.random.default_rng(0)
        corner = torch.from_numpy(draw.integers(0, 90, (40, 2)) / 4)
        rows = torch.cat([corner, corner + torch.from_numpy(draw.integers(20, 70, (40, 2)) / 4)], 1).float()
        some = Boxes(rows[:20], torch.ones(20), torch.from_numpy(draw.integers(0, 2, 20)))
        others = Boxes(rows[20:], torch.ones(20), torch.from_numpy(draw.integers(0, 2, 20)))
        expected = [
            any(slow_iou(a, b) >= iou for b, other in zip(others.corners, others.groups, strict=True) if other == group)
            for a, group in zip(some.corners, some.groups, strict=True)
        ]
        assert covered(some, others, iou).tolist() == expected
        assert 0 < sum(expected) < 20

    def test_nothing_covers_nothing(self) -> None:
        one = boxes((VEHICLE, 0.9, (0, 0, 10, 10)))
        assert covered(one, boxes(), 0.3).tolist() == [False]
        assert covered(boxes(), one, 0.3).tolist() == []


class TestLetterbox:
    def test_a_frame_much_wider_than_high(self) -> None:
        picture, _ = letterbox(np.zeros((2, 3000, 3), np.uint8), (416, 416))
        assert (picture[0, :, 1:] == 114).all()
        assert (picture[0, :, 0] == 0).all()

    @pytest.mark.parametrize("shape", [(360, 640), (640, 360), (100, 90), (416, 416)])
    def test_a_mark_is_found_where_the_scale_says(self, shape: tuple[int, int]) -> None:
        """A blue square in the frame comes back to its own corners; the rest of the input is grey."""
        frame = np.zeros((*shape, 3), np.uint8)
        top, left, side = shape[0] // 2, shape[1] // 3, 24
        frame[top : top + side, left : left + side, 2] = 255
        picture, scale = letterbox(frame, (416, 416))
        assert picture.shape == (1, 3, 416, 416)
        y, x = np.nonzero(picture[0, 0] > 127)  # BGR: blue comes first; the border is darker
        corners = np.array([x.min(), y.min(), x.max() + 1, y.max() + 1]) / scale
        assert corners == pytest.approx([left, top, left + side, top + side], abs=1.5 / scale)
        height, width = int(shape[0] * scale), int(shape[1] * scale)
        assert max(height, width) == 416
        assert (picture[0, :, height:] == 114).all()
        assert (picture[0, :, :, width:] == 114).all()


class TestDecode:
    def test_is_the_published_loop(self) -> None:
        raw = torch.randn(13 * 13 + 26 * 26 + 52 * 52, 4, generator=torch.Generator().manual_seed(0))
        expected, index = [], 0
        for stride in (8, 16, 32):
            for row in range(416 // stride):
                for column in range(416 // stride):
                    x, y, w, h = raw[index].tolist()
                    expected.append(((x + column) * stride, (y + row) * stride, np.exp(w) * stride, np.exp(h) * stride))
                    index += 1
        decoded = decode(raw, anchors((416, 416)))
        torch.testing.assert_close(decoded, torch.tensor(expected, dtype=torch.float32), rtol=1e-4, atol=1e-3)

    def test_cells_of_an_input_that_is_no_square(self) -> None:
        grid = anchors((64, 96))
        assert len(grid) == 8 * 12 + 4 * 6 + 2 * 3
        assert grid[11].tolist() == [11, 0, 8]
        assert grid[-1].tolist() == [2, 1, 32]


class TestSelect:
    def test_one_box_an_object_and_only_what_is_counted(self) -> None:
        places = torch.tensor(
            [[50.0, 50, 20, 20], [51, 50, 20, 20], [50, 50, 20, 20], [200, 50, 20, 20], [50, 50, 20, 20]]
        )
        scores = torch.zeros(5, 80)
        scores[0, 2], scores[1, 7] = 0.9, 0.8  # a car, and the same as a truck
        scores[2, 0] = 0.7  # a person at the same place
        scores[3, 2] = 0.04  # too faint
        scores[4, 16], scores[4, 2] = 0.6, 0.5  # a dog, whatever else it might be
        found = select(places, scores)
        assert found.groups.tolist() == [VEHICLE, PERSON]
        assert found.scores.tolist() == pytest.approx([0.9, 0.7])
        assert found.corners[0].tolist() == [40, 40, 60, 60]

    def test_every_class_is_in_its_group(self) -> None:
        scores = torch.eye(80)
        places = torch.stack(
            [torch.arange(80.0) * 100, torch.zeros(80), torch.full((80,), 9.0), torch.full((80,), 9.0)], 1
        )
        found = select(places, scores)
        members = {(int((c[0] + 4.5) / 100), int(g)) for c, g in zip(found.corners, found.groups, strict=True)}
        assert members == {(m, g) for g, classes in enumerate(GROUPS.values()) for m in classes}


class TestScores:
    def test_kept_and_invented_by_hand(self) -> None:
        source = boxes(
            (VEHICLE, 0.9, (0, 0, 10, 10)),  # found again, faintly
            (VEHICLE, 0.5, (20, 0, 30, 10)),  # found, but too far away
            (PERSON, 0.4, (40, 0, 50, 10)),  # taken for a vehicle
            (LIGHT, 0.2, (60, 0, 64, 8)),  # not sure enough to count
            (VEHICLE, 0.06, (80, 0, 90, 10)),  # faint: what comes up there is not invented
        )
        translation = boxes(
            (VEHICLE, 0.11, (1, 0, 11, 10)),
            (VEHICLE, 0.8, (26, 0, 36, 10)),  # IoU .25 with the second: invented
            (VEHICLE, 0.7, (40, 0, 50, 10)),  # where there was a person: invented
            (LIGHT, 0.9, (60, 0, 64, 8)),  # was there below the bar
            (VEHICLE, 0.6, (81, 0, 91, 10)),  # was there, faintly
            (PERSON, 0.2, (0, 30, 5, 40)),  # not sure enough to count
        )
        scores = DetectionScores()
        scores.add([translation, boxes()], [source, boxes()])
        assert scores.numbers() == pytest.approx(
            {"vehicles": 3 / 2, "people": 0, "lights": 1 / 2, "kept": 1 / 3, "invented": 2 / 2}
        )

    def test_a_frame_against_itself_keeps_all_and_invents_nothing(self) -> None:
        frame = boxes((VEHICLE, 0.9, (0, 0, 10, 10)), (PERSON, 0.31, (3, 3, 6, 9)), (LIGHT, 0.07, (9, 9, 12, 15)))
        scores = DetectionScores()
        scores.add([frame], [frame])
        assert scores.numbers() == {"vehicles": 1, "people": 1, "lights": 0, "kept": 1, "invented": 0}

    def test_real_frames_have_no_source(self) -> None:
        scores = DetectionScores()
        scores.add([boxes((VEHICLE, 0.9, (0, 0, 10, 10)))])
        assert scores.numbers() == {"vehicles": 1, "people": 0, "lights": 0}


def test_a_file_that_is_no_detector_is_named(tmp_path: Path) -> None:
    (tmp_path / "not.onnx").write_bytes(b"no")
    with pytest.raises(BadInput, match=r"not\.onnx: not a usable detector"):
        Detector(tmp_path / "not.onnx")


class TestRealDetector:
    @pytest.fixture
    def detector(self, shared_data: Path) -> Detector:
        return Detector(shared_data / "models" / "yolox_nano.onnx")

    def test_finds_the_traffic_of_a_day(self, detector: Detector, shared_data: Path) -> None:
        assert not detector.decoded
        paths = sorted((shared_data / "driving" / "val" / "day").iterdir())[:8]
        scores = DetectionScores()
        for path in paths:
            scores.add(detector(torch.from_numpy(decode_still(path).rgb)[None]))
        assert scores.numbers()["vehicles"] > 2

    def test_a_mirrored_frame_has_mirrored_boxes(self, detector: Detector, shared_data: Path) -> None:
        """Channel order, scale and cells at once: a wrong one would not come back to the same places."""
        path = sorted((shared_data / "driving" / "val" / "day").iterdir())[0]
        frame = torch.from_numpy(decode_still(path).rgb)[None]
        (found,), (mirrored,) = detector(frame), detector(frame.flip(2))
        width = frame.shape[2]
        back = mirrored.corners[:, [2, 1, 0, 3]]
        back = torch.stack([width - back[:, 0], back[:, 1], width - back[:, 2], back[:, 3]], 1)
        sure = found.above(0.5)
        assert len(sure.scores) > 0
        assert covered(sure, mirrored._replace(corners=back), 0.5).float().mean() > 0.7

    def test_red_and_blue_are_not_swapped(self, detector: Detector, shared_data: Path) -> None:
        paths = sorted((shared_data / "driving" / "val" / "day").iterdir())[:12]
        frames = [torch.from_numpy(decode_still(path).rgb)[None] for path in paths]
        right, wrong = (
            sum(float(detector(f)[0].above(0.3).scores.sum()) for f in order)
            for order in (frames, [f.flip(3) for f in frames])
        )
        assert right > wrong
