"""Models that the server keeps loaded."""

from pathlib import Path

import pytest

from gen.hda.pipeline import HDAPipeline
from gen.web.service import Service
from gen.web.settings import WebSettings
from tests.augan.test_pipeline import small_pipeline
from tests.stylegan2.conftest import tiny_generator


def test_a_model_that_was_exported_again_is_loaded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports name the weights that the folder has now; the pictures must be made with them."""
    monkeypatch.setenv("GEN_WEIGHTS", str(tmp_path / "weights"))
    translator, generator = small_pipeline(), tiny_generator()
    translator.save_pretrained(tmp_path / "weights" / "mine")
    HDAPipeline(generator).save_pretrained(tmp_path / "weights" / "faces")
    service = Service(WebSettings(results=tmp_path / "results", device="cpu"), {})
    try:
        before = service.translator("mine"), service.generator("faces")
        assert service.translator("mine") is before[0]
        assert service.generator("faces") is before[1]
        next(translator.adverse_to_normal.parameters()).data += 1
        translator.save_pretrained(tmp_path / "weights" / "mine")
        generator.constant.data += 1
        HDAPipeline(generator).save_pretrained(tmp_path / "weights" / "faces")
        assert service.translator("mine") is not before[0]
        assert service.generator("faces").fingerprint != before[1].fingerprint
    finally:
        service.jobs.close()
