"""Which fields differ between what is there and what the target would store.

Both sides come in the shape that one target defines (`Observed.body`, `Preview.bodies`), so a plain comparison of JSON values is
the truth. Ignored fields are left out of the comparison, and carried over from what is there when the object is written.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from trimtab.core.model.manifest import Body, canonical
from trimtab.core.model.plan import FieldChange

from .pointers import ABSENT, drop, escape, get, places, put

CHANGES_MAX = 1_000
"""More than this many fields of one object are not listed; the first ones stand for all."""


def changes(observed: Body | None, predicted: Body | None, ignored: Sequence[str] = ()) -> tuple[FieldChange, ...]:
    """The fields to change to get from ``observed`` to ``predicted`` (None: the object is not there), by RFC 6901 pointer."""
    if observed is not None and predicted is not None:
        if canonical(observed) == canonical(predicted):
            return ()  # nearly every look ends here, so it is made cheap
        predicted = as_observed(predicted, observed, ignored)
    old, new = (ABSENT if body is None else body for body in (observed, predicted))
    return tuple(itertools.islice(_differ("", old, new), CHANGES_MAX))


def carry_over(body: Body, observed: Body, patterns: Iterable[str]) -> Body:
    """``body`` with the ignored fields as they are in ``observed``, so that writing the object does not overwrite them."""
    result: Any = body
    for place in places(patterns, observed):
        result = put(result, place, get(observed, place), at=observed)
    return result  # type: ignore[no-any-return]


def as_observed(body: Body, observed: Body, patterns: Iterable[str]) -> Body:
    """As `carry_over`, and without the ignored fields that ``observed`` does not have."""
    patterns = tuple(patterns)
    result: Any = carry_over(body, observed, patterns)
    for place in reversed(places(patterns, result)):
        if get(observed, place) is ABSENT:
            result = drop(result, place, beside=observed)
    return result  # type: ignore[no-any-return]


def without(body: Body, patterns: Iterable[str]) -> Body:
    """``body`` without the ignored fields."""
    result: Any = body
    for place in reversed(places(patterns, body)):
        result = drop(result, place)
    return result  # type: ignore[no-any-return]


def _differ(path: str, old: Any, new: Any) -> Iterator[FieldChange]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted(old.keys() | new.keys()):
            yield from _differ(f"{path}/{escape(name)}", old.get(name, ABSENT), new.get(name, ABSENT))
    elif isinstance(old, list) and isinstance(new, list):
        for index in range(max(len(old), len(new))):
            yield from _differ(
                f"{path}/{index}",
                old[index] if index < len(old) else ABSENT,
                new[index] if index < len(new) else ABSENT,
            )
    elif not _equal(old, new):
        yield FieldChange(path, _shown(old), _shown(new))


def _equal(old: Any, new: Any) -> bool:
    # JSON tells true from 1, Python does not.
    return (type(old) is type(new) and bool(old == new)) or (_number(old) and _number(new) and bool(old == new))


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: Any) -> Any:
    return None if value is ABSENT else value
