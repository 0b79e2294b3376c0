"""The server's log on standard error: one line for each event, as text or JSON."""

from __future__ import annotations

import logging
import sys

import msgspec

from trimtab.core.model.event import Event
from trimtab.core.model.text import one_line

log = logging.getLogger("trimtab")


def log_to_stderr(log_format: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if log_format == "json" else logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for library in ("alembic", "uvicorn", "asyncio", "sqlalchemy"):
        logging.getLogger(library).setLevel(logging.WARNING)


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname,
            "message": record.getMessage(),
        }
        fields |= getattr(record, "event", {})
        if record.exc_info:
            fields["error"] = self.formatException(record.exc_info)
        return msgspec.json.encode(fields).decode()


def log_event(event: Event) -> None:
    where = f"{event.application}@{event.environment} " if event.application else ""
    level = logging.WARNING if event.kind.endswith((".failed", ".held", ".rewritten", ".broken")) else logging.INFO
    shown = one_line(event.message)
    log.log(level, "%s %s%s", event.kind, where, shown, extra={"event": {"kind": event.kind, "id": event.id}})
