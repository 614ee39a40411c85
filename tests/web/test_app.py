"""Each endpoint, as `gradio_client` calls it, against the real app with the shipped weights."""

import json
import re
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image, ImageCms

from gen import AUGANPipeline
from gen.errors import BadInput
from gen.media.mark import read_header
from gen.translation.made_with import weights_id
from gen.translation.maps import SHARE_SCALE, decode_uncertainty_raw
from gen.web.adapt import AdaptTab
from gen.web.app import SESSIONS, build_app, launch
from gen.web.job import Job
from gen.web.jobs import Jobs
from gen.web.settings import WebSettings
from gen.web.translate import legend
from tests.web.test_limits import bomb

NIGHT = Path("samples/adverse/night/000010.jpg")
DAY = Path("samples/day_real/000000.jpg")

ENDPOINTS = {
    "/translate": ["picture", "direction", "model", "resolution", "opacity"],
    "/start_clip": ["clip", "direction", "model", "resolution", "with_map", "start", "length"],
    "/start_folder": ["files", "direction", "model", "uncertainty", "server_folder", "folder", "resolution"],
    "/render_level": ["scene", "seed"],
    "/contact_sheet": ["seed"],
    "/render_street": ["weather", "seed"],
    "/start_scenes": ["styles", "classes", "count", "size", "seed"],
    "/draw": ["source", "job", "strength", "second", "share", "seeds", "truncation"],
    "/walk": ["source", "job", "strength", "second", "share", "seeds", "truncation"],
    "/invert": ["source", "job", "strength", "second", "share", "photo", "steps"],
    "/model_card": ["name"],
    "/job": ["number"],
    "/cancel_job": ["number"],
    "/job_results": ["number"],
    "/check_domains": None,
    "/start_adaptation": None,
    "/continue_adaptation": ["job", "images"],
    "/measure_shift": None,
    "/start_generalise": ["files", "methods", "minutes", "seeds", "server_folder", "folder"],
}
"""Public names and parameters: scripts of others depend on them. None: as many fields as there are domains."""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    (root / "night").mkdir()
    (root / "night" / "a.jpg").write_bytes(NIGHT.read_bytes())
    results = tmp_path_factory.mktemp("results")
    settings = WebSettings(results=results, root=root, megapixels=2, clip_seconds=5, scenes=40)
    demo, service = build_app(settings)
    _, url, _ = launch(demo, settings, prevent_thread_lock=True, quiet=True, show_error=True)
    yield demo, service, url
    service.jobs.close()
    demo.close()


def test_the_server_forgets_old_sessions(server):
    """Each call to the API is a session of nearly a megabyte; gradio alone keeps 10,000."""
    holder = server[0].app.state_holder
    assert holder.capacity == SESSIONS
    for number in range(SESSIONS + 20):
        assert holder[f"call {number}"]
    assert len(holder.session_data) == SESSIONS


@pytest.fixture(scope="module")
def client(server):
    # Else the client reads all certificates again for every request, also of an address without SSL.
    return Client(server[2], verbose=False, ssl_verify=False)


def finish(client: Client, number: str, seconds: float = 120) -> dict:
    end = time.monotonic() + seconds
    while (job := client.predict(number, api_name="/job"))["state"] in ("waiting", "running"):
        assert time.monotonic() < end, job
        time.sleep(0.3)
    return job


def size(path: str) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def translate(client, file, direction="adverse_to_normal", model="augan-night2day", resolution="fast"):
    return client.predict(handle_file(file), direction, model, resolution, 0.8, api_name="/translate")


def test_the_public_endpoints_are_stable(server):
    named = server[0].get_api_info()["named_endpoints"]
    assert set(named) == set(ENDPOINTS)
    for name, parameters in ENDPOINTS.items():
        if parameters is not None:
            assert [p["parameter_name"] for p in named[name]["parameters"]] == parameters, name


