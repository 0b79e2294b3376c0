"""What people may know, in the shapes of `core.model.views`. Reads only: memory for what is, the store for what was."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from datetime import timedelta

import msgspec

from trimtab.core.decide.mask import mask, mask_changes
from trimtab.core.lifecycle.state import Reconciliation
from trimtab.core.model.deployment import ENDED, Deployment, Phase
from trimtab.core.model.errors import NotFound, Problem, TransientError, TrimtabError, UserError
from trimtab.core.model.event import Event
from trimtab.core.model.health import Health, HealthStatus, worst
from trimtab.core.model.names import Identity, Key, Revision
from trimtab.core.model.observed import Scope
from trimtab.core.model.plan import Plan
from trimtab.core.model.views import (
    ApplicationDetails,
    ApplicationRow,
    ApplicationsView,
    ApplicationView,
    DeploymentView,
    DoctorView,
    EnvironmentRow,
    EnvironmentsView,
    EnvironmentView,
    EventsView,
    ExplainView,
    Finding,
    HistoryView,
    ObjectView,
    PlanView,
    ProblemView,
    Reason,
    RepositoriesView,
    RepositoryRow,
    SourceView,
    StatusView,
    SuspensionView,
    combined_hash,
)
from trimtab.ports.store import Seen
from trimtab.ports.target import LogLine

from .commands import keys
from .engine import Engine, Session
from .world import GONE, Content

LIMIT_MAX = 1_000
SEEN_SEARCHED_MAX = 500
FAILED_FOR_GOOD_SECONDS = 5.0
"""`wait_status` gives up on a Deployment that has been failed for so long."""
WELL = frozenset({HealthStatus.HEALTHY, HealthStatus.SUSPENDED})


class Queries:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    # --- where is my commit -------------------------------------------------------------------------------------------------

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
            return StatusView(revision=revision, deployments=[], errors=_errors(_head_problems(session)))
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
                await bell.wait(min(1.0, end - clock.monotonic()))

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
            return any(one.since <= lasting for one in failed)
        return all(one.phase in (Phase.HELD, *ENDED) or one.health in WELL for one in mine)

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
        rows = await session.parts.store.in_force(sequence)
        alive = session.world.states.keys() | {key for key, _, _ in session.world.declared()}
        shown = [
            DeploymentView.of(row, changed=row.sequence == changed_at)
            for row in sorted(rows, key=lambda row: (row.environment, row.application))
            if row.sequence == changed_at or row.key in alive
        ]
        moving = any(one.phase in (Phase.PENDING, Phase.APPLYING) for one in shown if one.changed)
        recorded = session.declarer.posted >= sequence and not session.workers.unrecorded
        home = session.world.heads[session.declarer.home]
        seen = await session.parts.store.seen(repository=session.parts.repository, revision=Revision(revision), limit=1)
        errors = _errors([*_head_problems(session), *_all_problems(session)]) if home.revision == revision else []
        when = seen[0].time if seen else home.seen
        return StatusView(revision=revision, deployments=shown, seen=when, settled=recorded and not moving, errors=errors)

    # --- applications -------------------------------------------------------------------------------------------------------

    async def applications(self, environment: str = "", after: str = "", limit: int = LIMIT_MAX) -> ApplicationsView:
        """A page of rows in order of environment and application; ``after`` is the cursor that the page before gave."""
        session = self._engine.current()
        known = sorted({key for key, _, _ in session.world.declared()} | session.world.states.keys())
        rest = [key for key in known if environment in ("", key.environment) and f"{key.environment}/{key.application}" > after]
        page = rest[: max(1, min(limit, LIMIT_MAX))]
        cursor = f"{page[-1].environment}/{page[-1].application}" if len(page) < len(rest) else ""
        return ApplicationsView([self._row(session, key) for key in page], cursor)

    async def application(self, name: str, environment: str = "") -> ApplicationDetails:
        session = self._engine.current()
        return ApplicationDetails([await self._details(session, key) for key in keys(session, name, environment)])

    async def plan(self, name: str, environment: str = "") -> PlanView:
        """What would be done now, for what Git wants now (also where it waits for a gate or a person)."""
        session = self._engine.current()
        plans: list[Plan] = []
        problems: list[Problem] = []
        for key in keys(session, name, environment):
            problems += session.world.problems.get(key, ())
            content = _newest(session, key)
            if content is None:
                continue
            made = await session.hands.inspect(key, content)
            if isinstance(made, Plan):
                plans.append(_masked(made))
            else:
                problems += made
        return PlanView.of(plans, problems, combined=combined_hash(plans))

    async def history(self, name: str, environment: str = "", limit: int = 20) -> HistoryView:
        session = self._engine.current()
        rows: list[Deployment] = []
        for key in keys(session, name, environment):
            rows += await session.parts.store.deployments(key=key, limit=max(1, min(limit, LIMIT_MAX)))
        rows.sort(key=lambda row: -row.sequence)
        return HistoryView([DeploymentView.of(row) for row in rows[:limit]])

    async def explain(self, name: str, environment: str = "") -> list[ExplainView]:
        session = self._engine.current()
        return [self._explain(session, key) for key in keys(session, name, environment)]

    async def logs(
        self, name: str, environment: str = "", object: str = "", lines: int = 100, follow: bool = False
    ) -> AsyncIterator[LogLine]:
        """Lines of everything that the application runs, or of one ``object`` (its name, or Kind/name)."""
        session = self._engine.current()
        sources = []
        for key in keys(session, name, environment):
            target = session.hands.target(key.environment)
            refs = {entry.ref for entry in session.world.inventories[key.environment].of(key.application).values()}
            chosen = sorted(ref for ref in refs if object in ("", ref.name, str(ref)))
            sources += [target.logs(ref, lines=lines, follow=follow) for ref in chosen]
        if object and not sources:
            raise NotFound(f"read logs of {name}: it has no object {object}", remedy=f"See: trimtab app show {name}")
        async for line in _merge(sources):
            yield line

    def _row(self, session: Session, key: Key) -> ApplicationRow:
        state = session.world.states.get(key, Reconciliation())
        problems = session.world.problems.get(key, ())
        slot = (
            state.pending if state.pending is not None and state.pending.phase == Phase.FAILED else state.current or state.pending
        )
        return ApplicationRow(
            name=key.application,
            environment=key.environment,
            revision=_revision(session, key, state),
            sync=_sync(state, bool(problems)),
            health=state.health.status,
            message=str(problems[0]) if problems else _message(state, slot),
            suspended=state.suspension is not None,
        )

    async def _details(self, session: Session, key: Key) -> ApplicationView:
        state = session.world.states.get(key, Reconciliation())
        live, row = session.world.live[key], self._row(session, key)
        found = session.world.application(key)
        made = live.plan
        slot = state.current or state.pending
        seconds = session.workers.next_try(key)
        return ApplicationView(
            name=key.application,
            environment=key.environment,
            revision=row.revision,
            sync=row.sync,
            health=row.health,
            message=row.message,
            project=found[0].spec.project if found else "",
            repository=session.declarer.repository_of(key),
            path=(found[1].path or found[0].spec.source.path) if found else "",
            deployment=DeploymentView.of(slot) if slot is not None else None,
            suspension=SuspensionView(state.suspension.reason, state.suspension.until) if state.suspension else None,
            objects=await self._objects(session, key),
            holds=PlanView.of([made], [], combined="").holds if made is not None else [],
            plan_hash=made.hash if made is not None else "",
            errors=_errors(session.world.problems.get(key, ())),
            next_try=self._engine.parts.clock.now() + timedelta(seconds=seconds) if seconds is not None else None,
        )

    async def _objects(self, session: Session, key: Key) -> list[ObjectView]:
        live = session.world.live[key]
        content = _running(session, key)
        manifests = {manifest.identity: manifest for manifest in content.manifests}
        owned = session.world.inventories[key.environment].of(key.application)
        refs = {identity: entry.ref for identity, entry in owned.items()} | {identity: m.ref for identity, m in manifests.items()}
        try:
            observed = await session.hands.target(key.environment).observe(Scope(key.environment, tuple(refs.values())))
        except TrimtabError:
            observed = {}
        steps = {step.ref.identity: str(step.action) for step in live.plan.steps} if live.plan is not None else {}
        held = {hold.object.identity for hold in live.plan.holds if hold.object is not None} if live.plan is not None else set()
        views = []
        for identity, ref in sorted(refs.items()):
            manifest, there = manifests.get(identity), observed.get(identity)
            health = live.health.get(identity, Health(HealthStatus.UNKNOWN))
            views.append(
                ObjectView(
                    object=ref,
                    sync="held" if identity in held else _object_sync(steps.get(identity), wanted=manifest is not None),
                    health=health.status,
                    message=health.message,
                    file=manifest.file if manifest is not None else "",
                    line=manifest.line if manifest is not None else 0,
                    wave=manifest.wave if manifest is not None else 0,
                    last_log_line=health.last_log_line,
                    status=mask(there.status) if there is not None else {},
                )
            )
        return views

    def _explain(self, session: Session, key: Key) -> ExplainView:
        state = session.world.states.get(key, Reconciliation())
        reasons = [*_explain_heads(session, key), *_explain_content(session, key, state), *_explain_plan(session, key, state)]
        row = self._row(session, key)
        summary = f"{key}: {row.sync}, {row.health}" + (f": {row.message}" if row.message else "")
        return ExplainView(key.application, key.environment, summary, reasons)

    # --- environments, repositories, events, doctor -------------------------------------------------------------------------

    async def environments(self) -> EnvironmentsView:
        session = self._engine.current()
        names = {key.environment for key in session.world.states} | session.world.configuration.environments.keys()
        return EnvironmentsView([self._environment_row(session, name) for name in sorted(names)])

    def _environment_row(self, session: Session, name: str) -> EnvironmentRow:
        states = {key: state for key, state in session.world.states.items() if key.environment == name}
        environment = session.world.environment(name)
        health = worst(state.health for state in states.values())
        return EnvironmentRow(
            name=name,
            target=environment.spec.target.kind if environment is not None else "",
            applications=len(states),
            objects=len(session.world.inventories[name]),
            healthy=sum(state.health.status in WELL for state in states.values()),
            health=health.status,
            message=health.message,
        )

    async def environment(self, name: str) -> EnvironmentView:
        session = self._engine.current()
        environment = session.world.environment(name)
        if environment is None:
            known = ", ".join(row.name for row in (await self.environments()).environments)
            raise NotFound(f"find environment {name}: there is none", remedy=f"Environments: {known or 'none'}")
        origin = session.world.configuration.origins.get(f"Environment/{name}")
        rows = [self._row(session, key) for key in sorted(session.world.states) if key.environment == name]
        return EnvironmentView(
            name=name,
            target=environment.spec.target.kind,
            spec=msgspec.to_builtins(environment.spec),
            origin=SourceView(origin.file, origin.line) if origin is not None else None,
            applications=rows,
        )

    async def repositories(self) -> RepositoriesView:
        session = self._engine.current()
        return RepositoriesView(
            [
                RepositoryRow(
                    repository=head.repository,
                    revision_expression=head.expression,
                    revision=head.revision or "",
                    seen=head.seen,
                    message=head.problem,
                    remedy=head.remedy,
                    rewritten=head.rewritten or "",
                )
                for _, head in sorted(session.world.heads.items())
            ]
        )

    async def events(
        self,
        after: int = 0,
        before: int | None = None,
        limit: int = 100,
        application: str = "",
        environment: str = "",
        kind: str = "",
        revision: str = "",
        newest_first: bool = False,
    ) -> EventsView:
        found = await self._engine.parts.store.events(
            after=after,
            before=before,
            limit=max(1, min(limit, LIMIT_MAX)),
            application=application,
            environment=environment,
            kind=kind,
            revision=revision,
            newest_first=newest_first,
        )
        return EventsView(found)

    async def follow_events(self, after: int = 0) -> AsyncIterator[Event]:
        """Every event after id ``after``, then what comes, without gaps or doubles."""
        feed = self._engine.journal.follow()
        fresh: asyncio.Task[Event] = asyncio.ensure_future(anext(feed))
        try:
            await asyncio.sleep(0)  # listen first, then read: nothing falls in between
            last = after
            while page := await self._engine.parts.store.events(after=last, limit=LIMIT_MAX):
                for event in page:
                    last = event.id
                    yield event
            while True:
                event = await fresh
                fresh = asyncio.ensure_future(anext(feed))
                if event.id > last:
                    last = event.id
                    yield event
        finally:
            fresh.cancel()
            await asyncio.gather(fresh, return_exceptions=True)
            await feed.aclose()  # type: ignore[attr-defined]

    async def doctor(self) -> DoctorView:
        """Whether everything that we depend on answers. Never raises for what it finds."""
        findings = [self._doctor_store()]
        session = self._engine.session
        if session is None:
            return DoctorView([*findings, Finding("lease", "warning", "another process leads; this one stands by")])
        findings += [_doctor_head(row) for row in (await self.repositories()).repositories]
        problems = session.world.configuration.problems
        remedy = problems[0].remedy if problems else ""
        findings.append(
            Finding(
                "configuration",
                "failed" if problems else "ok",
                str(problems[0]) if problems else "every document is right",
                remedy,
            )
        )
        findings += [await self._doctor_target(session, row.name) for row in (await self.environments()).environments]
        unwell = [str(key) for key, state in sorted(session.world.states.items()) if state.health.status not in WELL]
        findings.append(
            Finding(
                "applications",
                "warning" if unwell else "ok",
                f"not healthy: {', '.join(unwell[:10])}" if unwell else "all are healthy",
            )
        )
        return DoctorView(findings)

    def _doctor_store(self) -> Finding:
        problem = self._engine.journal.problem
        return Finding(
            "store",
            "failed" if problem else "ok",
            problem or "the last write was stored",
            "Look at disk space and permissions" if problem else "",
        )

    async def _doctor_target(self, session: Session, name: str) -> Finding:
        try:
            observed = await session.hands.target(name).observe(Scope(name))
        except TrimtabError as error:
            return Finding(f"environment {name}", "failed", error.message, error.remedy)
        return Finding(f"environment {name}", "ok", f"answers; {len(observed)} objects are ours")


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


def _newest(session: Session, key: Key) -> Content | None:
    state = session.world.states.get(key)
    slots = (state.pending, state.current) if state is not None else ()
    contents = session.world.contents.get(key, {})
    return next((contents[slot.digest] for slot in slots if slot is not None and slot.digest in contents), None)


def _running(session: Session, key: Key) -> Content:
    state = session.world.states.get(key)
    if state is None or state.current is None:
        return _newest(session, key) or GONE
    return session.world.contents.get(key, {}).get(state.current.digest, GONE)


def _masked(made: Plan) -> Plan:
    steps = tuple(msgspec.structs.replace(step, changes=mask_changes(step.ref, step.changes)) for step in made.steps)
    masked = msgspec.structs.replace(made, steps=steps)
    # The hash is that of the plan that would be carried out, not of what is shown of it.
    masked.__dict__["hash"] = made.hash
    return masked


def _revision(session: Session, key: Key, state: Reconciliation) -> str:
    """The newest Revision whose content runs: the head itself when it left this application alone."""
    head = session.declarer.head_of(key)
    if (
        state.pending is None
        and not state.undeclared
        and head is not None
        and head.revision is not None
        and state.current is not None
    ):
        return head.revision
    slot = state.current or state.pending
    return slot.revision if slot is not None else ""


def _sync(state: Reconciliation, problems: bool) -> str:
    if problems or (state.pending is not None and state.pending.phase == Phase.FAILED):
        return "failed"
    if state.current is not None and state.current.phase == Phase.FAILED and state.attempt:
        return "failed"
    if state.current is not None and state.current.phase == Phase.HELD:
        return "held"
    return state.sync


def _message(state: Reconciliation, slot: Deployment | None) -> str:
    if state.suspension is not None:
        return f"suspended: {state.suspension.reason}"
    if state.pending is not None and state.pending.message:
        return state.pending.message
    return (slot.message if slot is not None else "") or state.health.message


def _object_sync(action: str | None, *, wanted: bool) -> str:
    if action is None:
        return "synced" if wanted else "kept"
    return {"create": "missing", "remove": "removing"}.get(action, "changed")


def _errors(problems: Iterable[Problem]) -> list[ProblemView]:
    return [ProblemView.of(problem) for problem in problems]


def _head_problems(session: Session) -> list[Problem]:
    return [Problem(head.problem, remedy=head.remedy) for _, head in sorted(session.world.heads.items()) if head.problem]


def _all_problems(session: Session) -> list[Problem]:
    seen = dict.fromkeys(session.world.configuration.problems)
    for key in sorted(session.world.problems):
        seen |= dict.fromkeys(session.world.problems[key])
    return list(seen)


def _explain_heads(session: Session, key: Key) -> list[Reason]:
    head = session.declarer.head_of(key)
    if head is None or not head.problem:
        return []
    return [Reason(head.repository, "not followed", head.problem, head.remedy or "it is tried again by itself")]


def _explain_content(session: Session, key: Key, state: Reconciliation) -> list[Reason]:
    reasons = [
        Reason(str(key), "not rendered", str(problem), "what runs stays; a commit that mends it")
        for problem in session.world.problems.get(key, ())
    ]
    if state.pending is not None and state.pending.phase == Phase.PENDING:
        what = f"revision {state.pending.revision[:12]}"
        reasons.append(
            Reason(what, "pending", state.pending.message or "it starts in a moment", "it starts by itself when that is over")
        )
    if state.suspension is not None:
        until = f"at {state.suspension.until.isoformat()}" if state.suspension.until else "when somebody resumes it"
        reasons.append(Reason(str(key), "suspended", f"{state.suspension.who}: {state.suspension.reason}", until))
    return reasons


def _explain_plan(session: Session, key: Key, state: Reconciliation) -> list[Reason]:
    live = session.world.live[key]
    reasons: list[Reason] = []
    if live.plan is not None:
        for hold in live.plan.holds:
            lifted = hold.lifted_by.replace("HASH", live.plan.hash)
            reasons.append(Reason(str(hold.object or key), "held", hold.reason, lifted))
        for step in live.plan.steps:
            why = "a wave before it is not healthy yet" if state.retry_at is None else f"it failed {state.attempt} times"
            seconds = session.workers.next_try(key)
            following = f"the next look is in {seconds:.0f} s" if seconds is not None else "the next event"
            reasons.append(Reason(str(step.ref), f"to {step.action}", why, following))
    unwell: dict[Identity, Health] = {identity: health for identity, health in live.health.items() if health.status not in WELL}
    for identity, health in sorted(unwell.items()):
        reasons.append(Reason(f"{identity[1]}/{identity[3]}", health.status, health.message, health.last_log_line))
    return reasons


def _doctor_head(row: RepositoryRow) -> Finding:
    return Finding(
        f"repository {row.repository}", "failed" if row.message else "ok", row.message or f"at {row.revision[:12]}", row.remedy
    )


async def _merge(sources: list[AsyncIterator[LogLine]]) -> AsyncIterator[LogLine]:
    """Lines as they come from several sources; ends when all have ended."""
    queue: asyncio.Queue[LogLine | None] = asyncio.Queue(1_000)

    async def pump(source: AsyncIterator[LogLine]) -> None:
        try:
            async for line in source:
                await queue.put(line)
        finally:
            queue.put_nowait(None) if not queue.full() else await queue.put(None)

    tasks = [asyncio.create_task(pump(source)) for source in sources]
    left = len(tasks)
    try:
        while left:
            line = await queue.get()
            if line is None:
                left -= 1
            else:
                yield line
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
