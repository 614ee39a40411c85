"""What every request passes before gradio sees it: the checks of Host, Origin and size, and the brake on logins."""

import logging
from urllib.parse import urlsplit

from anyio import to_thread
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
        name = hostname(f"//{host}")
        if not self.any_host and name not in self.hosts:
            return f"Host {name or '(none)'} is not allowed; the operator can add it with --allowed-host."
        # A page that a proxy serves under an allowed name has that name as its origin, whatever Host the proxy sends.
        if origin is None or origin.partition("://")[2].lower() == host.lower() or hostname(origin) in self.trusted:
            return None
        return f"Requests from {origin[:100]} are not allowed; open the page itself."

    async def _post(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] in LOGIN:
            await self._log_in(scope, receive, send)
            return
        headers = Headers(scope=scope)
        upload = headers.get("content-type", "").startswith("multipart/form-data")
        length = headers.get("content-length", "")
        announced = int(length) if length.isdigit() else 0
        try:
            if upload:
                await to_thread.run_sync(self.storage.check, announced)
            elif announced > MAX_BODY:
                raise BadInput(TOO_LARGE)
        except BadInput as error:
            await _refuse(str(error), 507 if upload else 413)(scope, receive, send)
            return
        if upload:
            self.storage.begin(announced)
        try:
            await self._pass_on(scope, self._counting(receive, upload, announced), send)
        finally:
            if upload:
                self.storage.end(announced)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let gradio answer. It does not expect unknown endpoints, or parts of an upload without a file."""
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except HTTPException:  # of `_counting`
            raise
        except ClientDisconnect:
            log.info("%s: the visitor left", scope["path"])
        except Exception:
            if started:
                raise
            log.exception("%s failed", scope["path"])
            await _refuse("The request is malformed.", 400)(scope, receive, send)

    def _counting(self, receive: Receive, upload: bool, announced: int) -> Receive:
        """`receive`, with a limit on what arrives: the length may be missing, as in chunked requests."""
        came = checked = 0

        async def counted() -> Message:
            nonlocal came, checked
            message = await receive()
            came += len(message.get("body", b""))
            if not upload and came > MAX_BODY:
                raise HTTPException(413, TOO_LARGE)
            if upload and came - max(announced, checked) > MAX_BODY:  # the disk is looked at every few megabytes
                checked = came
                try:
                    await to_thread.run_sync(self.storage.check, MAX_BODY)
                except BadInput as error:
                    raise HTTPException(507, str(error)) from None
            return message

        return counted

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

        await self.app(scope, self._counting(receive, False, 0), watched)


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
