"""The endpoints of the page, called with any JSON as arguments, as a script could send it."""

import asyncio
import os
import tempfile
import traceback
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from gen.errors import GenError
from gen.web.settings import WebSettings
from tests.fuzz import guard
from tests.fuzz.mutate import texts, values

SLOW = {"render_level", "contact_sheet", "render_street", "check_domains", "measure_shift", "draw", "walk", "invert"}
"""They do seconds of work for right arguments, so that they only get seeds that are wrong."""
WORDS = [
    "adverse_to_normal", "normal_to_adverse", "augan-night2day", "auto", "none", "map", "raw", "night", "0-7", "3",
    "sketch", "../..", "/etc/passwd", "abcdefghijklmnop", "C:\\\\windows", "file:///etc/passwd",
    "http://localhost:1/",
]  # fmt: skip


class Page:
    """The page, which does not listen; its jobs do nothing."""

    def __init__(self) -> None:
        from gradio.state_holder import SessionState

        from gen.web.app import build_app

        self.folder = Path(tempfile.mkdtemp(prefix="gen-fuzz-page-")).resolve()
        guard.allow(self.folder)
        os.environ.setdefault("MPLCONFIGDIR", str(self.folder))  # matplotlib makes its folder when it is first needed
        self.blocks, service = build_app(WebSettings(results=self.folder / "web", device="cpu"))
        service.jobs.kinds = {name: (lane, lambda context: None) for name, (lane, _) in service.jobs.kinds.items()}
        self.named = {f.api_name: f for f in self.blocks.fns.values() if isinstance(f.api_name, str)}
        self.state = SessionState(self.blocks)
        self.loop = asyncio.new_event_loop()
        # As after its launch: paths that nobody uploaded are then refused.
        self.blocks.has_launched, self.blocks.allowed_paths, self.blocks.blocked_paths = True, [], []

    def call(self, name: str, arguments: list[Any]) -> None:
        """Raises what comes out of an endpoint, unless it is a sentence for the visitor or gradio's own refusal."""
        import gradio as gr
        from gradio.context import LocalContext

        function = self.named[name]
        wanted = len(function.inputs)
        padded = (arguments + [None] * wanted)[:wanted]
        LocalContext.blocks.set(self.blocks)
        try:
            self.loop.run_until_complete(
                self.blocks.process_api(function, padded, state=self.state, in_event_listener=False)
            )
        except gr.Error as error:
            if "Unexpected error (" in str(error.message):
                raise
        except GenError:
            pass
        except Exception as error:
            frames = traceback.extract_tb(error.__traceback__)
            if "/gen/" in frames[-1].filename:  # not gradio's own check of what it was sent
                raise


@cache
def page() -> Page:
    """One for all cases; it is made before the first."""
    return Page()


def cases() -> Any:
    """(endpoint, arguments)."""
    argument = st.one_of(
        st.sampled_from(WORDS), texts(), values(), st.lists(st.sampled_from(WORDS), max_size=3), _files()
    )
    wrong = st.one_of(
        texts(), st.floats(max_value=-1.0), st.integers(max_value=-1), st.none(), st.lists(texts(), max_size=2)
    )
    return st.sampled_from(sorted(page().named)).flatmap(
        lambda name: st.tuples(st.just(name), st.lists(wrong if name in SLOW else argument, max_size=7))
    )


def _files() -> Any:
    """What gradio calls a file; the path may lead anywhere."""
    path = st.sampled_from(["/etc/passwd", "x.jpg", "../../a.png", "", "https://example.org/a.jpg", "/dev/zero"])
    return st.fixed_dictionaries({"path": path, "meta": st.just({"_type": "gradio.FileData"})})


def check(case: tuple[str, list[Any]], folder: Path) -> None:
    """One call. What it writes goes to the page's folder."""
    page().call(*case)
