import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gen.stylegan2.augment import DRAWS, colour, diff_augment
from gen.stylegan2.losses import path_lengths, r1_penalty
from gen.stylegan2.networks import (
    ModulatedConv,
    StyleGAN2Discriminator,
    StyleGAN2Generator,
    blur,
    config_f_channels,
    minibatch_stddev,
    upsample,
)
from gen.training.augment import cutout, translate


@pytest.fixture
def generator() -> StyleGAN2Generator:
    torch.manual_seed(0)
    return StyleGAN2Generator((16, 16, 8, 8), z_dim=32, w_dim=32, mapping_layers=2).eval()


def upfirdn(x: Tensor, up: int, pad: tuple[int, int], gain: float) -> Tensor:
    """Zeros between the pixels, padding, then the filter [1, 3, 3, 1] by hand."""
    count, channels, height, width = x.shape
    spread = x.new_zeros(count, channels, height * up, width * up)
    spread[:, :, ::up, ::up] = x
    spread = F.pad(spread, (*pad, *pad))
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]).to(x) / 8
    out = x.new_zeros(count, channels, spread.shape[2] - 3, spread.shape[3] - 3)
    for i in range(4):
        for j in range(4):
            out += taps[i] * taps[j] * spread[:, :, i : i + out.shape[2], j : j + out.shape[3]]
    return out * gain


