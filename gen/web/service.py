"""What all tabs share: the settings, models that are loaded once, and the job table."""

import functools
import shutil
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from gen import weights
from gen.devices import pick_device
from gen.errors import BadInput, unknown
from gen.web import translation
from gen.web.estimate import Pace
from gen.web.job import Job
from gen.web.jobs import JobContext, Jobs
from gen.web.lanes import Lanes
from gen.web.messages import Messages
from gen.web.results import RESULTS
from gen.web.settings import WebSettings
from gen.web.storage import Storage

if TYPE_CHECKING:
    from gen.hda.pipeline import HDAPipeline


M = TypeVar("M")


class JobKind(NamedTuple):
    """A kind of background job."""

    lane: str
    """Jobs of one lane run one at a time. "device" is for networks, "render" for work on the processor."""
    run: "Callable[[Service, JobContext], None]"
    """Does the work in a thread: reads `context.job.inputs`, writes below `context.folder`, reports progress."""
    results: tuple[str, ...] = (RESULTS,)
    """Files offered for download, relative to the job's folder. Those that do not exist are left out."""


class Service:
    """The state of one server, shared by its visitors."""

    def __init__(self, settings: WebSettings, kinds: Mapping[str, JobKind]) -> None:
        """`kinds`: every kind of job that the tabs start. Raises `BadSetting` if another server uses the folder."""
        self.settings, self.kinds = settings, dict(kinds)
        self.lanes = Lanes(settings.waiting)
        self.messages = Messages(settings.results, settings.root)
        self.storage = Storage(settings.results, settings.disk_gb)
        self.pace = Pace()
        self._lock = threading.Lock()
        self._loaded: dict[str, tuple[str | None, Any]] = {}
        """Models by name, each with the id of the weights that it was loaded from."""
        work = {name: (kind.lane, functools.partial(kind.run, self)) for name, kind in self.kinds.items()}
        folder = settings.results.resolve() / "jobs"
        self.jobs = Jobs(
            folder, work, settings.keep_hours, settings.waiting, self.messages.plain, self.storage.delete_old
        )

    def device(self) -> str:
        """The device that networks run on, as torch names it."""
        return str(pick_device(self.settings.device))

    def translator(self, name: str) -> translation.Pipeline:
        """The translation model of this name, loaded once, and again when its weights have changed.

        Raises `BadInput` for a name that is not available.
        """
        check_offered(name, translation.translators())
        return self._once(name, lambda: translation.load(name, self.device()))

    def _once(self, name: str, load: Callable[[], M]) -> M:
        """What `load` gives, kept until the model's folder has other weights: a report names those of the folder."""
        present = translation.present_weights_id(name)
        with self._lock:  # two visitors must not load the same model twice
            if name not in self._loaded or self._loaded[name][0] != present:
                self._loaded[name] = (present, load())
            return self._loaded[name][1]

    def generator(self, name: str) -> "HDAPipeline":
        """The generator of this name, loaded once. Raises `BadInput` for a name that is not available.

        It keeps its adaptations and strengths between calls: hold its `lock` while you set them and draw.
        """
        from diffusers.utils.logging import disable_progress_bar

        from gen.hda.pipeline import HDAPipeline

        def load() -> HDAPipeline:
            disable_progress_bar()
            pipe = HDAPipeline.from_pretrained(name).to(self.device())
            pipe.generator.requires_grad_(False)
            return pipe

        check_offered(name, generators())
        return self._once(name, load)

    def new_job(self) -> AbstractContextManager[str]:
        """As `Jobs.preparing`. Raises `BadInput` too, if the disk has no room for results."""
        self.storage.check(1)
        return self.jobs.preparing()

    @contextmanager
    def new_folder(self) -> Generator[Path]:
        """A folder for results that need no job; deleted after `keep_hours`, or at once if the block fails.

        Raises `BadInput` if the disk has no room.
        """
        self.storage.check(1)
        folder = self.jobs.folder(self.jobs.new_folder())
        try:
            yield folder
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def limits(self) -> WebSettings:
        """The settings, with what may be unpacked now: no more than the disk has room for."""
        return replace(self.settings, unpacked_mb=min(self.settings.unpacked_mb, self.storage.left() // 1_000_000))

    def result_files(self, job: Job) -> list[str]:
        """Paths of the files that this job offers for download so far."""
        folder = self.jobs.folder(job.id)
        return [str(folder / name) for name in self.kinds[job.kind].results if (folder / name).exists()]


def check_offered(name: object, offered: list[str]) -> None:
    """Raises `BadInput` if `name` is not in the list: a visitor must not name a path or start a download."""
    if name not in offered:
        raise BadInput(unknown("name", name, offered))


def generators() -> list[str]:
    """Names of the available generators."""
    return weights.models_of("HDAPipeline")
