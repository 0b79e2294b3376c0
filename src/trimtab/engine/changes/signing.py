"""For which Environments the merge of a Change may be signed: those whose rule each of its commits keeps.

The server signs what it merges with a key of its own, and says in the message for which Environments. For such a merge to vouch for all
that it holds, as a person's signature does, three things must be so for the Environment:

- every commit that the merge brings is signed as the rule asks, with keys that the target branch declares, never the Change;
- what it lands on is signed so too, or is below the head of the Change: then whoever signed the head has signed for it;
- none of the messages has a line that would be taken for one of ours.

A Change that alters people, keys or rules of signatures concerns every Environment that requires them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from trimtab.core.decide.signatures import trust_of, who
from trimtab.core.lifecycle.review import Review
from trimtab.core.model.change import Candidate, Change, Check, EnvironmentPlan, Verdict
from trimtab.core.model.config import Configuration
from trimtab.core.model.errors import Problem
from trimtab.core.model.names import Revision
from trimtab.engine.vouching import Voucher
from trimtab.ports.hosting import HOSTED, Commit, Hosting

from .messages import reserved_in

COMMITS_MAX = 100
PROBLEMS_MAX = 50
AMEND = "git commit --amend --no-edit -S"
Lacks = dict[str, tuple[Problem, ...]]


class Attestor:
    def __init__(self, hosting: Hosting, voucher: Voucher) -> None:
        self._hosting, self._voucher = hosting, voucher

    async def check(
        self,
        change: Change,
        candidate: Candidate,
        plans: Iterable[EnvironmentPlan],
        *,
        before: Configuration,
        after: Configuration,
    ) -> list[Check]:
        """The Check ``signatures`` where ``change`` concerns an Environment that requires them. ``before`` is the configuration that holds,
        ``after`` what it would be."""
        rules = self._voucher.trust.rules.keys()
        if not rules:
            return []
        altered = trust_of(after) != trust_of(before)
        concerned = rules if altered else rules & {plan.environment for plan in plans}
        if not concerned:
            return []
        lacks = await self._lacks(change, candidate.head, candidate.base)
        problems = tuple(dict.fromkeys(problem for name in sorted(concerned) for problem in lacks[name]))
        if not problems:
            return [Check("signatures", Verdict.PASSED)]
        more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
        return [Check("signatures", Verdict.FAILED, f"{problems[0]}{more}", problems[:PROBLEMS_MAX])]

    async def attested(self, review: Review, candidate: Candidate, *, onto: Revision) -> frozenset[str] | None:
        """The Environments that a merge onto ``onto`` may be signed for; None when it could be for more on what it was looked at, or is
        for fewer than it concerns."""
        rules = self._voucher.trust.rules.keys()
        if not rules:
            return frozenset()
        found = _complete(await self._lacks(review.change, candidate.head, onto))
        wanted = rules & {plan.environment for plan in review.plans}
        if onto != candidate.base:
            wanted |= _complete(await self._lacks(review.change, candidate.head, candidate.base))
        return found if wanted <= found else None

    async def _lacks(self, change: Change, head: Revision, onto: Revision) -> Lacks:
        """By Environment: what a merge of ``head`` to ``onto`` lacks to be signed for it. Raises TransientError when git cannot be asked."""
        history = self._hosting.history(change.repository)
        commits = await history.log(head, without=(onto,), commits_max=COMMITS_MAX + 1)
        general = tuple(self._unfit(commits))
        covers = await history.contains(onto, head)
        lacks: Lacks = {}
        for name in sorted(self._voucher.trust.rules):
            own = [] if general else await self._unsigned(name, change, commits)
            below = [] if general or covers else await self._below(name, change, onto)
            lacks[name] = (*general, *own, *below)
        return lacks

    def _unfit(self, commits: Sequence[Commit]) -> Iterator[Problem]:
        if problem := self._hosting.signer().problem:
            yield Problem(
                f"this server cannot sign what it merges: {problem}", remedy="Whoever runs it mends that and starts it again"
            )
        if len(commits) > COMMITS_MAX:
            yield Problem(f"it has more than {COMMITS_MAX} commits, too many to check", remedy="Squash them, or split it")
        for commit in commits[:COMMITS_MAX]:
            if reserved_in(commit.message):
                yield Problem(
                    f"commit {commit.revision[:12]} has a line in its message that only merges have",
                    remedy="Take it out: git commit --amend",
                )

    async def _unsigned(self, environment: str, change: Change, commits: Sequence[Commit]) -> list[Problem]:
        sign = AMEND if len(commits) == 1 else f"git rebase --exec '{AMEND}' origin/{change.target}"
        remedy = f"To be signed {who(self._voucher.trust.rules[environment])}: {sign}"
        wrong = [await self._wrong(environment, change, commit.revision) for commit in reversed(commits)]
        return [Problem(f"for {environment}: {why}", remedy=remedy) for why in wrong if why]

    async def _below(self, environment: str, change: Change, onto: Revision) -> list[Problem]:
        why = await self._wrong(environment, change, onto)
        sign = f"git fetch && git rebase --force-rebase --exec '{AMEND}' origin/{change.target}"
        remedy = f"Put it on top of that, signed {who(self._voucher.trust.rules[environment])}: {sign}"
        return [Problem(f"for {environment}: what it lands on is not vouched for: {why}", remedy=remedy)] if why else []

    async def _wrong(self, environment: str, change: Change, revision: Revision) -> str:
        return await self._voucher.wrong(environment, f"{HOSTED}{change.repository}", revision)


def _complete(lacks: Lacks) -> frozenset[str]:
    return frozenset(name for name, problems in lacks.items() if not problems)
