"""Too little memory costs time, not pictures; NaN costs the picture that holds it, and nothing else."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gen import BadSetting
from gen.cyclegan.method import CycleGANPipeline, ResNetGenerator
from gen.devices import is_out_of_memory
from gen.errors import NotFinite
from gen.media.images import decode_still
from gen.media.video import ClipReader
from gen.translation.batch import translate
from gen.translation.memory import MemoryLimits, Plan
from gen.translation.network import Network
from gen.translation.norm import StatisticsSmoother
from gen.translation.report import Report
from gen.translation.settings import TranslateSettings
from tests.conftest import street
from tests.media.test_video import make_clip, moving_bars

NO_MEMORY = "[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory: you tried 1 byte"


class Cramped(CycleGANPipeline):
    """Fails above so many pixels at once, after the network has run, as a device may at its last layer."""

    most = 10**9
    least_rows = 0
    failures = 0

    def run_network(self, small: Any, direction: Any, tile: Any, native: Any, invention: Any) -> Any:
        out = super().run_network(small, direction, tile, native, invention)
        pixels = len(small) * (small.shape[2] if tile is None else min(tile, small.shape[2])) * small.shape[3]
        if pixels > self.most:
            type(self).failures += 1
            raise RuntimeError(NO_MEMORY)
        return out


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Cramped:
    monkeypatch.setattr(Cramped, "failures", 0)
    return Cramped(ResNetGenerator(4, 1).eval(), None, 64, 96)


def settings(source: Path, out: Path, **values: Any) -> TranslateSettings:
    return TranslateSettings(source, out, model="cramped", resolution="native", device="cpu", **values)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for i in range(6):
        Image.fromarray(street(np.random.default_rng(i), 64, 96, True)).save(tmp_path / "in" / f"{i}.png")
    return tmp_path / "in"


def run(pipeline: Cramped, source: Path, out: Path, most: int, **values: Any) -> Report:
    pipeline.most = most
    return translate(settings(source, out, **values), lambda _: pipeline)


class TestLimits:
    def test_halves_then_strips_then_gives_up(self) -> None:
        limits, size, tried = MemoryLimits(None, can_tile=True), (200, 100), list[Plan]()
        while limits.shrink(limits.plan(7, size), size):
            tried.append(limits.plan(7, size))
        assert tried == [Plan(3, None), Plan(1, None), *(Plan(1, rows) for rows in (100, 50, 25))]
        assert limits.plan(7, (50, 50)) == Plan(7, None)  # small frames are done as before
        assert limits.plan(9, (50, 50)) == Plan(7, None)

    def test_a_model_without_strips(self) -> None:
        limits, size = MemoryLimits(None, can_tile=False), (200, 100)
        assert limits.shrink(Plan(2, None), size)
        assert not limits.shrink(Plan(1, None), size)

    def test_strips_that_were_asked_for(self) -> None:
        limits = MemoryLimits(64, can_tile=True)
        assert limits.plan(2, (200, 100)) == Plan(2, 64)
        assert limits.shrink(Plan(1, 64), (200, 100))
        assert limits.plan(2, (200, 100)) == Plan(1, 32)
        assert limits.note(Plan(1, 32), 2) is not None
        assert MemoryLimits(64, can_tile=True).note(Plan(2, 64), 2) is None

    @pytest.mark.parametrize(
        ("error", "expected"),
        [
            (MemoryError(), True),
            (RuntimeError(NO_MEMORY), True),
            (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
            (RuntimeError("not enough memory: you tried to allocate 8 bytes"), True),
            (RuntimeError("shapes differ"), False),
            (ValueError("out of memory"), False),
        ],
    )
    def test_which_errors(self, error: Exception, expected: bool) -> None:
        assert is_out_of_memory(error) == expected


class TestPictures:
    @pytest.mark.parametrize(
        ("frames", "note", "failures"),
        [
            (2.5, "too little memory for 6 frames at once, so they were done 1 at a time", 2),
            (0.5, "it was done in strips of 32 rows", 3),
            (0.26, "it was done in strips of 16 rows", 4),
        ],
    )
    def test_all_are_done_and_the_report_says_how(
        self, pipeline: Cramped, pictures: Path, tmp_path: Path, frames: float, note: str, failures: int
    ) -> None:
        whole = run(pipeline, pictures, tmp_path / "whole", 10**9, batch_size=6)
        assert not any(entry.warnings for entry in whole.entries)
        report = run(pipeline, pictures, tmp_path / "out", int(frames * 64 * 96), batch_size=6)
        assert pipeline.failures == failures  # not again for each picture
        for entry in report.entries:
            assert entry.status == "done"
            assert len(entry.warnings) == 1
            assert note in entry.warnings[0]
            name = Path(entry.output).name
            one, other = (decode_still(tmp_path / folder / name).rgb.astype(int) for folder in ("whole", "out"))
            assert abs(one - other).max() <= 1
        written = json.loads((tmp_path / "out" / "report.json").read_text())["files"]
        assert all(note in file["warnings"][0] for file in written)

    def test_what_cannot_be_done_fails_alone(self, pipeline: Cramped, pictures: Path, tmp_path: Path) -> None:
        Image.fromarray(street(np.random.default_rng(9), 64, 4000, True)).save(pictures / "wide.png")
        report = run(pipeline, pictures, tmp_path / "out", 64 * 96)
        failed = {Path(entry.input).name: entry.error for entry in report.entries if entry.status == "failed"}
        assert failed.keys() == {"wide.png"}
        assert "there is too little memory for it" in str(failed["wide.png"])


def test_a_clip_is_the_same_and_says_so_once(pipeline: Cramped, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", moving_bars(12))
    run(pipeline, clip, tmp_path / "whole.mp4", 10**9, batch_size=4)
    frame = decode_size(clip)
    (entry,) = run(pipeline, clip, tmp_path / "out.mp4", 2 * frame, batch_size=4).entries
    assert entry.status == "done"
    assert entry.warnings == ["there was too little memory for 4 frames at once, so they were done 2 at a time"]
    whole, out = (frames_of(tmp_path / name) for name in ("whole.mp4", "out.mp4"))
    assert whole.shape == out.shape
    assert np.abs(whole - out).mean() < 1  # not 0: x264 with AVX-512 may encode the same frames a little differently


def frames_of(clip: Path) -> np.ndarray:
    with ClipReader(clip) as reader:
        return np.stack([frame.rgb.astype(int) for frame in reader])


def decode_size(clip: Path) -> int:
    with ClipReader(clip) as reader:
        return reader.width * reader.height


def test_so_many_pixels_at_once_as_kernels_can_address(tmp_path: Path) -> None:
    """Eight frames of 4K in a batch are more: 2^31 values in maps of 64 channels."""
    seen: list[int] = []

    class Counting(CycleGANPipeline):
        def translate_frames(self, frames: Any, *args: Any, **options: Any) -> Any:
            seen.append(len(frames))
            return frames, None

    frames = [np.zeros((2160, 3840, 3), np.uint8)] * 5
    network = Network(Counting(ResNetGenerator(4, 1), None, 2160, 3840), settings(tmp_path, tmp_path / "out"))
    assert len(network(frames)) == 5
    assert seen == [2, 2, 1]
    assert not network.warnings
    assert is_out_of_memory(RuntimeError("input tensor must fit into 32-bit index math"))


def test_a_failed_attempt_leaves_no_trace_in_the_averages(pipeline: Cramped, tmp_path: Path) -> None:
    """The statistics of a clip's frames are averaged; those of an attempt that failed must not count twice."""
    rng = np.random.default_rng(0)
    frames = [street(rng, 32, 48, True) for _ in range(4)]
    results: list[list[np.ndarray]] = []
    for most in (10**9, 32 * 48):
        pipeline.most = most
        network = Network(pipeline, settings(tmp_path, tmp_path / "out"))
        results.append([result.rgb for result in network(frames, StatisticsSmoother(0.8))])
    for one, other in zip(*results, strict=True):
        assert abs(one.astype(int) - other.astype(int)).max() <= 1


