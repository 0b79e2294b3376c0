"""Credentials that a program prints: exec plugins by `client.authentication.k8s.io/v1` and `v1beta1`.

The program is run when there is no credential, when the one there is ends, or when the server refuses it; never twice at a time, and
after a failure not again before a pause, so that a broken plugin does not cost a process per request. It gets the whole environment, as
under kubectl (it may need its cloud's variables), and what the protocol tells it in KUBERNETES_EXEC_INFO; it has no terminal.
"""

from __future__ import annotations

import asyncio
import base64
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from trimtab.core.model.errors import TransientError
from trimtab.core.model.text import one_line
from trimtab.plumbing import processes
from trimtab.ports.clock import Clock

from .connection import Cluster, Plugin
from .credentials import Credential, read

RUN_SECONDS_MAX = 60.0
OUTPUT_BYTES_MAX = 1024 * 1024
AHEAD = timedelta(seconds=5)
"""A token is replaced this long before it ends, so that none ends under way."""
PAUSE_SECONDS = 5.0
"""The least time between two runs that were no use."""
API = "client.authentication.k8s.io/"


class _Printed(msgspec.Struct, rename="camel"):
    token: str = ""
    client_certificate_data: str = ""
    client_key_data: str = ""
    expiration_timestamp: datetime | None = None


class _Credential(msgspec.Struct, rename="camel"):
    api_version: str
    kind: str
    status: _Printed | None = None


class PluginCredentials:
    """``environment`` is the whole one that the program gets, before what the plugin's own entry adds."""

    def __init__(self, plugin: Plugin, cluster: Cluster, *, environment: Mapping[str, str], clock: Clock) -> None:
        self._plugin, self._cluster, self._clock = plugin, cluster, clock
        self._environment = environment
        self._credential: Credential | None = None
        self._ends: datetime | None = None
        self._failure: TransientError | None = None
        self._ran_at = -math.inf
        self._lock = asyncio.Lock()

    async def current(self) -> Credential:
        if not self._fresh():
            async with self._lock:
                if not self._fresh():
                    await self._run()
        assert self._credential is not None
        return self._credential

    async def renew(self, refused: Credential) -> bool:
        async with self._lock:
            if self._credential == refused and self._since() >= PAUSE_SECONDS:
                await self._run()
        return self._credential != refused

    def _fresh(self) -> bool:
        if self._credential is None:
            return False
        if self._ends is None or self._clock.now() < self._ends - AHEAD:
            return True
        # A plugin that prints what is about to end is believed to the end, or it would be run for every request.
        return self._since() < PAUSE_SECONDS and self._clock.now() < self._ends

    def _since(self) -> float:
        return self._clock.monotonic() - self._ran_at

    async def _run(self) -> None:
        if self._failure is not None and self._since() < PAUSE_SECONDS:
            raise self._failure
        try:
            self._accept(await self._output())
            self._failure = None
        except TransientError as error:
            self._failure = error
            raise
        finally:
            self._ran_at = self._clock.monotonic()

    async def _output(self) -> bytes:
        plugin = self._plugin
        environment = {**self._environment, **plugin.environment, "KUBERNETES_EXEC_INFO": await asyncio.to_thread(self._info)}
        try:
            result = await processes.run(
                [plugin.command, *plugin.arguments],
                environment=environment,
                timeout_seconds=RUN_SECONDS_MAX,
                output_bytes_max=OUTPUT_BYTES_MAX,
            )
        except processes.NotStarted as error:
            raise self._error(str(error).partition(": ")[2], remedy=one_line(plugin.install_hint)) from error
        except processes.ProcessError as error:
            raise self._error(str(error).partition(": ")[2]) from error
        if result.code:
            words = [line for line in result.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
            raise self._error(f"it ended with code {result.code}: {one_line(words[-1]) if words else 'without a word'}")
        return result.stdout

    def _accept(self, output: bytes) -> None:
        wanted = f"{API}{self._plugin.version}"
        try:
            printed = msgspec.json.decode(output, type=_Credential)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self._error("what it printed is no ExecCredential") from error
        if printed.kind != "ExecCredential" or printed.api_version != wanted:
            raise self._error(f"it printed {one_line(printed.api_version)} {one_line(printed.kind)}, not {wanted} ExecCredential")
        status = printed.status or _Printed()
        if not status.token and not status.client_certificate_data:
            raise self._error("it printed neither a token nor a certificate")
        if bool(status.client_certificate_data) != bool(status.client_key_data):
            raise self._error("it printed a certificate without its key, or a key without its certificate")
        if not status.token.isascii() or not status.token.isprintable():
            raise self._error("it printed a token that a header cannot carry")
        self._credential = Credential(
            status.token, status.client_certificate_data.encode() or None, status.client_key_data.encode() or None
        )
        ends = status.expiration_timestamp
        self._ends = ends.replace(tzinfo=UTC) if ends is not None and ends.tzinfo is None else ends

    def _info(self) -> str:
        """The ExecCredential that goes in: what the plugin may know of the cluster."""
        spec: dict[str, Any] = {"interactive": False}
        if self._plugin.tells_cluster:
            spec["cluster"] = _told(self._cluster)
        return msgspec.json.encode(
            {"apiVersion": f"{API}{self._plugin.version}", "kind": "ExecCredential", "spec": spec}
        ).decode()

    def _error(self, words: str, remedy: str = "") -> TransientError:
        return TransientError(f"get credentials from {one_line(self._plugin.command)}: {words}", remedy=remedy)


def _told(cluster: Cluster) -> dict[str, Any]:
    authority = None
    if cluster.authority is not None:
        try:
            authority = base64.b64encode(read(cluster.authority)).decode()
        except OSError:
            authority = None  # the connection will say so
    fields = {
        "server": cluster.server,
        "tls-server-name": cluster.server_name,
        "insecure-skip-tls-verify": cluster.insecure,
        "certificate-authority-data": authority,
        "proxy-url": cluster.proxy,
        "disable-compression": not cluster.compress,
        "config": cluster.plugin_config,
    }
    return {name: value for name, value in fields.items() if value}
