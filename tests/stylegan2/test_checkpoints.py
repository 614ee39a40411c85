"""Generators of other projects: they draw the same images as independent code, and no code from a file is run.

The two reference generators below follow the conventions of rosinality's and NVlabs' code, each by another route than
ours: one kernel per image in grouped convolutions, and zeros between the pixels before every filter.
"""

import argparse
import importlib
import io
import math
import os
import pickle
import resource
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen import BadInput
from gen.stylegan2.checkpoints import load_stylegan2
from gen.stylegan2.networks import StyleGAN2Generator
from gen.stylegan2.rosinality import save_rosinality

CHANNELS = (12, 10, 8, 6)
Z, W, MAPPING = 14, 18, 3
State = dict[str, Tensor]


def draw(seed: int = 0) -> Callable[..., Tensor]:
    """A function that draws normal numbers of a shape, with a mean."""
    random = torch.Generator().manual_seed(seed)
    return lambda *shape, mean=0.0: torch.randn(shape, generator=random) + mean


def latents(count: int, width: int) -> Tensor:
    return draw(99)(count, width)


# --- the arithmetic that the references share ---


def insert_zeros(x: Tensor) -> Tensor:
    count, channels, height, width = x.shape
    wide = torch.stack([x, torch.zeros_like(x)], dim=-1).reshape(count, channels, height, 2 * width)
    return torch.stack([wide, torch.zeros_like(wide)], dim=-2).reshape(count, channels, 2 * height, 2 * width)


def smooth(x: Tensor, before: int, after: int, gain: float) -> Tensor:
    """Padding, then [1, 3, 3, 1] along the rows and along the columns."""
    x = F.pad(x, (before, after, before, after))
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]).to(x) / 8
    x = sum(taps[i] * x[..., i : x.shape[-1] - 3 + i] for i in range(4))
    return gain * sum(taps[i] * x[..., i : x.shape[-2] - 3 + i, :] for i in range(4))


def convolve_each(x: Tensor, kernels: Tensor, padding: int) -> Tensor:
    """Image b with the kernels b (B, out, in, k, k), all in one convolution by groups."""
    count, outputs = kernels.shape[:2]
    y = F.conv2d(x.flatten(0, 1)[None], kernels.flatten(0, 1), padding=padding, groups=count)
    return y.reshape(count, outputs, *y.shape[2:])


def dense(x: Tensor, weight: Tensor, bias: Tensor, rate: float = 1.0) -> Tensor:
    return torch.einsum("bi,oi->bo", x, weight) * (rate / math.sqrt(weight.shape[1])) + bias * rate


def activate(x: Tensor) -> Tensor:
    return math.sqrt(2) * torch.where(x < 0, 0.2 * x, x)


def normalised(z: Tensor) -> Tensor:
    return z / (z.pow(2).mean(dim=1, keepdim=True) + 1e-8).sqrt()


# --- rosinality ---


def rosinality_state(seed: int = 0) -> State:
    """Every key of rosinality's generator, with strengths, biases and modulation that all matter. z is as wide as w."""
    normal = draw(seed)
    state = {"input.input": normal(1, CHANNELS[0], 4, 4)}
    for i in range(1, MAPPING + 1):
        state |= {f"style.{i}.weight": normal(W, W) * 100, f"style.{i}.bias": normal(W) * 20}

    def conv(name: str, inputs: int, outputs: int, kernel: int) -> State:
        return {
            f"{name}.conv.weight": normal(1, outputs, inputs, kernel, kernel),
            f"{name}.conv.modulation.weight": normal(inputs, W),
            f"{name}.conv.modulation.bias": normal(inputs, mean=1.0),
        }

    def styled(name: str, inputs: int, outputs: int) -> State:
        extra = {f"{name}.noise.weight": normal(1), f"{name}.activate.bias": normal(outputs)}
        return conv(name, inputs, outputs, 3) | extra

    def rgb(name: str, inputs: int) -> State:
        return conv(name, inputs, 3, 1) | {f"{name}.bias": normal(1, 3, 1, 1)}

    state |= styled("conv1", CHANNELS[0], CHANNELS[0]) | rgb("to_rgb1", CHANNELS[0])
    state["noises.noise_0"] = normal(1, 1, 4, 4)
    for j in range(len(CHANNELS) - 1):
        before, after = CHANNELS[j], CHANNELS[j + 1]
        state |= styled(f"convs.{2 * j}", before, after) | styled(f"convs.{2 * j + 1}", after, after)
        state |= rgb(f"to_rgbs.{j}", after)
        state |= {f"noises.noise_{k}": normal(1, 1, 8 * 2**j, 8 * 2**j) for k in (2 * j + 1, 2 * j + 2)}
        state |= {f"convs.{2 * j}.conv.blur.kernel": torch.ones(4, 4), f"to_rgbs.{j}.upsample.kernel": torch.ones(4, 4)}
    return state


