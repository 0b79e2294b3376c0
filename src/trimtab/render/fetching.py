"""Charts from chart repositories, by their digest: from the directory that keeps them, or downloaded once and checked.

Only this process downloads, never the child that renders. An answer is bounded in bytes and time, a redirection does not take the
credentials along, and what has another digest than the one that is pinned is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from pathlib import Path
from typing import Final

from trimtab.core.model.errors import UserError
from trimtab.core.model.limits import Limits
from trimtab.core.model.text import without_credentials

from . import registry
from .credentials import Credentials
from .download import Downloads
from .lock import COMMAND, FILE, Pin

_KEPT_MAX: Final = 1_000
"""Archives that stay on the disk; those that were used longest ago go."""


class Charts:
    """``directory`` may be deleted at any time."""

    def __init__(self, directory: Path, credentials: Credentials, limits: Limits) -> None:
        self._directory = directory
        self._limits = limits
        self.downloads = Downloads(credentials)
        self._fetching: dict[str, asyncio.Lock] = {}

    async def archive(self, pin: Pin) -> bytes:
        """Raises UserError when the content is not the one that is pinned, TransientError when it cannot be had now."""
        async with self._fetching.setdefault(pin.digest, asyncio.Lock()):
            kept = await asyncio.to_thread(self._kept, pin.digest)
            if kept is not None:
                return kept
            data = await self._fetch(pin)
            await asyncio.to_thread(self._keep, pin.digest, data)
            return data

    async def _fetch(self, pin: Pin) -> bytes:
        doing = f"fetch the chart {pin.wanted}"
        if pin.url.startswith(registry.SCHEME):
            data = await registry.content(self.downloads, pin.url, doing, self._limits)
        else:
            data = await self.downloads.get(pin.url, doing, bytes_max=self._limits.download_bytes)
        found = digest_of(data)
        if found != pin.digest:
            raise UserError(
                f"{doing}: what {without_credentials(pin.url)} has now is {found}, and {FILE} pins {pin.digest}",
                remedy=f"Ask who publishes it why it has changed; if that is right, `{COMMAND} --update` pins what is there now",
            )
        return data

    def _kept(self, digest: str) -> bytes | None:
        path = self._path(digest)
        try:
            data = path.read_bytes()
        except OSError:
            return None
        if digest_of(data) != digest:
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return data

    def _keep(self, digest: str, data: bytes) -> None:
        """A disk that does not take it costs another download and no more."""
        path = self._path(digest)
        unfinished = path.with_name(f".{path.name}.{os.getpid()}")
        with contextlib.suppress(OSError):
            self._directory.mkdir(parents=True, exist_ok=True)
            unfinished.write_bytes(data)
            unfinished.replace(path)
            kept = sorted(self._directory.glob("*.tgz"), key=lambda one: one.stat().st_mtime)
            for old in kept[:-_KEPT_MAX]:
                old.unlink(missing_ok=True)

    def _path(self, digest: str) -> Path:
        return self._directory / f"{digest.replace(':', '-')}.tgz"

    async def close(self) -> None:
        await self.downloads.close()


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
