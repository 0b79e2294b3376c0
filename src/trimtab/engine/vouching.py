"""Signed commits: which commits content came from, and whether they are signed as the Environment asks.

A gate like the others: pending content waits, what ran goes on. Content may be vouched for by the commit that brought it, or by a
later one that carries the same content; with several repositories, by all of them at that time, that of the configuration among
them. Environments without a rule cost a look into a dictionary.

A merge that the server made itself vouches for the Environments that it says it is signed for (`changes/signing`), in hosted repositories
and nowhere else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from trimtab.core.decide.signatures import (
    SERVER,
    Signed,
    Trust,
    differs,
    keys,
    missing,
    next_trust,
    trust_of,
    with_server,
    wrong,
)
from trimtab.core.model.config import Configuration
from trimtab.core.model.deployment import Deployment
from trimtab.core.model.errors import TrimtabError
from trimtab.core.model.names import Key, Revision
from trimtab.core.model.signature import SigningKeys
from trimtab.ports.git import Repositories
from trimtab.ports.hosting import HOSTED, Hosting

from .changes.messages import signed_for
from .world import World

CARRIERS_MAX = 8
Commits = tuple[tuple[str, Revision], ...]
"""(repository, commit) of everything that content was made from."""


@dataclass(frozen=True)
class Carried:
    """Content of this digest is what these commits give."""

    digest: str
    commits: Commits


class Voucher:
    def __init__(self, world: World, repositories: Repositories, trust: Trust, hosting: Hosting | None = None) -> None:
        self._world = world
        self._repositories, self._hosting = repositories, hosting
        self.trust = trust
        self.problem = ""
        self._carried: dict[Key, deque[Carried]] = {}

    def carried(self, key: Key, digest: str, commits: Iterable[tuple[str, Revision]]) -> bool:
        """``commits`` give ``key`` the content of ``digest``; said before that content is posted. True when that is news."""
        if key.environment not in self.trust.rules:
            return False
        made = Carried(digest, tuple(sorted(set(commits))))
        known = self._carried.setdefault(key, deque(maxlen=CARRIERS_MAX))
        if made in known:
            return False
        known.append(made)
        return True

    async def missing(self, key: Key, pending: Deployment) -> tuple[str, ...]:
        """Why the content of ``pending`` may not start: the newest commits that carry it are told about."""
        rule = self.trust.rules.get(key.environment)
        if rule is None:
            return ()
        found = [one for one in self._carried.get(key, ()) if one.digest == pending.digest]
        if not found:
            return ("waits until it is known which commits it comes from",)
        why = ""
        for one in reversed(found):
            lacks = [why for repository, revision in one.commits if (why := await self._lack(key, repository, revision))]
            if not lacks:
                return ()
            why = why or lacks[0]
        return (why,)

    async def _lack(self, key: Key, repository: str, revision: Revision) -> str:
        try:
            signed = await self._signed(repository, revision, keys(self.trust, self._world.configuration))
        except TrimtabError as error:
            return f"the signature of commit {revision[:12]} could not be checked: {error.message}"
        return missing(signed, key.environment, self.trust)

    async def wrong(self, environment: str, repository: str, revision: Revision) -> str:
        """What ``environment``, which requires signatures, has against a commit. Raises TransientError when it cannot be checked."""
        signed = await self._signed(repository, revision, keys(self.trust, self._world.configuration))
        return wrong(signed, environment, self.trust)

    async def _signed(self, repository: str, revision: Revision, believed: SigningKeys) -> Signed:
        server = self._hosting.signer().key if self._hosting is not None else ""
        if self._hosting is None or not repository.startswith(HOSTED):
            believed = with_server(believed, server, merges=False)
            return Signed(revision, await self._repositories.signature(repository, revision, believed))
        name = repository.removeprefix(HOSTED)
        signature = await self._hosting.signature(name, revision, with_server(believed, server, merges=True))
        if signature.state != "good" or signature.user != SERVER:
            return Signed(revision, signature)
        return Signed(revision, signature, signed_for(self._hosting.history(name).commit(revision).message))

    async def consider(self, configuration: Configuration, repository: str, revision: Revision) -> Trust:
        """What would be trusted once ``configuration`` of that commit holds; `adopt` it when it is on the record."""
        offered, signed = trust_of(configuration), None
        if differs(self.trust, offered):
            # Keys of before that this very configuration takes away still count for it: it is what they may have signed last.
            believed = keys(self.trust, Configuration(users=self.trust.users, groups=self.trust.groups))
            try:
                signed = await self._signed(repository, revision, believed)
            except TrimtabError as error:
                self.problem = f"people, keys and rules of signatures stay as they were: {error.message}"
                return self.trust
        trusted, self.problem = next_trust(self.trust, offered, signed)
        return trusted

    def adopt(self, trust: Trust) -> bool:
        """True when it is another than before: what waits has to be looked at again."""
        changed = trust != self.trust
        self.trust = trust
        return changed


def encode(trust: Trust) -> bytes:
    return msgspec.json.encode(trust)


def decode(body: bytes | None) -> Trust:
    return msgspec.json.decode(body, type=Trust) if body else Trust()
