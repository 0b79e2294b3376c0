"""What a push asks for: refs to move, options, then the pack. Bytes come in as they arrive; a Request comes out, and where the pack begins.

Lines are ``OLD NEW REF``, the first with the client's capabilities after a NUL. Whatever does not fit raises Malformed.
(gitprotocol-pack(5), "Reference Update Request and Packfile Transfer")
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from trimtab.core.model.text import one_line
from trimtab.ports.hosting import RefUpdate

from .limits import Limits
from .packets import Malformed, Packets

_COMMAND = re.compile(rb"([0-9a-f]{40}) ([0-9a-f]{40}) ([^\n]+)\n?", re.DOTALL)
_ZERO = "0" * 40
HEAD_BYTES_MAX = 4 * 1024 * 1024


@dataclass
class Request:
    """``rest`` is what has come of the pack already."""

    updates: list[RefUpdate] = field(default_factory=list)
    capabilities: frozenset[str] = frozenset()
    options: list[str] = field(default_factory=list)
    rest: bytes = b""

    @property
    def with_pack(self) -> bool:
        return any(update.new for update in self.updates)


async def read(body: AsyncIterator[bytes], limits: Limits) -> Request:
    """Raises Malformed. A request with no update is a client that only asks whether it may."""
    packets, request = Packets(), Request()
    async for data in _part(packets, body):
        _command(request, data, limits)
    if "push-options" in request.capabilities:
        async for data in _part(packets, body):
            _option(request, data, limits)
    request.rest = bytes(packets.buffer)
    return request


async def _part(packets: Packets, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Packets up to the flush."""
    read = 0
    while True:
        data = packets.take()
        if data == b"":
            return
        if data is not None:
            read += len(data)
            if read > HEAD_BYTES_MAX:
                raise Malformed("the push names too much")
            yield data
            continue
        piece = await anext(body, None)
        if piece is None:
            raise Malformed("the push ends too early")
        packets.feed(piece)


def _command(request: Request, data: bytes, limits: Limits) -> None:
    if data.startswith(b"shallow "):
        return  # What a shallow clone lacks is here, or the check for missing objects says so.
    text, _, capabilities = data.partition(b"\0")
    if capabilities and not request.updates:
        request.capabilities = frozenset(capabilities.decode("utf-8", "replace").split())
    found = _COMMAND.fullmatch(text)
    if found is None:
        raise Malformed("a line is no ref update")
    if len(request.updates) >= limits.updates:
        raise Malformed(f"the push moves more than {limits.updates} refs; push them in several pushes")
    old, new = (("" if group == _ZERO else group) for group in (found[1].decode(), found[2].decode()))
    ref = found[3].decode("utf-8", "surrogateescape")
    if any(ref == other.ref for other in request.updates):
        raise Malformed("a ref is named twice")
    request.updates.append(RefUpdate(ref, old, new))


def _option(request: Request, data: bytes, limits: Limits) -> None:
    if len(request.options) >= limits.options or len(data) > limits.option_bytes:
        raise Malformed(f"more than {limits.options} push options, or one of more than {limits.option_bytes} bytes")
    request.options.append(one_line(data.decode("utf-8", "replace"), characters_max=limits.option_bytes))
