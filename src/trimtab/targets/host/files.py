"""Writing, reading and removing single files inside allowed roots, never through a symbolic link.

Every directory below a root is opened by its name with O_NOFOLLOW, one after the other, and all acts are relative to the last of
them: what was checked is what is used, even when somebody swaps a directory for a link meanwhile. A file appears whole, under
its final mode; what it replaces is kept for the record.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from trimtab.core.model.errors import TransientError, UserError

TEXT_BYTES_MAX = 64 * 1024
FILE_BYTES_MAX = 64 * 1024 * 1024
PREVIOUS_MAX = 5
PREVIOUS_BYTES_MAX = 16 * 1024 * 1024
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

Write = Callable[[int, bytes], object]


class Place(msgspec.Struct, frozen=True):
    """Where a file goes: below ``root``, an existing directory that configuration allows, by plain names."""

    root: str
    parts: tuple[str, ...]

    @property
    def path(self) -> Path:
        return Path(self.root, *self.parts)

    @property
    def name(self) -> str:
        return self.parts[-1]


class State(msgspec.Struct, frozen=True):
    """What is there. ``type`` is file, link, other or "" for nothing; ``data`` is None for a file that is too large to be ours."""

    type: str
    mode: int = 0
    data: bytes | None = None
    size: int = 0
    inode: str = ""

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data or b"").hexdigest()


def locate(path: str, roots: Sequence[Path]) -> Place:
    """Raises UserError for a path that is not inside one of ``roots``. Links are not looked at here: acting refuses them."""
    wanted = PurePosixPath(path)
    if not wanted.is_absolute():
        return Place(str(roots[0]), wanted.parts)
    for root in roots:
        for base in (root, Path(os.path.realpath(root))):
            if wanted.is_relative_to(base) and wanted != PurePosixPath(base):
                return Place(str(root), wanted.relative_to(base).parts)
    allowed = ", ".join(map(str, roots))
    raise UserError(
        f"{path} is outside the allowed roots ({allowed})",
        remedy="Choose a path inside one, or add its directory to spec.target.allowedRoots of the Environment.",
    )


def shape(data: bytes | None, size: int, mode: int) -> dict[str, Any]:
    """The part of a body that tells content and mode; wanted and actual files get theirs here, so that equal means equal."""
    shown: dict[str, Any] = {"mode": f"{mode:04o}"}
    if data is None:
        return {**shown, "size": size}
    try:
        if len(data) <= TEXT_BYTES_MAX:
            return {**shown, "content": data.decode()}
    except UnicodeDecodeError:
        pass
    return {**shown, "sha256": hashlib.sha256(data).hexdigest(), "size": size}


def look(place: Place) -> State:
    """What stands there now. Raises TransientError when that cannot be told: that is not the same as absent."""
    try:
        with _parent(place, made=None) as fd:
            return _state(fd, place.name)
    except FileNotFoundError:
        return State("")
    except NotADirectoryError:
        return State("")
    except OSError as error:
        if error.errno == errno.ELOOP:
            return State("")
        raise _trouble("look at", place, error) from error


def put(place: Place, data: bytes, mode: int, *, token: str, previous: Path, write: Write = os.write) -> tuple[str, ...]:
    """Make the file so. Returns the directories that had to be made. Raises UserError or TransientError, with nothing changed."""
    made: list[str] = []
    try:
        with _parent(place, made=made) as fd:
            before = _state(fd, place.name)
            if before.type == "other":
                raise UserError(
                    f"write {place.path}: there is something else than a file", remedy="Move it away, or choose another path."
                )
            if before.type == "file" and before.data != data:
                keep(before, previous)
            _replace(fd, place.name, data, mode, token=token, write=write)
    except OSError as error:
        raise _trouble("write", place, error) from error
    return tuple(made)


def drop(place: Place, made: Sequence[str], *, previous: Path, ours: str) -> None:
    """Remove the file, and the directories that were made for it if they are empty. Content other than ``ours`` (a SHA-256) is kept in
    ``previous`` first. Raises UserError or TransientError.
    """
    try:
        with _parent(place, made=None) as fd:
            before = _state(fd, place.name)
            if before.type == "other":
                raise UserError(f"remove {place.path}: there is something else than a file now", remedy="Remove it by hand.")
            if before.type == "file" and before.sha256 != ours:
                keep(before, previous)
            if before.type:
                os.unlink(place.name, dir_fd=fd)
                os.fsync(fd)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        raise _trouble("remove", place, error) from error
    for directory in sorted(made, key=len, reverse=True):
        with contextlib.suppress(OSError):
            Path(directory).rmdir()


def keep(state: State, previous: Path) -> None:
    """Keep content that is about to be replaced: the newest few, each by its SHA-256. A copy that cannot be made stops nothing."""
    if state.data is None or len(state.data) > PREVIOUS_BYTES_MAX:
        return
    with contextlib.suppress(OSError):
        previous.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = previous / state.sha256
        path.unlink(missing_ok=True)
        path.write_bytes(state.data)
        path.chmod(0o600)
        for old in sorted(previous.iterdir(), key=lambda each: each.stat().st_mtime_ns, reverse=True)[PREVIOUS_MAX:]:
            old.unlink()


@contextlib.contextmanager
def _parent(place: Place, *, made: list[str] | None) -> Iterator[int]:
    """The directory that the file stands in, opened without following a link below the root. ``made`` collects those created."""
    fd = os.open(place.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for at, name in enumerate(place.parts[:-1]):
            below = _enter(fd, name, Path(place.root, *place.parts[: at + 1]), made)
            os.close(fd)
            fd = below
        yield fd
    finally:
        os.close(fd)


def _enter(fd: int, name: str, path: Path, made: list[str] | None) -> int:
    try:
        return os.open(name, DIRECTORY, dir_fd=fd)
    except FileNotFoundError:
        if made is None:
            raise
        os.mkdir(name, 0o755, dir_fd=fd)
        made.append(str(path))
        return os.open(name, DIRECTORY, dir_fd=fd)
    except NotADirectoryError:  # what O_DIRECTORY with O_NOFOLLOW says of a link
        if stat.S_ISLNK(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode):
            raise OSError(errno.ELOOP, "is a symbolic link", str(path)) from None
        raise


def _state(fd: int, name: str) -> State:
    try:
        info = os.stat(name, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return State("")
    inode = f"{info.st_dev}:{info.st_ino}"
    if stat.S_ISLNK(info.st_mode):
        return State("link", inode=inode)
    if not stat.S_ISREG(info.st_mode):
        return State("other", inode=inode)
    mode = stat.S_IMODE(info.st_mode)
    if info.st_size > FILE_BYTES_MAX:
        return State("file", mode, None, info.st_size, inode)
    with os.fdopen(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=fd), "rb") as file:
        data = file.read(FILE_BYTES_MAX + 1)
    return State("file", mode, data, len(data), inode)


def _replace(fd: int, name: str, data: bytes, mode: int, *, token: str, write: Write) -> None:
    temporary = f".{name[:200]}.{token[:8]}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(temporary, flags, 0o600, dir_fd=fd), "wb", buffering=0) as file:
            view = memoryview(data)
            while view:
                view = view[int(write(file.fileno(), bytes(view[: 1 << 20]))) :]  # type: ignore[call-overload]
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.rename(temporary, name, src_dir_fd=fd, dst_dir_fd=fd)
        os.fsync(fd)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=fd)
        raise


def _trouble(doing: str, place: Place, error: OSError) -> UserError | TransientError:
    if error.errno == errno.ELOOP:
        where = error.filename or place.path
        return UserError(
            f"{doing} {place.path}: {where} is a symbolic link", remedy="Name the real path, inside an allowed root."
        )
    if error.errno in (errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG):
        return UserError(f"{doing} {place.path}: {error.strerror}", remedy="Correct spec.path.")
    remedy = {
        errno.ENOENT: "Make that directory, or allow another root.",
        errno.ENOSPC: "Free space on that disk; it is tried again.",
        errno.EDQUOT: "Free space or raise the quota; it is tried again.",
        errno.EROFS: "That file system is read-only: mount it writable or choose another path.",
        errno.EACCES: "Give the user that runs Trimtab the permission to write there.",
        errno.EPERM: "Give the user that runs Trimtab the permission to write there.",
    }.get(error.errno or 0, "It is tried again.")
    return TransientError(f"{doing} {place.path}: {error.strerror or error}", remedy=remedy)
