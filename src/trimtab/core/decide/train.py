"""Which of the Changes that wait to be merged go together: the longest run from the first on that holds as a whole.

Each of them has been looked at by itself on the same base, so a train of one holds. Whether several hold together is found by trying
all, and when that fails by halving: after few trials it is known which one does not go with those before it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

TRAIN_MAX = 16


@dataclass(frozen=True)
class Train:
    """``holds`` is the longest run that is known to hold, ``fails`` the shortest that is known not to (one more than all: none is)."""

    holds: int
    fails: int

    @classmethod
    def of(cls, waiting: int) -> Train:
        """``waiting`` is how many there are, at least one."""
        return cls(1, min(waiting, TRAIN_MAX) + 1)

    @property
    def trial(self) -> int:
        """How many to try next; 0 when it is known how many go."""
        if self.fails - self.holds <= 1:
            return 0
        whole = self.holds == 1 and not self._halved
        return self.fails - 1 if whole else (self.holds + self.fails) // 2

    _halved: bool = False

    def tried(self, length: int, *, held: bool) -> Train:
        """What is known after a trial of the first ``length``."""
        return replace(self, holds=length) if held else replace(self, fails=length, _halved=True)
