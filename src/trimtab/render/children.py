"""Asking the children that Helm and Jsonnet run in, and what it means when one of them does not answer."""

from __future__ import annotations

import json
import sys
from typing import Any, Final

from trimtab.core.model.errors import TransientError, UserError
from trimtab.core.model.limits import Limits
from trimtab.core.model.text import one_line
from trimtab.plumbing.confined import Bounds
from trimtab.plumbing.workers import SaidTooMuch, TookTooLong, WorkerFailed, Workers

from . import paths

WORKERS_MAX: Final = 2
OPEN_FILES_MAX: Final = 256
_NO_MEMORY: Final = (b"out of memory", b"cannot allocate memory", b"MemoryError", b"pthread_create failed")


class Failed(Exception):  # noqa: N818
    """The tool says that its input is wrong, in these words."""


class Children:
    """Those of one library: two Go runtimes do not get on in one process."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        bounds = Bounds(memory_bytes=limits.tool_memory_bytes, open_files=OPEN_FILES_MAX)
        command = [sys.executable, "-I", "-m", "trimtab.render.worker", json.dumps(bounds._asdict())]
        # No variables but these: neither a chart nor a library learns anything of this machine.
        self._workers = Workers(
            command, {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "LC_ALL": "C.UTF-8", "GOMAXPROCS": "2"}, most=WORKERS_MAX
        )

    @property
    def started(self) -> int:
        return self._workers.started

    async def ask(self, tool: str, path: str, request: dict[str, Any]) -> Any:
        """Raises Failed; UserError when it needs more than it may use; TransientError when it was killed."""
        doing = f"render {paths.shown(path)}: {tool}"
        limits = self._limits
        try:
            data = await self._workers.ask(
                json.dumps(request).encode(), timeout_seconds=limits.tool_seconds, answer_bytes_max=limits.tool_bytes
            )
        except SaidTooMuch as error:
            raise UserError(f"{doing} made more than {limits.tool_bytes} bytes", remedy="Split the Application") from error
        except TookTooLong as error:
            raise TransientError(f"{doing} was {error}", remedy="Look for an endless loop in what it renders") from error
        except WorkerFailed as error:
            if any(words in error.stderr for words in _NO_MEMORY):
                raise _too_large(doing, limits) from error
            said = one_line(error.stderr.decode("utf-8", "replace"), characters_max=300)
            raise TransientError(f"{doing} ended without an answer: {said or 'no words'}") from error
        except OSError as error:
            raise TransientError(f"{doing} cannot be started: {error.strerror}") from error
        answer = json.loads(data)
        if answer.get("memory"):
            raise _too_large(doing, limits)
        if "error" in answer:
            raise Failed(answer["error"])
        return answer["result"]

    async def close(self) -> None:
        await self._workers.close()


def _too_large(doing: str, limits: Limits) -> UserError:
    text = f"{doing} needs more memory than the {limits.tool_memory_bytes // (1 << 20)} MiB that it may use"
    return UserError(text, remedy="Look for what grows without end in what it renders, or split the Application")
