"""Both generators as one module, with the forward passes of training."""

from typing import Any, NamedTuple

from torch import Tensor, nn

from gen.augan.networks import AUGANGenerator, Translation
from gen.augan.settings import AUGANSettings


class PairOutput(NamedTuple):
    """All outputs of the generators for a batch; A is adverse, B is normal."""

    fake_b: Tensor
    fake_a: Tensor
    cycle: "Cycle | None"
    """None in a step without cycles."""
    reconstructed_a: Tensor | None
    reconstructed_b: Tensor | None
    """None in a step without self-reconstruction."""
    transferred_a: Tensor
    """T(E_AB(x_A))."""
    features_b: Tensor
    """E_BA(x_B)."""
    log_scale: Tensor | None


class Cycle(NamedTuple):
    """The translations translated back."""

    a: Tensor
    b: Tensor
    features_fake_b: Tensor
    """E_BA(x'_B)."""
    features_fake_a: Tensor
    """E_AB(x'_A)."""


class GeneratorPair(nn.Module):
    """Both generators, with the forward passes of training."""

    def __init__(self, settings: AUGANSettings) -> None:
        super().__init__()
        s = settings
        separate = s.reconstruction == "separate"
        shape: dict[str, Any] = {"reconstruction": separate, "upsampling": s.upsampling, "design": s.design}
        shape["pretrained"] = s.pretrained
        self.a2b = AUGANGenerator(
            s.width, s.blocks, s.transfer_blocks if s.transfer else 0, s.uncertainty, exposure=s.exposure, **shape
        )
        self.b2a = AUGANGenerator(s.width, s.blocks, 0, False, exposure=-s.exposure, **shape)
        self.separate = separate
        self.transfer_in_normal_cycle = s.transfer_in_normal_cycle

    def forward(self, a: Tensor, b: Tensor, noise: tuple[Tensor, Tensor] | None, cycle: bool = True) -> PairOutput:
        """Images (B, 3, H, W) in [-1, 1] -> `PairOutput`.

        `noise`: (2, B, C, H/4, W/4) for the features of each, or None for a step without self-reconstruction; `cycle`:
        whether to translate back.
        """
        to_b: Translation = self.a2b(a, uncertainty=cycle)
        to_a: Translation = self.b2a(b)
        return PairOutput(
            fake_b=to_b.image,
            fake_a=to_a.image,
            cycle=self.back(to_b.image, to_a.image) if cycle else None,
            reconstructed_a=self.reconstruct(self.a2b, self.b2a, to_b.features, noise[0]) if noise else None,
            reconstructed_b=self.reconstruct(self.b2a, self.a2b, to_a.features, noise[1]) if noise else None,
            transferred_a=to_b.transferred,
            features_b=to_a.features,
            log_scale=to_b.log_scale,
        )

    def back(self, fake_b: Tensor, fake_a: Tensor) -> Cycle:
        """Translate the translations back."""
        back_a: Translation = self.b2a(fake_b)
        back_b: Translation = self.a2b(fake_a, transfer=self.transfer_in_normal_cycle, uncertainty=False)
        return Cycle(back_a.image, back_b.image, back_a.features, back_b.features)

    def reconstruct(self, own: AUGANGenerator, other: AUGANGenerator, features: Tensor, noise: Tensor | None) -> Tensor:
        """Decode features of `own` back into the domain of its input."""
        return own.reconstruct(features, noise) if self.separate else other.decoder(features, noise)[0]
