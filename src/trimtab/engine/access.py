"""Who is let in and what they may, while the engine works: the rights of the configuration that holds now, and the tokens on the record.

Nothing is remembered between two requests but who failed too often: a token that was revoked, a User that Git has disabled, or a
Grant that is gone counts from the next question on, in streams that are running too.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import logging
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Literal

import msgspec

from trimtab.core.decide import rights, tokens
from trimtab.core.decide.rights import Directory
from trimtab.core.model.config import Configuration
from trimtab.core.model.errors import NotFound, Refused, TrimtabError, UserError
from trimtab.core.model.event import Event
from trimtab.core.model.names import Key
from trimtab.core.model.rights import (
    OPERATOR,
    Action,
    Allowed,
    Denied,
    Principal,
    Refusal,
    Resource,
    TokenScope,
)
from trimtab.core.model.text import one_line, without_credentials
from trimtab.core.model.token import Token
from trimtab.core.model.views import GrantedView, NewTokenView, TokensView, TokenView, WhoView
from trimtab.ports import hosting
from trimtab.ports.store import Writes

from .engine import Engine, Session
from .people import Directories
from .throttle import Throttle

DESCRIPTION_CHARACTERS_MAX = 200
SCHEMES = ("bearer", "basic")
_NOBODY = rights.directory(Configuration())
_UNKNOWN = Refusal(
    "the token is missing or wrong",
    "Show one that `trimtab token create` made, or, on the server's own machine, that in its data directory",
)
log = logging.getLogger(__name__)


class Access:
    """Implements `ports.people.People`, and the commands about tokens."""

    def __init__(self, engine: Engine, *, operator_token: str, throttle: Throttle | None = None) -> None:
        if not operator_token:
            raise ValueError("an empty token would let everybody in")
        self._engine = engine
        self._operator = operator_token.encode()
        self._throttle = throttle or Throttle()
        self._directories = Directories()

    # --- who ----------------------------------------------------------------------------------------------------------------

    async def authenticate(self, headers: Sequence[tuple[bytes, bytes]], address: str) -> Principal | Refusal:
        given = [value for name, value in headers if name.lower() == b"authorization"]
        if not given:
            return _UNKNOWN
        if len(given) > 1:
            return Refusal("there is more than one Authorization header", "Send one")
        login, shown = _shown(given[0])
        # Compared as bytes in constant time, before anything that depends on who asks: the key of the machine is never locked out.
        if hmac.compare_digest(shown, self._operator) and login in (None, OPERATOR, "token", ""):
            return Principal(OPERATOR, operator=True)
        now = self._engine.parts.clock.monotonic()
        if wait := self._throttle.wait(address, now):
            return Refusal("too many logins failed from this address", f"Wait {wait} seconds", 429, wait)
        found = await self._token(login, shown.decode("utf-8", "replace"))
        if isinstance(found, Refusal) and self._throttle.failed(address, now):
            await self._note(
                "login.refused", f"too many logins failed from {one_line(address) or 'the socket'}; the last: {found.reason}"
            )
        return found

    async def _token(self, login: str | None, shown: str) -> Principal | Refusal:
        session = self._engine.session
        if session is None:
            return Refusal("this server stands by or is still starting", "Ask again in a moment", 503, 2)
        # The same work for every login: what is looked up is the digest of what was shown, which nobody can steer.
        digest = tokens.digest(shown)
        token = session.tokens.get(digest[: tokens.ID_CHARACTERS])
        if token is None or not hmac.compare_digest(token.digest, digest):
            return _UNKNOWN
        if not hmac.compare_digest((token.user if login is None else login).encode(), token.user.encode()):
            return _UNKNOWN
        if why := tokens.ended(token, self.directory, self._engine.parts.clock.now()):
            await self._note("token.refused", f"token {token.id} of {token.user}: {why}")
            return Refusal(why, "Ask for a new one: trimtab token create")
        await self._used(session, token)
        return tokens.principal(token)

    async def _used(self, session: Session, token: Token) -> None:
        now = self._engine.parts.clock.now()
        if token.used is not None and now - token.used < tokens.USED_EVERY:
            return
        try:
            await self._put(session, msgspec.structs.replace(token, used=now))
        except TrimtabError as error:
            log.info("note that token %s is used: %s", token.id, error)

    # --- what ---------------------------------------------------------------------------------------------------------------

    @property
    def directory(self) -> Directory:
        """The rights that hold now, resolved once for each configuration."""
        session = self._engine.session
        if session is None:
            return _NOBODY
        return self._directories.of(session.world.configuration)

    def may(self, principal: Principal, action: Action, resource: Resource, *, somewhere: bool = False) -> Allowed | Denied:
        if why := self.ended(principal):
            return Denied(why)
        return rights.may(principal, action, resource, self.directory, somewhere=somewhere)

    def permit(self, principal: Principal, repository: str, act: Literal["read", "write"]) -> Allowed | Denied:
        resource = Resource(repository=repository)
        found = self.may(principal, Action.READ, resource)
        if act == "read" or isinstance(found, Denied):
            return found
        return rights.may(principal, Action.PROPOSE, resource, self.directory, somewhere=True)

    def ended(self, principal: Principal) -> str:
        session = self._engine.session
        if principal.operator or session is None:
            return ""
        token = session.tokens.get(principal.token)
        if token is None:
            return "the token was revoked"
        return tokens.ended(token, self.directory, self._engine.parts.clock.now())

    def resources(self, application: str, environment: str) -> list[Resource]:
        """What an Application is to rights: one Resource for each Environment that it is in, or what was asked for when there is none."""
        session = self._engine.session
        if environment and session is not None:
            return [self.resource(Key(environment, application))]
        known = sorted({key for key, _, _ in session.world.declared()} | session.world.states.keys()) if session else []
        keys = [key for key in known if key.application == application]
        return [self.resource(key) for key in keys] or [Resource(application=application, environment=environment)]

    def resource(self, key: Key) -> Resource:
        session = self._engine.current()
        found = session.world.application(key)
        if found is None:
            return Resource(environment=key.environment, application=key.application)
        application, placement = found
        source = application.spec.source
        return Resource(
            repository=without_credentials(source.repository or self._engine.parts.repository),
            project=application.spec.project,
            environment=key.environment,
            path=placement.path or source.path,
            application=key.application,
        )

    async def acted(self, principal: Principal, what: str) -> None:
        """Tell loudly that the operator did what nobody is granted. Recorded before it is done, so it cannot be hidden by a crash."""
        if principal.operator and self.directory.declared:
            await self._write(self._engine.current(), Event("operator.acted", self._engine.parts.clock.now(), one_line(what)))

    # --- tokens -------------------------------------------------------------------------------------------------------------

    async def create_token(
        self, by: Principal, *, user: str, days: int, description: str, scope: TokenScope, who: str = ""
    ) -> NewTokenView:
        """The only time that the token is shown. Raises NotFound, UserError or Refused."""
        session, now = self._engine.current(), self._engine.parts.clock.now()
        if not self.directory.known(user):
            raise NotFound(
                f"make a token: Git declares no User {one_line(user)}, or it is disabled", remedy="Declare the User in .trimtab/"
            )
        self._permit_tokens(by, user)
        own = [one for one in session.tokens.values() if one.user == user and not tokens.ended(one, self.directory, now)]
        if len(own) >= tokens.TOKENS_MAX:
            raise UserError(
                f"make a token: {user} has {len(own)}", remedy="Revoke those that are not needed: trimtab token revoke"
            )
        expires = now + timedelta(days=days)
        if not self._administers(by):
            current = session.tokens.get(by.token)
            assert current is not None
            if by.scope != TokenScope():
                raise Refused(
                    "make a token: this one is narrowed, and a narrowed token makes no other", remedy="Use one without a scope"
                )
            expires = min(expires, current.expires)
        secret = tokens.text(self._engine.parts.chance.token() + self._engine.parts.chance.token())
        digest = tokens.digest(secret)
        made = Token(
            id=digest[: tokens.ID_CHARACTERS],
            user=user,
            digest=digest,
            created=now,
            expires=expires,
            by=who or by.user,
            description=one_line(description, characters_max=DESCRIPTION_CHARACTERS_MAX),
            scope=scope,
        )
        event = Event(
            "token.created", now, f"{made.by} made token {made.id} for {user}, until {expires:%Y-%m-%d}", data={"user": user}
        )
        await self._put(session, made, event)
        return NewTokenView(secret, _view(made, ""))

    async def revoke_token(self, by: Principal, id: str, who: str = "") -> TokenView:  # noqa: A002
        session, now = self._engine.current(), self._engine.parts.clock.now()
        found = [one for one in session.tokens.values() if len(id) >= 4 and one.id.startswith(id)]
        mine = [one for one in found if one.user == by.user or self._administers(by)]
        if len(mine) != 1:
            raise NotFound(
                f"revoke token {one_line(id)}: there is none" if not mine else f"revoke token {one_line(id)}: several begin so",
                remedy="See: trimtab token list",
            )
        if mine[0].revoked is not None:
            return _view(mine[0], "the token was revoked")
        gone = msgspec.structs.replace(mine[0], revoked=now)
        event = Event("token.revoked", now, f"{who or by.user} revoked token {gone.id} of {gone.user}", data={"user": gone.user})
        await self._put(session, gone, event)
        return _view(gone, "the token was revoked")

    async def list_tokens(self, by: Principal) -> TokensView:
        """All of them for an admin, and everybody's own."""
        session, now = self._engine.current(), self._engine.parts.clock.now()
        for old in tokens.to_forget(session.tokens.values(), now):
            await session.journal.write(Writes(documents=((f"token/{old.id}", None),)))
            del session.tokens[old.id]
        shown = [one for one in session.tokens.values() if one.user == by.user or self._administers(by)]
        return TokensView(
            [_view(one, tokens.ended(one, self.directory, now)) for one in sorted(shown, key=lambda one: (one.user, one.created))]
        )

    async def whoami(self, principal: Principal) -> WhoView:
        """Who asks, and what they may."""
        session, people = self._engine.current(), self.directory
        user = people.users.get(principal.user)
        groups = people.groups.get(principal.user, frozenset())
        token = session.tokens.get(principal.token)
        granted = [
            GrantedView(name, grant.spec.role, grant.spec.emergency, msgspec.to_builtins(grant.spec.scope))
            for name, grant in sorted(session.world.configuration.grants.items())
            if not principal.operator and (principal.user in grant.spec.users or groups & set(grant.spec.groups))
        ]
        return WhoView(
            user=principal.user,
            name=user.spec.name if user is not None else "",
            operator=principal.operator,
            groups=sorted(groups),
            grants=granted,
            token=_view(token, "") if token is not None else None,
        )

    def _permit_tokens(self, by: Principal, user: str) -> None:
        if by.user != user and not self._administers(by):
            found = self.may(by, Action.ADMINISTER, Resource())
            assert isinstance(found, Denied)
            raise Refused(f"make a token for {one_line(user)}: {found.reason}", remedy=found.remedy)

    def _administers(self, by: Principal) -> bool:
        return isinstance(self.may(by, Action.ADMINISTER, Resource()), Allowed)

    async def _put(self, session: Session, token: Token, *events: Event) -> None:
        body = msgspec.json.encode(token)
        await session.journal.write(Writes(events=events, documents=((f"token/{token.id}", body),)))
        session.tokens[token.id] = token

    async def _note(self, kind: str, message: str) -> None:
        """What is not worth failing for."""
        try:
            if self._engine.session is not None:
                await self._write(self._engine.session, Event(kind, self._engine.parts.clock.now(), message))
        except TrimtabError as error:
            log.warning("record %s: %s", kind, error)

    async def _write(self, session: Session, event: Event) -> None:
        await session.journal.write(Writes(events=(event,)))


