"""The dash-cam street: one geometry under all weathers, optics where it can be computed, and what is written."""

import dataclasses
import math
from typing import get_args

import av
import numpy as np
import pytest
import torch
from PIL import Image

from gen.errors import BadSetting
from gen.media.video import ClipReader
from gen.smd.scene import rotation
from gen.smd.street import render as rendering
from gen.smd.street.drives import render_drives
from gen.smd.street.render import render_street
from gen.smd.street.settings import StreetSettings, WeatherName
from gen.smd.street.sky import sunlight, through_air
from gen.smd.street.solids import LABELS, ROAD, SKY, lamp_head, lights, solids
from gen.smd.street.street import make_street
from gen.smd.street.weather import WEATHERS

SMALL = {"height": 90, "width": 160, "samples": 1}


def luma(image: torch.Tensor) -> torch.Tensor:
    return (image.float() * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(0)


@pytest.fixture(scope="module")
def frame():
    return render_street(make_street(4), 1.0, list(WEATHERS), **SMALL)


class TestOneMoment:
    def test_every_weather_is_rendered_at_size(self, frame):
        assert tuple(frame.images) == tuple(WEATHERS) == get_args(WeatherName)
        for image in frame.images.values():
            assert image.shape == (3, 90, 160)
            assert image.dtype == torch.uint8
            assert image.float().std() > 8  # something is to be seen

    def test_the_same_again(self, frame):
        again = render_street(make_street(4), 1.0, ["night"], **SMALL)
        assert torch.equal(again.images["night"], frame.images["night"])

    def test_the_geometry_does_not_know_the_weather(self, frame):
        other = render_street(make_street(4), 1.0, ["snow"], **SMALL)
        assert torch.equal(other.depth, frame.depth)
        assert torch.equal(other.labels, frame.labels)

    def test_another_seed_and_another_time_are_other_pictures(self, frame):
        for other in (
            render_street(make_street(5), 1.0, ["day"], **SMALL),
            render_street(make_street(4), 2.0, ["day"], **SMALL),
        ):
            assert not torch.equal(other.images["day"], frame.images["day"])

    def test_night_is_darker_than_dusk_than_day(self, frame):
        means = [luma(frame.images[w]).mean() for w in ("night", "dusk", "day")]
        assert means[0] < means[1] < means[2]
        assert means[0] < 80 < 100 < means[2]

    def test_labels_agree_with_depth(self, frame):
        assert (frame.depth.isinf() == (frame.labels == SKY)).all()
        assert frame.labels.max() < len(LABELS)
        assert (frame.labels == ROAD).float().mean() > 0.1

    def test_the_road_lies_where_the_camera_says(self):
        """Road seen at an angle a below the horizon is h / sin(a) away, and that times cos(a - pitch) ahead."""
        street = dataclasses.replace(make_street(4), vehicles=(), people=(), view=(1.4, 0.0, 0.0, 1.2))
        frame = render_street(street, 0.0, ["day"], **SMALL)
        pitch = float(street.camera(0.0).turn[0, 1])
        for row in (60, 75, 89):
            below = math.atan(((row + 0.5) / 90 - 0.5) / 1.2) + pitch
            column = frame.depth[row, 60:100][frame.labels[row, 60:100] == ROAD]
            assert len(column) > 10
            slant = 1.4 / math.sin(below) * math.cos(below - pitch)
            assert float(column.median()) == pytest.approx(slant, rel=0.01)

    def test_an_unknown_weather_is_told(self):
        with pytest.raises(BadSetting, match="unknown weather 'hail'; available: day"):
            render_street(make_street(0), 0.0, ["hail"], **SMALL)


class TestOptics:
    def test_fog_takes_contrast_by_depth(self):
        """Beer-Lambert: what is left of a surface's own light at depth d is exp(-fog d)."""
        colour = torch.tensor([[0.9, 0.1]] * 3)
        distance = torch.tensor([20.0, 20.0])
        fog = WEATHERS["fog"]
        seen = through_air(colour, distance, fog)
        contrast = (seen[:, 0] - seen[:, 1]) / 0.8
        assert torch.allclose(contrast, torch.full((3,), math.exp(-fog.fog * 20)), atol=1e-6)
        far = through_air(colour, torch.tensor([1e4, 1e4]), fog)
        assert torch.allclose(far, torch.tensor(fog.horizon)[:, None].expand(3, 2), atol=1e-6)

    def test_a_reflected_lamp_is_where_optics_puts_it(self):
        """The mirror image of a lamp at (x, y, z) in the road y = 0 is seen at (x, -y, z)."""
        base = make_street(4)
        x, z = base.half_width + 0.5, 22.0
        street = dataclasses.replace(
            base,
            houses=(),
            trees=(),
            vehicles=(),
            people=(),
            lamps=((x, z),),
            crossing=500.0,
            view=(1.4, 0.0, 0.05, 1.0),
        )
        height, width = 360, 640
        view = rendering._look(street, 0.0, height, width, torch.device("cpu"))
        wet = WEATHERS["rainy_night"]
        light = sunlight(wet, street, torch.device("cpu"))
        mirrored = rendering._mirror(view, wet, light, height, width)[0].sum(0)
        place = torch.tensor(lamp_head(x, z)) * torch.tensor([1.0, -1.0, 1.0])
        camera = street.camera(0.0)
        ahead = rotation(camera.turn)[0].T @ (place - camera.position[0])
        column = width / 2 + height * float(camera.focal[0] * ahead[0] / ahead[2]) - 0.5
        row = height / 2 - height * float(camera.focal[0] * ahead[1] / ahead[2]) - 0.5
        weight = mirrored * (mirrored > 0.5 * mirrored.max())
        rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        assert float((weight * columns).sum() / weight.sum()) == pytest.approx(column, abs=3)
        assert float((weight * rows).sum() / weight.sum()) == pytest.approx(row, abs=10)  # the streak is along the rows

    def test_headlights_light_what_is_near_and_ahead(self):
        street = dataclasses.replace(make_street(4), houses=(), trees=(), vehicles=(), people=(), lamps=())
        night = luma(render_street(street, 0.0, ["night"], **SMALL).images["night"])
        assert night[70:85, 60:100].mean() > 2 * night[70:85, :15].mean()

    def test_lamps_reach_the_road_below_them(self):
        street = make_street(4)
        lamps = lights(street, 0.0)
        assert lamps.position.shape == (1, 14, 3)
        assert torch.allclose(lamps.direction.norm(dim=-1), torch.tensor(1.0), atol=1e-5)
        assert len(solids(street, 0.0)) > 100


class TestADrive:
    def test_the_camera_and_the_cars_move(self):
        street = make_street(4)
        assert street.camera(2.0).position[0, 2] == pytest.approx(2 * street.speed)
        car = next(v for v in street.vehicles if v.speed < 0)
        assert car.at(1.0) == car.z + car.speed

    def test_consecutive_frames_are_alike(self):
        street = make_street(4)
        first, second, later = (
            render_street(street, t, ["day"], **SMALL).images["day"].float() for t in (1, 1 + 1 / 30, 3)
        )
        assert (first - second).abs().mean() < 0.5 * (first - later).abs().mean()


def settings(out, **changes) -> StreetSettings:
    return StreetSettings(out, **({"frames": 2, "size": "96x64", "samples": 1, "workers": 1} | changes))


class TestWriting:
    def test_pairs_depth_and_labels(self, tmp_path):
        folders = render_drives(settings(tmp_path, weather=("night", "fog"), seed=5))
        assert [f.relative_to(tmp_path).as_posix() for f in folders] == ["day", "adverse/night", "adverse/fog"]
        for folder in (*folders, tmp_path / "depth", tmp_path / "labels"):
            assert sorted(p.stem for p in folder.iterdir()) == ["000005", "000006"]
        depth, labels = (np.asarray(Image.open(tmp_path / k / "000005.png")) for k in ("depth", "labels"))
        assert depth.dtype == np.uint16
        assert depth.shape == labels.shape == (64, 96)
        assert ((depth == 0) == (labels == SKY)).mean() > 0.99
        assert 200 < depth[-1].min() < 1000  # centimetres of road before the bonnet

    def test_a_second_run_only_adds(self, tmp_path):
        render_drives(settings(tmp_path))
        path = tmp_path / "day" / "000000.jpg"
        before = path.stat().st_mtime_ns
        (tmp_path / "day" / "000001.jpg").unlink()
        render_drives(settings(tmp_path, frames=3))
        assert path.stat().st_mtime_ns == before
        assert len(list((tmp_path / "day").iterdir())) == 3

    @pytest.mark.slow
    def test_one_and_two_workers_write_the_same(self, tmp_path):
        for workers in (1, 2):
            render_drives(settings(tmp_path / str(workers), workers=workers))
        for name in ("day/000001.jpg", "adverse/rainy_night/000000.jpg", "depth/000001.png"):
            assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()

    def test_a_clip(self, tmp_path):
        clips = render_drives(settings(tmp_path, clip=True, frames=4, weather=("night",), depth=False))
        assert [c.relative_to(tmp_path).as_posix() for c in clips] == ["day/000000.mp4", "adverse/night/000000.mp4"]
        with ClipReader(clips[0]) as clip:
            frames = [f.rgb for f in clip]
        assert len(frames) == 4
        assert frames[0].shape == (64, 96, 3)
        for clip, weather in zip(clips, ("day", "night"), strict=True):
            with av.open(clip) as container:
                assert container.metadata["comment"] == f"gen: rendered, {weather}"
        assert not (tmp_path / "day" / "000000").exists()  # the frames that it was encoded from

    def test_clips_of_several_streets_in_one_folder(self, tmp_path):
        for seed in (0, 1, 0):
            render_drives(settings(tmp_path, clip=True, frames=2, weather=("night",), depth=False, seed=seed))
        assert [path.name for path in sorted((tmp_path / "day").iterdir())] == ["000000.mp4", "000001.mp4"]
        (tmp_path / "day" / "000002.mp4").touch()  # of somebody else
        for seed, frames in ((1, 2), (2, None)):
            with pytest.raises(BadSetting, match=f"frames of clip {seed}={frames}, not 3"):
                render_drives(settings(tmp_path, clip=True, frames=3, weather=("night",), depth=False, seed=seed))

    def test_a_finished_clip_gets_the_depth_that_a_later_run_asks_for(self, tmp_path):
        clips = render_drives(settings(tmp_path, clip=True, frames=2, weather=("night",), depth=False))
        before = [clip.read_bytes() for clip in clips]
        assert render_drives(settings(tmp_path, clip=True, frames=2, weather=("night",))) == clips
        for kind in ("depth", "labels"):
            assert [p.name for p in sorted((tmp_path / kind / "000000").iterdir())] == ["00000.png", "00001.png"]
        assert [clip.read_bytes() for clip in clips] == before
        assert not (tmp_path / "day" / "000000").exists()

    def test_preview(self, tmp_path):
        (path,) = render_drives(settings(tmp_path, preview=True))
        with Image.open(path) as sheet:
            assert sheet.size == (2 * 96, 4 * 64)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"size": "big"}, "size must be WIDTHxHEIGHT"),
            ({"frames": 0}, "at least 1"),
            ({"clip": True, "size": "95x64"}, "an even width and an even height"),
            ({"device": "cuda"}, "device=cuda"),
            ({"seed": -3}, "seed must be a whole number"),
        ],
    )
    def test_bad_settings_are_told(self, tmp_path, changes, message):
        if changes.get("device") == "cuda" and torch.cuda.is_available():
            pytest.skip("this machine has a GPU")
        with pytest.raises(BadSetting, match=message):
            render_drives(settings(tmp_path, **changes))

    def test_a_folder_holds_pictures_of_one_kind(self, tmp_path):
        render_drives(settings(tmp_path, frames=1))
        with pytest.raises(BadSetting, match="rendered with size='96x64', not '64x64'"):
            render_drives(settings(tmp_path, frames=1, size="64x64"))

    def test_a_file_in_the_way_is_told(self, tmp_path):
        (tmp_path / "out").write_text("")
        with pytest.raises(BadSetting, match="is a file; give a folder"):
            render_drives(settings(tmp_path / "out"))
