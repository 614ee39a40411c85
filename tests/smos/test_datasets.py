import hashlib
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gen.errors import BadInput, BadSetting
from gen.smos.benchmarks import BENCHMARKS, Benchmark, check_classes, find_benchmark
from gen.smos.datasets import draw, load_domains, split_domain


def make_tree(root: Path, domains: list[str], classes: list[str]) -> Path:
    for domain in domains:
        for label in classes:
            folder = root / domain / label
            folder.mkdir(parents=True)
            Image.fromarray(np.full((32, 32, 3), 100, np.uint8)).save(folder / "a.png")
    return root


def classes_of(benchmark: Benchmark) -> list[str]:
    return list(benchmark.classes) if isinstance(benchmark.classes, tuple) else [f"c{n}" for n in range(345)]


@pytest.mark.parametrize(("name", "count"), [("PACS", 7), ("VLCS", 5), ("OfficeHome", 65), ("TerraIncognita", 10)])
def test_known_data_sets_have_their_number_of_classes_and_four_domains(name: str, count: int) -> None:
    assert len(set(BENCHMARKS[name].classes)) == count  # pyright: ignore[reportArgumentType]
    assert len(BENCHMARKS[name].domains) == 4


@pytest.mark.parametrize(
    ("name", "domains", "usual"),
    [
        ("PACS", ["painting", "cartoon", "photo", "sketch"], ["art_painting", "cartoon", "photo", "sketch"]),
        ("OfficeHome", ["Art", "Clipart", "Product", "Real World"], ["Art", "Clipart", "Product", "Real"]),
        ("OfficeHome", ["Art", "Clipart", "Product", "RealWorld"], ["Art", "Clipart", "Product", "Real"]),
        ("VLCS", ["caltech", "LABELME", "SUN", "PASCAL"], ["Caltech101", "LabelMe", "SUN09", "VOC2007"]),
    ],
)
def test_domains_are_known_by_other_names(tmp_path: Path, name: str, domains: list[str], usual: list[str]) -> None:
    root = make_tree(tmp_path / "x", domains, classes_of(BENCHMARKS[name]))
    found, folders = find_benchmark(root)
    assert (found, list(folders)) == (name, usual)
    data = load_domains(root, 16, tmp_path / "cache")
    assert [data.index(d) for d in domains] == [data.index(u) for u in usual]


def test_the_real_pacs_is_known_and_whole(shared_data: Path) -> None:
    name, folders = find_benchmark(shared_data / "pacs128")
    assert (name, len(check_classes(name, folders))) == ("PACS", 7)


