"""How processes ended, from supervisord's own log: it alone sees the exit status, and it writes it down also while we are away."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

READ_BYTES_MAX = 16 * 1024 * 1024

_LINE = re.compile(
    rb" (?:INFO|WARN) (?:(?P<what>exited|stopped): (?P<name>\S+) \((?P<how>.*?)(?:; (?:not )?expected)?\)|spawned: '(?P<spawned>[^']+)')"
)
_MEANINGS = {
    "exit status 126": "exit status 126: the command cannot be executed",
    "exit status 127": "exit status 127: the command was not found",
    "exit status 78": "exit status 78: it could not be set up",
}  # fmt: skip


class Journal:
    """What the log says of each program since it began. Bounded by the log, which supervisord turns over."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._rest = b""
        self.spawned: Counter[str] = Counter()
        self.how: dict[str, str] = {}

    def read(self) -> None:
        """Take in what is new."""
        try:
            size = self._path.stat().st_size
            if size < self._offset:  # turned over
                self._offset, self._rest = 0, b""
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read(READ_BYTES_MAX)
        except OSError:
            return
        self._offset += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._take(line)

    def forget(self, name: str) -> None:
        self.spawned.pop(name, None)
        self.how.pop(name, None)

    def _take(self, line: bytes) -> None:
        found = _LINE.search(line)
        if found is None:
            return
        if found["spawned"]:
            self.spawned[found["spawned"].decode(errors="replace")] += 1
        else:
            how = found["how"].decode(errors="replace")
            if found["what"] == b"stopped" and how.startswith("terminated by"):
                return  # our own signal says nothing about why it had to be stopped
            self.how[found["name"].decode(errors="replace")] = _MEANINGS.get(how, how)
