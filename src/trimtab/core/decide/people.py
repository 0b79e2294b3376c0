"""What is wrong with Users, Groups and Grants, and what a broken one still gives.

Elsewhere a broken document leaves everything as it was. A right is different: whoever takes one away must not be defeated by a
slip in the same document. So what was declared before goes on *narrowed* by what the broken document can still be read to say:
nobody keeps a right whom it no longer names, a Grant whose role or scope reads otherwise than before gives nothing, a key that
is not there any more signs nothing, and `disabled` holds unless it plainly says false. A file that cannot be read says nothing of
its documents, so they stay as they were: otherwise one tab too many would lock out the people who have to mend it. What is gone
from a file that can be read is gone at once, even while another file is broken.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from trimtab.core.model.config import Document, Environment, Origin
from trimtab.core.model.people import Grant, Group, User
from trimtab.core.model.rights import OPERATOR
from trimtab.core.model.text import escaped

from .positions import Path
from .strict import nearest

_KINDS: Final = ("User/", "Group/", "Grant/")
_OPENPGP_BEGIN: Final = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
_OPENPGP_END: Final = "-----END PGP PUBLIC KEY BLOCK-----"
_SSH_KINDS: Final = (
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
)
Found = tuple[Path, str, str]


def is_one(key: str) -> bool:
    """True for the key (``Kind/name``) of a User, a Group or a Grant."""
    return key.startswith(_KINDS)


def narrowed(
    before: Mapping[str, Document], said: Iterable[tuple[str, Any]], *, at: Mapping[str, Origin], hidden: Collection[str]
) -> dict[str, Document]:
    """``before`` with what may still hold of its people. ``said`` are their documents as they stand now, ``hidden`` the files that
    cannot be read, ``at`` where each was declared before.
    """
    found: dict[str, Document] = dict(before)
    seen = set()
    for key, value in said:
        seen.add(key)
        if key in found:
            found[key] = _narrowed(found[key], value)
    for key in before:
        if is_one(key) and key not in seen and (key not in at or at[key].file not in hidden):
            del found[key]
    return found


def _narrowed(before: Document, value: dict[str, Any]) -> Document:
    spec = value.get("spec")
    if not isinstance(spec, dict):
        spec = {}
    replace = msgspec.structs.replace
    match before:
        case User(spec=old):
            keys = {name: _still(getattr(old, field), spec, name) for field, name in _LISTS[User]}
            still = replace(old, ssh_keys=keys["sshKeys"], openpgp_keys=keys["openpgpKeys"], emails=keys["emails"])
            return replace(before, spec=replace(still, disabled=old.disabled or spec.get("disabled", False) is not False))
        case Group(spec=group):
            return replace(
                before, spec=replace(group, users=_still(group.users, spec, "users"), groups=_still(group.groups, spec, "groups"))
            )
        case Grant(spec=grant):
            same = all(_reads(spec, name, getattr(grant, name)) for name in ("role", "scope", "emergency"))
            users = _still(grant.users, spec, "users") if same else []
            groups = _still(grant.groups, spec, "groups") if same else []
            return replace(before, spec=replace(grant, users=users, groups=groups))
    return before


_LISTS: Final = {User: (("ssh_keys", "sshKeys"), ("openpgp_keys", "openpgpKeys"), ("emails", "emails"))}


def _still(old: list[str], spec: Mapping[str, Any], name: str) -> list[str]:
    """Those of ``old`` that are still written; none when the field is gone or is no list."""
    written = spec.get(name)
    return [one for one in old if one in written] if isinstance(written, list) else []


def _reads(spec: Mapping[str, Any], name: str, old: Any) -> bool:
    """True when the field still reads as it did. One that is not written reads as its default does."""
    if name not in spec:
        return name != "role" and old == type(old)()
    try:
        return bool(msgspec.convert(spec[name], type(old)) == old)
    except msgspec.ValidationError:
        return False


def wrong(one: Environment | User | Group | Grant, effective: Mapping[str, Document]) -> Iterator[Found]:
    """What is wrong with it among the others: names that are not there, circles, keys that are none or are somebody else's."""
    match one:
        case Environment():
            yield from _names(one.spec.signatures.by, "Group", ("signatures", "by"), effective)
        case User():
            yield from _user(one, effective)
        case Group():
            yield from _names(one.spec.users, "User", ("users",), effective)
            yield from _names(one.spec.groups, "Group", ("groups",), effective)
            yield from _circle(one, effective)
        case Grant():
            yield from _names(one.spec.users, "User", ("users",), effective)
            yield from _names(one.spec.groups, "Group", ("groups",), effective)
            if not one.spec.users and not one.spec.groups:
                yield ("spec", "users"), "it is given to nobody", "Name users or groups"


