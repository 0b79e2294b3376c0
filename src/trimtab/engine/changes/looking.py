"""A look at a Change: the candidate, its plans, its checks, and what it needs, all made anew. Changes nothing."""

from __future__ import annotations

import contextlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from trimtab.core.decide.approvals import Asking, protection_of, requirements
from trimtab.core.decide.owners import BYTES_MAX, PLACES, Ownership, parse
from trimtab.core.decide.policy import Proposal
from trimtab.core.decide.trailers import merge_of
from trimtab.core.lifecycle.review import Happening, Landed, Looked, Merged, Review
from trimtab.core.model.change import (
    Candidate,
    Change,
    Check,
    EnvironmentPlan,
    Planned,
    Requirement,
    Stage,
    Verdict,
    approvers,
)
from trimtab.core.model.config import Configuration
from trimtab.core.model.errors import Problem, UserError
from trimtab.core.model.kind import Metadata
from trimtab.core.model.manifest import digest
from trimtab.core.model.names import Key, Revision
from trimtab.core.model.plan import Action, Plan
from trimtab.core.model.protection import Approvals, Protection, ProtectionSpec
from trimtab.ports.clock import Clock
from trimtab.ports.git import Tree
from trimtab.ports.hosting import Conflicts, History, Hosting
from trimtab.ports.store import Store

from .policing import Policing
from .previewing import Previewed, Previewer
from .signing import Attestor
from .surroundings import Surroundings

COMMITS_LOOKED_AT_MAX = 1_000
OWN_CHECKS = ("configuration", "render", "plan")


@dataclass(frozen=True)
class Shown:
    """What the last look found, whole: for people who read it. ``files`` are those that the candidate changes (None: very many)."""

    candidate: Candidate
    plans: Mapping[Key, Plan]
    unseen: Mapping[Key, str]
    files: tuple[str, ...] | None


