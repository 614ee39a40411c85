"""Statistics of large tensors."""

import pytest
import torch

from gen.tensors import spatial_moments


@pytest.mark.parametrize("mean", [0.0, 3.0, 1000.0])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_moments_are_those_in_float64(mean, layout):
    x = (torch.randn(2, 5, 33, 70, generator=torch.Generator().manual_seed(0)) + mean).to(memory_format=layout)
    variance, middle = spatial_moments(x)
    assert variance.shape == middle.shape == (2, 5, 1, 1)
    torch.testing.assert_close(middle.double(), x.double().mean((2, 3), keepdim=True), atol=1e-6, rtol=1e-6)
    expected = x.double().var((2, 3), correction=0, keepdim=True)
    torch.testing.assert_close(variance.double(), expected, atol=1e-6, rtol=1e-3 if mean > 100 else 1e-5)


def test_moments_have_gradients_of_both_orders():
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(spatial_moments, x)
    assert torch.autograd.gradgradcheck(spatial_moments, x)


def test_moments_of_half_precision_are_float32():
    x = torch.full((1, 1, 64, 64), 300.0, dtype=torch.bfloat16)
    variance, mean = spatial_moments(x)
    assert (variance.dtype, mean.dtype) == (torch.float32, torch.float32)
    assert (variance.item(), mean.item()) == (0.0, 300.0)


def test_one_pixel_has_no_variance():
    variance, mean = spatial_moments(torch.full((1, 2, 1, 1), 7.0))
    assert variance.flatten().tolist() == [0, 0]
    assert mean.flatten().tolist() == [7, 7]
