"""What needs no trainer on a pretended CUDA device: translation, projection, rendering, metrics."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gen.augan.invention import InventionMap
from gen.augan.networks import AUGANGenerator
from gen.augan.pipeline import AUGANPipeline
from gen.cyclegan.method import CycleGANPipeline, ResNetGenerator
from gen.metrics.distances import Population
from gen.metrics.features import load_features
from gen.metrics.paired import PairedScores, load_perceptual
from gen.metrics.rivals import gamma, match_histogram, tone
from gen.metrics.structure import edge_correlation
from gen.smd.names import SCENES
from gen.smd.street.render import render_street
from gen.smd.street.street import make_street
from gen.smd.street.weather import WEATHERS
from gen.smd.styles import STYLES, render
from gen.smd.world import make_world
from gen.stylegan2.projector import project
from gen.translation.batch import translate
from gen.translation.norm import StatisticsSmoother
from gen.translation.settings import TranslateSettings
from tests.conftest import street
from tests.device.conftest import REAL, assert_same
from tests.device.pretend import Device
from tests.device.real import RealDevice
from tests.stylegan2.conftest import tiny_generator

pytestmark = pytest.mark.devices
FRAMES = torch.from_numpy(np.stack([street(np.random.default_rng(i), 80, 128, True) for i in range(2)]))
DAYS = torch.from_numpy(np.stack([street(np.random.default_rng(i), 80, 128, False) for i in range(2)]))


def augan(**shape: object) -> AUGANPipeline:
    torch.manual_seed(0)
    network = AUGANGenerator(4, 1, 1, reconstruction=False, **shape)  # pyright: ignore[reportArgumentType]
    return AUGANPipeline(network.eval(), None, 64, 96, invention=InventionMap(64, (4, 4, 4, 4)).eval())


PIPELINES = {
    "augan": augan,
    "augan, light": lambda: augan(design="light", exposure=30.0),
    "augan, pretrained": lambda: augan(design="light", exposure=30.0, pretrained=True),
    "cyclegan": lambda: CycleGANPipeline(ResNetGenerator(4, 1).eval(), None, 64, 96),
}


class TestTranslation:
    @pytest.mark.parametrize("name", PIPELINES)
    @pytest.mark.parametrize("how", ["whole", "strips", "a clip"])
    def test_results_are_those_of_the_cpu(self, name: str, how: str, cuda: Device | RealDevice) -> None:
        pipeline = PIPELINES[name]()
        tile = 16 if how == "strips" else None
        found = []
        for device in ("cpu", "cuda"):
            pipeline.to(device)
            smoother = StatisticsSmoother(0.5) if how == "a clip" else None
            found.append(pipeline.translate_with_maps(FRAMES, "adverse_to_normal", tile=tile, smoother=smoother))
        (ours, maps), (there, maps_there) = found
        assert (ours.int() - there.cpu().int()).abs().max() <= (4 if REAL else 1)  # a real one computes in TF32
        for one, other in zip(maps, maps_there, strict=True):
            assert one is None or torch.allclose(one, other.cpu(), atol=0.5 if REAL else 1e-3)

    @pytest.mark.parametrize("name", PIPELINES)
    def test_a_batch_waits_for_its_check_and_its_pictures(self, name: str, cuda: Device | RealDevice) -> None:
        pipeline = PIPELINES[name]().to("cuda")
        pipeline.translate_frames(FRAMES, "adverse_to_normal")
        cuda.forget()
        pipeline.translate_frames(FRAMES, "adverse_to_normal")
        assert sum(cuda.waits.values()) == 2, dict(cuda.waits)

    def test_a_folder(self, tmp_path: Path, cuda: Device | RealDevice) -> None:
        (tmp_path / "in").mkdir()
        for index, frame in enumerate(FRAMES.numpy()):
            Image.fromarray(frame).save(tmp_path / "in" / f"{index}.png")
        pipeline = augan().to("cuda")
        settings = TranslateSettings(
            tmp_path / "in", tmp_path / "out", model="augan-night2day", compare=True, precision="fp32"
        )
        report = translate(settings, lambda _: pipeline)
        assert [entry.status for entry in report.entries] == ["done", "done"]
        assert all(entry.p95_uncertainty for entry in report.entries)


class TestRendering:
    def test_a_street_in_every_weather(self, cuda: Device | RealDevice) -> None:
        made = make_street(3)
        here = render_street(made, 1.0, list(WEATHERS), 45, 80, 1, "cpu")
        cuda.forget()
        there = render_street(made, 1.0, list(WEATHERS), 45, 80, 1, "cuda")
        for weather in WEATHERS:
            assert_same(here.images[weather], there.images[weather])
        assert torch.isclose(here.depth, there.depth.cpu()).float().mean() >= (0.99 if REAL else 1)
        # Rays that hit nothing are left out, and to know how many those are, the host waits.
        assert sum(cuda.waits.values()) <= 25 * len(WEATHERS)

    @pytest.mark.parametrize("style", STYLES)
    def test_game_scenes(self, style: str, cuda: Device | RealDevice) -> None:
        worlds = [make_world(scene, 5) for scene in SCENES[:2]]
        here, there = (render(worlds, style, 48, device) for device in ("cpu", "cuda"))
        for one, other in zip(here, there, strict=True):
            assert_same(torch.from_numpy(one), torch.from_numpy(other))


class TestMetrics:
    def test_distances(self, cuda: Device | RealDevice) -> None:
        found = []
        for device in ("cpu", "cuda"):
            network = load_features("squeezenet").to(device)
            night, day = (Population(network).add_all([frames.to(device)]) for frames in (FRAMES, DAYS))
            found.append(night.distance(day))
        assert found[0].kernel == pytest.approx(found[1].kernel, rel=1e-2 if REAL else 1e-4)

    def test_paired_scores(self, cuda: Device | RealDevice) -> None:
        found = []
        for device in ("cpu", "cuda"):
            scores = PairedScores(load_perceptual().to(device))
            scores.add(FRAMES.to(device), DAYS.to(device))
            found.append(scores.numbers())
        assert found[0] == pytest.approx(found[1], rel=1e-2 if REAL else 1e-4)

    def test_rivals_and_structure(self, cuda: Device | RealDevice) -> None:
        frames, days = FRAMES.to("cuda"), DAYS.to("cuda")
        for rival in (gamma, match_histogram):
            assert_same(rival(FRAMES, tone([DAYS])), rival(frames, tone([days])))
        torch.testing.assert_close(edge_correlation(frames, days).cpu(), edge_correlation(FRAMES, DAYS))


def test_projection(cuda: Device | RealDevice) -> None:
    generator = tiny_generator().to("cuda")
    target = torch.rand(1, 3, 32, 32).to("cuda") * 2 - 1
    perceptual = load_perceptual().to("cuda")
    project(generator, target, perceptual, steps=3)
    cuda.forget()
    project(generator, target, perceptual, steps=6)
    assert sum(cuda.waits.values()) == 2  # for the latents' mean and spread, and none in a step
