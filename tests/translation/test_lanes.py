"""Pictures side by side on several cores: the same results as one after the other."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gen import AUGANPipeline
from gen.augan.networks import AUGANGenerator
from gen.translation import batch
from gen.translation.lanes import MOST, lanes_for
from gen.translation.network import Network
from gen.translation.settings import TranslateSettings
from tests.conftest import write_streets
from tests.translation.identity import Identity, statuses


@pytest.fixture
def two_threads():
    torch.set_num_threads(2)
    yield
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def model() -> AUGANPipeline:
    torch.manual_seed(0)
    shape = {"width": 4, "blocks": 1, "reconstruction": False, "transfer_blocks": 1}
    return AUGANPipeline(AUGANGenerator(**shape, uncertainty=True), None, trained_height=32, trained_width=56)


def network(model, **settings) -> Network:
    return Network(model, TranslateSettings(Path(), Path(), model="same", **settings))


def translate(source: Path, out: Path, model, **settings):
    return batch.translate(TranslateSettings(source, out, model="same", format="png", **settings), lambda _: model)


@pytest.mark.parametrize("runtime", ["torch", "openvino"])
def test_the_pictures_are_those_of_one_after_the_other(two_threads, tmp_path, model, runtime, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    source = write_streets(tmp_path / "in", 9, True, 40, 64)
    (source / "004.png").write_bytes(b"no picture")
    (source / "005.png").rename(source / "005a.png")
    two = translate(source, tmp_path / "two", model, runtime=runtime, uncertainty="raw")
    torch.set_num_threads(1)
    one = translate(source, tmp_path / "one", model, runtime=runtime, uncertainty="raw")
    torch.set_num_threads(2)
    assert statuses(one) == statuses(two)
    assert list(statuses(two).values()).count("done") == 8
    assert {entry.runtime for entry in two.entries if entry.status == "done"} == {runtime}
    for path in (tmp_path / "one").glob("*.png"):
        a, b = (np.asarray(Image.open(folder / path.name)).astype(int) for folder in (path.parent, tmp_path / "two"))
        assert np.abs(a - b).max() <= (1 if path.name.count(".") == 1 else 100), path  # maps have 16 bits
    done = [file["path"] for file in json.loads((tmp_path / "two" / "report.json").read_text())["files"]]
    assert done == sorted(done)


def test_how_many(two_threads, model):
    assert len(lanes_for(network(model), 100)) == 2
    assert len(lanes_for(network(model), 1)) == 1
    for alone in ({"tile": 16}, {"batch_size": 4}, {"resolution": "native"}, {"resolution": "1920x1080"}):
        assert len(lanes_for(network(model, **alone), 100)) == 1, alone
    assert len(lanes_for(network(model, resolution="640x360"), 100)) == 2
    assert len(lanes_for(network(Identity()), 100)) == 1
    torch.set_num_threads(64)
    assert len(lanes_for(network(model), 100)) == MOST
    torch.set_num_threads(2)


def test_what_cannot_be_copied_works_alone(two_threads, tmp_path, model):
    class Held(AUGANPipeline):
        def __deepcopy__(self, memo):
            raise TypeError("cannot be copied")

    source = write_streets(tmp_path / "in", 3, True, 40, 64)
    held = Held(model.adverse_to_normal, None, trained_height=32, trained_width=56)
    assert set(statuses(translate(source, tmp_path / "out", held)).values()) == {"done"}


def test_a_picture_that_fails_fails_alone(two_threads, tmp_path, model, monkeypatch):
    work = AUGANPipeline.translate_with_maps

    def fails(self, frames, *given, **options):
        if int(frames.max()) == 7:
            raise ValueError("of this picture")
        return work(self, frames, *given, **options)

    monkeypatch.setattr(AUGANPipeline, "translate_with_maps", fails)
    source = write_streets(tmp_path / "in", 5, True, 40, 64)
    Image.new("RGB", (64, 40), (7, 7, 7)).save(source / "002.png")
    found = statuses(translate(source, tmp_path / "out", model))
    assert [name for name, status in found.items() if status == "failed"] == ["002.png"]
    assert list(found.values()).count("done") == 4


def test_ctrl_c_keeps_what_is_done(two_threads, tmp_path, model):
    from gen.translation.watch import Watch

    source = write_streets(tmp_path / "in", 12, True, 40, 64)
    done: list[int] = []
    settings = TranslateSettings(source, tmp_path / "out", model="same")
    watch = Watch(tell=lambda progress: done.append(progress.files), stop=lambda: len(done) >= 3)
    with pytest.raises(KeyboardInterrupt):
        batch.translate(settings, lambda _: model, watch)
    files = json.loads((tmp_path / "out" / "report.json").read_text())["files"]
    finished = [file["path"] for file in files if file["status"] == "done"]
    assert 3 <= len(finished) < 12
    for name in finished:
        Image.open(tmp_path / "out" / name).load()
    assert set(statuses(batch.translate(settings, lambda _: model)).values()) == {"done", "skipped"}
