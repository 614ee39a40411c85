"""Settings of the web page: where it listens, what it lets in, where it keeps results."""

import os
from dataclasses import dataclass
from pathlib import Path

from gen.errors import BadSetting

LOOPBACK = ("127.0.0.1", "localhost", "::1")
USERS = "GEN_USERS"


@dataclass(frozen=True)
class WebSettings:
    """Open gen in a browser. It listens on this machine alone unless told otherwise."""

    host: str = "127.0.0.1"
    """Address to listen on; any but this machine's own needs a login, in the environment as GEN_USERS=name:password."""
    port: int | None = None
    """None: the first free one from 7860."""
    results: Path = Path("runs/web")
    """Folder for uploads, jobs and results."""
    root: Path | None = None
    """Folder on the server whose sub-folders visitors may translate by name; none: uploads only."""
    keep_hours: float = 24.0
    """Results older than this are deleted."""
    device: str | None = None
    """cuda, cpu, ...; none: the GPU where there is one."""
    share: bool = False
    """Open a public link through Gradio's servers; needs a login too."""
    upload_mb: int = 500
    """Largest file."""
    megapixels: float = 40.0
    """Largest picture or clip frame."""
    clip_seconds: float = 300.0
    """Longest clip."""
    files: int = 5000
    """Most files of a job, unpacked."""
    unpacked_mb: int = 8000
    """What a job's zips may unpack to in all."""
    scenes: int = 2000
    """Most pictures of one rendered data set."""
    waiting: int = 32
    """Requests and jobs that may wait; more are turned away."""

    @property
    def pixels(self) -> int:
        """Most pixels of a picture."""
        return int(self.megapixels * 1e6)


def check_root(settings: WebSettings) -> None:
    """Raises `BadSetting` where the open folder would show visitors each other's results."""
    if settings.root is None:
        return
    root, results = settings.root.resolve(), settings.results.resolve()
    if not root.is_dir():
        raise BadSetting(f"root={settings.root}: there is no such folder.")
    if root.is_relative_to(results) or results.is_relative_to(root):
        raise BadSetting(f"root={settings.root}: it must lie apart from results={settings.results}, which is secret.")


def logins(settings: WebSettings) -> list[tuple[str, str]] | None:
    """Names and passwords from the environment. Raises `BadSetting` where they are needed and missing."""
    text = os.environ.get(USERS, "")
    pairs = [tuple(part.split(":", 1)) for part in text.split(",") if part.strip()]
    if any(len(pair) != 2 or not all(pair) for pair in pairs):
        raise BadSetting(f"{USERS}: give name:password, several with commas between.")
    if not pairs and (settings.host not in LOOPBACK or settings.share):
        raise BadSetting(f"--host {settings.host}: others could reach the page; set {USERS}=name:password for a login.")
    return [(name.strip(), password) for name, password in pairs] or None  # pyright: ignore
