"""Make the page's example, and the screenshots in docs/web by driving the page in Chromium. Used by `make docs-web`."""

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from gen.translation import registry
from gen.translation.made_with import weights_id
from gen.web.app import build_app, launch
from gen.web.example import MODEL, make_example
from gen.web.settings import WebSettings

OUT = Path("docs/web")
NIGHT = Path("samples/adverse/night/000010.jpg")
CHROMIUM = "/usr/bin/chromium"


def open_tab(page: Page, name: str) -> None:
    """Open a tab of the top row."""
    page.get_by_role("tab", name=name, exact=True).first.click()
    page.wait_for_timeout(600)


def shoot(page: Page, name: str) -> None:
    """Save the whole page, once its images have loaded."""
    page.wait_for_timeout(1200)
    page.screenshot(path=str(OUT / f"{name}.jpg"), full_page=True, type="jpeg", quality=85)
    print(OUT / f"{name}.jpg")


def translate(page: Page) -> None:
    """Click a sample and wait for its translation."""
    page.locator("button.gallery-item").first.click()
    page.get_by_text("Generated image, not a photograph").wait_for(timeout=90_000)


def levels(page: Page) -> None:
    """Render a level in all styles."""
    page.get_by_role("button", name="Render in all styles").click()
    page.wait_for_function("document.querySelectorAll('[role=tabpanel] img').length >= 4", timeout=90_000)
    page.wait_for_timeout(3000)


def folder(page: Page) -> None:
    """Translate four frames as a job."""
    files = sorted(str(p) for p in Path("samples/adverse").rglob("*.jpg"))[:4]
    page.locator("input[type=file]:visible, [role=tabpanel]:visible input[type=file]").first.set_input_files(files)
    page.wait_for_timeout(1500)
    page.get_by_role("button", name="Translate all").click()
    page.get_by_text("Done: 4 of 4").wait_for(timeout=120_000)


def draw(page: Page) -> None:
    """Draw a grid with the first shipped adaptation."""
    page.get_by_role("tab", name="5 Draw").click()
    page.get_by_role("button", name="Draw a grid").click()
    page.wait_for_timeout(9000)


def shift(page: Page) -> None:
    """Measure rendered nights, rainy nights and days."""
    for number, (name, folder) in enumerate(
        (("night", "adverse/night"), ("rainy night", "adverse/rainy_night"), ("day", "day"))
    ):
        page.get_by_label(f"Domain {'ABC'[number]}: name").fill(name)
        files = sorted(str(p) for p in Path("samples", folder).glob("*.jpg"))
        page.locator("[role=tabpanel]:visible input[type=file]").nth(number).set_input_files(files)
        page.wait_for_timeout(1500)
    page.get_by_role("button", name="Measure").click()
    page.wait_for_timeout(9000)


def nothing(page: Page) -> None:
    """Show the tab without doing anything in it."""


TABS = {
    "translate": ("Translate", translate),
    "folder": ("Folder", folder),
    "adapt": ("Adapt", draw),
    "scenes": ("Scenes", levels),
    "shift": ("Domain shift", shift),
    "models": ("Models", nothing),
}


def main() -> int:
    """All tabs in the light theme; the first one also in dark, and at the size of a phone."""
    OUT.mkdir(parents=True, exist_ok=True)
    make_example(NIGHT, registry.load(MODEL, "cpu"), str(weights_id(MODEL)))
    with tempfile.TemporaryDirectory() as results, sync_playwright() as playwright:
        settings = WebSettings(results=Path(results))
        demo, service = build_app(settings)
        _, url, _ = launch(demo, settings, prevent_thread_lock=True, quiet=True)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(f"{url}?__theme=light")
        for name, (tab, act) in TABS.items():
            open_tab(page, tab)
            act(page)
            shoot(page, name)
        for name, theme, size in (("dark", "dark", (1280, 900)), ("phone", "light", (390, 844))):
            page = browser.new_page(viewport={"width": size[0], "height": size[1]})
            page.goto(f"{url}?__theme={theme}")
            open_tab(page, "Translate")
            translate(page)
            shoot(page, name)
        browser.close()
        service.jobs.close()
        demo.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
