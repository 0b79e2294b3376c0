"""One bounded HTTP request after the other: bytes, seconds, redirections. Credentials go to the host that they are for, and only safely."""

from __future__ import annotations

import asyncio
import ipaddress
import urllib.request
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin, urlsplit

from trimtab.core.model.errors import TransientError, UserError
from trimtab.core.model.text import one_line, without_credentials

from .credentials import Credentials

if TYPE_CHECKING:  # what only a download needs is loaded by the first one
    import aiohttp

SECONDS_MAX: Final = 60.0
REDIRECTIONS_MAX: Final = 5
_MOVED: Final = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str


class Downloads:
    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._session: aiohttp.ClientSession | None = None

    async def get(self, url: str, doing: str, *, bytes_max: int) -> bytes:
        """Raises TransientError unless the answer is 200: what is missing or forbidden today may be there tomorrow."""
        answer = await self.ask(url, doing, bytes_max=bytes_max)
        if answer.status != 200:
            raise refused(answer, doing)
        return answer.body

    async def ask(self, url: str, doing: str, *, bytes_max: int, headers: Mapping[str, str] | None = None) -> Answer:
        """Any answer; redirections are followed. Raises TransientError when there is none in time, UserError for an address that is none."""
        import aiohttp

        first = _place(url)
        own = dict(headers or {})
        try:
            async with asyncio.timeout(SECONDS_MAX):
                for _ in range(REDIRECTIONS_MAX + 1):
                    answer = await self._once(url, own if _place(url) == first else _bare(own), bytes_max, doing)
                    if answer.status not in _MOVED or "Location" not in answer.headers:
                        return answer
                    url = _next(url, answer.headers["Location"], doing)
        except TimeoutError as error:
            raise TransientError(f"{doing}: no answer from {_shown(url)} within {SECONDS_MAX:g} s", remedy=_REMEDY) from error
        except (aiohttp.ClientError, OSError) as error:
            said = one_line(str(error)) or type(error).__name__
            raise TransientError(f"{doing}: {_shown(url)}: {said}", remedy=_REMEDY) from error
        raise TransientError(f"{doing}: {_shown(url)} redirects more than {REDIRECTIONS_MAX} times")

    async def _once(self, url: str, headers: Mapping[str, str], bytes_max: int, doing: str) -> Answer:
        from yarl import URL

        told = {"User-Agent": "trimtab", **headers}
        if "Authorization" not in told and (authorization := self.authorization(url)):
            told["Authorization"] = authorization
        async with self._open().get(URL(url, encoded=True), headers=told, allow_redirects=False, proxy=_proxy(url)) as response:
            body = bytearray()
            async for chunk in response.content.iter_chunked(64 * 1024):
                body += chunk
                if len(body) > bytes_max:
                    text = f"{doing}: {_shown(url)} answers more than {bytes_max} bytes"
                    raise UserError(text, remedy="Name another version or another repository")
            return Answer(response.status, response.headers, bytes(body), url)

    def authorization(self, url: str) -> str:
        """What the host of ``url`` is told of us; "" when nothing is known, or nobody may overhear it and somebody could."""
        parts = urlsplit(url)
        login = self._credentials.of(parts.hostname or "", parts.port)
        if login is None:
            return ""
        if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
            raise UserError(
                f"send credentials to {_shown(url)}: that is not encrypted", remedy="Use https, or remove the credentials"
            )
        return "Basic " + b64encode(f"{login.name}:{login.secret}".encode()).decode()

    def _open(self) -> aiohttp.ClientSession:
        import aiohttp

        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=SECONDS_MAX, sock_connect=15)
            self._session = aiohttp.ClientSession(timeout=timeout, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar())
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


_REMEDY: Final = "It is tried again by itself; see that this machine reaches it"


def refused(answer: Answer, doing: str) -> TransientError:
    remedy = "See that its credentials are right" if answer.status in (401, 403) else _REMEDY
    return TransientError(f"{doing}: {_shown(answer.url)} answers {answer.status}", remedy=remedy)


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _next(url: str, location: str, doing: str) -> str:
    to = urljoin(url, location)
    scheme, host = urlsplit(to).scheme, urlsplit(to).hostname or ""
    if scheme not in ("http", "https") or (url.startswith("https:") and scheme != "https"):
        raise UserError(f"{doing}: {_shown(url)} redirects to {_shown(to)}, which is not https", remedy="Use another repository")
    if is_loopback(host) and not is_loopback(urlsplit(url).hostname or ""):
        raise UserError(f"{doing}: {_shown(url)} redirects to this machine", remedy="Use another repository")
    return to


def _place(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port


def _bare(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name != "Authorization"}


def _proxy(url: str) -> str | None:
    parts = urlsplit(url)
    if urllib.request.proxy_bypass(parts.hostname or "") or is_loopback(parts.hostname or ""):
        return None
    return urllib.request.getproxies().get(parts.scheme)


def _shown(url: str) -> str:
    """Without a query: what stands there may be a signature."""
    return one_line(without_credentials(url).partition("?")[0])
