"""Who is let in: the right host name, the right token, a small enough body. Everything else is turned away before any route.

The check of the Host header is against DNS rebinding: a web page whose name was made to point at this machine sends its own name.
The token protects a unix socket too, so that a wrong file mode alone opens nothing. /healthz and /readyz say nothing but "ok".
"""

from __future__ import annotations

import hmac
import ipaddress
import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trimtab.core.model.views import ErrorView

from .answers import json

BODY_BYTES_MAX = 64 * 1024
OPEN = frozenset({"/healthz", "/readyz"})
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_HOST = re.compile(r"(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<name>[A-Za-z0-9.-]+))(?::[0-9]{1,5})?")


class Guard:
    def __init__(self, app: ASGIApp, *, token: str) -> None:
        if not token:
            raise ValueError("an empty token would let everybody in")
        self._app = app
        self._expected = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        send = _with_headers(send)
        refusal = self._refusal(scope["path"], Headers(scope=scope))
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, path: str, headers: Headers) -> Response | None:
        if not is_loopback(headers.get("host", "")):
            return json(ErrorView("this server answers to loopback names only", "Ask for 127.0.0.1 or localhost"), 421)
        if path in OPEN:
            return None
        if not self._knows(headers):
            remedy = "Send `Authorization: Bearer TOKEN` with the content of the file `token` in the server's data directory"
            return json(ErrorView("the token is missing or wrong", remedy), 401, {"WWW-Authenticate": "Bearer"})
        if _length(headers) > BODY_BYTES_MAX:
            return json(ErrorView(f"the body is larger than {BODY_BYTES_MAX} bytes", "Send less"), 413)
        return None

    def _knows(self, headers: Headers) -> bool:
        given = headers.getlist("authorization")
        return len(given) == 1 and hmac.compare_digest(given[0].encode(), self._expected)


def is_loopback(host: str) -> bool:
    """True for `localhost`, 127.0.0.0/8 and ::1 in brackets, with or without a port."""
    parts = _HOST.fullmatch(host)
    if parts is None:
        return False
    name = parts["name"] or parts["six"]
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _length(headers: Headers) -> int:
    given = headers.get("content-length", "0")
    return int(given) if given.isascii() and given.isdigit() else BODY_BYTES_MAX + 1


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sending
