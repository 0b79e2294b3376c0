"""What a configured repository is: a path on this disk or a URL, and which of them may be fetched at all.

A string from configuration comes in; a Remote comes out, or a UserError. Only path, file, http(s) and ssh are let through: git's
other transports (``ext::`` above all) run commands, and a word with a leading dash would be read as an option.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from trimtab.core.model.errors import UserError

from .text import masked, shown

_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*)://")
_HELPER = re.compile(r"^[A-Za-z0-9][A-Za-z0-9+.-]*::")
_SCP = re.compile(r"^(?P<host>\[[^\]/]*\]|[^/:]+):")
_REMEDY = "Give a path, or a URL with file, http, https or ssh"


@dataclass(frozen=True)
class Remote:
    """``url`` is what git is given: no credentials of http in it, they are in ``user`` and ``password``. ``path`` is set for a
    repository on this disk. ``name`` is for people, ``slug`` names the mirror's directory.
    """

    name: str
    url: str
    slug: str
    path: Path | None = None
    user: str = ""
    password: str = ""


def parse(repository: str) -> Remote:
    """Raises UserError when git must not be given this."""
    name = shown(masked(repository))
    if not repository.strip() or any(ord(character) < 32 or ord(character) == 127 for character in repository):
        raise UserError(f"repository {name!r}: not a path and not a URL", remedy=_REMEDY)
    if repository.startswith("-") or _HELPER.match(repository):
        raise UserError(f"repository {name}: this transport is not allowed", remedy=_REMEDY)
    if scheme := _SCHEME.match(repository):
        return _url(repository, scheme.group(1).lower(), name)
    if scp := _SCP.match(repository):
        _check_host(scp.group("host").rpartition("@")[2], name)
        return Remote(name, repository, _slug(repository))
    return _path(Path(repository), repository, name)


def _url(repository: str, scheme: str, name: str) -> Remote:
    try:
        parts = urlsplit(repository)
    except ValueError as error:
        raise UserError(f"repository {name}: not a URL: {error}", remedy=_REMEDY) from None
    match scheme:
        case "file" if parts.netloc in ("", "localhost"):
            return _path(Path(unquote(parts.path)), repository, name)
        case "http" | "https":
            _check_host(parts.netloc.rpartition("@")[2], name)
            bare = urlunsplit((scheme, parts.netloc.rpartition("@")[2], parts.path, parts.query, ""))
            user, password = unquote(parts.username or ""), unquote(parts.password or "")
            return Remote(name, bare, _slug(repository), user=user, password=password)
        case "ssh":
            _check_host(parts.netloc.rpartition("@")[2], name)
            return Remote(name, repository, _slug(repository))
        case _:
            raise UserError(f"repository {name}: the transport {scheme} is not allowed", remedy=_REMEDY)


def _path(path: Path, repository: str, name: str) -> Remote:
    absolute = path.absolute()
    return Remote(name, str(absolute), _slug(str(absolute)), path=absolute)


def _check_host(host: str, name: str) -> None:
    if not host or host.startswith("-"):
        raise UserError(f"repository {name}: no such host", remedy=_REMEDY)


def _slug(repository: str) -> str:
    """Readable, and different for different repositories; credentials count but cannot be read back."""
    words = re.sub(r"[^A-Za-z0-9]+", "-", masked(repository).removesuffix(".git")).strip("-")[-40:].strip("-")
    return f"{words}-{hashlib.sha256(repository.encode('utf-8', 'surrogateescape')).hexdigest()[:16]}"
