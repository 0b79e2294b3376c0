"""The kind File: bodies, records and acts, on top of `files`. In: documents and their content. Out: outcomes, observations, and a
word when a file of ours was touched.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from trimtab.core.model.errors import TransientError, UserError
from trimtab.core.model.manifest import Body, Manifest
from trimtab.core.model.names import Identity, ObjectRef
from trimtab.core.model.observed import Observed
from trimtab.core.model.plan import Action, Applied, Failed, Outcome, Step
from trimtab.plumbing.inotify import CHANGED, Inotify

from . import files
from .files import Place, State
from .host import Host
from .kinds import File
from .records import ObjectRecord

log = logging.getLogger(__name__)

Roots = Callable[[str], list[Path]]


class Wish(msgspec.Struct, frozen=True):
    """A File as wanted: where, what, and the mode."""

    place: Place
    data: bytes
    mode: int


class FileObjects:
    """Every File of every Environment. ``roots`` gives the allowed roots of one; the first is where relative paths go."""

    def __init__(self, host: Host, roots: Roots, tell: Callable[[str, str], None], *, write: files.Write | None = None) -> None:
        self._host = host
        self._roots = roots
        self._tell = tell
        self._write: dict[str, Any] = {} if write is None else {"write": write}
        self._candidates: dict[tuple[str, Identity], Place] = {}
        self._watched: dict[Path, dict[str, tuple[str, str]]] = {}
        self._inotify: Inotify | None = None
        self._task: asyncio.Task[None] | None = None

    # Its life.

    async def begin(self) -> None:
        """Finish moves that a crash interrupted, and watch."""
        try:
            self._inotify = Inotify()
        except OSError as error:
            log.warning("files are not watched, only looked at now and then: %s", error)
        else:
            self._task = asyncio.create_task(self._watch(self._inotify), name="watch files")
        for record in self._host.records.all():
            if record.ref.kind == "File":
                await self._finish_move(record)
                self._look_after(record)

    async def _finish_move(self, record: ObjectRecord) -> None:
        """A crash came between writing in the new place and removing from the old one."""
        if record.earlier is None or not (await asyncio.to_thread(files.look, _place(record))).type:
            return
        root, path = record.earlier
        with contextlib.suppress(UserError, TransientError):
            files.drop(Place(root, tuple(path.split("/"))), (), previous=self._previous(record), ours="")
            self._host.records.put(msgspec.structs.replace(record, earlier=None))

    async def close(self) -> None:
        if self._inotify is not None:
            self._inotify.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    # What the port asks.

    async def preview(self, environment: str, document: File, manifest: Manifest, body: Body) -> Body:
        """The body in the shape in which `observe` tells what is on the disk. Raises UserError or TransientError."""
        wish = await self._wish(environment, document, manifest)
        self._candidates[(environment, manifest.identity)] = wish.place
        shown = files.shape(wish.data, len(wish.data), wish.mode)
        return {**{key: value for key, value in body.items() if key != "content"}, "spec": {"path": document.spec.path, **shown}}

    async def observe(self, environment: str, identity: Identity) -> Observed | None:
        """None when no file is there. Raises TransientError when that cannot be told."""
        record = self._host.records.get(environment, identity)
        if record is None:
            return await self._foreign(environment, identity)
        state = await asyncio.to_thread(files.look, _place(record))
        if not state.type:
            return None
        body = {**record.body, "spec": {"path": record.body["spec"]["path"], **_shown(state)}}
        status = {"kind": "File", "path": str(_place(record).path), "type": state.type}
        return Observed(record.ref, record.uid, body, record.owner, record.digest, status)

    async def apply(self, step: Step, record: ObjectRecord, document: File) -> Outcome:
        """Raises UserError or TransientError, with the file as it was."""
        assert step.manifest is not None
        environment = record.owner.environment
        wish = await self._wish(environment, document, step.manifest)
        before = self._host.records.get(environment, record.ref.identity)
        refused = await self._refused(step, wish.place, before)
        if refused is not None:
            return refused
        made = before.made if before is not None else ()
        record = msgspec.structs.replace(
            record, root=wish.place.root, path="/".join(wish.place.parts), sha256=hashlib.sha256(wish.data).hexdigest(), made=made
        )
        moved = before if before is not None and _place(before) != wish.place else None
        if moved is not None:
            record = msgspec.structs.replace(record, earlier=(moved.root, moved.path))
        await asyncio.to_thread(self._host.records.put, record)
        await asyncio.to_thread(self._put, record, wish)
        self._look_after(record)
        self._tell(environment, record.owner.application)
        return Applied(record.ref, record.uid)

    async def remove(self, record: ObjectRecord) -> Outcome:
        """Raises UserError or TransientError."""
        place = _place(record)
        roots = self._roots(record.owner.environment)
        if not any(Path(place.root) == root for root in roots):
            return Failed(
                record.ref,
                f"remove {record.ref}: {place.path} is no longer inside an allowed root, so it is left alone",
                f"Add {place.root} to spec.target.allowedRoots again, or remove the file by hand.",
                transient=place.path.exists(),
            )
        await asyncio.to_thread(self._host.records.put, msgspec.structs.replace(record, removing=True))
        await asyncio.to_thread(files.drop, place, record.made, previous=self._previous(record), ours=record.sha256)
        await asyncio.to_thread(self._host.records.drop, record.owner.environment, record.ref)
        self._watched.get(place.path.parent, {}).pop(place.name, None)
        self._tell(record.owner.environment, record.owner.application)
        return Applied(record.ref)

    # Below: how it is done.

    def _put(self, record: ObjectRecord, wish: Wish) -> None:
        if Path(wish.place.root).is_relative_to(self._host.root):  # the Environment's own: ours to make
            with contextlib.suppress(OSError):
                Path(wish.place.root).mkdir(parents=True, exist_ok=True)
        token = self._host.chance.token()
        made = files.put(wish.place, wish.data, wish.mode, token=token, previous=self._previous(record), **self._write)
        if record.earlier is not None:
            root, path = record.earlier
            files.drop(Place(root, tuple(path.split("/"))), record.made, previous=self._previous(record), ours="")
        if made or record.earlier is not None:
            record = msgspec.structs.replace(record, made=(*record.made, *made), earlier=None)
            self._host.records.put(record)

    async def _refused(self, step: Step, place: Place, before: ObjectRecord | None) -> Failed | None:
        """A file that is there and nobody's is taken over only when that was declared; one of another object never."""
        for other in self._host.records.all():
            if other.ref.kind == "File" and _place(other).path == place.path and (before is None or other.uid != before.uid):
                message = f"apply {step.ref}: {place.path} is that of {other.ref} in {other.owner.environment}"
                return Failed(step.ref, message, "Let one object alone write a file.", transient=True)
        if before is not None and _place(before) == place:
            return None
        if step.action is Action.ADOPT or (step.manifest is not None and step.manifest.adopts):
            return None
        if (await asyncio.to_thread(files.look, place)).type:
            message = f"apply {step.ref}: {place.path} is there already and nobody's"
            return Failed(step.ref, message, 'Declare it adopted (annotation trimtab.dev/adopt: "true"), or choose another path.')
        return None

    async def _foreign(self, environment: str, identity: Identity) -> Observed | None:
        place = self._candidates.get((environment, identity))
        if place is None or any(
            _place(other).path == place.path for other in self._host.records.all() if other.ref.kind == "File"
        ):
            return None
        state = await asyncio.to_thread(files.look, place)
        if not state.type:
            return None
        group, kind, namespace, name = identity
        ref = ObjectRef(f"{group}/v1", kind, namespace, name)
        spec = {"path": str(place.path), **_shown(state)}
        body = {"apiVersion": ref.api_version, "kind": kind, "metadata": {"name": name}, "spec": spec}
        return Observed(
            ref, f"inode:{state.inode}", body, None, "", {"kind": "File", "path": str(place.path), "type": state.type}
        )

    async def _wish(self, environment: str, document: File, manifest: Manifest) -> Wish:
        spec = document.spec
        place = files.locate(spec.path, self._roots(environment))
        if spec.content is not None:
            data = spec.content.encode("utf-8", "surrogatepass")
        else:
            blob = next(content for content in manifest.content if content.type == "blob")
            path = await self._host.trees.place(blob)
            data = await asyncio.to_thread(_read, path, spec.file or "")
        return Wish(place, data, int(spec.mode, 8))

    def _previous(self, record: ObjectRecord) -> Path:
        return self._host.root / "previous" / record.owner.environment / f"{record.ref.namespace}~{record.ref.name}"

    def _look_after(self, record: ObjectRecord) -> None:
        path = _place(record).path
        self._watched.setdefault(path.parent, {})[path.name] = (record.owner.environment, record.owner.application)
        if self._inotify is not None:
            with contextlib.suppress(OSError):  # the directory is gone: that is drift, which the next look finds
                self._inotify.add_watch(path.parent, CHANGED)

    async def _watch(self, inotify: Inotify) -> None:
        async for path, _, name in inotify:
            names = self._watched.get(path, {})
            touched = [names[name]] if name in names else []
            if not name or path == Path():  # the directory itself, or more than the kernel could tell
                touched = list(names.values()) if names else [each for some in self._watched.values() for each in some.values()]
            for environment, application in touched:
                self._tell(environment, application)


def _place(record: ObjectRecord) -> Place:
    return Place(record.root, tuple(record.path.split("/")))


def _shown(state: State) -> dict[str, Any]:
    if state.type != "file":
        return {"type": state.type}
    return files.shape(state.data, state.size, state.mode)


def _read(path: Path, named: str) -> bytes:
    try:
        if path.stat().st_size > files.FILE_BYTES_MAX:
            raise UserError(
                f"read {named}: more than {files.FILE_BYTES_MAX} bytes", remedy="Use a tree of a Process for large data."
            )
        return path.read_bytes()
    except OSError as error:
        raise TransientError(f"read {named}: {error}") from error
