"""What we have applied, one JSON file for each object and each instance, so that ownership outlives the server and its store.

Records are written whole (temporary file, fsync, rename) *before* the act that they describe: after a crash in between, what
was about to be made can still be found, and finished or removed. The formats are documented in docs/reference/host.md.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from trimtab.core.model.errors import TransientError
from trimtab.core.model.manifest import Body, Content
from trimtab.core.model.names import Identity, ObjectRef
from trimtab.core.model.observed import Owner


class TaskRun(msgspec.Struct, frozen=True, rename="camel"):
    """How far a Task has come with these ``inputs`` (the digest of its Manifest). ``attempt`` counts from 1; times are UTC."""

    inputs: str
    attempt: int
    state: Literal["running", "succeeded", "failed"]
    instance: str
    started: datetime
    ended: datetime | None = None
    message: str = ""


class ObjectRecord(msgspec.Struct, frozen=True, rename="camel"):
    """One applied object. ``removing`` is set before anything of it is taken away. ``root``, ``path`` below it, ``made`` and ``sha256`` are
    a File's: where it went, which directories were made for it, and its content; ``earlier`` is the place that it is moving from.
    """

    ref: ObjectRef
    uid: str
    owner: Owner
    digest: str
    body: Body
    content: tuple[Content, ...]
    revision: str
    applied: datetime
    removing: bool = False
    root: str = ""
    path: str = ""
    earlier: tuple[str, str] | None = None
    made: tuple[str, ...] = ()
    sha256: str = ""
    task: TaskRun | None = None


class InstanceRecord(msgspec.Struct, frozen=True, rename="camel"):
    """One incarnation of a Process or one run of a Task. ``digest`` is over all that needs a new incarnation when it changes.

    ``ports`` are those that the instance itself binds, by name. ``tree`` is the Git object id of the directory that it runs in.
    """

    id: str
    environment: str
    ref: ObjectRef
    digest: str
    created: datetime
    ports: dict[str, int] = {}
    tree: str = ""
    stop_signal: str = "TERM"
    grace_seconds: int = 10
    log_bytes_max: int = 10_000_000
    log_files: int = 3


Record = TypeVar("Record", ObjectRecord, InstanceRecord)
Write = Callable[[Path, bytes], None]


def write_whole(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """The file has either its old content or ``data``, whatever happens. Raises OSError."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make a rename or an unlink in it durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class Records:
    """The object records below ``root``, held in memory too: reading costs no disk. ``write`` may be replaced by a test."""

    def __init__(self, root: Path, *, write: Write = write_whole) -> None:
        self._root = root
        self._write = write
        self._of: dict[tuple[str, Identity], ObjectRecord] = {}
        self.unreadable: list[str] = []
        self._loaded = False

    def load_once(self) -> None:
        """For whoever only wants to look, without starting anything."""
        if not self._loaded:
            self.load()

    def load(self) -> None:
        """Read what is there. A record that cannot be read is left alone and listed in ``unreadable``: its object stays as it is."""
        self._loaded = True
        for path in sorted(self._root.glob("*/*.json")):
            record = self._read(path)
            if record is not None:
                self._of[(record.owner.environment, record.ref.identity)] = record

    def get(self, environment: str, identity: Identity) -> ObjectRecord | None:
        return self._of.get((environment, identity))

    def of(self, environment: str) -> Iterator[ObjectRecord]:
        return iter([record for (name, _), record in self._of.items() if name == environment])

    def all(self) -> Iterator[ObjectRecord]:
        return iter(list(self._of.values()))

    def environments(self) -> set[str]:
        return {name for name, _ in self._of}

    def put(self, record: ObjectRecord) -> None:
        """Store durably. Raises TransientError when the disk refuses (full, read-only)."""
        path = self._path(record.owner.environment, record.ref)
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._write(path, msgspec.json.format(msgspec.json.encode(record)))
        except OSError as error:
            raise unwritable(f"record {record.ref}", path, error) from error
        self._of[(record.owner.environment, record.ref.identity)] = record

    def drop(self, environment: str, ref: ObjectRef) -> None:
        """Raises TransientError when the disk refuses."""
        path = self._path(environment, ref)
        try:
            path.unlink(missing_ok=True)
            if path.parent.is_dir():
                sync_directory(path.parent)
        except OSError as error:
            raise unwritable(f"remove the record of {ref}", path, error) from error
        self._of.pop((environment, ref.identity), None)

    def _path(self, environment: str, ref: ObjectRef) -> Path:
        return self._root / environment / f"{ref.kind}~{ref.namespace}~{ref.name}.json"

    def _read(self, path: Path) -> ObjectRecord | None:
        try:
            return msgspec.json.decode(path.read_bytes(), type=ObjectRecord)
        except (OSError, msgspec.DecodeError) as error:
            self.unreadable.append(f"{path.parent.name}/{path.name}: {error}")
            return None


def unwritable(doing: str, path: Path, error: OSError) -> TransientError:
    """The disk said no: full, read-only, not permitted."""
    return TransientError(
        f"{doing}: {path.parent}: {error.strerror or error}",
        remedy="Free space or correct the permissions of that directory; it is tried again.",
    )


def read_instance(directory: Path) -> InstanceRecord | None:
    """The record of an instance's directory; None when it was never finished or is damaged."""
    try:
        return msgspec.json.decode((directory / "instance.json").read_bytes(), type=InstanceRecord)
    except (OSError, msgspec.DecodeError):
        return None


def encoded(record: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(record))
