"""Which fields differ between what is there and what the target would store.

Both sides come in the shape that one target defines (`Observed.body`, `Preview.bodies`), so a plain comparison of JSON values is
the truth. Ignored pointers are left out of the comparison, and carried over from what is there when the object is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from trimtab.core.model.config import Ignore
from trimtab.core.model.manifest import Body, canonical
from trimtab.core.model.names import ObjectRef
from trimtab.core.model.plan import FieldChange

CHANGES_MAX = 1_000
"""More than this many fields of one object are not listed; the first ones stand for all."""


class _Absent:
    pass


_ABSENT = _Absent()


def changes(observed: Body | None, predicted: Body | None, ignored: Sequence[str] = ()) -> tuple[FieldChange, ...]:
    """The fields to change to get from ``observed`` to ``predicted`` (None: the object is not there), by RFC 6901 pointer."""
    if observed is not None and predicted is not None and canonical(observed) == canonical(predicted):
        return ()  # nearly every look ends here, so it is made cheap
    found = []
    for change in _differ("", observed if observed is not None else _ABSENT, predicted if predicted is not None else _ABSENT):
        if not any(_covers(pointer, change.path) for pointer in ignored):
            found.append(change)
        if len(found) == CHANGES_MAX:
            break
    return tuple(found)


def ignored_pointers(rules: Iterable[Ignore], ref: ObjectRef) -> tuple[str, ...]:
    """The pointers of every rule that speaks of ``ref``."""
    return tuple(
        pointer
        for rule in rules
        if rule.group in ("", ref.group) and rule.kind in ("", ref.kind) and rule.name in ("", ref.name)
        for pointer in rule.pointers
    )


def carry_over(body: Body, observed: Body, pointers: Iterable[str]) -> Body:
    """``body`` with the ignored fields as they are in ``observed``, so that writing the object does not overwrite them."""
    result: Any = body
    for pointer in pointers:
        value = _get(observed, _parts(pointer))
        if not isinstance(value, _Absent):
            result = _put(result, _parts(pointer), value)
    return result  # type: ignore[no-any-return]


def _differ(path: str, old: Any, new: Any) -> Iterator[FieldChange]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted(old.keys() | new.keys()):
            yield from _differ(f"{path}/{_escape(name)}", old.get(name, _ABSENT), new.get(name, _ABSENT))
    elif isinstance(old, list) and isinstance(new, list):
        for index in range(max(len(old), len(new))):
            yield from _differ(
                f"{path}/{index}",
                old[index] if index < len(old) else _ABSENT,
                new[index] if index < len(new) else _ABSENT,
            )
    elif not _equal(old, new):
        yield FieldChange(path, _shown(old), _shown(new))


def _equal(old: Any, new: Any) -> bool:
    # JSON tells true from 1, Python does not.
    return (type(old) is type(new) and bool(old == new)) or (_number(old) and _number(new) and bool(old == new))


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: Any) -> Any:
    return None if isinstance(value, _Absent) else value


def _escape(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _parts(pointer: str) -> list[str]:
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def _covers(pointer: str, path: str) -> bool:
    return path == pointer or path.startswith(pointer + "/")


def _get(value: Any, parts: list[str]) -> Any:
    for part in parts:
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return _ABSENT
    return value


def _put(value: Any, parts: list[str], new: Any) -> Any:
    if not parts:
        return new
    head, rest = parts[0], parts[1:]
    if isinstance(value, list) and head.isdigit() and int(head) < len(value):
        copy = list(value)
        copy[int(head)] = _put(value[int(head)], rest, new)
        return copy
    if isinstance(value, dict):
        return {**value, head: _put(value.get(head, {}), rest, new)}
    return value
