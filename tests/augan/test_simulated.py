"""Simulated weather: each part does what its equation says, and the command writes pairs that training takes."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from kornia.color import linear_rgb_to_rgb, rgb_to_linear_rgb
from PIL import Image, ImageCms

import gen.cli
from gen import BadInput, BadSetting
from gen.augan.simulated.lights import glare, mirrored, shifted, smeared
from gen.augan.simulated.murk import (
    Air,
    air_light,
    along_edges,
    behind_wiper,
    corridor,
    hazy,
    through_drops,
    veiled,
)
from gen.augan.simulated.night import exposure, make_night, shadows
from gen.augan.simulated.pairs import SIMULATIONS, simulate_frame, write_pairs
from gen.augan.simulated.scene import sky_share, view_of
from gen.augan.simulated.settings import SimulateSettings
from gen.training.data import match_pairs
from gen.training.frames import load_frames
from tests.conftest import street


def day_frame(seed: int = 0, height: int = 96, width: int = 160) -> torch.Tensor:
    """(3, H, W) in [-1, 1]: a white sky over grey ground with darker blocks."""
    rng = np.random.default_rng(seed)
    picture = np.full((height, width, 3), 0.85, np.float32)
    picture[height // 2 :] = 0.35
    for left in rng.integers(0, width - 16, 6):
        picture[height // 3 : height * 2 // 3, left : left + 12] = rng.uniform(0.1, 0.35, 3)
    return torch.from_numpy(picture).permute(2, 0, 1) * 2 - 1


def test_places_are_in_heights_from_the_middle_of_the_upper_edge():
    view = view_of(100, 200)
    assert view.x.shape == view.y.shape == (100, 200)
    assert (view.x[0, 0], view.x[0, 100], view.y[0, 0], view.y[50, 0]) == (-1, 0, 0, 0.5)
    assert view.squared_distance(-1, 0.5)[80, 0].item() == pytest.approx(0.3**2)


def test_the_sky_is_above_and_bright():
    frame = (day_frame() + 1) / 2
    sky = sky_share(frame)[0]
    assert sky.shape == (96, 160)
    assert (sky >= 0).all()
    assert (sky <= 1.0001).all()
    assert sky[:24].mean() > 0.9
    assert sky[56:].max() < 0.05
    assert sky_share(torch.full((3, 96, 160), 0.1)).max() == 0  # a tunnel has none


@pytest.mark.parametrize("luma", [5 / 255, 25 / 255, 100 / 255])
def test_exposure_reaches_the_mean_that_was_asked_for(luma):
    light = torch.rand(3, 64, 96, generator=torch.Generator().manual_seed(1)) ** 3
    exposed = linear_rgb_to_rgb((light * exposure(light, luma)).clamp(0, 1))
    assert exposed[:, ::4, ::4].mean().item() == pytest.approx(luma, rel=0.01)


@pytest.mark.parametrize("weather", SIMULATIONS)
def test_a_frame_is_a_function_of_its_seed(weather):
    day, make = day_frame(), SIMULATIONS[weather]
    first, again, other = make(day, 3), make(day, 3), make(day, 4)
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert (first != other).any()
    assert first.shape == day.shape
    assert first.isfinite().all()
    assert first.abs().max() <= 1


def test_nights_are_as_dark_as_dash_cam_nights_and_their_sky_is_dark():
    """BDD100K's nights: frame means of 11 to 47 grey levels from the 5th to the 95th percentile, the middle one 27."""
    nights = torch.stack([(make_night(day_frame(seed), seed) + 1) * 127.5 for seed in range(40)])
    means = nights.mean((1, 2, 3))
    assert 15 < means.median() < 40
    assert means.max() < 110
    assert nights[:, :, :24].median() < 25  # lamps are brighter, the sky is not


def test_nights_have_lamps_by_day_there_are_none():
    dark = torch.full((3, 96, 160), -0.6)
    assert max(make_night(dark, seed).max() for seed in range(5)) > 0.9


def test_the_sky_behind_wires_is_sky():
    frame = (day_frame() + 1) / 2
    frame[:, 4:12] = 0.05  # a cable across the whole frame: nothing below it is open to the upper edge
    frame[:, :, 40:42] = 0.05
    frame[:, :8, 60:] = 0.85  # but here
    sky = sky_share(frame)[0]
    assert sky[16:24, 4:36].min() > 0.8
    assert sky[7:9, 10:30].max() < 0.5


