"""Every bound of the Git server, by name. The defaults fit configuration and the programs beside it, not archives of films."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Sizes in bytes, times in seconds.

    ``pack`` is one push as it is sent; ``object`` one file or other object, unpacked; ``memory`` what git may take at once to unpack one
    (larger files are streamed). ``cpu`` is the work that one push may cause. A client that is slower than ``rate`` bytes a second
    over ``idle`` seconds is let go. ``each`` says how many at once may be one User's: the others wait, so that nobody takes all.
    """

    pack_bytes: int = 2048 * MIB
    object_bytes: int = 512 * MIB
    memory_bytes: int = 256 * MIB
    stream_bytes: int = 32 * MIB
    request_bytes: int = 32 * MIB
    updates: int = 1000
    refs: int = 50_000
    ref_bytes: int = 255
    options: int = 64
    option_bytes: int = 1024
    lines: int = 500
    cpu_seconds: int = 900
    check_seconds: float = 900.0
    judge_seconds: float = 60.0
    tell_seconds: float = 120.0
    idle_seconds: float = 60.0
    rate_bytes: int = 1000
    fetches: int = 32
    fetches_each: int = 24
    pushes: int = 16
    pushes_each: int = 8
