"""The kind Process: its records, and a controller for each. In: documents to apply, refs to remove. Out: outcomes and status.

An apply is accepted once the record is written and the stable ports are open; what follows is the controller's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from trimtab.core.model.names import Identity, ObjectRef
from trimtab.core.model.plan import Applied, Failed, Outcome

from . import addresses
from .controller import Controller
from .host import Found, Host
from .incarnation import spec_of
from .kinds import Document, Port, Process, ProcessSpec
from .records import ObjectRecord
from .script import variable

Name = tuple[str, Identity]
Siblings = Callable[[str, str], Iterable[tuple[ObjectRef, ProcessSpec]]]


class Processes:
    """Every Process of every Environment. ``tell(environment, application)`` is called when one has moved."""

    def __init__(self, host: Host, tell: Callable[[str, str], None]) -> None:
        self._host = host
        self._tell = tell
        self._controllers: dict[Name, Controller] = {}
        self._previewed: dict[Name, tuple[ObjectRef, ProcessSpec]] = {}
        self._together: dict[Name, frozenset[Name]] = {}

    # Its life.

    def begin(self, found: Iterable[Found], published: frozenset[str]) -> None:
        """Take over what the records say and what runs."""
        for record in self._host.records.all():
            if record.ref.kind == "Process":
                self._controller(record)
        for each in found:
            controller = self._controllers.get((each.record.environment, each.record.ref.identity))
            if controller is not None:
                controller.adopt(each, published=published)
                self._host.addresses.occupy(each.record.ports.values())
        for controller in self._controllers.values():
            controller.start()

    def orphaned(self) -> None:
        for controller in self._controllers.values():
            controller.orphaned()

    def wake(self) -> None:
        for controller in self._controllers.values():
            controller.wake()

    def refresh(self, pids: dict[str, int]) -> None:
        for controller in self._controllers.values():
            controller.refresh(pids)

    async def close(self) -> None:
        await asyncio.gather(*(controller.close() for controller in self._controllers.values()))

    def listening(self) -> list[str]:
        """Every address that the front should hold."""
        return [
            self._host.addresses.listening(record.owner.environment, record.ref, port)
            for record in self._host.records.all()
            if record.ref.kind == "Process" and (spec := spec_of(record)).replicas > 0
            for port in spec.ports
            if port.fixed is None
        ]

    # What the port asks.

    def preview(self, environment: str, documents: Iterable[tuple[ObjectRef, Document]]) -> None:
        """Remember who comes together: the parts of one application learn the addresses of its processes before any of them runs."""
        batch = {(environment, ref.identity): document for ref, document in documents}
        previewed = {
            name: (_ref(name, document), document.spec) for name, document in batch.items() if isinstance(document, Process)
        }
        self._previewed |= previewed
        self._together |= dict.fromkeys(batch, frozenset(previewed))

    async def apply(self, record: ObjectRecord) -> Outcome:
        """Raises TransientError. The record is not stored when a port cannot be had."""
        spec = spec_of(record)
        await self._host.up()
        failure = self._conflict(record, spec) or await self._listen(record, spec)
        if failure is not None:
            return failure
        for content in record.content:
            await self._host.trees.place(content)
        await asyncio.to_thread(self._host.records.put, record)
        name = (record.owner.environment, record.ref.identity)
        controller = self._controllers.get(name)
        if controller is None or controller.removed.is_set():
            self._controller(record).start()
        else:
            controller.use(record)
        return Applied(record.ref, record.uid)

    async def remove(self, record: ObjectRecord) -> Outcome:
        """Returns once nothing of it is left."""
        gone = msgspec.structs.replace(record, removing=True)
        await asyncio.to_thread(self._host.records.put, gone)
        await self._host.up()
        controller = self._controller(record) if (name := _name(record)) not in self._controllers else self._controllers[name]
        controller.use(gone)
        await controller.removed.wait()
        await controller.close()
        self._controllers.pop(name, None)
        return Applied(record.ref)

    def status(self, record: ObjectRecord) -> dict[str, Any]:
        controller = self._controllers.get(_name(record))
        return {"kind": "Process", "instances": []} if controller is None else controller.status()

    def instances(self, environment: str, ref: ObjectRef) -> list[str]:
        """The ids of its instances, oldest first."""
        controller = self._controllers.get((environment, ref.identity))
        if controller is None:
            return []
        return [live.id for live in sorted(controller.instances.values(), key=lambda each: each.created)]

    def variables(self, environment: str, application: str, of: ObjectRef) -> dict[str, str]:
        """The addresses of all ports of the processes of an application, as environment variables."""
        specs = {
            record.ref.identity: (record.ref, spec_of(record))
            for record in self._host.records.of(environment)
            if record.ref.kind == "Process" and record.owner.application == application
        }
        for name in self._together.get((environment, of.identity), ()):
            specs[name[1]] = self._previewed[name]
        return {
            variable(ref.name, port.name, "address"): self._host.addresses.stable(environment, ref, port)
            for ref, spec in specs.values()
            for port in spec.ports
        }

    # Below: how it is done.

    def _controller(self, record: ObjectRecord) -> Controller:
        environment, ref = record.owner.environment, record.ref

        def siblings() -> dict[str, str]:
            current = self._host.records.get(environment, ref.identity) or record
            return self.variables(environment, current.owner.application, ref)

        def told() -> None:
            current = self._host.records.get(environment, ref.identity) or record
            self._tell(environment, current.owner.application)

        controller = Controller(self._host, record, siblings, told)
        self._controllers[_name(record)] = controller
        return controller

    def _conflict(self, record: ObjectRecord, spec: ProcessSpec) -> Failed | None:
        """Two processes that want one port."""
        wanted = {_bound(port) for port in spec.ports} - {0}
        for other in self._host.records.all():
            if other.ref.kind != "Process" or _name(other) == _name(record):
                continue
            for port in spec_of(other).ports:
                if _bound(port) in wanted:
                    message = f"apply {record.ref}: the port {_bound(port)} is that of {other.ref} in {other.owner.environment}"
                    return Failed(record.ref, message, "Choose another port.", transient=True)
        return None

    async def _listen(self, record: ObjectRecord, spec: ProcessSpec) -> Failed | None:
        """Open the ports that are new. Those that are open stay so when one of them fails; what runs is not touched."""
        environment, table = record.owner.environment, self._host.fronts.table
        before = self._host.records.get(environment, record.ref.identity)
        had = {port.fixed for port in spec_of(before).ports} if before is not None else set()
        for port in spec.ports:
            if port.fixed is not None and port.fixed not in had and not addresses.free(port.address, port.fixed):
                return _taken(record.ref, f"{port.address}:{port.fixed}", "Address already in use")
        listening = [self._host.addresses.listening(environment, record.ref, port) for port in spec.ports if port.fixed is None]
        fresh = [address for address in listening if address not in table]
        if not fresh or spec.replicas == 0:
            return None
        errors = await self._host.fronts.set(dict.fromkeys(fresh, ()))
        if not errors:
            return None
        await self._host.fronts.set({address: None for address in fresh if address not in errors})
        address, message = next(iter(errors.items()))
        return _taken(record.ref, address, message)


def _name(record: ObjectRecord) -> Name:
    return (record.owner.environment, record.ref.identity)


def _ref(name: Name, document: Process) -> ObjectRef:
    return ObjectRef(document.api_version, document.kind, name[1][2], name[1][3])


def _bound(port: Port) -> int:
    return port.listen or port.fixed or 0


def _taken(ref: ObjectRef, address: str, message: str) -> Failed:
    return Failed(
        ref,
        f"apply {ref}: the port {address} cannot be had: {message}. What runs stays as it is",
        "End the program that has the port, or choose another one. It is tried again.",
    )
