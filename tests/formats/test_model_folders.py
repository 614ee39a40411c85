"""Model folders that are damaged or hostile: a sentence that names the file, nothing imported, no memory taken."""

import json
import shutil
import struct
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from gen import BadInput, BadSetting, weights
from gen.cyclegan.method import CycleGANPipeline, ResNetGenerator
from gen.formats.model_folders import load_network
from gen.hda.adaptation import Adaptation
from gen.hda.pipeline import HDAPipeline
from gen.smos.backbones import Classifier
from gen.smos.classifiers import load_classifier
from gen.stylegan2.networks import StyleGAN2Generator
from gen.translation import registry
from gen.translation.weathers import directions_of, weathers_of
from tests.fuzz.cost import measured

NETWORK = "adverse_to_normal"


def write_model(folder: Path) -> Path:
    CycleGANPipeline(ResNetGenerator(4, 1), None, 32, 48, weathers=["night"]).save_pretrained(folder)
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "tiny")


def edit(file: Path, **values: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def weight_file(model: Path) -> Path:
    return model / NETWORK / "diffusion_pytorch_model.safetensors"


def refused(model: Path, message: str) -> None:
    """Loading it fails with this message, fast and in little memory."""
    with measured() as cost, pytest.raises(BadInput, match=message) as caught:
        registry.load(model)
    assert cost.megabytes < 150
    assert cost.seconds < 20  # far less where the processor is free
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 800


class TestConfiguration:
    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"width": 10**9}, "width is 1000000000, which no model"),
            ({"width": 100_000}, "has the shape"),
            ({"width": -4}, "no model can be built"),
            ({"width": 0}, "has the shape"),
            ({"width": "wide"}, "width is 'wide', which is wrong"),
            ({"width": 4.5}, "width is 4.5, which is wrong"),
            ({"width": None}, "width is None, which is wrong"),
            ({"width": [4]}, r"width is \[4\], which is wrong"),
            ({"blocks": 900_000}, "too many layers"),
            ({"blocks": 2}, "missing|too much|shape"),
            ({"norm": "layer"}, "norm is 'layer', which is wrong"),
            ({"_class_name": "UNet2DModel"}, "this is a UNet2DModel, where a ResNetGenerator is needed"),
            ({"_class_name": ["x"]}, "where a ResNetGenerator is needed"),
            ({"deep": {"a": {"b": {"c": {}}}}}, "deep is"),
        ],
    )
    def test_impossible_values(self, model: Path, values: dict[str, Any], message: str) -> None:
        edit(model / NETWORK / "config.json", **values)
        refused(model, rf"{NETWORK}.*({message})")
        assert torch.is_grad_enabled()

    @pytest.mark.parametrize(
        "text", ["", "{", "[]", "3", "[" * 100_000, '{"width": NaN}', '{"width": 1' + "0" * 5000 + "}", "\x00", "{" * 9]
    )
    @pytest.mark.parametrize("file", [f"{NETWORK}/config.json", "model_index.json"])
    def test_no_json(self, model: Path, file: str, text: str) -> None:
        (model / file).write_text(text)
        if file == "model_index.json":
            assert weights.describe(model).kind is None
            with pytest.raises(BadInput, match=r"does not translate|no valid JSON|expected a JSON object"):
                registry.load(model)
            file_message = r"model_index\.json"
            with pytest.raises(BadInput, match=file_message):
                CycleGANPipeline.from_pretrained(model)
        else:
            refused(model, r"config\.json: (this is no valid JSON|expected a JSON object)")

    def test_a_file_of_megabytes(self, model: Path) -> None:
        (model / NETWORK / "config.json").write_text(" " * 2_000_000)
        refused(model, "larger than 1 MB")


