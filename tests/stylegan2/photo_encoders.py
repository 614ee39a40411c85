"""Random checkpoints in the format of pSp and e4e, of few channels, and what they mean, computed in float64."""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

STEM, WIDTHS, HIDDEN = 16, (16, 24, 32, 40), (1, 1, 2, 2)
UNITS = [(stage, k) for stage, count in enumerate((3, 4, 14, 3)) for k in range(count)]
"""Stage and number in it of each of the 24 residual units of an IR-SE-50."""

State = dict[str, Tensor]


def random_state(layers: int, w_dim: int = 16) -> State:
    """The tensors of an encoder under the published names, without `encoder.`."""
    draw = torch.Generator().manual_seed(3)

    def near(mean: float, *shape: int, spread: float = 0.1) -> Tensor:
        return mean + spread * torch.randn(shape, generator=draw)

    def conv(outputs: int, inputs: int, side: int) -> Tensor:
        return near(0, outputs, inputs, side, side, spread=(inputs * side * side) ** -0.5)

    def norm(name: str, channels: int) -> State:
        values = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0}
        named = {f"{name}.{key}": near(mean, channels) for key, mean in values.items()}
        named[f"{name}.running_var"] = near(1, channels).abs() + 0.5
        return named | {f"{name}.num_batches_tracked": torch.tensor(7)}

    state = {"input_layer.0.weight": conv(STEM, 3, 3), **norm("input_layer.1", STEM)}
    state["input_layer.2.weight"] = near(0.25, STEM)
    inputs = STEM
    for index, (stage, _) in enumerate(UNITS):
        width, hidden, unit = WIDTHS[stage], HIDDEN[stage], f"body.{index}"
        if inputs != width:
            state[f"{unit}.shortcut_layer.0.weight"] = conv(width, inputs, 1)
            state |= norm(f"{unit}.shortcut_layer.1", width)
        state |= norm(f"{unit}.res_layer.0", inputs)
        state[f"{unit}.res_layer.1.weight"] = conv(width, inputs, 3)
        state[f"{unit}.res_layer.2.weight"] = near(0.25, width)
        state[f"{unit}.res_layer.3.weight"] = conv(width, width, 3)
        state |= norm(f"{unit}.res_layer.4", width)
        state[f"{unit}.res_layer.5.fc1.weight"] = conv(hidden, width, 1)
        state[f"{unit}.res_layer.5.fc2.weight"] = conv(width, hidden, 1)
        inputs = width
    for name, before in (("latlayer1", WIDTHS[2]), ("latlayer2", WIDTHS[1])):
        state |= {f"{name}.weight": conv(WIDTHS[3], before, 1), f"{name}.bias": near(0, WIDTHS[3])}
    for layer in range(layers):
        for k in range(halvings(layer)):
            state[f"styles.{layer}.convs.{2 * k}.weight"] = conv(w_dim, w_dim if k else WIDTHS[3], 3)
            state[f"styles.{layer}.convs.{2 * k}.bias"] = near(0, w_dim)
        state[f"styles.{layer}.linear.weight"] = near(0, w_dim, w_dim, spread=1.0)
        state[f"styles.{layer}.linear.bias"] = near(0, w_dim)
    return state


def halvings(layer: int) -> int:
    """From the map of a layer, which has 16, 32 or 64 pixels, to one pixel."""
    return 4 if layer < 3 else 5 if layer < 7 else 6


def content(state: State, kind: str = "Encoder4Editing", **more: Any) -> dict[str, Any]:
    """What such a checkpoint holds; `more` replaces its entries."""
    opts = {"encoder_type": kind, "start_from_latent_avg": True, "dataset_type": "ffhq_encode", "stylegan_size": 32}
    return {"state_dict": {f"encoder.{name}": x for name, x in state.items()}, "opts": opts, **more}


def write(path: Path, state: State, kind: str = "Encoder4Editing", **more: Any) -> Path:
    torch.save(content(state, kind, **more), path)
    return path


def answer(state: State, photos: Tensor, layers: int, deltas: bool) -> Tensor:
    """The latents of photos (B, 3, 256, 256), before the average is added: (B, layers, w_dim), float64."""
    s = {name: x.double() for name, x in state.items()}

    def norm(x: Tensor, name: str) -> Tensor:
        mean, var, weight, bias = (
            s[f"{name}.{key}"][:, None, None] for key in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-5).sqrt() * weight + bias

    def prelu(x: Tensor, name: str) -> Tensor:
        return torch.where(x < 0, s[f"{name}.weight"][:, None, None] * x, x)

    x = photos.double()
    x = prelu(norm(F.conv2d(x, s["input_layer.0.weight"], padding=1), "input_layer.1"), "input_layer.2")
    maps: list[Tensor] = []
    for index, (stage, number) in enumerate(UNITS):
        unit, step = f"body.{index}", 1 if number else 2
        short = x[:, :, ::step, ::step]
        if f"{unit}.shortcut_layer.0.weight" in s:
            weight = s[f"{unit}.shortcut_layer.0.weight"][:, :, 0, 0]
            short = norm(torch.einsum("oi,bihw->bohw", weight, short), f"{unit}.shortcut_layer.1")
        y = F.conv2d(norm(x, f"{unit}.res_layer.0"), s[f"{unit}.res_layer.1.weight"], padding=1)
        y = F.conv2d(prelu(y, f"{unit}.res_layer.2"), s[f"{unit}.res_layer.3.weight"], padding=1)[..., ::step, ::step]
        y = norm(y, f"{unit}.res_layer.4")
        fc1, fc2 = (s[f"{unit}.res_layer.5.{name}.weight"][:, :, 0, 0] for name in ("fc1", "fc2"))
        y = y * torch.sigmoid(torch.relu(y.mean((2, 3)) @ fc1.T) @ fc2.T)[:, :, None, None]
        x = y + short
        if (stage, number) in ((1, 3), (2, 13), (3, 2)):
            maps.append(x)
    fine, middle, coarse = maps

    def lateral(small: Tensor, large: Tensor, name: str) -> Tensor:
        beside = (
            torch.einsum("oi,bihw->bohw", s[f"{name}.weight"][:, :, 0, 0], large) + s[f"{name}.bias"][:, None, None]
        )
        stretch = corners(small.shape[-1], large.shape[-1])
        return stretch @ small @ stretch.T + beside

    middle = lateral(coarse, middle, "latlayer1")
    fine = lateral(middle, fine, "latlayer2")
    found: list[Tensor] = []
    for layer in range(layers):
        x = coarse if layer < 3 else middle if layer < 7 else fine
        for k in range(halvings(layer)):
            name = f"styles.{layer}.convs.{2 * k}"
            x = F.conv2d(x, s[f"{name}.weight"], s[f"{name}.bias"], stride=2, padding=1)
            x = torch.where(x < 0, 0.01 * x, x)
        weight, bias = (s[f"styles.{layer}.linear.{key}"] for key in ("weight", "bias"))
        found.append(x[:, :, 0, 0] @ weight.T / weight.shape[1] ** 0.5 + bias)
    return torch.stack([w + found[0] if deltas and layer else w for layer, w in enumerate(found)], 1)


def corners(small: int, large: int) -> Tensor:
    """Linear interpolation from `small` to `large` numbers that keeps the first and the last, as a matrix."""
    place = torch.arange(large, dtype=torch.float64) * (small - 1) / (large - 1)
    return (1 - (place[:, None] - torch.arange(small)).abs()).clamp_min(0)