def test_light_ends_at_the_edges_of_things():
    halves = torch.full((3, 96, 160), 0.2)
    halves[:, :, 80:] = 0.8
    step, smooth = (
        torch.stack([shadows(picture, np.random.default_rng(seed)).log() for seed in range(20)])
        for picture in (halves, torch.full((3, 96, 160), 0.5))
    )
    assert (step[..., 80] - step[..., 79]).square().mean() > 4 * (smooth[..., 80] - smooth[..., 79]).square().mean()


def test_a_smear_draws_a_point_out_along_its_line_and_keeps_its_light():
    point = torch.zeros(3, 101, 101)
    point[:, 50, 50] = 1
    line = smeared(point, 0.0, 0.1)
    assert line.sum().item() / 3 == pytest.approx(1, rel=0.15)  # cut off after 1/e^2
    assert line[:, 49].max() == line[:, 51].max() == 0
    torch.testing.assert_close(line[0, 50, 60], line[0, 50, 50] * np.exp(-10 / 10.1), rtol=1e-4, atol=0)
    torch.testing.assert_close(line, line.flip(2))


@pytest.mark.parametrize(("down", "right"), [(0, 0), (3, -2), (-4, 5), (99, 0), (0, -99)])
def test_what_moves_in_is_dark(down, right):
    light = torch.rand(3, 10, 12)
    moved = shifted(light, down, right)
    for y in range(10):
        for x in range(12):
            inside = 0 <= y - down < 10 and 0 <= x - right < 12
            assert torch.equal(moved[:, y, x], light[:, y - down, x - right] if inside else torch.zeros(3))


def test_glass_and_water_add_light_where_lamps_are_and_nothing_to_the_dark():
    view = view_of(96, 160)
    dark, lit = torch.zeros(3, 96, 160), torch.zeros(3, 96, 160)
    lit[:, 40:44, 80:84] = 5
    for seed in range(10):
        for effect in (lambda x, rng: glare(x, view, rng), lambda x, rng: mirrored(x, view, 0.5, rng)):
            assert effect(dark, np.random.default_rng(seed)).abs().max() == 0
            assert effect(lit, np.random.default_rng(seed)).sum() >= lit.sum() - 1e-3
    images = torch.stack([mirrored(lit, view, 0.5, np.random.default_rng(seed)) for seed in range(20)])
    assert images[:, :, 52:].amax((1, 2, 3)).gt(0).any()


def test_distance_is_that_of_a_road_between_walls():
    view = view_of(96, 160)
    metres = corridor(view, 0.5, np.random.default_rng(0))
    assert (metres.diff(dim=0) <= 0).all()  # the road comes nearer towards the lower edge
    assert metres[-1].max().item() == pytest.approx(1.3 / (95 / 96 - 0.5))
    assert metres[:48, 0].max() < 80 / 0.5  # a wall that begins at most 80 metres to the side
    assert metres[:48].max() >= 200


def test_what_has_no_dark_pixels_is_taken_to_be_far_above_the_road_alone():
    view = view_of(96, 160)
    halves = torch.full((3, 96, 160), 0.05)
    halves[:, :, 80:] = 0.6
    farther = hazy(halves, view, 0.5, np.random.default_rng(0))
    assert (farther >= 1).all()
    assert farther[:30, 90:].min() > farther[:30, :70].max()
    assert farther[70:].max() < 1.01


def test_distances_change_where_the_picture_does():
    metres = torch.full((96, 160), 20.0)
    metres[:, 76:] = 200  # a guess that is four pixels off
    halves = torch.full((3, 96, 160), 0.2)
    halves[:, :, 80:] = 0.8
    cut = along_edges(metres, halves).log()
    assert (cut[:, 80] - cut[:, 79]).min() > 4 * (cut[:, 76] - cut[:, 75]).max()


def test_fog_is_koschmieders_law():
    """In clear air the ground stays; in thick fog, and where the sky was, there is the light of the air alone."""
    day, view = day_frame(), view_of(96, 160)
    clear, some, thick = (
        veiled(day, view, 0.5, Air(visibility, 0.6, 0.1), np.random.default_rng(0)) for visibility in (1e9, 100, 1e-3)
    )
    air = air_light(view, 0.5, 0.6, np.random.default_rng(0))
    torch.testing.assert_close(thick, air, rtol=0, atol=1e-6)
    torch.testing.assert_close(some[:, :20], air[:, :20], rtol=0, atol=1e-3)
    ground = slice(72, None)  # grey or not, as bright
    assert (clear.mean(0) - rgb_to_linear_rgb((day + 1) / 2).mean(0))[ground].abs().max() < 1e-3
    passed = (some - air)[:, 48:] / (clear - air)[:, 48:]  # the same share of each colour
    assert (passed.amax(0) - passed.amin(0)).median() < 1e-3
    assert ((passed > -1e-3) & (passed < 1.001)).float().mean() > 0.98


