"""What an instance of a Process is made from: its digest, its environment, its directory. A change of the digest is a release.

In: the record of the Process and the addresses that its application's processes have. Out: a digest; an instance on the disk,
not yet started.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec

from trimtab.core.model.errors import TransientError
from trimtab.core.model.manifest import digest

from . import script
from .host import Host
from .instances import instance_id, make, place
from .kinds import Port, ProcessSpec
from .probes import Asked
from .records import InstanceRecord, ObjectRecord


def spec_of(record: ObjectRecord) -> ProcessSpec:
    return msgspec.convert(record.body["spec"], ProcessSpec)


class Incarnation:
    """What ``record`` asks for now. ``siblings`` are the variables that tell the addresses of the application."""

    def __init__(self, host: Host, record: ObjectRecord, siblings: Callable[[], dict[str, str]]) -> None:
        self._host = host
        self._record = record
        self._siblings = siblings
        self._spec = spec_of(record)
        self._tree = next((content for content in record.content if content.type == "tree"), None)

    @property
    def digest(self) -> str:
        """Over everything that needs new instances when it changes: an address only if the spec refers to it."""
        spec = self._spec
        told = {name for name in script.references(spec) if name.startswith("TRIMTAB_")}
        addresses = {name: value for name, value in self._siblings().items() if name in told} if told else {}
        run = msgspec.structs.replace(
            spec,
            replicas=1,
            readiness=None,
            liveness=None,
            startup_seconds=60.0,
            strategy="rolling",
            ports=[Port(port.name, fixed=port.fixed) for port in spec.ports],
            stop=msgspec.structs.replace(spec.stop, drain_seconds=10.0),
            restart=msgspec.structs.replace(spec.restart, backoff_seconds=1.0, backoff_seconds_max=60.0),
        )
        return digest([msgspec.to_builtins(run), self._tree.id if self._tree else "", sorted(addresses.items())])

    async def make(self) -> tuple[InstanceRecord, Asked]:
        """One new instance, with ports of its own. Raises TransientError with nothing left behind."""
        spec, host = self._spec, self._host
        tree = None if self._tree is None else await host.trees.place(self._tree)
        ports = {port.name: port.fixed or host.addresses.passing() for port in spec.ports}
        record = InstanceRecord(
            id=instance_id(self._record.owner.environment, self._record.ref, host.chance.token()),
            environment=self._record.owner.environment,
            ref=self._record.ref,
            digest=self.digest,
            created=host.clock.now(),
            ports=ports,
            tree=self._tree.id if self._tree else "",
            stop_signal=spec.stop.signal,
            grace_seconds=spec.stop.grace_seconds,
            log_bytes_max=spec.logs.bytes_max,
            log_files=spec.logs.files,
        )
        asked = self.asked(record)
        directory = str((tree or host.root / place(record.id) / "work") / spec.working_directory)
        run = script.process_script(spec, asked.values, place=place(record.id))
        before = script.preamble(spec, asked.values, directory=directory)
        try:
            await asyncio.to_thread(make, host.root, record, run=run, environment=before)
        except TransientError:
            host.addresses.vacate(ports.values())
            raise
        return record, asked

    def asked(self, record: InstanceRecord) -> Asked:
        """What the probes of an instance need to know, with the variables that it has."""
        tree: Path | str = self._host.root / "trees" / record.tree if record.tree else ""
        values = script.environment(
            self._spec, instance=self._host.mark(record.id), ports=record.ports, addresses=self._siblings(), tree=str(tree)
        )
        return Asked(self._host.root, place(record.id), record.ports, values)
