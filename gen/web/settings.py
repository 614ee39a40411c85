"""Settings of the web page: where it listens, its limits for uploads, where it keeps results."""

import os
from dataclasses import dataclass
from pathlib import Path

from gen.device_names import Device
from gen.errors import BadSetting
from gen.translation.settings import Runtime

LOOPBACK = ("127.0.0.1", "localhost", "::1")
WILDCARDS = ("0.0.0.0", "::", "")  # nosec B104
"""Hosts that stand for all addresses of this machine. Listening there needs a login; see `logins`."""
USERS = "GEN_USERS"


@dataclass(frozen=True)
class WebSettings:
    """Open gen in a browser. By default only this machine can reach the page."""

    host: str = "127.0.0.1"
    """Address to listen on. If other machines can reach it, set GEN_USERS=name:password in the environment."""
    port: int | None = None
    """TCP port; 0: any free one. Default: the first free one from 7860 on."""
    allowed_host: tuple[str, ...] = ()
    """More names under which browsers may address the server, for example the name of a proxy in front of it."""
    results: Path = Path("runs/web")
    """Folder for uploads, jobs and results."""
    root: Path | None = None
    """Folder on the server whose sub-folders visitors may translate by name. Default: uploads only."""
    keep_hours: float = 24.0
    """Hours after which results are deleted."""
    device: Device = "auto"
    """auto: the GPU if there is one."""
    runtime: Runtime = "auto"
    """What computes the networks of clips and folders on a CPU. auto: the faster of torch and OpenVINO, if that is
    installed, as measured for the first job of at least 200 frames. Single pictures are computed by torch."""
    share: bool = False
    """Open a public link through Gradio's servers; needs GEN_USERS too."""
    upload_mb: int = 500
    """Largest upload, MB."""
    megapixels: float = 40.0
    """Largest image or clip frame, megapixels."""
    clip_seconds: float = 300.0
    """Longest clip, seconds."""
    clip_frames: int = 36_000
    """Most frames of a clip."""
    files: int = 5000
    """Most files in one job, counting the files in zips."""
    unpacked_mb: int = 8000
    """Largest total size of one job's unpacked zips, MB."""
    disk_gb: float = 50.0
    """Most disk space for all uploads, jobs and results together, GB; further uploads are refused."""
    scenes: int = 2000
    """Most images in one rendered data set."""
    core_minutes: float = 10.0
    """Longest training run of a table of methods, minutes of processor time."""
    runs: int = 60
    """Most training runs of one table."""
    waiting: int = 64
    """Most requests, and most jobs, that may wait; further ones are refused."""
    tabs: tuple[str, ...] = ()
    """More tabs, as FILE.py:CLASS or MODULE:CLASS, for example my_tab.py:MyTab."""

    @property
    def pixels(self) -> int:
        """Most pixels of an image."""
        return int(self.megapixels * 1e6)


def check_runtime(settings: WebSettings) -> None:
    """Raises `BadSetting` if the package of `runtime` is missing."""
    if settings.runtime not in ("auto", "torch"):
        from gen.translation.runtimes.sessions import check_installed

        check_installed(settings.runtime)


def check_root(settings: WebSettings) -> None:
    """Raises `BadSetting` if `root` does not exist, or would let visitors read each other's results."""
    if settings.root is None:
        return
    root, results = settings.root.resolve(), settings.results.resolve()
    if not root.is_dir():
        raise BadSetting(f"root={settings.root}: no such folder.")
    if root.is_relative_to(results) or results.is_relative_to(root):
        raise BadSetting(
            f"root={settings.root}: must be apart from results={settings.results}, or visitors could read each "
            f"other's results."
        )


def logins(settings: WebSettings) -> list[tuple[str, str]] | None:
    """Names and passwords from $GEN_USERS. Raises `BadSetting` if they are malformed, or needed and missing."""
    text = os.environ.get(USERS, "")
    pairs = [tuple(part.split(":", 1)) for part in text.split(",") if part.strip()]
    if any(len(pair) != 2 or not all(pair) for pair in pairs):
        raise BadSetting(f"{USERS}: must be name:password, or several of them separated by commas.")
    if not pairs and (settings.host not in LOOPBACK or settings.share):
        cause = "share=True" if settings.share else f"host={settings.host}"
        raise BadSetting(f"{cause}: others could reach the page; set {USERS}=name:password to require a login.")
    return [(name.strip(), password) for name, password in pairs] or None  # pyright: ignore
