"""One name, one network."""

from itertools import chain

import pytest

from gen.hda.encoders import load_encoder
from gen.metrics.encoder_names import ALIASES, NETWORKS, full_name, loader_of, names_of
from gen.smos.backbones import make_backbone


def test_names_given_so_far_mean_what_they_meant() -> None:
    assert loader_of("hda", "clip") == "clip:openai/clip-vit-base-patch32"
    assert loader_of("hda", "dinov2") == "dinov2:facebook/dinov2-small"
    assert loader_of("smos", "vit") == "timm:vit_small_patch16_224.augreg_in21k_ft_in1k"
    assert loader_of("smos", "dinov2") == "timm:vit_small_patch14_dinov2.lvd142m"
    assert loader_of("smos", "clip") == "timm:vit_base_patch16_clip_224.openai"
    assert loader_of("smos", "resnet50") == "resnet50"
    assert loader_of("hda", "timm:resnet10t") == "timm:resnet10t"


def test_a_spelling_belongs_to_one_network() -> None:
    for use in ALIASES:
        spellings = [row.loaders[use] for row in NETWORKS.values() if use in row.loaders]
        assert len(set(spellings)) == len(spellings)


def test_a_full_name_is_no_short_name_of_another_network() -> None:
    short = set(chain.from_iterable(ALIASES.values()))
    assert not short & NETWORKS.keys()
    assert {full for names in ALIASES.values() for full in names.values()} <= NETWORKS.keys()


def test_all_spellings_lead_to_the_full_name() -> None:
    assert full_name("hda", "clip") == full_name("hda", "clip:openai/clip-vit-base-patch32") == "clip-vit-b32"
    assert full_name("smos", "clip") == full_name("hda", "timm:vit_base_patch16_clip_224.openai") == "clip-vit-b16"
    assert full_name("hda", "dinov2") == full_name("smos", "dinov2") == "dinov2-vit-s14"
    assert full_name("hda", "timm:resnet10t") == "timm:resnet10t"


@pytest.mark.parametrize("name", ["efficientnet-lite0", "squeezenet"])
def test_sides_are_those_of_the_encoders(name: str) -> None:
    assert load_encoder(name).size == NETWORKS[name].side


@pytest.mark.parametrize("name", ["resnet18", "efficientnet-lite0", "vit-s16", "dinov2-vit-s14", "clip-vit-b32"])
def test_full_names_make_backbones(name: str) -> None:
    assert make_backbone(name).width > 0


def test_short_names_are_offered_with_the_full_ones() -> None:
    assert {"clip-vit-b32", "clip"} <= set(names_of("hda"))
    assert {"clip-vit-b16", "vit"} <= set(names_of("smos"))
    assert "inception" not in names_of("hda")
