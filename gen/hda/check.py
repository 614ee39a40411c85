"""Check the references before training: are there enough, and are the domains compatible?"""

from itertools import combinations
from typing import NamedTuple

from gen.hda.domains import Domain
from gen.hda.encoders import Encoder, LiteEncoder
from gen.hda.subspace import AffineSubspace, mean_cosine, nearest_point, principal_angles, singular_spread
from gen.hda.targets import Target
from gen.hda.training import HDATrainer

CONFLICT = -0.2
"""Mean cosine between the perpendiculars to two domains below which their hybrid will be a compromise."""

NEAR_DUPLICATES = 1e-3
"""`singular_spread` of the references below which some are near-duplicates."""


TOO_ALIKE = 0.75
"""Mean cosine above which two domains ask for the same change.

In EfficientNet-Lite0, halves of one set of sketches, sunglasses or paintings have .79 to .91, different sets at most
.72. In other networks it was not measured, and is not judged.
"""

FEW = 4
"""Images of a domain below which its subspace says little."""


class Note(NamedTuple):
    """Something to know before training."""

    verdict: str
    """What it means in two or three words, one of `VERDICTS`; empty where training may go ahead all the same."""
    text: str


ADD, ALIKE, OPPOSITE, LITTLE = "Add pictures", "Too alike", "Opposites", "Go ahead, but expect little"
VERDICTS = (ADD, ALIKE, OPPOSITE, LITTLE)
"""The gravest first."""


def verdict(notes: list[Note]) -> str:
    """The gravest note as a sentence, or "Go ahead" with the first of the others."""
    grave = sorted((note for note in notes if note.verdict), key=lambda note: VERDICTS.index(note.verdict))
    if grave:
        return f"{grave[0].verdict}: {grave[0].text}"
    others = list(dict.fromkeys(note.text for note in notes))
    more = f" (and {len(others) - 1} more; see the report)" if len(others) > 1 else ""
    return f"Go ahead, but note: {others[0]}{more}" if others else "Go ahead. Nothing stands against training."


def report(trainer: HDATrainer) -> str:
    """The report as text: the verdict, one block per encoder, then the warnings."""
    lines: list[str] = []
    notes = [Note("", f"{name}: {w}") for name, references in trainer.references.items() for w in references.warnings]
    notes += [
        Note(ADD, f"{name} has {len(references.images)} usable images; about ten are enough.")
        for name, references in trainer.references.items()
        if 1 < len(references.images) < FEW
    ]
    for encoder, targets in zip(trainer.encoders, trainer.targets, strict=True):
        lines += [f"encoder {encoder.name} at {encoder.size} pixels"]
        lines += [
            line
            for domain, target in zip(trainer.domains, targets, strict=True)
            if target
            for line in _domain_lines(trainer, encoder, domain, target, notes)
        ]
        lines += _pair_lines(trainer, encoder, targets, notes)
    warnings = [f"warning: {text}" for text in dict.fromkeys(note.text for note in notes)]
    return "\n".join([verdict(notes), "", *lines, *(warnings or ["no warnings"])])


def _domain_lines(
    trainer: HDATrainer, encoder: Encoder, domain: Domain, target: Target, notes: list[Note]
) -> list[str]:
    if target.subspace is None:
        return [f'  {domain.name}: the words "{domain.words}", weight {domain.weight:.2f}']
    images = trainer.references[domain.name].images
    features = encoder(images.to(trainer.device))
    inner = float((features - features.mean(0)).norm(dim=1).mean())
    if len(images) == 1:
        notes.append(
            Note(ADD, f"{domain.name}: a single image gives a point, not a subspace; the result may copy its face.")
        )
    elif singular_spread(features) < NEAR_DUPLICATES:
        notes.append(Note(ADD, f"{domain.name}: some references are near-duplicates, which add little."))
    # Only the first encoder decides: in the second one, style, sets that can be learned are often this near.
    if target.start < inner and encoder is trainer.encoders[0]:
        text = (
            f"{domain.name}: the source is closer to the domain ({target.start:.2f}) than its references are to their "
            f"mean ({inner:.2f}); there is little to adapt, or the references are too varied."
        )
        notes.append(Note(LITTLE, text))
    return [
        f"  {domain.name}: {len(images)} images, rank {target.subspace.rank}, weight {domain.weight:.2f}, "
        f"distance from the source {target.start:.3f}, spread of the references {inner:.3f}"
    ]


def _pair_lines(trainer: HDATrainer, encoder: Encoder, targets: list[Target | None], notes: list[Note]) -> list[str]:
    source = encoder(trainer.probes)
    lines: list[str] = []
    subspaces: list[tuple[str, AffineSubspace]] = [
        (d.name, t.subspace) for d, t in zip(trainer.domains, targets, strict=True) if t and t.subspace is not None
    ]
    for (name, first), (other, second) in combinations(subspaces, 2):
        cosine = mean_cosine(first, second, source)
        angles = principal_angles(first, second)
        span = f", principal angles {angles[0]:.0f} to {angles[-1]:.0f} degrees" if len(angles) else ""
        lines.append(f"  {name} and {other}: cosine of the directions from the source {cosine:.2f}{span}")
        if cosine < CONFLICT:
            text = (
                f"{name} and {other} pull in opposite directions (cosine {cosine:.2f}); the hybrid will be a "
                f"compromise. Give the more important domain a larger weight."
            )
            notes.append(Note(OPPOSITE, text))
        if cosine > TOO_ALIKE and isinstance(encoder, LiteEncoder):
            text = f"{name} and {other} ask for the same change (cosine {cosine:.2f}); keep one, or put them together."
            notes.append(Note(ALIKE, text))
    if len(subspaces) > 1:
        weights = {d.name: d.weight for d in trainer.domains}
        best = nearest_point([s for _, s in subspaces], [weights[name] for name, _ in subspaces])[None].to(source)
        reach = [(name, 1 - float(s.distance(best) / s.distance(source).mean())) for name, s in subspaces]
        shown = ", ".join(f"{name} {100 * share:.0f} %" for name, share in reach)
        lines.append(f"  progress at the point nearest to all domains, with these weights: {shown}")
    return lines
