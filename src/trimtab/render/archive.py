"""Chart archives (`.tgz`) as files in memory. What a chart may not hold is refused before anything is written anywhere.

Pure: bytes in, paths and contents out. The archive is somebody else's: its size, its paths and what it says of itself are bounded here.
"""

from __future__ import annotations

import io
import tarfile
import zlib
from typing import Final

from trimtab.core.model.limits import Limits
from trimtab.core.model.text import escaped

from . import paths

_GZIP: Final = 31  # zlib: a gzip header, the largest window
_HEADERS: Final = 1024  # of tar, for each file


class ArchiveError(ValueError):
    """The text says what is wrong with it."""


def unpack(data: bytes, limits: Limits) -> dict[str, bytes]:
    """The files of the one folder at the top of the archive, by their path in it. Raises ArchiveError."""
    most = limits.source_bytes + limits.files * _HEADERS
    try:
        # All of it at once and within its bound: a header in it can then claim no more than is there.
        unpacked = zlib.decompressobj(_GZIP).decompress(data, most + 1)
    except zlib.error as error:
        raise ArchiveError("it is no gzip archive") from error
    if len(unpacked) > most:
        raise ArchiveError(f"it unpacks to more than {most} bytes")
    files: dict[str, bytes] = {}
    tops: set[str] = set()
    try:
        with tarfile.open(fileobj=io.BytesIO(unpacked), mode="r:") as archive:
            for member in archive:
                if member.isdir():
                    continue
                top, path = _place(member)
                read = archive.extractfile(member)
                assert read is not None, "it is a file"
                tops.add(top)
                files[path] = read.read()
                if len(files) > limits.files:
                    raise ArchiveError(f"it has more than {limits.files} files")
    except (tarfile.TarError, UnicodeError, EOFError) as error:
        raise ArchiveError("it is no tar archive, or cut off") from error
    if len(tops) != 1 or "Chart.yaml" not in files:
        raise ArchiveError("it is no chart: a chart is one folder with a Chart.yaml")
    return files


def _place(member: tarfile.TarInfo) -> tuple[str, str]:
    """The folder at the top, and the path in it."""
    shown = escaped(member.name, characters_max=200)
    if not member.isreg():
        raise ArchiveError(f"{shown} in it is a link or a special file")
    parts = member.name.removeprefix("./").split("/")
    try:
        path = paths.clean("/".join(parts[1:]))
    except paths.PathError as error:
        raise ArchiveError(f"{shown} in it: {error}") from error
    if member.name.startswith("/") or ".." in parts or not parts[0] or not path:
        raise ArchiveError(f"{shown} in it is no path inside a folder")
    return parts[0], path
