"""The Git server: an ASGI application that speaks git's smart HTTP protocol, for stock git from 2.25 on.

    GET  NAME.git/info/refs?service=git-upload-pack     what is there (fetch, clone, ls-remote)
    GET  NAME.git/info/refs?service=git-receive-pack    what is there, for a push
    POST NAME.git/git-upload-pack                       objects, please
    POST NAME.git/git-receive-pack                      objects, here they are

Nothing is served before `Entry` has said who it is and that they may. A refusal is plain text, which git shows as ``remote: …``.
"""

from __future__ import annotations

import json
import logging
import re
import zlib
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from trimtab.core.model.errors import NotFound, TrimtabError
from trimtab.core.model.text import one_line
from trimtab.plumbing.processes import ProcessError
from trimtab.ports.hosting import Denied, Entry, Principal, Receiver, Right

from .advertising import Kept, announced, for_fetches, for_pushes
from .body import Answer, Body, Gone, Pace, Receive, Send, TooLarge
from .fetching import fetch
from .hosting import GitHosting
from .limits import Limits
from .packets import Malformed
from .places import Place
from .receiving import Receiving
from .slots import Slots

Scope = MutableMapping[str, Any]
SERVICES: Mapping[str, Right] = {"git-upload-pack": "read", "git-receive-pack": "write"}
TEXT = "text/plain; charset=utf-8"
_PATH = re.compile(
    r"/(?P<name>[^\x00-\x20]{1,120}?)(?:\.git)?/(?P<rest>info/refs|git-upload-pack|git-receive-pack|info/lfs(?:/.*)?|HEAD|objects/.*)"
)
_PROTOCOLS = ("version=2", "version=1")
log = logging.getLogger(__name__)


class Stop(Exception):  # noqa: N818
    """An answer with this status and line, and nothing more."""

    def __init__(self, status: int, line: str, *headers: tuple[bytes, bytes]) -> None:
        self.status, self.line, self.headers = status, line, headers
        super().__init__(line)


@dataclass(frozen=True)
class Asked:
    """One request. ``service`` is "" for what is none of git's."""

    method: str
    name: str
    rest: str
    service: str
    protocol: str
    headers: Mapping[str, str]
    address: str


