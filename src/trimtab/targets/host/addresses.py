"""Port numbers: the stable ones that others may rely on, kept in a file, and the passing ones that instances bind.

Both are picked outside the range from which the kernel takes the ports of outgoing connections (32768 and up by default), so
that nobody takes one by accident between our choice and its use.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable
from pathlib import Path

import msgspec

from trimtab.core.model.errors import TransientError
from trimtab.core.model.names import ObjectRef
from trimtab.ports.clock import Chance

from .kinds import Port
from .records import unwritable, write_whole

STABLE = range(30_000, 32_768)
PASSING = range(20_000, 30_000)
TRIES_MAX = 2_000


class Addresses:
    """Who has which stable port, in DATA/host/ports.json."""

    def __init__(self, path: Path, chance: Chance) -> None:
        self._path = path
        self._chance = chance
        self._ports: dict[str, int] = {}
        self._passing: set[int] = set()

    def load(self) -> None:
        with contextlib.suppress(FileNotFoundError, msgspec.DecodeError):
            self._ports = msgspec.json.decode(self._path.read_bytes(), type=dict[str, int])

    def stable(self, environment: str, ref: ObjectRef, port: Port) -> str:
        """``host:port`` under which others reach this port; picked at the first call and kept. Raises TransientError."""
        number = port.fixed or port.listen or self._kept(_key(environment, ref, port.name), port.address)
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(port.address, port.address)  # noqa: S104 - compared, not bound
        return f"[{host}]:{number}" if ":" in host else f"{host}:{number}"

    def listening(self, environment: str, ref: ObjectRef, port: Port) -> str:
        """``address:port`` that the front binds for it."""
        number = port.listen or self._kept(_key(environment, ref, port.name), port.address)
        return f"[{port.address}]:{number}" if ":" in port.address else f"{port.address}:{number}"

    def release(self, environment: str, ref: ObjectRef) -> None:
        """Its stable ports may be given to others."""
        prefix = _key(environment, ref, "")
        left = {key: number for key, number in self._ports.items() if not key.startswith(prefix)}
        if left != self._ports:
            self._store(left)

    def keep_only(self, known: Iterable[tuple[str, ObjectRef]]) -> None:
        """Release what belongs to nobody any more."""
        prefixes = tuple(_key(environment, ref, "") for environment, ref in known)
        left = {key: number for key, number in self._ports.items() if key.startswith(prefixes)} if prefixes else {}
        if left != self._ports:
            self._store(left)

    def passing(self) -> int:
        """A free port for an instance to bind. Raises TransientError when there is none."""
        number = self._pick(PASSING, "127.0.0.1", self._passing)
        self._passing.add(number)
        return number

    def occupy(self, numbers: Iterable[int]) -> None:
        """These passing ports are in use by instances that run already."""
        self._passing.update(numbers)

    def vacate(self, numbers: Iterable[int]) -> None:
        self._passing.difference_update(numbers)

    def _kept(self, key: str, address: str) -> int:
        if key not in self._ports:
            self._store({**self._ports, key: self._pick(STABLE, address, set(self._ports.values()))})
        return self._ports[key]

    def _pick(self, numbers: range, address: str, taken: set[int]) -> int:
        for _ in range(TRIES_MAX):
            number = int(self._chance.uniform(numbers.start, numbers.stop - 1))
            if number not in taken and free(address, number):
                return number
        raise TransientError(f"choose a port on {address}: all of {numbers.start} to {numbers.stop - 1} seem taken")

    def _store(self, ports: dict[str, int]) -> None:
        try:
            write_whole(self._path, msgspec.json.format(msgspec.json.encode(ports, order="sorted")))
        except OSError as error:
            raise unwritable("record a port", self._path, error) from error
        self._ports = ports


def free(address: str, number: int) -> bool:
    """True when the port could be bound just now."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, number))
        except OSError:
            return False
        return True


def _key(environment: str, ref: ObjectRef, port: str) -> str:
    return f"{environment}~{ref.namespace}~{ref.name}/{port}"
