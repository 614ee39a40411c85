"""Frames in a cache, drawn by number."""

import json
import os
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gen import BadInput
from gen.training.data import UnpairedData, match_pairs
from gen.training.frames import load_frames
from tests.conftest import DATA, street

CPU = torch.device("cpu")


def test_frames_keep_their_pixels_and_their_aspect(tmp_path):
    rng = np.random.default_rng(0)
    pictures = {"a": street(rng, 40, 60, True), "b": street(rng, 40, 90, True), "c": street(rng, 80, 120, True)}
    for name, picture in pictures.items():
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
    frames = load_frames("adverse", tmp_path, tmp_path / "cache", 40, (32, 48))
    assert frames.sizes == ((40, 60), (40, 90), (40, 60))
    for index, name in enumerate("ab"):
        np.testing.assert_array_equal(frames.frame(index).permute(1, 2, 0).numpy(), pictures[name])
    assert frames.summary()["cached_size"] == [40, 60]
    assert frames.summary()["bytes"] == sum(path.stat().st_size for path in frames.paths)


def test_the_cache_is_used_again_until_a_file_changes(two_domains, tmp_path):
    cache = tmp_path / "cache"
    load_frames("adverse", two_domains[0], cache, 40, (32, 48))
    written = {p: p.stat().st_mtime_ns for p in cache.iterdir()}
    load_frames("adverse", two_domains[0], cache, 40, (32, 48))
    assert written == {p: p.stat().st_mtime_ns for p in cache.iterdir()}
    Image.fromarray(np.full((80, 128, 3), 77, np.uint8)).save(two_domains[0] / "000.png")
    assert (load_frames("adverse", two_domains[0], cache, 40, (32, 48)).frame(0) == 77).all()


