"""The commands as a person runs them, on a tiny model: adapt, generate, invert, evaluate."""

import io
import json
import re
import shutil
import subprocess
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from gen.cli import main
from gen.errors import BadInput, BadSetting
from gen.formats.safetensors_files import read_safetensors
from gen.hda.adaptation import Adaptation
from gen.hda.drawing import draw_all
from gen.hda.evaluation import evaluate_table
from gen.hda.inversion import found_in
from gen.hda.latents import load_latents
from gen.hda.marks import save_marked
from gen.hda.moving import morph
from gen.hda.parsing import ADAPTATION_FILE
from gen.hda.pipeline import HDAPipeline
from gen.hda.settings import EvaluateSettings, GenerateSettings
from gen.hda.sheets import LINE
from gen.hda.training import HDATrainer
from gen.media.mark import Mark, read_header
from gen.provenance import fingerprint_file
from tests.stylegan2.conftest import write_pictures

FAST = ["--encoder", "efficientnet-lite0@64", "--set", "images=24", "--set", "batch=4", "--set", "device=cpu"]


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


def run(*arguments: object) -> Done:
    """Run the command in this process; starting Python and importing diffusers would take most of the time."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = main([str(a) for a in arguments])
    return Done(status, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def adaptation(model: Path, gen_command: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapt")
    red = write_pictures(folder / "red", 3, (220, 40, 40))
    arguments = ["adapt", "--source", str(model), "--domain", f"red={red}", "--out", str(folder / "run"), *FAST]
    done = subprocess.run([*gen_command, *arguments], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert "red: 3 images, rank 2, weight 1.00" in done.stdout
    assert "all samples drawn after 24 samples" in done.stdout
    return folder / "run" / "adaptation.safetensors"


class TestAdapt:
    def test_record_says_how_it_was_made(self, adaptation: Path) -> None:
        record = Adaptation.load(adaptation).record
        assert record["samples"] == 24
        assert record["settings"]["encoders"] == ["efficientnet-lite0@64"]
        assert [d.partition("=")[0] for d in record["settings"]["domains"]] == ["red"]
        assert "=/" not in record["settings"]["domains"][0]  # no path of the machine

    def test_a_full_model_is_renewed_with_the_adaptation(self, model: Path, adaptation: Path, tmp_path: Path) -> None:
        shutil.copytree(adaptation.parent, tmp_path / "run")
        arguments = ["--source", model, "--domain", f"red={adaptation.parent.parent / 'red'}"]
        command = ["adapt", *arguments, "--out", tmp_path / "run", *FAST]
        assert run(*command, "--full").returncode == 0
        assert run(*command, "--set", "images=32").returncode == 0
        now = Adaptation.load(tmp_path / "run" / "adaptation.safetensors")
        full = HDAPipeline.from_pretrained(tmp_path / "run" / "model").adaptations
        assert [part.record["samples"] for part in full.values()] == [now.record["samples"]] == [32]

    @pytest.mark.parametrize("full", [False, True])
    def test_a_generator_that_lies_in_the_output_folder_stays(
        self, model: Path, adaptation: Path, tmp_path: Path, full: bool
    ) -> None:
        shutil.copytree(model, tmp_path / "run" / "model")
        before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
        arguments = ["--source", tmp_path / "run" / "model", "--domain", f"red={adaptation.parent.parent / 'red'}"]
        done = run("adapt", *arguments, "--out", tmp_path / "run", *FAST, *(["--full"] if full else []))
        assert {path: path.read_bytes() for path in before} == before
        if full:
            assert done.returncode == 1
            assert "is the source generator, and would be replaced; move it away or choose another --out" in done.stderr
        else:
            assert done.returncode == 0, done.stderr
            assert not (tmp_path / "run" / "model.pt").exists()

    def test_an_adapted_model_is_refused_as_source(
        self, model: Path, adaptation: Path, tmp_path: Path, red: Path
    ) -> None:
        pipe = HDAPipeline.from_pretrained(model)
        pipe.load_adaptation(adaptation)
        pipe.save_pretrained(tmp_path / "model")
        done = run("adapt", "--source", tmp_path / "model", "--domain", f"red={red}", "--out", tmp_path / "run", *FAST)
        assert done.returncode == 1
        assert "this model is adapted already (red)" in done.stderr
        arguments = ["--model", tmp_path / "model", "--hybrid", f"red={red}", "--methods", "mean point"]
        done = run("evaluate-hda", *arguments, "--out", tmp_path / "out")
        assert "this model is adapted already (red)" in done.stderr
        assert not (tmp_path / "out" / "red").exists()  # before the training, which could not be scored

    def test_check_trains_nothing(self, model: Path, tmp_path: Path, red: Path) -> None:
        arguments = ["adapt", "--source", model, "--domain", f"red={red}", "--out", tmp_path / "run", "--check", *FAST]
        done = run(*arguments)
        assert done.returncode == 0, done.stderr
        assert "distance from the source" in done.stdout
        assert not (tmp_path / "run" / "checkpoints").exists()

    def test_the_full_model_draws_what_source_and_adaptation_draw(
        self, model: Path, adaptation: Path, tmp_path: Path
    ) -> None:
        shutil.copytree(adaptation.parent, tmp_path / "run")
        arguments = ["--source", model, "--domain", f"red={adaptation.parent.parent / 'red'}"]
        done = run("adapt", *arguments, "--out", tmp_path / "run", *FAST, "--full")
        assert done.returncode == 0, done.stderr
        alone = HDAPipeline.from_pretrained(tmp_path / "run" / "model")
        pipe = HDAPipeline.from_pretrained(model)
        pipe.load_adaptation(tmp_path / "run" / "adaptation.safetensors")
        other = HDAPipeline.from_pretrained(tmp_path / "run" / "model.pt")
        expected = pipe(seeds=[0, 1], output_type="np").images
        np.testing.assert_array_equal(alone(seeds=[0, 1], output_type="np").images, expected)
        np.testing.assert_array_equal(other(seeds=[0, 1], output_type="np").images, expected)
        pipe.set_strengths(0.0)
        assert (np.asarray(expected) != np.asarray(pipe([0, 1], output_type="np").images)).any()

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            (["--domain", "red=/no/such/folder"], "/no/such/folder: no such folder of reference images"),
            (["--domain", "red"], "domain red: expected name=DIR"),
            (["--set", "layers=most"], "layers: Input should be"),
            (["--source", "no-such-model"], "unknown model 'no-such-model'"),
            (["--encoder", "vgg"], "unknown encoder 'vgg'"),
            (["--set", "encoders=[]"], "encoders: "),
            (["--domain", "a/b=x"], "letters, digits"),
            (["--domain", "a=text:"], "words must follow text:"),
            (["--domain", "a=text:an angry face"], "words needs the encoder clip"),
        ],
    )
    def test_mistakes_give_one_sentence(
        self, changes: list[str], reason: str, model: Path, tmp_path: Path, red: Path
    ) -> None:
        given = ["--source", str(model), "--domain", f"red={red}", "--out", str(tmp_path / "run"), *FAST, "--check"]
        if changes[0] in ("--domain", "--source"):
            index = given.index(changes[0])
            del given[index : index + 2]
        done = run("adapt", *given, *changes)
        assert done.returncode == 1
        assert reason in done.stderr
        assert "Traceback" not in done.stderr

    def test_a_run_that_was_stopped_can_be_drawn_with(
        self,
        model: Path,
        tmp_path: Path,
        red: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        fit = HDATrainer.fit

        def fit_a_little(trainer: HDATrainer) -> None:
            trainer.watch = trainer.stop
            fit(trainer)

        monkeypatch.setattr(HDATrainer, "fit", fit_a_little)
        command = ["adapt", "--model", str(model), "--domain", f"red={red}", "--out", str(tmp_path / "run"), *FAST]
        assert main(command) == 130
        said = capsys.readouterr().out
        assert f"stopped at {Adaptation.load(tmp_path / 'run' / ADAPTATION_FILE).record['samples']} of" in said
        drawn = ["generate", "--model", str(model), "--seeds", "0", "--out", str(tmp_path / "out")]
        assert main([*drawn, "--adaptation", str(tmp_path / "run")]) == 0  # the folder is enough
        assert (tmp_path / "out" / "seed0000.png").is_file()
        assert main([*drawn, "--adaptation", "sketch-sunglasses"]) == 1
        assert "did you mean faces64-sketch-sunglasses" in capsys.readouterr().err


class TestGenerate:
    def test_pictures_grid_and_clips(self, model: Path, adaptation: Path, tmp_path: Path) -> None:
        done = run(
            "generate", "--model", model, "--adaptation", f"{adaptation}:0.8", "--seeds", "0-2,7",
            "--out", tmp_path, "--strengths", "0,1", "--walk", "--morph", "--seconds", "0.5", "--rate", "12",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert {p.name for p in tmp_path.iterdir()} == {
            "seed0000.png", "seed0001.png", "seed0002.png", "seed0007.png", "grid.png", "walk.mp4", "morph.mp4"
        }  # fmt: skip
        grid = np.asarray(Image.open(tmp_path / "grid.png"))
        assert grid.shape[0] == LINE + 2 * 34
        left = grid.shape[1] - 4 * 34  # the labels
        adapted_row = grid[LINE + 34 : LINE + 66, left : left + 32]
        np.testing.assert_array_equal(adapted_row, np.asarray(Image.open(tmp_path / "seed0000.png")))
        for name in ("walk.mp4", "morph.mp4"):
            with av.open(str(tmp_path / name)) as clip:
                frames = [f.to_ndarray(format="rgb24") for f in clip.decode(video=0)]
            assert len(frames) == 6
            assert min(frames[0].shape[:2]) >= 256

    def test_pictures_and_clips_say_what_drew_them(self, model: Path, adaptation: Path, tmp_path: Path) -> None:
        second = tmp_path / "adaptation (1).safetensors"  # as browsers call a second download
        shutil.copy(adaptation, second)
        out, fast = tmp_path / "out", ["--walk", "--seconds", "0.5", "--rate", "4"]
        done = run("generate", "--model", model, "--adaptation", f"{second}:0.8", "--seeds", 3, "--out", out, *fast)
        assert done.returncode == 0, done.stderr
        marks = {name: read_header(out / name).mark for name in ("seed0003.png", "grid.png", "walk.mp4")}
        weights = Adaptation.load(adaptation)
        for name, what in (("seed0003.png", "seed0003"), ("grid.png", "seeds 3"), ("walk.mp4", "seeds 3")):
            mark = marks[name]
            assert mark is not None
            assert mark.made_with.startswith(f"tiny, {what}, truncation 0.7, ")
            assert "red " in mark.made_with
            assert mark.made_with.endswith(f" at 0.8, weights {weights.source}")
            assert mark.text().startswith("Drawn by gen (")

    def test_a_grid_or_clip_of_other_pictures_goes(self, model: Path, adaptation: Path, tmp_path: Path) -> None:
        command = ["generate", "--model", model, "--out", tmp_path, "--seconds", "0.5", "--rate", "4"]
        run(*command, "--seeds", "0-1", "--adaptation", adaptation, "--walk")
        run(*command, "--seeds", "0-1", "--adaptation", adaptation, "--morph")
        assert {"grid.png", "walk.mp4", "morph.mp4"} < {p.name for p in tmp_path.iterdir()}
        done = run(*command, "--seeds", "0-1")
        assert [line.split(",")[0] for line in done.stdout.splitlines() if "removed" in line] == [
            "removed walk.mp4", "removed morph.mp4", "removed grid.png"
        ]  # fmt: skip
        assert {p.name for p in tmp_path.iterdir()} == {"seed0000.png", "seed0001.png"}
        Image.new("RGB", (8, 8)).save(tmp_path / "grid.png")  # of somebody else
        run(*command, "--seeds", "0-1")
        assert (tmp_path / "grid.png").exists()

    def test_pictures_of_earlier_runs_with_something_else_are_named(
        self, model: Path, adaptation: Path, tmp_path: Path
    ) -> None:
        command = ["generate", "--model", model, "--out", tmp_path]
        run(*command, "--seeds", "0-2")
        assert "earlier runs" not in run(*command, "--seeds", "3").stdout
        said = run(*command, "--seeds", "0-1", "--adaptation", adaptation).stdout
        assert f"2 more in {tmp_path} are of earlier runs with something else, for example seed0002.png" in said

    def test_pictures_of_an_earlier_draw_are_replaced_and_it_is_said(
        self, model: Path, adaptation: Path, tmp_path: Path
    ) -> None:
        command = ["generate", "--model", model, "--out", tmp_path, "--seeds", "0-1"]
        for more, told in (
            ((), ""),
            ((), ""),
            (("--truncation", "0.5"), "replaced 2 pictures of an earlier draw with other settings"),
            (("--truncation", "0.5", "--adaptation", adaptation), "replaced 2 pictures"),
            (("--truncation", "0.5", "--adaptation", f"{adaptation}:0.5"), "replaced grid.png, which an earlier run"),
            (("--truncation", "0.5", "--adaptation", f"{adaptation}:0.5"), ""),
        ):
            said = run(*command, *more).stdout
            assert told in said
            assert ("replaced" in said) == bool(told)

    @pytest.mark.parametrize("name", ["seed0001.png", "grid.png", "walk.mp4", "morph.mp4"])
    @pytest.mark.parametrize("content", ["picture", "words", "translation"])
    def test_what_gen_did_not_draw_is_not_replaced(
        self, model: Path, adaptation: Path, tmp_path: Path, name: str, content: str
    ) -> None:
        foreign = tmp_path / name
        if content == "words":
            foreign.write_text("no picture")
        elif content == "picture":
            Image.new("RGB", (8, 8)).save(foreign, format="png")
        else:
            save_marked(foreign.with_suffix(".png"), Image.new("RGB", (8, 8)), Mark("augan", None).text())
            foreign.with_suffix(".png").replace(foreign)
        before = foreign.read_bytes()
        done = run("generate", "--model", model, "--adaptation", adaptation, "--seeds", "0-1", "--out", tmp_path,
                   "--walk", "--morph", "--seconds", "0.1")  # fmt: skip
        assert done.returncode == 1
        assert f"{foreign}: a file that gen did not draw would be overwritten" in done.stderr
        assert {path.name for path in tmp_path.iterdir()} == {name}  # said before anything was drawn
        assert foreign.read_bytes() == before

    def test_many_pictures_are_written_as_they_are_drawn(
        self, model: Path, adaptation: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        written: list[int] = []
        draw = HDAPipeline.__call__

        def count(pipe: HDAPipeline, *args: Any, **kwargs: Any) -> Any:
            written.append(len(list(tmp_path.glob("seed*.png"))))
            return draw(pipe, *args, **kwargs)

        monkeypatch.setattr(HDAPipeline, "__call__", count)
        settings = GenerateSettings(
            model=str(model), adaptation=(str(adaptation),), seeds="0-69", out=tmp_path, morph=True, seconds=0.1
        )
        assert draw_all(settings) == 0
        assert written[:5] == [0, 16, 32, 48, 64]
        width, height = Image.open(tmp_path / "grid.png").size
        assert (width // 34, height) == (64 + 2, LINE + 3 * 34)  # and the labels
        assert "first 64 of seeds 0-69" in str(read_header(tmp_path / "grid.png").mark)
        assert "first 16 of seeds 0-69" in str(read_header(tmp_path / "morph.mp4").mark)

    def test_a_photo_called_grid_is_drawn_too(self, model: Path, adaptation: Path, tmp_path: Path) -> None:
        pipe = HDAPipeline.from_pretrained(model)
        save_file({"grid": pipe.latents([0])[0]}, tmp_path / "l.safetensors", metadata={"source": pipe.fingerprint})
        done = run("generate", "--model", model, "--adaptation", adaptation, "--latents", tmp_path / "l.safetensors",
                   "--out", tmp_path / "out")  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert Image.open(tmp_path / "out" / "grid-photo.png").size == (32, 32)
        assert Image.open(tmp_path / "out" / "grid.png").size != (32, 32)

    def test_morph_needs_an_adaptation(self, model: Path, tmp_path: Path) -> None:
        done = run("generate", "--model", model, "--seeds", "0", "--out", tmp_path, "--morph")
        assert done.returncode == 1
        assert "--morph needs --adaptation" in done.stderr
        assert not list(tmp_path.iterdir())  # said before anything was drawn

    def test_a_clip_needs_a_length_and_a_rate(self, model: Path, tmp_path: Path) -> None:
        for wrong in (["--rate", "0"], ["--rate", "-3"], ["--seconds", "nan"], ["--seconds", "0"]):
            done = run("generate", "--model", model, "--seeds", "0", "--out", tmp_path, "--walk", *wrong)
            assert done.returncode == 1
            assert "--rate from 1" in done.stderr
        assert not list(tmp_path.iterdir())

    def test_a_seed_that_is_given_twice_is_one_picture(self, model: Path, tmp_path: Path) -> None:
        assert "wrote 2 images" in run("generate", "--model", model, "--seeds", "0,1,0", "--out", tmp_path).stdout

    def test_the_folder_must_not_be_a_file(self, model: Path, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"x")
        for command in (["generate"], ["invert", tmp_path / "a.jpg"]):
            done = run(*command, "--model", model, "--out", tmp_path / "file")
            assert done.returncode == 1
            assert "file is a file; give a folder" in done.stderr

    def test_a_morph_of_two_goes_from_one_to_the_other(self, model: Path, tmp_path: Path) -> None:
        pipe = HDAPipeline.from_pretrained(model)
        latents = pipe.latents([0])
        for seed, name in enumerate(("a", "b")):
            change = {"to_rgbs.0.bias": torch.full((3,), 0.2 * (seed + 1))}
            Adaptation(name, pipe.fingerprint, change, {}).save(tmp_path / f"{name}.safetensors")
            pipe.load_adaptation(tmp_path / f"{name}.safetensors", 0.5)
        frames = list(morph(pipe, latents, 4))
        for frame, strengths in ((0, {"a": 0.5}), (2, {"b": 0.5}), (1, {"a": 0.25, "b": 0.25})):
            pipe.set_strengths(strengths)
            np.testing.assert_array_equal(frames[frame], pipe(latents=latents, output_type="np").images[0])


class TestInvert:
    def test_photos_become_latents_that_can_be_drawn(
        self, model: Path, adaptation: Path, tmp_path: Path, blue: Path, red: Path
    ) -> None:
        broken = tmp_path / "broken.jpg"
        broken.write_bytes(b"x")
        out = tmp_path / "out"
        done = run(
            "invert", blue / "0.png", broken, blue / "1.png", red / "0.png", red / ".." / "red" / "0.png",
            "--model", model, "--adaptation", adaptation, "--out", out, "--steps", "3",
        )  # fmt: skip
        assert done.returncode == 1  # one photo could not be read, and the others were done
        assert "skipped: " in done.stdout
        assert "broken.jpg" in done.stdout
        assert Image.open(out / "0.png").size == (3 * 34 + 2, 36)
        assert {p.name for p in out.glob("*.png")} == {"0.png", "1.png", "0-2.png", "0-3.png"}  # none overwritten
        again = run("generate", "--model", model, "--latents", out / "latents.safetensors", "--out", tmp_path / "b")
        assert again.returncode == 0, again.stderr
        drawn = np.asarray(Image.open(tmp_path / "b" / "1.png"))
        np.testing.assert_array_equal(drawn, np.asarray(Image.open(out / "1.png"))[2:34, 36:68])

    def test_photos_are_not_overwritten(self, model: Path, tmp_path: Path, blue: Path) -> None:
        photo = tmp_path / "me.png"
        shutil.copy(blue / "0.png", photo)
        before = photo.read_bytes()
        done = run("invert", photo, "--model", model, "--out", tmp_path, "--steps", "3")
        assert done.returncode == 1
        assert "would overwrite an input" in done.stderr
        assert photo.read_bytes() == before

    def test_other_pictures_of_a_photos_name_are_not_overwritten(
        self, model: Path, tmp_path: Path, blue: Path, red: Path
    ) -> None:
        photo, other, out = tmp_path / "me.jpg", tmp_path / "me.png", tmp_path / "out"
        Image.open(blue / "0.png").save(photo)
        shutil.copy(red / "0.png", other)
        before = other.read_bytes()
        done = run("invert", photo, "--model", model, "--out", tmp_path, "--steps", "3")
        assert (done.returncode, "would be overwritten" in done.stderr) == (1, True)
        assert run("invert", other, "--model", model, "--out", out, "--steps", "3").returncode == 0
        drawn = ["generate", "--model", model, "--latents", out / "latents.safetensors"]
        done = run(*drawn, "--out", tmp_path)  # beside the photos
        assert (done.returncode, "would be overwritten" in done.stderr) == (1, True)
        assert other.read_bytes() == before
        assert run(*drawn, "--out", out).returncode == 0  # over its own

    def test_latents_of_an_earlier_run_stay(self, model: Path, tmp_path: Path, blue: Path) -> None:
        out = tmp_path / "out"
        for name in ("0", "1"):
            done = run("invert", blue / f"{name}.png", "--model", model, "--out", out, "--steps", "3")
            assert "inverted 1 of 1 photos" in done.stdout
            assert "earlier runs" not in done.stdout
        done = run("invert", blue / "1.png", "--model", model, "--out", out, "--steps", "2")
        assert f"1 more in {out} are of earlier runs with something else, for example 0.png" in done.stdout
        latents, header = read_safetensors(out / "latents.safetensors")
        assert set(latents) == {"0", "1"}
        # Those of another generator are not replaced: its photos are inverted somewhere else.
        save_file(latents, out / "latents.safetensors", metadata=header | {"source": "other"})
        done = run("invert", blue / "0.png", "--model", model, "--out", out, "--steps", "3")
        assert done.returncode == 1
        assert "belong to the generator other" in done.stderr
        assert set(read_safetensors(out / "latents.safetensors")[0]) == {"0", "1"}
        (out / "latents.safetensors").write_bytes(b"mine")
        done = run("invert", blue / "0.png", "--model", model, "--out", out, "--steps", "3")
        assert done.returncode == 1
        assert "latents.safetensors: this file is damaged or not one of gen's, and would be replaced" in done.stderr
        assert (out / "latents.safetensors").read_bytes() == b"mine"

    def test_photos_of_one_name_in_two_runs_are_both_kept(
        self, model: Path, tmp_path: Path, red: Path, blue: Path
    ) -> None:
        out = tmp_path / "out"
        for photo in (red, blue, red, blue):
            done = run("invert", photo / "0.png", "--model", model, "--out", out, "--steps", "3")
            assert done.returncode == 0, done.stderr
        assert {p.name for p in out.iterdir()} == {"0.png", "0-2.png", "latents.safetensors"}
        assert set(read_safetensors(out / "latents.safetensors")[0]) == {"0", "0-2"}
        mark = read_header(out / "0-2.png").mark
        assert mark is not None
        assert f"photo {fingerprint_file(blue / '0.png')} inverted into W+ in 3 steps, seed 0" in mark.made_with
        assert found_in("x", 3, extended=False) == "photo x inverted into W in 3 steps, seed 0"

    def test_several_photos_of_one_person(self, model: Path, adaptation: Path, tmp_path: Path, red: Path) -> None:
        out, command = tmp_path / "out", ["invert", red / "0.png", red / "1.png", "--model", model, "--steps", "3"]
        command += ["--out", out, "--person", "anna"]
        done = run(*command, "--adaptation", adaptation)
        assert done.returncode == 0, done.stderr
        latents = read_safetensors(out / "latents.safetensors")[0]
        assert set(latents) == {"0", "1", "anna"}
        torch.testing.assert_close(latents["anna"], (latents["0"] + latents["1"]) / 2)
        assert Image.open(out / "anna.png").size == (2 * 34 + 2, 36)  # the mean, and adapted
        mark = read_header(out / "anna.png").mark
        assert mark is not None
        assert re.search(r"tiny, mean of 2 photos [0-9a-f]{16} inverted into W\+ in 3 steps", mark.made_with)
        again = run(*command, "--adaptation", adaptation)
        assert (again.returncode, "earlier" in again.stdout) == (0, False), again.stderr
        drawn = run("generate", "--model", model, "--latents", out / "latents.safetensors", "--out", tmp_path / "drawn")
        assert drawn.returncode == 0, drawn.stderr
        single = np.asarray(Image.open(tmp_path / "drawn" / "anna.png"))
        np.testing.assert_array_equal(single, np.asarray(Image.open(out / "anna.png"))[2:34, 2:34])

    def test_a_person_takes_the_place_of_no_photo(self, model: Path, tmp_path: Path, red: Path) -> None:
        photo = tmp_path / "anna.jpg"
        Image.open(red / "0.png").save(photo)
        command = ["invert", photo, "--model", model, "--steps", "2"]
        done = run(*command, "--out", tmp_path / "one", "--person", "anna")
        assert done.returncode == 0, done.stderr
        assert set(read_safetensors(tmp_path / "one" / "latents.safetensors")[0]) == {"anna", "anna-2"}
        run(*command, "--out", tmp_path / "two")
        before = (tmp_path / "two" / "latents.safetensors").read_bytes()
        done = run(*command, "--out", tmp_path / "two", "--person", "anna")
        assert (done.returncode, "a photo of this name" in done.stderr) == (1, True)
        assert (tmp_path / "two" / "latents.safetensors").read_bytes() == before
        done = run(*command, "--out", tmp_path / "three", "--person", "../anna")
        assert (done.returncode, "cannot be the name of a picture" in done.stderr) == (1, True)
        shutil.copy(red / "0.png", tmp_path / "bob.png")
        done = run(*command, "--out", tmp_path, "--person", "bob")
        assert (done.returncode, "would be overwritten" in done.stderr) == (1, True)


class TestLatents:
    @pytest.mark.parametrize("name", ["../x", "/tmp/x", "a/b", "", "x\0y", "x" * 201])
    def test_a_name_that_leads_elsewhere(self, tmp_path: Path, name: str) -> None:
        save_file({name: torch.zeros(16)}, tmp_path / "latents.safetensors")
        with pytest.raises(BadInput, match="cannot be the name of a picture"):
            load_latents(tmp_path / "latents.safetensors", "source")

    def test_a_file_of_nothing(self, tmp_path: Path) -> None:
        save_file({}, tmp_path / "latents.safetensors")
        with pytest.raises(BadInput, match="there are no latents"):
            load_latents(tmp_path / "latents.safetensors", "source")

    def test_latents_of_another_generator(self, tmp_path: Path) -> None:
        save_file({"me": torch.zeros(16)}, tmp_path / "latents.safetensors", metadata={"source": "other"})
        with pytest.raises(BadInput, match="belong to the generator other, but this one is source"):
            load_latents(tmp_path / "latents.safetensors", "source")


class TestEvaluate:
    def test_a_run_that_was_stopped_is_not_done(
        self, model: Path, tmp_path: Path, red: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """`fit` returns early after Ctrl-C."""
        monkeypatch.setattr("gen.hda.evaluation.HDATrainer.fit", lambda trainer: None)
        arguments = ["--hybrid", f"red={red}", "--source", model, "--methods", "mean point", "--seeds", 1]
        done = run("evaluate-hda", *arguments, "--encoder", "efficientnet-lite0@64", "--out", tmp_path / "out")
        assert done.returncode == 130
        assert not list(tmp_path.rglob("adaptation.safetensors"))
        assert not (tmp_path / "out" / "results.json").exists()

    def test_attributes_of_an_adaptation(self, adaptation: Path, red: Path, tmp_path: Path) -> None:
        given = ["--hybrid", f"sunglasses={red}", "--adaptation", adaptation, "--samples", "4"]
        assert run("evaluate-hda", *given, "--out", tmp_path / "out").returncode == 0
        text = (tmp_path / "out" / "attributes.md").read_text()
        assert "| sunglasses |" in text
        assert re.search(
            r"SqueezeNet, which no loss used, .* in \d+ % of the source, \d+ % of the adapted generator", text
        )

    def test_table_of_a_hybrid(
        self, model: Path, tmp_path: Path, red: Path, blue: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        (red / "broken.png").write_bytes(b"x")
        settings = EvaluateSettings(
            hybrid=(f"red={red},blue={blue}",), out=tmp_path, source=str(model), methods="mean point,HDA λ=0.5",
            seeds=2, target_progress=(0.001, 0.9), images=16, encoder=("efficientnet-lite0@64",), samples=3,
        )  # fmt: skip
        results = evaluate_table(settings)
        assert "broken.png" in caplog.text
        rows = results["hybrids"]["red + blue"]["0.9"]
        assert {k: len(v) for k, v in rows.items()} == {"source": 1, "mean point": 2, "HDA λ=0.5": 2}
        assert rows["source"][0]["structure"] == pytest.approx(1)
        assert rows["source"][0]["progress red"] == pytest.approx(0, abs=1e-6)
        one = rows["HDA λ=0.5"][0]
        assert one["similarity, minimum"] == min(one["similarity red"], one["similarity blue"])
        text = (tmp_path / "table.md").read_text()
        assert "| HDA λ=0.5 * |" in text  # nine tenths of the way were not gone in so few steps
        assert "±" in text
        assert json.loads((tmp_path / "results.json").read_text())["hybrids"].keys() == results["hybrids"].keys()
        assert one["hardware"]["cpu"]  # of the run, which may have been on another machine than the scores
        assert Image.open(tmp_path / "red+blue-0.9.png").height == 5 * 34  # red, blue, source, both methods
        again = evaluate_table(settings)  # nothing is trained, and nothing is refused
        assert again["hybrids"] == results["hybrids"]
        with pytest.raises(BadSetting, match="lr was "):
            evaluate_table(replace(settings, lr=0.5))
        record = tmp_path / "red+blue" / "at-0.9" / "mean-point-1" / "settings.json"
        text = record.read_text()
        record.write_text(text.replace(json.loads(text)["data"]["source"], "of weights before"))
        with pytest.raises(BadSetting, match="adapted from the generator of weights before"):
            evaluate_table(settings)  # before the runs that are missing are trained
        record.write_text(text)
        Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(red / "more.png")
        with pytest.raises(BadSetting, match="red: these are not the images that"):
            evaluate_table(settings)

    def test_a_single_reference(self, model: Path, tmp_path: Path, red: Path) -> None:
        """Its spread is not defined, which left runs without a table."""
        for picture in sorted(red.iterdir())[1:]:
            picture.unlink()
        settings = EvaluateSettings(
            hybrid=(f"red={red}",), out=tmp_path / "out", source=str(model), methods="HDA λ=0.5", seeds=1,
            images=8, encoder=("efficientnet-lite0@64",), samples=3,
        )  # fmt: skip
        rows = evaluate_table(settings)["hybrids"]["red"]["0.1"]
        assert "similarity red" in rows["HDA λ=0.5"][0]
        run_directory = tmp_path / "out" / "red" / "at-0.1" / "HDA-lambda-0.5-0"
        measured = evaluate_table(replace(settings, adaptation=run_directory))  # the folder is enough
        assert measured.keys() == {"red"}

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"judge": "efficientnet-lite0-grid"}, "would be too good"),
            ({"hybrid": ("red=text:a red face",)}, "they have no references"),
            ({"hybrid": ("red=a", "red=b")}, "must be different, not red, red"),
            ({"methods": "magic"}, "unknown method 'magic'; available: sequential"),
            ({"seeds": 0}, "runs must be at least 1, not 0"),
            ({"samples": 1}, "samples must be at least 2, not 1"),
            ({"jobs": 0}, "jobs must be at least 1, not 0"),
            ({"hybrid": ("red=text:a red face",), "adaptation": Path("x")}, "words cannot be measured"),
        ],
    )
    def test_what_cannot_be_compared(self, tmp_path: Path, red: Path, changes: dict[str, object], reason: str) -> None:
        settings = EvaluateSettings(hybrid=(f"red={red}",), out=tmp_path)
        with pytest.raises(BadSetting, match=reason):
            evaluate_table(replace(settings, **changes))
