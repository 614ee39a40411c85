"""Translate frames of any size with trained AU-GAN weights, with per-pixel uncertainty maps."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from gen.augan.invention import InventionMap
from gen.augan.losses import laplace_scale
from gen.augan.networks import AUGANGenerator, Translation
from gen.augan.strips import translate_in_strips
from gen.media.resize import resize
from gen.translation.pipeline import Maps, TranslationOutput, TranslationPipeline
from gen.translation.runtimes.graph import Network
from gen.translation.runtimes.parts import Part
from gen.translation.settings import DIRECTIONS, Direction, MapName


@dataclass
class AUGANOutput(TranslationOutput):
    """The pipeline's output, with one entry per input image."""


class AUGANPipeline(TranslationPipeline):
    """Both directions of an AU-GAN.

    >>> pipe = AUGANPipeline.from_pretrained("augan-night2day")
    >>> out = pipe("night.jpg", direction="adverse_to_normal")
    >>> out.images[0].save("day.jpg")
    """

    _optional_components: ClassVar[list[str]] = [*DIRECTIONS, "invention"]
    output_class = AUGANOutput
    adverse_to_normal: AUGANGenerator | None
    normal_to_adverse: AUGANGenerator | None
    invention: InventionMap | None

    def __init__(
        self,
        adverse_to_normal: AUGANGenerator | None,
        normal_to_adverse: AUGANGenerator | None,
        trained_height: int = 288,
        trained_width: int = 512,
        auto_height: int | None = None,
        weathers: list[str] | None = None,
        invention: InventionMap | None = None,
        default_map: str = "cycle",
    ) -> None:
        """`invention`: the map for translations to normal. Others: see `TranslationPipeline.set_up`."""
        super().__init__()
        self.set_up(
            trained_height,
            trained_width,
            auto_height,
            weathers,
            default_map,
            adverse_to_normal=adverse_to_normal,
            normal_to_adverse=normal_to_adverse,
            invention=invention,
        )

    @property
    def multiple(self) -> int:
        """The larger multiple of both generators."""
        return max(g.multiple for d in DIRECTIONS if (g := getattr(self, d)) is not None)

    def has_map(self, direction: Direction, name: MapName) -> bool:
        """cycle: if the generator has an uncertainty head; invention: to normal, if the model has that map."""
        if name == "cycle":
            return self.generator(direction).head is not None
        return self.invention is not None and direction == "adverse_to_normal"

    def run_network(
        self, small: Tensor, direction: Direction, tile: int | None, native: tuple[int, int], invention: bool
    ) -> tuple[Tensor, Maps]:
        """See `TranslationPipeline.run_network`."""
        padded, (rows, columns) = self.padded(small), small.shape[-2:]
        image, *scales = self.outputs(direction, padded) if tile is None else self._in_strips(direction, padded, tile)
        translated = image[..., :rows, :columns].to(small.device).float()
        cycle = resize(scales[0][..., :rows, :columns], native)[:, 0] if scales else None
        if invention and self.invention is not None and direction == "adverse_to_normal":
            return translated, Maps(cycle, *_expectation(self.invention, small, translated, native))
        return translated, Maps(cycle)

    def network(self, direction: Direction) -> Network:
        """The generator, with the scale b of the cycle error in grey levels if it has the head for it."""
        generator: AUGANGenerator = self.generator(direction)

        def run(images: Tensor) -> tuple[Tensor, ...]:
            if images.device.type == "cpu":  # its norms are many times faster in NCHW layout
                images = images.contiguous()
            return _outputs(generator(images.to(generator.dtype)))

        return run

    def parts(self) -> dict[str, Part]:
        """The generators and the invention map."""
        found = super().parts()
        if self.invention is not None:
            found["invention"] = Part(_InventionPart(self.invention), ("frame", "translation"), ("invented", "error"))
        return found

    def _in_strips(self, direction: Direction, images: Tensor, tile: int) -> tuple[Tensor, ...]:
        return _outputs(translate_in_strips(self.generator(direction), images, tile))


class _InventionPart(nn.Module):
    def __init__(self, network: InventionMap) -> None:
        super().__init__()
        self.network = network

    def forward(self, frame: Tensor, translation: Tensor) -> tuple[Tensor, Tensor]:
        """Frames and their translations -> share made up, 0..1, and expected error in grey levels."""
        out = self.network(frame, translation)
        return out.share, out.error


def _outputs(out: Translation) -> tuple[Tensor, ...]:
    return (out.image,) if out.log_scale is None else (out.image, laplace_scale(out.log_scale))


def _expectation(
    network: InventionMap, frame: Tensor, translation: Tensor, native: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Invented share and expected error (B, H, W) at `native` size.

    The network runs on at most as many rows as in training, because its windows and the noise have a size in pixels.
    """
    height = min(frame.shape[2], int(network.config["height"]))
    size = (height, max(1, round(frame.shape[3] * height / frame.shape[2])))
    expected = network(resize(frame, size), resize(translation, size))
    return resize(expected.share, native)[:, 0], resize(expected.error, native)[:, 0]
