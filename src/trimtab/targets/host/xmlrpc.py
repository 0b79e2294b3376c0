"""XML-RPC over a unix socket, asynchronously: method and arguments in, value out. For supervisord's own socket only, which is
ours alone to reach, so its answers are trusted. One connection for each call: supervisord looks at its children at each accept,
which is what makes a restart quick.
"""

from __future__ import annotations

import asyncio
import os
import xmlrpc.client  # the peer is our own supervisord, behind a socket of mode 0700
from pathlib import Path
from typing import Any

CALL_SECONDS = 10.0
ANSWER_BYTES_MAX = 32 * 1024 * 1024

Fault = xmlrpc.client.Fault


class Unreachable(Exception):  # noqa: N818 - translated by the caller
    """Nobody answers on the socket."""


class Client:
    """Calls methods of the server that listens on ``name`` in ``directory``."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._name = name

    async def call(self, method: str, *arguments: Any, timeout_seconds: float = CALL_SECONDS) -> Any:
        """Raises Fault (the method says no) or Unreachable (gone, stuck, talks nonsense)."""
        body = xmlrpc.client.dumps(arguments, method).encode()
        head = f"POST /RPC2 HTTP/1.0\r\nContent-Type: text/xml\r\nContent-Length: {len(body)}\r\n\r\n"
        try:
            async with asyncio.timeout(timeout_seconds):
                answer = await self._exchange(head.encode() + body)
            status, _, content = answer.partition(b"\r\n\r\n")
            if b" 200 " not in status.split(b"\r\n", 1)[0]:
                raise Unreachable(f"supervisord answered {status[:100]!r}")
            return xmlrpc.client.loads(content)[0][0]
        except (OSError, TimeoutError, EOFError) as error:
            raise Unreachable(str(error) or type(error).__name__) from error

    async def _exchange(self, request: bytes) -> bytes:
        reader, writer = await open_unix(self._directory, self._name, limit=ANSWER_BYTES_MAX)
        try:
            writer.write(request)
            await writer.drain()
            return await reader.read(-1)
        finally:
            writer.close()


async def open_unix(directory: Path, name: str, *, limit: int = 64 * 1024) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to a unix socket in ``directory``, however long that path is.

    The path of a unix socket is bounded to 107 bytes (unix(7)), but the kernel resolves a short one through an open directory.
    """
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return await asyncio.open_unix_connection(f"/proc/self/fd/{fd}/{name}", limit=limit)
    finally:
        os.close(fd)