class TestTranslate:
    def test_a_night_becomes_brighter_and_before_is_exact(self, client):
        (before, after), overlay, files, note = translate(client, NIGHT)
        source = np.asarray(Image.open(NIGHT).convert("RGB"))
        assert np.array_equal(np.asarray(Image.open(before)), source)
        assert np.asarray(Image.open(after)).mean() > 1.2 * source.mean()
        assert size(overlay) == size(after) == (640, 360)
        assert [Path(f).name.split("-")[-1] for f in files] == ["translated.png", "uncertainty.png"]
        assert np.asarray(Image.open(files[1])).dtype == np.uint16
        assert "not a photograph" in note
        again = translate(client, after)[-1]
        assert "it was translated by gen" in again
        assert "It shows a clear day; the model is for night or rainy night" in translate(client, DAY)[-1]
        assert "clear day" not in note

    def test_colours_and_transparency_are_kept_and_what_is_lost_is_named(self, client, tmp_path):
        """The source has more pages, and a profile without which its red and blue would change places."""
        srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        profile = srgb.replace(b"rXYZ", b"\0tmp").replace(b"bXYZ", b"rXYZ").replace(b"\0tmp", b"bXYZ")
        page = Image.open(NIGHT).resize((64, 40)).convert("RGBA")
        page.save(tmp_path / "x.tif", save_all=True, append_images=[page], icc_profile=profile)
        (before, after), overlay, files, note = translate(client, tmp_path / "x.tif")
        for path, mode in ((before, "RGBA"), (after, "RGBA"), (files[0], "RGBA"), (overlay, "RGB")):
            image = Image.open(path)
            assert (image.mode, image.info["icc_profile"]) == (mode, profile)
        for path in (after, overlay):
            made = "augan-night2day, adverse_to_normal, resolution 64 wide 40 high, weights "
            made += str(weights_id("augan-night2day"))
            assert read_header(Path(path)).mark == (made, None, "Translated")
        assert "Left out: 1 further" in note

    def test_the_map_is_the_models_own(self, client):
        *_, files, _ = translate(client, NIGHT)
        pipe = AUGANPipeline.from_pretrained("augan-night2day")
        assert pipe.shown_map("adverse_to_normal") == "invention"
        shown = decode_uncertainty_raw(Path(files[1]), SHARE_SCALE)
        np.testing.assert_allclose(shown, pipe(NIGHT).invented[0], atol=1e-3)

    def test_the_legend_names_the_map(self):
        assert "How much of each pixel is invented" in legend("invention")
        assert "128" in legend("cycle")

    def test_day_to_night_has_no_map(self, client):
        _, overlay, files, note = translate(client, "samples/day/000010.jpg", "normal_to_adverse")
        assert overlay is None
        assert len(files) == 1
        assert "no map in this direction" in note

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"model": "../../etc"}, "unknown name|not in the list"),
            ({"model": "google/ddpm"}, "unknown name|not in the list"),
            ({"file": "pyproject.toml"}, "not a readable image"),
        ],
    )
    def test_refusals(self, client, change, words):
        with pytest.raises(AppError, match=words):
            translate(client, **{"file": NIGHT} | change)

    def test_a_pixel_bomb(self, client, tmp_path):
        with pytest.raises(AppError, match="megapixels"):
            translate(client, bomb(tmp_path / "bomb.png"))

    def test_a_clip_is_a_job(self, client, server):
        number = client.predict(
            handle_file("samples/adverse/rainy_night/000003.mp4"),
            "adverse_to_normal",
            "augan-night2day",
            api_name="/start_clip",
        )
        while (job := client.predict(number, api_name="/job"))["done"] == 0:
            assert job["state"] in ("waiting", "running"), job
            time.sleep(0.1)
        assert client.predict(number, api_name="/job")["unit"] == "frames"
        with Image.open(server[1].jobs.folder(number) / "preview.jpg") as picture:  # shown while the job runs
            night, day = np.hsplit(np.asarray(picture.convert("L")), 2)
        assert night.shape == (360, 640)
        assert day.mean() > night.mean() + 30
        client.predict(number, api_name="/cancel_job")
        assert finish(client, number)["state"] == "cancelled"


