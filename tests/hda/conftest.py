"""A model folder of a tiny generator, two domains of reference images, and a tiny CLIP."""

import re
from pathlib import Path

import pytest
import torch

from gen.hda.pipeline import HDAPipeline
from gen.hda.templates import TEMPLATES
from gen.stylegan2.networks import StyleGAN2Generator
from tests.stylegan2.conftest import tiny_generator, write_pictures


@pytest.fixture
def generator() -> StyleGAN2Generator:
    return tiny_generator()


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    HDAPipeline(tiny_generator()).save_pretrained(folder)
    return folder


@pytest.fixture
def red(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "red", 4, (220, 40, 40), seed=1)


@pytest.fixture
def blue(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "blue", 4, (30, 60, 230), seed=2)


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small CLIP with random weights and a tokenizer of the words in the templates, saved by transformers."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    spoken = sorted({word for t in (*TEMPLATES, "an angry face") for word in re.findall(r"\w+|[^\w\s{}]+", t)})
    words = ["<s>", "</s>", "<unk>", *spoken]
    text = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "vocab_size": len(words),
        "max_position_embeddings": 20,
    }
    vision = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    ends = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    CLIPModel(
        CLIPConfig(
            text_config={**text, **ends}, vision_config={**vision, "image_size": 32, "patch_size": 8}, projection_dim=12
        )
    ).save_pretrained(folder)
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="</s>", pad_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)
    return folder
