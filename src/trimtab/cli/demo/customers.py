"""Customers of the shop: they visit it all the time, and remember every visit that failed."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType

VISIT_SECONDS_MAX = 10.0
PAUSE_SECONDS = 0.02
FAILURES_KEPT = 20


@dataclass(frozen=True)
class Visit:
    """``text`` is what the shop said, ``pid`` the process that said it."""

    text: str
    pid: int


def visit(address: str) -> Visit:
    """GET http://``address``/. Raises OSError when there is no answer, or another one than 200."""
    connection = http.client.HTTPConnection(address, timeout=VISIT_SECONDS_MAX)
    try:
        connection.request("GET", "/")
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace").strip()
    except http.client.HTTPException as error:
        raise OSError(f"{type(error).__name__}: {error}") from error
    finally:
        connection.close()
    if answer.status != 200:
        raise OSError(f"HTTP {answer.status} {answer.reason}")
    return Visit(text, int(answer.headers.get("Served-By", "0")))


@dataclass
class Customers:
    """``with Customers(["127.0.0.1:30123"]) as customers: …``: one customer for each address, until the end of the block."""

    addresses: Sequence[str]
    answered: int = 0
    failures: list[str] = field(default_factory=list)
    slowest: float = 0.0
    pids: set[int] = field(default_factory=set)
    said: set[str] = field(default_factory=set)

    def __enter__(self) -> Customers:
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._visit, args=(one,), daemon=True) for one in self.addresses]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(VISIT_SECONDS_MAX)

    def told(self) -> str:
        return f"{self.answered} requests answered, {len(self.failures)} failed"

    def _visit(self, address: str) -> None:
        while not self._end.wait(PAUSE_SECONDS):
            began = time.monotonic()
            try:
                seen = visit(address)
            except OSError as error:
                with self._lock:
                    if len(self.failures) < FAILURES_KEPT:
                        self.failures.append(f"{address}: {error}")
                continue
            with self._lock:
                self.answered += 1
                self.slowest = max(self.slowest, time.monotonic() - began)
                self.pids.add(seen.pid)
                self.said.add(seen.text)
