"""What requests of other sites, large requests and guessed passwords meet."""

import asyncio

import pytest
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from gen.web.brake import FORGET, FREE, FREE_ALL, LONGEST, LONGEST_ALL, Brake, checker, network
from gen.web.guard import MAX_BODY, Guard
from gen.web.settings import WebSettings
from gen.web.storage import Storage


async def inner(scope, receive, send):
    body = await Request(scope, receive).body()
    await PlainTextResponse(f"{len(body)} bytes")(scope, receive, send)


RUN, UPLOAD = "/gradio_api/run/job", "/gradio_api/upload"


def guard(tmp_path, login=False, **settings) -> Guard:
    (tmp_path / "uploads").mkdir(exist_ok=True)
    return Guard(inner, WebSettings(results=tmp_path, **settings), Storage(tmp_path, 1.0), login)


def ask(guard, path="/", method="GET", body=(b"",), **headers) -> tuple[int, str, dict[str, str]]:
    """Status, text and headers of an answer."""
    headers = {"host": "localhost:7860"} | {name.replace("_", "-"): value for name, value in headers.items()}
    chunks, sent = list(body), []

    async def receive():
        return {"type": "http.request", "body": chunks.pop(0), "more_body": bool(chunks)}

    async def send(message):
        sent.append(message)

    raw = [(k.encode(), v.encode()) for k, v in headers.items()]
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "headers": raw,
        "query_string": b"",
        "client": ("1.2.3.4", 5),
    }
    try:
        asyncio.run(guard(scope, receive, send))
    except Exception as error:
        return getattr(error, "status_code", 0), str(getattr(error, "detail", error)), {}
    text = b"".join(m.get("body", b"") for m in sent).decode()
    return sent[0]["status"], text, dict(Headers(raw=sent[0]["headers"]))


class TestHosts:
    @pytest.mark.parametrize("host", ["localhost", "localhost:7860", "127.0.0.1:1", "[::1]:7860", "LOCALHOST"])
    def test_this_machine(self, tmp_path, host):
        assert ask(guard(tmp_path), host=host)[0] == 200

    @pytest.mark.parametrize(
        "host", ["evil.example", "localhost.evil.example", "", "127.0.0.1.nip.io", "[", "a@localhost.x"]
    )
    def test_another_name_leads_here(self, tmp_path, host):
        status, text, _ = ask(guard(tmp_path), host=host)
        assert status == 403
        assert "is not allowed" in text

    def test_names_that_the_operator_allows(self, tmp_path):
        allowing = guard(tmp_path, allowed_host=("Gen.Example",))
        assert ask(allowing, host="gen.example:443", origin="https://gen.example:443")[0] == 200
        assert ask(allowing, host="127.0.0.1:7860", origin="https://gen.example")[0] == 200  # a proxy changed Host
        assert ask(allowing, host="other.example")[0] == 403

    def test_the_address_that_it_is_bound_to(self, tmp_path):
        assert ask(guard(tmp_path, host="192.0.2.7"), host="192.0.2.7:7860")[0] == 200
        assert ask(guard(tmp_path, host="0.0.0.0"), host="0.0.0.0:7860")[0] == 403

    def test_with_a_login_any_name_is_served_unless_some_are_allowed(self, tmp_path):
        assert ask(guard(tmp_path, login=True), host="gen.example")[0] == 200
        assert ask(guard(tmp_path, login=True, allowed_host=("gen.example",)), host="other.example")[0] == 403


class TestOrigins:
    @pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "PUT"])
    @pytest.mark.parametrize(
        "origin", ["https://evil.example", "null", "http://localhost:3000", "http://127.0.0.1:7860", "", "file://"]
    )
    def test_of_another_site(self, tmp_path, method, origin):
        for path in ("/", "/gradio_api/upload", "/gradio_api/queue/join", "/gradio_api/run/draw", "/login"):
            assert ask(guard(tmp_path, login=True), path, method, origin=origin)[0] == 403

    @pytest.mark.parametrize("site", ["cross-site", "same-site"])
    def test_pictures_on_another_page(self, tmp_path, site):
        assert ask(guard(tmp_path), sec_fetch_site=site, sec_fetch_dest="image")[0] == 403
        assert ask(guard(tmp_path), sec_fetch_site=site, sec_fetch_dest="document")[0] == 200  # a link

    def test_of_the_page_itself(self, tmp_path):
        assert ask(guard(tmp_path), "/gradio_api/queue/join", "POST", origin="http://localhost:7860")[0] == 200

    def test_websockets_are_closed(self, tmp_path):
        sent = []

        async def send(message):
            sent.append(message)

        scope = {"type": "websocket", "path": "/", "headers": [(b"host", b"evil.example")]}
        asyncio.run(guard(tmp_path)(scope, None, send))
        assert sent == [{"type": "websocket.close", "code": 1008}]


