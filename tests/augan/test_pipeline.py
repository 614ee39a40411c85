"""The pipeline: whatever picture comes in, the same size goes out; saved and loaded; strips equal the whole."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gen import AUGANPipeline, BadInput, BadSetting
from gen.augan.networks import AUGANGenerator
from gen.augan.strips import translate_in_strips
from gen.media.resize import (
    resize,
    shrink_by_rows,
    to_float,
    to_uint8,
    transfer_change,
    transfer_change_by_opencv,
    transfer_change_in_bands,
)
from gen.translation.norm import StatisticsSmoother

WEIGHTS_SEED = 1


@pytest.fixture(scope="module")
def pipe() -> AUGANPipeline:
    return small_pipeline()


def small_pipeline(**changes) -> AUGANPipeline:
    torch.manual_seed(WEIGHTS_SEED)
    shape = {"width": 8, "blocks": 1, "reconstruction": False, "upsampling": "resize", **changes}
    pipe = AUGANPipeline(
        AUGANGenerator(transfer_blocks=1, uncertainty=True, **shape),
        AUGANGenerator(transfer_blocks=0, uncertainty=False, **shape),
        trained_height=32,
        trained_width=56,
    )
    for generator in (pipe.adverse_to_normal, pipe.normal_to_adverse):
        for p in generator.parameters():  # the published start is nearly grey: make differences visible
            p.data *= 4 if p.ndim > 1 and p.requires_grad else 1
    return pipe


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@given(st.integers(1, 45), st.integers(1, 45), st.sampled_from(["auto", None, (20, 24)]))
@settings(max_examples=40, deadline=None)
def test_any_size_in_same_size_out(height, width, resolution):
    out = small_pipeline()(picture(height, width), resolution=resolution, output_type="np")
    assert out.images[0].shape == (height, width, 3)
    assert out.uncertainty[0].shape == (height, width)
    assert np.isfinite(out.uncertainty[0]).all()
    assert out.uncertainty[0].min() >= 12.749


def test_kinds_of_input_agree(pipe, tmp_path):
    array = picture(24, 40)
    Image.fromarray(array).save(tmp_path / "x.png")
    tensor = torch.from_numpy(array).permute(2, 0, 1)
    kinds = [array, Image.fromarray(array), tmp_path / "x.png", tensor, tensor.float() / 255, tensor[None]]
    found = [pipe(x, output_type="np").images[0] for x in kinds]
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)
    together = pipe([array, str(tmp_path / "x.png"), Image.fromarray(array[:16])], output_type="np", batch_size=2)
    np.testing.assert_allclose(together.images[1].astype(int), found[0], atol=1)
    assert together.images[2].shape == (16, 40, 3)


def test_output_types(pipe):
    array = picture(24, 40)
    pil, arr, pt = (pipe(array, output_type=t).images[0] for t in ("pil", "np", "pt"))
    assert pil.size == (40, 24)
    np.testing.assert_array_equal(np.asarray(pil), arr)
    torch.testing.assert_close(pt, torch.from_numpy(arr).permute(2, 0, 1) / 255)


def test_both_directions(pipe):
    array = picture(24, 40)
    there = pipe(array, direction="adverse_to_normal")
    back = pipe(array, direction="normal_to_adverse")
    assert there.uncertainty is not None
    assert back.uncertainty is None
    with pytest.raises(BadSetting, match="direction"):
        pipe(array, direction="sideways")


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((4, 4, 3), np.int32),
        np.zeros((0, 4, 3)),
        picture(4, 4).astype(np.float32),  # 0 to 255
        torch.full((3, 4, 4), -1.0),  # -1 to 1
        np.full((4, 4, 3), np.nan),
    ],
)
def test_bad_pictures_are_refused_in_a_sentence(pipe, bad):
    with pytest.raises(BadInput, match="images"):
        pipe(bad)


def test_save_and_load_are_the_same_model(pipe, tmp_path):
    pipe.save_pretrained(tmp_path / "model")
    copy.deepcopy(pipe).to(torch.float16).save_pretrained(tmp_path / "model", variant="fp16")
    array = picture(40, 64)
    loaded = AUGANPipeline.from_pretrained(tmp_path / "model")
    assert (loaded.config.trained_height, loaded.config.trained_width) == (32, 56)
    np.testing.assert_array_equal(loaded(array, output_type="np").images[0], pipe(array, output_type="np").images[0])
    assert loaded.adverse_to_normal.dtype == torch.float32
    half = AUGANPipeline.from_pretrained(tmp_path / "model", variant="fp16", dtype=torch.bfloat16)
    assert AUGANPipeline.from_pretrained(tmp_path / "model", variant="fp16").adverse_to_normal.dtype == torch.float16
    a = half(array, output_type="np").images[0].astype(int)
    assert np.abs(a - pipe(array, output_type="np").images[0]).mean() < 4  # bf16 keeps eight bits


def test_what_a_folder_says_of_its_weights_goes_with_them(pipe, tmp_path):
    pipe.save_pretrained(tmp_path)
    pipe.save_pretrained(tmp_path, variant="fp16")
    for name in ("MODEL_CARD.md", "training.json"):
        (tmp_path / name).write_text("{}")
    AUGANPipeline.from_pretrained(tmp_path, variant="fp16").save_pretrained(tmp_path)  # the same weights, rounded
    assert (tmp_path / "MODEL_CARD.md").exists()
    assert (tmp_path / "training.json").exists()
    small_pipeline(width=16).save_pretrained(tmp_path)
    assert not (tmp_path / "MODEL_CARD.md").exists()
    assert not (tmp_path / "training.json").exists()
    assert not list(tmp_path.rglob("*.fp16.*"))  # they would be those of the old model
    assert {path.stat().st_mode & 0o044 for path in tmp_path.rglob("*.safetensors")} == {0o044}
    (tmp_path / "MODEL_CARD.md").write_text("{}")
    pipe.save_pretrained(tmp_path, variant="fp16")
    assert not (tmp_path / "MODEL_CARD.md").exists()
    half = [path.name for path in tmp_path.rglob("*.safetensors")]  # in full precision they would be the old model's
    assert half == ["diffusion_pytorch_model.fp16.safetensors"] * 2
    small_pipeline(width=16).save_pretrained(tmp_path, variant="fp16", max_shard_size="20KB")
    assert AUGANPipeline.from_pretrained(tmp_path, variant="fp16").adverse_to_normal.config["width"] == 16


def test_a_model_with_a_pretrained_encoder_is_saved_whole(tmp_path, recwarn):
    pipe = small_pipeline(design="light", exposure=30.0, pretrained=True)
    pipe.save_pretrained(tmp_path)
    array = picture(45, 61)
    again = AUGANPipeline.from_pretrained(tmp_path)
    assert np.array_equal(*(p(array, resolution=None, output_type="np").images[0] for p in (pipe, again)))
    assert not [w for w in recwarn if "no-op" in str(w.message)]


def test_a_missing_model_names_those_at_hand():
    with pytest.raises(BadInput, match="unknown model"):
        AUGANPipeline.from_pretrained("no-such-model")


@pytest.mark.parametrize(
    "shape",
    [
        {"upsampling": "deconv"},
        {"upsampling": "resize"},
        {"design": "light"},
        {"design": "light", "exposure": 30.0},
        {"design": "light", "exposure": 30.0, "pretrained": True},
    ],
)
@pytest.mark.parametrize("rows", [3, 8, 1000])
def test_strips_equal_the_whole_frame(shape, rows):
    """To a tenth of a grey level; the bound asked for is one."""
    pipe = small_pipeline(**shape)
    image = torch.rand(1, 3, 48, 64) * torch.linspace(-1, 1, 64)
    with torch.no_grad():
        whole = pipe.adverse_to_normal(image)
        strips = translate_in_strips(pipe.adverse_to_normal, image, rows)
    for ours, theirs in zip(strips, whole, strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=1e-3)
    whole_picture = pipe(picture(45, 61), resolution=None, output_type="np").images[0].astype(int)
    in_strips = pipe(picture(45, 61), resolution=None, tile=rows, output_type="np").images[0]
    assert np.abs(whole_picture - in_strips).max() <= 1


def test_strips_in_bf16_are_as_close_as_bf16_allows():
    pipe = small_pipeline().to(torch.bfloat16)
    whole = pipe(picture(45, 61), resolution=None, output_type="np").images[0].astype(int)
    in_strips = pipe(picture(45, 61), resolution=None, tile=8, output_type="np").images[0]
    assert np.abs(whole - in_strips).mean() < 1


def test_strips_with_smoothed_statistics():
    pipe = small_pipeline()
    frames = torch.from_numpy(np.stack([picture(24, 32, seed) for seed in range(3)]))
    found = []
    for tile in (None, 7):
        smoother = StatisticsSmoother(0.8)
        parts = [
            pipe.translate_frames(f[None], "adverse_to_normal", resolution=None, tile=tile, smoother=smoother)[0]
            for f in frames
        ]
        found.append(torch.cat(parts).int())
    assert (found[0] - found[1]).abs().max() <= 1


def test_smoothing_steadies_a_flickering_clip(pipe):
    """The same street under a lamp that goes on and off: with smoothing the translation changes less."""
    base = picture(32, 56).astype(float) * 0.3
    frames = np.stack([base + (60 if i % 2 else 0) * (np.arange(56) > 40)[None, :, None] for i in range(8)])
    frames = torch.from_numpy(frames.astype(np.uint8))

    def change(smoother):
        out = [pipe.translate_frames(f[None], "adverse_to_normal", smoother=smoother)[0].float() for f in frames]
        return torch.stack(out)[:, :, :, :30].diff(dim=0).abs()[2:].mean().item()

    assert change(StatisticsSmoother(0.9)) < 0.6 * change(None)


def test_change_is_carried_along_edges():
    """A brightening that depends on luma, made on a coarse grid, must neither bleed over an edge nor blur it."""
    native = torch.full((1, 3, 64, 64), -0.9)
    native[..., 30:] = 0.3
    target = 0.4 + 0.5 * native
    small = torch.nn.functional.interpolate(native, size=(16, 16), mode="bilinear", antialias=True)
    translated = 0.4 + 0.5 * small
    found = transfer_change(native, small, translated)
    plain = native + torch.nn.functional.interpolate(translated - small, size=(64, 64), mode="bilinear")
    assert (found - target).abs().mean() < 0.1 * (plain - target).abs().mean()


def test_an_unchanged_picture_stays_as_it_is():
    native = torch.rand(1, 3, 50, 70) * 2 - 1
    small = torch.nn.functional.interpolate(native, size=(20, 28), mode="bilinear", antialias=True)
    torch.testing.assert_close(transfer_change(native, small, small), native)


def test_at_equal_sizes_the_result_is_the_translation():
    """What the fit to the frame's luma leaves over, which is what the network painted itself, must not be lost."""
    native, translated = torch.rand(2, 1, 3, 40, 56) * 2 - 1
    torch.testing.assert_close(transfer_change(native, native, translated), translated)


