"""Bytes that autograd keeps, on graphs whose tensors can be counted by hand."""

import torch
from torch import nn

from gen.training.memory import activations


def test_each_storage_counts_once_and_until_it_is_gone():
    weight = torch.rand(10, 10, requires_grad=True)
    x = torch.rand(5, 10)
    with activations([weight]) as kept:
        out = ((x @ weight).sin() * 2).exp()  # keeps x; the product; the exponential
        assert kept.now == 4 * (50 + 50 + 50)
        again = out * out.view(10, 5).view(5, 10)  # keeps the exponential, of which it has one already
        assert kept.now == 4 * 150
        again.sum().backward()
        del out, again
        assert kept.now == 0
        assert kept.most == 4 * 150


def test_parts_are_not_added_up():
    network = nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 1))
    most = []
    for parts in (1, 4):
        with activations(list(network.parameters())) as kept:
            for part in torch.rand(parts, 32 // parts, 8).unbind():
                network(part.clone()).mean().backward()
        most.append(kept.most)
    assert most[0] == 4 * most[1]
