"""Visitors at the same time: each gets their own picture, heavy events keep their limit, and status never waits."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from PIL import Image

from gen.errors import BadSetting
from gen.hda.adaptation import Adaptation
from gen.translation.norm import StatisticsSmoother
from gen.web import translate
from gen.web.app import build_app, launch
from gen.web.draw import DrawStep
from gen.web.lanes import Lanes
from gen.web.settings import WebSettings
from tests.translation.test_weathers import save_tiny

SOURCE = "stylegan2-faces64"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    settings = WebSettings(results=tmp_path_factory.mktemp("results"), megapixels=2, port=0)
    page, service = build_app(settings)
    _, url, _ = launch(page, settings, quiet=True, show_error=True)
    yield url.rstrip("/"), service
    service.jobs.close()
    page.close()


def run(url: str, endpoint: str, *data):
    """Around the queue, as a script may do."""
    answer = httpx.post(f"{url}/gradio_api/run/{endpoint}", json={"data": data}, timeout=120)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def upload(url: str, path: Path) -> dict:
    answer = httpx.post(f"{url}/gradio_api/upload", files={"files": (path.name, path.read_bytes())}, timeout=60)
    return {"path": answer.json()[0], "meta": {"_type": "gradio.FileData"}}


def adapted(service, seed: int) -> str:
    """The number of an Adapt job that has left some adaptation."""
    pipe = service.generator(SOURCE)
    random = torch.Generator().manual_seed(seed)
    changed = {k: 0.3 * torch.randn(v.shape, generator=random) for k, v in pipe.source.items() if "affine" in k}
    ident = service.jobs.new_folder()
    Adaptation(f"a{seed}", pipe.fingerprint, changed, {}).save(
        service.jobs.folder(ident) / "run" / "adaptation.safetensors"
    )
    return ident


def test_draws_at_once_equal_those_one_by_one(server):
    url, service = server
    numbers = ["", adapted(service, 1), adapted(service, 2)]
    wanted = [(numbers[i % 3], 0.2 + 0.1 * i, numbers[(i + 1) % 3], i / 14, f"{i}") for i in range(14)]

    def arguments(case):
        number, strength, second, share, seeds = case
        return SOURCE, number, min(strength, 1.5), second, share, seeds, 0.7

    def draw(case):
        """By HTTP, around the queue."""
        (file,) = run(url, "draw", *arguments(case))
        return np.asarray(Image.open(file["path"]))

    def draw_directly(case):
        """Around the lanes too: the model itself must keep visitors apart."""
        return np.asarray(Image.open(DrawStep.draw.__wrapped__(tab, *arguments(case))))

    tab = DrawStep(service)
    alone = [draw_directly(case) for case in wanted]
    for way in (draw, draw_directly):
        with ThreadPoolExecutor(14) as pool:
            together = list(pool.map(way, wanted))
        assert [np.array_equal(a, b) for a, b in zip(alone, together, strict=True)] == [True] * 14
    assert not np.array_equal(alone[1], alone[4])


def test_weights_that_were_exported_again_are_loaded_again(server, tmp_path, monkeypatch):
    """Marks name the weights that lie in the folder."""
    monkeypatch.setenv("GEN_WEIGHTS", str(tmp_path))
    service, model = server[1], save_tiny(tmp_path / "mine", ["night"])
    first = service.translator("mine")
    assert service.translator("mine") is first
    save_tiny(Path(model), ["night"], seed=1)
    assert service.translator("mine") is not first


def test_a_translator_keeps_threads_apart(server):
    """A clip's averages hang on the network while one of its frames passes through."""
    pipe = server[1].translator("augan-night2day")
    random = torch.Generator().manual_seed(0)
    clips = torch.randint(0, 255, (6, 3, 1, 48, 64, 3), dtype=torch.uint8, generator=random)

    def translated(index):
        smoother = StatisticsSmoother(0.5) if index % 2 else None
        direction = "normal_to_adverse" if index % 3 == 0 else "adverse_to_normal"
        return [pipe.translate_frames(frame, direction, smoother=smoother)[0] for frame in clips[index]]

    alone = [translated(index) for index in range(6)]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(translated, range(6)))
    assert all(torch.equal(x, y) for a, b in zip(alone, together, strict=True) for x, y in zip(a, b, strict=True))


@pytest.fixture
def counted(monkeypatch):
    """How many translations are under way at the same time, at most."""
    lock, state = threading.Lock(), {"now": 0, "most": 0}
    decode = translate.decode_still

    def slow(path):
        with lock:
            state["now"] += 1
            state["most"] = max(state["most"], state["now"])
        time.sleep(0.1)
        with lock:
            state["now"] -= 1
        return decode(path)

    monkeypatch.setattr(translate, "decode_still", slow)
    return state


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures") / "small.png"
    Image.new("RGB", (64, 48), "navy").save(path)
    return path


def test_ten_translations_around_the_queue_keep_the_limit(server, small, counted):
    url, _ = server
    file = upload(url, small)
    with ThreadPoolExecutor(10) as pool:
        given = [file, "adverse_to_normal", "augan-night2day", "fast", 0.8]
        results = list(pool.map(lambda _: run(url, "translate", *given), range(10)))
    assert len(results) == 10
    assert counted["most"] == 1


def test_status_is_answered_while_translations_wait(server, small, counted):
    """50 visitors who look at their job, by both ways, while the queue of translations is full."""
    url, service = server
    file = upload(url, small)
    number = service.jobs.new_folder()
    service.jobs.submit("scenes", number, {"settings": {"per_class": 1, "styles": [], "scenes": [], "size": 16}})
    translation = {"data": [file, "adverse_to_normal", "augan-night2day", "fast", 0.8]}
    slowest = 0.0

    async def look(client: httpx.AsyncClient) -> list[int]:
        nonlocal slowest
        statuses = []
        for endpoint, data in (("job", number), ("model_card", "augan-night2day")):
            began = time.monotonic()
            statuses.append((await client.post(f"/run/{endpoint}", json={"data": [data]})).status_code)
            queued = await client.post(f"/call/{endpoint}", json={"data": [data]})
            statuses.append(queued.status_code)
            said = await client.get(f"/call/{endpoint}/{queued.json()['event_id']}")
            assert "event: complete" in said.text
            slowest = max(slowest, time.monotonic() - began)
        return statuses

    async def all_at_once() -> None:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=f"{url}/gradio_api", timeout=120, limits=limits) as client:
            work = [await client.post("/call/translate", json=translation) for _ in range(80)]
            assert {answer.status_code for answer in work} == {200, 503}  # the queue of translations is full
            for statuses in await asyncio.gather(*(look(client) for _ in range(50))):
                assert set(statuses) == {200}

    asyncio.run(all_at_once())
    assert slowest < 30


def test_a_lane_refuses_when_too_many_wait():
    async def check() -> list[object]:
        lanes, go = Lanes(waiting=2), threading.Event()
        first = [asyncio.create_task(lanes.run("device", go.wait)) for _ in range(3)]
        await asyncio.sleep(0.05)
        with pytest.raises(BadSetting, match="2 requests are already waiting"):
            await lanes.run("device", go.wait)
        assert await lanes.run("status", lambda: 7) == 7
        go.set()
        return await asyncio.gather(*first)

    assert asyncio.run(check()) == [True] * 3
