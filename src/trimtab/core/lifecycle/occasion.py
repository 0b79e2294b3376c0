"""Which Deployment the next one is for hooks: the first, a later one, or one that goes back. Pure.

Going back is to content with which the Application was healthy here before. What was healthy is a line, the oldest content first: going
back to one shortens the line to it, once that is healthy. So the way forward again is an upgrade, although its content was healthy once:
what an upgrade has to do was undone meanwhile.

    line of what was healthy    runs now     next    it is
    A                           B, healthy   A       back
    A B                         A, healthy   B       later; the line is A
    A                           B, failed    A       back
    A B                         A, failed    B       back: it is what was healthy last

Where the record was lost nobody knows what was healthy before, and going back is a Deployment like any later one.
"""

from __future__ import annotations

from trimtab.core.decide.hooks import Occasion

from .state import Reconciliation

PROVEN_MAX = 10
"""Contents that are remembered, as many as Helm keeps releases of unless it is told otherwise."""
PROVEN_CHARACTERS = 16


def occasion(state: Reconciliation, digest: str) -> Occasion:
    """What a Deployment of the content with ``digest`` is, were it begun now."""
    if not (state.deployed or state.settled):
        return ""
    return "back" if _short(digest) in _behind(state) else "later"


def proven(state: Reconciliation) -> tuple[str, ...]:
    """What was healthy, shortened, once another Deployment takes the place of what is current."""
    if state.current is None or not state.settled:
        return state.proven
    return (*_behind(state), _short(state.current.digest))[-PROVEN_MAX:]


def _behind(state: Reconciliation) -> tuple[str, ...]:
    """What was healthy before that which is current."""
    if state.current is None or not state.settled:
        return state.proven
    current = _short(state.current.digest)
    return state.proven[: state.proven.index(current)] if current in state.proven else state.proven


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:PROVEN_CHARACTERS]
