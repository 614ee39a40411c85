"""StyleGAN3 generators of NVlabs' files draw the same images as independent code.

The reference below is written from the paper, in NumPy and float64: filters from their formulas, zeros between the
samples, one row after another, one kernel for each image. Nothing of it is shared with the networks.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.signal import convolve2d, correlate2d
from scipy.special import j1
from torch import Tensor

from gen import BadInput
from gen.cli import main
from gen.errors import BadSetting
from gen.formats.safetensors_files import read_safetensors
from gen.hda.adaptation import Adaptation
from gen.hda.layers import choices, set_trainable
from gen.hda.pipeline import HDAPipeline
from gen.stylegan2.checkpoints import load_stylegan2
from gen.stylegan2.networks import StyleGAN2Generator
from gen.stylegan3.checkpoints import load_generator
from gen.stylegan3.networks import StyleGAN3Generator
from tests.stylegan2.conftest import write_pictures
from tests.stylegan2.test_checkpoints import (
    EasyDict,
    draw,
    module_tree,
    nvlabs_bytes,
    nvlabs_modules,  # noqa: F401  a fixture
    nvlabs_state,
    write_nvlabs,
)

Array = NDArray[np.float64]
State = dict[str, Tensor]

Z, W, MAPPING, SIZE, LAYERS, CRITICAL, MARGIN, CLAMP = 9, 11, 2, 32, 4, 2, 3, 1.5
T = {"channel_base": 64, "channel_max": 7}
R = {"channel_base": 64, "channel_max": 7, "conv_kernel": 1, "use_radial_filters": True}


# --- the schedule of the paper's section 3.2, as code of its own ---


def schedule() -> list[dict[str, float]]:
    """Band, rate and side of the waves' and of each layer's output."""
    rows: list[dict[str, float]] = []
    for index in range(LAYERS + 1):
        e = min(index / (LAYERS - CRITICAL), 1.0)
        cutoff = math.exp((1 - e) * math.log(2) + e * math.log(SIZE / 2))
        stop = math.exp((1 - e) * math.log(2**2.1) + e * math.log(SIZE / 2 * 2**0.3))
        rate = next(2**k for k in range(12) if 2**k >= min(2 * stop, SIZE) * (1 - 1e-9))
        side = SIZE if index >= LAYERS - 1 else rate + 2 * MARGIN
        channels = 3 if index == LAYERS else min(round(64 / 2 / cutoff), 7)
        rows.append({"cutoff": cutoff, "half": max(stop, rate / 2) - cutoff, "rate": rate, "side": side, "n": channels})
    return rows


def window(taps: int, width: float, rate: float) -> Array:
    """Kaiser's window for a transition band of `width`: attenuation, beta, Bessel functions."""
    attenuation = 2.285 * (taps - 1) * math.pi * width / (rate / 2) + 7.95
    if attenuation > 50:
        beta = 0.1102 * (attenuation - 8.7)
    elif attenuation > 21:
        beta = 0.5842 * (attenuation - 21) ** 0.4 + 0.07886 * (attenuation - 21)
    else:
        beta = 0.0
    x = 2 * np.arange(taps) / (taps - 1) - 1
    return np.i0(beta * np.sqrt(1 - x**2)) / np.i0(beta)


def separable(taps: int, cutoff: float, width: float, rate: float) -> Array:
    x = (np.arange(taps) - (taps - 1) / 2) / rate
    h = np.sinc(2 * cutoff * x) * window(taps, width, rate)
    return h / h.sum()


def circular(taps: int, cutoff: float, width: float, rate: float) -> Array:
    h, w = np.empty((taps, taps)), window(taps, width, rate)
    for i in range(taps):
        for j in range(taps):
            r = math.hypot(i - (taps - 1) / 2, j - (taps - 1) / 2) / rate
            h[i, j] = j1(2 * math.pi * cutoff * r) / (math.pi * r) * w[i] * w[j]
    return h / h.sum()


def filters(radial: bool) -> list[tuple[Array | None, Array | None, int, int]]:
    """Up- and down-filter and their factors of each layer; the last one, toRGB, has none."""
    rows, found = schedule(), []
    for index in range(LAYERS):
        before, after = rows[max(index - 1, 0)], rows[index]
        rate = 2 * max(before["rate"], after["rate"])
        up, down = int(rate / before["rate"]), int(rate / after["rate"])
        design = circular if radial and index < LAYERS - CRITICAL else separable
        found.append((
            separable(6 * up, before["cutoff"], 2 * before["half"], rate),
            design(6 * down, after["cutoff"], 2 * after["half"], rate), up, down,
        ))  # fmt: skip
    return [*found, (None, None, 1, 1)]


