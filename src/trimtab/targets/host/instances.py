"""The directory of one instance: made before it starts, removed after it has ended.

instances/<id>/run           what supervisord runs          instances/<id>/log, log.1 …   its output
instances/<id>/environment   sourced by run and by probes   instances/<id>/pid            its line of /proc/self/stat
instances/<id>/instance.json its record; written last: without it the directory is rubbish
instances/<id>/work          its working directory, where no tree is given
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from trimtab.core.model.names import ObjectRef

from .records import InstanceRecord, encoded, unwritable, write_whole
from .trees import remove_tree

LAST_LOG_BYTES_MAX = 1_000_000


def instance_id(environment: str, ref: ObjectRef, token: str) -> str:
    return f"{environment}~{ref.namespace}~{ref.name}~{token[:8]}"


def place(instance: str) -> str:
    """Its directory, relative to DATA/host."""
    return f"instances/{instance}"


def make(root: Path, record: InstanceRecord, *, run: str, environment: str) -> None:
    """Raises TransientError when the disk refuses; what was begun is then taken away."""
    directory = root / place(record.id)
    try:
        directory.mkdir(mode=0o700)
        (directory / "work").mkdir(mode=0o700)
        for name, text in (("run", run), ("environment", environment)):
            # The text may hold what people would rather not show: nobody else may read it.
            fd = os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "wb") as file:
                file.write(text.encode("utf-8", "surrogateescape"))
        write_whole(directory / "instance.json", encoded(record))
    except OSError as error:
        with contextlib.suppress(OSError):
            remove_tree(directory)
        raise unwritable(f"make an instance of {record.ref}", directory, error) from error


def discard(root: Path, instance: str, *, keep_log: str = "") -> None:
    """Remove the directory. ``keep_log`` names where the end of its log is kept (below DATA/host/logs)."""
    directory = root / place(instance)
    if keep_log:
        with contextlib.suppress(OSError):
            (root / "logs").mkdir(exist_ok=True, mode=0o700)
            with (directory / "log").open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - LAST_LOG_BYTES_MAX))
                write_whole(root / "logs" / keep_log, file.read(LAST_LOG_BYTES_MAX))
    with contextlib.suppress(OSError):
        (directory / "instance.json").unlink(missing_ok=True)  # first: half a directory must not look like a whole one
        remove_tree(directory)


def last_line(path: Path, *, bytes_max: int = 4_096) -> str:
    """The last line of a log that is not empty, as it stands there; "" when there is none."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - bytes_max))
            data = file.read(bytes_max)
    except OSError:
        return ""
    lines = [line for line in data.split(b"\n") if line.strip()]
    return lines[-1].decode(errors="replace") if lines else ""
