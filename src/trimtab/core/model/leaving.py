"""What is left to others: fields that somebody else may set, which are neither drift nor overwritten."""

from __future__ import annotations

import msgspec


class Leave(msgspec.Struct, frozen=True):
    """The ignore rules that speak of one object, as one: ``pointers`` may be patterns, ``writers`` are shell globs."""

    pointers: tuple[str, ...] = ()
    writers: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.pointers or self.writers)


class Left(msgspec.Struct, frozen=True):
    """One field (RFC 6901, or a pattern of it) that is left to somebody; ``to`` says whom, in words."""

    pointer: str
    to: str
