"""Who we are to an API server, kept fresh: tokens and certificates that are fixed, in files that change, or printed by a plugin.

`current` is asked before every request and answers from memory but for once a minute (files) or when the credential ends (plugins).
`renew` is called with the credential that a server has just refused: it looks again, once for all that were refused with the same one.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from trimtab.core.model.errors import TransientError
from trimtab.ports.clock import Clock

from .connection import Material, User

FILES_SECONDS = 60.0
"""A mounted token is replaced when a fifth of its hour is left, so a minute's lag is no risk."""
FILE_BYTES_MAX = 1024 * 1024


@dataclass(frozen=True)
class Credential:
    """What goes with a request: a bearer token, a client certificate, both or neither."""

    token: str = field(default="", repr=False)
    certificate: bytes | None = field(default=None, repr=False)
    key: bytes | None = field(default=None, repr=False)

    @property
    def fingerprint(self) -> str:
        """Tells certificates apart without showing them; "" for none."""
        return hashlib.sha256(self.certificate + b"\0" + (self.key or b"")).hexdigest() if self.certificate else ""


class Credentials(Protocol):
    async def current(self) -> Credential:
        """Raises TransientError when there is none to be had now."""
        ...

    async def renew(self, refused: Credential) -> bool:
        """True when there is another one than ``refused`` to try. Raises TransientError."""
        ...


class Fixed:
    """Never changes."""

    def __init__(self, credential: Credential) -> None:
        self._credential = credential

    async def current(self) -> Credential:
        return self._credential

    async def renew(self, refused: Credential) -> bool:
        return self._credential != refused


class Files:
    """Read from files, again each minute and when refused. While a file is unreadable, what it said before holds."""

    def __init__(self, user: User, clock: Clock) -> None:
        self._user, self._clock = user, clock
        self._credential: Credential | None = None
        self._read_at = 0.0
        self._lock = asyncio.Lock()

    async def current(self) -> Credential:
        if self._credential is None or self._clock.monotonic() - self._read_at > FILES_SECONDS:
            async with self._lock:
                if self._credential is None or self._clock.monotonic() - self._read_at > FILES_SECONDS:
                    await self._read()
        assert self._credential is not None
        return self._credential

    async def renew(self, refused: Credential) -> bool:
        async with self._lock:
            if self._credential == refused:
                await self._read()
        return self._credential != refused

    async def _read(self) -> None:
        try:
            self._credential = await asyncio.to_thread(self._look)
        except OSError as error:
            if self._credential is None:
                raise TransientError(f"read the credentials in {error.filename}: {error.strerror or error}") from error
        self._read_at = self._clock.monotonic()

    def _look(self) -> Credential:
        user = self._user
        certificate = read(user.certificate) if user.certificate is not None else None
        key = read(user.key) if user.key is not None else None
        return Credential(self._token(), certificate, key)

    def _token(self) -> str:
        """That of the file; while there is none in it, the fixed one."""
        path, spare = self._user.token_file, self._user.token
        if path is None:
            return spare
        try:
            token = "".join(read(path).decode("ascii", "ignore").split())
            if not token:
                raise OSError(errno.ENODATA, "it is empty", str(path))
        except OSError:
            if not spare:
                raise
            return spare
        return token


def read(material: Material) -> bytes:
    """The bytes, or those of the file. Raises OSError."""
    if isinstance(material, bytes):
        return material
    with Path(material).open("rb") as file:
        return file.read(FILE_BYTES_MAX)


def of(user: User, clock: Clock) -> Credentials:
    """For every user but those with a plugin."""
    if user.token_file is not None or isinstance(user.certificate, Path) or isinstance(user.key, Path):
        return Files(user, clock)
    return Fixed(Credential(user.token, user.certificate, user.key))