def test_drops_leave_the_glass_between_them_alone_and_a_wiper_takes_light():
    light, view = rgb_to_linear_rgb((day_frame() + 1) / 2), view_of(96, 160)
    for seed in range(5):
        wet = through_drops(light, view, np.random.default_rng(seed))
        assert 0 < ((wet - light).abs() > 0.02).float().mean() < 0.5
        wiped = behind_wiper(light, view, np.random.default_rng(seed))
        assert (wiped <= light).all()
        assert (wiped < 0.7 * light).float().mean() < 0.4


def test_fog_takes_contrast_and_rain_takes_light():
    days = torch.stack([day_frame(seed) for seed in range(10)])
    fogs, rains = (torch.stack([SIMULATIONS[w](d, i) for i, d in enumerate(days)]) for w in ("fog", "rain"))
    assert fogs.std((2, 3)).mean() < 0.8 * days.std((2, 3)).mean()
    assert rains.mean() < days.mean()


@pytest.fixture
def days(tmp_path: Path) -> Path:
    folder = tmp_path / "days"
    (folder / "drive").mkdir(parents=True)
    for place, name in enumerate(("a.png", "a.jpg", "drive/b.png")):
        Image.fromarray(street(np.random.default_rng(place), night=False, height=96, width=160)).save(folder / name)
    return folder


