"""Who is let in: the right host name, somebody who is known, a small enough body. Everything else is turned away before any route.

The check of the Host header is against DNS rebinding: a web page whose name was made to point at this machine sends its own name.
A token is asked for on a unix socket too, so that a wrong file mode alone opens nothing. /healthz and /readyz say nothing but "ok".

Behind a proxy the address that a login comes from is in X-Forwarded-For. It is believed from addresses alone that `Names` calls
trusted, and only its last entry that no trusted address has: what stands before it, anybody may have written.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trimtab.core.model.errors import UserError
from trimtab.core.model.rights import Refusal
from trimtab.core.model.views import ErrorView
from trimtab.ports.people import People

from .answers import json

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
PRINCIPAL = "trimtab.principal"
"""Where the Principal stands in the scope of a request that was let in."""
BODY_BYTES_MAX = 64 * 1024
GIT = "/git/"
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


@dataclass(frozen=True)
class Names:
    """``hosts`` are names that the server answers to beside those of this machine; ``trusted`` are the addresses of proxies."""

    hosts: frozenset[str] = frozenset()
    trusted: tuple[Network, ...] = ()

    @classmethod
    def read(cls, public_url: str, hosts: tuple[str, ...], trusted: tuple[str, ...]) -> Names:
        """Raises UserError for what is no URL, no host name, or no address."""
        found = {host.lower() for host in hosts}
        if public_url:
            parts = urlsplit(public_url)
            if (
                parts.scheme not in ("http", "https")
                or not parts.hostname
                or parts.query
                or parts.fragment
                or "@" in parts.netloc
            ):
                raise UserError(
                    f"the public URL {public_url} is none",
                    remedy="Write it as people reach the server: https://trimtab.example.com",
                )
            found.add(parts.hostname.lower())
        for host in found:
            if _HOST.fullmatch(host if ":" not in host else f"[{host}]") is None:
                raise UserError(f"{host} is no host name", remedy="Write a name alone, such as trimtab.example.com")
        try:
            networks = tuple(ipaddress.ip_network(one) for one in trusted)
        except ValueError as error:
            raise UserError(f"a trusted proxy: {error}", remedy="Write an address or a network, such as 10.0.0.0/8") from error
        return cls(frozenset(found), networks)

    def answers_to(self, host: str) -> bool:
        """``host`` as it stands in the header, with or without a port."""
        return is_loopback(host) or _name(host) in self.hosts

    def client(self, peer: str, forwarded: list[str]) -> str:
        """The address that a request comes from: the peer, or what a trusted peer says, as far back as trusted ones vouch for it."""
        chain = [one.strip() for line in forwarded for one in line.split(",")]
        while chain and self._trusts(peer):
            peer = chain.pop()
        return peer

    def _trusts(self, address: str) -> bool:
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in self.trusted)


class Guard:
    def __init__(self, app: ASGIApp, *, access: People, names: Names, git: ASGIApp | None = None) -> None:
        """``git`` answers what is below `GIT`, and asks by itself who comes and how much they send."""
        self._app = app
        self._access = access
        self._names = names
        self._git = git

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        send = _with_headers(send)
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._names.answers_to(hosts[0]):
            remedy = "Ask for 127.0.0.1 or localhost, or start the server with --public-url"
            app: ASGIApp = json(ErrorView("this server does not answer to that host name", remedy), 421)
        elif len(headers.getlist("authorization")) > 1:
            # Whoever stands in front may have looked at the other one; and who reads headers into a mapping sees one of them only.
            app = json(ErrorView("there is more than one Authorization header", "Send one"), 401)
        elif self._git is not None and scope["path"].startswith(GIT):
            app = self._git
            scope["client"] = (self._address(scope, headers), 0)
        else:
            app = await self._refusal(scope, headers) or self._app
        await app(scope, receive, send)

    async def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        if scope["path"] in OPEN:
            return None
        found = await self._access.authenticate(scope["headers"], self._address(scope, headers))
        if isinstance(found, Refusal):
            return _refused(found)
        scope[PRINCIPAL] = found
        if _length(headers) > BODY_BYTES_MAX:
            return json(ErrorView(f"the body is larger than {BODY_BYTES_MAX} bytes", "Send less"), 413)
        return None

    def _address(self, scope: Scope, headers: Headers) -> str:
        client = scope.get("client")
        return self._names.client(client[0] if client else "", headers.getlist("x-forwarded-for"))


def _refused(refusal: Refusal) -> Response:
    headers = {"WWW-Authenticate": "Bearer"} if refusal.status == 401 else {"Retry-After": str(refusal.retry_after)}
    return json(ErrorView(refusal.reason, refusal.remedy), refusal.status, headers)


def _name(host: str) -> str:
    parts = _HOST.fullmatch(host)
    return (parts["name"] or parts["six"]).lower() if parts is not None else ""


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