ADDRESS_SPACE = """
import os, resource, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from gen.translation.batch import load_model, translate
from gen.translation.settings import TranslateSettings
source, out, model, megabytes, batch = sys.argv[1:]
settings = TranslateSettings(Path(source), Path(out), model, resolution="native", device="cpu", batch_size=int(batch),
                             workers=1)
loaded = load_model(settings)
size = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
limit = size + int(megabytes) * 10**6
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
report = translate(settings, lambda _: loaded)
for entry in report.entries:
    print(entry.status, entry.warnings, entry.error)
"""


@pytest.mark.slow
def test_a_real_limit_of_the_address_space(tmp_path: Path) -> None:
    CycleGANPipeline(ResNetGenerator(16, 1), None, 64, 64).save_pretrained(tmp_path / "m")
    (tmp_path / "in").mkdir()
    for i in range(4):
        Image.fromarray(street(np.random.default_rng(i), 512, 768, True)).save(tmp_path / "in" / f"{i}.jpg")
    command = [sys.executable, "-P", "-c", ADDRESS_SPACE, str(tmp_path / "in"), str(tmp_path / "out"),
               str(tmp_path / "m"), "150", "4"]  # fmt: skip
    # Large blocks go back to the system when they are freed, so that the limit alone decides.
    allocator = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "1000000", "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, capture_output=True, text=True, env=os.environ | allocator)
    assert ended.returncode == 0, ended.stderr
    assert [line.split()[0] for line in ended.stdout.splitlines()] == ["done"] * 4
    assert ended.stdout.count("too little memory for 4 frames at once") == 4


