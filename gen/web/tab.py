"""What a tab is."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import ClassVar

import gradio as gr

from gen.web.service import JobKind, Service


class Tab(ABC):
    """A tab of the page: its components, its events, and the kinds of job that its buttons start.

    To add one, write a subclass in a file of its own and add a row to `TABS` in gen/web/app.py.
    """

    TITLE: ClassVar[str]
    """Shown in the tab bar."""
    JOBS: ClassVar[Mapping[str, JobKind]] = {}
    """By name, as job records store it."""

    def __init__(self, service: Service) -> None:
        self.service = service

    @abstractmethod
    def build(self, page: gr.Blocks) -> None:
        """Add components and events. Called once, with the tab open as gradio's current container."""


def job_kinds(tabs: Iterable[type[Tab]]) -> dict[str, JobKind]:
    """All kinds of job of these tabs. Raises ValueError if two tabs use one name for different kinds."""
    kinds: dict[str, JobKind] = {}
    for tab in tabs:
        for name, kind in tab.JOBS.items():
            if kinds.setdefault(name, kind) != kind:
                raise ValueError(f"{tab.__name__}.JOBS: {name!r} is a job of another tab; choose another name.")
    return kinds