class GitEntry:
    """The same, as the Git server asks (`ports.hosting.Entry`)."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def authenticate(self, headers: Mapping[str, str], address: str) -> Principal | hosting.Denied:
        raw = [(name.encode("latin-1", "replace"), value.encode("latin-1", "replace")) for name, value in headers.items()]
        found = await self._access.authenticate(raw, address)
        return hosting.Denied(f"{found.reason}. {found.remedy}", found.retry_after) if isinstance(found, Refusal) else found

    async def permit(self, principal: hosting.Principal, repository: str, right: hosting.Right) -> hosting.Denied | None:
        assert isinstance(principal, Principal), "as it came from authenticate"
        found = self._access.permit(principal, f"{hosting.HOSTED}{repository}", right)
        return hosting.Denied(f"{found.reason}. {found.remedy}") if isinstance(found, Denied) else None


def _shown(header: bytes) -> tuple[str | None, bytes]:
    """(login, secret) of an Authorization header; the login is None where the scheme has none, the secret b"" where nothing can be read."""
    scheme, _, rest = header.strip().partition(b" ")
    match scheme.lower():
        case b"bearer":
            return None, rest.strip()
        case b"basic":
            try:
                login, colon, secret = base64.b64decode(rest.strip(), validate=True).partition(b":")
            except binascii.Error:
                return None, b""
            return login.decode("utf-8", "replace"), secret if colon else b""
    return None, b""


def _view(token: Token, ended: str) -> TokenView:
    return TokenView(
        id=token.id,
        user=token.user,
        description=token.description,
        created=token.created,
        expires=token.expires,
        by=token.by,
        actions=[str(one) for one in token.scope.actions],
        projects=list(token.scope.projects),
        environments=list(token.scope.environments),
        repositories=list(token.scope.repositories),
        used=token.used,
        ended=ended,
    )