class TestFolder:
    def test_uploads_zips_and_a_wrong_file(self, client, tmp_path):
        archive = tmp_path / "more.zip"
        with zipfile.ZipFile(archive, "w") as file:
            file.write(NIGHT, "drive/one.jpg")
        (tmp_path / "broken.jpg").write_text("no")
        Image.new("RGB", (64, 40)).save(tmp_path / "plain.bmp")
        (tmp_path / "second").mkdir()
        Image.new("RGB", (64, 40), "navy").save(tmp_path / "second" / "plain.bmp")
        files = (NIGHT, archive, tmp_path / "broken.jpg", tmp_path / "plain.bmp", tmp_path / "second" / "plain.bmp")
        given = [handle_file(p) for p in files]
        number = client.predict(given, "adverse_to_normal", "augan-night2day", "overlay", "", api_name="/start_folder")
        job = finish(client, number)
        assert (job["state"], job["done"]) == ("done", 4)
        assert "left out: the note that gen made it" in job["said"]
        renamed = "plain-2.bmp is another upload named plain.bmp"
        assert renamed in job["said"]
        assert len(job["problems"]) == 1
        assert "broken.jpg" in job["problems"][0]
        results = client.predict(number, api_name="/job_results")
        with zipfile.ZipFile(results[0]) as file:
            names = file.namelist()
        assert {"000010.jpg", "000010.jpg.overlay.jpg", "more/drive/one.jpg", "report.json"} <= set(names)
        report = json.loads(Path(results[1]).read_text())
        assert report["totals"]["done"] == 4
        assert renamed in report["warnings"]

    def test_auto_leaves_a_day_as_it_is(self, client):
        given = [handle_file(NIGHT), handle_file("samples/day_real/000000.jpg")]
        number = client.predict(given, "adverse_to_normal", "auto", "none", "", api_name="/start_folder")
        assert finish(client, number)["state"] == "done"
        report = json.loads(Path(client.predict(number, api_name="/job_results")[1]).read_text())
        assert {Path(f["input"]).name: f["status"] for f in report["files"]} == {
            NIGHT.name: "done",
            "000000.jpg": "left",
        }

    def test_a_folder_on_the_server_and_none_beside_it(self, client):
        start = [None, "adverse_to_normal", "augan-night2day", "none"]
        number = client.predict(*start, "night", api_name="/start_folder")
        assert finish(client, number)["done"] == 1
        with pytest.raises(AppError, match="no such folder"):
            client.predict(*start, "../..", api_name="/start_folder")


class TestScenes:
    def test_one_level_in_four_styles(self, client):
        pictures = client.predict("snow", 3, api_name="/render_level")
        assert [size(p) for p in pictures] == [(256, 240), (256, 224), (320, 240), (640, 480)]
        assert {read_header(Path(p)).made for p in pictures} == {"rendered"}

    def test_a_street_with_depth_and_labels(self, client):
        pictures = client.predict("fog", 17, api_name="/render_street")
        assert [size(p) for p in pictures] == [(640, 360)] * 4
        assert [read_header(Path(p)).made for p in pictures[:2]] == ["rendered"] * 2

    def test_a_data_set(self, client):
        number = client.predict(["8bit", "hd"], ["snow", "cave"], 3, 64, 1, api_name="/start_scenes")
        assert finish(client, number)["state"] == "done"
        with zipfile.ZipFile(client.predict(number, api_name="/job_results")[0]) as file:
            assert len(file.namelist()) == 12
            first = file.read("8bit/snow/000000.jpg")
        number = client.predict(["8bit"], ["snow"], 1, 64, 100_001, api_name="/start_scenes")
        assert finish(client, number)["state"] == "done"
        with zipfile.ZipFile(client.predict(number, api_name="/job_results")[0]) as file:
            assert file.read("8bit/snow/000000.jpg") != first  # another seed is another data set

    def test_too_many(self, client):
        with pytest.raises(AppError, match="1 to 40"):
            client.predict(["8bit"], ["snow"], 41, 64, 1, api_name="/start_scenes")


def damaged(path: Path) -> Path:
    """A PNG whose header is right and whose picture is not, as a broken card leaves it."""
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)).save(path)
    data = bytearray(path.read_bytes())
    start = data.index(b"IDAT") + 4
    data[start : start + 40] = b"x" * 40
    path.write_bytes(data)
    return path