def test_painted_detail_survives_the_way_to_native_size():
    """A sign that the network paints on a flat wall: the fit to the wall's luma alone would smear it over the wall."""
    native, small = torch.zeros(1, 3, 80, 80), torch.zeros(1, 3, 40, 40)
    translated = small.clone()
    translated[..., 18:22, 18:22] = 0.8
    found = transfer_change(native, small, translated)
    assert found[..., 38:42, 38:42].mean() > 0.75
    assert found[..., 50:, :].abs().max() < 0.01


@pytest.mark.parametrize("size", [(64, 96), (45, 67), (720, 41)])
@pytest.mark.parametrize("way", [transfer_change_by_opencv, transfer_change_in_bands])
def test_all_ways_to_native_size_agree(way, size):
    frames = torch.randint(0, 256, (2, *size, 3), dtype=torch.uint8)
    native = to_float(frames.permute(0, 3, 1, 2))
    small = torch.nn.functional.interpolate(native, size=(20, 28), mode="bilinear", antialias=True)
    translated = torch.rand(small.shape) * 2.4 - 1.2
    expected = to_uint8(transfer_change(native, small, translated)).permute(0, 2, 3, 1).int()
    difference = (way(frames, small, translated).int() - expected).abs()
    assert difference.max() <= 1
    assert difference.float().mean() < 0.01


@pytest.mark.parametrize("size", [(20, 28), (33, 50), (7, 66)])
def test_frames_shrink_by_rows_as_at_once(size):
    frames = torch.randint(0, 256, (2, 45, 67, 3), dtype=torch.uint8)
    expected = resize(to_float(frames.permute(0, 3, 1, 2)), size)
    torch.testing.assert_close(shrink_by_rows(frames, size), expected, atol=2e-6, rtol=0)


def test_a_save_that_fails_leaves_the_old_model(pipe, tmp_path):
    pipe.save_pretrained(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(Exception, match="not supported"):
        small_pipeline(width=16).save_pretrained(tmp_path, max_shard_size="as you like")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_network_that_the_new_model_lacks_goes(tmp_path):
    pipe = small_pipeline()
    pipe.save_pretrained(tmp_path)
    (tmp_path / "MODEL_CARD.md").write_text("of both directions")
    pipe.register_modules(normal_to_adverse=None)
    pipe.save_pretrained(tmp_path)
    assert not (tmp_path / "normal_to_adverse").exists()
    assert not (tmp_path / "MODEL_CARD.md").exists()
    assert AUGANPipeline.from_pretrained(tmp_path).normal_to_adverse is None