class TestIndex:
    @pytest.mark.parametrize(
        "entry",
        [
            ["antigravity", "fly"],
            ["os", "system"],
            ["trap", "Trap"],
            ["gen.cli", "main"],
            ["gen.augan.pipeline", "AUGANPipeline"],
            ["gen.nowhere", "X"],
            ["gen..", "X"],
            ["torch.nn", "Linear"],
            ["..trap", "Trap"],
            [1, 2],
            ["diffusers", "UNet2DModel"],
            ["one"],
            "text",
            {"a": 1},
            True,
        ],
    )
    def test_foreign_modules_are_not_imported(
        self, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: Any
    ) -> None:
        trap = f"from pathlib import Path\nPath({str(tmp_path / 'ran')!r}).touch()\nclass Trap: pass\n"
        (tmp_path / "trap.py").write_text(trap)
        (model / "trap.py").write_text(trap)
        monkeypatch.syspath_prepend(str(tmp_path))
        edit(model / "model_index.json", **{NETWORK: entry})
        refused(model, rf"model_index\.json: {NETWORK}")
        assert not (tmp_path / "ran").exists()
        assert "trap" not in sys.modules
        assert "antigravity" not in sys.modules

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"trained_height": -5}, "trained_height must be at least 1"),
            ({"trained_height": "tall"}, "trained_height is 'tall'"),
            ({"auto_height": 0}, "auto_height must be at least 1"),
            ({"weathers": 5}, "weathers is 5"),
            ({"weathers": ["day"]}, "weather must be adverse"),
            ({"trained_width": 10**12}, "trained_width is 1000000000000"),
        ],
    )
    def test_impossible_values(self, model: Path, values: dict[str, Any], message: str) -> None:
        edit(model / "model_index.json", **values)
        refused(model, message)

    @pytest.mark.parametrize("index", [{"_class_name": ["x"]}, {"_class_name": 5}, {"_class_name": "No"}, {}])
    def test_another_class(self, model: Path, index: dict[str, Any]) -> None:
        (model / "model_index.json").write_text(json.dumps(index))
        refused(model, "does not translate frames")

    @pytest.mark.parametrize("values", [{"weathers": 5}, {"weathers": {"a": 1}}, {NETWORK: 3}, {NETWORK: []}])
    def test_lists_of_models_survive(self, model: Path, values: dict[str, Any]) -> None:
        edit(model / "model_index.json", **values)
        assert weights.describe(model).kind == "CycleGANPipeline"
        weathers_of(model)
        directions_of(model)

    def test_values_that_are_unknown_are_ignored(self, model: Path) -> None:
        """A later version may write more."""
        edit(model / "model_index.json", later="x")
        edit(model / NETWORK / "config.json", later="x")
        assert registry.load(model).capabilities.weathers == ("night",)

    def test_unknown_options(self, model: Path) -> None:
        with pytest.raises(BadSetting, match="no option depth"):
            CycleGANPipeline.from_pretrained(model, depth=3)


def without(name: str) -> Callable[[Path], None]:
    def change(file: Path) -> None:
        tensors = load_file(file)
        del tensors[name]
        save_file(tensors, file)

    return change


def replaced(name: str, tensor: torch.Tensor) -> Callable[[Path], None]:
    return lambda file: save_file({**load_file(file), name: tensor}, file)


def header(**entries: Any) -> Callable[[Path], None]:
    """Write a file with this header and 100 bytes of numbers."""

    def change(file: Path) -> None:
        text = json.dumps(entries).encode()
        file.write_bytes(struct.pack("<Q", len(text)) + text + bytes(100))

    return change


def entry(begin: Any, end: Any, shape: Any, dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


WEIGHTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (without("model.1.weight"), r"1 tensors are missing, for example model\.1\.weight"),
    "too much": (replaced("extra", torch.zeros(3)), "the tensor extra is too much"),
    "another shape": (replaced("model.1.weight", torch.zeros(3)), r"model\.1\.weight has the shape \[3\]"),
    "NaN": (replaced("model.1.bias", torch.full((4,), float("nan"))), r"model\.1\.bias holds NaN"),
    "infinite": (replaced("model.1.bias", torch.full((4,), float("inf"))), r"model\.1\.bias holds NaN or infinite"),
    "integers": (replaced("model.1.bias", torch.zeros(4, dtype=torch.int32)), "is of the type int32, but the network"),
    "a name that moves the cursor": (header(**{"\x1b[2J\n": entry(0, 90, [25])}), r"\(\?\[2J\? does not lie where"),
    "a name of a megabyte": (header(**{"a" * 1_000_000: entry(0, 90, [25])}), r"a\.\.\. does not lie where"),
    "cut off": (lambda file: file.write_bytes(file.read_bytes()[:-10]), "it may be cut off"),
    "cut off in the header": (lambda file: file.write_bytes(file.read_bytes()[:50]), "cut off"),
    "empty": (lambda file: file.write_bytes(b""), "impossible length"),
    "no file": (lambda file: file.unlink(), "no diffusion_pytorch_model.safetensors here"),
    "a folder": (lambda file: (file.unlink(), file.mkdir()), "no diffusion_pytorch_model.safetensors here"),
    "a header of exabytes": (lambda file: file.write_bytes(struct.pack("<Q", 2**63) + b"{}"), "impossible length"),
    "a header of nothing": (lambda file: file.write_bytes(struct.pack("<Q", 0) + b"{}"), "impossible length"),
    "a pickle": (lambda file: torch.save({"a": 1}, file), "impossible length|does not begin"),
    "a text": (lambda file: file.write_bytes(struct.pack("<Q", 5) + b"hello"), "does not begin with a header"),
    "a list": (lambda file: file.write_bytes(struct.pack("<Q", 2) + b"{]"), "no valid JSON"),
    "absurd shape": (header(a=entry(0, 100, [10**15, 10**15])), "does not lie where"),
    "negative shape": (header(a=entry(0, 100, [-25])), "impossible shape"),
    "a shape that is a text": (header(a=entry(0, 100, "25")), "impossible shape"),
    "unknown type": (header(a=entry(0, 100, [25], "F12")), "unknown type F12"),
    "a type that is a list": (header(a=entry(0, 100, [25], ["F32"])), "unknown type"),
    "overlapping": (header(a=entry(0, 100, [25]), b=entry(50, 100, [12])), "does not lie where"),
    "a hole": (header(a=entry(50, 100, [12])), "does not lie where"),
    "past the end": (header(a=entry(0, 200, [50])), "cut off"),
    "bytes left": (header(a=entry(0, 50, [12, 1])), "does not lie where|cut off"),
    "no place": (header(a={"dtype": "F32"}), "no place in the file"),
    "a number for a tensor": (header(a=5), "no place in the file"),
    "metadata that are no texts": (header(__metadata__={"a": 1}), "metadata are no texts"),
}