class TestAdapt:
    def test_draw_and_walk_the_source(self, client):
        given = ["stylegan2-faces64", "", 1, "", 0.5, "0-3", 0.7]
        width, height = size(client.predict(*given, api_name="/draw"))
        assert width > 700
        assert height > 180
        clip = client.predict(*given, api_name="/walk")
        assert Path(clip["video"] if isinstance(clip, dict) else clip).stat().st_size > 10_000

    def test_a_shipped_adaptation_is_drawn_by_its_name(self, client):
        given = [1, "", 0.5, "0-3", 0.7]
        drawn = client.predict("stylegan2-faces64", "faces64-sketch-sunglasses", *given, api_name="/draw")
        grid = np.asarray(Image.open(drawn).convert("RGB")).astype(float)
        third = len(grid) // 3
        assert np.abs(grid[:third] - grid[-third:]).mean() > 10

    def test_invert_a_drawn_face(self, client, tmp_path):
        source = ["stylegan2-faces64", "", 1, "", 0.5]
        drawn = client.predict(*source, "5", 0.7, api_name="/draw")
        found = client.predict(*source, handle_file(drawn), 50, api_name="/invert")
        for picture in (drawn, found):
            assert "Drawn by gen (stylegan2-faces64, " in Image.open(picture).info["Description"]
        grid = np.asarray(Image.open(found).convert("RGB")).astype(float)
        half = grid.shape[1] // 2
        photo, inverted = grid[8:-8, 8 : half - 8], grid[8:-8, half + 8 : 2 * half - 8]
        assert np.corrcoef(photo.ravel(), inverted.ravel())[0, 1] > 0.6

    @pytest.mark.parametrize("seeds", ["", "x", "0-999999999", "1,2,", "9" * 300])
    def test_seeds(self, client, seeds):
        with pytest.raises(AppError, match="seeds"):
            client.predict("stylegan2-faces64", "", 1, "", 0.5, seeds, 0.7, api_name="/draw")

    def test_check_train_and_draw(self, client, tmp_path):
        """On pictures of our own: two domains of coloured noise."""
        rng = np.random.default_rng(0)
        fields: list = []
        for name, colour in (("red", (255, 80, 80)), ("blue", (80, 80, 255))):
            files = []
            for i in range(4):
                noise = rng.integers(0, 80, (64, 64, 3)) + np.array(colour) // 2
                path = tmp_path / f"{name}{i}.png"
                Image.fromarray(noise.clip(0, 255).astype(np.uint8)).save(path)
                files.append(handle_file(path))
            fields += [name, files, 1]
        fields += ["", None, 1] * 2
        fields[1].append(handle_file(damaged(tmp_path / "damaged.png")))
        report = client.predict("stylegan2-faces64", *fields, api_name="/check_domains")
        assert re.search(r"red: 4 images, rank \d", report)
        assert report.startswith("Too alike: red and blue")  # both are noise
        assert "warning: red: skipped: 0-red/damaged.png: the image cannot be read" in report
        number = client.predict("stylegan2-faces64", 160, *fields, api_name="/start_adaptation")
        job = finish(client, number, 300)
        assert job["state"] == "done", job
        (problem,) = job["problems"]
        assert problem.startswith("red: skipped: 0-red/damaged.png: the image cannot be read")
        drawn = client.predict("stylegan2-faces64", number, 1, "", 0.5, "0-3", 0.7, api_name="/draw")
        grid = np.asarray(Image.open(drawn).convert("RGB")).astype(float)
        third = len(grid) // 3
        assert np.abs(grid[:third] - grid[-third:]).mean() > 2  # the last row is adapted
        assert client.predict(number, 160, api_name="/continue_adaptation") == number
        client.predict(number, api_name="/cancel_job")
        job = finish(client, number, 300)
        assert (job["state"], job["of"]) == ("cancelled", 320)


def test_an_adaptation_whose_last_attempt_failed_early_can_be_trained_on(tmp_path):
    """For example because the source generator had been replaced, and then put back."""
    jobs = Jobs(tmp_path / "jobs", {}, 1, 9)
    ident = jobs.new_folder()
    failed = Job(ident, "adapt", {"images": 480}, state="failed", done=0)
    again = SimpleNamespace(get=lambda number: failed, folder=jobs.folder, run_again=lambda number, inputs: failed)
    tab = AdaptTab(SimpleNamespace(jobs=again))  # pyright: ignore[reportArgumentType]
    with pytest.raises(BadInput, match="has begun to train"):
        AdaptTab.train_on.__wrapped__(tab, ident, 160)
    (tmp_path / "jobs" / ident / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "jobs" / ident / "run" / "checkpoints" / "latest.json").write_text('{"images_shown": 328}')
    given = list[dict]()
    again.run_again = lambda number, inputs: given.append(inputs) or failed
    assert AdaptTab.train_on.__wrapped__(tab, ident, 160) == ident
    assert given == [{"images": 488, "trained_on": True}]
    jobs.close()


