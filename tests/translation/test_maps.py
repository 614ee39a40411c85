"""Statistics of uncertainty maps."""

import numpy as np
import pytest
import torch

from gen.translation.maps import percentile


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (40, 50)])
@pytest.mark.parametrize("q", [0, 50, 95, 100])
def test_percentile(shape, q):
    values = torch.rand(shape)
    assert percentile(values, q) == np.percentile(values.numpy(), q, method="lower")
