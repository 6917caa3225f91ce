"""Who may ask: only a page that this server has given out, in a browser of this machine.

Whoever runs a page elsewhere can make a browser ask 127.0.0.1, under this address or under a name that is made to lead
here (DNS rebinding), and cannot know the token nor set Host and Origin. The content-security policy lets the page load
and send nothing elsewhere, whatever a file's name or a report may hold.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# NiiVue needs no eval and no WebAssembly. It draws its letters from a picture that it has as data:, and reads that by
# fetch; blob: is for the thumbnails and masks that the page makes. `style-src` allows no inline style: the page sets
# styles by script (the CSSOM), which no policy forbids.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self' data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",  # the token is in the address
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
READING = ("GET", "HEAD")


class Guard:
    """Lets a request through that has the token in its path, and Host and Origin of this server.

    Args:
        app: what answers then, under the path behind the token.
        token: of the address: ``/TOKEN/...``.
        hosts: values of Host, such as ``127.0.0.1:8000``.
    """

    def __init__(self, app: ASGIApp, token: str, hosts: Iterable[str]) -> None:
        self.app = app
        self.token = token
        self.hosts = frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # no web sockets here
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        refused = self._refused(scope)
        if refused is not None:
            await refused(scope, receive, sending)
            return
        inner = dict(scope)
        inner["path"] = scope["path"][len(self.token) + 1 :]
        inner["raw_path"] = inner["path"].encode("utf-8", "surrogateescape")
        await self.app(inner, receive, sending)

    def _refused(self, scope: Scope) -> PlainTextResponse | None:
        headers = Headers(scope=scope)
        if headers.get("host") not in self.hosts:
            return PlainTextResponse("this server answers to 127.0.0.1 only", 421)
        origin = headers.get("origin")
        allowed = {f"http://{host}" for host in self.hosts}
        if origin not in allowed and (origin is not None or scope["method"] not in READING):
            return PlainTextResponse("another page may not ask this server", 403)
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            return PlainTextResponse("another page may not ask this server", 403)
        token, slash, _ = scope["path"].removeprefix("/").partition("/")
        given = token.encode("utf-8", "surrogateescape")
        if not slash or not hmac.compare_digest(given, self.token.encode()):
            return PlainTextResponse("use the address that `pipelines view` printed", 404)
        return None
