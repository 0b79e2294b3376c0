"""Which signatures an Environment asks of a commit, and which keys are believed. Pure; git checks the signature itself.

The keys and the rules are those of the last configuration that was *trusted*, never of the commit that is judged: else a commit could
bring its own key, or take the rule away. A configuration with other people or rules is trusted once its own commit is signed
as every rule that holds so far asks; until then what was trusted before goes on to hold. The first rule is believed as it comes.
What is taken away counts at once: a key that Git no longer declares signs nothing, and a disabled User neither.
"""

from __future__ import annotations

import msgspec

from trimtab.core.model.config import Configuration, Signatures
from trimtab.core.model.people import Group, User
from trimtab.core.model.signature import Signature, SigningKeys

from . import rights


class Trust(msgspec.Struct, frozen=True):
    """What a configuration says of signatures. ``rules`` has each Environment that wants them."""

    users: dict[str, User] = {}
    groups: dict[str, Group] = {}
    rules: dict[str, Signatures] = {}


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


def missing(signature: Signature, rule: Signatures, trust: Trust, *, revision: str) -> str:
    """What of the rule the commit does not keep, with who can; "" when it keeps it."""
    who = f"by a member of {' or '.join(rule.by)}" if rule.by else "by a User with a key in Git"
    lift = f"A commit on top of it that is signed {who} lifts this"
    commit = f"commit {revision[:12]}"
    match signature.state:
        case "unsigned":
            return f"{commit} is not signed. {lift}"
        case "unknown":
            return f"{commit} is signed with a key that Git does not declare{_detail(signature)}. {lift}"
        case "bad":
            return f"{commit} has a signature that does not fit it{_detail(signature)}. {lift}"
        case "expired" | "revoked":
            return f"{commit} is signed with a key that is {signature.state}{_detail(signature)}. {lift}"
    if rule.by and not _groups(trust, signature.user) & set(rule.by):
        return f"{commit} is signed by {signature.user}, who is in none of {', '.join(rule.by)}. {lift}"
    return ""


def next_trust(before: Trust, offered: Trust, signature: Signature | None, *, revision: str) -> tuple[Trust, str]:
    """(what is trusted now, why the offered is not). ``signature`` is that of the configuration's commit, needed where `differs`."""
    if not differs(before, offered):
        return offered, ""
    assert signature is not None
    for name, rule in sorted(before.rules.items()):
        if why := missing(signature, rule, before, revision=revision):
            return before, f"people, keys and rules of signatures stay as they were, for Environment {name}: {why}"
    return offered, ""


def differs(before: Trust, offered: Trust) -> bool:
    """True when a signature has to be seen before ``offered`` is trusted."""
    return bool(before.rules) and before != offered


def _groups(trust: Trust, user: str) -> frozenset[str]:
    return rights.directory(Configuration(users=trust.users, groups=trust.groups)).groups.get(user, frozenset())


def _detail(signature: Signature) -> str:
    return f" ({signature.detail})" if signature.detail else ""
