"""Paths inside a repository as people write them, made into the one form that a Tree takes; what leaves the repository is refused."""

from __future__ import annotations

import posixpath

from trimtab.core.model.text import escaped, is_safe_line


class PathError(ValueError):
    """A path that cannot name anything in the repository. The text says why, without the path."""


def clean(path: str, *, directory: str = "") -> str:
    """``path`` from the root ("" is the root itself): relative to ``directory`` unless it begins with "/"."""
    if not is_safe_line(path):
        raise PathError("the path has control or formatting characters")
    if "\\" in path:
        raise PathError("the path has a backslash; write forward slashes")
    joined = path.lstrip("/") if path.startswith("/") else posixpath.join(directory, path)
    normal = posixpath.normpath(joined) if joined else ""
    if normal == ".." or normal.startswith("../"):
        raise PathError("the path leaves the repository")
    return "" if normal == "." else normal


def shown(path: str) -> str:
    """For messages: hostile characters by their numbers, "." for the root."""
    return escaped(path) or "."


def is_below(path: str, directory: str) -> bool:
    """True for ``directory`` itself and everything in it."""
    return not directory or path == directory or path.startswith(directory + "/")
