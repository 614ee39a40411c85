"""The page in Debian's Chromium, used as a person would use it."""

import json
import os
import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gen.augan.verdict import in_short
from gen.hda.settings import SAMPLES
from gen.media.video import write_clip
from gen.web.app import build_app, launch
from gen.web.settings import WebSettings
from tests.smos.conftest import write_domains

NIGHTS = sorted(Path("samples/adverse/night").glob("*.jpg"))
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium, or set $CHROMIUM")
WAIT = 120_000
WIDTH = "image => image.decode().then(() => image.naturalWidth)"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    settings = WebSettings(results=tmp_path_factory.mktemp("results"), megapixels=2)
    demo, service = build_app(settings)
    _, url, _ = launch(demo, settings, prevent_thread_lock=True, quiet=True, show_error=True)
    yield url, service
    service.jobs.close()
    demo.close()


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api").sync_playwright().start()
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
    yield browser
    browser.close()
    playwright.stop()


@pytest.fixture
def page(server, browser):
    """A visitor of their own, who must not meet an error of the page's scripts."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(server[0])
    page.get_by_role("tab", name="Folder", exact=True).wait_for()
    yield page
    context.close()
    assert not errors


def tab(page, name):
    page.get_by_role("tab", name=name, exact=True).first.click()


def choose(page, files, number=0):
    """Give files to the n-th upload field that can be seen."""
    fields = page.locator("[role=tabpanel]:visible input[type=file]")
    fields.nth(number).set_input_files([str(f) for f in (files if isinstance(files, list) else [files])])
    page.wait_for_timeout(1500)


def test_translate_upload_compare_download(page):
    choose(page, NIGHTS[0])
    page.get_by_role("button", name="Translate", exact=True).click()
    page.get_by_text("Generated image, not a photograph").wait_for(timeout=WAIT)
    page.get_by_label("Opacity of the map").first.wait_for(timeout=WAIT)
    with page.expect_download() as download:
        page.get_by_role("link", name="translated.png").or_(page.locator("a[download*=translated]")).first.click()
    with Image.open(download.value.path()) as picture:
        assert picture.size == (640, 360)
        assert np.asarray(picture).std() > 10


def test_the_page_opens_with_an_example_and_with_what_was_measured(page):
    page.get_by_text("An example: a street at night").wait_for(timeout=WAIT)
    for picture in page.locator(".slider-wrap img").all():
        assert picture.evaluate(WIDTH) == 640
    evaluation = json.loads(Path("weights/augan-night2day/evaluation.json").read_text())
    assert in_short(evaluation).replace("**", "") in page.locator(".measured:visible").first.inner_text()
    page.get_by_label("Clear day to night or rainy night").first.click()
    text = in_short(evaluation, "normal_to_adverse").replace("**", "")
    page.get_by_text(text[:60]).first.wait_for(timeout=WAIT)
    page.get_by_label("Model", exact=True).first.click()
    page.get_by_role("option", name="augan-fog2clear").click()
    page.get_by_text("On 50 held-out frames").first.wait_for(timeout=WAIT)
    rows = json.loads(Path("weights/augan-fog2clear/model_index.json").read_text())["trained_height"]
    page.get_by_label(f"{rows} rows, as trained").first.wait_for(timeout=WAIT)


def test_the_map_is_hidden_in_the_direction_that_has_none(page):
    shown = page.get_by_label("Opacity of the map").locator("visible=true")
    shown.first.wait_for(timeout=WAIT)
    page.get_by_label("Clear day to night or rainy night").first.click()
    page.locator("button.gallery-item:visible").first.click()
    page.get_by_text("This model has no map in this direction").wait_for(timeout=WAIT)
    shown.first.wait_for(state="hidden", timeout=WAIT)


def left(element) -> float:
    return element.bounding_box()["x"]


def test_the_border_between_before_and_after_moves_by_keyboard(page):
    for picture in page.locator(".slider-wrap img").all():
        picture.evaluate(WIDTH)  # until it is there, the border has no place
    page.wait_for_timeout(500)
    border = page.get_by_role("slider", name="Border between before and after").first
    width = page.locator(".slider-wrap").first.bounding_box()["width"]
    for _ in range(20):  # the events of a page that has just opened may draw the pictures once more, without the focus
        border.focus()
        before = left(border)
        for _ in range(5):
            page.keyboard.press("ArrowLeft")
            page.wait_for_timeout(300)
        if (moved := before - left(border)) > 0.08 * width:
            break
    assert moved == pytest.approx(0.1 * width, abs=0.02 * width)
    outline = border.evaluate("e => getComputedStyle(e).outlineStyle")
    assert outline == "solid"


def test_a_sample_needs_one_click(page):
    page.locator("button.gallery-item:visible").first.click()
    page.get_by_text("Generated image, not a photograph").wait_for(timeout=WAIT)
    page.get_by_text("How much of each pixel is invented").wait_for(timeout=WAIT)
    page.get_by_text("100 %", exact=True).wait_for(timeout=WAIT)


def test_an_uploaded_picture_has_a_preview(page):
    choose(page, NIGHTS[0])
    page.get_by_text("A preview by augan-night2day-fast. Press Translate for augan-night2day.").wait_for(timeout=WAIT)
    assert page.locator(".slider-wrap img").first.evaluate(WIDTH) == 640
    assert not page.get_by_text("Opacity of the map").is_visible()
    page.get_by_role("button", name="Translate", exact=True).click()
    page.get_by_text("Generated image, not a photograph").first.wait_for(timeout=WAIT)
    page.get_by_text("Opacity of the map").wait_for(timeout=WAIT)
    downloads = page.locator(".downloads a[download]")
    downloads.first.wait_for(timeout=WAIT)
    choose(page, NIGHTS[1])  # what is offered for download is of the picture that is shown
    page.get_by_text("A preview by augan-night2day-fast").wait_for(timeout=WAIT)
    assert downloads.count() == 0


def test_a_wrong_file_is_one_plain_sentence(page, tmp_path):
    (tmp_path / "night.png").write_text("this is no picture")
    choose(page, tmp_path / "night.png")
    page.get_by_role("button", name="Translate", exact=True).click()
    page.get_by_text("night.png: not a readable image").first.wait_for(timeout=WAIT)
    assert "Traceback" not in page.content()
    page.wait_for_timeout(12_000)  # gradio's own errors are gone by then
    page.get_by_text("night.png: not a readable image").first.wait_for(timeout=WAIT)
    assert not page.locator("[data-testid=status-tracker] span.error:visible").count()
    assert page.locator(".slider-wrap img").first.evaluate(WIDTH) == 640  # what was there stays


def test_a_folder_is_a_job_that_outlives_the_tab(page, server):
    tab(page, "Folder")
    choose(page, NIGHTS[:3])
    page.get_by_role("button", name="Translate all").click()
    page.get_by_text("Done: 3 of 3 files").wait_for(timeout=WAIT)
    with page.expect_download() as download:
        page.locator("a[download='results.zip']:visible").first.click()
    assert Path(download.value.path()).stat().st_size > 100_000
    again = page.context.new_page()  # the tab is closed, the browser remembers
    page.close()
    again.goto(server[0])
    tab(again, "Folder")
    again.get_by_text("Done: 3 of 3 files").wait_for(timeout=WAIT)


def test_a_folder_keeps_its_tree_and_a_result_is_compared_by_a_click(page, tmp_path):
    for number, night in enumerate(NIGHTS[:2]):
        target = tmp_path / "drive" / f"camera {number}" / "same.jpg"
        target.parent.mkdir(parents=True)
        shutil.copyfile(night, target)
    tab(page, "Folder")
    page.locator("[role=tabpanel]:visible input[webkitdirectory]").set_input_files(str(tmp_path / "drive"))
    page.wait_for_timeout(1500)
    page.get_by_role("button", name="Translate all").click()
    page.get_by_text("Done: 2 of 2 files").wait_for(timeout=WAIT)
    with page.expect_download() as download:
        page.locator("a[download='results.zip']:visible").first.click()
    with zipfile.ZipFile(download.value.path()) as archive:
        names = {name for name in archive.namelist() if name.endswith(".jpg")}
    assert names == {"drive/camera 0/same.jpg", "drive/camera 1/same.jpg"}
    page.locator(".results:visible .gallery-item button").first.click()
    pair = page.locator(".slider-wrap:visible img")
    pair.first.wait_for(timeout=WAIT)
    assert [picture.evaluate(WIDTH) for picture in pair.all()] == [640, 640]


def test_earlier_jobs_are_listed_with_a_picture_and_found_again_by_a_click(page):
    tab(page, "Folder")
    for count in (1, 2):
        choose(page, NIGHTS[:count])
        page.get_by_text(f"{count} frame").locator("visible=true").first.wait_for(timeout=WAIT)  # the forecast
        page.get_by_role("button", name="Translate all").click()
        page.get_by_text(f"Done: {count} of {count} files").wait_for(timeout=WAIT)
        page.get_by_role("button", name="Clear").locator("visible=true").first.click()
    page.reload()
    tab(page, "Folder")
    page.get_by_text("Done: 2 of 2 files").wait_for(timeout=WAIT)
    page.get_by_role("button", name="Your earlier jobs").locator("visible=true").click()
    jobs = page.locator(".results:visible .gallery-item button", has_text="ago")
    jobs.nth(1).wait_for(timeout=WAIT)
    assert jobs.count() == 2
    assert jobs.nth(1).locator("img").evaluate(WIDTH) == 240
    jobs.nth(1).click()
    page.get_by_text("Done: 1 of 1 files").wait_for(timeout=WAIT)


def test_cancel_keeps_what_is_done(page):
    tab(page, "Folder")
    choose(page, NIGHTS * 8)
    page.get_by_role("button", name="Translate all").click()
    page.get_by_text(re.compile(r"Running: [1-9]\d* of")).wait_for(timeout=WAIT)
    page.get_by_role("button", name="Cancel").locator("visible=true").click()
    page.get_by_text("Cancelled:").wait_for(timeout=WAIT)
    with page.expect_download() as download:
        page.locator("a[download='results.zip']:visible").first.click()
    with zipfile.ZipFile(download.value.path()) as archive:
        kept = [name for name in archive.namelist() if name.endswith(".jpg")]
    assert 1 <= len(kept) < len(NIGHTS) * 8


def test_a_clip_plays_beside_its_source(page, tmp_path):
    write_clip(tmp_path / "drive.mp4", (np.asarray(Image.open(NIGHTS[i % 2])) for i in range(8)), 10)
    page.get_by_role("tab", name="Clip", exact=True).click()
    page.locator("input[type=file][accept*=video]").first.set_input_files(str(tmp_path / "drive.mp4"))
    page.wait_for_timeout(3000)
    page.get_by_role("button", name="Translate the clip").click()
    page.get_by_text("Done: 8 of 8 frames").wait_for(timeout=60_000)
    page.wait_for_timeout(2000)
    lengths = page.evaluate(
        "[...document.querySelectorAll('video')].map(v => [v.readyState, v.duration, v.videoWidth])"
    )
    played = [v for v in lengths if v[0] >= 1 and abs(v[1] - 0.8) < 0.2 and v[2] == 640]
    assert len(played) == 2  # source and result; the sample's thumbnail is longer


def test_scenes(page):
    tab(page, "Scenes")
    page.get_by_role("button", name="Render in all styles").click()
    for style in ("8bit", "16bit", "lowpoly", "hd"):
        level = page.locator(f"[role=tabpanel]:visible .block:has-text('{style}') img").first
        level.wait_for(timeout=WAIT)
        assert level.evaluate(WIDTH) > 100, style


def test_adapt_draws_at_once(page):
    """With a shipped adaptation, without training."""
    tab(page, "Adapt")
    tab(page, "5 Draw")
    grid = page.locator("[role=tabpanel]:visible .block:has-text('Grid: strength grows') img").last
    grid.wait_for(timeout=WAIT)
    before = grid.get_attribute("src")
    page.get_by_role("button", name="Draw a grid").click()
    page.wait_for_function("([e, src]) => e.src !== src", arg=[grid.element_handle(), before], timeout=WAIT)
    page.wait_for_timeout(1000)
    width, height = grid.evaluate("image => [image.naturalWidth, image.naturalHeight]")
    assert 0.3 < height / width < 0.45  # three rows of eight
    assert page.locator("[role=tabpanel]:visible video:visible").count() == 0  # no empty boxes


def choose_generator(page):
    """The smaller of the shipped ones."""
    page.get_by_label("Source generator").click()
    page.get_by_role("option", name="stylegan2-faces64").click()


def test_another_generator_and_what_it_draws(page):
    tab(page, "Adapt")
    drawn = page.locator("[role=tabpanel]:visible .block:has-text('What it draws') img >> visible=true")
    drawn.wait_for(timeout=WAIT)
    first = drawn.get_attribute("src")
    choose_generator(page)
    gone = "src => ![...document.images].some(image => image.offsetParent && image.src === src)"
    page.wait_for_function(gone, arg=first, timeout=WAIT)
    drawn.wait_for(timeout=WAIT)
    assert drawn.get_attribute("src") != first
    tab(page, "5 Draw")
    grid = page.locator("[role=tabpanel]:visible .block:has-text('Grid: strength grows') img >> visible=true")
    for adaptation in ("faces64-sketch-sunglasses", "faces128-sketch-sunglasses"):  # each with its own generator
        page.get_by_label("Adaptation", exact=True).click()
        page.get_by_role("option", name=adaptation).first.click()
        grid.wait_for(state="hidden", timeout=WAIT)  # that of another adaptation
        page.get_by_role("button", name="Draw a grid").click()
        grid.wait_for(timeout=WAIT)
        width, height = grid.evaluate("image => image.decode().then(() => [image.naturalWidth, image.naturalHeight])")
        assert 0.3 < height / width < 0.45  # three rows of eight: the adaptation was there


def test_a_check_without_pictures_says_what_to_do(page):
    tab(page, "Adapt")
    tab(page, "3 Check")
    page.get_by_role("button", name="Check the pictures").click()
    refusal = page.get_by_text("No pictures were given").first
    refusal.wait_for(timeout=WAIT)


def test_an_adaptation_is_cancelled_and_what_it_learned_is_kept(page, tmp_path):
    tab(page, "Adapt")
    choose_generator(page)
    page.get_by_role("button", name="Next: add domains").click()
    assert not page.get_by_label("Domain 2: name").is_visible()
    page.get_by_role("button", name="Add a domain").click()
    page.get_by_label("Domain 2: name").wait_for(timeout=WAIT)
    rng = np.random.default_rng(0)
    for number, (name, colour) in enumerate({"red": (255, 80, 80), "blue": (80, 80, 255)}.items()):
        files = [tmp_path / f"{name}{i}.png" for i in range(4)]
        for file in files:
            noise = rng.integers(0, 80, (64, 64, 3)) + np.array(colour) // 2
            Image.fromarray(noise.clip(0, 255).astype(np.uint8)).save(file)
        page.get_by_label(f"Domain {number + 1}: name").fill(name)
        choose(page, files, number)
        page.locator(".uploaded:visible").nth(number).locator("img").nth(3).wait_for(timeout=WAIT)
    page.get_by_role("button", name="Add a domain").click()
    page.get_by_label("Domain 3: name").fill("green")
    tab(page, "3 Check")
    page.get_by_role("button", name="Check the pictures", exact=True).click()
    page.get_by_text("The domain green has no pictures").first.wait_for(timeout=WAIT)
    tab(page, "2 Domains")
    page.get_by_role("button", name="Remove this domain").last.click()
    page.get_by_label("Domain 3: name").wait_for(state="hidden", timeout=WAIT)
    page.get_by_role("button", name="Next: check the pictures").click()
    page.locator(".verdict:visible").wait_for(timeout=WAIT)
    assert page.locator(".verdict").inner_text().startswith("Too alike: red and blue")
    tab(page, "2 Domains")
    page.get_by_label("Domain 2: name").fill("sky")
    tab(page, "3 Check")
    page.get_by_text("Something has changed. Check the pictures again.").wait_for(timeout=WAIT)
    assert not page.get_by_text("Detailed report").is_visible()
    tab(page, "2 Domains")
    page.get_by_label("Domain 2: name").fill("blue")
    tab(page, "3 Check")
    page.get_by_role("button", name="Next: train").click()
    page.get_by_role("button", name="Adapt", exact=True).click()
    page.get_by_text(re.compile(rf"Running: [1-9]\d* of {SAMPLES} samples")).wait_for(timeout=60_000)
    page.get_by_text(re.compile(r"red \d+ %, blue \d+ % of the way to the references")).wait_for(timeout=WAIT)
    train_on = page.get_by_role("button", name="Train on")
    assert not train_on.is_visible()
    page.get_by_role("button", name="Cancel").locator("visible=true").click()
    page.get_by_text("Cancelled:").wait_for(timeout=60_000)
    train_on.click()
    page.get_by_text(re.compile(rf"Running: \d+ of (?!{SAMPLES} )\d+ samples")).wait_for(timeout=60_000)
    assert not train_on.is_visible()
    page.get_by_role("button", name="Cancel").locator("visible=true").click()
    page.get_by_text("Cancelled:").wait_for(timeout=60_000)
    with page.expect_download() as download:
        page.locator("a[download='adaptation.safetensors']:visible").first.click()
    assert Path(download.value.path()).stat().st_size > 10_000
    page.get_by_role("button", name="Next: draw").click()
    assert page.get_by_label("Adaptation", exact=True).input_value().startswith("red + blue (yours, ")
    shown = page.locator("[role=tabpanel]:visible .block:has-text('Grid: strength grows') img")
    assert not shown.locator("visible=true").count()  # not the grid of a shipped one
    page.get_by_role("button", name="Draw a grid").click()
    shown.locator("visible=true").first.wait_for(timeout=60_000)
    grid = page.locator("[role=tabpanel]:visible .block:has-text('Grid: strength grows') img").last
    grid.wait_for(timeout=60_000)
    width, height = grid.evaluate("image => [image.naturalWidth, image.naturalHeight]")
    assert 0.3 < height / width < 0.45  # three rows of eight: the adaptation was there


def test_ones_own_photo_shows_the_time_left_and_is_stopped(page):
    tab(page, "Adapt")
    tab(page, "5 Draw")
    page.get_by_text("Draw your own photo").click()
    page.get_by_label("Steps").locator("visible=true").first.fill("1000")
    page.locator(
        "[role=tabpanel]:visible .block:has-text('Your photo: one face') input[type=file]"
    ).last.set_input_files("samples/day_real/000000.jpg")
    page.get_by_role("button", name="Draw this photo").click()
    page.get_by_text(re.compile("About .* left")).wait_for(timeout=WAIT)
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_text("Stopped.").wait_for(timeout=60_000)
    assert page.get_by_role("button", name="Draw this photo").is_enabled()


def test_shift(page, tmp_path):
    tab(page, "Domain shift")
    for number, level in enumerate((40, 200)):
        files = []
        for i in range(4):
            files.append(tmp_path / f"{level}-{i}.png")
            Image.fromarray(np.full((32, 32, 3), level + i, np.uint8)).save(files[-1])
        choose(page, files, number)
    page.get_by_role("button", name="Measure").click()
    page.get_by_text("domain B").first.wait_for(timeout=WAIT)
    second = page.locator("[role=tabpanel]:visible img").nth(1)
    second.wait_for(timeout=WAIT)
    assert second.evaluate(WIDTH) > 20


def test_methods_are_compared_and_the_run_is_seen(page, tmp_path):
    archive = tmp_path / "shapes.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for picture in sorted(write_domains(tmp_path / "shapes", count=6).rglob("*.png")):
            file.write(picture, picture.relative_to(tmp_path))
    tab(page, "Domain shift")
    tab(page, "Generalise")
    field = page.locator("[role=tabpanel]:visible .block:has-text('A zip of the data set') input[type=file]").last
    field.set_input_files(archive)
    page.get_by_text("3 domains × 3 methods × 1 seed = 9 runs of 5 min").wait_for(timeout=WAIT)
    page.get_by_role("button", name="Compare the methods").click()
    curve = page.locator("[role=tabpanel]:visible .block:has-text('The run that is going on') img").last
    curve.wait_for(timeout=WAIT)
    assert curve.evaluate(WIDTH) == 750
    page.get_by_role("button", name="Cancel", exact=True).locator("visible=true").click()
    page.get_by_text("0 of 9 cells done").wait_for(timeout=WAIT)
    assert not curve.is_visible()


def test_models(page):
    tab(page, "Models")
    heading = page.get_by_role("heading", name="Training data")
    heading.wait_for(timeout=WAIT)


def test_two_visitors_do_not_see_each_other(page, server, browser):
    tab(page, "Folder")
    choose(page, NIGHTS[:1])
    page.get_by_role("button", name="Translate all").click()
    page.get_by_text("Done: 1 of 1 files").wait_for(timeout=WAIT)
    other = browser.new_context().new_page()
    other.goto(server[0])
    tab(other, "Folder")
    other.wait_for_timeout(3000)
    assert other.get_by_text("Done: 1 of 1").count() == 0
    other.get_by_role("button", name="Your earlier jobs").locator("visible=true").click()
    assert other.get_by_label("Job number").locator("visible=true").input_value() == ""
    assert other.locator(".results:visible img").count() == 0
    other.context.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_phone_needs_no_sideways_scrolling(server, browser, theme):
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.goto(f"{server[0]}?__theme={theme}")
    page.get_by_role("tab", name="Translate", exact=True).first.wait_for()
    page.wait_for_timeout(500)
    assert page.evaluate("document.body.classList.contains('dark')") == (theme == "dark")
    for name in ("Translate", "Folder", "Adapt", "Scenes", "Domain shift", "Models"):
        entry = page.get_by_role("tab", name=name, exact=True).locator("visible=true")
        if entry.count() == 0:  # behind the three dots
            page.locator(".overflow-menu > button").first.click()
            page.locator(".overflow-dropdown button", has_text=name).first.click()
        else:
            entry.first.click()
        page.wait_for_timeout(800)
        assert page.evaluate("document.documentElement.scrollWidth") <= 391, name
    context.close()


def test_a_message_on_a_phone_covers_nothing_for_good(server, browser):
    """It stays in sight where the page was scrolled to, and moves the top of the page down."""
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.goto(server[0])
    page.get_by_role("tab", name="Translate", exact=True).first.wait_for()
    page.get_by_role("button", name="Translate", exact=True).first.click()  # without a picture
    message = page.locator(".toast-body").first
    message.wait_for(timeout=WAIT)
    page.wait_for_timeout(500)
    assert page.evaluate("scrollY") > 100
    assert 0 <= message.bounding_box()["y"] < 60
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_timeout(300)
    box = message.bounding_box()
    assert box["y"] + box["height"] <= page.locator("h1").first.bounding_box()["y"]
    assert page.evaluate("document.documentElement.scrollWidth") <= 391
    context.close()


def test_every_input_has_a_name(page):
    """What a screen reader would say: a label, an aria-label, or the label around it."""
    for name in ("Translate", "Folder", "Adapt", "Scenes", "Domain shift", "Models"):
        tab(page, name)
        page.wait_for_timeout(500)
        nameless = page.evaluate(
            """[...document.querySelectorAll('input, textarea, select')].filter(e => e.offsetParent !== null
               && e.type !== 'file' && !e.labels?.length && !e.getAttribute('aria-label')
               && !e.getAttribute('aria-labelledby') && !e.title).map(e => e.outerHTML.slice(0, 200))"""
        )
        assert not nameless, (name, nameless)


def test_the_keyboard_reaches_the_button(page):
    reached: list[str] = []
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.innerText"))
    assert "Translate" in reached


def test_two_visitors_whose_first_clicks_load_two_models_at_once(browser, tmp_path):
    """A server of its own, which has loaded nothing."""
    settings = WebSettings(results=tmp_path)
    demo, service = build_app(settings)
    _, url, _ = launch(demo, settings, prevent_thread_lock=True, quiet=True, show_error=True)
    pages = [browser.new_context().new_page() for _ in range(2)]
    try:
        for page, model in zip(pages, ("augan-fog2clear", "augan-rain2clear"), strict=True):
            page.goto(url)
            page.get_by_label("Model", exact=True).first.click()
            page.get_by_role("option", name=model).click()
            page.wait_for_timeout(1000)
        for page in pages:
            page.locator("button.gallery-item:visible").first.click()
        for page in pages:
            page.get_by_text("640x360 pixels, processed at").wait_for(timeout=WAIT)
            assert not page.get_by_text("Error").locator("visible=true").count()
    finally:
        for page in pages:
            page.context.close()
        service.jobs.close()
        demo.close()