class TestWhatIsWrongIsNamed:
    def test_a_missing_domain(self, tmp_path: Path) -> None:
        root = make_tree(tmp_path, ["art_painting", "cartoon", "photo"], ["dog"])
        with pytest.raises(BadInput, match="the domain sketch of PACS is missing"):
            find_benchmark(root, "PACS")
        with pytest.raises(BadInput, match="looks like PACS without its domain sketch"):
            find_benchmark(root)
        assert list(find_benchmark(root, "any")[1]) == ["art_painting", "cartoon", "photo"]

    def test_a_folder_with_the_name_of_a_benchmark_is_not_it(self, tmp_path: Path) -> None:
        root = make_tree(tmp_path / "DomainNet", ["a", "b"], ["x", "y"])
        assert load_domains(root, 16, tmp_path / "cache").name == "DomainNet (own)"

    def test_a_missing_class(self, tmp_path: Path) -> None:
        classes = classes_of(BENCHMARKS["PACS"])
        root = make_tree(tmp_path / "x", list(BENCHMARKS["PACS"].domains), classes)
        shutil.rmtree(root / "photo" / "horse")
        with pytest.raises(BadInput, match="photo: the class horse is missing"):
            load_domains(root, 16, tmp_path / "cache")

    def test_a_class_too_many(self, tmp_path: Path) -> None:
        root = make_tree(tmp_path / "x", list(BENCHMARKS["PACS"].domains), [*classes_of(BENCHMARKS["PACS"]), "car"])
        with pytest.raises(BadInput, match="PACS has no class car"):
            load_domains(root, 16, tmp_path / "cache")

    def test_a_wrong_number_of_classes(self, tmp_path: Path) -> None:
        root = make_tree(tmp_path / "x", list(BENCHMARKS["DomainNet"].domains), ["a", "b"])
        with pytest.raises(BadInput, match="DomainNet has 345 classes, but there are 2"):
            load_domains(root, 16, tmp_path / "cache")

    def test_an_empty_class_folder(self, tmp_path: Path, domains: Path) -> None:
        root = Path(shutil.copytree(domains, tmp_path / "x"))
        shutil.rmtree(root / "art" / "disc")
        (root / "art" / "disc").mkdir()
        with pytest.raises(BadInput, match=r"art/disc: the class folder is empty"):
            load_domains(root, 16, tmp_path / "cache")
        (root / "art" / "disc" / "Thumbs.db").write_bytes(b"x")
        with pytest.raises(BadInput, match=r"art/disc: no readable image in this class folder"):
            load_domains(root, 16, tmp_path / "cache")

    def test_a_broken_image(self, tmp_path: Path, domains: Path) -> None:
        root = Path(shutil.copytree(domains, tmp_path / "x"))
        (root / "art" / "disc" / "000.png").write_bytes(b"no picture")
        whole, rest = (load_domains(folder, 16, tmp_path / "cache") for folder in (domains, root))
        assert len(rest.domains[0]) == len(whole.domains[0]) - 1
        index = whole.domains[0].frames.paths.index(domains / "art" / "disc" / "000.png")
        assert list(rest.domains[0].labels) == list(np.delete(whole.domains[0].labels, index))
        with pytest.raises(BadInput, match=r"1 of \d+ images(.|\n)*art/disc/000.png"):
            load_domains(root, 16, tmp_path / "cache", strict=True)
        for picture in (root / "art" / "disc").iterdir():
            picture.write_bytes(b"")
        with pytest.raises(BadInput, match=r"art/disc: no readable image in this class folder"):
            load_domains(root, 16, tmp_path / "cache")

    def test_an_image_outside_the_classes(self, tmp_path: Path, domains: Path) -> None:
        root = Path(shutil.copytree(domains, tmp_path / "x"))
        shutil.copy(root / "art" / "disc" / "000.png", root / "art" / "stray.png")
        with pytest.raises(BadInput, match=r"stray.png: move this image to a class folder"):
            load_domains(root, 16, tmp_path / "cache")

    def test_no_data_set_at_all(self, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match="no such folder"):
            find_benchmark(tmp_path / "nowhere")
        with pytest.raises(BadInput, match="at least two domains"):
            find_benchmark(tmp_path)
        with pytest.raises(BadSetting, match=r"unknown dataset 'Pacs'; did you mean PACS\? Available: auto, any, PACS"):
            find_benchmark(tmp_path, "Pacs")

    def test_an_unknown_target(self, tmp_path: Path, domains: Path) -> None:
        with pytest.raises(BadSetting, match="target: unknown domain 'sea'; available: art, flat, ink, or all"):
            load_domains(domains, 16, tmp_path).index("sea")


def test_pictures_and_labels_belong_together(tmp_path: Path, domains: Path) -> None:
    data = load_domains(domains, 16, tmp_path)
    assert (data.name, data.classes, data.names) == ("shapes", ("bar", "disc"), ["art", "flat", "ink"])
    domain = data.domains[1]
    assert domain.images([0, 19]).shape == (2, 3, 16, 16)
    for index, path in enumerate(domain.frames.paths):
        assert data.classes[domain.labels[index]] == path.parent.name


@given(st.integers(5, 400), st.integers(0, 99), st.integers(0, 5))
def test_split_is_domainbeds(count: int, seed: int, index: int) -> None:
    """Its split_dataset and seed_hash, written out."""
    digest = int(hashlib.md5(str((seed, index)).encode("utf-8")).hexdigest(), 16) % (2**31)
    keys = list(range(count))
    np.random.RandomState(digest).shuffle(keys)
    n = int(count * 0.2)
    split = split_domain(count, seed, index)
    assert split.outer.tolist() == keys[:n]
    assert split.inner.tolist() == keys[n:]


def test_epochs_show_everything_once_and_draws_with_replacement_do_not() -> None:
    indices = np.arange(100, 140)
    epoch = [draw(indices, 0, 1, n, replacement=False) for n in range(80)]
    assert sorted(epoch[:40]) == sorted(epoch[40:]) == indices.tolist()
    assert epoch[:40] != epoch[40:]
    drawn = Counter(draw(indices, 0, 1, n, replacement=True) for n in range(4000))
    assert set(drawn) == set(indices.tolist())
    assert 60 < min(drawn.values()) < max(drawn.values()) < 150