# --- a file of NVlabs' ---


def stylegan3_state(radial: bool, seed: int = 0) -> State:
    """Every tensor of NVlabs' generator, with numbers that all matter."""
    normal = draw(seed)
    kernel = 1 if radial else 3
    rows = schedule()
    first = int(rows[0]["n"])
    state: State = {"mapping.w_avg": normal(W)}
    for i in range(MAPPING):
        state |= {f"mapping.fc{i}.weight": normal(W, W if i else Z) * 100, f"mapping.fc{i}.bias": normal(W) * 20}
    state |= {
        "synthesis.input.weight": normal(first, first),
        "synthesis.input.affine.weight": normal(4, W),
        "synthesis.input.affine.bias": torch.tensor([1.0, 0.2, 0.1, -0.3]),
        "synthesis.input.transform": torch.tensor([[0.9, -0.3, 0.05], [0.3, 1.4, -0.02], [0, 0, 1]]),
        "synthesis.input.freqs": normal(first, 2) * 1.5,
        "synthesis.input.phases": normal(first),
    }
    for index, (up, down, _, _) in enumerate(filters(radial)):
        inputs, outputs = int(rows[max(index - 1, 0)]["n"]), int(rows[index]["n"])
        name = f"synthesis.L{index}_{rows[index]['side']:g}_{outputs}"
        side = 1 if index == LAYERS else kernel
        state |= {
            f"{name}.weight": normal(outputs, inputs, side, side),
            f"{name}.bias": normal(outputs) * 0.3,
            f"{name}.affine.weight": normal(inputs, W),
            f"{name}.affine.bias": normal(inputs, mean=1.0),
            f"{name}.magnitude_ema": torch.tensor(0.2 + 0.1 * index),
        }
        for kind, taps in (("up_filter", up), ("down_filter", down)):
            state |= {} if taps is None else {f"{name}.{kind}": torch.from_numpy(taps).float()}
    return state


def write_stylegan3(path: Path, state: State, arguments: dict[str, Any], **changes: Any) -> Path:
    tree = module_tree(state)
    synthesis = tree.state["_modules"]["synthesis"].state
    own = {"img_resolution": SIZE, "num_layers": LAYERS, "num_critical": CRITICAL, "margin_size": MARGIN} | changes
    extra = {"num_layers": LAYERS, "margin_size": MARGIN, "magnitude_ema_beta": 0.99, "img_channels": 3}
    synthesis |= own | {"_init_kwargs": EasyDict(w_dim=W, img_resolution=SIZE, **extra, **arguments)}
    for name, layer in synthesis["_modules"].items():
        if name.startswith("L"):
            layer.state["conv_clamp"] = CLAMP
    path.write_bytes(nvlabs_bytes(tree))
    return path


# --- the reference ---


def dense(x: Array, weight: Tensor, bias: Tensor, rate: float = 1.0) -> Array:
    w, b = weight.double().numpy(), bias.double().numpy()
    return x @ w.T * rate / math.sqrt(w.shape[1]) + b * rate


def lrelu(x: Array) -> Array:
    return np.where(x > 0, x, x / 5) * math.sqrt(2)


def reference_w(state: State, z: Tensor) -> Array:
    x = z.double().numpy()
    x = x / np.sqrt((x**2).mean(1, keepdims=True) + 1e-8)
    for i in range(MAPPING):
        x = lrelu(dense(x, state[f"mapping.fc{i}.weight"], state[f"mapping.fc{i}.bias"], 0.01))
    return x


