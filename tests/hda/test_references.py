from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gen.errors import BadInput, BadSetting
from gen.hda.domains import parse_domain, parse_domains
from gen.hda.references import exposures, load_references
from tests.stylegan2.conftest import write_pictures


class TestDomainNames:
    def test_folder_and_weight(self) -> None:
        domain = parse_domain("sketch=refs/sketch:0.5")
        assert (domain.name, domain.folder, domain.words, domain.weight) == ("sketch", Path("refs/sketch"), None, 0.5)

    def test_a_colon_without_a_number_belongs_to_the_folder(self) -> None:
        assert parse_domain("a=C:/refs").folder == Path("C:/refs")

    def test_words(self) -> None:
        domain = parse_domain("angry=text:an angry face:0.3")
        assert (domain.folder, domain.words, domain.weight) == (None, "an angry face", 0.3)

    @given(st.lists(st.floats(0, 1e6), min_size=1, max_size=5).filter(lambda w: sum(w) > 1e-3))
    def test_weights_add_up_to_one(self, weights: list[float]) -> None:
        domains = parse_domains(tuple(f"d{i}=x:{w}" for i, w in enumerate(weights)))
        assert sum(d.weight for d in domains) == pytest.approx(1)

    @pytest.mark.parametrize(
        ("texts", "reason"),
        [
            ((), "at least one"),
            (("sketch",), "name=DIR"),
            (("=x",), "name=DIR"),
            (("a=x", "a=y"), "names must be different, not a, a"),
            (("a=x:-1",), "must be a number >= 0"),
            (("a=x:nan",), "must be a number >= 0"),
            (("a=x:0", "b=y:0"), "above zero"),
        ],
    )
    def test_mistakes_are_explained(self, texts: tuple[str, ...], reason: str) -> None:
        with pytest.raises(BadSetting, match=reason):
            parse_domains(texts)


def test_exposures_halve_the_light() -> None:
    images = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
    light = [((copy + 1) / 2) ** 2.2 for copy in exposures(images).double().chunk(4)]
    torch.testing.assert_close(exposures(images)[:2], images)
    for brighter, darker in pairwise(light):
        torch.testing.assert_close(darker, brighter / 2, atol=1e-6, rtol=1e-4)


class TestLoading:
    def test_middle_square_at_the_size_of_the_generator(self, tmp_path: Path) -> None:
        picture = Image.new("RGB", (60, 20), (255, 0, 0))
        picture.paste((0, 0, 255), (20, 0, 40, 20))
        picture.save(tmp_path / "wide.png")
        images = load_references(tmp_path, 16).images
        assert images.shape == (1, 3, 16, 16)
        torch.testing.assert_close(images[0, :, 8, 8], torch.tensor([-1.0, -1.0, 1.0]))
        assert images.max() <= 1
        assert (images[0, 0] < -0.999).all()  # no red is left of the sides

    def test_a_broken_file_is_skipped_and_named(self, red: Path) -> None:
        (red / "broken.png").write_bytes(b"no picture")
        found = load_references(red, 32)
        assert len(found.images) == 4
        assert len(found.warnings) == 1
        assert "broken.png" in found.warnings[0]

    def test_duplicates_are_skipped_and_named(self, red: Path) -> None:
        (red / "copy.png").write_bytes((red / "0.png").read_bytes())
        found = load_references(red, 32)
        assert len(found.images) == 4
        assert "copy.png is the same image as 0.png" in found.warnings[0]

    def test_grey_alpha_and_palette_pictures_are_references_too(self, tmp_path: Path) -> None:
        for mode in ("L", "RGBA", "P", "1"):
            Image.effect_noise((32, 32), 90 if mode != "1" else 200).convert(mode).save(tmp_path / f"{mode}.png")
        assert load_references(tmp_path, 16).images.shape == (4, 3, 16, 16)

    def test_nothing_to_read(self, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match="no such folder"):
            load_references(tmp_path / "none", 16)
        write_pictures(tmp_path / "empty", 0, (0, 0, 0))
        with pytest.raises(BadInput, match="no readable reference image"):
            load_references(tmp_path / "empty", 16)
        (tmp_path / "empty" / "x.jpg").write_bytes(b"broken")
        with pytest.raises(BadInput, match=r"x\.jpg"):
            load_references(tmp_path / "empty", 16)