class TestNaN:
    def test_only_the_picture_fails(self, pipeline: Cramped, pictures: Path, tmp_path: Path) -> None:
        """A white picture overflows this network; it fails, and is not black; the others are done."""
        with torch.no_grad():
            pipeline.generator("adverse_to_normal").model[1].weight.fill_(1e38)
        Image.new("RGB", (96, 64), "white").save(pictures / "white.png")
        Image.new("RGB", (96, 64), (127, 127, 127)).save(pictures / "grey.png")
        report = run(pipeline, pictures, tmp_path / "out", 10**9, batch_size=8)
        failed = [entry for entry in report.entries if entry.status == "failed"]
        assert "white.png" in {Path(entry.input).name for entry in failed}
        for entry in failed:
            assert "NaN or infinite" in str(entry.error)
            assert not Path(entry.output).exists()
        json.loads((tmp_path / "out" / "report.json").read_text(), parse_constant=pytest.fail)

    def test_a_clip_fails(self, pipeline: Cramped, tmp_path: Path) -> None:
        with torch.no_grad():
            pipeline.generator("adverse_to_normal").model[1].weight.fill_(float("nan"))
        clip = make_clip(tmp_path / "a.mp4", moving_bars(4))
        (entry,) = run(pipeline, clip, tmp_path / "out.mp4", 10**9).entries
        assert entry.status == "failed"
        assert not (tmp_path / "out.mp4").exists()

    def test_the_pipeline_says_so(self, pipeline: Cramped) -> None:
        with torch.no_grad():
            pipeline.generator("adverse_to_normal").model[1].bias.fill_(float("inf"))
        for resolution in (None, (32, 48)):
            with pytest.raises(NotFinite, match="NaN or infinite"):
                pipeline(street(np.random.default_rng(0), 64, 96, True), resolution=resolution)

    @pytest.mark.parametrize(("name", "value"), [("trained_height", 0), ("trained_width", -1), ("auto_height", 0)])
    def test_sizes_are_positive(self, name: str, value: int) -> None:
        with pytest.raises(BadSetting, match=name):
            CycleGANPipeline(None, None, **{name: value})
