"""Every error that Trimtab raises on purpose, and the value that a person reads.

    TrimtabError
    ├── UserError        the input is wrong: wait for a commit (or for corrected arguments)
    │   └── NotFound     it names something that is not there
    ├── TransientError   the world did not answer: retry with back-off
    ├── Refused          policy or permission: say who can
    │   └── Forbidden    no Grant allows it
    └── Bug              our own invariant broke: stop this key, keep the others going

The type tells the next move. The text says what we were doing, to what, what went wrong, and what to do.
Expected trouble is a value (:class:`Problem`, ``Failed``, ``Hold``); exceptions are for the rest.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec


class Problem(msgspec.Struct, frozen=True, omit_defaults=False):
    """One thing that is wrong in somebody's input, and where it stands.

    ``file`` is relative to the repository's root ("" where there is none), ``line`` counts from 1 (0: unknown),
    ``field`` is a dotted path such as ``spec.replicas`` ("" where it is not about a field).
    """

    message: str
    file: str = ""
    line: int = 0
    field: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.file and self.line else self.file
        parts = [part for part in (where, self.field, self.message) if part]
        text = ": ".join(parts)
        return f"{text}. {self.remedy}" if self.remedy else text


class Awaited(Problem, frozen=True):
    """A Problem that may come right without a commit here: what is missing may be on its way, brought by somebody else."""


class TrimtabError(Exception):
    """The root. ``problems`` holds every single thing that is known to be wrong, at least one."""

    def __init__(self, message: str, *, remedy: str = "", problems: Iterable[Problem] = ()) -> None:
        self.message = message
        self.remedy = remedy
        self.problems = tuple(problems) or (Problem(message=message, remedy=remedy),)
        super().__init__(message)

    def __str__(self) -> str:
        return f"{self.message}. {self.remedy}" if self.remedy else self.message


class UserError(TrimtabError):
    """The input is wrong; trying again without a change is useless."""


class NotFound(UserError):  # noqa: N818
    """What was asked for by name is not there."""


class TransientError(TrimtabError):
    """The world did not answer or answered that it is busy; trying again later may work."""


class Refused(TrimtabError):  # noqa: N818 - a refusal is an answer, not an accident
    """A rule says no. ``remedy`` says who or what can say yes."""


class Forbidden(Refused):
    """Nobody has granted it to whoever asks."""


class Bug(TrimtabError):  # noqa: N818
    """An invariant of ours does not hold. The key that met it stops; the others go on."""
