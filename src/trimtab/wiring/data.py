"""The data directory: one directory, readable by its user alone, used by one server at a time.

lock            held by the server that uses the directory; a second one is refused
installation    the name of this Trimtab, written on everything that it owns
token           what a client has to show
signing-key     the private half of the key that merges are signed with; read by ssh-keygen alone
server.json     where the server listens, while it runs
trimtab.db      the record
git/            mirrors of repositories
repositories/   those that live here
cache/          renderings, by their content; may be deleted at any time
host/           everything of the host target
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import IO

from trimtab.core.model.errors import UserError
from trimtab.core.model.text import one_line
from trimtab.ports.hosting import HOSTED

RECORD = "trimtab.db"
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class Claimed:
    """Hold the data directory's lock for as long as the server runs. Raises UserError when another server holds it."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._file: IO[str] | None = None

    def __enter__(self) -> None:
        try:
            self._data.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = (self._data / "lock").open("a+")
        except OSError as error:
            raise UserError(
                f"open the data directory {self._data}: {error.strerror}", remedy="Choose one that you may write with --data"
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.seek(0)
            holder = self._file.read().strip() or "unknown"
            self._file.close()
            raise UserError(
                f"use the data directory {self._data}: another server, process {one_line(holder)}, uses it",
                remedy="End that one, or choose another directory with --data",
            ) from error
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()


def kept_word(path: Path, make: Callable[[], str]) -> str:
    """The word in ``path``, made at the first call. Readable by its user alone."""
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        write(path, make())
        return path.read_text().strip()
    except OSError as error:
        raise UserError(f"read {path}: {error.strerror}", remedy="Make it readable for the user that runs the server") from error


def named(path: Path, name: str, make: Callable[[], str]) -> str:
    """The installation in ``path``: at the first call ``name``, or one that is made. Raises UserError for another name later on, as
    everything that is owned would then be a stranger's.
    """
    if name and _NAME.fullmatch(name) is None:
        remedy = "Use at most 63 small letters, digits and hyphens, with a letter or digit at both ends"
        raise UserError(f"be the installation {one_line(name)}: that is no name", remedy=remedy)
    found = kept_word(path, lambda: name or make())
    if name and found != name:
        raise UserError(
            f"be the installation {name}: the data directory {path.parent} is that of {one_line(found)}, which owns what it has applied",
            remedy="Leave --installation out, or choose another data directory with --data",
        )
    return found


def kept(path: Path) -> str:
    """The word in ``path``; "" when there is none."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def write(path: Path, text: str) -> None:
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)


def absolute(repository: str) -> str:
    """A path is made absolute, so that it means the same from everywhere; a URL or a hosted repository stays as it is."""
    if repository.startswith(HOSTED):
        return repository
    path = Path(repository).expanduser()
    return str(path.resolve()) if path.exists() and "://" not in repository else repository
