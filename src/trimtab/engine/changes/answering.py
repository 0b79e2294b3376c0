"""What people may know of Changes. A Change that one may not read looks exactly like one that is not there; plans are shown for what one
may read, and masked as everywhere.
"""

from __future__ import annotations

import msgspec

from trimtab.core.decide.mask import masked_plan
from trimtab.core.lifecycle.review import Review
from trimtab.core.model.change import Change, EnvironmentPlan
from trimtab.core.model.changeviews import (
    ChangeDiffView,
    ChangePlanView,
    ChangesView,
    ChangeView,
    CommentsView,
    EnvironmentPlanView,
)
from trimtab.core.model.errors import NotFound, TransientError, UserError
from trimtab.core.model.names import Key
from trimtab.core.model.plan import Plan
from trimtab.core.model.rights import Action, Resource
from trimtab.core.model.views import PlanView
from trimtab.engine.engine import Engine
from trimtab.ports.people import Asker

from .approved import since
from .differing import file_diffs
from .looking import Shown
from .office import Office
from .showing import row_of, view_of

PAGE_MAX = 1_000
PAGES_READ_MAX = 20
"""How far a list is searched for what may be read, before it answers with what it has and where to go on."""


class ChangeQueries:
    _engine: Engine

    async def changes(self, repository: str, stage: str, author: str, before: int, limit: int, asker: Asker) -> ChangesView:
        """Newest first, below ``before`` (0: from the newest on)."""
        store, limit = self._engine.parts.store, max(1, min(limit, PAGE_MAX))
        repository = repository.removeprefix("hosted:")
        seen: dict[str, bool] = {}
        found: list[Review] = []
        for _ in range(PAGES_READ_MAX):
            page = await store.reviews(repository=repository, stage=stage, author=author, before=before or None, limit=limit)
            for review in page:
                address = review.change.address
                if address not in seen:
                    seen[address] = asker.may(Action.READ, Resource(repository=address))
            found += [one for one in page if seen[one.change.address] or somewhere(Action.READ, one, asker)]
            before = page[-1].change.number if len(page) == limit else 0
            if not before or len(found) >= limit:
                break
        shown = found[:limit]
        return ChangesView([row_of(one) for one in shown], shown[-1].change.number if len(found) > limit else before)

    async def change(self, number: int, asker: Asker) -> ChangeView:
        review = await readable(self._engine, number, asker)
        return view_of(review, await office_of(self._engine).talk.of(number))

    async def change_comments(self, number: int, asker: Asker) -> CommentsView:
        await readable(self._engine, number, asker)
        return CommentsView(await office_of(self._engine).talk.of(number))

    async def change_plan(self, number: int, environment: str, since_approval: bool, asker: Asker) -> ChangePlanView:
        """What it would do, by the last look. With ``since_approval`` only what differs from the plan that the asker has approved."""
        office = office_of(self._engine)
        review = await readable(self._engine, number, asker)
        shown = office.looker.shown.get(number)
        if shown is None or shown.candidate != review.candidate:
            if review.change.stage != "open":
                raise UserError(f"plan change {number}: it is {review.change.stage}", remedy=f"See: trimtab change show {number}")
            raise TransientError(f"plan change {number}: it has not been looked at yet", remedy="Ask again in a moment")
        names = [plan.environment for plan in review.plans]
        if environment and environment not in names:
            touched = ", ".join(names) or "no environment"
            raise NotFound(f"change {number} does nothing in {environment}", remedy=f"It touches {touched}")
        plans = [
            environment_plan(review.change, plan, shown, asker)
            for plan in review.plans
            if environment in ("", plan.environment) and may_see(office, review.change, plan, asker)
        ]
        if since_approval:
            kept = {plan.environment: office.approved.of(number, plan.environment, asker.user) for plan in plans}
            plans = [since(plan, found) if (found := kept[plan.environment]) is not None else plan for plan in plans]
        candidate, last = shown.candidate, review.change.patch_sets[-1].number
        return ChangePlanView(number, last, candidate.head, candidate.base, plans)

    async def change_diff(self, number: int, patch_set: int, path: str, asker: Asker) -> ChangeDiffView:
        """What a patch set (0: the newest) changes, since it left the target branch."""
        review = await readable(self._engine, number, asker)
        change = review.change
        asker.require(f"read the files of change {number}", Action.READ, Resource(repository=change.address))
        found = next((one for one in change.patch_sets if one.number == (patch_set or change.patch_sets[-1].number)), None)
        if found is None:
            raise NotFound(f"change {number} has no patch set {patch_set}", remedy=f"It has {len(change.patch_sets)}")
        hosting = office_of(self._engine).hosting
        history = hosting.history(change.repository)
        target = review.candidate.base if review.candidate is not None else ""
        target = target or (await hosting.refs(change.repository)).get(f"refs/heads/{change.target}", "")
        base = await history.base(target, found.head) if target else None
        if change.emergency:
            base = history.commit(found.head).parents[0]  # the target has it already
        paths = await history.changed_paths(base or "", found.head)
        wanted = frozenset(one for one in paths or () if not path or one == path or one.startswith(path.rstrip("/") + "/"))
        files, more = await file_diffs(history.tree(base or found.head), history.tree(found.head), wanted)
        return ChangeDiffView(number, found.number, base or "", found.head, files, more or paths is None)


def office_of(engine: Engine) -> Office:
    """Raises UserError where the server keeps no repositories."""
    office = engine.current().office
    if office is None:
        raise UserError("this server keeps no repositories of its own, so it has no changes", remedy="Ask where they are")
    return office


def somewhere(action: Action, review: Review, asker: Asker) -> bool:
    """On the repository, or on it in an Environment that the Change touches: who reviews for production alone has to see what for."""
    address = review.change.address
    touched = (Resource(address, environment=plan.environment) for plan in review.plans)
    return any(asker.may(action, place) for place in (Resource(address), *touched))


async def readable(engine: Engine, number: int, asker: Asker) -> Review:
    """Raises NotFound for one that is not there, or may not be read."""
    office = office_of(engine)
    review = office.desk.reviews.get(number) or await engine.parts.store.review(number)
    if review is None or not somewhere(Action.READ, review, asker):
        raise NotFound(f"there is no change {number}", remedy="See: trimtab change list")
    return review


def may_see(office: Office, change: Change, plan: EnvironmentPlan, asker: Asker) -> bool:
    """What an Environment looks like is for those who may read it, whoever may read the repository."""
    return asker.may(Action.READ, *office.surroundings.resources(change, plan, plan.environment))


def environment_plan(change: Change, plan: EnvironmentPlan, shown: Shown, asker: Asker) -> EnvironmentPlanView:
    """The plans of all Applications in one Environment as one, as it may be shown."""
    keys = [Key(plan.environment, one.application) for one in plan.planned if one.application]
    made: list[Plan] = [masked_plan(shown.plans[key]) for key in keys if key in shown.plans]
    view = PlanView.of(made, [], combined=plan.hash)
    lifted = f"approving this plan: trimtab change approve {change.number} --environment {plan.environment}"
    holds = [msgspec.structs.replace(hold, lifted_by=lifted, hash="") if hold.hash else hold for hold in view.holds]
    view = msgspec.structs.replace(view, hash=plan.hash, holds=holds)
    unseen = [f"{key.application}: {shown.unseen[key]}" for key in keys if key in shown.unseen]
    rules = ["the rules of this environment would be others"] if any(not one.application for one in plan.planned) else []
    return EnvironmentPlanView(plan.environment, plan.hash, view, [*unseen, *rules], since="", dropped=[])
