"""Rendered results by the content that they were made of: on disk, bounded, and for the newest few in memory.

A key is a hash over everything that the result depends on, so an entry never goes stale; it can only become unused. One file
per entry, which appears whole or not at all and carries a checksum. The entries that were used longest ago go first. A cache
may fail: whatever the disk does, the worst that follows is that something is rendered again.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections import OrderedDict
from pathlib import Path
from typing import Final

import msgspec

from trimtab.ports.renderer import Rendered

log = logging.getLogger(__name__)

FORMAT: Final = 2
"""Counted up whenever the same inputs would give another result, or the entries another shape."""

BYTES_MAX: Final = 256 * 1024 * 1024
MEMORY_BYTES_MAX: Final = 4 * 1024 * 1024
UNWRITTEN_BYTES_MAX: Final = 16 * 1024 * 1024
_CHECKSUM_BYTES: Final = 16
_EVICT_TO: Final = 0.8


def key_of(*parts: object) -> str:
    """The name for a result that depends on ``parts`` and on nothing else."""
    return hashlib.sha256(msgspec.json.encode([FORMAT, *parts])).hexdigest()


class Cache:
    """``directory`` is made when it is first written to. `put` only takes note: `flush` writes, in a thread if the caller likes, but
    in one at a time; everything else belongs to the caller's own thread.
    """

    def __init__(self, directory: Path, *, bytes_max: int = BYTES_MAX, memory_bytes_max: int = MEMORY_BYTES_MAX) -> None:
        self._directory = directory / f"v{FORMAT}"
        self._bytes_max, self._memory_bytes_max = bytes_max, memory_bytes_max
        self._bytes: int | None = None  # None until the directory was looked at
        self._memory: OrderedDict[str, tuple[Rendered, int]] = OrderedDict()
        self._memory_bytes = 0
        self._unwritten: dict[str, bytes] = {}
        self._unwritten_bytes = 0
        self._decoder = msgspec.msgpack.Decoder(Rendered)
        self._encoder = msgspec.msgpack.Encoder()

    def get(self, key: str) -> Rendered | None:
        held = self._memory.get(key)
        if held is not None:
            self._memory.move_to_end(key)
            return held[0]
        return self._from_disk(key)

    def put(self, key: str, rendered: Rendered) -> None:
        payload = self._encoder.encode(rendered)
        self._remember(key, rendered, len(payload))
        # When the disk cannot keep up, the newest results stay in memory only.
        if self._unwritten_bytes + len(payload) <= UNWRITTEN_BYTES_MAX:
            self._unwritten[key] = payload
            self._unwritten_bytes += len(payload)

    @property
    def has_unwritten(self) -> bool:
        return bool(self._unwritten)

    def flush(self) -> None:
        """Write what was put. A disk that does not take it is worth a line in the log and no more."""
        while self._unwritten:
            key, payload = self._unwritten.popitem()
            self._unwritten_bytes -= len(payload)
            try:
                self._to_disk(key, _checksum(payload) + payload)
            except (OSError, ValueError) as error:
                log.warning("keep rendered results in %s: %s; they are rendered again when needed", self._directory, error)
                self._unwritten.clear()
                self._unwritten_bytes = 0

    def drop(self, key: str) -> None:
        held = self._memory.pop(key, None)
        if held is not None:
            self._memory_bytes -= held[1]
        with contextlib.suppress(OSError):
            (self._directory / key).unlink()

    def _from_disk(self, key: str) -> Rendered | None:
        path = f"{self._directory}/{key}"
        try:
            with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - pathlib takes three times as long
                data = file.read()
        except OSError:
            return None
        payload = data[_CHECKSUM_BYTES:]
        try:
            if _checksum(payload) != data[:_CHECKSUM_BYTES]:
                raise msgspec.DecodeError("the checksum is wrong")
            rendered = self._decoder.decode(payload)
        except msgspec.DecodeError as error:
            log.warning("read a rendered result from %s: %s; it is discarded", path, error)
            self.drop(key)
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # eviction goes by the time of the last use
        self._remember(key, rendered, len(payload))
        return rendered

    def _to_disk(self, key: str, data: bytes) -> None:
        if len(data) > self._bytes_max:
            return
        if self._bytes is None:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._bytes = self._sweep(self._bytes_max)
        unfinished = f"{self._directory}/.{key}.{os.getpid()}"  # nobody else writes under this name
        try:
            with open(unfinished, "wb", buffering=0) as file:  # noqa: PTH123 - as above
                file.write(data)
            os.replace(unfinished, f"{self._directory}/{key}")  # noqa: PTH105
        except OSError:
            self._bytes = None  # the directory may be gone: look again
            raise
        self._bytes += len(data)
        if self._bytes > self._bytes_max:
            self._bytes = self._sweep(int(self._bytes_max * _EVICT_TO))

    def _sweep(self, most: int) -> int:
        """Remove what was used longest ago until at most ``most`` bytes are left; return how many are."""
        entries: list[tuple[float, int, str]] = []
        with os.scandir(self._directory) as found:
            for entry in found:
                with contextlib.suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    # An unfinished file was left by a crash: it is the first to go.
                    entries.append((0.0 if entry.name.startswith(".") else status.st_mtime, status.st_size, entry.name))
        left = sum(size for _, size, _ in entries)
        for time, size, name in sorted(entries):
            if left <= most and time:
                break
            with contextlib.suppress(OSError):
                (self._directory / name).unlink()
            left -= size
        return left

    def _remember(self, key: str, rendered: Rendered, size: int) -> None:
        replaced = self._memory.pop(key, None)
        self._memory_bytes += size - (replaced[1] if replaced is not None else 0)
        self._memory[key] = (rendered, size)
        while self._memory_bytes > self._memory_bytes_max:
            self._memory_bytes -= self._memory.popitem(last=False)[1][1]


def _checksum(payload: bytes) -> bytes:
    return hashlib.blake2b(payload, digest_size=_CHECKSUM_BYTES).digest()