class TestShift:
    def test_two_domains(self, client, tmp_path):
        fields: list = []
        for name, level in (("dark", 40), ("light", 200)):
            files = []
            for i in range(4):
                path = tmp_path / f"{name}{i}.png"
                Image.fromarray(np.full((32, 32, 3), level + i, np.uint8)).save(path)
                files.append(handle_file(path))
            fields += [name, files]
        fields[1].append(handle_file(damaged(tmp_path / "damaged.png")))
        table, notes, scatter, pairs, csv = client.predict(*fields, "", None, "", None, api_name="/measure_shift")
        assert [row[0] for row in table["data"]] == ["dark", "light"]
        assert min(size(scatter) + size(pairs)) > 300
        assert "dark" in Path(csv).read_text()
        assert "- dark/damaged.png: the image cannot be read" in notes

    def test_the_zip_of_a_folder_has_the_name_that_the_visitor_gives(self, client, tmp_path):
        fields = []
        for name in ("dark", "light"):
            archive = tmp_path / f"{name}.zip"
            with zipfile.ZipFile(archive, "w") as file:
                for scene in ("road", "town"):
                    for index in range(2):
                        file.write(NIGHT, f"frames of {name}/{scene}/{index}.jpg")
            fields += [name, [handle_file(archive)]]
        table = client.predict(*fields, "", None, "", None, api_name="/measure_shift")[0]
        assert [row[:3] for row in table["data"]] == [["dark", 4, 2], ["light", 4, 2]]

    def test_a_domain_without_a_name_is_called_as_its_field(self, client, tmp_path):
        table = client.predict(
            "", [handle_file(NIGHT)], "", None, "", [handle_file(NIGHT)], "", None, api_name="/measure_shift"
        )[0]
        assert [row[0] for row in table["data"]] == ["domain A", "domain C"]

    def test_one_is_not_enough(self, client):
        with pytest.raises(AppError, match="at least two"):
            client.predict("a", [handle_file(NIGHT)], *["", None] * 3, api_name="/measure_shift")


def test_cards(client):
    assert "Training data" in client.predict("augan-night2day", api_name="/model_card")
    with pytest.raises(AppError):
        client.predict("../gen", api_name="/model_card")


class TestSafety:
    @pytest.mark.parametrize("path", ["/etc/passwd", "pyproject.toml", "gen/cli.py", "../../../etc/passwd"])
    def test_no_file_of_the_server(self, server, path):
        for given in (path, str(Path(path).resolve())):
            with pytest.raises(urllib.error.HTTPError) as error:
                urllib.request.urlopen(f"{server[2]}gradio_api/file={given}")
            assert error.value.code in (403, 404)

    @pytest.mark.parametrize("path", [NIGHT.resolve(), Path("pyproject.toml").resolve(), "/etc/passwd"])
    def test_no_path_of_the_server_as_an_upload(self, server, path):
        """Without the client, which would upload the file."""
        file = {"path": str(path), "meta": {"_type": "gradio.FileData"}}
        body = json.dumps({"data": [file, "adverse_to_normal", "augan-night2day", "fast", 0.8]}).encode()
        url = f"{server[2]}gradio_api/call/translate"
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        try:
            event = json.load(urllib.request.urlopen(request))["event_id"]
            said = urllib.request.urlopen(f"{url}/{event}").read().decode()
        except urllib.error.HTTPError as error:
            said = f"event: error {error.code}"
        assert "event: error" in said
        assert "root:" not in said

    def test_another_visitor_does_not_find_a_job(self, server, client):
        other = Client(server[2], verbose=False, ssl_verify=False)
        with pytest.raises(AppError, match="No job"):
            other.predict("a" * 22, api_name="/job")


def test_strangers_meet_a_login_and_large_files_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("GEN_USERS", "ann:secret")
    settings = WebSettings(results=tmp_path / "results", upload_mb=1)
    demo, service = build_app(settings)
    _, url, _ = launch(demo, settings, prevent_thread_lock=True, quiet=True, show_error=True)
    try:
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(f"{url}gradio_api/info")
        assert error.value.code == 401
        with pytest.raises(Exception, match=r"(?i)auth|login|credential|401"):
            Client(url, auth=("ann", "wrong"), verbose=False, ssl_verify=False)
        client = Client(url, auth=("ann", "secret"), verbose=False, ssl_verify=False)
        large = tmp_path / "large.png"
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (800, 800, 3)).astype(np.uint8)).save(large)
        assert large.stat().st_size > 1_000_000
        with pytest.raises(Exception, match=r"(?i)size|large|exceed|413"):
            translate(client, large)
        assert "Training data" in client.predict("augan-night2day", api_name="/model_card")
    finally:
        service.jobs.close()
        demo.close()
