"""Who fails to log in too often waits: by address, in bounded memory.

A locked address is refused before its token is looked at, so guessing gets nowhere. Nothing is ever locked by the *name* that
somebody gives: a stranger could lock everybody out who has one. A name costs a guesser nothing either, as tokens are chance. Whoever shares an
address with one that guesses, behind one gateway, waits with it; the key of the machine does not.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass
from math import ceil

FAILURES_MAX = 10
WINDOW_SECONDS = 60.0
LOCK_SECONDS = 30.0
LOCK_SECONDS_MAX = 900.0
FORGET_SECONDS = 3_600.0
ADDRESSES_MAX = 10_000


@dataclass
class _Failures:
    count: int = 0
    since: float = 0.0
    locks: int = 0
    until: float = 0.0
    last: float = 0.0


class Throttle:
    """``now`` is monotonic seconds. ``addresses_max`` bounds what is remembered; the one that failed longest ago is forgotten first."""

    def __init__(self, addresses_max: int = ADDRESSES_MAX) -> None:
        self._addresses_max = addresses_max
        self._failures: OrderedDict[str, _Failures] = OrderedDict()

    def wait(self, address: str, now: float) -> int:
        """Whole seconds until this address may try again; 0 when it may now."""
        found = self._failures.get(_network(address))
        return max(0, ceil(found.until - now)) if found is not None else 0

    def failed(self, address: str, now: float) -> bool:
        """A login failed. True when that has locked the address."""
        network = _network(address)
        found = self._failures.pop(network, None)
        if found is None or now - found.last > FORGET_SECONDS:
            found = _Failures(since=now)
        if now - found.since > WINDOW_SECONDS:
            found.count, found.since = 0, now
        found.count += 1
        found.last = now
        locked = found.count >= FAILURES_MAX
        if locked:
            found.until = now + min(LOCK_SECONDS * 2**found.locks, LOCK_SECONDS_MAX)
            found.count, found.locks = 0, min(found.locks + 1, 10)
        self._failures[network] = found
        while len(self._failures) > self._addresses_max:
            self._failures.popitem(last=False)
        return locked

    def __len__(self) -> int:
        return len(self._failures)


def _network(address: str) -> str:
    """What one guesser can change at will is one: the lower half of an IPv6 address."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address[:100]
    if isinstance(found, ipaddress.IPv6Address):
        return str(found.ipv4_mapped or ipaddress.IPv6Network((int(found) >> 64 << 64, 64)))
    return str(found)
