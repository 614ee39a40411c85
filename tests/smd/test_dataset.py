"""SMD on the fly and on disk: the same pictures by number, splits that never meet, a run that goes on."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from gen.errors import BadSetting
from gen.smd import rendering
from gen.smd.dataset import Levels, SMDDataset, level_seed, square, through_video
from gen.smd.names import SCENES
from gen.smd.rendering import render_smd
from gen.smd.settings import RenderSettings
from gen.smd.styles import STYLES


def settings(out, **changes) -> RenderSettings:
    small = {"per_class": 2, "size": 64, "styles": ("8bit", "lowpoly"), "scenes": ("cave", "sky"), "workers": 1}
    return RenderSettings(out, **(small | changes))


class TestLevels:
    def test_no_level_is_in_both_splits_whatever_the_seeds(self):
        train = {level_seed(seed, "train", i) for seed in range(5) for i in range(5000)}
        val = {level_seed(seed, "val", i) for seed in range(5) for i in range(5000)}
        assert not train & val
        assert len(train) == 25_000  # nor do two seeds share one

    def test_pictures_do_not_depend_on_their_batch(self):
        levels = Levels(size=64)
        together = levels.pictures("desert", "lowpoly", [0, 1, 2])
        assert np.array_equal(levels.pictures("desert", "lowpoly", [1])[0], together[1])

    def test_noise_is_a_capture_of_the_same_picture(self):
        clean, noisy = (Levels(size=128, noise=n).pictures("snow", "16bit", [4])[0] for n in (False, True))
        assert np.array_equal(noisy, Levels(size=128, noise=True).pictures("snow", "16bit", [4])[0])
        error = np.abs(clean.astype(int) - noisy)
        assert 1 < error.mean() < 25

    def test_square_cuts_the_middle(self):
        picture = np.zeros((4, 8, 3), np.uint8)
        picture[:, 2:6] = 200
        assert (square(picture, 4) == 200).all()

    def test_video_noise_softens(self):
        rng = np.random.default_rng(0)
        picture = rng.integers(0, 256, (64, 64, 3)).astype(np.uint8)
        assert through_video(picture, rng).std() < picture.std()


class TestDataset:
    def test_order_labels_and_determinism(self):
        data = SMDDataset(3, Levels(size=48), styles=("8bit", "16bit"), scenes=("cave", "snow"))
        assert len(data) == 12
        for index in (0, 5, 11):
            sample = data[index]
            style, scene, _ = data.locate(index)
            assert sample.image.shape == (3, 48, 48)
            assert sample.image.dtype == torch.uint8
            assert (list(STYLES)[sample.style], SCENES[sample.scene]) == (style.name, scene)
            assert torch.equal(sample.image, data[index].image)
        with pytest.raises(IndexError):
            data[12]

    def test_a_level_is_the_same_in_every_style(self):
        data = SMDDataset(2)
        samples = [data.locate(i) for i in range(len(data))]
        by_style = {name: [p[1:] for p in samples if p[0].name == name] for name in STYLES}
        assert len({tuple(v) for v in by_style.values()}) == 1

    def test_a_loader_with_workers_gives_the_same_batches(self):
        data = SMDDataset(4, Levels(size=32), styles=("8bit",), scenes=("cave", "sky"))
        alone, helped = (
            [b.image for b in DataLoader(data, batch_size=3, num_workers=n, multiprocessing_context=c)]
            for n, c in ((0, None), (2, "spawn"))
        )
        assert all(torch.equal(a, b) for a, b in zip(alone, helped, strict=True))
        assert sum(len(b) for b in alone) == 8


class TestWriting:
    def test_layout_and_content(self, tmp_path):
        render_smd(settings(tmp_path / "smd"))
        files = sorted(p.relative_to(tmp_path / "smd").as_posix() for p in (tmp_path / "smd").rglob("*.jpg"))
        assert files == [f"{s}/{c}/{i:06d}.jpg" for s in ("8bit", "lowpoly") for c in ("cave", "sky") for i in (0, 1)]
        written = np.asarray(Image.open(tmp_path / "smd/8bit/sky/000001.jpg"))
        expected = Levels(size=64).pictures("sky", "8bit", [1])[0]
        buffer = io.BytesIO()
        Image.fromarray(expected).save(buffer, "JPEG", quality=85, subsampling=0)
        assert np.array_equal(written, np.asarray(Image.open(buffer)))

    def test_a_second_run_only_adds(self, tmp_path):
        render_smd(settings(tmp_path))
        kept, lost = tmp_path / "8bit/cave/000000.jpg", tmp_path / "8bit/cave/000001.jpg"
        before, content = kept.stat().st_mtime_ns, lost.read_bytes()
        lost.unlink()
        render_smd(settings(tmp_path, per_class=3))
        assert kept.stat().st_mtime_ns == before
        assert lost.read_bytes() == content
        assert len(list(tmp_path.rglob("*.jpg"))) == 12

    def test_two_workers_write_the_same(self, tmp_path):
        for workers in (1, 2):
            render_smd(settings(tmp_path / str(workers), per_class=9, styles=("8bit",), workers=workers))
        one, two = ({p.name: p.read_bytes() for p in (tmp_path / n / "8bit/sky").iterdir()} for n in ("1", "2"))
        assert one == two

    def test_pictures_of_unknown_settings_are_refused_in_any_style(self, tmp_path):
        render_smd(settings(tmp_path, styles=("8bit",)))
        (tmp_path / "render.json").unlink()
        with pytest.raises(BadSetting, match=r"no render\.json says how"):
            render_smd(settings(tmp_path, styles=("hd",), split="val"))

    def test_preview(self, tmp_path):
        path = render_smd(settings(tmp_path, preview=True))
        with Image.open(path) as sheet:
            assert sheet.size == (2 * 324 + 4, 2 * 244 + 4)
        assert list(tmp_path.rglob("*.jpg")) == [path]
        render_smd(settings(tmp_path, preview=True))
        Image.new("RGB", (8, 8)).save(path)
        with pytest.raises(BadSetting, match=r"preview\.jpg: a file that gen did not draw would be overwritten"):
            render_smd(settings(tmp_path, preview=True))

    def test_a_picture_that_is_cut_off_is_drawn_again(self, tmp_path):
        render_smd(settings(tmp_path))
        pictures = {path: path.read_bytes() for path in tmp_path.rglob("*.jpg")}
        for path, content in pictures.items():
            path.write_bytes(content[: len(content) // 2])
        render_smd(settings(tmp_path))
        assert {path: path.read_bytes() for path in tmp_path.rglob("*.jpg")} == pictures

    @pytest.mark.parametrize("changes", [{"per_class": 0}, {"size": 8}, {"size": 5000}])
    def test_bad_settings_are_told(self, tmp_path, changes):
        with pytest.raises(BadSetting, match="per_class must be at least 1 and size from 16"):
            render_smd(settings(tmp_path, **changes))

    @pytest.mark.parametrize("seed", [-1, 2**40])
    def test_a_seed_out_of_range_is_told(self, tmp_path, seed):
        with pytest.raises(BadSetting, match="whole number from 0 to 2147483647"):
            render_smd(settings(tmp_path, seed=seed))

    def test_a_folder_holds_one_data_set(self, tmp_path):
        render_smd(settings(tmp_path, per_class=1))
        with pytest.raises(BadSetting, match="rendered with split='train', not 'val'"):
            render_smd(settings(tmp_path, per_class=1, split="val"))
        with pytest.raises(BadSetting, match="seed=0, not 3"):
            render_smd(settings(tmp_path, per_class=1, seed=3))

    def test_a_folder_of_an_older_drawing_is_left_alone(self, tmp_path, monkeypatch):
        monkeypatch.setattr(rendering, "DRAWING", rendering.DRAWING - 1)
        render_smd(settings(tmp_path, per_class=1))
        monkeypatch.undo()
        with pytest.raises(BadSetting, match="rendered with drawing=1, not 2"):
            render_smd(settings(tmp_path, per_class=2))

    def test_a_folder_of_another_version_is_left_alone(self, tmp_path, monkeypatch):
        with monkeypatch.context() as older:
            older.setattr("gen.smd.writing.VERSION", "0.0.9")
            render_smd(settings(tmp_path, per_class=1))
        with pytest.raises(BadSetting, match=r"rendered by gen 0.0.9; this is gen .*Choose another output folder"):
            render_smd(settings(tmp_path, per_class=2))