def reference_input(state: State, w: Array) -> Array:
    """One pixel after another: (C, side, side)."""
    get = {k.removeprefix("synthesis.input."): v.double().numpy() for k, v in state.items() if ".input." in k}
    t = dense(w[None], state["synthesis.input.affine.weight"], state["synthesis.input.affine.bias"])[0]
    c, s, x, y = t / math.hypot(t[0], t[1])
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    shift = np.array([[1, 0, -x], [0, 1, -y], [0, 0, 1]])
    matrix = turn @ shift @ get["transform"]
    row = schedule()[0]
    side, rate = int(row["side"]), row["rate"]
    waves = np.empty((len(get["phases"]), side, side))
    for k, (f, phase) in enumerate(zip(get["freqs"], get["phases"], strict=True)):
        moved = f @ matrix[:2, :2]
        loud = np.clip(1 - (np.linalg.norm(moved) - row["cutoff"]) / (rate / 2 - row["cutoff"]), 0, 1)
        for i in range(side):
            for j in range(side):
                place = np.array([j + 0.5 - side / 2, i + 0.5 - side / 2]) / rate
                waves[k, i, j] = loud * math.sin(2 * math.pi * (place @ moved + phase + f @ matrix[:2, 2]))
    return np.einsum("ok,kij->oij", get["weight"] / math.sqrt(len(waves)), waves)


def placed(x: Array, before: int, after: int) -> Array:
    """Zeros at both ends, or less of the signal where the numbers are negative."""
    x = np.concatenate([np.zeros(max(before, 0)), x, np.zeros(max(after, 0))])
    return x[max(-before, 0) : len(x) - max(-after, 0)]


def filtered(x: Array, up: Array, down: Array, factors: tuple[int, int], padding: tuple[int, int]) -> Array:
    """One channel: zeros between the samples, filter, leaky ReLU, clamp, filter, every n-th sample."""
    for _ in range(2):  # the rows, then the columns
        wide = np.zeros((len(x), x.shape[1] * factors[0]))
        wide[:, :: factors[0]] = x
        x = np.stack([np.convolve(placed(row, *padding), up * factors[0], "valid") for row in wide]).T
    x = np.clip(lrelu(x), -CLAMP, CLAMP)
    if down.ndim == 2:
        return convolve2d(x, down, "valid")[:: factors[1], :: factors[1]]
    for _ in range(2):
        x = np.stack([np.convolve(row, down, "valid")[:: factors[1]] for row in x]).T
    return x


def reference_image(state: State, w: Array, radial: bool) -> Array:
    """One w (W,) -> (3, SIZE, SIZE)."""
    x, rows = reference_input(state, w), schedule()
    for index, (up, down, factor_up, factor_down) in enumerate(filters(radial)):
        before, after = rows[max(index - 1, 0)], rows[index]
        name = f"synthesis.L{index}_{after['side']:g}_{after['n']}"
        style = dense(w[None], state[f"{name}.affine.weight"], state[f"{name}.affine.bias"])[0]
        kernels = state[f"{name}.weight"].double().numpy()
        is_rgb = index == LAYERS
        if is_rgb:
            kernels = kernels * style[None, :, None, None] / math.sqrt(kernels.shape[1])
        else:
            kernels = kernels * style[None, :, None, None]
            kernels = kernels / np.sqrt((kernels**2).sum((1, 2, 3), keepdims=True))
        kernels = kernels / math.sqrt(float(state[f"{name}.magnitude_ema"]))
        bias = state[f"{name}.bias"].double().numpy()
        x = np.stack([
            sum(correlate2d(channel, kernel, "full") for channel, kernel in zip(x, some, strict=True)) + b
            for some, b in zip(kernels, bias, strict=True)
        ])  # fmt: skip
        if is_rgb:
            x = np.clip(x, -CLAMP, CLAMP)
            continue
        # Appendix C.3: what the filters and the smaller side take off, halved, rounded by half a sample.
        assert up is not None
        assert down is not None
        grown = (before["side"] + kernels.shape[2] - 1) * factor_up
        missing = int((after["side"] - 1) * factor_down + 1 - grown + len(up) + len(down) - 2)
        padding = math.floor((missing + factor_up) / 2), missing - math.floor((missing + factor_up) / 2)
        x = np.stack([filtered(channel, up, down, (factor_up, factor_down), padding) for channel in x])
    return x / 4


# --- tests ---


