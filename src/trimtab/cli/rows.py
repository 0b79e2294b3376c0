"""Tables that more than one command shows."""

from __future__ import annotations

from collections.abc import Sequence

from trimtab.cli.output import Out, short
from trimtab.core.model.views import ApplicationRow


def tell_applications(out: Out, applications: Sequence[ApplicationRow]) -> None:
    if not applications:
        out.line("There are no applications.")
        return
    generated = any(row.origin for row in applications)
    out.table(
        ["name", "environment", "revision", "sync", "health", *(["from"] if generated else []), "message"],
        [
            [
                row.name,
                row.environment,
                short(row.revision),
                "suspended" if row.suspended else row.sync,
                row.health.value,
                *([row.origin] if generated else []),
                row.message,
            ]
            for row in applications
        ],
    )
