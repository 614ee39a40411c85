"""Where the page listens: a free port, with errors that say what to change, and no proxy on the way to itself."""

import errno
import os
import socket
from collections.abc import Generator, Iterable
from contextlib import contextmanager

from gen.errors import BadSetting
from gen.web.settings import WILDCARDS, WebSettings

PORTS = range(7860, 7960)
"""Tried in this order if no port is given."""


def choose_port(settings: WebSettings) -> int:
    """The port to listen on. Raises `BadSetting` if it cannot be listened on."""
    if settings.port is None:
        found = _first_free(settings.host, PORTS)
        if found is None:
            raise BadSetting(
                f"ports {PORTS[0]} to {PORTS[-1]} are all in use; choose a port, or set port=0 for any free one."
            )
        return found
    if not 0 <= settings.port <= 65535:
        raise BadSetting(f"port must be from 0 to 65535, not {settings.port}.")
    port = _try(settings.host, settings.port)
    if port is None:
        free = _first_free(settings.host, range(settings.port + 1, min(settings.port + 100, 65536)))
        other = f"port={free} is free" if free else "choose another"
        raise BadSetting(
            f"port={settings.port}: another program listens on this port; {other}, or set port=0 for any free one."
        )
    return port


def _first_free(host: str, ports: Iterable[int]) -> int | None:
    return next((port for port in ports if _try(host, port) is not None), None)


def _try(host: str, port: int) -> int | None:
    """The port, or for 0 a free one; None if it is in use. Raises `BadSetting` if it can never be listened on."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError) as error:
        raise BadSetting(f"host={host}: unknown host name; use 127.0.0.1, or 0.0.0.0 for all addresses.") from error
    with socket.socket(family, kind, protocol) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # ports of connections that just ended are free
        try:
            tried.bind(address)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return None
            raise _refused(host, port, error) from error
        return tried.getsockname()[1]


def _refused(host: str, port: int, error: OSError) -> BadSetting:
    if error.errno == errno.EADDRNOTAVAIL:
        return BadSetting(
            f"host={host}: this machine has no such address; use 127.0.0.1, or 0.0.0.0 for all addresses."
        )
    if error.errno == errno.EACCES:
        return BadSetting(
            f"port={port}: not permitted; ports below 1024 need an administrator, so use 7860 for example."
        )
    return BadSetting(f"host={host}, port={port}: cannot be listened on ({error.strerror}).")


@contextmanager
def without_proxy(host: str) -> Generator[None]:
    """Within the block, requests to this server go to it directly, whatever proxy the environment names.

    Gradio asks its own address whether it answers before it says that it runs.
    """
    before = {name: os.environ.get(name) for name in ("no_proxy", "NO_PROXY")}
    direct = ["localhost", "127.0.0.1", "::1", *([host] if host not in WILDCARDS else [])]
    kept = [value for value in before.values() if value]
    os.environ.update(dict.fromkeys(before, ",".join([*kept, *direct])))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