@pytest.mark.usefixtures("nvlabs_modules")
class TestNVlabs:
    @pytest.mark.parametrize(("arguments", "radial"), [(T, False), (R, True)], ids=["t", "r"])
    def test_same_pictures(self, tmp_path: Path, arguments: dict[str, Any], radial: bool) -> None:
        state = stylegan3_state(radial)
        generator = load_generator(write_stylegan3(tmp_path / "a.pkl", state, arguments))
        assert isinstance(generator, StyleGAN3Generator)
        assert (generator.size, generator.z_dim, generator.w_dim, generator.layers) == (SIZE, Z, W, LAYERS + 2)
        assert not generator.training
        z = draw(99)(2, Z)
        w = reference_w(state, z)
        expected = torch.from_numpy(np.stack([reference_image(state, one, radial) for one in w]))
        assert expected.std((2, 3)).min() > 0.02
        found = generator(z)
        assert found.dtype == torch.float32
        assert (found - expected).abs().max() < 1e-5
        generator.double()
        assert (generator(z.double()) - expected).abs().max() < 1e-7
        half = reference_image(state, w[0] * 0.5 + state["mapping.w_avg"].double().numpy() * 0.5, radial)
        assert (generator(z[:1].double(), truncation=0.5)[0] - torch.from_numpy(half)).abs().max() < 1e-7

    def test_one_of_several_classes(self, tmp_path: Path) -> None:
        normal, state = draw(7), stylegan3_state(False)
        state |= {"mapping.embed.weight": normal(W, 10), "mapping.embed.bias": normal(W)}
        state["mapping.fc0.weight"] = normal(W, Z + W) * 100
        path = write_stylegan3(tmp_path / "a.pkl", state, T)
        z = draw(99)(2, Z)
        x, e = z / (z.square().mean(1, keepdim=True) + 1e-8).sqrt(), state["mapping.embed.weight"][:, 3] / math.sqrt(10)
        e = e + state["mapping.embed.bias"]
        x = torch.cat([x, (e / (e.square().mean() + 1e-8).sqrt()).expand(2, -1)], 1).double().numpy()
        for i in range(MAPPING):
            x = lrelu(dense(x, state[f"mapping.fc{i}.weight"], state[f"mapping.fc{i}.bias"], 0.01))
        found = load_generator(Path(f"{path}:3")).mapping(z)
        assert np.abs(found.detach().numpy() - x).max() < 1e-4
        with pytest.raises(BadInput, match=r"a\.pkl: the generator draws 10 classes"):
            load_generator(path)

    def test_stylegan2_is_loaded_too(self, tmp_path: Path) -> None:
        write_nvlabs(tmp_path / "a.pkl", nvlabs_state())
        assert isinstance(load_generator(tmp_path / "a.pkl"), StyleGAN2Generator)
        write_stylegan3(tmp_path / "b.pkl", stylegan3_state(False), T)
        with pytest.raises(BadInput, match=r"b\.pkl: this is a StyleGAN3 generator"):
            load_stylegan2(tmp_path / "b.pkl")

    @pytest.mark.parametrize(
        ("arguments", "changes", "told"),
        [
            ({"channel_max": 6}, {}, "has the shape"),
            ({"filter_size": 4}, {}, "up_filter is not the filter"),
            ({"use_radial_filters": True}, {}, "down_filter is not the filter"),
            ({"last_stopband_rel": 2.0}, {}, "is not the filter"),
            ({}, {"num_layers": 6}, "it has 5 layers, but its settings need 7"),
            ({}, {"num_critical": 9}, "critical_layers must be"),
            ({}, {"img_resolution": 1 << 20}, "img_resolution is 1048576"),
            ({}, {"img_resolution": 48}, "size must be a power of two"),
            ({"first_stopband": 1e-9}, {}, "first_cutoff must be from 1 to first_stopband 1e-09"),
            (
                {"first_cutoff": 1, "first_stopband": 1, "filter_size": 16, "lrelu_upsampling": 4},
                {},
                "would have 512 taps",
            ),
            ({}, {"margin_size": "text"}, "margin_size is 'text'"),
            ({"first_cutoff": float("nan")}, {}, "first_cutoff is nan"),
            ({"flip": True}, {}, "has the setting flip"),
        ],
    )
    def test_what_does_not_fit_is_told(
        self, tmp_path: Path, arguments: dict[str, Any], changes: dict[str, Any], told: str
    ) -> None:
        path = write_stylegan3(tmp_path / "a.pkl", stylegan3_state(False), T | arguments, **changes)
        with pytest.raises(BadInput, match=rf"a\.pkl: .*{told}"):
            load_generator(path)

    @pytest.mark.parametrize("lost", ["synthesis.input.phases", "mapping.w_avg", "synthesis.L0_22_7.bias"])
    def test_a_tensor_that_is_missing_is_named(self, tmp_path: Path, lost: str) -> None:
        state = {name: x for name, x in stylegan3_state(False).items() if name != lost}
        with pytest.raises(BadInput, match=rf"a\.pkl: .*{lost}"):
            load_generator(write_stylegan3(tmp_path / "a.pkl", state, T))

    def test_stylegan_xl_is_refused_by_name(self, tmp_path: Path) -> None:
        tree = module_tree(stylegan3_state(False))
        tree.state["_modules"]["mapping"].state["_modules"]["embed"] = torch.nn.Embedding(10, 4)
        (tmp_path / "a.pkl").write_bytes(nvlabs_bytes(tree))
        with pytest.raises(BadInput, match=r"a\.pkl: this is a StyleGAN-XL generator"):
            load_generator(tmp_path / "a.pkl")


