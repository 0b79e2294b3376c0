"""The kinds that targets read, with their types, for `trimtab schema`."""

from __future__ import annotations

from typing import Any

from trimtab.targets.host import kinds as host


def target_kinds() -> dict[str, tuple[str, type[Any]]]:
    """Name of a kind -> its apiVersion and the type that reads a whole document of it."""
    return {name: (host.API_VERSION, read_by) for name, read_by in host.KINDS.items()}
