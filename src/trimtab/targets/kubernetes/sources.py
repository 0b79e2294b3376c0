"""Where a kubeconfig comes from that may be another one tomorrow: files of this machine, or a Secret of another cluster. Out: a Connection."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from trimtab.core.model.errors import UserError

from . import kubeconfig
from .client import Client
from .connection import Connection
from .resources import Resource
from .settings import KubeconfigSecret

SECRETS = Resource("", "v1", "secrets", "Secret", namespaced=True)


class Source(Protocol):
    @property
    def name(self) -> str: ...

    async def read(self) -> Connection:
        """What it says now. Raises TrimtabError, whose words show nothing of what is secret."""
        ...

    async def close(self) -> None: ...


class InFiles:
    """``load`` reads ``files``. While one of them is away, which is so for a moment when it is written anew, nothing is made of the rest."""

    name = "the kubeconfig"

    def __init__(self, files: Sequence[Path], load: Callable[[], Connection]) -> None:
        self._files, self._load = files, load

    async def read(self) -> Connection:
        return await asyncio.to_thread(self._read)

    def _read(self) -> Connection:
        away = next((file for file in self._files if not file.exists()), None)
        if away is not None:
            raise UserError(f"{away} is not there")
        return self._load()

    async def close(self) -> None:
        """Nothing is held open."""


class InSecret:
    """Read by ``holder``, the client of the cluster that has the Secret, which is closed with it.

    The content is no file of this machine: it may neither start programs nor name files, and nothing of it is shown.
    """

    def __init__(self, holder: Client, secret: KubeconfigSecret) -> None:
        self._holder, self._secret = holder, secret
        self.name = f"the kubeconfig in Secret {secret.namespace}/{secret.name}"

    async def read(self) -> Connection:
        return kubeconfig.parse(await self._content(), origin=self.name, context=self._secret.context)

    async def close(self) -> None:
        await self._holder.close()

    async def _content(self) -> bytes:
        secret = self._secret
        found = (await self._holder.get(SECRETS, secret.namespace, secret.name)).body().get("data") or {}
        if secret.key not in found:
            raise UserError(f"it has no {secret.key}", remedy="Name the key that has the kubeconfig in kubeconfigSecret.key")
        try:
            return base64.b64decode(found[secret.key], validate=True)
        except (binascii.Error, ValueError, TypeError):
            raise UserError(f"its {secret.key} is not base64") from None
