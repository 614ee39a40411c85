from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import resnet18

from gen.errors import BadInput, BadSetting
from gen.metrics.features import EfficientNetLite0Features
from gen.smos.backbones import Classifier, load_backbone, make_backbone
from gen.smos.classifiers import load_classifier, save_classifier
from gen.smos.losses import MutualInformationBound

CLASSES = ("a", "b", "c")


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_the_published_set_up_has_its_number_of_parameters() -> None:
    """ResNet-50 for PACS: student, precursor, variances, head."""
    student = Classifier("resnet50", tuple("abcdefg"))
    variances = MutualInformationBound(student.body.channels)
    assert parameters(student.body) == 23_508_032
    assert parameters(variances) == 3_904
    assert parameters(student.head) == 14_343
    assert parameters(student) + parameters(student.body) + parameters(variances) == 47_034_311


@pytest.mark.parametrize("name", ["resnet18", "efficientnet-lite0", "timm:resnet10t", "vit", "dinov2", "clip"])
def test_maps_have_the_channels_that_are_declared(name: str) -> None:
    body = make_backbone(name).eval()
    with torch.no_grad():
        features = body(torch.rand(2, 3, 112, 112))
    assert features.pooled.shape == (2, body.width)
    assert tuple(m.shape[1] for m in features.maps) == body.channels
    assert all(m.shape[0] == 2 and m.ndim == 4 for m in features.maps)
    sides = [m.shape[-1] for m in features.maps]
    assert sides == sorted(sides, reverse=True)


def test_resnet_is_torchvisions(tmp_path: Path) -> None:
    theirs = resnet18().eval()
    torch.save(theirs.state_dict(), tmp_path / "r.pth")
    body = load_backbone("resnet18", str(tmp_path / "r.pth")).eval()
    images = torch.rand(2, 3, 64, 64)
    theirs.fc = nn.Identity()
    with torch.no_grad():
        torch.testing.assert_close(body(images).pooled, theirs((images - body.mean) / body.std))


def test_lite0_is_the_one_of_the_metrics() -> None:
    body = load_backbone("efficientnet-lite0").eval()
    images = torch.rand(2, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(body(images).pooled, EfficientNetLite0Features()(images), atol=1e-4, rtol=1e-4)


def test_timm_is_timms(tmp_path: Path) -> None:
    theirs = timm.create_model("resnet10t", num_classes=3).eval()
    save_file(theirs.state_dict(), tmp_path / "t.safetensors")
    body = load_backbone("timm:resnet10t", str(tmp_path / "t.safetensors")).eval()
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        wanted = theirs.forward_head(theirs.forward_features((images - body.mean) / body.std), pre_logits=True)
        torch.testing.assert_close(body(images).pooled, wanted)


def test_frozen_norms_keep_their_statistics_and_learn_their_scale() -> None:
    images = torch.rand(4, 3, 32, 32)
    for frozen in (True, False):
        network = Classifier("efficientnet-lite0", CLASSES, frozen_norms=frozen).train()
        norm = network.body.network._bn0
        before = norm.running_mean.clone()
        network(images).logits.sum().backward()
        assert torch.equal(before, norm.running_mean) == frozen
        assert norm.weight.grad.abs().sum() > 0


class TestFiles:
    @pytest.mark.parametrize("half", [False, True])
    def test_round_trip(self, tmp_path: Path, half: bool) -> None:
        network = Classifier("efficientnet-lite0", CLASSES, size=64).eval()
        network.body.load_imagenet()  # at random the network's features are all but zero
        save_classifier(network, tmp_path / "m", half)
        again = load_classifier(tmp_path / "m")
        assert again.config["classes"] == list(CLASSES) or again.config["classes"] == CLASSES
        assert next(again.parameters()).dtype == torch.float32
        images = torch.rand(1, 3, 64, 64)
        with torch.no_grad():
            torch.testing.assert_close(
                again(images).logits, network(images).logits, atol=5e-3 if half else 0, rtol=0.02 if half else 0
            )
            assert network(images).pooled.norm() > 1

    def test_what_is_no_classifier_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match="unknown model 'nowhere'"):
            load_classifier("nowhere")
        (tmp_path / "config.json").write_text('{"_class_name": "Classifier", "backbone": "resnet18", "classes": ["a"]}')
        with pytest.raises(BadInput, match=r"no diffusion_pytorch_model.safetensors here"):
            load_classifier(tmp_path)

    def test_weights_of_another_network_are_refused(self, tmp_path: Path) -> None:
        torch.save(resnet18().state_dict(), tmp_path / "r.pth")
        for name in ("resnet50", "efficientnet-lite0"):
            with pytest.raises(BadInput, match=r"r.pth: these are not weights of this backbone"):
                load_backbone(name, str(tmp_path / "r.pth"))
        with pytest.raises(BadInput, match="no such file; set weights"):
            load_backbone("resnet18", str(tmp_path / "none.pth"))

    def test_unknown_names(self) -> None:
        with pytest.raises(BadSetting, match="available: efficientnet-lite0, resnet18"):
            make_backbone("alexnet")
        with pytest.raises(BadSetting, match="timm:no_such"):
            make_backbone("timm:no_such")