class TestModulatedConv:
    @pytest.mark.parametrize("up", [False, True])
    @pytest.mark.parametrize("demodulate", [False, True])
    def test_equals_one_kernel_per_image(self, up: bool, demodulate: bool) -> None:
        """Section 2.2 of the paper as it is written: modulate the kernel, normalise it, convolve image by image."""
        torch.manual_seed(0)
        conv = ModulatedConv(6, 5, 3, 8, up, demodulate).double()
        x, style = torch.randn(3, 6, 8, 8).double(), torch.rand(3, 6).double() + 0.5
        expected: list[Tensor] = []
        for image, s in zip(x, style, strict=True):
            kernel = conv.weight * conv.scale * s[None, :, None, None]
            if demodulate:
                kernel = kernel / (kernel.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
            if up:
                grown = F.conv_transpose2d(image[None], kernel.transpose(0, 1), stride=2)
                expected.append(upfirdn(grown, 1, (1, 1), 4.0))
            else:
                expected.append(F.conv2d(image[None], kernel, padding=1))
        torch.testing.assert_close(conv.convolve(x, style), torch.cat(expected), atol=1e-6, rtol=1e-6)

    def test_half_precision_does_not_overflow(self) -> None:
        torch.manual_seed(0)
        conv = ModulatedConv(64, 64, 3, 8)
        x, style = torch.randn(2, 64, 8, 8) * 30, torch.full((2, 64), 3e4)
        half = conv.convolve(x.bfloat16(), style)
        assert half.dtype == torch.bfloat16
        torch.testing.assert_close(half.float(), conv.convolve(x, style), atol=2.0, rtol=0.05)
        assert conv.convolve(x.half(), style).isfinite().all()


class TestFilters:
    def test_blur_is_the_binomial_filter(self) -> None:
        x = torch.randn(2, 3, 9, 7, dtype=torch.float64)
        torch.testing.assert_close(blur(x, pad=2, gain=4.0), upfirdn(x, 1, (2, 2), 4.0))

    def test_upsampling_is_zeros_between_pixels_and_the_filter(self) -> None:
        x = torch.randn(2, 3, 8, 6, dtype=torch.float64)
        torch.testing.assert_close(upsample(x), upfirdn(x, 2, (2, 1), 4.0))


class TestGenerator:
    def test_sizes_and_layers(self, generator: StyleGAN2Generator) -> None:
        assert generator.size == 32
        assert generator.layers == 2 * int(math.log2(32)) - 2
        assert [c.noise.shape[-1] for c in generator.convs] == generator.noise_sizes == [4, 8, 8, 16, 16, 32, 32]
        assert generator(torch.randn(2, 32)).shape == (2, 3, 32, 32)

    def test_configuration_f(self) -> None:
        assert config_f_channels(1024) == (512, 512, 512, 512, 512, 256, 128, 64, 32)
        assert config_f_channels(256, 1.0) == (512, 512, 512, 512, 256, 128, 64)
        full = StyleGAN2Generator(config_f_channels(1024))
        # 30.37 M is what the paper's repository prints for G at 1024; noise strengths and constant included.
        assert sum(p.numel() for p in full.parameters()) == pytest.approx(30.37e6, rel=1e-3)

    def test_truncation(self, generator: StyleGAN2Generator) -> None:
        generator.w_average.normal_()
        w = generator.mapping(torch.randn(4, 32))
        assert generator.truncated(w, 1.0) is w
        torch.testing.assert_close(generator.truncated(w, 0.0), generator.w_average.expand(4, -1))
        halfway = (w + generator.w_average) / 2
        torch.testing.assert_close(generator.truncated(w, 0.5), halfway)

    def test_a_latent_for_each_layer_reaches_its_layer_alone(self, generator: StyleGAN2Generator) -> None:
        w = torch.randn(1, 32)
        ws = w.repeat(generator.layers, 1)[None]
        torch.testing.assert_close(generator.synthesis(ws), generator.synthesis(w))
        changed = ws.clone()
        changed[:, -1] += 1  # the last one colours the picture and shapes nothing
        seen: list[Tensor] = []
        generator.convs[-1].register_forward_hook(lambda m, i, o: seen.append(o))
        images = generator.synthesis(ws), generator.synthesis(changed)
        torch.testing.assert_close(*seen)
        assert (images[0] - images[1]).abs().max() > 1e-3

    def test_noise(self, generator: StyleGAN2Generator) -> None:
        for conv in generator.convs:
            conv.noise_strength.data.fill_(0.5)
        z = torch.randn(2, 32)
        fixed = generator(z)
        torch.testing.assert_close(fixed, generator(z, noise="fixed"))
        stored = [conv.noise for conv in generator.convs]
        torch.testing.assert_close(fixed, generator(z, noise=stored))
        assert not torch.equal(generator(z, noise="random"), generator(z, noise="random"))
        assert not torch.equal(generator(z, noise="none"), fixed)

    def test_draws_the_same_after_saving_and_loading(self, generator: StyleGAN2Generator, tmp_path: object) -> None:
        generator.save_pretrained(str(tmp_path))
        again = StyleGAN2Generator.from_pretrained(str(tmp_path)).eval()
        z = torch.randn(2, 32)
        torch.testing.assert_close(again(z), generator(z), atol=0, rtol=0)


class TestDiscriminator:
    def test_one_logit_per_image(self) -> None:
        judge = StyleGAN2Discriminator((16, 16, 8, 8))
        assert judge(torch.randn(8, 3, 32, 32)).shape == (8,)

    @pytest.mark.parametrize(("count", "group"), [(8, 4), (6, 3), (3, 3), (4, 4), (2, 2), (5, 5), (9, 3), (1, 1)])
    def test_minibatch_stddev_by_hand(self, count: int, group: int) -> None:
        x = torch.randn(count, 3, 4, 4, dtype=torch.float64)
        out = minibatch_stddev(x, 4)
        groups = count // group
        for index in range(count):
            members = x[index % groups :: groups]
            assert len(members) == group
            expected = (members.var(0, correction=0) + 1e-8).sqrt().mean()
            assert out[index].unique().item() == pytest.approx(expected.item(), rel=1e-5)


class TestPenalties:
    def test_r1_of_a_known_function(self) -> None:
        images = torch.randn(5, 3, 4, 4, dtype=torch.float64, requires_grad=True)
        slope = torch.randn(3, 4, 4, dtype=torch.float64)
        logits = (images * slope).sum((1, 2, 3))
        assert float(r1_penalty(logits, images)) == pytest.approx(float(slope.square().sum()))

    def test_path_length_of_a_linear_generator(self) -> None:
        """|J^T y| for an image that is linear in w has a closed form."""
        layers, width, side = 3, 5, 4
        maps = torch.randn(layers, width, 3, side, side, dtype=torch.float64)
        ws = torch.randn(2, layers, width, dtype=torch.float64, requires_grad=True)
        noise = torch.randn(2, 3, side, side, dtype=torch.float64)
        images = torch.einsum("blw,lwchv->bchv", ws, maps)
        jty = torch.einsum("lwchv,bchv->blw", maps, noise) / side
        expected = jty.square().sum(2).mean(1).sqrt()
        torch.testing.assert_close(path_lengths(images, ws, noise), expected)


class TestDiffAugment:
    def test_the_middle_of_the_draws_changes_no_colour(self) -> None:
        x = torch.rand(2, 3, 8, 8) * 2 - 1
        torch.testing.assert_close(colour(x, torch.full((2, 3), 0.5)), x)

    def test_no_saturation_is_grey(self) -> None:
        x = torch.rand(2, 3, 8, 8) * 2 - 1
        grey = colour(x, torch.tensor([[0.5, 0.0, 0.5]]).expand(2, -1))
        torch.testing.assert_close(grey, x.mean(1, keepdim=True).expand_as(x))

    def test_translation_is_a_shift_with_zeros_behind(self) -> None:
        x = torch.arange(64.0).view(1, 1, 8, 8).expand(1, 3, -1, -1) + 1
        down = translate(x, torch.tensor([[0.0, 0.5]]))  # an eighth of 8 pixels: one row
        torch.testing.assert_close(down[:, :, 1:], x[:, :, :-1])
        assert (down[:, :, 0] == 0).all()
        torch.testing.assert_close(translate(x, torch.tensor([[0.5, 0.5]])), x)

    def test_cutout_takes_at_most_a_quarter(self) -> None:
        x = torch.ones(64, 3, 16, 16)
        lost = 1 - cutout(x, torch.rand(64, 2, generator=torch.Generator().manual_seed(0))).mean((1, 2, 3))
        assert lost.max() <= 0.25
        assert lost.min() >= 0.0625

    @pytest.mark.parametrize("size", [7, 8, 9, 16])
    def test_cutout_is_the_published_one(self, size: int) -> None:
        """Every place of the box that the published code draws, and no other; by writing zeros pixel by pixel."""
        side = int(size * 0.5 + 0.5)
        places = size + (1 - side % 2)
        for place in range(places):
            slow = torch.ones(size, size)
            for row in range(side):
                for column in range(side):
                    y, x = (min(max(k + place - side // 2, 0), size - 1) for k in (row, column))
                    slow[y, x] = 0
            draw = torch.full((1, 2), (place + 0.5) / places)
            torch.testing.assert_close(cutout(torch.ones(1, 1, size, size), draw)[0, 0], slow)

    def test_gradients_flow_and_nothing_else_is_random(self) -> None:
        x = torch.rand(4, 3, 16, 16, requires_grad=True)
        draws = torch.rand(4, DRAWS)
        out = diff_augment(x, draws)
        torch.testing.assert_close(out, diff_augment(x, draws))
        out.sum().backward()
        assert x.grad is not None
        assert x.grad.abs().sum() > 0
