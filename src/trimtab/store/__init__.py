"""The record on disk: one SQLite file beside the server, behind the `Store` port.

In go `Writes`, all of one stored or none; out come events with their ids, pages of the record, and what an engine needs at
its start. One thread writes, one reads; nothing here decides anything.
"""

from .store import SqlStore

__all__ = ["SqlStore"]
