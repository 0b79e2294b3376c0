"""Which of the optional libraries are installed, without loading them."""

from __future__ import annotations

import importlib.metadata


def installed(distribution: str) -> str | None:
    """Its name and version; None when it is not there."""
    try:
        return f"{distribution} {importlib.metadata.version(distribution)}"
    except importlib.metadata.PackageNotFoundError:
        return None
