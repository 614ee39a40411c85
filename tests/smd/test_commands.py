"""The command lines of rendering: fast help and usage errors, and a style that comes from outside the package."""

import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from gen.errors import BadSetting
from gen.smd.dataset import SMDDataset
from gen.smd.rendering import contact_sheet, render_smd
from gen.smd.settings import RenderSettings
from gen.smd.styles import STYLES, Style, find_style, register
from tests.smd.checks import CHECKS


@pytest.fixture
def checks() -> Iterator[Style]:
    register(CHECKS)
    yield CHECKS
    del STYLES[CHECKS.name]


class TestAStyleFromOutside:
    @pytest.mark.parametrize("workers", [1, 2])
    def test_it_is_written_as_the_others_are(self, tmp_path, checks, workers):
        """Also by worker processes, which have not registered it."""
        names, scenes = ("8bit", "checks"), ("cave", "snow")
        render_smd(RenderSettings(tmp_path, per_class=9, size=48, styles=names, scenes=scenes, workers=workers))
        assert len(list((tmp_path / "8bit").rglob("*.jpg"))) == 18
        files = sorted((tmp_path / "checks").rglob("*.jpg"))
        assert [f.relative_to(tmp_path).as_posix() for f in files[::9]] == [f"checks/{s}/000000.jpg" for s in scenes]
        pictures = [np.asarray(Image.open(file)) for file in files]
        assert all(p.shape == (48, 48, 3) for p in pictures)
        assert not np.array_equal(pictures[0], pictures[9])

    def test_a_data_set_and_a_contact_sheet_have_it(self, checks):
        sample = SMDDataset(2, styles=("hd", "checks"), scenes=("sky",))[3]
        assert sample.style == 4
        assert sample.image.shape == (3, 224, 224)
        assert len(SMDDataset(1)) == 5 * 8
        assert contact_sheet(["checks"], ["cave"], 0).shape == (248, 328, 3)

    def test_the_command_line_offers_it(self, tmp_path):
        """In a process of its own, because the choices are read from the list once."""
        code = (
            "import sys; from gen.smd.styles import register; from tests.smd.checks import CHECKS; register(CHECKS)\n"
            "from gen.cli import main; sys.exit(main(['render-smd', *sys.argv[1:]]))"
        )
        settings = ["--styles", "checks", "--scenes", "cave", "--per-class", "1", "--size", "32", "--workers", "1"]
        subprocess.run([sys.executable, "-c", code, str(tmp_path), *settings], check=True)
        assert (tmp_path / "checks/cave/000000.jpg").exists()


class TestTheList:
    def test_registering_makes_a_style_known(self, checks):
        assert find_style("checks") is checks

    @pytest.mark.parametrize(
        ("row", "message"),
        [
            (Style("hd", "", False, "a:b", 9), "'hd' is registered already"),
            (Style("wire", "", False, "a:b", 2), "number 2 is taken; the next free one is 4"),
        ],
    )
    def test_names_and_numbers_are_unique(self, row, message):
        with pytest.raises(BadSetting, match=message):
            register(row)

    def test_an_unknown_name_is_told(self):
        with pytest.raises(BadSetting, match="unknown style 'vector'; available: 8bit, 16bit, lowpoly, hd"):
            find_style("vector")


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["render-street", "--help"], 0, "width first: for example 1280x720"),
        (["render-street", "OUT", "--size", "720"], 1, "size must be WIDTHxHEIGHT in pixels, for example 640x360"),
        (["render-street", "OUT", "--weather", "hail"], 2, "rainy_night"),
        (["render-smd", "--help"], 0, "{8bit,16bit,lowpoly,hd}"),
        (["render-smd", "OUT", "--styles", "4bit"], 2, "8bit"),
        (["render-smd", "OUT", "--size", "5"], 1, "size from 16 to 1024"),
    ],
)
def test_help_and_usage_errors_need_no_torch(arguments, code, text):
    program = (
        "import sys\nfrom gen.cli import main\n"
        f"try:\n    code = main({arguments})\nexcept SystemExit as left:\n    code = left.code\n"
        "heavy = {'torch', 'diffusers', 'numpy', 'PIL'} & set(sys.modules)\n"
        "print('imported:', sorted(heavy))\nsys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    output = " ".join((done.stdout + done.stderr).replace("│", " ").split())
    assert done.returncode == code
    assert text in output
    assert "imported: []" in output
