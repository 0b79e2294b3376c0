"""Secrets taken out of objects before anybody sees them: a body or a list of changes in, the same with ``***`` out.

Masked are the data of every Secret and whatever else stands in it that names and describes nothing, fields and environment entries
whose name says that they are secret, copies of whole objects that other programs keep in annotations, passwords inside addresses and
arguments, and private keys wherever they stand. Names of secrets and paths to them stay readable. Of a changed
secret one sees that it changed, and nothing else. This is for showing only: plans and digests are made of the real values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from trimtab.core.model.manifest import Body
from trimtab.core.model.names import ObjectRef
from trimtab.core.model.plan import FieldChange, Plan

MASK: Final = "***"
CHANGED: Final = "*** (changed)"

_WORDS: Final = r"passw(?:or)?d|passphrase|passwd|token|secret|api[-_]?key|private[-_]?key|access[-_]?key|credential"
_SECRET: Final = re.compile(_WORDS, re.IGNORECASE)
# The name of a secret, or where it is kept, is none.
_REFERENCE: Final = re.compile(
    r"(?:name|ref|refs|file|files|path|paths|dir|url|id|type|class|seconds|environment|selector)$", re.IGNORECASE
)
_OPEN: Final = frozenset({"apiVersion", "kind", "metadata", "type", "immutable", "status"})
"""What may be seen of a Secret. Its data goes by other names, too: where somebody has mistyped `stringData`."""
_PATHS: Final = "secretEnvironment"  # its values are the files that hold the secrets
# kubectl, kapp and others keep all of the object there, as one text.
_COPY: Final = re.compile(r"/(?:last-applied(?:-configuration)?|original(?:-diff)?)$")
_IN_ADDRESS: Final = re.compile(r"(\b[a-z][a-z0-9+.-]{0,30}://[^\s/:@]{0,256}:)[^\s/@]{1,1024}@", re.IGNORECASE)
_IN_ARGUMENT: Final = re.compile(rf"((?:^|[\s\"'])-{{0,2}}[\w.-]{{0,64}}(?:{_WORDS})[\w.-]{{0,64}}=)[^\s\"']+", re.IGNORECASE)
_PRIVATE_KEY: Final = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----")


def mask(body: Body) -> Body:
    """A copy of an object, of part of one, or of a status, without its secrets."""
    return _masked_dict(body, secret=False)


def hidden(body: Body) -> frozenset[str]:
    """Every text of an object, and every number as text, that is not shown, or not as it is."""
    return frozenset(_hidden(body, mask(body)))


def mask_changes(ref: ObjectRef, changes: Iterable[FieldChange]) -> tuple[FieldChange, ...]:
    """Changes of the object ``ref`` with masked values; that a secret changed remains to be seen."""
    return tuple(_masked_change(ref, change) for change in changes)


def mask_text(text: str) -> str:
    """One text without passwords in addresses and arguments, and without private keys."""
    if _PRIVATE_KEY.search(text):
        return MASK
    if "://" in text:
        text = _IN_ADDRESS.sub(rf"\1{MASK}@", text)
    return _IN_ARGUMENT.sub(rf"\1{MASK}", text) if "=" in text else text


def _masked_change(ref: ObjectRef, change: FieldChange) -> FieldChange:
    parts = [part.replace("~1", "/").replace("~0", "~") for part in change.path.split("/")[1:]]
    old, new = (_at(ref.kind, parts, value) for value in (change.from_, change.to))
    if old == new and old is not None and change.from_ != change.to:
        new = CHANGED if old == MASK else f"{new} (changed)"
    return msgspec.structs.replace(change, from_=old, to=new)


def _at(kind: str, parts: list[str], value: Any) -> Any:
    """``value`` as it may be shown at that place of an object of that kind."""
    if value is None:
        return None
    if not parts:
        return mask({"kind": kind, **value}) if isinstance(value, dict) else value
    if kind == "Secret":
        inner = value
        for part in reversed(parts[1:]):
            inner = {part: inner}
        inner = _in_secret(parts[0], inner)
        for part in parts[1:]:
            inner = inner[part]
        return inner
    # The name that goes with a value is not among the changes, so every value of such a list is hidden.
    in_list = len(parts) >= 3 and parts[-1] == "value" and parts[-2].isdigit() and parts[-3] in ("env", "environment")
    if _PATHS in parts:
        return value
    names = [part for part in parts if not part.isdigit()]
    if names and _COPY.search(names[-1]):
        return MASK
    return _masked(value, secret=in_list or (bool(names) and _is_secret(names[-1])))


def _in_secret(name: str, value: Any) -> Any:
    if name in _OPEN:
        return _masked(value, secret=False)
    return dict.fromkeys(value, MASK) if isinstance(value, dict) else MASK


def _masked(value: Any, *, secret: bool) -> Any:
    match value:
        case dict():
            return _masked_dict(value, secret=secret)
        case list():
            return [_masked(item, secret=secret) for item in value]
        case str() if value:
            return MASK if secret else mask_text(value)
        case int() | float() if secret and not isinstance(value, bool):
            return MASK
        case _:
            return value


def _masked_dict(value: dict[str, Any], *, secret: bool) -> dict[str, Any]:
    if value.get("kind") == "Secret":
        # A name beside the kind is a reference; whatever has no data has none to show.
        reference = "name" in value and "metadata" not in value
        return {name: _masked(one, secret=False) if reference else _in_secret(name, one) for name, one in value.items()}
    named = value.get("name")
    hidden = isinstance(named, str) and "value" in value and _is_secret(named)
    return {name: _entry(name, inner, secret=secret or (hidden and name == "value")) for name, inner in value.items()}


def _entry(name: str, value: Any, *, secret: bool) -> Any:
    if name == _PATHS:
        return value
    if _COPY.search(name) and isinstance(value, str):
        return MASK
    inherited = secret and not isinstance(value, dict) and _REFERENCE.search(name) is None
    return _masked(value, secret=_is_secret(name) or inherited)


def _is_secret(name: str) -> bool:
    return _SECRET.search(name) is not None and _REFERENCE.search(name) is None


def _hidden(value: Any, shown: Any) -> Iterator[str]:
    match value:
        case dict() if isinstance(shown, dict):
            for name, inner in value.items():
                yield from _hidden_in_copy(inner) if _COPY.search(name) else _hidden(inner, shown[name])
        case list() if isinstance(shown, list):
            for inner, seen in zip(value, shown, strict=True):
                yield from _hidden(inner, seen)
        case dict() | list():
            for inner in value.values() if isinstance(value, dict) else value:
                yield from _hidden(inner, MASK)
        case str() | int() | float() if value != shown and not isinstance(value, bool):
            yield str(value)


def _hidden_in_copy(text: Any) -> Iterator[str]:
    """Not the copy itself: nearly all of it may be seen elsewhere."""
    try:
        copy = msgspec.json.decode(text) if isinstance(text, str) else None
    except msgspec.DecodeError:
        return
    if isinstance(copy, dict):
        yield from hidden(copy)


def masked_plan(made: Plan) -> Plan:
    """The plan as it may be shown. Its hash is that of the plan that would be carried out, not of what is shown of it."""
    steps = tuple(msgspec.structs.replace(step, changes=mask_changes(step.ref, step.changes)) for step in made.steps)
    masked = msgspec.structs.replace(made, steps=steps)
    masked.__dict__["hash"] = made.hash
    return masked
