"""Generators of the public repositories, rebuilt here layer by layer from their papers, must translate the same."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from gen.cli import main
from gen.cyclegan.convert import read_generator
from gen.cyclegan.method import CycleGANPipeline
from gen.media.images import decode_still
from tests.conftest import street


class Blur(nn.Module):
    """CUT's Downsample: reflection, (1, 2, 1) x (1, 2, 1) / 16, every other pixel. Its kernel lies in the file."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        kernel = torch.tensor([1.0, 2.0, 1.0])
        self.register_buffer("filt", ((kernel[:, None] * kernel) / 16).repeat(channels, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), self.filt, stride=2, groups=x.shape[1])


class Stuff(nn.Module):
    """CUT's Upsample: replication, zeros between the pixels, (1, 3, 3, 1) x (1, 3, 3, 1) / 16."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        kernel = torch.tensor([1.0, 3.0, 3.0, 1.0])
        self.register_buffer("filt", ((kernel[:, None] * kernel) / 16).repeat(channels, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
        return F.conv_transpose2d(padded, self.filt, stride=2, padding=2, groups=x.shape[1])[:, :, 1:-1, 1:-1]


class Block(nn.Module):
    def __init__(self, channels: int, norm, bias: bool, dropout: bool) -> None:
        super().__init__()
        half = [nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3, bias=bias), norm(channels)]
        again = [nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3, bias=bias), norm(channels)]
        self.conv_block = nn.Sequential(*half, nn.ReLU(), *([nn.Dropout(0.5)] if dropout else []), *again)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


class Published(nn.Module):
    """The ResNet generator as the repositories name and order its layers."""

    def __init__(self, blocks: int, batch_norm: bool, dropout: bool, blur_down: bool, blur_up: bool) -> None:
        super().__init__()
        width, bias = 8, not batch_norm
        norm = nn.BatchNorm2d if batch_norm else nn.InstanceNorm2d
        layers = [nn.ReflectionPad2d(3), nn.Conv2d(3, width, 7, bias=bias), norm(width), nn.ReLU()]
        for c in (2 * width, 4 * width):
            layers += [nn.Conv2d(c // 2, c, 3, stride=1 if blur_down else 2, padding=1, bias=bias), norm(c), nn.ReLU()]
            layers += [Blur(c)] if blur_down else []
        layers += [Block(4 * width, norm, bias, dropout) for _ in range(blocks)]
        for c in (4 * width, 2 * width):
            if blur_up:
                layers += [Stuff(c), nn.Conv2d(c, c // 2, 3, padding=1, bias=bias)]
            else:
                layers += [nn.ConvTranspose2d(c, c // 2, 3, stride=2, padding=1, output_padding=1, bias=bias)]
            layers += [norm(c // 2), nn.ReLU()]
        self.model = nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(width, 3, 7), nn.Tanh())
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


@pytest.mark.parametrize("blocks", [6, 9])
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize(("blur_down", "blur_up"), [(False, False), (True, True), (True, False)])
def test_the_same_translation(tmp_path, blocks, batch_norm, dropout, blur_down, blur_up):
    published = Published(blocks, batch_norm, dropout, blur_down, blur_up).eval()
    torch.save(published.state_dict(), tmp_path / "latest_net_G.pth")
    images = torch.rand(2, 3, 32, 44) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(read_generator(tmp_path / "latest_net_G.pth")(images), published(images))


def test_old_files_of_many_gpus_with_unused_statistics(tmp_path):
    """DataParallel's prefix, and running statistics that InstanceNorm kept until torch 0.4 and never used."""
    published = Published(6, False, False, False, False).eval()
    state = {f"module.{key}": value for key, value in published.state_dict().items()}
    state |= {"module.model.2.running_mean": torch.ones(8), "module.model.2.running_var": torch.ones(8)}
    torch.save(state, tmp_path / "G.pth")
    images = torch.rand(1, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(read_generator(tmp_path / "G.pth")(images), published(images))


def test_from_a_file_to_a_translated_folder(tmp_path, capsys):
    """`gen convert`, then `gen translate`: pictures, in strips too; the card names the files."""
    for name in ("G_A", "G_B"):
        torch.save(Published(6, False, False, True, True).state_dict(), tmp_path / f"latest_net_{name}.pth")
    model = tmp_path / "cyclegan-night"
    there, back = (str(tmp_path / f"latest_net_{name}.pth") for name in ("G_A", "G_B"))
    size = ["--size", "64x40"]
    assert main(["convert", there, str(model), "--size", "64"]) == 1
    assert "--size must be WIDTHxHEIGHT" in capsys.readouterr().err
    assert main(["convert", there, str(model), "--back", back, *size, "--weather", "night"]) == 0
    (tmp_path / "in").mkdir()
    for i in range(2):
        Image.fromarray(street(np.random.default_rng(i), 50, 80, True)).save(tmp_path / "in" / f"{i}.png")
    for out, more in (("whole", []), ("strips", ["--tile", "8"]), ("back", ["--direction", "normal_to_adverse"])):
        assert main(["translate", str(tmp_path / "in"), str(tmp_path / out), "--model", str(model), *more]) == 0
    whole, strips, back = (
        decode_still(tmp_path / out / "1.png").rgb.astype(int) for out in ("whole", "strips", "back")
    )
    assert whole.shape == (50, 80, 3)
    assert abs(whole - strips).max() <= 1
    assert abs(whole - back).mean() > 1
    card = (model / "MODEL_CARD.md").read_text()
    assert "Night to clear day" in card
    assert "latest_net_G_A.pth (SHA-256 " in card
    pipe = CycleGANPipeline.from_pretrained(model)
    assert pipe.capabilities.trained_size == (40, 64)
    assert pipe.capabilities.maps == {"adverse_to_normal": (), "normal_to_adverse": ()}


def write_unet(path: Path) -> None:
    torch.save({"model.model.0.weight": torch.zeros(8, 3, 4, 4)}, path)


def write_other(path: Path) -> None:
    torch.save(nn.Linear(3, 3).state_dict(), path)


def write_whole_network(path: Path) -> None:
    torch.save(nn.Linear(3, 3), path)


def write_code(path: Path) -> None:
    path.write_bytes(pickle.dumps(print))


def write_part(path: Path) -> None:
    state = Published(6, False, False, False, False).state_dict()
    torch.save({key: value for key, value in state.items() if not key.startswith("model.16.")}, path)


def write_scalars(path: Path) -> None:
    torch.save({"model.1.weight": torch.zeros(3), "model.10.conv_block.1.weight": torch.zeros(3)}, path)


def write_nan(path: Path) -> None:
    state = Published(6, False, False, False, False).state_dict()
    state["model.1.weight"][0] = float("nan")
    torch.save(state, path)


def test_a_folder_that_holds_a_model_is_left_alone(tmp_path, capsys):
    torch.save(Published(6, False, False, False, False).state_dict(), tmp_path / "G.pth")
    assert main(["convert", str(tmp_path / "G.pth"), str(tmp_path / "out")]) == 0
    before = {p: p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert main(["convert", str(tmp_path / "G.pth"), str(tmp_path / "out")]) == 1
    assert "already holds a model" in capsys.readouterr().err
    assert before == {p: p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert main(["convert", str(tmp_path / "G.pth"), str(tmp_path / "G.pth")]) == 1
    assert "is a file; give a folder" in capsys.readouterr().err


def test_the_card_of_a_folder_given_from_inside_it_has_its_name(tmp_path, monkeypatch):
    torch.save(Published(6, False, False, False, False).state_dict(), tmp_path / "G.pth")
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path / "mine")
    assert main(["convert", "../G.pth", "."]) == 0
    card = (tmp_path / "mine" / "MODEL_CARD.md").read_text()
    assert "# mine\n" in card
    assert "--model mine\n" in card


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (write_nan, "model.1.weight holds NaN or infinite numbers"),
        (write_unet, "U-Net generator"),
        (write_other, "only ResNet generators"),
        (write_whole_network, "tries to load torch.nn.modules.linear.Linear"),
        (write_code, "neither a PyTorch weight file"),
        (write_part, "only ResNet generators"),
        (write_scalars, "only ResNet generators"),
        (lambda path: path.write_bytes(b"nothing"), "neither a PyTorch weight file"),
        (lambda path: None, "no such file"),
    ],
)
def test_other_files_are_refused_in_a_sentence(tmp_path, capsys, write, message):
    write(tmp_path / "x.pth")
    assert main(["convert", str(tmp_path / "x.pth"), str(tmp_path / "out")]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
