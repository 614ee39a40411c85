"""The instance norm and its written-out gradient against torch's, in both layouts and precisions; running averages."""

import pytest
import torch
from torch import nn

from gen.translation.norm import InstanceNorm, StatisticsSmoother

both_layouts = pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
affine_or_not = pytest.mark.parametrize("affine", [True, False])


def ours_and_torchs(affine, dtype=torch.float32):
    """Two norms with the same random weights; torch's in float64.

    Torch's is wrong for a gradient in channels last.
    """
    ours, theirs = InstanceNorm(5, affine), nn.InstanceNorm2d(5, affine=affine, dtype=torch.float64)
    if affine:
        nn.init.uniform_(ours.weight, -1, 2)
        nn.init.normal_(ours.bias)
        theirs.load_state_dict(ours.state_dict())
    return ours.to(dtype), theirs


@both_layouts
@affine_or_not
def test_values_and_gradients_equal_torchs(layout, affine):
    x, g = torch.randn(2, 5, 7, 9) * 3 + 1, torch.randn(2, 5, 7, 9)
    found = []
    ours, theirs = ours_and_torchs(affine)
    for norm, dtype in ((ours, torch.float32), (theirs, torch.float64)):
        image = x.to(dtype, memory_format=layout, copy=True).requires_grad_()
        out = norm(image)
        out.backward(g.to(dtype, memory_format=layout if norm is ours else torch.contiguous_format))
        found.append([out.detach(), image.grad] + ([norm.weight.grad, norm.bias.grad] if affine else []))
        assert norm is not ours or out.is_contiguous(memory_format=layout)
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one.double(), other, atol=5e-6, rtol=5e-6)


@both_layouts
@affine_or_not
@pytest.mark.parametrize("weights", [torch.float32, torch.bfloat16])
def test_bf16_is_rounded_once(layout, affine, weights):
    """Far from zero, too, where statistics in bf16 would be off by units, and a shift in bf16 by .05."""
    x, g = (torch.randn(1, 5, 64, 64).bfloat16().to(memory_format=layout) for _ in range(2))
    x += 10
    ours, theirs = ours_and_torchs(affine, weights)
    theirs.load_state_dict(ours.state_dict())
    found = []
    for norm, dtype in ((ours, torch.bfloat16), (theirs, torch.float64)):
        image = x.to(dtype, copy=True).requires_grad_()
        out = norm(image)
        out.backward(g.to(dtype) if norm is ours else g.to(dtype, memory_format=torch.contiguous_format))
        found.append((out.detach().double(), image.grad.double()))
    (out, gradient), (true_out, true_gradient) = found
    torch.testing.assert_close(out, true_out, rtol=2**-8, atol=2e-3)
    assert (gradient - true_gradient).norm() < 0.02 * true_gradient.norm()


def test_first_and_second_gradients_are_the_numerical_ones():
    """A gradient penalty needs the second."""
    norm = InstanceNorm(2).double()
    x = torch.randn(2, 2, 3, 4, dtype=torch.float64, requires_grad=True)

    def run(image, weight, bias):
        return torch.func.functional_call(
            norm, {"weight": weight, "bias": bias}, image.clone(memory_format=torch.channels_last)
        )

    inputs = (x, *(p.detach().clone().normal_().requires_grad_() for p in norm.parameters()))
    assert torch.autograd.gradcheck(run, inputs)
    assert torch.autograd.gradgradcheck(run, inputs)


def test_a_compiler_sees_one_graph_of_plain_operations():
    """The written-out gradient would split it (torch 2.11), and keeps the compiler from fusing."""
    operations = []

    def note(graph, inputs):
        operations.append({str(node.target) for node in graph.graph.nodes if node.op == "call_function"})
        return graph

    network = nn.Sequential(nn.Conv2d(3, 5, 3), InstanceNorm(5)).to(memory_format=torch.channels_last)
    image = torch.randn(2, 3, 16, 20).to(memory_format=torch.channels_last)
    compiled = torch.compile(network, backend=note, fullgraph=True)
    torch.testing.assert_close(compiled(image), network(image))
    assert len(operations) == 1
    assert any("var_mean" in name for name in operations[0])
    assert not any("autograd" in name or "Normalisation" in name for name in operations[0])


def test_smoother_is_a_running_average_over_frames():
    smoother, norm = StatisticsSmoother(0.75), InstanceNorm(1)
    frames = torch.randn(5, 1, 8, 8) * torch.arange(1, 6).view(5, 1, 1, 1)
    network = nn.Sequential(norm)
    with smoother.attached(network):
        found = torch.cat([network(frames[:2]), network(frames[2:])])  # batches must not matter
    var = mean = None
    for frame, ours in zip(frames, found, strict=True):
        now_var, now_mean = frame.var(correction=0), frame.mean()
        var = now_var if var is None else 0.75 * var + 0.25 * now_var
        mean = now_mean if mean is None else 0.75 * mean + 0.25 * now_mean
        torch.testing.assert_close(ours, (frame - mean) / (var + 1e-5).sqrt())
    torch.testing.assert_close(network(frames)[0], norm(frames[:1])[0])
    assert norm.smoother is None