@pytest.mark.usefixtures("nvlabs_modules")
class TestUse:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return write_stylegan3(tmp_path / "three.pkl", stylegan3_state(False), T)

    def test_a_model_folder_draws_the_same(self, path: Path, tmp_path: Path) -> None:
        pipe = HDAPipeline.from_pretrained(path)
        pipe.save_pretrained(tmp_path / "folder")
        again = HDAPipeline.from_pretrained(tmp_path / "folder")
        assert isinstance(again.generator, StyleGAN3Generator)
        assert again.fingerprint == pipe.fingerprint
        images = [torch.stack(p(seeds=[0, 1], output_type="pt").images) for p in (pipe, again)]
        torch.testing.assert_close(*images, atol=0, rtol=0)

    def test_adapt_generate_and_invert(self, path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """The three commands, one after another, with what the one before wrote."""
        red, out = write_pictures(tmp_path / "red", 3, (220, 40, 40)), tmp_path / "run"
        settings = ["images=16", "batch=4", "lr=0.01", "device=cpu", "auto_layer_iters=1", "auto_layer_k=3"]
        command = ["adapt", "--model", path, "--domain", f"red={red}", "--out", out, "--full", "--set", *settings]
        command += ["auto_layer_batch=2", "--encoder", "efficientnet-lite0@64"]
        assert main([str(word) for word in command]) == 0
        assert "no model.pt: its format holds only StyleGAN2" in capsys.readouterr().out
        assert not (out / "model.pt").exists()
        change = Adaptation.load(out / "adaptation.safetensors")
        assert change.difference
        assert all(name.startswith(("input.", "convs.")) for name in change.difference)
        assert sum(change.record["chosen layers"].values()) == 3 * 4
        drawn = ["--model", path, "--adaptation", out, "--device", "cpu"]
        assert main([str(w) for w in ["generate", *drawn, "--out", tmp_path / "g", "--seeds", "0-1"]]) == 0
        with Image.open(tmp_path / "g" / "seed0001.png") as picture:
            assert picture.size == (SIZE, SIZE)
        photo = tmp_path / "g" / "seed0000.png"
        assert main([str(w) for w in ["invert", photo, *drawn, "--out", tmp_path / "i", "--steps", "3"]]) == 0
        latents, _ = read_safetensors(tmp_path / "i" / "latents.safetensors")
        assert latents["seed0000"].shape == (LAYERS + 2, W)
        latents = ["--latents", tmp_path / "i" / "latents.safetensors", "--out", tmp_path / "j"]
        assert main([str(w) for w in ["generate", *drawn, *latents]]) == 0

    def test_what_is_trained(self, path: Path) -> None:
        generator = load_generator(path)
        names = [name for name, _ in generator.named_parameters()]
        for layers, wanted in (("all", ("input.", "convs.")), ("affine", ("input.affine", "convs."))):
            set_trainable(generator, layers)
            trained = {name for name, p in generator.named_parameters() if p.requires_grad}
            expected = {n for n in names if n.startswith(wanted) and (layers == "all" or ".affine." in n)}
            assert trained == expected
        with pytest.raises(BadSetting, match="layers=nada"):
            set_trainable(generator, "nada")
        set_trainable(generator, "all")
        assert choices(generator, 2) == {0: "input."} | {i + 1: f"convs.{i}." for i in range(LAYERS + 1)}