class GitServer:
    """``entry`` says who may come in, ``receiver`` what becomes of a push. Mount it where ``scope["path"]`` begins with ``prefix``."""

    def __init__(
        self, hosting: GitHosting, *, entry: Entry, receiver: Receiver, limits: Limits | None = None, prefix: str = "/git"
    ) -> None:
        self._hosting, self._entry, self._receiver = hosting, entry, receiver
        self._limits, self._prefix = limits or Limits(), prefix
        self._kept = Kept()
        self._fetches = Slots(self._limits.fetches, each=self._limits.fetches_each)
        self._pushes = Slots(self._limits.pushes, each=self._limits.pushes_each)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        pace = Pace(self._limits)
        answer = Answer(send, pace)
        try:
            await self._answer(_asked(scope, self._prefix), receive, answer, pace)
        except Stop as stop:
            await _stopped(answer, stop)
        except NotFound as error:
            await _stopped(answer, Stop(404, str(error)))
        except TooLarge:
            await _stopped(answer, Stop(413, "the request is larger than allowed"))
        except (Malformed, zlib.error) as error:
            await _stopped(answer, Stop(400, f"this is not git's protocol: {error}"))
        except Gone as gone:
            log.info("git %s: %s", one_line(scope["path"]), gone)
            await _stopped(answer, Stop(408, str(gone)))
        except (TrimtabError, ProcessError) as error:
            log.error("git %s: %s", one_line(scope["path"]), error)
            await _stopped(answer, Stop(503, str(error)))

    async def _answer(self, asked: Asked, receive: Receive, answer: Answer, pace: Pace) -> None:
        principal = await self._let_in(asked)
        if asked.rest.startswith("info/lfs"):
            return await _no_lfs(answer)
        if not asked.service:
            raise Stop(403, "This server speaks git's smart protocol only. Use git 2.25 or later, without GIT_SMART_HTTP=0")
        place = self._hosting.place(asked.name)
        if asked.rest == "info/refs":
            return await self._advertise(asked, place, answer)
        body = self._body(asked, receive, pace)

        async def left() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        if asked.service == "git-upload-pack":
            async with self._fetches.of(principal.name):
                return await fetch(place, asked.protocol, body, answer, left, self._kept, self._limits)
        async with self._pushes.of(principal.name):
            return await Receiving(place, principal, self._receiver, self._limits, body, answer, left).run()

    async def _let_in(self, asked: Asked) -> Principal:
        found = await self._entry.authenticate(asked.headers, asked.address)
        if isinstance(found, Denied):
            if found.retry_seconds:
                raise Stop(429, found.message, (b"retry-after", str(found.retry_seconds).encode()))
            raise Stop(401, found.message, (b"www-authenticate", b'Basic realm="Trimtab", charset="UTF-8"'))
        denied = await self._entry.permit(found, asked.name, SERVICES.get(asked.service, "read"))
        if denied is not None:
            raise Stop(403, denied.message)
        return found

    async def _advertise(self, asked: Asked, place: Place, answer: Answer) -> None:
        if asked.service == "git-receive-pack":
            told = announced(asked.service, for_pushes(place))
        else:
            key = ("info/refs", place.name, place.state, asked.protocol)
            told = announced(asked.service, await self._kept.get(key, lambda: for_fetches(place, asked.protocol)))
        await answer.whole(200, f"application/x-{asked.service}-advertisement", told)

    def _body(self, asked: Asked, receive: Receive, pace: Pace) -> Body:
        if asked.method != "POST" or asked.headers.get("content-type") != f"application/x-{asked.service}-request":
            raise Stop(415, f"send application/x-{asked.service}-request")
        encoding = asked.headers.get("content-encoding", "identity")
        if encoding not in ("gzip", "x-gzip", "identity"):
            raise Stop(415, "send it plain, or as gzip")
        limits = self._limits
        bytes_max = limits.request_bytes if asked.service == "git-upload-pack" else 2 * limits.pack_bytes
        return Body(receive, pace, gzip=encoding.endswith("gzip"), bytes_max=bytes_max)


def _asked(scope: Scope, prefix: str) -> Asked:
    """Raises Stop for what nobody asks a Git server."""
    path = scope["path"].removeprefix(prefix)
    found = _PATH.fullmatch(path)
    if found is None or scope["method"] not in ("GET", "POST"):
        raise Stop(404, "There is nothing here. A repository is at /git/NAME.git")
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    rest = found["rest"]
    service = rest
    if rest == "info/refs":
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"), max_num_fields=8)
        service = query.get("service", [""])[0] if scope["method"] == "GET" else ""
    sent = headers.get("git-protocol", "")
    protocol = next((each for each in _PROTOCOLS if each in sent.split(":")), "") if service == "git-upload-pack" else ""
    client = scope.get("client")
    return Asked(
        scope["method"],
        found["name"],
        rest,
        service if service in SERVICES else "",
        protocol,
        headers,
        str(client[0]) if client else "",
    )


async def _stopped(answer: Answer, stop: Stop) -> None:
    if not answer.begun:
        headers = (*stop.headers, (b"connection", b"close")) if stop.status in (408, 413) else stop.headers
        await answer.whole(stop.status, TEXT, f"{one_line(stop.line)}\n".encode(), headers)


async def _no_lfs(answer: Answer) -> None:
    message = "Git LFS is not served here: commit the files themselves, or set lfs.url to a server that has it"
    data = json.dumps({"message": message}).encode()
    await answer.whole(501, "application/vnd.git-lfs+json", data)
