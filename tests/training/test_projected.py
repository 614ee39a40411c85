"""The frozen projector and the heads that learn on it."""

import torch
import torch.nn.functional as F

from gen.pretrained import efficientnet_lite0
from gen.training.projected import SPREAD, ProjectedHeads, Projector


def images(count: int = 2) -> torch.Tensor:
    return torch.rand(count, 3, 64, 96, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_maps_at_four_strides():
    shapes = [tuple(x.shape) for x in Projector(16, seed=0)(images())]
    assert shapes == [(2, 19, 16, 24), (2, 19, 8, 12), (2, 19, 4, 6), (2, 19, 2, 3)]


def test_a_projector_is_a_function_of_its_seed():
    one, same, other = (Projector(16, seed)(images())[0] for seed in (3, 3, 4))
    assert torch.equal(one, same)
    assert not torch.allclose(one, other)


def test_mixing_against_the_packages_own_network():
    """Every map from the unfolded network, mixed by plain matrix products from coarse to fine."""
    projector = Projector(8, seed=5)
    network = efficientnet_lite0().eval()
    x = ((images() + 1) * 127.5 - 127) / 128
    x = network._bn0(network._conv_stem(x)).clamp(0, 6)
    maps = []
    for index, block in enumerate(network._blocks):
        x = block(x)
        if index in (2, 4, 10, 15):
            maps.append(x)
    mixed = None
    found = projector(images())
    for level in (3, 2, 1, 0):
        own = torch.einsum("oi,bihw->bohw", projector.channels[level].weight[..., 0, 0], maps[level])
        if mixed is not None:
            up = torch.einsum("oi,bihw->bohw", projector.scales[level].weight[..., 0, 0], mixed)
            own = (own + F.interpolate(up, own.shape[2:], mode="bilinear")) / 2**0.5
        mixed = own
        torch.testing.assert_close(found[level][:, :8] * SPREAD[level], own, atol=2e-3, rtol=2e-3)


def test_the_last_channels_are_the_picture() -> None:
    for level, seen in enumerate(Projector(8, seed=0)(images())):
        side = 4 * 2**level
        pooled = images().unflatten(2, (-1, side)).unflatten(4, (-1, side)).mean((3, 5))
        torch.testing.assert_close(seen[:, 8:], pooled, atol=1e-5, rtol=1e-4)


def test_a_darker_picture_looks_darker_to_the_heads() -> None:
    """What the frozen network alone hardly tells: half of the light."""
    light, dark = (Projector(8, seed=0)(x) for x in (images(), (images() + 1) / 2 - 1))
    for one, other in zip(light, dark, strict=True):
        assert (one[:, 8:] - other[:, 8:]).mean() > 0.4


def test_gradients_reach_the_image_and_no_weight():
    projector, x = Projector(8, seed=0).train(), images().requires_grad_()
    sum(m.square().mean() for m in projector(x)).backward()
    assert x.grad.abs().sum() > 0
    assert not projector.training
    assert all(p.grad is None for p in projector.parameters())


def test_heads_are_spectrally_normalised():
    heads = ProjectedHeads(16).train()
    maps = Projector(16, seed=0)(images())
    for _ in range(30):  # the power iteration takes a step each time
        logits = heads(maps)
    assert [tuple(x.shape) for x in logits] == [(2, 1, 8, 12), (2, 1, 4, 6), (2, 1, 4, 6), (2, 1, 2, 3)]
    for head in heads.heads:
        for layer in (head[0], head[2]):
            assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() < 1.05


def test_heads_learn_to_tell_two_textures_apart():
    torch.manual_seed(0)
    projector, heads = Projector(16, seed=0), ProjectedHeads(16)
    optimizer = torch.optim.Adam(heads.parameters(), 3e-3)
    smooth = F.interpolate(torch.rand(8, 3, 8, 12), (64, 96), mode="bilinear") * 2 - 1
    rough = torch.rand(8, 3, 64, 96) * 2 - 1
    seen = projector(smooth), projector(rough)
    for _ in range(40):
        real, fake = heads(seen[0]), heads(seen[1])
        loss = sum((r - 1).square().mean() + f.square().mean() for r, f in zip(real, fake, strict=True))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert all(r.mean() > f.mean() + 0.3 for r, f in zip(heads(seen[0]), heads(seen[1]), strict=True))
