"""What the demo claims and whether it is true: each claim is shown with what was measured; the first untrue one ends the demo."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from trimtab.cli.demo.screen import Screen
from trimtab.core.model.views import DemoCheckView

PATIENCE_SECONDS = 30.0
"""How long something may take to become true. Far more than it needs: a slow machine is not untrue."""
PAUSE_SECONDS = 0.002

Value = TypeVar("Value")


class Untrue(Exception):  # noqa: N818 - it is the word for it
    """``claim`` was not true; ``seen`` is what was seen instead."""

    def __init__(self, claim: str, seen: str) -> None:
        super().__init__(f"{claim}: {seen}")
        self.claim, self.seen = claim, seen


class Checks:
    def __init__(self, screen: Screen, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self.done: list[DemoCheckView] = []
        self._screen = screen
        self._patience = patience_seconds

    def check(self, claim: str, true: bool, *, seen: object = "", measured: str = "") -> None:
        """Show a claim that is true, with what was measured. Raises Untrue, with ``seen``, for one that is not."""
        self.require(claim, true, seen=seen)
        self.done.append(DemoCheckView(claim, True, measured))
        self._screen.tick(claim, measured)

    def require(self, claim: str, true: bool, *, seen: object = "") -> None:
        """As `check`, without a word about what is true."""
        if not true:
            raise Untrue(claim, str(seen))

    def untrue(self, untrue: Untrue) -> None:
        """Put it on the list."""
        self.done.append(DemoCheckView(untrue.claim, False, untrue.seen))

    def summary(self) -> list[DemoCheckView]:
        """Each claim once, with what was measured last."""
        last = {check.claim: number for number, check in enumerate(self.done)}
        return [check for number, check in enumerate(self.done) if last[check.claim] == number]

    def wait(self, claim: str, look: Callable[[], Value], true: Callable[[Value], bool]) -> Value:
        """Look until it is true, and return what was seen then. Shows nothing; raises Untrue when patience ends."""
        end = time.monotonic() + self._patience
        while not true(seen := look()):
            self.require(claim, time.monotonic() < end, seen=f"not within {self._patience:g} s; what was seen last: {seen}")
            time.sleep(PAUSE_SECONDS)
        return seen


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 10 else f"{seconds:.1f} s"
