from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from gen.cli import main
from gen.errors import BadInput, BadSetting
from gen.hda.adaptation import Adaptation
from gen.hda.pipeline import HDAPipeline
from gen.mobilestylegan.networks import MobileStyleGANGenerator
from gen.mobilestylegan.settings import MobileStyleGANSettings
from gen.mobilestylegan.teacher import TeacherImages, load_teacher
from gen.mobilestylegan.training import HELD_OUT, MobileStyleGANTrainer, student_of
from gen.stylegan2.networks import StyleGAN2Generator
from tests.mobilestylegan.conftest import tiny_mobile
from tests.stylegan2.conftest import tiny_generator


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A MobileStyleGAN of 64 pixels, as a model folder."""
    folder = tmp_path_factory.mktemp("teacher")
    HDAPipeline(tiny_mobile()).save_pretrained(folder)
    return folder


def settings(teacher: Path, out: Path, **changes: Any) -> MobileStyleGANSettings:
    small = {"size": 32, "channel_multiplier": 1 / 128, "channel_max": 16, "teacher_images": 12, "batch": 4}
    usual = {"images": 32, "log_every": 8, "measure_every": 16, "sample_every": 1000, "checkpoint_every": 1000}
    return MobileStyleGANSettings(teacher=teacher, out=out, device="cpu", **small | usual | changes)


class TestStudent:
    def test_it_has_the_levels_that_are_the_same(self, teacher: Path, tmp_path: Path) -> None:
        large = load_teacher(teacher)
        assert isinstance(large, MobileStyleGANGenerator)
        student = student_of(large, settings(teacher, tmp_path))
        assert list(student.config["channels"]) == [16, 16, 16]  # the teacher's third level has 8
        w = torch.randn(2, 16)
        seen: dict[str, list[torch.Tensor]] = {"own": [], "theirs": []}
        for name, network in (("own", student), ("theirs", large)):
            network.convs[2].register_forward_hook(lambda *given, name=name: seen[name].append(given[2]))
            network.synthesis(w)
        torch.testing.assert_close(seen["own"][0], seen["theirs"][0])
        z = torch.randn(3, 12)
        torch.testing.assert_close(student.mapping(z), large.mapping(z))
        assert not student.synthesis(w).any()  # what makes the image is new
        whole = student_of(large, settings(teacher, tmp_path, size=64, channel_multiplier=1 / 128))
        assert whole.size == 64

    def test_one_of_the_teachers_shape_is_the_teacher(self, teacher: Path, tmp_path: Path) -> None:
        large = tiny_mobile((16, 16, 16, 8))
        student = student_of(large, settings(teacher, tmp_path, size=64, channel_multiplier=1 / 128))
        z = torch.randn(2, 12)
        torch.testing.assert_close(student(z), large(z))

    def test_a_stylegan2_gives_its_mapping(self, teacher: Path, tmp_path: Path) -> None:
        large = tiny_generator()
        student = student_of(large, settings(teacher, tmp_path))
        z = torch.randn(2, 16)
        torch.testing.assert_close(student.mapping(z), large.mapping(z))
        assert not any(p.requires_grad for p in student.mapping.parameters())


class TestTraining:
    def test_it_learns_what_the_teacher_draws(self, teacher: Path, tmp_path: Path) -> None:
        trainer = MobileStyleGANTrainer(settings(teacher, tmp_path, images=400, batch=8, lr=0.01))
        before = trainer.measure()
        trainer.fit()
        with trainer.averaged_weights():
            after = trainer.measure()
        assert after["psnr"] > before["psnr"]
        assert after["perceptual"] < 0.5 * before["perceptual"]
        torch.testing.assert_close(trainer.generator.mapping.state_dict(), load_teacher(teacher).mapping.state_dict())

    def test_resume_is_exact(self, teacher: Path, tmp_path: Path) -> None:
        whole = MobileStyleGANTrainer(settings(teacher, tmp_path / "a"))
        whole.fit()
        half = MobileStyleGANTrainer(settings(teacher, tmp_path / "b"))
        while half.images_shown < 20:
            half.train_one_step()
        half.save()
        rest = MobileStyleGANTrainer(settings(teacher, tmp_path / "b"))
        rest.fit()
        torch.testing.assert_close(rest.generator.state_dict(), whole.generator.state_dict(), atol=0, rtol=0)
        assert rest.compared == whole.compared
        assert rest.compared["images"] == 32

    def test_every_epoch_has_each_image_once_and_none_that_is_held_out(self, teacher: Path, tmp_path: Path) -> None:
        trainer = MobileStyleGANTrainer(settings(teacher, tmp_path))
        for epoch in range(3):
            seeds = [trainer.seed_of(12 * epoch + k) for k in range(12)]
            assert sorted(seeds) == list(range(HELD_OUT, HELD_OUT + 12))

    def test_a_size_above_the_teachers_is_refused(self, teacher: Path, tmp_path: Path) -> None:
        with pytest.raises(BadSetting, match="draws 64 pixels; size may not be 128"):
            MobileStyleGANTrainer(settings(teacher, tmp_path, size=128))
        with pytest.raises(BadSetting, match="power of two"):
            MobileStyleGANTrainer(settings(teacher, tmp_path, size=48))

    def test_the_last_weights_are_compared(self, teacher: Path, tmp_path: Path) -> None:
        trainer = MobileStyleGANTrainer(settings(teacher, tmp_path, images=20))
        trainer.fit()
        assert trainer.compared["images"] == 20

    def test_an_adapted_model_is_no_teacher(self, teacher: Path, tmp_path: Path) -> None:
        pipe = HDAPipeline.from_pretrained(teacher)
        change = {name: torch.ones_like(value) for name, value in pipe.generator.state_dict().items() if "bias" in name}
        Adaptation("x", pipe.fingerprint, change, {}).save(tmp_path / "x.safetensors")
        pipe.load_adaptation(tmp_path / "x.safetensors")
        pipe.save_pretrained(tmp_path / "model")
        with pytest.raises(BadSetting, match=r"teacher: .*this model is adapted"):
            load_teacher(tmp_path / "model")

    def test_another_model_is_no_teacher(self, tmp_path: Path) -> None:
        with pytest.raises(BadSetting, match=r"teacher: .*augan-night2day-fast.*no generator"):
            load_teacher(Path("augan-night2day-fast"))
        with pytest.raises(BadSetting, match=r"teacher: .*x\.whl"):
            load_teacher(tmp_path / "x.whl")


class TestTeacherImages:
    def test_each_is_drawn_once_and_kept(self, teacher: Path, tmp_path: Path) -> None:
        class Counting(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.own, self.drawn = tiny_mobile(), 0
                self.z_dim, self.w_average = self.own.z_dim, self.own.w_average

            def forward(self, z: torch.Tensor) -> torch.Tensor:
                self.drawn += len(z)
                return self.own(z)

        counting: Any = Counting()
        images = TeacherImages(counting, tmp_path / "a.npy", 20, 32)
        first = images.batch([3, 7, 1, 9, 11])
        again = TeacherImages(counting, tmp_path / "a.npy", 20, 32).batch([9, 3, 12])
        assert counting.drawn == 6
        torch.testing.assert_close(again[:2], first[[3, 0]])
        whole = tiny_mobile()(torch.stack([torch.randn(12, generator=torch.Generator().manual_seed(3))]))
        wanted = nn.functional.interpolate(whole, size=(32, 32), mode="bicubic", antialias=True).clamp(-1, 1)
        assert (first[0] - wanted[0]).abs().max() < 1.01 / 127.5

    def test_a_file_that_is_gone_is_drawn_again(self, tmp_path: Path) -> None:
        generator: Any = tiny_mobile()
        first = TeacherImages(generator, tmp_path / "a.npy", 20, 32).batch([3, 4])
        (tmp_path / "a.npy").unlink()
        torch.testing.assert_close(TeacherImages(generator, tmp_path / "a.npy", 20, 32).batch([3, 4]), first)

    def test_a_file_of_others_is_refused(self, tmp_path: Path) -> None:
        generator: Any = tiny_mobile()
        TeacherImages(generator, tmp_path / "a.npy", 20, 32)
        with pytest.raises(BadInput, match="other images"):
            TeacherImages(generator, tmp_path / "a.npy", 21, 32)
        (tmp_path / "a.npy").write_bytes(b"x" * 10)
        with pytest.raises(BadInput, match="damaged"):
            TeacherImages(generator, tmp_path / "a.npy", 20, 32)


def test_the_commands(teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["size=32", "channel_multiplier=0.0078125", "channel_max=16", "teacher_images=8", "batch=4", "images=16"]
    run, out = str(tmp_path / "run"), tmp_path / "faces"
    assert (
        main(["train-mobilestylegan", "--teacher", str(teacher), "--out", run, "--set", *small, "measure_every=8"]) == 0
    )
    assert "gen export-mobilestylegan" in capsys.readouterr().out
    export = ["export-mobilestylegan", run, str(out), "--half", "--weights-license", "research", "--note", "Small."]
    assert main(export) == 0
    card = (out / "MODEL_CARD.md").read_text()
    for part in (
        f"draw what `{teacher.name}`",
        "from 8 of its images",
        "after 16 images",
        "- Small.",
        "research use only",
    ):
        assert part in card
    assert str(tmp_path) not in card + (out / "training.json").read_text()
    pipe = HDAPipeline.from_pretrained(out)
    assert isinstance(pipe.generator, MobileStyleGANGenerator)
    trainer = MobileStyleGANTrainer(settings(teacher, tmp_path / "run", **{"teacher_images": 8, "images": 16}))
    trainer.resume()
    with trainer.averaged_weights():
        torch.testing.assert_close(pipe.generator.state_dict(), trainer.generator.state_dict(), atol=2e-3, rtol=2e-3)
    assert main(["generate", "--model", str(out), "--seeds", "0-3", "--out", str(tmp_path / "drawn")]) == 0
    assert main(["export-stylegan2", run, str(tmp_path / "x")]) == 1


def test_a_stylegan2_folder_may_be_the_teacher(tmp_path: Path) -> None:
    HDAPipeline(tiny_generator()).save_pretrained(tmp_path / "large")
    trainer = MobileStyleGANTrainer(settings(tmp_path / "large", tmp_path / "run", images=8))
    trainer.fit()
    assert isinstance(load_teacher(tmp_path / "large"), StyleGAN2Generator)
    assert trainer.finished
