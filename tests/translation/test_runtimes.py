"""Other runtimes than torch: the same pictures, for frames and for clips, and files that other programs can use."""

import json
import subprocess
import sys
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from PIL import Image

from gen import BadSetting, weights
from gen.augan.invention import InventionMap
from gen.augan.networks import AUGANGenerator
from gen.augan.pipeline import AUGANPipeline
from gen.cli import main
from gen.cyclegan.method import CycleGANPipeline, ResNetGenerator
from gen.media.folders import Job
from gen.media.video import write_clip
from gen.translation import commands
from gen.translation.network import Network
from gen.translation.norm import StatisticsSmoother
from gen.translation.runtimes import choice, export
from gen.translation.runtimes.choice import use_runtime
from gen.translation.runtimes.sessions import openvino_core
from gen.translation.settings import ExportSettings, TranslateSettings
from gen.translation.workers import _frames
from tests.translation.identity import Identity

PUBLISHED = {"width": 4, "blocks": 1, "transfer_blocks": 1, "reconstruction": False}
LIGHT = PUBLISHED | {"design": "light", "exposure": 30.0, "pretrained": True}


def augan(**shape: object) -> AUGANPipeline:
    torch.manual_seed(0)
    to_day = AUGANGenerator(**shape)
    to_night = AUGANGenerator(**shape | {"transfer_blocks": 0, "uncertainty": False} | _darkens(shape))
    invention = InventionMap(height=32, widths=(8, 8, 8, 8))
    torch.nn.init.normal_(invention.leave.weight)
    return AUGANPipeline(to_day, to_night, trained_height=32, trained_width=56, invention=invention)


def _darkens(shape: dict) -> dict:
    return {"exposure": -shape["exposure"]} if shape.get("exposure") else {}


def cyclegan(**shape: object) -> CycleGANPipeline:
    torch.manual_seed(0)
    network = ResNetGenerator(width=4, blocks=1, **shape).eval()
    return CycleGANPipeline(network, None, trained_height=32, trained_width=56)


