import numpy as np
import torch
from torchvision.transforms.v2.functional import adjust_saturation, horizontal_flip, resized_crop, rgb_to_grayscale

from gen.smos import augment as module
from gen.smos.augment import augment, crop_box


def smooth(count: int, size: int = 32) -> torch.Tensor:
    g = torch.Generator().manual_seed(0)
    return torch.nn.functional.interpolate(torch.rand(count, 3, 5, 5, generator=g), (size, size), mode="bilinear")


def test_crops_are_those_of_random_resized_crop() -> None:
    rng = np.random.default_rng(0)
    boxes = np.array([crop_box(rng) for _ in range(3000)])
    left, top, width, height = boxes.T
    area, aspect = width * height, width / height
    assert left.min() >= 0
    assert top.min() >= 0
    assert (left + width).max() <= 1 + 1e-9
    assert (top + height).max() <= 1 + 1e-9
    assert area.min() >= 0.7 - 1e-9
    assert area.max() <= 1
    assert aspect.min() >= 3 / 4 - 1e-9
    assert aspect.max() <= 4 / 3 + 1e-9
    assert abs(np.log(aspect).mean()) < 0.01
    assert 0.7 < area.mean() < 0.85


def test_a_crop_is_where_it_says_and_a_flip_is_a_flip() -> None:
    images = smooth(1, 64)
    box = (8 / 64, 16 / 64, 48 / 64, 32 / 64)
    wanted = resized_crop(images, 16, 8, 32, 48, [64, 64], antialias=False)
    # Their crop knows nothing outside the box, so the outermost pixels may differ.
    inner = (..., slice(2, -2), slice(2, -2))
    torch.testing.assert_close(module.resized_crop(images, [box], [False])[inner], wanted[inner], atol=1e-4, rtol=0)
    flipped = horizontal_flip(wanted)
    torch.testing.assert_close(module.resized_crop(images, [box], [True])[inner], flipped[inner], atol=1e-4, rtol=0)


def test_a_picture_does_not_depend_on_its_batch() -> None:
    images = smooth(5)
    keys = [(3, n) for n in range(5)]
    together = augment(images, keys)
    for n in range(5):
        torch.testing.assert_close(augment(images[n : n + 1], keys[n : n + 1])[0], together[n], atol=1e-6, rtol=0)
    assert not torch.equal(augment(images, [(4, n) for n in range(5)]), together)


def test_colours_stay_within_range_and_one_in_ten_is_grey() -> None:
    out = augment(smooth(1, 8).expand(1000, -1, -1, -1), [(0, n) for n in range(1000)])
    assert out.min() >= 0
    assert out.max() <= 1
    grey = (out - out.mean(1, keepdim=True)).abs().amax((1, 2, 3)) < 1e-4
    assert 70 < int(grey.sum()) < 130


def test_colour_operations_are_torchvisions() -> None:
    """Saturation blends with grey, contrast with the mean of the grey picture: the two that are easily mistaken."""
    images = smooth(2)
    enhance = module.enhance
    factor = torch.tensor([1.25, 0.8])
    ours = enhance.adjust_saturation_with_gray_subtraction(images, factor)
    theirs = torch.stack([adjust_saturation(i, f.item()) for i, f in zip(images, factor, strict=True)])
    torch.testing.assert_close(ours, theirs, atol=3e-3, rtol=0)
    ours = enhance.adjust_contrast_with_mean_subtraction(images, factor)
    means = rgb_to_grayscale(images).mean((1, 2, 3), keepdim=True)
    theirs = (means + (images - means) * factor.view(-1, 1, 1, 1)).clamp(0, 1)
    torch.testing.assert_close(ours, theirs, atol=3e-3, rtol=0)
