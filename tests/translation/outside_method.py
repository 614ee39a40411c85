"""A translation method in one file, as a user of gen would write it: one learnt exponent for each direction."""

from dataclasses import dataclass

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from gen.media.resize import to_uint8
from gen.translation.pipeline import NO_MAPS, TranslationPipeline
from gen.translation.registry import Method, register
from gen.translation.training import Fakes, UnpairedTrainer
from gen.translation.training_settings import UnpairedSettings


class Exponent(ModelMixin, ConfigMixin):
    """x -> x^g on [0, 1]."""

    @register_to_config
    def __init__(self) -> None:
        super().__init__()
        self.log_exponent = nn.Parameter(torch.zeros(1))

    def forward(self, image: Tensor) -> Tensor:
        return ((image + 1) / 2).clamp(1e-3, 1) ** self.log_exponent.exp() * 2 - 1


class GammaPipeline(TranslationPipeline):
    def __init__(self, adverse_to_normal, normal_to_adverse, trained_height=64, trained_width=96, auto_height=None,
                 weathers=None) -> None:  # fmt: skip
        super().__init__()
        self.set_up(trained_height, trained_width, auto_height, weathers,
                    adverse_to_normal=adverse_to_normal, normal_to_adverse=normal_to_adverse)  # fmt: skip

    def run_network(self, small, direction, tile, native, invention):
        return self.generator(direction)(small), NO_MAPS


@dataclass(frozen=True, kw_only=True)
class GammaSettings(UnpairedSettings):
    """Those of every unpaired training."""


class GammaTrainer(UnpairedTrainer[GammaSettings]):
    """Matches the mean brightness of the other domain."""

    def __init__(self, settings: GammaSettings) -> None:
        super().__init__(settings)
        self.pair = nn.ModuleDict({"adverse_to_normal": Exponent(), "normal_to_adverse": Exponent()})
        self.setup({"generators": self.pair}, averaged="generators")

    def generator_terms(self, batch):
        fakes = Fakes(adverse=self.pair["normal_to_adverse"](batch.normal),
                      normal=self.pair["adverse_to_normal"](batch.adverse))  # fmt: skip
        a, b = (fakes.adverse.mean() - batch.adverse.mean()) ** 2, (fakes.normal.mean() - batch.normal.mean()) ** 2
        return fakes, {"brightness_a": a, "brightness_b": b}

    def discriminator_terms(self, batch, fakes):
        raise AssertionError("there is no discriminator")

    def sample_row(self, image, adverse):
        direction = "adverse_to_normal" if adverse else "normal_to_adverse"
        return [to_uint8(x)[0].permute(1, 2, 0).numpy() for x in (image, self.pair[direction](image))]


register(Method("gamma", "outside_method:GammaPipeline"))
