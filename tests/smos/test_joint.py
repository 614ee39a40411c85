"""Terms of a whole step from its parts: two processes with two accumulation parts each, played one after the other."""

import torch
from torch import Tensor

from gen.smos.algorithms.base import Batch
from gen.smos.algorithms.coral import coral
from gen.smos.algorithms.irm import irm_penalty
from gen.smos.backbones import Prediction
from gen.smos.joint import Part, Whole, backward, outputs, surrogate

DOMAINS, SIZE, PARTS, PROCESSES, CLASSES, WIDTH = 3, 2, 2, 2, 4, 5


def test_value_and_gradients_are_those_of_the_whole_step() -> None:
    """IRM's penalty depends on the order of the samples, and CORAL's on the features."""
    count = SIZE * PARTS * PROCESSES
    x = torch.randn(DOMAINS, count, 6, dtype=torch.float64)
    labels = torch.randint(0, CLASSES, (DOMAINS, count))
    body = torch.randn(6, WIDTH, dtype=torch.float64, requires_grad=True)
    head = torch.randn(WIDTH, CLASSES, dtype=torch.float64, requires_grad=True)

    def forward(images: Tensor) -> Prediction:
        z = (images @ body).tanh()
        return Prediction(z @ head, z, [], z)

    def terms(batch: Batch) -> dict[str, Tensor]:
        p, by = batch.prediction, batch.by_domain
        return {"irm": irm_penalty(by(p.logits), by(batch.labels)), "coral": coral(by(p.pooled))}

    whole = terms(Batch(x.flatten(0, 1), labels.flatten(), DOMAINS, forward))
    wanted = torch.autograd.grad(whole["irm"] + whole["coral"], [body, head])

    def part(rank: int, number: int) -> Batch:
        first = (number * PROCESSES + rank) * SIZE  # as `Trainer.share_of` gives the samples out
        own = slice(first, first + SIZE)
        return Batch(x[:, own].flatten(0, 1), labels[:, own].flatten(), DOMAINS, forward, step=5, seed=6)

    with torch.no_grad():
        parts = [[outputs(part(rank, number)) for number in range(PARTS)] for rank in range(PROCESSES)]
    columns = [[torch.stack([p[n].unflatten(0, (DOMAINS, -1)) for p in own]) for own in parts] for n in range(4)]
    for rank in range(PROCESSES):
        gathered = iter(torch.stack(column) for column in columns)
        joint = Whole(parts[rank], part(rank, 0), rank, lambda _, gathered=gathered: next(gathered))
        assert (joint.batch.step, joint.batch.seed, joint.batch.domains) == (5, 6, DOMAINS)
        assert torch.equal(joint.batch.labels, labels.flatten())
        found = backward(terms(joint.batch))
        for name, value in whole.items():
            torch.testing.assert_close(found[name], value.detach())
        for number, gradients in enumerate(joint.gradients()):
            loss = surrogate(part(rank, number), gradients, share=1.0)
            loss.backward()
    for parameter, gradient in zip([body, head], wanted, strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-6, atol=1e-8)


def test_a_part_is_weighted_by_what_the_trainer_divides_it_by() -> None:
    batch = Batch(torch.ones(2, 1), torch.zeros(2, dtype=torch.int64), 1, lambda x: Prediction(x, x, []))
    gradients = [torch.full((2, 1), g) for g in (1.0, 2.0, 0.0)]
    assert surrogate(batch, gradients, share=0.25).item() == 4 * (2 * 1.0 + 2 * 2.0)


def test_without_terms_nothing_is_computed() -> None:
    batch = Batch(torch.ones(2, 1), torch.zeros(2, dtype=torch.int64), 1, lambda x: Prediction(x, x, []))
    own = outputs(batch)
    assert isinstance(own, Part)
    whole = Whole([own], batch, 0, lambda values: values[None])
    assert backward({}) == {}
    assert all(not gradient.any() for gradient in whole.gradients()[0])
