"""Who is let in, and what they may: asked by everything that listens (the API, the Git server). One implementation, in the engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from trimtab.core.model.errors import Forbidden
from trimtab.core.model.rights import Action, Allowed, Denied, Principal, Refusal, Resource


class People(Protocol):
    """Nothing here raises: a refusal is an answer."""

    async def authenticate(self, headers: Sequence[tuple[bytes, bytes]], address: str) -> Principal | Refusal:
        """Who sent a request with these (ASGI) headers from ``address``: by `Authorization: Bearer TOKEN`, or Basic with the login and
        the token as its password. More than one Authorization header is a Refusal.
        """
        ...

    def ended(self, principal: Principal) -> str:
        """Why somebody who was let in earlier may nothing any more; "" otherwise. For what runs on: ask with each thing that is told."""
        ...

    def may(self, principal: Principal, action: Action, resource: Resource, *, somewhere: bool = False) -> Allowed | Denied:
        """By the rights that Git declares now. A Principal whose token was revoked since, or who was disabled, may nothing. ``somewhere``:
        whether there is a path where it is allowed.
        """
        ...

    def permit(self, principal: Principal, repository: str, act: Literal["read", "write"]) -> Allowed | Denied:
        """Whether ``principal`` may fetch from ``repository`` at all, or push to some path of it. Each path is then asked of `may`."""
        ...


@dataclass(frozen=True)
class Asker:
    """Somebody who asks for something whose Resource has to be found first, with whoever can tell what they may."""

    principal: Principal
    people: People

    @property
    def user(self) -> str:
        return self.principal.user

    def denied(self, action: Action, *resources: Resource) -> Denied | None:
        """The first thing that is missing."""
        found = (self.people.may(self.principal, action, one, somewhere=True) for one in resources)
        return next((one for one in found if isinstance(one, Denied)), None)

    def may(self, action: Action, *resources: Resource) -> bool:
        return self.denied(action, *resources) is None

    def require(self, doing: str, action: Action, *resources: Resource) -> None:
        """Raises Forbidden, with whom to ask."""
        if missing := self.denied(action, *resources):
            raise Forbidden(f"{doing}: {missing.reason}", remedy=missing.remedy)
