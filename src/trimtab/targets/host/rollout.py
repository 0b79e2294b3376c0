"""What to do next for one Process: pure. Its instances as they are come in, a few acts go out; called again after each of them.

    wanted incarnation:  (none) ──start──▶ starting ──ready──▶ published ─┐
    an earlier one:                        published ──withdraw──▶ draining ──stop──▶ stopping ──gone──▶ forgotten

Laws, each a property in the tests. Rolling: an act never leaves fewer ready instances than are wanted while there were as many
(so a release that never gets ready leaves the old one serving); never more than twice the wanted number live, not counting
what is already ending. Recreate: instances of two incarnations never live together. Once acts succeed and instances get
ready, it comes to rest with exactly the wanted ones.

An instance that nobody supervises (supervisord was killed) counts as an earlier one: it serves until a supervised one does.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class Wanted(msgspec.Struct, frozen=True):
    """``digest`` names the incarnation; ``drain_seconds`` bounds how long open connections may go on."""

    digest: str
    replicas: int
    recreate: bool = False
    fronted: bool = True
    drain_seconds: float = 10.0


class Instance(msgspec.Struct, frozen=True):
    """One instance as it is. ``lives`` is False when no process is there, now or soon (it ended for good, or was never started).

    ``since`` orders them by age. ``withdrawn`` is when the front stopped giving it new connections (monotonic seconds; None while
    it does, or may), ``connections`` how many it still has. ``stopping`` means that the signal was sent.
    """

    id: str
    digest: str
    since: float
    lives: bool = True
    ready: bool = False
    unsure: bool = False
    supervised: bool = True
    published: bool = False
    withdrawn: float | None = None
    connections: int = 0
    stopping: bool = False


class Acts(msgspec.Struct, frozen=True):
    """``start`` is how many new instances to make. ``publish`` is what the front should give connections to (None: leave it).
    ``stop`` and ``forget`` are ids: send the signal; remove what is left of one that has gone. ``due`` is when to ask again although
    nothing happened.
    """

    start: int = 0
    publish: tuple[str, ...] | None = None
    stop: tuple[str, ...] = ()
    forget: tuple[str, ...] = ()
    due: float | None = None


def decide(wanted: Wanted, instances: Sequence[Instance], now: float) -> Acts:
    """The next acts. Doing nothing is ``Acts()``."""
    gone = [each for each in instances if not each.lives and (each.stopping or not _current(each, wanted))]
    living = [each for each in instances if each not in gone]
    active = [each for each in living if not each.stopping]
    surplus = _surplus(wanted, active)
    serving = [each for each in active if each.ready and each.id not in surplus]
    leaving = [each for each in active if each.id in surplus]
    stop, due = _stops(wanted, leaving, now)
    return Acts(
        start=_starts(wanted, living),
        publish=_publish(wanted, active, serving, leaving),
        stop=stop,
        forget=tuple(each.id for each in gone),
        due=due,
    )


def _current(each: Instance, wanted: Wanted) -> bool:
    return each.digest == wanted.digest and each.supervised


def _surplus(wanted: Wanted, active: Sequence[Instance]) -> frozenset[str]:
    """Which may go: what is not current and serves nobody at once, others only beyond the wanted number; old before new."""
    current = [each for each in active if _current(each, wanted)]
    old = [each for each in active if not _current(each, wanted)]
    if wanted.recreate:
        extra = sorted(current, key=lambda each: (each.ready, -each.since))[: max(0, len(current) - wanted.replicas)]
        return frozenset(each.id for each in [*old, *extra])
    # Beyond the wanted number of current ones, those that are not ready go first, then the youngest.
    extra_current = sorted(current, key=lambda each: (each.ready, -each.since))[: max(0, len(current) - wanted.replicas)]
    # One that the front still gives connections to may only have stumbled: it goes when enough others can serve.
    enough = sum(each.ready for each in current) >= wanted.replicas
    leaving = {each.id for each in old if not each.ready and not each.unsure and (enough or not each.published)} | {
        each.id for each in extra_current if not each.ready
    }
    spare = sum(each.ready for each in active) - wanted.replicas
    candidates = [each for each in sorted(old, key=lambda each: each.since) if each.ready]
    candidates += [each for each in extra_current if each.ready]
    leaving |= {each.id for each in candidates[: max(0, spare)]}
    return frozenset(leaving)


def _publish(
    wanted: Wanted, active: Sequence[Instance], serving: Sequence[Instance], leaving: Sequence[Instance]
) -> tuple[str, ...] | None:
    """What the front should know. While nothing is ready it keeps what it has: a connection may wait there for a restart."""
    if not wanted.fronted:
        return None
    known = {each.id for each in active if each.published}
    want = {each.id for each in serving}
    if not want and wanted.replicas > 0 and not any(each.ready for each in leaving):
        return None
    return None if want == known else tuple(sorted(want))


def _stops(wanted: Wanted, leaving: Sequence[Instance], now: float) -> tuple[tuple[str, ...], float | None]:
    """Those that can be told to end now, and when to look at the others again."""
    stop: list[str] = []
    due: list[float] = []
    for each in leaving:
        if not wanted.fronted or not each.ready:
            stop.append(each.id)
        elif each.published:
            continue  # withdrawn from the front first: `publish` says so, and the next call sees it done
        elif each.connections == 0 or each.withdrawn is None or now >= each.withdrawn + wanted.drain_seconds:
            stop.append(each.id)
        else:
            due.append(each.withdrawn + wanted.drain_seconds)
    return tuple(stop), min(due, default=None)


def _starts(wanted: Wanted, living: Sequence[Instance]) -> int:
    current = [each for each in living if _current(each, wanted) and not each.stopping]
    missing = max(0, wanted.replicas - len(current))
    if wanted.recreate:
        others = [each for each in living if each not in current]
        return 0 if others else missing
    active = sum(not each.stopping for each in living)
    return max(0, min(missing, 2 * wanted.replicas - active))
