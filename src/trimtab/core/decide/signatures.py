"""Which signatures an Environment asks of a commit, and which keys are believed. Pure; git checks the signature itself.

The keys and the rules are those of the last configuration that was *trusted*, never of the commit that is judged: else a commit could
bring its own key, or take the rule away. A configuration with other people or rules is trusted once its own commit is signed
as every rule that holds so far asks; until then what was trusted before goes on to hold. The first rule is believed as it comes.
What is taken away counts at once: a key that Git no longer declares signs nothing, and a disabled User neither.

The server signs merges with a key of its own, which is nobody else's: such a commit counts for the Environments that it says it is signed
for, as the server writes that only after it has looked at what it merges.
"""

from __future__ import annotations

import msgspec

from trimtab.core.model.config import Configuration, Signatures
from trimtab.core.model.names import Revision
from trimtab.core.model.people import Group, User
from trimtab.core.model.signature import Signature, SigningKeys

from . import rights

SERVER = "trimtab:server"
"""Whose the server's own key is. No User can be called so."""


class Trust(msgspec.Struct, frozen=True):
    """What a configuration says of signatures. ``rules`` has each Environment that wants them."""

    users: dict[str, User] = {}
    groups: dict[str, Group] = {}
    rules: dict[str, Signatures] = {}


class Signed(msgspec.Struct, frozen=True):
    """A commit with what git says of its signature. ``environments`` are those that a merge of the server's own says it is signed for."""

    revision: Revision
    signature: Signature
    environments: frozenset[str] = frozenset()


def trust_of(configuration: Configuration) -> Trust:
    rules = {name: one.spec.signatures for name, one in configuration.environments.items() if one.spec.signatures.required}
    return Trust(dict(configuration.users), dict(configuration.groups), rules)


def keys(trust: Trust, configuration: Configuration) -> SigningKeys:
    """The keys that are trusted and that Git still declares, of Users that are disabled in neither."""
    ssh, openpgp = [], []
    for name, user in sorted(trust.users.items()):
        now = configuration.users.get(name)
        if now is None or now.spec.disabled or user.spec.disabled:
            continue
        ssh += [(name, key) for key in user.spec.ssh_keys if key in now.spec.ssh_keys]
        openpgp += [(name, key) for key in user.spec.openpgp_keys if key in now.spec.openpgp_keys]
    return SigningKeys(tuple(ssh), tuple(openpgp))


def with_server(keys: SigningKeys, server: str, *, merges: bool) -> SigningKeys:
    """``server`` is the server's own key, or "": it is nobody else's, whoever declares it. ``merges``: what it signed is known as its."""
    others = tuple((user, key) for user, key in keys.ssh if " ".join(key.split()[:2]) != server)
    own = ((SERVER, server),) if server and merges else ()
    return SigningKeys((*own, *others), keys.openpgp)


def missing(signed: Signed, environment: str, trust: Trust) -> str:
    """What of the Environment's rule the commit does not keep, with who can; "" when it keeps it."""
    why = wrong(signed, environment, trust)
    return f"{why}. A commit on top of it that is signed {who(trust.rules[environment])} lifts this" if why else ""


def who(rule: Signatures) -> str:
    return f"by a member of {' or '.join(rule.by)}" if rule.by else "by a User with a key in Git"


def wrong(signed: Signed, environment: str, trust: Trust) -> str:
    """What of the Environment's rule the commit does not keep; "" when it keeps it."""
    signature, rule, commit = signed.signature, trust.rules[environment], f"commit {signed.revision[:12]}"
    match signature.state:
        case "unsigned":
            return f"{commit} is not signed"
        case "unknown":
            return f"{commit} is signed with a key that Git does not declare{_detail(signature)}"
        case "bad":
            return f"{commit} has a signature that does not fit it{_detail(signature)}"
        case "expired" | "revoked":
            return f"{commit} is signed with a key that is {signature.state}{_detail(signature)}"
    if signature.user == SERVER:
        return "" if environment in signed.environments else f"{commit} is a merge that is not signed for {environment}"
    if rule.by and not _groups(trust, signature.user) & set(rule.by):
        return f"{commit} is signed by {signature.user}, who is in none of {', '.join(rule.by)}"
    return ""


def next_trust(before: Trust, offered: Trust, signed: Signed | None) -> tuple[Trust, str]:
    """(what is trusted now, why the offered is not). ``signed`` is the configuration's commit, needed where `differs`."""
    if not differs(before, offered):
        return offered, ""
    assert signed is not None
    for name in sorted(before.rules):
        if why := missing(signed, name, before):
            return before, f"people, keys and rules of signatures stay as they were, for Environment {name}: {why}"
    return offered, ""


def differs(before: Trust, offered: Trust) -> bool:
    """True when a signature has to be seen before ``offered`` is trusted."""
    return bool(before.rules) and before != offered


def _groups(trust: Trust, user: str) -> frozenset[str]:
    return rights.directory(Configuration(users=trust.users, groups=trust.groups)).groups.get(user, frozenset())


def _detail(signature: Signature) -> str:
    return f" ({signature.detail})" if signature.detail else ""