def truncated_jpeg() -> bytes:
    """The first half of a picture, as a broken download or a full disk leaves it."""
    whole = BytesIO()
    Image.fromarray(street(np.random.default_rng(7), 80, 128, True)).save(whole, "JPEG", quality=95)
    return whole.getvalue()[: len(whole.getvalue()) // 2]


def narrow_png() -> bytes:
    """Sound, but at 40 rows 24 columns wide."""
    whole = BytesIO()
    Image.new("RGB", (48, 80)).save(whole, "PNG")
    return whole.getvalue()


BROKEN = {"truncated": truncated_jpeg(), "empty": b"", "text": b"<html>404 Not Found</html>", "narrow": narrow_png()}


class TestLeftOut:
    def load(self, folder: Path, cache: Path, **more):
        return load_frames("adverse", folder, cache, 40, (32, 48), **more)

    @pytest.mark.parametrize("kind", BROKEN)
    def test_a_picture_that_cannot_be_used_is_named_and_the_others_are_as_without_it(
        self, two_domains, tmp_path, caplog, kind
    ):
        without = self.load(two_domains[0], tmp_path / "one")
        (two_domains[0] / "005b.jpg").write_bytes(BROKEN[kind])
        frames = self.load(two_domains[0], tmp_path / "two")
        assert "1 of 13 images cannot be used and are left out" in caplog.text
        assert "005b.jpg: " in caplog.text
        assert list(frames.left_out) == [two_domains[0] / "005b.jpg"]
        assert frames.summary() == without.summary() | {"left_out": 1}
        assert "left_out" not in without.summary()  # as in the records of earlier runs
        assert frames.paths == without.paths
        for index in range(12):
            assert torch.equal(frames.frame(index), without.frame(index))

    @pytest.mark.parametrize("kind", BROKEN)
    def test_strict_refuses_also_what_a_cache_left_out(self, two_domains, tmp_path, kind):
        (two_domains[0] / "x.jpg").write_bytes(BROKEN[kind])
        (two_domains[0] / "y.png").write_bytes(BROKEN[kind])
        for _ in range(2):
            with pytest.raises(BadInput, match=r"2 of 14 images(.|\n)*strict=false(.|\n)*x\.jpg: (.|\n)*y\.png: "):
                self.load(two_domains[0], tmp_path / "cache", strict=True)
            assert len(self.load(two_domains[0], tmp_path / "cache")) == 12

    def test_the_cache_holds_until_the_file_is_repaired(self, two_domains, tmp_path):
        (two_domains[0] / "x.jpg").write_bytes(truncated_jpeg())
        self.load(two_domains[0], tmp_path)
        written = {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
        assert len(self.load(two_domains[0], tmp_path)) == 12
        assert written == {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
        Image.new("RGB", (128, 80), (9, 9, 9)).save(two_domains[0] / "x.jpg")
        frames = self.load(two_domains[0], tmp_path)
        assert len(frames) == 13
        assert not frames.left_out
        assert (frames.frame(12) == 9).all()

    def test_the_cache_serves_another_crop(self, two_domains, tmp_path):
        (two_domains[0] / "narrow.png").write_bytes(narrow_png())
        assert len(self.load(two_domains[0], tmp_path)) == 12
        files = set(tmp_path.iterdir())
        assert len(load_frames("adverse", two_domains[0], tmp_path, 40, (32, 24))) == 13
        assert set(tmp_path.iterdir()) == files

    def test_the_index_of_sound_pictures_holds_sizes_alone(self, two_domains, tmp_path):
        """As it did before pictures were left out, so that the caches of older runs serve."""
        self.load(two_domains[0], tmp_path)
        index = next(tmp_path.glob("*.json"))
        assert json.loads(index.read_text()) == [[40, 64]] * 12

    def test_a_folder_of_nothing_else_is_an_error(self, tmp_path):
        (tmp_path / "night").mkdir()
        for place in range(30):
            (tmp_path / "night" / f"{place:02d}.jpg").write_bytes(b"")
        with pytest.raises(BadInput, match=r"none of its 30 images can be used(.|\n)*00\.jpg(.|\n)*and 10 more"):
            self.load(tmp_path / "night", tmp_path / "cache")

    def test_a_picture_found_in_the_wild(self, two_domains, tmp_path):
        """The case that a user of another tool reported; it needs the folder of cases beside the data."""
        case = DATA.parent / "cases" / "damaged-training-picture" / "trunc.jpg"
        if not case.is_file():
            pytest.skip(f"no {case}")
        os.symlink(case, two_domains[0] / "trunc.jpg")
        frames = self.load(two_domains[0], tmp_path)
        assert len(frames) == 12
        assert "truncated" in frames.left_out[two_domains[0] / "trunc.jpg"]


def unpaired(two_domains, cache, seed=0) -> UnpairedData:
    frames = [load_frames(n, f, cache, 40, (32, 48)) for n, f in zip(("adverse", "normal"), two_domains, strict=True)]
    return UnpairedData(frames[0], frames[1], (32, 48), seed, CPU)


def test_a_sample_depends_on_its_number_alone(two_domains, tmp_path):
    data = unpaired(two_domains, tmp_path / "cache")
    together = data.batch([5, 17, 30])
    for place, number in enumerate((5, 17, 30)):
        alone = unpaired(two_domains, tmp_path / "cache").batch([number])
        torch.testing.assert_close(alone.adverse[0], together.adverse[place])
        torch.testing.assert_close(alone.normal[0], together.normal[place])
        assert alone.seeds[0] == together.seeds[place]
    other = unpaired(two_domains, tmp_path / "cache", seed=1).batch([5])
    assert not torch.equal(other.adverse[0], together.adverse[0])


def test_an_epoch_shows_every_frame_once_in_a_new_order(tmp_path):
    for domain, count in (("adverse", 6), ("normal", 4)):
        (tmp_path / domain).mkdir()
        for i in range(count):
            Image.fromarray(np.full((40, 60, 3), 10 * i, np.uint8)).save(tmp_path / domain / f"{i}.png")
    data = unpaired((tmp_path / "adverse", tmp_path / "normal"), tmp_path / "cache")
    batch = data.batch(range(12))
    grey = ((batch.adverse[:, 0, 0, 0] + 1) * 127.5 / 10).round().int().tolist()
    assert sorted(grey[:6]) == sorted(grey[6:]) == list(range(6))
    assert grey[:6] != grey[6:]
    assert sorted(((batch.normal[:4, 0, 0, 0] + 1) * 127.5 / 10).round().int().tolist()) == list(range(4))


def test_crops_and_flips_of_the_domains_are_independent(tmp_path):
    """A picture whose pixels say where they are: the crop's place and flip can be read off."""
    y, x = np.mgrid[:40, :60]
    for domain in ("adverse", "normal"):
        (tmp_path / domain).mkdir()
        Image.fromarray(np.stack([x, y, 0 * x], -1).astype(np.uint8)).save(tmp_path / domain / "0.png")
    data = unpaired((tmp_path / "adverse", tmp_path / "normal"), tmp_path / "cache")
    batch = data.batch(range(200))
    places = []
    for images in (batch.adverse, batch.normal):
        pixels = ((images + 1) * 127.5).round().int()
        flipped = pixels[:, 0, 0, 0] > pixels[:, 0, 0, -1]
        left = torch.minimum(pixels[:, 0, 0, 0], pixels[:, 0, 0, -1])
        top = pixels[:, 1, 0, 0]
        assert (pixels[:, 1] - top.view(-1, 1, 1) == torch.arange(32).view(1, 32, 1)).all()
        assert set(top.tolist()) == set(range(9))
        assert set(left.tolist()) == set(range(13))
        assert 0.35 < flipped.float().mean() < 0.65
        places.append(torch.stack([flipped.int(), top, left]).float())
    same = (places[0] == places[1]).float().mean(dim=1)
    assert same[0] < 0.65
    assert same[1] < 0.3
    assert same[2] < 0.3


class TestPairs:
    @pytest.fixture
    def rendered(self, tmp_path):
        """Three days and five adverse frames of them, whose pixels say where they are and which they are."""
        tmp_path = tmp_path / "rendered"
        y, x = np.mgrid[:40, :60]
        for folder, names in (("adverse/night", "012"), ("adverse/rain", "12"), ("day", "012")):
            (tmp_path / folder).mkdir(parents=True)
            for name in names:
                picture = np.stack([x, y, 0 * x + 40 * int(name) + (7 if folder == "day" else 0)], -1)
                Image.fromarray(picture.astype(np.uint8)).save(tmp_path / folder / f"{name}.png")
        return tmp_path

    def pairs(self, rendered, share, strict=False):
        adverse, day = (load_frames(n, rendered / n, rendered / "cache", 40, (32, 48)) for n in ("adverse", "day"))
        return match_pairs(adverse, day, share, strict)

    def data(self, two_domains, rendered, share) -> UnpairedData:
        frames = [load_frames(n, f, rendered / "cache", 40, (32, 48)) for n, f in zip("ab", two_domains, strict=True)]
        return UnpairedData(*frames, (32, 48), 0, CPU, [self.pairs(rendered, share)])

    def test_both_frames_of_a_pair_show_the_same_place(self, two_domains, rendered):
        batch = self.data(two_domains, rendered, 1.0).batch(range(60))
        assert all(batch.paired)
        dark, day = (((images + 1) * 127.5).round() for images in (batch.adverse, batch.normal))
        assert torch.equal(dark[:, :2], day[:, :2])  # the same crop, the same flip
        assert (day[:, 2] - dark[:, 2] == 7).all()  # the same moment, on another day
        assert len({tuple(v) for v in dark[:, :, 0, 0].int().tolist()}) > 30
        assert len({int(v) for v in dark[:, 2, 0, 0]}) == 3

    def test_the_share_is_kept_and_the_rest_is_as_without(self, two_domains, rendered):
        batch = self.data(two_domains, rendered, 0.15).batch(range(400))
        assert 0.10 < sum(batch.paired) / 400 < 0.20
        assert sum(self.data(two_domains, rendered, 0.0).batch(range(50)).paired) == 0
        frames = [load_frames(n, f, rendered / "cache", 40, (32, 48)) for n, f in zip("ab", two_domains, strict=True)]
        alone = UnpairedData(*frames, (32, 48), 0, CPU).batch(range(50))
        assert not any(alone.paired)

    def test_a_frame_without_its_day_is_left_out_and_strict_refuses(self, rendered, caplog):
        (rendered / "day" / "1.png").unlink()
        pairs = self.pairs(rendered, 0.1)
        assert [p.name for p in pairs.adverse.paths] == ["0.png", "2.png", "2.png"]
        assert "1.png: no frame named 1 in" in caplog.text
        with pytest.raises(BadInput, match=r"1\.png: .*no frame named 1 in"):
            self.pairs(rendered, 0.1, strict=True)

    def test_a_pair_goes_with_its_broken_frame(self, rendered, caplog):
        """Day 1 is that of a night and of a rain; the night of day 2 is broken, its rain is not."""
        (rendered / "day" / "1.png").write_bytes(b"")
        (rendered / "adverse" / "night" / "2.png").write_bytes(truncated_jpeg())
        pairs = self.pairs(rendered, 0.1)
        assert [p.relative_to(rendered / "adverse").as_posix() for p in pairs.adverse.paths] == [
            "night/0.png",
            "rain/2.png",
        ]
        assert [p.name for p in pairs.normal.paths] == ["0.png", "2.png"]
        assert pairs.adverse.summary()["left_out"] == 3
        assert pairs.normal.summary()["left_out"] == 1
        assert "rain/1.png: the paired frame" in caplog.text
        for place in range(2):  # blue is 40 times the number, and by day 7 more
            assert (pairs.normal.frame(place)[2] - pairs.adverse.frame(place)[2] == 7).all()

    def test_two_days_of_one_name_are_not_guessed_between(self, rendered, caplog):
        """Two drives that number alike."""
        (rendered / "day" / "drive").mkdir()
        (rendered / "day" / "2.png").rename(rendered / "day" / "drive" / "1.png")
        assert {p.name for p in self.pairs(rendered, 0.1).adverse.paths} == {"0.png"}
        assert f"1.png: 2 frames in {rendered / 'day'} are named 1; rename them." in caplog.text

    def test_no_pair_left_is_an_error(self, rendered):
        for name in "012":
            (rendered / "adverse" / "night" / f"{name}.png").unlink()
        for name in "12":
            (rendered / "day" / f"{name}.png").write_bytes(b"")
        with pytest.raises(BadInput, match="none of its 2 images can be used"):
            self.pairs(rendered, 0.1)

    def test_another_shape_is_left_out_and_strict_refuses(self, rendered):
        Image.fromarray(np.zeros((40, 80, 3), np.uint8)).save(rendered / "day" / "2.png")
        assert {p.name for p in self.pairs(rendered, 0.1).normal.paths} == {"0.png", "1.png"}
        with pytest.raises(BadInput, match="another shape"):
            self.pairs(rendered, 0.1, strict=True)
