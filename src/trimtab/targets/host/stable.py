"""The stable ports of one Process at the front: what the front should hold, and whether it does.

In: the Process and which instances are to be given connections. Out: routes that the front has acknowledged.
"""

from __future__ import annotations

from collections.abc import Iterable

from trimtab.core.model.errors import TransientError

from .host import Host
from .incarnation import spec_of
from .kinds import Port
from .records import InstanceRecord, ObjectRecord

Routes = dict[str, tuple[str, ...] | None]


def backends(record: InstanceRecord) -> list[str]:
    """Where an instance itself listens."""
    return [f"127.0.0.1:{port}" for port in record.ports.values()]


class StablePorts:
    """Remembers what was opened, so that a port that is wanted no more gets closed."""

    def __init__(self, host: Host, record: ObjectRecord) -> None:
        self._host = host
        self._record = record
        self._opened = {self._address(port) for port in self._ports()}

    def use(self, record: ObjectRecord) -> None:
        self._record = record

    @property
    def any(self) -> bool:
        return bool(self._ports())

    def agrees(self, published: Iterable[InstanceRecord]) -> bool:
        """False when the front was told something else last: a port was added, changed or taken away."""
        routes, table = self._routes(published), self._host.fronts.table
        return not (self._opened - routes.keys()) and all(table.get(address) == given for address, given in routes.items())

    async def tell(self, published: Iterable[InstanceRecord]) -> None:
        """Give connections to these from now on. Raises TransientError when the front is away or a port cannot be had."""
        routes = self._routes(published)
        stale = self._opened - routes.keys()
        self._opened |= routes.keys()
        errors = await self._host.fronts.set({**dict.fromkeys(stale), **routes})
        self._opened -= stale
        if errors:
            raise TransientError("; ".join(f"the port {address} cannot be had: {message}" for address, message in errors.items()))

    async def close(self) -> None:
        await self._host.fronts.set(dict.fromkeys(self._opened))
        self._host.addresses.release(self._record.owner.environment, self._record.ref)

    def _routes(self, published: Iterable[InstanceRecord]) -> Routes:
        """Where nothing is wanted any more the port is closed; where something is, a connection may wait for it."""
        records = list(published)
        closing = (self._record.removing or spec_of(self._record).replicas == 0) and not records
        return {
            self._address(port): None
            if closing
            else tuple(f"127.0.0.1:{record.ports[port.name]}" for record in records if port.name in record.ports)
            for port in self._ports()
        }

    def _ports(self) -> list[Port]:
        return [port for port in spec_of(self._record).ports if port.fixed is None]

    def _address(self, port: Port) -> str:
        return self._host.addresses.listening(self._record.owner.environment, self._record.ref, port)
