"""What people may ask for. Each command checks, hands the wish to the lifecycle, and says what happens now."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from trimtab.core.lifecycle.state import Approved, Happening, Requested, Resumed, Suspended, Suspension
from trimtab.core.model.config import Placement
from trimtab.core.model.errors import NotFound, Refused, UserError
from trimtab.core.model.event import Event
from trimtab.core.model.names import Key, Revision
from trimtab.core.model.text import without_credentials
from trimtab.core.model.views import Accepted
from trimtab.ports.hosting import HOSTED
from trimtab.ports.store import Writes

from .changes.asking import ChangeCommands
from .engine import Engine, Session
from .hosted import HostedCommands

REASON_CHARACTERS_MAX = 500


class Commands(HostedCommands, ChangeCommands):
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def wake(self, repository: str = "") -> Accepted:
        """Fetch ``repository`` ("" = every one) now, and look again at what is on it."""
        session = self._engine.current()
        session.follower.wake(repository)
        return Accepted("fetching")

    async def sync(self, name: str, environment: str, who: str = "") -> Accepted:
        """Fetch, render and look now, whatever the back-off says."""
        session = self._engine.current()
        for key in keys(session, name, environment):
            session.declarer.again(key)
            session.workers.post(key, Requested(who))
        session.follower.wake()
        return Accepted(f"looking at {name} now")

    async def approve(self, name: str, environment: str, hash: str, who: str) -> Accepted:  # noqa: A002
        """Lift the Holds of the plan with that hash, once as many people have said so as are asked for. Raises Refused when no plan of the
        application has it now, or when the approval of ``who`` does not count.
        """
        session = self._engine.current()
        for key in keys(session, name, environment):
            made = session.world.live[key].plan
            if made is None or made.hash != hash:
                continue
            if not any(hold.approvable for hold in made.holds):
                raise Refused(
                    f"approve {key}: nothing in this plan waits for approval", remedy=f"See: trimtab app explain {name}"
                )
            lacking = session.letting.yes(key, hash, who)
            if lacking:
                return Accepted(f"{key}: {lacking} more approval{'s' if lacking > 1 else ''} of this plan")
            session.workers.post(key, Approved(hash, who))
            return Accepted(f"{key}: {sum(hold.approvable for hold in made.holds)} held steps go ahead")
        raise Refused(
            f"approve {name}: no plan has the hash {hash[:80]} now; it may have changed since you looked",
            remedy=f"See the plan that holds now: trimtab app plan {name}",
        )

    async def suspend(self, name: str, environment: str, reason: str, until: datetime | None, who: str) -> Accepted:
        """Change nothing of it until ``until`` (None: until somebody resumes). Git is still read and drift still seen."""
        reason = reason.strip()[:REASON_CHARACTERS_MAX]
        if not reason:
            raise UserError(f"suspend {name}: say why", remedy='For example: --reason "disk is being replaced"')
        if until is not None and until <= self._engine.parts.clock.now():
            raise UserError(
                f"suspend {name}: {until.astimezone(UTC):%Y-%m-%d %H:%M:%SZ} is in the past", remedy="Name an end that is to come"
            )
        self._post(name, environment, Suspended(Suspension(reason, who, until)))
        return Accepted(f"{name} is suspended" + (f" until {until.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}" if until else ""))

    async def resume(self, name: str, environment: str, who: str) -> Accepted:
        self._post(name, environment, Resumed(who))
        return Accepted(f"{name} is reconciled again")

    async def accept(self, repository: str, revision: str, who: str) -> Accepted:
        """Follow a rewritten history from now on."""
        session = self._engine.current()
        session.follower.accept(repository, revision)
        repository = without_credentials(repository)
        event = Event("repository.accepted", self._engine.parts.clock.now(), f"{who} accepted {revision[:12]} of {repository}")
        await session.journal.write(Writes(events=(event,)))
        return Accepted(f"{repository}: {revision[:12]} is followed from now on")

    async def rollback(self, name: str, environment: str, revision: str, who: str) -> Accepted:
        """Take it back by a commit: the application's path as it was at ``revision`` ("" = the deployment before this one). Where the branch
        moves by Changes alone, the commit is proposed as one.
        """
        session = self._engine.current()
        key = keys(session, name, environment)[0]
        found = session.world.application(key)
        if found is None:
            raise NotFound(f"roll back {name}: Git does not declare it any more", remedy="Revert that commit in Git")
        application, placement = found
        if session.declarer.has_several_sources(key):
            raise UserError(
                f"roll back {name}: it has several sources", remedy="Use git revert in the one that brought the change"
            )
        source = application.sources[0]
        repository, expression = session.declarer.repository_of(key), placement.revision or source.revision
        target = await self._rollback_target(session, key, repository, revision)
        path = _path(placement, source.path)
        entry = session.parts.repositories.tree(repository, target).entry(path)
        if entry is None or not path:
            raise UserError(
                f"roll back {name}: {path or 'the whole repository'} cannot be taken back alone", remedy="Use git revert"
            )
        message = f"Roll back {name} to {target[:12]}\n\nRequested by {who}."
        edits, propose = {path: entry.id}, session.parts.repositories.propose
        branch = _protected(session, repository, expression)
        if branch:
            assert session.office is not None, "it keeps the repository"
            side = f"rollback/{name}-{target[:12]}"
            await propose(repository, expression, message, who, edits, to=side)
            review = await session.office.gate.propose(repository.removeprefix(HOSTED), side, branch, who)
            number = review.change.number
            return Accepted(f"change {number} takes {path} back to {target[:12]}: trimtab change show {number}")
        made = await propose(repository, expression, message, who, edits)
        session.follower.wake(repository)
        return Accepted(f"commit {made[:12]} takes {path} back to {target[:12]}")

    async def _rollback_target(self, session: Session, key: Key, repository: str, revision: str) -> Revision:
        if revision:
            return await session.parts.repositories.expand(repository, revision)
        rows = await session.parts.store.deployments(key=key, limit=50)
        current = session.world.states[key].current
        digest = current.digest if current is not None else ""
        for row in rows:
            if row.digest and row.digest != digest and (current is None or row.sequence < current.sequence):
                return Revision(row.revision)
        raise UserError(f"roll back {key}: there is no earlier deployment", remedy="Name a revision with --to")

    def _post(self, name: str, environment: str, happening: Happening) -> None:
        session = self._engine.current()
        for key in keys(session, name, environment):
            session.workers.post(key, happening)


def _protected(session: Session, repository: str, expression: str) -> str:
    """The branch of a hosted repository that a commit would go to, where it moves by Changes alone; "" where it does not."""
    if session.office is None or not repository.startswith(HOSTED):
        return ""
    surroundings, name = session.office.surroundings, repository.removeprefix(HOSTED)
    branch = expression.removeprefix("refs/heads/") or surroundings.default_branch(name)
    return branch if surroundings.is_protected(name, branch) else ""


def keys(session: Session, name: str, environment: str) -> Sequence[Key]:
    """The Keys of an application, in one Environment or in all. Raises NotFound."""
    known = sorted({key for key, _, _ in session.world.declared()} | session.world.states.keys())
    found = [key for key in known if key.application == name and environment in ("", key.environment)]
    if not found:
        names = sorted({key.application for key in known})
        where = f" in environment {environment}" if environment else ""
        shown = ", ".join(names[:10]) or "none"
        raise NotFound(f"find application {name}{where}: there is none", remedy=f"Applications: {shown}")
    return found


def _path(placement: Placement, source: str) -> str:
    path = (placement.path or source).strip("/")
    return "" if path == "." else path
