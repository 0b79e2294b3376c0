"""What the record says, for somebody beside the server: read as it is, never made, changed or brought up to date.

Nothing that is decided here needs it, so whatever keeps it from being read is the same as a record that says nothing.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

WAIT_SECONDS = 1.0


def documents(path: Path, names: Iterable[str]) -> dict[str, bytes]:
    """Those of ``names`` that the file has. A reader makes files beside it, so only its owner may read it here."""
    try:
        if path.stat().st_uid != os.geteuid():
            return {}
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=WAIT_SECONDS)) as connection:
            asked = ((name, connection.execute("SELECT body FROM document WHERE name = ?", (name,)).fetchone()) for name in names)
            return {name: bytes(row[0]) for name, row in asked if row is not None}
    except (sqlite3.Error, OSError, TypeError, ValueError):
        return {}
