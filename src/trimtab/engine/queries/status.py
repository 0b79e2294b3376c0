"""Where is my commit: `trimtab status`."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from trimtab.core.model.deployment import ENDED, Phase, moving
from trimtab.core.model.errors import NotFound, Problem, TransientError, UserError
from trimtab.core.model.names import Key, Revision
from trimtab.core.model.views import (
    DeploymentView,
    StatusView,
)
from trimtab.engine.engine import Engine, Session
from trimtab.ports.store import Seen

from .reader import WELL, Reader, errors_of, problems_of

SEEN_SEARCHED_MAX = 500
LOOK_SECONDS = 0.1
"""The bell rings when something is stored, a moment before it holds in memory; so it is looked at again soon after."""
FAILED_FOR_GOOD_SECONDS = 5.0
"""`wait_status` gives up on a Deployment that has been failed for so long, and at once where only a commit helps."""


class StatusQueries(Reader):
    async def status(self, commit: str) -> StatusView:
        """The Deployments in force at ``commit`` ("" = the head of the configuration repository). Raises UserError for one unknown to Git."""
        session = self._engine.current()
        home = session.world.heads.get(session.declarer.home)
        if not commit:
            revision = home.revision if home is not None else None
            if home is None or revision is None:
                raise TransientError(f"answer: {home.problem if home else 'the repository'} has not been fetched yet")
            return await self._at(session, revision, session.world.sequence, home.sequence)
        revision, seen = await self._seen(session, commit)
        if seen is None:
            return StatusView(revision=revision, deployments=[], errors=errors_of(_head_problems(session)))
        return await self._at(session, revision, seen.sequence, seen.sequence)

    async def wait_status(self, commit: str, phase: str, timeout_seconds: float) -> StatusView:
        """`status` once what the commit changed is healthy, held, ended or failed for good, or when the time is over."""
        clock = self._engine.parts.clock
        end = clock.monotonic() + timeout_seconds
        async with _Bell(self._engine) as bell:
            while True:
                view = await self._patient_status(commit)
                if self._decided(view) or clock.monotonic() >= end:
                    return view
                await bell.wait(min(LOOK_SECONDS, end - clock.monotonic()))

    async def _patient_status(self, commit: str) -> StatusView:
        try:
            return await self.status(commit)
        except TransientError:
            return StatusView(revision=commit, deployments=[])
        except UserError:
            # A commit that was pushed a moment ago is not in the mirror yet.
            self._engine.current().follower.wake()
            return StatusView(revision=commit, deployments=[])

    def _decided(self, view: StatusView) -> bool:
        if view.seen is None or not view.settled:
            return False
        mine = [deployment for deployment in view.deployments if deployment.changed]
        failed = [one for one in mine if one.phase == Phase.FAILED]
        if failed:
            lasting = self._engine.parts.clock.now() - timedelta(seconds=FAILED_FOR_GOOD_SECONDS)
            return any(one.since <= lasting or self._only_a_commit_helps(one) for one in failed)
        return all(one.phase in (Phase.PENDING, Phase.HELD, *ENDED) or one.health in WELL for one in mine)

    def _only_a_commit_helps(self, failed: DeploymentView) -> bool:
        session, key = self._engine.current(), Key(failed.environment, failed.application)
        return bool(problems_of(session, key)) and not session.declarer.tries_again(key)

    async def _seen(self, session: Session, commit: str) -> tuple[Revision, Seen | None]:
        """The commit's full id, and the first Revision seen at a head that contains it."""
        problem: UserError | None = None
        for repository in sorted(
            {repository for repository, _ in session.world.heads}, key=lambda one: one != session.parts.repository
        ):
            try:
                revision = await session.parts.repositories.expand(repository, commit)
            except UserError as error:
                problem = problem or error
                continue
            exact = await session.parts.store.seen(repository=repository, revision=revision, limit=1)
            return revision, exact[0] if exact else await self._first_containing(session, repository, revision)
        raise problem or NotFound(f"find commit {commit}: no repository is followed yet")

    async def _first_containing(self, session: Session, repository: str, revision: Revision) -> Seen | None:
        first = None
        for seen in await session.parts.store.seen(repository=repository, limit=SEEN_SEARCHED_MAX):
            if not await session.parts.repositories.contains(repository, revision, seen.revision):
                break
            first = seen
        return first

    async def _at(self, session: Session, revision: str, sequence: int, changed_at: int) -> StatusView:
        # Asked before the rows are read: what is recorded then is among them.
        recorded = session.declarer.posted >= sequence and not session.workers.unrecorded
        rows = await session.parts.store.in_force(sequence)
        alive = session.world.states.keys() | {key for key, _, _ in session.world.declared()}
        shown = [
            DeploymentView.of(row, changed=row.sequence == changed_at)
            for row in sorted(rows, key=lambda row: (row.environment, row.application))
            if row.sequence == changed_at or row.key in alive
        ]
        rests = not moving(one.phase for one in shown if one.changed)
        home = session.world.heads[session.declarer.home]
        seen = await session.parts.store.seen(repository=session.parts.repository, revision=Revision(revision), limit=1)
        errors = errors_of([*_head_problems(session), *_all_problems(session)]) if home.revision == revision else []
        when = seen[0].time if seen else home.seen
        return StatusView(revision=revision, deployments=shown, seen=when, settled=recorded and rests, errors=errors)


class _Bell:
    """Rings when anything is recorded."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._rung = asyncio.Event()

    async def __aenter__(self) -> _Bell:
        self._task = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _listen(self) -> None:
        async for _ in self._engine.journal.follow():
            self._rung.set()

    async def wait(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._rung.wait(), max(seconds, 0.001))
        except TimeoutError:
            return
        self._rung.clear()


def _head_problems(session: Session) -> list[Problem]:
    return [Problem(head.problem, remedy=head.remedy) for _, head in sorted(session.world.heads.items()) if head.problem]


def _all_problems(session: Session) -> list[Problem]:
    seen = dict.fromkeys(session.world.configuration.problems)
    for key in sorted(session.world.problems.keys() | session.world.states.keys()):
        seen |= dict.fromkeys(problems_of(session, key))
    return list(seen)