def _user(user: User, effective: Mapping[str, Document]) -> Iterator[Found]:
    if user.metadata.name == OPERATOR:
        yield ("metadata", "name"), f"{OPERATOR} is what the holder of the server's own token is called", "Choose another name"
    others = [one for one in effective.values() if isinstance(one, User) and one.metadata.name != user.metadata.name]
    taken = {_key(key): other.metadata.name for other in others for key in (*other.spec.ssh_keys, *other.spec.openpgp_keys)}
    addresses = {email.lower(): other.metadata.name for other in others for email in other.spec.emails}
    for index, email in enumerate(user.spec.emails):
        if email.count("@") != 1 or any(char in email for char in " <>,\n"):
            yield ("spec", "emails", index), f"{escaped(email, characters_max=60)} is no address", "Write name@domain"
        elif email.lower() in addresses:
            yield ("spec", "emails", index), f"{addresses[email.lower()]} has this address too", "One address is of one User"
    for field, keys, trouble in (
        ("sshKeys", user.spec.ssh_keys, _wrong_ssh),
        ("openpgpKeys", user.spec.openpgp_keys, _wrong_openpgp),
    ):
        for index, key in enumerate(keys):
            if found := trouble(key):
                yield ("spec", field, index), *found
            elif _key(key) in taken:
                yield ("spec", field, index), f"{taken[_key(key)]} has this key too", "One key is of one User"


def _key(key: str) -> str:
    """What makes it that key: its comment does not."""
    return key.strip() if key.lstrip().startswith("-----") else " ".join(key.split()[:2])


def _wrong_ssh(key: str) -> tuple[str, str] | None:
    """A message never shows the text: it may be a private key."""
    if "PRIVATE KEY" in key:
        return "this is a private key, and whoever reads the repository has it now", "Make a new pair, and write its public half"
    parts = key.split()
    remedy = "Write what stands in the .pub file: the kind, then the key"
    if "\n" in key.strip() or len(parts) < 2 or parts[0] not in _SSH_KINDS:
        return "this is no SSH public key", remedy
    try:
        data = base64.b64decode(parts[1], validate=True)
    except binascii.Error:
        return "this is no SSH public key", remedy
    kind = parts[0].encode()
    return None if data[:4] == len(kind).to_bytes(4, "big") and data[4:].startswith(kind) else ("this key is damaged", remedy)


def _wrong_openpgp(key: str) -> tuple[str, str] | None:
    if "PRIVATE KEY" in key:
        return "this is a private key, and whoever reads the repository has it now", "Make a new pair, and write its public half"
    text = key.strip()
    if text.startswith(_OPENPGP_BEGIN) and text.endswith(_OPENPGP_END) and text.count(_OPENPGP_BEGIN) == 1:
        return None
    return "this is no OpenPGP public key", "Write what `gpg --armor --export ADDRESS` prints"


def _names(names: list[str], kind: str, field: tuple[str, ...], effective: Mapping[str, Document]) -> Iterator[Found]:
    for index, name in enumerate(names):
        if f"{kind}/{name}" not in effective:
            known = [key.removeprefix(f"{kind}/") for key in effective if key.startswith(f"{kind}/")]
            remedy = nearest(name, known) if known else f"Declare the {kind} {name}"
            yield ("spec", *field, index), f"there is no {kind} {name}", remedy
        elif name in names[:index]:
            yield ("spec", *field, index), f"{name} is there twice", "Keep one of the two"


def _circle(group: Group, effective: Mapping[str, Document]) -> Iterator[Found]:
    """A Group that holds itself, by whatever way."""
    name = group.metadata.name
    for index, first in enumerate(group.spec.groups):
        seen, todo = {first}, [first]
        while todo:
            inner = effective.get(f"Group/{todo.pop()}")
            further = set(inner.spec.groups) - seen if isinstance(inner, Group) else set[str]()
            seen |= further
            todo += further
        if name in seen:
            yield ("spec", "groups", index), f"{name} would hold itself", "Remove one Group of the circle"
            return
