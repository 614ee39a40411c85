"""Parameter counts to the unit, shapes, the normalisation, and what the switches switch."""

import pytest
import torch
from torch import nn

from gen.augan.cost import count_parameters, translation_macs
from gen.augan.light import Binomial, HalfSize
from gen.augan.networks import AUGANGenerator, Discriminator, DiscriminatorSet
from gen.pretrained import LiteBackbone
from gen.training.projected import Projector


def tiny(**changes) -> AUGANGenerator:
    return AUGANGenerator(**{"width": 8, "blocks": 1, "transfer_blocks": 1, **changes}).eval()


def on_meta(kind, **settings):
    with torch.device("meta"):
        return kind(**settings)


def test_parameter_counts_of_the_published_size():
    a2b = on_meta(AUGANGenerator)
    b2a = on_meta(AUGANGenerator, transfer_blocks=0, uncertainty=False)
    assert count_parameters(a2b.encoder) == 5_101_632
    assert count_parameters(a2b.transfer) == 4_722_688
    assert count_parameters(a2b.decoder) == 5_101_120
    assert count_parameters(a2b.reconstructor) == 5_101_120
    assert count_parameters(a2b.head) == 76_992
    assert count_parameters(a2b) == 20_103_552
    assert count_parameters(b2a) == 15_303_872
    assert count_parameters(on_meta(Discriminator)) == 2_783_040
    assert count_parameters(on_meta(DiscriminatorSet)) == 4 * 2_783_040


def test_macs_of_the_published_size():
    """128.1 G for the picture and 2.8 G for the uncertainty head at 256x512, by torch's counter."""
    with_head = translation_macs(on_meta(AUGANGenerator, reconstruction=False), (256, 512))
    without = translation_macs(on_meta(AUGANGenerator, reconstruction=False, uncertainty=False), (256, 512))
    assert without / 1e9 == pytest.approx(128.1, abs=0.1)
    assert (with_head - without) / 1e9 == pytest.approx(2.8, abs=0.1)


@pytest.mark.parametrize("upsampling", ["deconv", "resize"])
def test_generator_shapes_and_ranges(upsampling):
    image = torch.rand(2, 3, 24, 40) * 2 - 1
    out = tiny(upsampling=upsampling)(image)
    assert out.image.shape == image.shape
    assert out.image.abs().max() <= 1
    assert out.features.shape == out.transferred.shape == (2, 32, 6, 10)
    assert out.log_scale.shape == (2, 1, 24, 40)
    assert out.log_scale.min() >= 0


def test_both_upsamplings_have_the_same_parameters():
    assert count_parameters(tiny(upsampling="deconv")) == count_parameters(tiny(upsampling="resize"))


def test_switches():
    image = torch.rand(1, 3, 16, 16)
    plain = tiny(transfer_blocks=0, uncertainty=False, reconstruction=False)
    out = plain(image)
    assert out.log_scale is None
    assert out.transferred is out.features
    with pytest.raises(AttributeError, match="reconstruction=False"):
        plain.reconstruct(out.features)
    full = tiny()
    assert not torch.equal(full(image).image, full(image, transfer=False).image)


def test_noise_only_where_it_is_given():
    generator = tiny()
    features = generator(torch.rand(1, 3, 16, 16)).features
    once, twice = generator.reconstruct(features), generator.reconstruct(features)
    assert torch.equal(once, twice)
    assert not torch.equal(once, generator.reconstruct(features, torch.randn(2, *features.shape)))


def test_initial_uncertainty_is_near_ln2():
    """Softplus of a small number: s = ln 2 = 0.693 (section 1.5)."""
    s = AUGANGenerator(width=16, blocks=1, transfer_blocks=1)(torch.rand(1, 3, 32, 32)).log_scale
    assert s.mean().item() == pytest.approx(0.693, abs=0.15)


def test_discriminator_maps_at_the_published_size():
    maps = Discriminator(width=4)(torch.rand(1, 3, 256, 512))
    assert [tuple(m.shape) for m in maps] == [(1, 1, 16, 32), (1, 1, 8, 16)]


def test_discriminators_of_a_set_differ():
    judged = DiscriminatorSet(width=4)(torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64))
    assert len(judged) == 2
    assert not torch.allclose(judged[0][0][0], judged[1][0][0])


