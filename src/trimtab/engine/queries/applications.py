"""Applications: rows, details, plans, history, and why something is not done."""

from __future__ import annotations

from datetime import timedelta

from trimtab.core.decide.mask import mask, masked_plan
from trimtab.core.lifecycle.state import Reconciliation
from trimtab.core.model.deployment import Deployment
from trimtab.core.model.errors import Problem, TrimtabError
from trimtab.core.model.health import Health, HealthStatus
from trimtab.core.model.hook import HookRun, told
from trimtab.core.model.names import Key
from trimtab.core.model.observed import Scope
from trimtab.core.model.plan import Plan
from trimtab.core.model.text import without_credentials
from trimtab.core.model.tree import NO_TREE
from trimtab.core.model.views import (
    ApplicationDetails,
    ApplicationsView,
    ApplicationView,
    ChildView,
    DeploymentView,
    ExplainView,
    HistoryView,
    ObjectView,
    PlanView,
    SuspensionView,
    combined_hash,
)
from trimtab.engine.commands import keys
from trimtab.engine.engine import Session
from trimtab.engine.world import GONE, Content

from .explaining import explained
from .looks import trees_of
from .reader import LIMIT_MAX, Reader, errors_of, problems_of, row_of


class ApplicationQueries(Reader):
    async def applications(self, environment: str = "", after: str = "", limit: int = LIMIT_MAX) -> ApplicationsView:
        """A page of rows in order of environment and application; ``after`` is the cursor that the page before gave."""
        session = self._engine.current()
        known = sorted({key for key, _, _ in session.world.declared()} | session.world.states.keys())
        rest = [key for key in known if environment in ("", key.environment) and f"{key.environment}/{key.application}" > after]
        page = rest[: max(1, min(limit, LIMIT_MAX))]
        cursor = f"{page[-1].environment}/{page[-1].application}" if len(page) < len(rest) else ""
        return ApplicationsView([row_of(session, key) for key in page], cursor)

    async def application(self, name: str, environment: str = "", tree: bool = False) -> ApplicationDetails:
        """With ``tree`` what stands behind each object is read from the target."""
        session = self._engine.current()
        return ApplicationDetails([await self._details(session, key, tree=tree) for key in keys(session, name, environment)])

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
                plans.append(masked_plan(made))
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
        return [await explained(session, key) for key in keys(session, name, environment)]

    async def _details(self, session: Session, key: Key, *, tree: bool) -> ApplicationView:
        state = session.world.states.get(key, Reconciliation())
        live, row = session.world.live[key], row_of(session, key)
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
            repository=without_credentials(session.declarer.repository_of(key)),
            path=(found[1].path or found[0].sources[0].path) if found else "",
            deployment=DeploymentView.of(slot) if slot is not None else None,
            suspension=SuspensionView(state.suspension.reason, state.suspension.until) if state.suspension else None,
            objects=await self._objects(session, key, tree=tree),
            holds=PlanView.of([made], [], combined="").holds if made is not None else [],
            plan_hash=made.hash if made is not None else "",
            errors=errors_of(problems_of(session, key)),
            next_try=self._engine.parts.clock.now() + timedelta(seconds=seconds) if seconds is not None else None,
        )

    async def _objects(self, session: Session, key: Key, *, tree: bool) -> list[ObjectView]:
        live = session.world.live[key]
        content = _running(session, key)
        manifests = {manifest.identity: manifest for manifest in content.manifests}
        owned = session.world.inventories[key.environment].of(key.application)
        state = session.world.states.get(key)
        refs = {identity: entry.ref for identity, entry in owned.items()} | {identity: m.ref for identity, m in manifests.items()}
        try:
            observed = await session.hands.target(key.environment).observe(Scope(key.environment, tuple(refs.values())))
        except TrimtabError:
            observed = {}
        trees = await trees_of(session, key, [one.ref for one in observed.values()]) if tree else {}
        steps = {step.ref.identity: str(step.action) for step in live.plan.steps} if live.plan is not None else {}
        held = {hold.object.identity for hold in live.plan.holds if hold.object is not None} if live.plan is not None else set()
        runs = {run.ref.identity: run for run in state.runs} if state is not None else {}
        known = live.plan is not None and not live.refused
        views = []
        for identity, ref in sorted(refs.items()):
            manifest, there = manifests.get(identity), observed.get(identity)
            run = runs.get(identity)
            health = live.health.get(identity) or (told(run) if run is not None else Health(HealthStatus.UNKNOWN))
            behind = trees.get(identity, NO_TREE)
            views.append(
                ObjectView(
                    object=ref,
                    sync=_object_sync(
                        "held" if identity in held else steps.get(identity), wanted=manifest is not None, run=run, known=known
                    ),
                    health=health.status,
                    message=health.message,
                    file=manifest.file if manifest is not None else "",
                    line=manifest.line if manifest is not None else 0,
                    wave=live.waves.get(identity, 0),
                    last_log_line=health.last_log_line,
                    status=mask(there.status) if there is not None else {},
                    children=[ChildView.of(child) for child in behind.children],
                    more=behind.more,
                    folded=behind.folded,
                )
            )
        return views


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


def _object_sync(action: str | None, *, wanted: bool, run: HookRun | None, known: bool) -> str:
    """``known``: what is wanted has been compared with what is there."""
    if not known:
        return "unknown"
    if action == "held":
        return action
    if action == "run" or (action is None and run is not None):
        return "hook"
    if action is None:
        return "synced" if wanted else "kept"
    return {"create": "missing", "remove": "removing"}.get(action, "changed")
