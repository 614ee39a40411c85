"""What every request passes before gradio sees it: the checks of Host, Origin and size, and the brake on logins."""

import logging
import re
from urllib.parse import urlsplit

from anyio import CancelScope, to_thread
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gen.errors import BadInput
from gen.web.brake import Brake
from gen.web.settings import LOOPBACK, WILDCARDS, WebSettings
from gen.web.storage import Storage

MAX_BODY = 8_000_000
"""Bytes of a request that is not an upload. The largest proper one names the uploads of a job."""
HEADERS = {"X-Content-Type-Options": "nosniff", "X-Frame-Options": "SAMEORIGIN", "Referrer-Policy": "same-origin"}
LOGIN = ("/login", "/login/")
UPLOAD = ("/gradio_api/upload", "/gradio_api/upload/")
POSTS = re.compile(r"/gradio_api/((run|api|call|call/v2)/[^/]+|queue/join|cancel|reset)/?")
"""What the page and scripts send besides uploads and logins. Gradio has more routes, for features that this page does
not use; one of them runs ffmpeg on any upload, without the checks of `gen.web.limits`."""
TOO_LARGE = "The request is too large; upload files instead of sending them in it."
log = logging.getLogger(__name__)


class Guard:
    """ASGI middleware around gradio's app."""

    def __init__(self, app: ASGIApp, settings: WebSettings, storage: Storage, login: bool) -> None:
        """`login`: visitors must log in."""
        self.app, self.storage, self.brake = app, storage, Brake()
        self.hosts = allowed_hosts(settings)
        self.trusted = frozenset(map(bare, settings.allowed_host))
        # With a login, other machines reach the server under names that it does not know. A page of another name that
        # leads here (DNS rebinding) then has no cookie, so the check is only needed without a login.
        self.any_host = login and not settings.allowed_host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or pass it on."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        refused = self.refusal(Headers(scope=scope))
        if refused is not None and scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        elif refused is not None:
            await _refuse(refused, 403)(scope, receive, _hardened(send))
        elif scope["type"] == "http" and scope["method"] == "POST":
            await self._post(scope, receive, _hardened(send))
        else:
            await self.app(scope, receive, _hardened(send))

    def refusal(self, headers: Headers) -> str | None:
        """Why a request of another site is refused; None for a proper one."""
        host, origin = headers.get("host", ""), headers.get("origin")
        # Browsers send no Origin for pictures and links. A link may lead here; a picture on another page may not.
        foreign = headers.get("sec-fetch-site") in ("cross-site", "same-site")
        name = hostname(f"//{host}")
        if not self.any_host and name not in self.hosts:
            return f"Host {name or '(none)'} is not allowed; the operator can add it with --allowed-host."
        if foreign and origin is None and headers.get("sec-fetch-dest") != "document":
            return "Requests from other pages are not allowed; open the page itself."
        # A page that a proxy serves under an allowed name has that name as its origin, whatever Host the proxy sends.
        if origin is None or origin.partition("://")[2].lower() == host.lower() or hostname(origin) in self.trusted:
            return None
        return f"Requests from {origin[:100]} are not allowed; open the page itself."

    async def _post(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] in LOGIN:
            await self._log_in(scope, receive, send)
        elif scope["path"] in UPLOAD:
            await self._upload(scope, receive, send)
        elif POSTS.fullmatch(scope["path"]) is None:
            await _refuse("There is no such address.", 404)(scope, receive, send)
        elif _length(scope) > MAX_BODY:
            await _refuse(TOO_LARGE, 413)(scope, receive, send)
        else:
            await self._pass_on(scope, _limited(receive), send)

    async def _upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        length = _length(scope)
        if length == 0:  # chunked: nobody knows whether the disk has room for it
            await _refuse("Uploads need a Content-Length.", 411)(scope, receive, send)
            return
        try:
            await to_thread.run_sync(self.storage.check, length)
        except BadInput as error:
            await _refuse(str(error), 507)(scope, receive, send)
            return
        self.storage.begin(length)
        try:
            await self._pass_on(scope, receive, send)
        finally:
            with CancelScope(shield=True):  # also if the visitor has left
                await to_thread.run_sync(self.storage.end, length)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let gradio answer. It does not expect unknown endpoints, or parts of an upload without a file."""
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except HTTPException:  # of `_limited`
            raise
        except ClientDisconnect:
            log.info("%s: the visitor left", scope["path"])
        except Exception:
            if started:
                raise
            log.exception("%s failed", scope["path"])
            await _refuse("The request is malformed.", 400)(scope, receive, send)

    async def _log_in(self, scope: Scope, receive: Receive, send: Send) -> None:
        address = (scope.get("client") or ("unknown",))[0]
        wait = self.brake.begin(address)
        if wait > 0:
            detail = f"Too many failed logins; try again in {wait:.0f} s."
            await JSONResponse({"detail": detail}, 429, {"Retry-After": f"{wait:.0f}"})(scope, receive, send)
            return

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] < 400:
                self.brake.succeeded(address)
            await send(message)

        await self.app(scope, _limited(receive), watched)


def _length(scope: Scope) -> int:
    """The length that a request announces; 0: none."""
    text = Headers(scope=scope).get("content-length", "")
    return int(text) if text.isdecimal() and len(text) < 19 else 0


def _limited(receive: Receive) -> Receive:
    """`receive`, for at most `MAX_BODY` bytes: the length may be missing, as in chunked requests."""
    came = 0

    async def counted() -> Message:
        nonlocal came
        message = await receive()
        came += len(message.get("body", b""))
        if came > MAX_BODY:
            raise HTTPException(413, TOO_LARGE)
        return message

    return counted


def _refuse(why: str, status: int) -> JSONResponse:
    return JSONResponse({"detail": why, "error": why}, status)  # the names that FastAPI and gradio use


def allowed_hosts(settings: WebSettings) -> frozenset[str]:
    """Names under which the server may be addressed, in lower case."""
    bound = () if settings.host in WILDCARDS else (settings.host,)
    return frozenset(map(bare, (*LOOPBACK, *bound, *settings.allowed_host)))


def bare(host: str) -> str:
    """A host as `hostname` returns it."""
    return host.strip("[]").lower()


def hostname(url: str) -> str:
    """The host of a URL, in lower case and without port and brackets; "" if there is none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _hardened(send: Send) -> Send:
    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return with_headers