def rosinality_image(state: State, z: Tensor, average: Tensor | None = None, truncation: float = 1.0) -> Tensor:
    """What rosinality's generator makes of z with its stored noise."""
    w = normalised(z)
    for i in range(1, MAPPING + 1):
        w = activate(dense(w, state[f"style.{i}.weight"], state[f"style.{i}.bias"], rate=0.01))
    if average is not None:
        w = average + truncation * (w - average)

    def modulated(x: Tensor, name: str, demodulate: bool, up: bool) -> Tensor:
        style = dense(w, state[f"{name}.conv.modulation.weight"], state[f"{name}.conv.modulation.bias"])
        weight = state[f"{name}.conv.weight"]
        kernels = weight * style[:, None, :, None, None] / math.sqrt(weight[0, 0].numel())
        if demodulate:
            kernels = kernels / (kernels.pow(2).sum(dim=(2, 3, 4), keepdim=True) + 1e-8).sqrt()
        if not up:
            return convolve_each(x, kernels, padding=weight.shape[-1] // 2)
        # A transposed convolution: zeros between the pixels (none after the last), then the mirrored kernel.
        grown = convolve_each(insert_zeros(x)[..., :-1, :-1], kernels.flip(3, 4), padding=2)
        return smooth(grown, 1, 1, gain=4.0)

    def styled(x: Tensor, name: str, noise: int, up: bool = False) -> Tensor:
        x = modulated(x, name, demodulate=True, up=up)
        x = x + state[f"{name}.noise.weight"] * state[f"noises.noise_{noise}"]
        return activate(x + state[f"{name}.activate.bias"].reshape(1, -1, 1, 1))

    def rgb(x: Tensor, name: str) -> Tensor:
        return modulated(x, name, demodulate=False, up=False) + state[f"{name}.bias"]

    x = styled(state["input.input"].repeat(len(z), 1, 1, 1), "conv1", 0)
    picture = rgb(x, "to_rgb1")
    for j in range(len(CHANNELS) - 1):
        x = styled(x, f"convs.{2 * j}", 2 * j + 1, up=True)
        x = styled(x, f"convs.{2 * j + 1}", 2 * j + 2)
        picture = smooth(insert_zeros(picture), 2, 1, gain=4.0) + rgb(x, f"to_rgbs.{j}")
    return picture


def write_rosinality(path: Path, state: State, **extra: Any) -> Path:
    torch.save({"g_ema": state, **extra}, path)
    return path


# --- NVlabs ---


def nvlabs_state(seed: int = 1) -> State:
    """Every key of NVlabs' generator, but for the average of w."""
    normal = draw(seed)
    state: State = {"synthesis.b4.const": normal(CHANNELS[0], 4, 4)}
    for i in range(MAPPING):
        fc = f"mapping.fc{i}"
        state |= {f"{fc}.weight": normal(W, W if i else Z) * 100, f"{fc}.bias": normal(W) * 20}

    def layer(name: str, inputs: int, outputs: int, kernel: int) -> State:
        return {
            f"{name}.affine.weight": normal(inputs, W),
            f"{name}.affine.bias": normal(inputs, mean=1.0),
            f"{name}.weight": normal(outputs, inputs, kernel, kernel),
            f"{name}.bias": normal(outputs),
        }

    for j, outputs in enumerate(CHANNELS):
        size = 4 * 2**j
        block = f"synthesis.b{size}"
        for name, inputs in ([("conv0", CHANNELS[j - 1])] if j else []) + [("conv1", outputs)]:
            state |= layer(f"{block}.{name}", inputs, outputs, 3)
            state |= {f"{block}.{name}.noise_const": normal(size, size), f"{block}.{name}.noise_strength": normal()}
        state |= layer(f"{block}.torgb", outputs, 3, 1)
    return state


def nvlabs_image(state: State, z: Tensor, of_class: int | None = None, clamp: float | None = None) -> Tensor:
    """What NVlabs' generator makes of z with noise_mode="const"."""
    w = normalised(z)
    if of_class is not None:
        one_hot = torch.zeros(len(z), 10, dtype=z.dtype)
        one_hot[:, of_class] = 1
        w = torch.cat([w, normalised(dense(one_hot, state["mapping.embed.weight"], state["mapping.embed.bias"]))], 1)
    for i in range(MAPPING):
        w = activate(dense(w, state[f"mapping.fc{i}.weight"], state[f"mapping.fc{i}.bias"], rate=0.01))

    def style(name: str) -> Tensor:
        return dense(w, state[f"{name}.affine.weight"], state[f"{name}.affine.bias"])

    def conv(x: Tensor, name: str, up: bool) -> Tensor:
        """Weights as they are stored, unscaled: the norm takes the scale out."""
        kernels = state[f"{name}.weight"] * style(name)[:, None, :, None, None]
        kernels = kernels / (kernels.pow(2).sum(dim=(2, 3, 4), keepdim=True) + 1e-8).sqrt()
        if up:  # filter first, then a convolution in the mathematical sense: with the mirrored kernel
            x = convolve_each(smooth(insert_zeros(x), 3, 2, gain=4.0), kernels.flip(3, 4), padding=0)
        else:
            x = convolve_each(x, kernels, padding=1)
        x = x + state[f"{name}.noise_const"] * state[f"{name}.noise_strength"]
        x = activate(x + state[f"{name}.bias"].reshape(1, -1, 1, 1))
        return x if clamp is None else x.clamp(-clamp, clamp)

    def rgb(x: Tensor, name: str) -> Tensor:
        """The scale of the weights is in the style."""
        weight = state[f"{name}.weight"]
        gained = style(name) / math.sqrt(weight.shape[1])
        y = torch.einsum("bchw,bc,oc->bohw", x, gained, weight[:, :, 0, 0])
        y = y + state[f"{name}.bias"].reshape(1, -1, 1, 1)
        return y if clamp is None else y.clamp(-clamp, clamp)

    x = conv(state["synthesis.b4.const"].repeat(len(z), 1, 1, 1), "synthesis.b4.conv1", up=False)
    picture = rgb(x, "synthesis.b4.torgb")
    for j in range(1, len(CHANNELS)):
        block = f"synthesis.b{4 * 2**j}"
        x = conv(conv(x, f"{block}.conv0", up=True), f"{block}.conv1", up=False)
        picture = smooth(insert_zeros(picture), 2, 1, gain=4.0) + rgb(x, f"{block}.torgb")
    return picture


class Persistent:
    """Pickled as NVlabs' persistent classes are: a call with the state and the source code of the class."""

    def __init__(self, class_name: str, state: dict[str, Any]) -> None:
        self.class_name, self.state = class_name, state

    def __reduce__(self) -> Any:
        meta = {
            "type": "class",
            "version": 6,
            "module_src": "raise SystemExit",
            "class_name": self.class_name,
            "state": self.state,
        }
        return sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj, (meta,), None


class EasyDict(dict[str, Any]):
    """A dictionary by the module and name of NVlabs' own."""


EasyDict.__module__ = "dnnlib.util"


@pytest.fixture
def nvlabs_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """What pickle looks names up in while it writes."""

    def _reconstruct_persistent_obj(meta: Any) -> None:
        raise AssertionError("called by a pickle")

    _reconstruct_persistent_obj.__module__ = "torch_utils.persistence"
    _reconstruct_persistent_obj.__qualname__ = "_reconstruct_persistent_obj"
    persistence, util = ModuleType("torch_utils.persistence"), ModuleType("dnnlib.util")
    persistence._reconstruct_persistent_obj = _reconstruct_persistent_obj
    util.EasyDict = EasyDict
    for module in (persistence, util, ModuleType("torch_utils"), ModuleType("dnnlib")):
        monkeypatch.setitem(sys.modules, module.__name__, module)


CLASSES = {"mapping": "MappingNetwork", "synthesis": "SynthesisNetwork", "affine": "FullyConnectedLayer"}


def attributes(name: str, fan_in: int) -> dict[str, Any]:
    """The plain attributes of one layer: activation, and gains as NumPy scalars."""
    if name.startswith("fc") or name == "affine":
        rate = 1 if name == "affine" else 0.01
        activation = "linear" if name == "affine" else "lrelu"
        return {"activation": activation, "weight_gain": rate / np.sqrt(fan_in), "bias_gain": rate}
    return {"activation": "lrelu", "act_gain": np.sqrt(2)} if name.startswith("conv") else {}


def module_tree(state: State, name: str = "", **changes: Any) -> Persistent:
    """Names with dots -> nested modules with all that torch and NVlabs keep in a module."""
    own = {key: tensor for key, tensor in state.items() if "." not in key}
    parts = list(dict.fromkeys(key.split(".")[0] for key in state if "." in key))
    buffers = {key: x for key, x in own.items() if key in ("noise_const", "w_avg", "resample_filter")}
    parameters = {key: nn.Parameter(x, requires_grad=False) for key, x in own.items() if key not in buffers}
    children = {
        part: module_tree({k.removeprefix(f"{part}."): x for k, x in state.items() if k.startswith(f"{part}.")}, part)
        for part in parts
    }
    return Persistent(
        CLASSES.get(name, "Generator" if not name else "SynthesisLayer"),
        {
            "training": False,
            "_parameters": OrderedDict({**parameters, "absent": None}),
            "_buffers": OrderedDict(buffers),
            "_non_persistent_buffers_set": set(),
            "_backward_hooks": OrderedDict(),
            "_is_full_backward_hook": None,
            "_modules": OrderedDict(children),
            "_init_args": (),
            "_init_kwargs": EasyDict(z_dim=Z, synthesis_kwargs=EasyDict(channel_base=1)),
            **attributes(name, own["weight"].shape[1] if "weight" in own else 1),
            **changes,
        },
    )


def nvlabs_bytes(g_ema: Persistent, protocol: int = 4, **extra: Any) -> bytes:
    snapshot = {"training_set_kwargs": EasyDict(path="a.zip"), "G": None, "D": None, "augment_pipe": None}
    return pickle.dumps({**snapshot, "G_ema": g_ema, **extra}, protocol=protocol)


def with_filters(state: State) -> State:
    """The filters too, which are a buffer of every layer that can resample."""
    blocks = {key.rsplit(".", 1)[0] for key in state if key.endswith("noise_const")}
    return state | {f"{block}.resample_filter": torch.ones(4, 4) for block in blocks}


def write_nvlabs(path: Path, state: State, **changes: Any) -> Path:
    path.write_bytes(nvlabs_bytes(module_tree(with_filters(state), **changes)))
    return path


# --- tests ---


def double(state: State) -> State:
    return {name: tensor.double() for name, tensor in state.items()}


def heavy(state: State) -> State:
    """3x3 kernels so large that the 1e-8 added to their norms, to one sum or to another, is nothing."""
    return {name: tensor * 1e4 if tensor.shape[-1:] == (3,) else tensor for name, tensor in state.items()}


class TestRosinality:
    def test_same_pictures(self, tmp_path: Path) -> None:
        state = rosinality_state()
        path = write_rosinality(tmp_path / "a.pt", state, latent_avg=draw(3)(W))
        generator = load_stylegan2(path)
        assert tuple(generator.settings()["channels"]) == CHANNELS
        assert (generator.size, generator.z_dim, generator.w_dim, len(generator.mapping.layers)) == (32, W, W, MAPPING)
        assert not generator.training
        assert all(p.requires_grad and p.dtype == torch.float32 for p in generator.parameters())
        z = latents(3, W)
        expected = rosinality_image(state, z)
        assert expected.std() > 0.5
        assert (generator(z) - expected).abs().max() < 1e-4
        state = heavy(state)
        generator = load_stylegan2(write_rosinality(path, state)).double()
        assert (generator(z.double()) - rosinality_image(double(state), z.double())).abs().max() < 1e-9

    def test_truncation_is_about_the_average_of_the_file(self, tmp_path: Path) -> None:
        state, average, z = rosinality_state(), draw(3)(W), latents(2, W)
        generator = load_stylegan2(write_rosinality(tmp_path / "a.pt", state, latent_avg=average[None]))
        expected = rosinality_image(state, z, average, truncation=0.5)
        assert (generator(z, truncation=0.5) - expected).abs().max() < 1e-4

    def test_a_file_without_average_or_noise_is_completed_the_same_way_each_time(self, tmp_path: Path) -> None:
        state = {name: x for name, x in rosinality_state().items() if not name.startswith("noises.")}
        path = write_rosinality(tmp_path / "a.pt", state)
        first, second = load_stylegan2(path), load_stylegan2(path)
        for name, tensor in first.state_dict().items():
            assert torch.equal(tensor, second.state_dict()[name]), name
        with torch.no_grad():
            mean = first.mapping(latents(20_000, W)).mean(0)
        assert (first.w_average - mean).abs().max() < 0.05 * mean.abs().max()
        assert 0.9 < first.convs[-1].noise.std() < 1.1

    def test_what_its_trainer_writes(self, tmp_path: Path) -> None:
        """The options in a Namespace and optimiser states; and the file format from before torch 1.6."""
        options = argparse.Namespace(size=32, lr=0.002)
        content = {"g_ema": rosinality_state(), "g": {}, "g_optim": {"state": {}}, "args": options, "ada_aug_p": 0.1}
        for zipped in (True, False):
            torch.save(content, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
            assert load_stylegan2(tmp_path / "a.pt").size == 32

    def test_half_precision_becomes_float32(self, tmp_path: Path) -> None:
        state = {name: x.half() for name, x in rosinality_state().items()}
        generator = load_stylegan2(write_rosinality(tmp_path / "a.pt", state, latent_avg=torch.zeros(W)))
        assert generator.constant.dtype == torch.float32
        assert torch.equal(generator.constant, state["input.input"].float())

    def test_round_trip(self, tmp_path: Path) -> None:
        torch.manual_seed(0)
        generator = StyleGAN2Generator(CHANNELS, W, W, MAPPING).eval()
        with torch.no_grad():
            for tensor in (*generator.parameters(), *generator.buffers()):
                tensor.add_(torch.randn(tensor.shape))
        save_rosinality(generator, tmp_path / "a.pt")
        loaded = load_stylegan2(tmp_path / "a.pt")
        assert loaded.settings() == generator.settings()
        ours, theirs = generator.state_dict(), loaded.state_dict()
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
        assert torch.equal(loaded(latents(2, W)), generator(latents(2, W)))

    def test_what_we_save_is_what_rosinality_reads(self, tmp_path: Path) -> None:
        """The same names and shapes as a state of theirs, and the same pictures by their arithmetic."""
        theirs = rosinality_state()
        generator = load_stylegan2(write_rosinality(tmp_path / "a.pt", theirs, latent_avg=torch.zeros(W)))
        save_rosinality(generator, tmp_path / "b.pt")
        content = torch.load(tmp_path / "b.pt", weights_only=True)
        assert content["latent_avg"].shape == (W,)
        assert {n: x.shape for n, x in content["g_ema"].items()} == {n: x.shape for n, x in theirs.items()}
        kernel = content["g_ema"]["convs.0.conv.blur.kernel"]
        assert kernel.sum() == 4
        assert torch.equal(kernel * 16, torch.outer(*[torch.tensor([1.0, 3.0, 3.0, 1.0])] * 2))
        z = latents(2, W)
        assert (rosinality_image(content["g_ema"], z) - generator(z)).abs().max() < 1e-4


@pytest.mark.usefixtures("nvlabs_modules")
class TestNVlabs:
    def test_same_pictures(self, tmp_path: Path) -> None:
        state, average = nvlabs_state(), draw(3)(W)
        generator = load_stylegan2(write_nvlabs(tmp_path / "a.pkl", state | {"mapping.w_avg": average}))
        assert tuple(generator.settings()["channels"]) == CHANNELS
        assert (generator.size, generator.z_dim, generator.w_dim, len(generator.mapping.layers)) == (32, Z, W, MAPPING)
        assert torch.equal(generator.w_average, average)
        assert all(p.requires_grad for p in generator.parameters())
        z = latents(3, Z)
        expected = nvlabs_image(state, z)
        assert expected.std() > 0.5
        assert (generator(z) - expected).abs().max() < 1e-4
        state = heavy(state)
        generator = load_stylegan2(write_nvlabs(tmp_path / "a.pkl", state)).double()
        assert (generator(z.double()) - nvlabs_image(double(state), z.double())).abs().max() < 1e-9

    def test_clamped_activations(self, tmp_path: Path) -> None:
        state, z = nvlabs_state(), latents(3, Z)
        generator = load_stylegan2(write_nvlabs(tmp_path / "a.pkl", state, conv_clamp=0.5))
        assert generator.config["conv_clamp"] == 0.5
        assert (generator(z) - nvlabs_image(state, z, clamp=0.5)).abs().max() < 1e-4
        assert (generator(z) - nvlabs_image(state, z)).abs().max() > 0.1

    def test_one_of_several_classes(self, tmp_path: Path) -> None:
        normal = draw(7)
        state = nvlabs_state() | {"mapping.embed.weight": normal(W, 10), "mapping.embed.bias": normal(W)}
        state["mapping.fc0.weight"] = normal(W, Z + W) * 100
        path, z = write_nvlabs(tmp_path / "a.pkl", state), latents(3, Z)
        drawn = [load_stylegan2(Path(f"{path}:{number}"))(z) for number in (0, 3)]
        for number, images in zip((0, 3), drawn, strict=True):
            assert (images - nvlabs_image(state, z, number)).abs().max() < 1e-4
        assert (drawn[0] - drawn[1]).abs().max() > 0.1
        for name in (path, Path(f"{path}:10")):
            with pytest.raises(BadInput, match=r"a\.pkl: the generator draws 10 classes.*a\.pkl:9"):
                load_stylegan2(name)
        write_nvlabs(tmp_path / "b.pkl", nvlabs_state())
        with pytest.raises(BadInput, match=r"b\.pkl: the generator has no classes; leave :3 out"):
            load_stylegan2(Path(f"{tmp_path}/b.pkl:3"))

    def test_old_pickles(self, tmp_path: Path) -> None:
        """Protocol 3 names the type of a set, and NumPy's old module held its scalars."""
        tree = module_tree(nvlabs_state())
        content = nvlabs_bytes(tree, protocol=3).replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
        assert b"cnumpy.core.multiarray\nscalar" in content
        assert b"cbuiltins\nset" in content
        (tmp_path / "a.pkl").write_bytes(content)
        (tmp_path / "b.pkl").write_bytes(nvlabs_bytes(tree))
        old, new = load_stylegan2(tmp_path / "a.pkl").state_dict(), load_stylegan2(tmp_path / "b.pkl").state_dict()
        assert all(torch.equal(old[name], new[name]) for name in new)

    def test_channels_last_weights(self, tmp_path: Path) -> None:
        state = nvlabs_state()
        name = "synthesis.b32.conv1.weight"
        last = state | {name: state[name].contiguous(memory_format=torch.channels_last)}
        generator = load_stylegan2(write_nvlabs(tmp_path / "a.pkl", last))
        assert torch.equal(generator.convs[-1].conv.weight, state[name])

    def test_other_networks_are_named(self, tmp_path: Path) -> None:
        state, path = nvlabs_state(), tmp_path / "a.pkl"
        write_nvlabs(
            path, {"synthesis.input.weight": torch.zeros(3, 3), "synthesis.L0_36_512.weight": torch.zeros(3, 3)}
        )
        with pytest.raises(BadInput, match=r"a\.pkl.*StyleGAN3"):
            load_stylegan2(path)
        write_nvlabs(path, state | {"synthesis.b8.skip.weight": torch.zeros(10, 12, 1, 1)})
        with pytest.raises(BadInput, match=r"a\.pkl.*synthesis\.b8\.skip\.weight"):
            load_stylegan2(path)
        write_nvlabs(path, state, activation="relu")
        with pytest.raises(BadInput, match=r"a\.pkl.*activation"):
            load_stylegan2(path)

    @pytest.mark.parametrize("network", [None, "text", {"state": 3}, Persistent("Generator", {}), OrderedDict()])
    def test_no_generator(self, tmp_path: Path, network: Any) -> None:
        (tmp_path / "a.pkl").write_bytes(nvlabs_bytes(network))
        with pytest.raises(BadInput, match=r"a\.pkl"):
            load_stylegan2(tmp_path / "a.pkl")


class Payload:
    """Calls a function with arguments when unpickled; both may be payloads themselves."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> Any:
        return self.function, self.arguments


class Indirect(Payload):
    """The function itself comes of a call: getattr(import_module("os"), "system")."""

    def __reduce__(self) -> Any:
        found = Payload(getattr, Payload(importlib.import_module, "os"), "system")
        return map, (found, [self.arguments[0]])


def payloads(marker: Path) -> dict[str, tuple[Any, str]]:
    """Live payloads that make the marker, and the global that each is refused for."""
    touch = f"touch '{marker}'"
    objects = np.empty(1, dtype=object)
    objects[0] = Payload(os.system, touch)
    return {
        "reduce": (Payload(os.system, touch), f"{os.system.__module__}.system"),
        "eval": (Payload(eval, f"open({str(marker)!r}, 'w').close()"), "builtins.eval"),
        "exec": (Payload(exec, f"open({str(marker)!r}, 'w').close()"), "builtins.exec"),
        "getattr": (Payload(list, Indirect(None, touch)), "builtins.list"),
        "numpy": (objects, f"{os.system.__module__}.system"),
    }


KINDS = list(payloads(Path("x")))


@pytest.mark.usefixtures("nvlabs_modules")
class TestHostile:
    @pytest.fixture
    def marker(self, tmp_path: Path) -> Path:
        return tmp_path / "ran"

    @pytest.mark.parametrize("kind", KINDS)
    def test_the_payloads_are_live(self, marker: Path, kind: str) -> None:
        """The payloads do work with plain pickle; otherwise the tests below would prove nothing."""
        pickle.loads(pickle.dumps(payloads(marker)[kind][0]))
        assert marker.exists()

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("protocol", [2, 3, 4, 5])
    def test_pickle_alone_or_beside_the_generator(self, tmp_path: Path, marker: Path, kind: str, protocol: int) -> None:
        payload, name = payloads(marker)[kind]
        tree = module_tree(nvlabs_state())
        contents = [pickle.dumps(payload, protocol), nvlabs_bytes(tree, max(protocol, 3), D=payload)]
        contents.append(nvlabs_bytes(module_tree(nvlabs_state(), _init_kwargs=payload), max(protocol, 3)))
        for content in contents:
            (tmp_path / "a.pkl").write_bytes(content)
            with pytest.raises(BadInput, match=r"a\.pkl.*tries to load") as caught:
                load_stylegan2(tmp_path / "a.pkl")
            if protocol > 2:  # which calls builtins by their older module
                assert f" {name}," in str(caught.value) or " builtins.getattr," in str(caught.value)
        assert not marker.exists()

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("zipped", [False, True])
    def test_torch_file_and_payload_in_a_tensor(self, tmp_path: Path, marker: Path, kind: str, zipped: bool) -> None:
        """torch.storage._load_from_bytes unpickles its argument: a pickle in the pickle."""
        buffer = io.BytesIO()
        torch.save(payloads(marker)[kind][0], buffer, _use_new_zipfile_serialization=zipped)
        inner = Payload(torch.storage._load_from_bytes, buffer.getvalue())
        weight = Payload(torch._utils._rebuild_tensor_v2, inner, 0, (3,), (1,), False, OrderedDict())
        tree = module_tree(nvlabs_state())
        tree.state["_modules"]["synthesis"].state["_modules"]["b4"].state["_parameters"]["const"] = weight
        (tmp_path / "a.pkl").write_bytes(nvlabs_bytes(tree))
        (tmp_path / "b.pt").write_bytes(buffer.getvalue())
        for name in ("a.pkl", "b.pt"):
            with pytest.raises(BadInput, match=name):
                load_stylegan2(tmp_path / name)
        # Where the generator does not need it, it is not even opened.
        (tmp_path / "c.pkl").write_bytes(nvlabs_bytes(module_tree(nvlabs_state()), D=weight))
        load_stylegan2(tmp_path / "c.pkl")
        assert not marker.exists()
        torch.load(io.BytesIO(buffer.getvalue()), weights_only=False)
        assert marker.exists()

    def test_the_forbidden_global_of_a_torch_file_is_named(self, tmp_path: Path, marker: Path) -> None:
        payload, name = payloads(marker)["reduce"]
        torch.save({"g_ema": rosinality_state(), "extra": payload}, tmp_path / "a.pt")
        with pytest.raises(BadInput, match=rf"a\.pt: .*tries to load {name},"):
            load_stylegan2(tmp_path / "a.pt")
        assert not marker.exists()

    @pytest.mark.parametrize(
        ("module", "name"),
        [
            ("torch.storage", "_load_from_bytes.__globals__"),
            ("collections", "OrderedDict.__class__"),
            ("torch.storage", "io.open"),
            ("builtins", "getattr"),
            ("builtins", "type"),
            ("torch._utils", "_rebuild_parameter.__globals__"),
            ("gen.hda.checkpoints", "_Call"),
        ],
    )
    def test_names_outside_the_table(self, tmp_path: Path, module: str, name: str) -> None:
        text = b"".join(b"\x8c" + bytes([len(part)]) + part.encode() for part in (module, name))
        (tmp_path / "a.pkl").write_bytes(b"\x80\x04" + text + b"\x93.")
        with pytest.raises(BadInput, match=rf"a\.pkl.*{module}\.{name},"):
            load_stylegan2(tmp_path / "a.pkl")

    @pytest.mark.parametrize(
        "content",
        [
            b"ctorch.storage\n_load_from_bytes\n}(\x8c\x01a\x8c\x01bub.",  # attributes of a function
            b"ctorch.storage\n_load_from_bytes\nN}(\x8c\x0c__defaults__)u\x86b.",
            b"ccollections\nOrderedDict\nN}(\x8c\x05items\x8c\x01bu\x86b.",  # attributes of a class
            b"ctorch.storage\n_load_from_bytes\n)\x81.",  # a new object of what is not a class
        ],
    )
    def test_what_is_in_the_table_cannot_be_changed(self, tmp_path: Path, content: bytes) -> None:
        before = torch.storage._load_from_bytes.__defaults__, dict.items, OrderedDict.items
        (tmp_path / "a.pkl").write_bytes(b"\x80\x04" + content)
        with pytest.raises(BadInput, match=r"a\.pkl.*(damaged|no G_ema)"):
            load_stylegan2(tmp_path / "a.pkl")
        assert (torch.storage._load_from_bytes.__defaults__, dict.items, OrderedDict.items) == before
        assert not hasattr(torch.storage._load_from_bytes, "a")

    def test_more_numbers_than_the_file_has(self, tmp_path: Path) -> None:
        """Strides of zero and offsets past the end: neither a large allocation nor a read beyond the storage."""
        state, path = rosinality_state(), tmp_path / "a.pt"
        write_rosinality(path, state | {"input.input": torch.ones(1).expand(1, 10**9, 4, 4)})
        with pytest.raises(BadInput, match=r"a\.pt.*input\.input"):
            load_stylegan2(path)
        storage = torch.ones(4).untyped_storage()
        typed = torch.storage.TypedStorage(wrap_storage=storage, dtype=torch.float32, _internal=True)
        for offset, size, stride in ((1, (4,), (1,)), (0, (10**12,), (1,)), (0, (10**9,), (0,)), (-1, (1,), (1,))):
            weight = Payload(torch._utils._rebuild_tensor_v2, typed, offset, size, stride, False, OrderedDict())
            tree = module_tree(nvlabs_state())
            tree.state["_modules"]["synthesis"].state["_modules"]["b4"].state["_parameters"]["const"] = weight
            (tmp_path / "a.pkl").write_bytes(nvlabs_bytes(tree))
            with pytest.raises(BadInput, match=r"a\.pkl"):
                load_stylegan2(tmp_path / "a.pkl")


@pytest.mark.usefixtures("nvlabs_modules")
class TestErrors:
    @pytest.mark.parametrize("content", [b"", b"no checkpoint", b"\x89PNG\r\n\x1a\n", bytes(1000)])
    def test_neither_format(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "a.pt").write_bytes(content)
        with pytest.raises(BadInput, match=r"a\.pt.*neither"):
            load_stylegan2(tmp_path / "a.pt")

    def test_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match=r"a\.pt"):
            load_stylegan2(tmp_path / "a.pt")

    def test_damaged(self, tmp_path: Path) -> None:
        write_rosinality(tmp_path / "a.pt", rosinality_state())
        torch.save({"g_ema": rosinality_state()}, tmp_path / "b.pt", _use_new_zipfile_serialization=False)
        write_nvlabs(tmp_path / "c.pkl", nvlabs_state())
        for name in ("a.pt", "b.pt", "c.pkl"):
            content = (tmp_path / name).read_bytes()
            for part in (0.01, 0.3, 0.6, 0.99):
                (tmp_path / name).write_bytes(content[: int(len(content) * part)])
                with pytest.raises(BadInput, match=name):
                    load_stylegan2(tmp_path / name)

    def test_a_far_memo_index_takes_no_memory(self, tmp_path: Path) -> None:
        """Pickle's LONG_BINPUT at 2^28 - 1; in an array that would be 4 GB."""
        (tmp_path / "a.pkl").write_bytes(b"\x80\x03}r\xff\xff\xff\x0f.")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(BadInput, match=r"a\.pkl.*G_ema"):
            load_stylegan2(tmp_path / "a.pkl")
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1e5  # kilobytes

    def test_changed_bytes_give_our_error_or_none(self, tmp_path: Path) -> None:
        content = nvlabs_bytes(module_tree(nvlabs_state()))
        rng = np.random.default_rng(0)
        messages: list[str] = []
        for _ in range(60):
            changed = bytearray(content)
            for place in rng.integers(0, len(content), 20):
                changed[place] = rng.integers(256)
            (tmp_path / "a.pkl").write_bytes(changed)
            try:
                load_stylegan2(tmp_path / "a.pkl")
            except BadInput as error:
                messages.append(str(error))
        assert len(messages) > 10
        assert all("a.pkl" in message for message in messages)

    @pytest.mark.parametrize(
        "name", ["input.input", "style.2.bias", "convs.1.conv.weight", "to_rgbs.2.bias", "noises.noise_6"]
    )
    def test_missing(self, tmp_path: Path, name: str) -> None:
        state = rosinality_state()
        del state[name]
        with pytest.raises(BadInput, match=r"a\.pt: 1 of the generator's tensors are missing, for example " + name):
            load_stylegan2(write_rosinality(tmp_path / "a.pt", state))

    def test_missing_in_a_pickle(self, tmp_path: Path) -> None:
        state = nvlabs_state()
        del state["synthesis.b16.torgb.affine.bias"]
        with pytest.raises(BadInput, match=r"a\.pkl.*synthesis\.b16\.torgb\.affine\.bias"):
            load_stylegan2(write_nvlabs(tmp_path / "a.pkl", state))

    @pytest.mark.parametrize(
        "state",
        [
            {"to_rgb1.bias": torch.zeros(1, 4, 1, 1)},
            {"convs.0.conv.weight": torch.zeros(3)},
            {"conv1.conv.weight": torch.zeros(0)},
            {"conv1.noise.weight": torch.zeros(1, dtype=torch.int64)},
            {"conv1.noise.weight": "text"},
            {"style.1.weight": torch.zeros(W, W, device="meta")},
            {"extra": torch.zeros(1)},
        ],
    )
    def test_wrong_tensors(self, tmp_path: Path, state: Any) -> None:
        with pytest.raises(BadInput, match=r"a\.pt"):
            load_stylegan2(write_rosinality(tmp_path / "a.pt", rosinality_state() | state))

    @pytest.mark.parametrize(
        "content", [{}, {"g": {}}, {"g_ema": torch.zeros(3)}, {"g_ema": {}}, [1, 2], {"g_ema": {1: 2}}]
    )
    def test_no_generator(self, tmp_path: Path, content: Any) -> None:
        torch.save(content, tmp_path / "a.pt")
        with pytest.raises(BadInput, match=r"a\.pt"):
            load_stylegan2(tmp_path / "a.pt")

    def test_a_wrong_average(self, tmp_path: Path) -> None:
        for average in (torch.zeros(W + 1), [0.0] * W):
            with pytest.raises(BadInput, match=r"a\.pt"):
                load_stylegan2(write_rosinality(tmp_path / "a.pt", rosinality_state(), latent_avg=average))
