"""What the references say before anything is trained: is there enough, and do the domains agree?"""

from itertools import combinations

from gen.hda.encoders import Encoder
from gen.hda.references import DomainName
from gen.hda.subspace import Flat, agreement, nearest_point, principal_angles, singular_spread
from gen.hda.training import HDATrainer, Target

CONFLICT = -0.2
"""Mean cosine between the ways to two domains below which a hybrid of them is doubtful."""

NEAR_DUPLICATES = 1e-3
"""Weakest direction of the references, as a share of the strongest, below which some nearly repeat others."""


def report(trainer: HDATrainer) -> str:
    """The dry run as text: one block an encoder, then the warnings."""
    lines: list[str] = []
    notes = [f"{name}: {w}" for name, references in trainer.references.items() for w in references.warnings]
    for encoder, targets in zip(trainer.encoders, trainer.targets, strict=True):
        lines += [f"encoder {encoder.name} at {encoder.size} pixels"]
        lines += [
            line
            for domain, target in zip(trainer.domains, targets, strict=True)
            if target
            for line in _domain_lines(trainer, encoder, domain, target, notes)
        ]
        lines += _pair_lines(trainer, encoder, targets, notes)
    warnings = [f"warning: {note}" for note in dict.fromkeys(notes)]
    return "\n".join([*lines, *(warnings or ["no warnings"])])


def _domain_lines(
    trainer: HDATrainer, encoder: Encoder, domain: DomainName, target: Target, notes: list[str]
) -> list[str]:
    if target.flat is None:
        return [f'  {domain.name}: the words "{domain.words}", weight {domain.weight:.2f}']
    images = trainer.references[domain.name].images
    features = encoder(images.to(trainer.device))
    inner = float((features - features.mean(0)).norm(dim=1).mean())
    if len(images) == 1:
        notes.append(
            f"{domain.name}: one image is a point, not a subspace; its own pose and identity may be taken over."
        )
    elif singular_spread(features) < NEAR_DUPLICATES:
        notes.append(f"{domain.name}: some references nearly repeat others; they count little.")
    if target.start < inner:
        notes.append(
            f"{domain.name}: the source is nearer ({target.start:.2f}) than the references spread ({inner:.2f})."
        )
    return [
        f"  {domain.name}: {len(images)} images, rank {target.flat.rank}, weight {domain.weight:.2f}, "
        f"distance from the source {target.start:.3f}, spread within {inner:.3f}"
    ]


def _pair_lines(trainer: HDATrainer, encoder: Encoder, targets: list[Target | None], notes: list[str]) -> list[str]:
    source = encoder(trainer.probes)
    lines: list[str] = []
    flats: list[tuple[str, Flat]] = [
        (d.name, t.flat) for d, t in zip(trainer.domains, targets, strict=True) if t and t.flat is not None
    ]
    for (name, flat), (other, second) in combinations(flats, 2):
        cosine = agreement(flat, second, source)
        angles = principal_angles(flat, second)
        span = f", angles {angles[0]:.0f} to {angles[-1]:.0f} degrees" if len(angles) else ""
        lines.append(f"  {name} and {other}: cosine of the ways {cosine:.2f}{span}")
        if cosine < CONFLICT:
            notes.append(
                f"{name} and {other} pull in opposite directions (cosine {cosine:.2f}): the hybrid will be a "
                f"compromise; give the one that matters more weight."
            )
    if len(flats) > 1:
        weights = {d.name: d.weight for d in trainer.domains}
        best = nearest_point([flat for _, flat in flats], [weights[name] for name, _ in flats])[None].to(source)
        reach = [(name, 1 - float(flat.distance(best) / flat.distance(source).mean())) for name, flat in flats]
        shown = ", ".join(f"{name} {100 * share:.0f} %" for name, share in reach)
        lines.append(f"  the point nearest to all domains at these weights is on the way to them: {shown}")
    return lines
