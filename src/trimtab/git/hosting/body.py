"""The body of a request, as it comes: counted, unpacked when it is gzip, from a client that may be slow, but not for ever.

Nothing is kept but the piece at hand, so however much is sent, the memory that it takes is the same. Sending has the same patience.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any, TypeVar

from .limits import Limits

T = TypeVar("T")
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
PIECE_BYTES = 256 * 1024


class Gone(Exception):  # noqa: N818
    """The client has left, or is too slow to wait for. ``line`` says which."""


class TooLarge(Exception):  # noqa: N818
    """More than was allowed has come."""


class Pace:
    """How long one client has been waited for, against how much it has sent or taken."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._waited, self._bytes = 0.0, 0

    async def waits(self, awaited: Awaitable[T], size: Callable[[T], int]) -> T:
        begun = time.monotonic()
        try:
            async with asyncio.timeout(self._limits.idle_seconds):
                result = await awaited
        except TimeoutError:
            raise Gone(f"nothing came for {self._limits.idle_seconds:g} s") from None
        self._waited += time.monotonic() - begun
        self._bytes += size(result)
        if self._waited > self._limits.idle_seconds + self._bytes / self._limits.rate_bytes:
            raise Gone(f"it is slower than {self._limits.rate_bytes} bytes a second")
        return result


class Body:
    """``bytes_max`` is of what comes out. Iterate, or `read` all of it."""

    def __init__(self, receive: Receive, pace: Pace, *, gzip: bool, bytes_max: int) -> None:
        self._receive, self._pace, self._bytes_max = receive, pace, bytes_max
        self._unzip = zlib.decompressobj(wbits=31) if gzip else None
        self.bytes = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Raises Gone, TooLarge, or zlib.error."""
        more = True
        while more:
            message = await self._pace.waits(self._receive(), lambda got: len(got.get("body", b"")))
            if message["type"] != "http.request":
                raise Gone("the client has left")
            more = message.get("more_body", False)
            for piece in self._pieces(message.get("body", b"")):
                self.bytes += len(piece)
                if self.bytes > self._bytes_max:
                    raise TooLarge
                yield piece

    async def read(self) -> bytes:
        return b"".join([piece async for piece in self])

    def _pieces(self, data: bytes) -> list[bytes] | _Unzipped:
        if self._unzip is None:
            return [data] if data else []
        return _Unzipped(self._unzip, data)


class _Unzipped:
    """In pieces, as a thousand bytes may come out of each."""

    def __init__(self, unzip: Any, data: bytes) -> None:
        self._unzip, self._data = unzip, data

    def __iter__(self) -> Any:
        while self._data:
            piece = self._unzip.decompress(self._data, PIECE_BYTES)
            self._data = self._unzip.unconsumed_tail
            if piece:
                yield piece
            elif not self._data:
                return


class Answer:
    """What goes to the client; waits while it does not take it."""

    def __init__(self, send: Send, pace: Pace) -> None:
        self._send, self._pace = send, pace
        self.begun = False

    async def begin(self, status: int, content_type: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        self.begun = True
        fixed = ((b"content-type", content_type.encode()), (b"cache-control", b"no-cache, max-age=0, must-revalidate"))
        await self._send({"type": "http.response.start", "status": status, "headers": [*fixed, *headers]})

    async def send(self, data: bytes) -> None:
        """Raises Gone."""
        message: Message = {"type": "http.response.body", "body": data, "more_body": True}
        await self._pace.waits(self._send(message), lambda _: len(data))

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def whole(self, status: int, content_type: str, data: bytes, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        await self.begin(status, content_type, (*headers, (b"content-length", str(len(data)).encode())))
        await self._send({"type": "http.response.body", "body": data, "more_body": False})