def test_answers_cannot_be_framed_or_sniffed(tmp_path):
    *_, headers = ask(guard(tmp_path))
    assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "SAMEORIGIN")


class TestSizes:
    @pytest.mark.parametrize("length", [str(MAX_BODY + 1), None])
    def test_a_large_request_that_is_no_upload(self, tmp_path, length):
        headers = {"content_length": length} if length else {}
        status, text, _ = ask(guard(tmp_path), path=RUN, method="POST", body=[b"x" * 1_000_000] * 9, **headers)
        assert status == 413
        assert "too large" in text

    def test_a_request_that_pretends_to_be_an_upload(self, tmp_path):
        headers = {"content_type": "multipart/form-data; boundary=x"}
        assert ask(guard(tmp_path), path=RUN, method="POST", body=[b"x" * 1_000_000] * 9, **headers)[0] == 413

    def test_uploads_when_the_disk_is_used_up(self, tmp_path):
        full = guard(tmp_path)
        full.storage = Storage(tmp_path, 0.005)
        status, text, _ = ask(full, path=UPLOAD, method="POST", content_length="2000000000")
        assert status == 507
        assert "no room" in text
        assert full.storage._coming == 0

    def test_uploads_of_unknown_length(self, tmp_path):
        assert ask(guard(tmp_path), path=UPLOAD, method="POST", body=[b"x" * 10])[0] == 411

    def test_uploads_count_while_they_arrive(self, tmp_path):
        seen = []

        async def looking(scope, receive, send):
            seen.append(asked.storage._coming)
            await PlainTextResponse("")(scope, receive, send)

        asked = guard(tmp_path)
        asked.app = looking
        assert ask(asked, path=UPLOAD, method="POST", content_length="7")[0] == 200
        assert (seen, asked.storage._coming) == ([7], 0)

    @pytest.mark.parametrize("route", ["process_recording", "component_server", "vibe-edit", "stream/x", "run/a/b"])
    def test_routes_that_the_page_does_not_use(self, tmp_path, route):
        assert ask(guard(tmp_path), path=f"/gradio_api/{route}", method="POST")[0] == 404

    def test_what_gradio_does_not_expect(self, tmp_path):
        async def failing(scope, receive, send):
            raise KeyError("nope")

        failed = guard(tmp_path)
        failed.app = failing
        assert ask(failed, path=RUN, method="POST")[:2] == (
            400,
            '{"detail":"The request is malformed.","error":"The request is malformed."}',
        )

    def test_proper_ones_pass(self, tmp_path):
        assert ask(guard(tmp_path), path=RUN, method="POST", body=[b"x" * 10] * 3)[1] == "30 bytes"


class TestBrake:
    class Clock:
        now = 1000.0

        def __call__(self) -> float:
            return self.now

    def test_the_wait_doubles_up_to_a_limit_and_is_forgotten(self):
        clock = self.Clock()
        brake = Brake(clock)
        waits = []
        for _ in range(FREE + 15):
            if wait := brake.begin("1.2.3.4"):
                waits.append(wait)
                clock.now += wait
                assert brake.begin("1.2.3.4") == 0
        assert waits[:4] == [1, 2, 4, 8]
        assert max(waits) == LONGEST
        clock.now += FORGET + 1
        assert brake.begin("1.2.3.4") == 0

    def test_300_passwords_in_16_seconds_are_a_handful(self):
        clock = self.Clock()
        brake, tried = Brake(clock), 0
        for _ in range(300):
            tried += brake.begin("1.2.3.4") == 0
            clock.now += 16 / 300
        assert tried < FREE + 6

    def test_many_addresses_are_slowed_down_together_but_not_for_long(self):
        clock = self.Clock()
        brake = Brake(clock)
        tried = sum(brake.begin(f"10.0.{i // 250}.{i % 250}") == 0 for i in range(1000))
        assert tried == FREE_ALL
        clock.now += LONGEST_ALL
        assert brake.begin("9.9.9.9") == 0

    def test_a_right_password_clears_the_address(self):
        brake = Brake(self.Clock())
        for _ in range(20):
            assert brake.begin("1.2.3.4") == 0
            brake.succeeded("1.2.3.4")

    def test_an_ipv6_line_is_one_visitor(self):
        assert network("2001:db8::1") == network("2001:db8::ffff:1") != network("2001:db8:0:1::1")
        assert network("::ffff:1.2.3.4") == network("1.2.3.4") == "1.2.3.4"

    def test_names_and_passwords(self):
        check = checker([("ann", "one"), ("bob", "t:wo")])
        assert check("ann", "one")
        assert check("bob", "t:wo")
        assert not any(
            check(*pair) for pair in (("ann", "t:wo"), ("bob", "one"), ("", ""), ("ann", ""), ("ann", "one\ud800"))
        )