class Looker:
    def __init__(
        self,
        hosting: Hosting,
        previewer: Previewer,
        surroundings: Surroundings,
        policing: Policing,
        attestor: Attestor,
        store: Store,
        clock: Clock,
        reviews: Mapping[int, Review],
    ) -> None:
        self._hosting, self._previewer, self._surroundings = hosting, previewer, surroundings
        self._policing, self._attestor = policing, attestor
        self._store, self._clock, self._reviews = store, clock, reviews
        self.shown: dict[int, Shown] = {}

    async def look(self, review: Review, base: str) -> Happening:
        """``base`` is where the target branch is, as far as the engine has read it ("" = it is not there). Raises UserError for a target or
        a head that is gone, TransientError when something does not answer.
        """
        change = review.change
        history = self._hosting.history(change.repository)
        if not base:
            raise UserError(
                f"look at change {change.number}: {change.target} is not there", remedy="Push that branch, or close it"
            )
        ended = await self._ended(review, history, base)
        if ended is not None:
            return ended
        if change.emergency:
            return self._afterwards(review, Revision(base))
        merged = await self._hosting.merge(change.repository, base, change.head)
        if isinstance(merged, Conflicts):
            paths = tuple(dict.fromkeys(one.path for one in merged.conflicts))
            candidate = Candidate(Revision(base), change.head, "", paths)
            self.shown[change.number] = Shown(candidate, {}, {}, ())
            return Looked(candidate, blockers=await self._stacked(change, candidate.base, history))
        return await self._looked(review, Candidate(Revision(base), change.head, merged.tree), history)

    async def combination(self, reviews: Sequence[Review], base: Revision, tree: str) -> tuple[str, ...]:
        """What is wrong with several Changes together, whose files come to ``tree`` on ``base``; nothing when they hold.

        Plans must be those that were looked at one by one: what one of them alters must not be what another one was approved for.
        """
        change = reviews[0].change
        history = self._hosting.history(change.repository)
        paths = await history.changed_paths(base, tree)
        places = self._surroundings.places_of(change)
        if not places:
            return ()
        found = await self._previewer.preview(places, history.tree(tree), paths)
        wrong = [str(problem) for name in OWN_CHECKS for problem in found.problems.get(name, ())]
        together = {(plan.environment, one.application): one for plan in self._plans(found) for one in plan.planned}
        apart = [(plan.environment, one) for review in reviews for plan in review.plans for one in plan.planned]
        if len(together) != len(apart) or any(together.get((name, one.application)) != one for name, one in apart):
            wrong.append("together they come to other plans than one by one")
        for review in reviews:
            checks = await self._policies(review, found, paths or frozenset(), whole=False)
            wrong += [f"{check.name}: {check.message}" for check in checks if check.verdict == Verdict.FAILED]
        return tuple(wrong)

    def _plans(self, found: Previewed) -> tuple[EnvironmentPlan, ...]:
        return environment_plans(found, self._surroundings.configuration)

    async def _ended(self, review: Review, history: History, base: str) -> Happening | None:
        """What the target branch says itself: a merge of ours carries the number of its Change."""
        change, sent = review.change, review.merging
        if sent is not None:
            for commit in await history.log(base, without=(sent.base,), commits_max=COMMITS_LOOKED_AT_MAX):
                # By its number alone: of several that were merged together, the files are those of all below it too.
                if merge_of(commit.message) == change.number:
                    return Merged(commit.revision)
        if change.emergency and not any(approvers(one, review.approvals, review.hashes) for one in review.requirements):
            return None  # it is there already; what is wanted is somebody's eyes
        return Landed(Revision(base)) if await history.contains(change.head, base) else None

    def _afterwards(self, review: Review, base: Revision) -> Looked:
        """Of a push past review: nothing is left to be decided, but somebody else has to have seen it."""
        self.shown[review.change.number] = Shown(Candidate(base, review.change.head), {}, {}, ())
        rule = Protection(Metadata("emergency"), ProtectionSpec(approvals=Approvals(required=1)))
        asking = Asking(change=review.change, people=self._surroundings.people, protection=rule)
        return Looked(Candidate(base, review.change.head), requirements=requirements(asking))

    async def _looked(self, review: Review, candidate: Candidate, history: History) -> Looked:
        change = review.change
        tree = history.tree(candidate.tree)
        paths = await history.changed_paths(candidate.base, candidate.tree)
        places = self._surroundings.places_of(change)
        previewed = await self._previewer.preview(places, tree, paths) if places else None
        found = previewed or Previewed(self._surroundings.configuration)
        self.shown[change.number] = Shown(
            candidate, found.plans, found.unseen, tuple(sorted(paths)) if paths is not None else None
        )
        plans = self._plans(found)
        checks = [_own(name, found.problems.get(name, ())) for name in OWN_CHECKS] if previewed is not None else []
        checks += await self._attestor.check(
            change, candidate, plans, before=self._surroundings.configuration, after=found.configuration
        )
        checks += await self._policies(review, found, paths or frozenset())
        blockers = [] if paths is not None else ["it changes too many files to tell whose they are; split it"]
        blockers += [*await self._stacked(change, candidate.base, history), *await self._threads(change)]
        needs = self._requirements(change, plans, found, history.tree(candidate.base), paths or frozenset())
        return Looked(candidate, plans, tuple(checks), needs, tuple(blockers))

    async def _policies(self, review: Review, previewed: Previewed, paths: frozenset[str], *, whole: bool = True) -> list[Check]:
        """The rules that hold are those of the target: what the Change says of rules counts once it is merged.

        ``whole`` False leaves out those about the Change as such, where ``previewed`` is of several.
        """
        change, configuration = review.change, self._surroundings.configuration
        proposal = Proposal(
            change=change,
            plans=tuple(plan for _, plan in sorted(previewed.plans.items())),
            files=tuple(sorted(paths)),
            groups=tuple(sorted(self._surroundings.people.groups.get(change.author, ()))),
            now=self._clock.now(),
            environments={**previewed.configuration.environments, **configuration.environments},
            applications={**previewed.configuration.applications, **configuration.applications},
            approvals=tuple((one.who, one.environment) for one in review.approvals),
            times=_times(self._clock.now(), {policy.spec.timezone for policy in configuration.policies.values()}),
        )
        policies = [policy for policy in configuration.policies.values() if whole or policy.spec.each != "change"]
        return await self._policing.judge(policies, proposal)

    def _requirements(
        self, change: Change, plans: tuple[EnvironmentPlan, ...], found: Previewed, target: Tree, paths: frozenset[str]
    ) -> tuple[Requirement, ...]:
        surroundings, configuration = self._surroundings, self._surroundings.configuration
        default = surroundings.default_branch(change.repository)
        protection = protection_of(configuration.protections.values(), change.repository, change.target, default=default)
        return requirements(
            Asking(
                change=change,
                people=surroundings.people,
                plans=plans,
                protection=protection,
                environments=configuration.environments,
                applications={**found.configuration.applications, **configuration.applications},
                owned=ownership(target).asked(sorted(paths)),
                rules=other_rules(configuration, found.configuration),
            )
        )

    async def _stacked(self, change: Change, base: Revision, history: History) -> tuple[str, ...]:
        """Open Changes that this one is built on: they go first. Its own commits tell, in one question however many are open."""
        own = await history.log(change.head, without=(base,), commits_max=COMMITS_LOOKED_AT_MAX)
        commits = {one.revision for one in own} - {change.head}
        below = [
            one.change
            for one in self._reviews.values()
            if one.change.stage == Stage.OPEN
            and (one.change.repository, one.change.target) == (change.repository, change.target)
            and one.change.head in commits
        ]
        return tuple(f"it is built on change {one.number}, which has to be merged first" for one in below)

    async def _threads(self, change: Change) -> tuple[str, ...]:
        if not self._surroundings.resolves(change):
            return ()
        comments = await self._store.comments(change.number)
        unresolved = sum(one.number == one.thread and not one.resolved for one in comments)
        return (f"{unresolved} thread{'s are' if unresolved > 1 else ' is'} not resolved",) if unresolved else ()


