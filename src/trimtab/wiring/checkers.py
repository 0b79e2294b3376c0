"""The Checkers port: the operator's own programs, each run once for a Policy, within limits that the kernel keeps.

A checker reads what it is asked about as JSON on standard input, and says what it has against it on standard output
(`core/decide/complaints.py`). It gets no network and nothing of the server's environment, and what it starts ends with it.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from trimtab.core.decide.complaints import complaints
from trimtab.core.model.errors import Problem
from trimtab.plumbing import processes
from trimtab.plumbing.confined import Bounds, command

from .named import named_commands

SECONDS: Final = 60.0
OUTPUT_BYTES_MAX: Final = 4 << 20
BOUNDS: Final = Bounds(memory_bytes=1 << 30, cpu_seconds=60, file_bytes=64 << 20, open_files=256, processes=64)


class CommandCheckers:
    """``texts`` are ``NAME=COMMAND``, each. Raises UserError for one that cannot be read."""

    def __init__(self, texts: Iterable[str], *, seconds: float = SECONDS) -> None:
        self._commands = named_commands("checker", texts, example="conftest='conftest test --output json -'")
        self._seconds = seconds

    def names(self) -> frozenset[str]:
        return frozenset(self._commands)

    async def check(self, name: str, values: Mapping[str, Any]) -> tuple[Problem, ...]:
        words = self._commands.get(name)
        if words is None:
            known = ", ".join(sorted(self._commands)) or "none"
            remedy = f"Checkers: {known}. Start the server with --checker {name}=COMMAND, or take it out of the Policy"
            return (Problem(f"this server has no checker called {name}", remedy=remedy),)
        program = shutil.which(words[0])
        if program is None:
            return (
                Problem(f"checker {name}: there is no {words[0]} on this machine", remedy="Install it, or correct --checker"),
            )
        with tempfile.TemporaryDirectory(prefix="trimtab-checker-") as home:
            try:
                finished = await processes.run(
                    command(BOUNDS, [program, *words[1:]]),
                    environment=processes.clean_environment(home),
                    timeout_seconds=self._seconds,
                    output_bytes_max=OUTPUT_BYTES_MAX,
                    stdin=msgspec.json.encode(values),
                )
            except processes.ProcessError as error:
                return (Problem(f"checker {name}: {error}", remedy="Run it by hand with the same input"),)
        return complaints(name, finished.code, finished.stdout, finished.stderr)