def test_the_command_writes_pairs_and_goes_on_where_it_stopped(days, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["simulate-weather", str(days), str(out), "--rows", "72", "--workers", "1"]
    assert gen.cli.main(command) == 0
    assert "3 days and 6 frames of night" in capsys.readouterr().out
    names = {"a.png.jpg", "a.jpg.jpg", "drive__b.png.jpg"}
    for folder in ("day", "adverse/0", "adverse/1"):
        assert {p.name for p in (out / folder).iterdir()} == names
    adverse, day = (load_frames(n, out / n, tmp_path / "cache", 72, (64, 96)) for n in ("adverse", "day"))
    pairs = match_pairs(adverse, day, 0.5)
    assert len(pairs.adverse) == len(pairs.normal) == 6
    assert pairs.adverse.sizes[0] == (72, 120)
    before = {p: p.read_bytes() for p in out.rglob("*.jpg")}
    (out / "adverse" / "1" / "a.png.jpg").unlink()
    assert gen.cli.main(command) == 0
    assert {p: p.read_bytes() for p in out.rglob("*.jpg")} == before


def test_a_preview_shows_every_weather(days, tmp_path, capsys):
    assert gen.cli.main(["simulate-weather", str(days), str(tmp_path / "out"), "--rows", "72", "--preview"]) == 0
    picture = Image.open(tmp_path / "out" / "preview.jpg")
    assert picture.size == (3 * 120, 4 * 72)
    assert str(tmp_path / "out" / "preview.jpg") in capsys.readouterr().out


def test_another_weather_in_the_same_folder_is_refused(days, tmp_path):
    write_pairs(SimulateSettings(days, tmp_path / "out", rounds=1, workers=1))
    with pytest.raises(BadSetting, match=r"weather='night', not 'fog'"):
        write_pairs(SimulateSettings(days, tmp_path / "out", weather="fog", workers=1))
    assert json.loads((tmp_path / "out" / "render.json").read_text())["weather"] == "night"


def test_a_broken_or_narrow_day_is_named_and_the_rest_is_made(days, tmp_path, capsys):
    (days / "broken.jpg").write_bytes(b"no picture")
    Image.new("RGB", (2, 96)).save(days / "aaa.png")
    assert gen.cli.main(["simulate-weather", str(days), str(tmp_path / "out"), "--rounds", "1", "--workers", "1"]) == 1
    told = capsys.readouterr().out
    assert "3 days and 3 frames" in told
    assert "broken.jpg" in told
    assert "aaa.png: 2 columns for 96 rows are too narrow" in told


@pytest.mark.parametrize("weather", ["night", "fog", "rain"])
def test_the_least_width_is_wide_enough(weather):
    for height, width in ((1, 2), (15, 2), (32, 3), (288, 19)):
        frame = np.full((height, width, 3), 128, np.uint8)
        assert simulate_frame(frame, weather, 1).shape == frame.shape


def test_pairs_keep_the_colour_profile_of_their_day(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    (tmp_path / "days").mkdir()
    Image.fromarray(street(np.random.default_rng(0), 96, 160, False)).save(
        tmp_path / "days" / "a.jpg", icc_profile=profile
    )
    write_pairs(SimulateSettings(tmp_path / "days", tmp_path / "out", rounds=1, rows=72, workers=1))
    for name in ("day/a.jpg.jpg", "adverse/0/a.jpg.jpg"):
        with Image.open(tmp_path / "out" / name) as image:
            assert image.info["icc_profile"] == profile


def test_names_that_are_too_long_or_become_the_same_cost_nothing(days, tmp_path):
    for name in ("drive__b.png", f"{'n' * 250}.png"):
        shutil.copy(days / "drive" / "b.png", days / name)
    assert write_pairs(SimulateSettings(days, tmp_path / "out", rounds=1, rows=72, workers=1)) == (5, [])
    for folder in ("day", "adverse/0"):
        assert len(list((tmp_path / "out" / folder).iterdir())) == 5


def test_a_frame_of_the_same_name_is_not_taken_for_the_one_that_was_there(days, tmp_path):
    """Of another drive, or put in its place; its time may be older than the pair's."""
    settings = SimulateSettings(days, tmp_path / "out", rounds=1, rows=72, workers=1)
    assert write_pairs(settings) == (3, [])
    before = {p: p.read_bytes() for p in (tmp_path / "out").rglob("*.jpg")}
    Image.fromarray(street(np.random.default_rng(9), night=False, height=96, width=160)).save(days / "a.png")
    (days / "a.jpg").write_bytes(b"no picture")
    for name in ("a.png", "a.jpg"):
        os.utime(days / name, (1e9, 1e9))
    made, broken = write_pairs(settings)
    assert (made, len(broken)) == (2, 1)
    assert "a.jpg" in broken[0]
    changed = {p.relative_to(tmp_path / "out").as_posix() for p, content in before.items() if p.read_bytes() != content}
    assert changed == {"day/a.png.jpg", "adverse/0/a.png.jpg"}


def test_days_that_those_of_another_folder_replace_are_told(tmp_path, caplog):
    for number, camera in enumerate(("one", "two")):
        (tmp_path / camera).mkdir()
        frame = street(np.random.default_rng(number), night=False, height=96, width=160)
        Image.fromarray(frame).save(tmp_path / camera / "0.png")
        write_pairs(SimulateSettings(tmp_path / camera, tmp_path / "out", rounds=1, rows=72, workers=1))
    assert [line for line in caplog.messages if "replace them" in line] == [
        f"{tmp_path / 'out'}: 1 of its days were made of other pictures than those of their names in "
        f"{tmp_path / 'two'}, which replace them where they can be read, for example 0.png.jpg"
    ]


def test_fewer_rounds_leave_no_frame_of_a_day_that_was_replaced(days, tmp_path, capsys):
    """Training pairs by name whatever lies in the folder, and the summary counts it."""
    out = tmp_path / "out"
    command = ["simulate-weather", str(days), str(out), "--rows", "72", "--workers", "1", "--rounds"]
    assert gen.cli.main([*command, "2"]) == 0
    Image.fromarray(street(np.random.default_rng(9), night=False, height=96, width=160)).save(days / "a.png")
    (days / "a.jpg").unlink()
    assert gen.cli.main([*command, "1"]) == 0
    assert {p.name for p in (out / "adverse" / "1").iterdir()} == {"a.jpg.jpg", "drive__b.png.jpg"}
    told = capsys.readouterr().out
    assert "3 days and 5 frames of night.\n1 of the days" in told


@pytest.mark.parametrize("changes", [{"rounds": 0}, {"rows": 8}, {"seed": -1}])
def test_settings_that_make_no_sense(days, tmp_path, changes):
    with pytest.raises(BadSetting):
        write_pairs(SimulateSettings(days, tmp_path / "out", **changes))


def test_frames_are_not_written_among_the_days(days):
    with pytest.raises(BadSetting, match="would be read as days"):
        write_pairs(SimulateSettings(days, days / "nights"))


def test_a_folder_without_pictures(tmp_path):
    with pytest.raises(BadInput, match="no such folder"):
        write_pairs(SimulateSettings(tmp_path / "none", tmp_path / "out"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="no images"):
        write_pairs(SimulateSettings(tmp_path / "empty", tmp_path / "out"))
