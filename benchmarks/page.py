"""Rows of the page: many visitors at once."""

import asyncio
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from benchmarks.rows import Row, copies

CLIENTS, EACH, PORT = 50, 20, 7955


def page() -> Iterator[Row]:
    """50 clients, each with 20 translations of 320x180, one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        (frame,) = copies(Path(folder) / "frames", 1, (320, 180))
        server = subprocess.Popen(
            [sys.executable, "app.py", "--port", str(PORT), "--results", folder],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            alone = asyncio.run(visits(frame, 1, EACH))
            before = resident(server.pid)
            times = asyncio.run(visits(frame, CLIENTS, EACH))
            more = resident(server.pid) - before
        finally:
            server.terminate()
            server.wait(60)
    one, slowest = statistics.median(alone), statistics.quantiles(times, n=20)[-1]
    name = f"95th percentile of a translation, {CLIENTS} clients with {EACH} each, {more:.0f} MB more memory"
    yield Row(name, slowest, CLIENTS * one, f"{CLIENTS} times a translation alone")


async def visits(frame: Path, clients: int, each: int) -> list[float]:
    """Seconds of each translation, its wait included. Raises if one is not served."""
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{PORT}/gradio_api", timeout=600, limits=limits) as client:
        await started(client)
        found = await asyncio.gather(*(visit(client, frame, each) for _ in range(clients)))
    return list(itertools.chain.from_iterable(found))


async def started(client: httpx.AsyncClient) -> None:
    """Wait for the server."""
    while True:
        try:
            await client.get("/info")
            return
        except httpx.TransportError:
            await asyncio.sleep(0.2)


async def visit(client: httpx.AsyncClient, frame: Path, each: int) -> list[float]:
    """Upload a picture and translate it, again and again."""
    (path,) = (await client.post("/upload", files={"files": (frame.name, frame.read_bytes())})).json()
    data = [{"path": path, "meta": {"_type": "gradio.FileData"}}, "adverse_to_normal", "augan-night2day", "fast", 0.8]
    times: list[float] = []
    for _ in range(each):
        began = time.perf_counter()
        while (answer := await client.post("/call/translate", json={"data": data})).status_code == 503:
            await asyncio.sleep(1)  # the queue is full, and says so
        event = answer.raise_for_status().json()["event_id"]
        said = (await client.get(f"/call/translate/{event}")).text
        if "event: complete" not in said:
            raise RuntimeError(said[-300:])
        times.append(time.perf_counter() - began)
    return times


def resident(process: int) -> float:
    """Resident memory of a process in MB, from /proc."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
