"""Train MobileStyleGAN: a small generator learns to draw what a StyleGAN generator draws from the same latents.

Belousov 2021 (arXiv 2104.04767), section 3.4. Departures: there is no discriminator, because a student that begins with
its teacher's weights has little to learn; the pyramid of images is left out, whose only use is training; the perceptual
loss is SqueezeNet's.
"""

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.utils import make_grid

from gen.errors import BadSetting
from gen.media.resize import to_uint8
from gen.metrics.paired import PairedScores, load_perceptual
from gen.mobilestylegan.networks import MobileStyleGANGenerator, haar
from gen.mobilestylegan.settings import MobileStyleGANSettings
from gen.mobilestylegan.teacher import TeacherImages, load_teacher
from gen.provenance import fingerprint_weights
from gen.stylegan2.training import batched, latents
from gen.tensors import on_device
from gen.training.loop import Trainer

HELD_OUT = 64
"""Seeds 0 to 63 are not trained on."""

SAMPLES = 16


class MobileStyleGANTrainer(Trainer[MobileStyleGANSettings]):
    """Trains a generator on the images of another one. The mapping network is the teacher's, and stays."""

    betas = (0.9, 0.99)
    settings_class = MobileStyleGANSettings

    def __init__(self, settings: MobileStyleGANSettings) -> None:
        s = settings
        if s.size & (s.size - 1):
            raise BadSetting(f"size must be a power of two, for example 64, 128 or 256, not {s.size}.")
        super().__init__(settings)
        teacher = load_teacher(s.teacher)
        if teacher.size < s.size:
            raise BadSetting(f"size: the teacher {s.teacher} draws {teacher.size} pixels; size may not be {s.size}.")
        self.teacher_weights = fingerprint_weights(teacher.state_dict(), torch.float16)
        self.generator = student_of(teacher, s)
        nn.Module.to(teacher, self.device)  # diffusers types its own `to` for no argument
        file = s.out / "cache" / f"{self.teacher_weights}-{s.size}.npy"
        with self.accelerator.main_process_first():
            self.images = TeacherImages(teacher, file, HELD_OUT + s.teacher_images, s.size)
        self._order: tuple[int, NDArray[np.int64]] | None = None
        """An epoch, and the order of its images."""
        self.compared: dict[str, Any] = {}
        """The last result of `measure`."""
        self.perceptual = load_perceptual().to(self.device)
        self.setup({"generator": self.generator}, averaged="generator")

    @property
    def total_images(self) -> int:
        """`images`, or `epochs` times the teacher's images."""
        return self.settings.images_to_show(self.settings.teacher_images)

    @property
    def measure_every(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Images between two calls of `measure`."""
        return self.settings.measure_every

    def step(self, parts: Sequence[Sequence[int]]) -> dict[str, Tensor]:
        """One update on what the teacher draws."""
        losses: list[dict[str, Tensor]] = []
        with self.updating("generator"):
            for samples in parts:
                seeds = [self.seed_of(sample) for sample in samples]
                of_part = self.losses(self.draw(seeds), self.images.batch(seeds))
                self.backward(of_part)
                losses.append({name: value.detach() for name, value in of_part.items()})
            self.average_gradients("generator")
        return {name: torch.stack([part[name] for part in losses]).mean() for name in losses[0]}

    def losses(self, drawn: Tensor, wanted: Tensor) -> dict[str, Tensor]:
        """The losses, with their weights, of images (B, 3, H, W) and the teacher's. Extend it to change them."""
        s = self.settings
        return {
            "image": F.l1_loss(drawn, wanted) * s.image_weight,
            "wavelet": F.l1_loss(haar(drawn), haar(wanted)) * s.wavelet_weight,
            "perceptual": self.perceptual(drawn, wanted).mean() * s.perceptual_weight,
        }

    def draw(self, seeds: list[int]) -> Tensor:
        """The student's images of these seeds, (B, 3, size, size), with the fixed noise maps."""
        with self.accelerator.autocast():
            return self.generator(on_device(latents(seeds, self.generator.z_dim), self.device)).float()

    def seed_of(self, sample: int) -> int:
        """The seed of a sample: each epoch has all of the teacher's images, in an order of its own."""
        epoch, position = divmod(sample, self.settings.teacher_images)
        if self._order is None or self._order[0] != epoch:
            rng = np.random.default_rng((self.settings.seed, epoch))
            self._order = epoch, rng.permutation(self.settings.teacher_images)
        return HELD_OUT + int(self._order[1][position])

    def after_step(self) -> None:
        """The weights that the run ends with are compared too."""
        if self.finished and not self._tick(self.measure_every):
            self._measure()

    def data_record(self) -> dict[str, Any]:
        """The teacher."""
        s = self.settings
        return {"teacher": {"name": s.teacher.name, "fingerprint": self.teacher_weights, "count": s.teacher_images}}

    def extra_state(self) -> dict[str, Any]:
        """The last comparison with the teacher, and the shape of the mapping network, for the export."""
        mapping = {"z_dim": self.generator.z_dim, "w_dim": self.generator.w_dim}
        mapping["layers"] = len(self.generator.mapping.layers)
        return {"mapping": mapping, "compared": self.compared}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `extra_state` gave."""
        self.compared = state["compared"]

    @torch.no_grad()
    def sample_grid(self) -> NDArray[np.uint8]:
        """Held-out seeds: the teacher's images above, the student's below."""
        seeds = list(range(SAMPLES // 2))
        sheet = make_grid(to_uint8(torch.cat([self.images.batch(seeds), self.draw(seeds)])), nrow=8, pad_value=255)
        return sheet.permute(1, 2, 0).cpu().numpy()

    @torch.no_grad()
    def measure(self) -> dict[str, float]:
        """PSNR, SSIM and perceptual distance to the teacher's images of held-out seeds."""
        scores = PairedScores(self.perceptual)
        for seeds in batched(range(HELD_OUT), self.settings.batch):
            pair = (self.draw(list(seeds)), self.images.batch(list(seeds)))
            scores.add(*(to_uint8(images).permute(0, 2, 3, 1) for images in pair))
        found = {name: value for name, value in scores.numbers().items() if name != "images"}
        self.compared = {"images": self.images_shown, "held_out": HELD_OUT, "scores": found}
        return found


def make_student(s: MobileStyleGANSettings, z_dim: int, w_dim: int, mapping_layers: int) -> MobileStyleGANGenerator:
    """A generator of the shape in the settings."""
    sizes = [2**k for k in range(2, s.size.bit_length() - 1)]
    channels = [min(s.channel_max, max(4, int(32768 * s.channel_multiplier / r) // 4 * 4)) for r in sizes]
    return MobileStyleGANGenerator(channels, z_dim, w_dim, mapping_layers)


@torch.no_grad()
def student_of(teacher: Any, s: MobileStyleGANSettings) -> MobileStyleGANGenerator:
    """A new generator with the teacher's mapping network.

    From a MobileStyleGAN, it also has the levels whose channels are the same. What makes the image of them is new, and
    begins with zeros: nothing is learnt at first but that.
    """
    student = make_student(s, teacher.z_dim, teacher.w_dim, len(teacher.mapping.layers))
    student.mapping.load_state_dict(teacher.mapping.state_dict())
    student.mapping.requires_grad_(False)
    student.w_average.copy_(teacher.w_average)
    student.to_image.conv.weight.zero_()
    if isinstance(teacher, MobileStyleGANGenerator):
        pairs = zip(student.config["channels"], teacher.config["channels"], strict=False)
        same = len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))
        if same:
            student.constant.copy_(teacher.constant)
            for own, theirs in zip(student.convs[: 2 * same - 1], teacher.convs, strict=False):
                own.load_state_dict(theirs.state_dict())
        if student.size == teacher.size and same == len(student.config["channels"]):
            student.to_image.load_state_dict(teacher.to_image.state_dict())
    return student
