"""Directions, edits, style mixing and grids: `gen directions` and `gen generate`."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from gen.errors import BadSetting
from gen.hda.adaptation import Adaptation, difference
from gen.hda.directions import Directions, principal_components, principal_directions
from gen.hda.editing import Editor, Faces, Look, edited, mixed
from gen.hda.parsing import Mix, Target
from gen.hda.pipeline import HDAPipeline
from gen.hda.sheets import GAP, LINE, sheet
from gen.media.mark import read_header
from tests.hda.test_commands import Done, run
from tests.hda.test_pipeline import moved
from tests.stylegan2.conftest import tiny_generator

LAYERS, SIZE = 8, 32
"""Of the tiny generator."""


@pytest.fixture(scope="module")
def found(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of `gen directions`, with two names."""
    out = tmp_path_factory.mktemp("directions") / "out"
    done = run("directions", "--model", model, "--out", out, "--samples", 1000, "--rows", 3, "--layers", "0-3")
    assert done.returncode == 0, done.stderr
    names = out / "names.txt"
    names.write_text(names.read_text() + "smile = 0\nage = 2:0-3\n")
    return out


@pytest.fixture(scope="module")
def adaptation(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Path:
    pipe = HDAPipeline.from_pretrained(model)
    path = tmp_path_factory.mktemp("adaptation") / "moved.safetensors"
    Adaptation("moved", pipe.fingerprint, difference(pipe.generator, moved(pipe.generator, 1)), {}).save(path)
    return path


def editor(model: Path, found: Path) -> Editor:
    pipe = HDAPipeline.from_pretrained(model)
    return Editor(pipe, Directions.load(found / "directions.safetensors", pipe.fingerprint), {"smile": Target(0)})


def pixels(path: Path) -> Any:
    return np.asarray(Image.open(path))


def cells(path: Path, rows: int, columns: int, lines: int) -> Any:
    """The pictures of a labelled grid, (rows, columns, H, W, 3)."""
    step, picture = SIZE + GAP, pixels(path)
    assert picture.shape[0] == LINE * lines + rows * step
    left, top = picture.shape[1] - columns * step, LINE * lines
    return np.stack([
        [picture[top + r * step :, left + c * step :][:SIZE, :SIZE] for c in range(columns)] for r in range(rows)
    ])  # fmt: skip


class TestDirections:
    def test_components_equal_an_svd(self) -> None:
        random = torch.Generator().manual_seed(0)
        w = torch.randn(400, 12, generator=random).double() @ torch.randn(12, 12, generator=random).double() + 3
        vectors, deviations = principal_components(w)
        _, strengths, rows = np.linalg.svd(w.numpy() - w.numpy().mean(0), full_matrices=False)
        np.testing.assert_allclose(deviations, strengths / np.sqrt(len(w) - 1), rtol=1e-9)
        signs = np.sign((vectors.numpy() * rows).sum(1, keepdims=True))
        np.testing.assert_allclose(vectors, rows * signs, atol=1e-9)
        assert (vectors.gather(1, vectors.abs().argmax(1, keepdim=True)) > 0).all()

    def test_directions_are_those_of_w(self) -> None:
        generator = tiny_generator()
        directions = principal_directions(generator, "source", 2500)
        w = generator.mapping(torch.randn(2500, 16, generator=torch.Generator().manual_seed(0))).detach()
        along = (w - w.mean(0)) @ directions.vectors.T
        torch.testing.assert_close(along.std(0), directions.deviations, rtol=1e-4, atol=1e-6)
        assert (directions.deviations.diff() <= 0).all()

    def test_files_that_people_need(self, found: Path, model: Path) -> None:
        assert {p.name for p in found.iterdir()} == {
            "directions.safetensors", "directions.png", "directions-0-3.png", "names.txt"
        }  # fmt: skip
        drawn = cells(found / "directions.png", 3, 15, 2)
        pipe = HDAPipeline.from_pretrained(model)
        for seed in range(3):  # the middle one of five is not edited
            np.testing.assert_array_equal(drawn[1, 5 * seed + 2], pipe(seeds=seed, output_type="np").images[0])
        assert (drawn != cells(found / "directions-0-3.png", 3, 15, 2)).any()
        mark = read_header(found / "directions-0-3.png").mark
        assert mark is not None
        assert "seeds 0-2, truncation 0.7, directions " in mark.made_with
        assert "on layers 0-3" in mark.made_with

    def test_names_stay_and_other_directions_are_refused(self, found: Path, model: Path, tmp_path: Path) -> None:
        before = {p.name: p.read_bytes() for p in found.iterdir() if p.suffix != ".png"}
        command = ["directions", "--out", found, "--rows", 1]
        assert run(*command, "--model", model, "--samples", 1000).returncode == 0
        done = run(*command, "--model", model, "--samples", 1500)
        assert (done.returncode, "these directions are of 1000 samples, not 1500" in done.stderr) == (1, True)
        HDAPipeline(tiny_generator(seed=1)).save_pretrained(tmp_path / "other")
        done = run(*command, "--model", tmp_path / "other", "--samples", 1000)
        assert (done.returncode, "these directions belong to the generator" in done.stderr) == (1, True)
        assert {p.name: p.read_bytes() for p in found.iterdir() if p.suffix != ".png"} == before

    @pytest.mark.parametrize("name", ["directions.png", "directions.safetensors"])
    def test_a_file_of_somebody_else_stays(self, model: Path, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_bytes(b"mine")
        done = run("directions", "--model", model, "--out", tmp_path, "--samples", 1000)
        assert done.returncode == 1
        assert name in done.stderr
        assert "choose another --out" in done.stderr
        assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {name: b"mine"}

    @pytest.mark.parametrize(
        ("arguments", "reason"),
        [
            (["--samples", "5"], "samples must be from 1000"),
            (["--rows", "0"], "rows must be at least 1"),
            (["--layers", "0-8"], "layers 0-8: this generator has 8 layers, 0 to 7"),
            (["--layers", "a"], "expected FIRST-LAST"),
            (["--seeds", "0-20"], "at most 12 faces, not 21"),
            (["--model", "stylegan2-face"], "did you mean stylegan2-faces64"),
        ],
    )
    def test_mistakes_give_one_sentence(self, model: Path, tmp_path: Path, arguments: list[str], reason: str) -> None:
        done = run("directions", "--model", model, "--out", tmp_path / "out", *arguments)
        assert done.returncode == 1
        assert reason in done.stderr
        assert not (tmp_path / "out").exists()


class TestEdits:
    @pytest.mark.parametrize("generator", ["model", "stylegan2-faces64"])
    def test_no_edit_is_the_picture_bit_for_bit(self, generator: str, model: Path) -> None:
        pipe = HDAPipeline.from_pretrained(model if generator == "model" else generator)
        edits = Editor(pipe, principal_directions(pipe.generator, pipe.fingerprint, 1000), {})
        faces, plain = Faces(["a", "b"], [0, 1]), pipe(seeds=[0, 1], output_type="np").images
        for amounts in ({Target(3): 0.0}, {Target(3): 2.0, Target(3, (0, pipe.generator.layers - 1)): -2.0}):
            w = edits.latents(faces, Look(0.7, amounts))
            np.testing.assert_array_equal(pipe(latents=w, output_type="np").images, plain)
        w = edits.latents(faces, Look(0.7, {Target(3): 2.0}))
        assert (np.asarray(pipe(latents=w, output_type="np").images) != np.asarray(plain)).any()

    def test_an_edit_goes_so_many_deviations_on_its_layers(self, model: Path, found: Path) -> None:
        edits, faces = editor(model, found), Faces(["a"], [0])
        assert edits.directions is not None
        before = edits.latents(faces, Look(1.0, {}))
        after = edits.latents(faces, Look(1.0, {Target(2, (1, 3)): 1.5}))
        moved_by = (after - before[:, None])[0] @ edits.directions.vectors[2] / edits.directions.deviations[2]
        expected = torch.zeros(LAYERS)
        expected[1:4] = 1.5
        torch.testing.assert_close(moved_by, expected, atol=1e-5, rtol=1e-5)

    def test_an_edit_and_its_reverse_cancel(self, model: Path, found: Path) -> None:
        edits, faces = editor(model, found), Faces(["a"], [0])
        assert edits.directions is not None
        w = edits.latents(faces, Look(1.0, {}))
        there, back = (edits.directions.shift({Target(1): k}, LAYERS) for k in (3.0, -3.0))
        torch.testing.assert_close(edited(edited(w, there), back), w[:, None].expand(-1, LAYERS, -1))

    def test_edits_in_the_shell(self, model: Path, found: Path, tmp_path: Path) -> None:
        draw = ["generate", "--model", model, "--seeds", "0-1", "--directions", found]
        for name, edits in (
            ("plain", []),
            ("zero", ["smile=0"]),
            ("both", ["smile=2", "smile=-2"]),
            ("named", ["age=1.5"]),
            ("number", ["2:0-3=1.5"]),
        ):
            done = run(*draw, *(word for edit in edits for word in ("--edit", edit)), "--out", tmp_path / name)
            assert done.returncode == 0, done.stderr
        pictures = {path.name: pixels(path / "seed0001.png") for path in tmp_path.iterdir()}
        for name in ("zero", "both"):
            np.testing.assert_array_equal(pictures[name], pictures["plain"])
        np.testing.assert_array_equal(pictures["named"], pictures["number"])
        assert (pictures["named"] != pictures["plain"]).any()
        marks = [read_header(tmp_path / name / "seed0001.png").mark for name in ("named", "number", "plain")]
        assert marks[0] == marks[1] != marks[2]
        assert marks[0] is not None
        assert "truncation 0.7, edit 2:0-3=1.5, directions " in marks[0].made_with

    def test_photos_are_edited_too(self, model: Path, found: Path, tmp_path: Path) -> None:
        pipe = HDAPipeline.from_pretrained(model)
        save_file({"me": pipe.latents([5])[0]}, tmp_path / "l.safetensors", metadata={"source": pipe.fingerprint})
        edit = ["--directions", found, "--edit", "smile=1", "--mix", "3:6", "--rows", "age=0,2"]
        draw = ["generate", "--model", model, *edit]
        assert run(*draw, "--latents", tmp_path / "l.safetensors", "--out", tmp_path / "a").returncode == 0
        assert run(*draw, "--seeds", "5", "--out", tmp_path / "b").returncode == 0
        np.testing.assert_array_equal(pixels(tmp_path / "a" / "me.png"), pixels(tmp_path / "b" / "seed0005.png"))

    @pytest.mark.parametrize(
        ("arguments", "reason"),
        [
            (["--edit", "smlie=1"], "unknown direction 'smlie'; did you mean smile? Available: smile, age, or use its"),
            (["--edit", "16=1"], "direction 16: there are 16, 0 to 15"),
            (["--edit", "3:5-8=1"], "3:5-8: this generator has 8 layers, 0 to 7"),
            (["--edit", "smile"], "edit smile: expected DIRECTION=NUMBER"),
            (["--mix", "7:8"], "mix 7:8: this generator has 8 layers, 0 to 7"),
            (["--mix", "7"], "mix 7: expected SEED:LAYER"),
            (["--rows", "smlie=1"], "unknown direction 'smlie'"),
            (["--rows", "smile"], "rows smile: expected WHAT=VALUES"),
            (["--rows", "mix=7:3,7:9"], "mix 7:9: this generator has 8 layers"),
            (["--columns", "strength=0,1"], "columns strength=0,1: there is no adaptation"),
            (["--rows", "smile=0,1", "--columns", "0=0,1"], "both vary the same"),
            (["--edit", "smile=1", "--directions", "no-such-folder"], "no-such-folder has no directions.safetensors"),
        ],
    )
    def test_mistakes_give_one_sentence(
        self, model: Path, found: Path, tmp_path: Path, arguments: list[str], reason: str
    ) -> None:
        given = [] if "--directions" in arguments else ["--directions", found]
        done = run("generate", "--model", model, "--seeds", "0", "--out", tmp_path / "out", *given, *arguments)
        assert done.returncode == 1
        assert reason in done.stderr
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "out").exists()

    def test_other_files_are_refused(self, model: Path, found: Path, tmp_path: Path) -> None:
        def draw(text: str) -> str:
            done: Done = run("generate", "--model", model, "--seeds", "0", "--out", tmp_path / "out",
                             "--directions", tmp_path, "--edit", text)  # fmt: skip
            assert done.returncode == 1
            return done.stderr

        (tmp_path / "directions.safetensors").write_bytes(b"x")
        assert "directions.safetensors: this file is damaged" in draw("1=1")
        save_file({"directions": torch.eye(16)}, tmp_path / "directions.safetensors")
        assert "was not written by `gen directions`" in draw("1=1")
        (tmp_path / "directions.safetensors").write_bytes((found / "directions.safetensors").read_bytes())
        (tmp_path / "names.txt").write_bytes(b"smile 3")
        assert "names.txt, line 1: 'smile 3': expected NAME = NUMBER" in draw("smile=1")
        (tmp_path / "names.txt").write_bytes(b"\xff\xfe\x00")
        assert "names.txt: this is no text in UTF-8" in draw("smile=1")


class TestMixing:
    def test_coarse_from_one_and_fine_from_the_other(self) -> None:
        a, b = torch.zeros(2, 4), torch.ones(1, 4)
        assert mixed(a, b, 3, LAYERS)[..., 0].tolist() == [[0, 0, 0, 1, 1, 1, 1, 1]] * 2

    def test_a_seed_with_itself_changes_nothing(self, model: Path, tmp_path: Path) -> None:
        draw = ["generate", "--model", model, "--seeds", "7"]
        for name, mix in (("plain", []), ("itself", ["--mix", "7:3"]), ("other", ["--mix", "8:3"])):
            assert run(*draw, *mix, "--out", tmp_path / name).returncode == 0
        plain, itself, other = (pixels(tmp_path / n / "seed0007.png") for n in ("plain", "itself", "other"))
        np.testing.assert_array_equal(plain, itself)
        assert (plain != other).any()

    def test_from_layer_0_it_is_the_other_face(self, model: Path, tmp_path: Path) -> None:
        draw = ["generate", "--model", model, "--out", tmp_path]
        assert run(*draw, "--seeds", "8").returncode == 0
        assert run(*draw, "--seeds", "7", "--mix", "8:0").returncode == 0
        np.testing.assert_array_equal(pixels(tmp_path / "seed0007.png"), pixels(tmp_path / "seed0008.png"))


class TestGrid:
    def single(self, tmp_path: Path, *arguments: object) -> Any:
        """The picture of seed 3. In another batch it may be a grey level off."""
        out = tmp_path / "single"
        done = run("generate", "--out", out, *arguments)
        assert done.returncode == 0, done.stderr
        return pixels(out / "seed0003.png")

    def test_cells_equal_single_pictures(self, model: Path, found: Path, adaptation: Path, tmp_path: Path) -> None:
        given = ["--model", model, "--directions", found]
        values = {
            "truncation": (("0.5", "1"), lambda v: ["--truncation", v, "--adaptation", adaptation]),
            "strength": (("0", "0.5", "1"), lambda v: ["--adaptation", f"{adaptation}:{v}"]),
            "smile": (("-2", "0", "2"), lambda v: [f"--edit=smile={v}", "--adaptation", adaptation]),
            "mix": (("7:2", "8:4"), lambda v: ["--mix", v, "--adaptation", adaptation]),
        }
        for key, (choices, options) in values.items():
            for side in ("rows", "columns"):
                axis = [f"--{side}", f"{key}={','.join(choices)}"]
                done = run("generate", *given, "--adaptation", adaptation, "--seeds", "2-3", *axis, "--out", tmp_path)
                assert done.returncode == 0, done.stderr
                assert f"grid.png: the same images; {side} {key}=" in done.stdout
                shape = (len(choices), 2) if side == "rows" else (2, len(choices))
                drawn = cells(tmp_path / "grid.png", *shape, 1 if side == "rows" else 2)
                for index, choice in enumerate(choices):
                    cell = drawn[index, 1] if side == "rows" else drawn[1, index]
                    single = self.single(tmp_path, *given, "--seeds", "2-3", *options(choice))
                    np.testing.assert_array_equal(cell, single, err_msg=f"{side} {key}={choice}")

    def test_two_axes_show_the_first_face(self, model: Path, found: Path, adaptation: Path, tmp_path: Path) -> None:
        given = ["--model", model, "--directions", found, "--seeds", "3,0"]
        axes = ["--rows", "truncation=0.5,1", "--columns", "age=-1,0,1", "--edit", "smile=1", "--edit", "age=5"]
        done = run("generate", *given, *axes, "--out", tmp_path)
        assert done.returncode == 0, done.stderr
        assert "grid.png: seed0003; rows truncation=0.5,1, columns age=-1,0,1" in done.stdout
        drawn = cells(tmp_path / "grid.png", 2, 3, 2)
        edit = ["--edit", "smile=1", "--edit", "2:0-3=-1"]
        single = self.single(tmp_path, *given[:4], "--seeds", "3", "--truncation", "1", *edit)
        np.testing.assert_array_equal(drawn[1, 0], single)
        mark = read_header(tmp_path / "grid.png").mark
        assert mark is not None
        assert "the first 1 of seeds 3,0" in mark.made_with
        assert "rows truncation=0.5,1, columns 2:0-3=-1,0,1" in mark.made_with

    def test_latents_have_no_truncation(self, model: Path, tmp_path: Path) -> None:
        pipe = HDAPipeline.from_pretrained(model)
        save_file({"me": pipe.latents([5])[0]}, tmp_path / "l.safetensors", metadata={"source": pipe.fingerprint})
        done = run("generate", "--model", model, "--latents", tmp_path / "l.safetensors", "--rows", "truncation=0,1",
                   "--out", tmp_path / "out")  # fmt: skip
        assert (done.returncode, "--latents are drawn as they are" in done.stderr) == (1, True)

    def test_a_grid_of_somebody_else_stays(self, model: Path, tmp_path: Path) -> None:
        Image.new("RGB", (8, 8)).save(tmp_path / "grid.png")
        done = run("generate", "--model", model, "--seeds", "0", "--rows", "truncation=0,1", "--out", tmp_path)
        assert (done.returncode, "gen did not draw would be overwritten" in done.stderr) == (1, True)

    def test_labels_are_cut_to_their_room(self) -> None:
        picture = np.zeros((32, 32, 3), np.uint8)
        wide = sheet([[picture] * 2], ["x" * 500], ["a very long name", "b"], "title")
        assert wide.size[0] < 400 + 2 * 34
        assert wide.size[1] == 2 * LINE + 34
        labels = np.asarray(wide)[LINE : 2 * LINE, -34:]
        assert (labels[:, :12] == 255).all()  # the first label does not reach into the second column


def test_a_mix_needs_a_layer_that_is_there(model: Path, found: Path) -> None:
    with pytest.raises(BadSetting, match="8 layers"):
        editor(model, found).latents(Faces(["a"], [0]), Look(1.0, {}, Mix(3, 8)))


def test_labels_grow_with_large_pictures() -> None:
    """Beside faces of 1024 pixels, letters of 12 cannot be read."""
    for side, scale in ((64, 1), (256, 1), (1024, 4)):
        cell = np.zeros((side, side, 3), np.uint8)
        assert sheet([[cell, cell]], ["a"], ["b", "c"], "title").size[1] == 2 * LINE * scale + side + GAP