PIPELINES = {
    "published": lambda: augan(**PUBLISHED),
    "light": lambda: augan(**LIGHT),
    "cyclegan": cyclegan,
    "cut": lambda: cyclegan(norm="batch", antialias_down=True, antialias_up=True),
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(params=PIPELINES)
def pipe(request):
    return PIPELINES[request.param]()


def settings(runtime: str, **changes: object) -> TranslateSettings:
    return TranslateSettings(Path("in"), Path("out"), model="mine", runtime=runtime, **changes)


def frames(count: int, height: int, width: int) -> torch.Tensor:
    rng = np.random.default_rng(height + width)
    return torch.from_numpy(rng.integers(0, 256, (count, height, width, 3), dtype=np.uint8))


def assert_same(one, other):
    for a, b in zip(one, other, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert (a.float() - b.float()).abs().max() <= (1 if a.dtype == torch.uint8 else 1e-3)


@pytest.mark.parametrize("runtime", ["openvino", "onnx"])
def test_pictures_of_any_size_and_clips_are_those_of_torch(pipe, runtime):
    batches = [frames(2, 32, 56), frames(1, 37, 51), frames(3, 64, 64)]
    directions = [d for d in ("adverse_to_normal", "normal_to_adverse") if getattr(pipe, d) is not None]

    def translated(smoother=None):
        return [pipe.translate_frames(x, d, resolution=None, smoother=smoother) for d in directions for x in batches]

    def clip():  # frames in order, in batches of two and one
        smoother = StatisticsSmoother(0.7)
        return [pipe.translate_frames(x, directions[0], smoother=smoother) for x in (batches[0], frames(1, 32, 56))]

    expected, smooth = translated(), clip()
    for direction in directions:
        assert use_runtime(pipe, settings(runtime, direction=direction), 1) == runtime
    for now, before in zip(translated() + clip(), expected + smooth, strict=True):
        assert_same(now, before)
    assert_same(pipe.translate_frames(batches[0], directions[0], tile=8), expected[0])  # strips are torch's
    if runtime == "openvino":  # without smoothing, the last frame is another one
        alone = pipe.translate_frames(frames(1, 32, 56), directions[0])
        changed = (alone[0].int() - smooth[1][0].int()).abs().max()
        assert changed > 1 or not any(
            "InstanceNorm" in type(m).__name__ for m in pipe.generator(directions[0]).modules()
        )


def test_a_second_run_takes_the_graph_that_is_there_and_other_weights_do_not(monkeypatch):
    one = augan(**PUBLISHED)
    use_runtime(one, settings("openvino"), 1)
    (graph,) = (choice.cache() / "graphs").glob("*.onnx")
    written = graph.stat().st_mtime_ns
    use_runtime(augan(**PUBLISHED), settings("onnx"), 1)
    assert [file.stat().st_mtime_ns for file in (choice.cache() / "graphs").glob("*.onnx")] == [written]
    with torch.no_grad():
        next(one.adverse_to_normal.parameters()).mul_(2)
    expected = one.network("adverse_to_normal")(torch.zeros(1, 3, 32, 64))
    use_runtime(one, settings("openvino"), 1)
    assert_same(one.outputs("adverse_to_normal", torch.zeros(1, 3, 32, 64)), expected)


def test_a_damaged_graph_is_written_again(monkeypatch):
    pipe = augan(**PUBLISHED)
    use_runtime(pipe, settings("onnx"), 1)
    (graph,) = (choice.cache() / "graphs").glob("*.onnx")
    whole = graph.read_bytes()
    hole = whole[: len(whole) // 2] + bytes(64) + whole[len(whole) // 2 + 64 :]
    assert hole != whole  # a graph that loads, and translates wrongly
    for content in (whole[: len(whole) // 2], b"", hole):
        graph.write_bytes(content)
        for runtime in ("onnx", "openvino"):
            assert use_runtime(pipe, settings(runtime), 1) == runtime
        assert len(graph.read_bytes()) == len(whole)
        assert graph.read_bytes() != hole


def test_the_graph_of_a_method_whose_file_has_changed_is_another(tmp_path, monkeypatch):
    import sys

    pipe = cyclegan()
    use_runtime(pipe, settings("onnx"), 1)
    module = sys.modules[type(pipe).__module__]
    (tmp_path / "method.py").write_text("# another translation with the same weights")
    monkeypatch.setattr(module, "__file__", str(tmp_path / "method.py"))
    use_runtime(pipe, settings("onnx"), 1)
    assert len(list((choice.cache() / "graphs").glob("*.onnx"))) == 2


def test_auto_measures_once_for_long_runs_and_remembers(monkeypatch):
    pipe, calls = augan(**PUBLISHED), []
    speeds = {"torch": 2.0, "openvino": 1.0}
    monkeypatch.setattr(choice, "measure", lambda *given: calls.append(given) or speeds)
    assert use_runtime(pipe, settings("auto"), choice.LEAST - 1) == "torch"
    assert not pipe.runners
    assert use_runtime(pipe, settings("auto"), choice.LEAST) == "openvino"
    assert use_runtime(pipe, settings("auto"), 1) == "openvino"  # known by now
    assert use_runtime(pipe, settings("auto", tile=64), choice.LEAST) == "torch"
    assert not pipe.runners
    assert len(calls) == 1
    speeds["openvino"] = 3.0
    other = augan(**LIGHT)
    assert use_runtime(other, settings("auto"), choice.LEAST) == "torch"
    assert use_runtime(other.to(torch.float16), settings("auto"), choice.LEAST) == "torch"


def test_a_damaged_measurement_is_made_again(monkeypatch):
    pipe, calls = augan(**PUBLISHED), []
    monkeypatch.setattr(choice, "measure", lambda *given: calls.append(given) or {"torch": 2.0, "openvino": 1.0})
    use_runtime(pipe, settings("auto"), choice.LEAST)
    speeds = choice.cache() / "speeds.json"
    speeds.write_text(speeds.read_text().replace("1.0", '"fast"'))
    assert use_runtime(pipe, settings("auto"), choice.LEAST) == "openvino"
    assert len(calls) == 2


def test_auto_falls_back_to_torch_if_the_cache_cannot_be_written(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    pipe = augan(**PUBLISHED)
    assert use_runtime(pipe, settings("auto"), choice.LEAST) == "torch"
    assert not pipe.runners
    assert "OpenVINO is not used, because it failed" in caplog.text
    with pytest.raises(BadSetting, match="openvino failed"):
        use_runtime(pipe, settings("openvino"), 1)
    assert pipe.translate_frames(frames(1, 32, 56), "adverse_to_normal")[0].shape == (1, 32, 56, 3)


def test_the_frames_of_a_clip_are_counted(tmp_path):
    write_clip(tmp_path / "a.mp4", iter(frames(7, 32, 56).numpy()), 24, "")
    (tmp_path / "broken.mp4").write_text("no clip")
    jobs = [Job(tmp_path / name, tmp_path / "o", kind) for name, kind in
            (("a.mp4", "clip"), ("broken.mp4", "clip"), ("b.png", "still"))]  # fmt: skip
    assert _frames(jobs, settings("auto")) == 8


def test_a_measurement_has_both_and_leaves_the_model_as_it_is(monkeypatch):
    monkeypatch.setattr(choice, "SECONDS", 0.01)
    pipe = augan(**PUBLISHED)
    measured = choice.measure(pipe, "adverse_to_normal")
    assert measured.keys() == {"torch", "openvino"}
    assert min(measured.values()) > 0
    assert not pipe.runners


def test_bf16_differs_by_rounding():
    pipe = augan(**LIGHT).to(torch.bfloat16)
    expected = pipe.translate_frames(frames(1, 32, 56), "adverse_to_normal")
    use_runtime(pipe, settings("openvino"), 1)
    found = pipe.translate_frames(frames(1, 32, 56), "adverse_to_normal")
    assert (found[0].float() - expected[0].float()).abs().mean() < 2


def test_what_cannot_be_is_a_sentence(monkeypatch):
    with pytest.raises(BadSetting, match="fp32"):
        use_runtime(augan(**PUBLISHED).to(torch.bfloat16), settings("onnx"), 1)
    with pytest.raises(BadSetting, match="mine runs in torch alone"):
        use_runtime(Identity(), settings("openvino"), 1)
    assert use_runtime(Identity(), settings("auto"), 10_000) == "torch"
    monkeypatch.setattr(AUGANPipeline, "network", lambda self, direction: None)
    with pytest.raises(BadSetting, match="runs in torch alone, not in openvino"):
        use_runtime(augan(**PUBLISHED), settings("openvino"), 1)


def test_torch_takes_over_where_another_runtime_has_too_little_memory(monkeypatch):
    pipe, picture = augan(**LIGHT), frames(1, 32, 56)[0].numpy()
    expected = pipe.translate_frames(torch.from_numpy(picture)[None], "adverse_to_normal")[0][0]
    network = Network(pipe, settings("openvino"))
    network.runtime = use_runtime(pipe, settings("openvino"), 1)
    session = pipe.runners["adverse_to_normal"].session
    monkeypatch.setattr(session, "_request", MagicMock(**{"infer.return_value": {0: np.zeros((1, 3, 0, 0))}}))
    (found,) = network([picture])
    assert (network.runtime, pipe.runners) == ("torch", {})
    assert np.array_equal(found.rgb, expected.numpy())


@pytest.fixture
def model(tmp_path, monkeypatch) -> Path:
    augan(**PUBLISHED).save_pretrained(tmp_path / "weights" / "mine")
    monkeypatch.setattr(weights, "weight_folders", lambda: [tmp_path / "weights"])
    return tmp_path / "weights" / "mine"


def test_the_command_and_its_report(model, tmp_path, capsys):
    Image.fromarray(frames(1, 40, 60)[0].numpy()).save(tmp_path / "a.png")
    for runtime in ("torch", "openvino"):
        out = tmp_path / runtime
        assert (
            main(["translate", str(tmp_path / "a.png"), str(out / "a.png"), "--model", "mine", "--runtime", runtime])
            == 0
        )
        assert json.loads((out / "a.report.json").read_text())["files"][0]["runtime"] == runtime
        assert (f"computed by {runtime}, not torch" in capsys.readouterr().out) == (runtime != "torch")
    one, other = (np.asarray(Image.open(tmp_path / r / "a.png")).astype(int) for r in ("torch", "openvino"))
    assert np.abs(one - other).max() <= 1


@pytest.mark.parametrize("to", ["onnx", "openvino"])
def test_exported_files_take_any_size_and_equal_torch(model, tmp_path, to):
    import onnxruntime

    augan(**LIGHT).save_pretrained(model)  # the design that has the most kinds of layers
    out = tmp_path / "files"
    assert main(["export", "mine", str(out), "--to", to]) == 0
    pipe = AUGANPipeline.from_pretrained(model)
    suffix = "onnx" if to == "onnx" else "xml"
    for name, part in pipe.parts().items():
        file = out / f"{name}.{suffix}"
        if to == "onnx":
            session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
            shapes = [output.shape for output in session.get_outputs()]
            assert all(shape in (["batch", n, "height", "width"] for n in (1, 3)) for shape in shapes), shapes
            assert session.get_modelmeta().custom_metadata_map["licence"].startswith("Licence: not stated")
            run = lambda given, session=session: session.run(None, given)  # noqa: E731
        else:
            compiled = openvino_core().compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
            run = lambda given, compiled=compiled: list(compiled(given).values())  # noqa: E731
        for height, width in ((32, 64), (41, 67), (33, 32), (16, 17)):
            given = {n: torch.rand(2, 3, height, width) * 2 - 1 for n in part.inputs}
            with torch.no_grad():
                expected = part.module(*given.values())
            found = run({n: x.numpy() for n, x in given.items()})
            assert len(found) == len(expected)
            for a, b in zip(found, expected, strict=True):
                np.testing.assert_allclose(a, b.numpy(), rtol=1e-3, atol=1e-3)
    text = (out / "README.md").read_text()
    assert f"`invention.{suffix}" in text
    night = Image.fromarray(frames(1, 65, 96)[0].numpy())
    night.save(out / "night.png")
    program = (
        text.split("```python\n")[1].split("```")[0].replace("night.jpg", "night.png").replace("day.jpg", "day.png")
    )
    subprocess.run([sys.executable, "-c", program], cwd=out, check=True)
    by_pipe = np.asarray(pipe(night).images[0]).astype(int)
    assert np.abs(np.asarray(Image.open(out / "day.png")).astype(int) - by_pipe).max() <= 2


SIGNALLED = """
import faulthandler, os, pathlib, signal, sys
import torch
from gen.translation.runtimes.graph import write_graph
from gen.translation.runtimes.sessions import load_session

faulthandler.enable()
signal.signal(signal.SIGUSR1, lambda *_: print("heard"))
layer = torch.nn.Conv2d(3, 3, 1)
write_graph(lambda images: (layer(images),), layer, pathlib.Path(sys.argv[1]))
sessions = [load_session("openvino", sys.argv[1], "fp32", 1) for _ in range(2)]
del sessions[0], sessions[0]
os.kill(os.getpid(), signal.SIGUSR1)
"""


def test_a_signal_after_several_sessions_is_heard(tmp_path):
    """Else Ctrl-C would kill the process before its report is written. It needs a processor with AMX to fail."""
    command = [sys.executable, "-W", "ignore", "-c", SIGNALLED, str(tmp_path / "graph.onnx")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr


def test_an_export_replaces_an_earlier_one_and_nothing_else(model, tmp_path, capsys):
    out = tmp_path / "files"
    out.mkdir()
    (out / "README.md").write_text("# My project")
    assert main(["export", "mine", str(out)]) == 1
    assert "README.md is not of gen export" in capsys.readouterr().err
    assert [file.name for file in out.iterdir()] == ["README.md"]
    assert (out / "README.md").read_text() == "# My project"
    assert main(["export", "mine", str(model)]) == 1
    assert "is a model folder" in capsys.readouterr().err
    (out / "README.md").unlink()
    (out / "notes.onnx").write_text("mine")
    assert main(["export", "mine", str(out)]) == 0
    cyclegan().save_pretrained(model.parent / "other")  # of one direction
    assert main(["export", "other", str(out), "--to", "openvino"]) == 0
    expected = {"README.md", "adverse_to_normal.bin", "adverse_to_normal.xml", "notes.onnx"}
    assert {file.name for file in out.iterdir()} == expected


@pytest.mark.parametrize(("to", "name"), [("onnx", "x.onnx"), ("openvino", "x.xml"), ("openvino", "x.bin")])
@pytest.mark.parametrize("about", [None, "Written by gen 1\n\n- `x.other`: of something else\n"])
def test_an_export_does_not_replace_a_file_that_it_did_not_write(model, tmp_path, capsys, to, name, about):
    own = tmp_path / "files" / name.replace("x.", "normal_to_adverse.")
    own.parent.mkdir()
    own.write_text("mine")
    if about:
        (own.parent / "README.md").write_text(about)
    before = {file.name: file.read_text() for file in own.parent.iterdir()}
    assert main(["export", "mine", str(own.parent), "--to", to]) == 1
    assert f"{own} is not of gen export" in capsys.readouterr().err
    assert {file.name: file.read_text() for file in own.parent.iterdir()} == before


@pytest.mark.parametrize("first", ["onnx", "openvino"])
def test_an_export_to_the_other_format_leaves_files_of_like_names(model, tmp_path, first):
    out, second = tmp_path / "files", {"onnx": "openvino", "openvino": "onnx"}[first]
    out.mkdir()
    own = out / ("adverse_to_normal.onnx" if first == "openvino" else "adverse_to_normal.bin")
    own.write_text("mine")
    assert main(["export", "mine", str(out), "--to", first]) == 0
    assert own.read_text() == "mine"
    assert main(["export", "mine", str(out), "--to", second]) == 1
    own.unlink()
    assert main(["export", "mine", str(out), "--to", second]) == 0
    suffixes = {"onnx": {".onnx"}, "openvino": {".xml", ".bin"}}[second]
    assert {file.suffix for file in out.iterdir()} == suffixes | {".md"}


@pytest.mark.parametrize("to", ["onnx", "openvino"])
def test_an_export_that_was_cut_off_is_replaced_by_the_next(model, tmp_path, monkeypatch, to):
    out = tmp_path / "files"
    assert main(["export", "mine", str(out)]) == 0
    with monkeypatch.context() as patched:
        patched.setattr(export, "readme", MagicMock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            export.export(ExportSettings("mine", out, to))
    assert "cut off" in (out / "README.md").read_text()
    assert main(["export", "mine", str(out)]) == 0
    assert {file.suffix for file in out.iterdir()} == {".onnx", ".md"}
    assert "cut off" not in (out / "README.md").read_text()


def test_fast_is_exported_too(model, tmp_path, monkeypatch):
    monkeypatch.setattr(commands, "FAST_MODEL", "mine")
    assert main(["export", "fast", str(tmp_path / "files")]) == 0
    assert (tmp_path / "files" / "README.md").read_text().startswith("# mine for other programs")


def test_an_openvino_file_that_cannot_be_written_is_a_sentence(model, tmp_path, monkeypatch, capsys):
    import openvino

    def full(*given: object, **options: object) -> None:
        raise RuntimeError("basic_ios::clear: iostream error")

    monkeypatch.setattr(openvino, "save_model", full)
    assert main(["export", "mine", str(tmp_path / "files"), "--to", "openvino"]) == 1
    assert "is there room on the disk?" in capsys.readouterr().err
    (left,) = (tmp_path / "files").iterdir()
    assert left.read_text().startswith("# An export that was cut off")


AT_ONCE = """
import pathlib, sys, threading
import torch
from gen.translation.runtimes.graph import write_graph
from gen.translation.runtimes.runner import Runner
from gen.translation.runtimes.sessions import load_session

layer = torch.nn.Conv2d(3, 3, 1)
write_graph(lambda images: (layer(images),), layer, pathlib.Path(sys.argv[1]))
runners = [Runner(load_session("openvino", pathlib.Path(sys.argv[1]), "fp32", 1)) for _ in range(4)]
barrier = threading.Barrier(4)

def work(runner):
    with torch.inference_mode():
        barrier.wait()
        runner(torch.zeros(1, 3, 8, 8))

sys.setswitchinterval(1e-6)
threads = [threading.Thread(target=work, args=(runner,)) for runner in runners]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""


def test_the_first_runs_of_a_process_may_be_at_once(tmp_path):
    """In threads of their own they would wait for each other for ever."""
    command = [sys.executable, "-W", "ignore", "-c", AT_ONCE, str(tmp_path / "graph.onnx")]
    subprocess.run(command, check=True, timeout=120)