def ownership(tree: Tree) -> Ownership:
    """The CODEOWNERS of a tree; one that is too large to be read owns nothing, as with the forges."""
    for path, dialect in PLACES:
        entry = tree.entry(path)
        if entry is not None and entry.type == "blob" and entry.size <= BYTES_MAX:
            text = tree.read(path, bytes_max=BYTES_MAX).decode("utf-8", "replace")
            return parse(text, path, dialect)
    return Ownership()


def environment_plans(found: Previewed, before: Configuration) -> tuple[EnvironmentPlan, ...]:
    """One for each Environment that is touched: by what would be done there, or because its own rules would be others."""
    planned: dict[str, list[Planned]] = defaultdict(list)
    steps: dict[str, Counter[Action]] = defaultdict(Counter)
    holds: dict[str, dict[str, None]] = defaultdict(dict)
    blocked: dict[str, dict[str, None]] = defaultdict(dict)
    for key, plan in sorted(found.plans.items()):
        if plan.empty and key not in found.unseen:
            continue
        name = key.environment
        planned[name].append(Planned(key.application, found.digests[key], plan.hash))
        held = [hold.step for hold in plan.holds if hold.step is not None]
        steps[name].update(step.action for step in (*plan.steps, *held))
        for hold in plan.holds:
            (holds if hold.approvable else blocked)[name][hold.reason] = None
    for name, environment in sorted(before.environments.items()):
        after = found.configuration.environments.get(name)
        if after != environment:
            planned[name].append(Planned("", digest(msgspec.to_builtins(after)), "rules"))
    return tuple(_environment_plan(name, planned[name], steps[name], holds[name], blocked[name]) for name in sorted(planned))


def _environment_plan(
    name: str, planned: list[Planned], steps: Counter[Action], holds: Mapping[str, None], blocked: Mapping[str, None]
) -> EnvironmentPlan:
    named = {Action.CREATE: "creates", Action.UPDATE: "updates", Action.REMOVE: "removals"}
    counts = {field: steps[action] for action, field in named.items()}
    others = sum(count for action, count in steps.items() if action not in named)
    return EnvironmentPlan(name, tuple(planned), **counts, others=others, holds=tuple(holds), blocked=tuple(blocked))


def other_rules(before: Configuration, after: Configuration) -> tuple[str, ...]:
    """Kinds of rules that would be others: who may what, and what is asked of Changes."""
    kinds = {"people": ("users", "groups", "grants"), "policies": ("policies",), "protections": ("protections",)}
    return tuple(name for name, fields in kinds.items() if any(getattr(before, one) != getattr(after, one) for one in fields))


def _own(name: str, problems: tuple[Problem, ...]) -> Check:
    if not problems:
        return Check(name, Verdict.PASSED)
    more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
    return Check(name, Verdict.FAILED, f"{problems[0]}{more}", problems)


def _times(now: datetime, zones: Iterable[str]) -> dict[str, datetime]:
    """One that is not known is left out: its Policy was told so when it was read."""
    found: dict[str, datetime] = {}
    for zone in zones:
        with contextlib.suppress(ZoneInfoNotFoundError, ValueError, OSError):
            found[zone] = now.astimezone(ZoneInfo(zone))
    return found
