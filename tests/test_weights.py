"""From a name to a folder, and the shipped models."""

import numpy as np
import pytest

from gen import AUGANPipeline, BadInput, weights


def test_names_paths_and_hub_ids(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "model_index.json").write_text("{}")
    monkeypatch.setenv("GEN_WEIGHTS", str(tmp_path))
    assert weights.resolve("mine") == str(tmp_path / "mine")
    assert weights.resolve(tmp_path / "mine") == str(tmp_path / "mine")
    assert weights.resolve("someone/their-model") == "someone/their-model"
    assert "mine" in weights.available()
    with pytest.raises(BadInput, match=r"nothing: no model of this name.*mine"):
        weights.resolve("nothing")


def test_the_shipped_model_brightens_a_night_and_knows_where_lamps_are(shared_data):
    pipe = AUGANPipeline.from_pretrained("augan-night2day")
    frames = sorted((shared_data / "driving" / "val" / "night").glob("*.jpg"))[::25]
    days = sorted((shared_data / "driving" / "val" / "day").glob("*.jpg"))[::25]
    out = pipe(frames, direction="adverse_to_normal", output_type="np")
    before = np.mean([pipe_input(f).mean() for f in frames])
    after = np.mean([image.mean() for image in out.images])
    real = np.mean([pipe_input(f).mean() for f in days])
    assert abs(after - real) < 0.35 * abs(before - real)
    ratios = []
    for frame, scale in zip(frames, out.uncertainty, strict=True):
        lamps = pipe_input(frame).max(axis=2) > 240
        if 50 < lamps.sum() < lamps.size / 4:
            ratios.append(scale[lamps].mean() / scale[~lamps].mean())
    assert np.mean(ratios) > 1.2
    night = pipe(days[0], direction="normal_to_adverse", output_type="np").images[0]
    assert night.mean() < 0.6 * pipe_input(days[0]).mean()


@pytest.mark.parametrize("name", ["augan-night2day", "augan-fog2clear"])
def test_the_shipped_maps_say_that_what_cannot_be_seen_is_made_up(shared_data, name):
    """On real frames: half of each is blacked out (night) or whited out (fog)."""
    pipe = AUGANPipeline.from_pretrained(name)
    folder = {"augan-night2day": "driving/val/night", "augan-fog2clear": "motorway/fog"}[name]
    frames = [pipe_input(path) for path in sorted((shared_data / folder).glob("*.jpg"))[::60]]
    for frame in frames:
        frame[:, : frame.shape[1] // 2] = 0 if name == "augan-night2day" else 200
    shares = [np.split(share, 2, axis=1) for share in pipe(frames, output_type="np").invented]
    hidden, seen = (np.mean([half[side].mean() for half in shares]) for side in (0, 1))
    assert hidden > seen + 0.1


def test_the_shipped_fog_weights_clear_the_air(shared_data):
    pipe = AUGANPipeline.from_pretrained("augan-fog2clear")
    frames = sorted((shared_data / "motorway" / "fog").glob("*.jpg"))[::40]
    images = pipe(frames, output_type="np").images
    before, after = ([contrast(picture) for picture in pictures] for pictures in (map(pipe_input, frames), images))
    assert np.mean(after) > 1.1 * np.mean(before)
    for frame, image in zip(frames, images, strict=True):
        sky = slice(0, len(image) // 4)
        assert image[sky].mean() < pipe_input(frame)[sky].mean() + 5  # no brighter


def contrast(picture: np.ndarray) -> float:
    """Mean difference between places four pixels apart, grey levels."""
    grey = picture.astype(float).mean(2)
    return np.abs(grey[:, 4:] - grey[:, :-4]).mean()


def pipe_input(path) -> np.ndarray:
    from gen.media.images import decode_still

    return decode_still(path).rgb