def test_the_light_design_has_the_published_ones_tensors():
    x = torch.rand(1, 3, 64, 96) * 2 - 1
    published, light = (AUGANGenerator(8, 2, 2, design=d)(x) for d in ("published", "light"))
    for name in ("image", "features", "transferred", "log_scale"):
        assert getattr(light, name).shape == getattr(published, name).shape, name
    assert light.image.abs().max() <= 1
    assert (light.log_scale >= 0).all()


def test_a_pretrained_encoder_is_frozen_and_keeps_its_weights():
    """Both directions hold ImageNet's weights, nothing of them learns, and each sees the brighter picture."""
    wanted = LiteBackbone(3).state_dict()
    for exposure, seen in ((30.0, 1), (-30.0, 0), (0.0, 0)):
        generator = AUGANGenerator(8, 2, 2, design="light", exposure=exposure, pretrained=True)
        encoder = generator.encoder
        torch.testing.assert_close(encoder.frozen.state_dict(), wanted)
        assert not any(p.requires_grad for p in encoder.frozen.parameters())
        x = torch.rand(1, 3, 64, 96) * 2 - 1
        found: list[torch.Tensor] = []
        hook = encoder.frozen.stem.register_forward_pre_hook(lambda _, args, found=found: found.append(args[0]))
        generator(x).image.mean().backward()
        hook.remove()
        torch.testing.assert_close(found[0], (generator.encoder_input(x).split(3, dim=1)[seen] * 127.5 + 0.5) / 128)
        assert all(p.grad is not None for p in encoder.mixes.parameters())


def test_a_pretrained_encoder_joins_the_maps_from_coarse_to_fine():
    encoder = AUGANGenerator(8, 2, 2, design="light", pretrained=True).encoder
    x = torch.rand(1, 3, 64, 96) * 2 - 1
    fine, middle, coarse = (
        mix(f) for mix, f in zip(encoder.mixes, encoder.frozen((x * 127.5 + 0.5) / 128), strict=True)
    )
    twice = nn.Upsample(scale_factor=2, mode="bilinear")
    torch.testing.assert_close(encoder(x), encoder.blocks(encoder.door(x) + fine + twice(middle + twice(coarse))))


def test_the_light_design_costs_a_quarter():
    costs = [
        translation_macs(on_meta(AUGANGenerator, width=24, reconstruction=False, design=d), (192, 344))
        for d in ("published", "light")
    ]
    assert costs[1] < 0.26 * costs[0]


def test_macs_are_those_of_the_padded_frame():
    light = on_meta(AUGANGenerator, width=8, blocks=1, transfer_blocks=1, reconstruction=False, design="light")
    assert translation_macs(light, (157, 284)) == translation_macs(light, (160, 288))


def test_half_size_blocks_add_to_what_comes_in():
    block = HalfSize(8, 2)
    with torch.no_grad():
        block.body[-1].weight.zero_()
        block.body[-1].bias.zero_()
    x = torch.randn(1, 8, 16, 24)
    torch.testing.assert_close(block(x), x)


def test_heads_beside_the_published_discriminators():
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    projector, judges = Projector(16, seed=0), DiscriminatorSet(width=4, projected_width=16)
    judged = judges(images, images, [projector(images), projector(images)])
    assert [len(maps) for pair in judged for maps in pair] == [2, 2, 2, 2, 4, 4]
    assert len(DiscriminatorSet(width=4, count=0, projected_width=16)(images, images, [projector(images)] * 2)) == 1


def test_the_binomial_blur_lets_no_grid_through_and_keeps_flat_places():
    flat, grid = torch.full((1, 2, 8, 10), 0.7), torch.ones(1, 2, 8, 10)
    grid[..., ::2] *= -1
    torch.testing.assert_close(Binomial()(flat), flat)
    assert Binomial()(grid).abs().max() == 0
    assert Binomial()(grid.transpose(2, 3)).abs().max() == 0
    point = torch.zeros(1, 1, 5, 5)
    point[0, 0, 2, 2] = 16
    kernel = torch.tensor([1.0, 2, 1])
    torch.testing.assert_close(Binomial()(point)[0, 0, 1:4, 1:4], torch.outer(kernel, kernel))
