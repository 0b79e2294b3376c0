"""Every bound on what is read from a repository or a tool, by name. Beyond one of them lies a Problem, never a crash.

The defaults are far above what people write and far below what hurts the machine.
"""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """``*_bytes`` are sizes, ``*_seconds`` times, everything else counts. All are the largest value that is still accepted."""

    file_bytes: int = 8 * MIB
    """One YAML or JSON file."""
    documents: int = 10_000
    """Documents in one file."""
    alias_bytes: int = 4 * MIB
    """What the aliases of one document would add if each were written out (16 bytes a value, plus the text)."""
    depth: int = 100
    """Mappings and sequences inside each other."""
    files: int = 10_000
    """Files that one Application is rendered from."""
    source_bytes: int = 64 * MIB
    """Those files together."""
    manifests: int = 10_000
    """Manifests of one Application."""
    problems: int = 100
    """Problems that are reported of one file or Application; the rest are the same mistake again."""
    tool_seconds: float = 60.0
    """One run of a rendering tool."""
    tool_bytes: int = 32 * MIB
    """What a rendering tool may print."""
    tool_memory_bytes: int = 1024 * MIB
    """The memory of a process that renders."""
    download_bytes: int = 32 * MIB
    """One chart of a chart repository, as an archive."""


DEFAULT = Limits()
