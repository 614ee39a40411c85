"""The loss of AU-GAN's generators as a whole: its terms, each with its weight."""

from torch import Tensor

from gen.augan import losses
from gen.augan.generator_pair import PairOutput
from gen.augan.settings import AUGANSettings
from gen.translation import losses as shared
from gen.translation.losses import LogitSet


def generator_losses(
    out: PairOutput,
    a: Tensor,
    b: Tensor,
    logits_a: LogitSet,
    logits_b: LogitSet,
    s: AUGANSettings,
) -> dict[str, Tensor]:
    """The weighted terms of the generators' loss; `logits_*`: discriminator logits of that domain's fakes, if any."""
    adversarial = {
        name: s.adversarial_weight * shared.adversarial_generator(logits)
        for name, logits in (("adversarial_a", logits_a), ("adversarial_b", logits_b))
        if logits
    }
    return adversarial | {
        "reconstruction_a": _reconstruction(out.reconstructed_a, a, s),
        "reconstruction_b": _reconstruction(out.reconstructed_b, b, s),
        **_cycle_losses(out, a, b, s),
    }


def _cycle_losses(out: PairOutput, a: Tensor, b: Tensor, s: AUGANSettings) -> dict[str, Tensor]:
    """Cycle consistency and asymmetric feature matching times `cycle_every`; 0 in the steps without cycles."""
    cycle = out.cycle
    if cycle is None:
        names = ("cycle_a", "cycle_b") if s.feature_matching == "off" else ("cycle_a", "cycle_b", "features")
        return dict.fromkeys(names, a.new_zeros(()))
    if out.log_scale is not None:
        cycle_a = s.uncertain_cycle_weight * losses.uncertain_cycle(cycle.a, a, out.log_scale)
    else:
        cycle_a = s.cycle_weight * shared.cycle(cycle.a, a)
    terms = {"cycle_a": cycle_a, "cycle_b": s.cycle_weight * shared.cycle(cycle.b, b)}
    if s.feature_matching != "off":
        mode = s.feature_matching
        matched_a = losses.feature_matching(out.transferred_a, cycle.features_fake_b, mode)
        matched_b = losses.feature_matching(out.features_b, cycle.features_fake_a, mode)
        terms["features"] = s.feature_weight * (matched_a + matched_b)
    return {name: s.cycle_every * term for name, term in terms.items()}


def _reconstruction(reconstructed: Tensor | None, image: Tensor, s: AUGANSettings) -> Tensor:
    if reconstructed is None:
        return image.new_zeros(())
    return s.reconstruction_weight * s.reconstruct_every * losses.reconstruction(reconstructed, image)