class TestWeights:
    @pytest.mark.parametrize("name", WEIGHTS)
    def test_damaged(self, model: Path, name: str) -> None:
        change, message = WEIGHTS[name]
        change(weight_file(model))
        refused(model, rf"{NETWORK}.*({message})")

    def test_parts(self, tmp_path: Path) -> None:
        """Weights in several files, as large models have them; their list cannot lead elsewhere."""
        pipe = CycleGANPipeline(ResNetGenerator(8, 2), ResNetGenerator(8, 2), 32, 48)
        pipe.save_pretrained(tmp_path / "m", max_shard_size="20KB")
        index = tmp_path / "m" / NETWORK / "diffusion_pytorch_model.safetensors.index.json"
        loaded = CycleGANPipeline.from_pretrained(tmp_path / "m")
        for name, tensor in pipe.adverse_to_normal.state_dict().items():
            assert torch.equal(tensor, loaded.adverse_to_normal.state_dict()[name])
        names = json.loads(index.read_text())["weight_map"]
        assert len(set(names.values())) > 1
        for other in ("../../secret.safetensors", "/etc/passwd", "none.safetensors", 5):
            edit(index, weight_map={**names, "model.1.weight": other})
            with pytest.raises(BadInput, match=r"index\.json"):
                CycleGANPipeline.from_pretrained(tmp_path / "m")

    def test_precisions(self, model: Path) -> None:
        for dtype in (torch.float32, torch.bfloat16, torch.float16):
            for name in ("dtype", "torch_dtype"):
                network = CycleGANPipeline.from_pretrained(model, **{name: dtype}).adverse_to_normal
                assert {p.dtype for p in network.parameters()} == {dtype}
                assert not network.training

    def test_buffers_that_no_file_holds(self, tmp_path: Path) -> None:
        """The mean and standard deviation of ImageNet are constants of the class."""
        Classifier("efficientnet-lite0", ("a", "b")).save_pretrained(tmp_path / "c")
        state = torch.random.get_rng_state()
        network = load_classifier(tmp_path / "c")
        assert torch.equal(state, torch.random.get_rng_state())
        assert not network.body.mean.is_meta
        assert network(torch.rand(1, 3, 64, 64)).logits.isfinite().all()
        without("head.weight")(tmp_path / "c" / "diffusion_pytorch_model.safetensors")
        with pytest.raises(BadInput, match=r"head\.weight"):
            load_classifier(tmp_path / "c")


def test_loads_and_constructions_in_several_threads(model: Path) -> None:
    """Nothing of torch is replaced while a model loads: networks built meanwhile have memory and initial weights."""
    problems: list[BaseException] = []

    def load() -> None:
        try:
            for _ in range(8):
                pipe = CycleGANPipeline.from_pretrained(model)
                assert not any(p.is_meta for p in pipe.adverse_to_normal.parameters())
        except BaseException as error:
            problems.append(error)

    def build() -> None:
        try:
            for _ in range(200):
                layer = nn.Linear(64, 64)
                assert not layer.weight.is_meta
                assert 0 < layer.weight.std() < 1
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=target) for target in (load, load, build, build)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems


class TestNames:
    @pytest.mark.parametrize(
        "name",
        ["weights/typo", "./typo", "/abs/typo", "../typo", "runs/typo", "typo", "a/b/c", "models/typo", "here/typo",
         "someone/model.safetensors", "some one/model", "", ".", "~/typo", "a\x00b", "x" * 300, "someone/"],
    )  # fmt: skip
    def test_paths_are_not_sent_to_the_hub(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "here").mkdir()
        with pytest.raises(BadInput, match="unknown model"):
            weights.resolve(name)

    def test_the_nearest_names(self) -> None:
        with pytest.raises(BadInput, match=r"did you mean augan-night2day"):
            weights.resolve("weights/augan-nigth2day")

    def test_a_hub_id(self, monkeypatch: pytest.MonkeyPatch, model: Path) -> None:
        """Only JSON, safetensors and the card are downloaded; a failure is one sentence."""
        asked: dict[str, Any] = {}

        def download(name: str, **options: Any) -> str:
            asked.update(options, name=name)
            return str(model)

        monkeypatch.setattr("huggingface_hub.snapshot_download", download)
        pipe = CycleGANPipeline.from_pretrained("someone/their-model", revision="v1")
        assert pipe.capabilities.weathers == ("night",)
        assert asked["name"] == "someone/their-model"
        assert asked["revision"] == "v1"
        assert asked["allow_patterns"] == ["*.json", "*.safetensors", "MODEL_CARD.md"]

        def fail(name: str, **options: Any) -> str:
            raise OSError("no route to host\nmore")

        monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
        with pytest.raises(BadInput, match=r"someone/their-model.*cannot be downloaded.*no route to host\)"):
            registry.load("someone/their-model")


class TestGenerators:
    @pytest.fixture
    def generator(self, tmp_path: Path) -> Path:
        HDAPipeline(StyleGAN2Generator((8, 8), 8, 8, 2)).save_pretrained(tmp_path / "g")
        return tmp_path / "g"

    def test_another_pipeline(self, model: Path) -> None:
        with pytest.raises(BadInput, match="this is not a StyleGAN model"):
            HDAPipeline.from_pretrained(model)

    @pytest.mark.parametrize("text", ['{"a": NaN}', '{"a": "x"}', "[]", "{", '{"a": [1]}', '{"a": 1%s}' % ("0" * 400)])
    def test_strengths(self, generator: Path, text: str) -> None:
        (generator / "adaptations").mkdir()
        (generator / "adaptations" / "strengths.json").write_text(text)
        with pytest.raises(BadInput, match=r"strengths\.json"):
            HDAPipeline.from_pretrained(generator)

    @pytest.mark.parametrize("strength", [float("nan"), float("inf")])
    def test_a_strength_is_a_number(self, generator: Path, strength: float) -> None:
        pipe = HDAPipeline.from_pretrained(generator)
        change = {"constant": torch.ones(pipe.generator.constant.shape)}
        Adaptation("a", pipe.fingerprint, change, {}).save(generator / "a.safetensors")
        with pytest.raises(BadSetting, match="the strength of a must be a number"):
            pipe.load_adaptation(generator / "a.safetensors", strength)

    def test_adaptations(self, generator: Path) -> None:
        pipe = HDAPipeline.from_pretrained(generator)
        file = generator / "a.safetensors"
        Adaptation("a", pipe.fingerprint, {"constant": torch.full((8, 4, 4), float("nan"))}, {}).save(file)
        with pytest.raises(BadInput, match="constant holds NaN"):
            pipe.load_adaptation(file)
        metadata = {"name": "a", "source": pipe.fingerprint, "record": "[" * 100_000}
        save_file({"constant": torch.zeros(8, 4, 4)}, file, metadata=metadata)
        with pytest.raises(BadInput, match="nested too deeply"):
            pipe.load_adaptation(file)
        save_file({"constant": torch.zeros(8, 4, 4, dtype=torch.int64)}, file, metadata=metadata)
        with pytest.raises(BadInput, match="floating-point"):
            pipe.load_adaptation(file)

    @pytest.mark.parametrize("seed", [-1, 2**63, 10**30])
    def test_seeds(self, generator: Path, seed: int) -> None:
        with pytest.raises(BadSetting, match=r"a seed must be from 0 to 2\^63 - 1"):
            HDAPipeline.from_pretrained(generator)(seeds=[seed])

    def test_a_moved_module(self, generator: Path) -> None:
        edit(generator / "model_index.json", generator=["gen.hda.networks", "StyleGAN2Generator"])
        assert HDAPipeline.from_pretrained(generator).generator.z_dim == 8


def test_a_network_by_itself(model: Path, tmp_path: Path) -> None:
    network = load_network(ResNetGenerator, model / NETWORK)
    assert network.config["width"] == 4
    shutil.rmtree(model / NETWORK)
    with pytest.raises(BadInput, match=r"config\.json: no such file"):
        load_network(ResNetGenerator, model / NETWORK)
