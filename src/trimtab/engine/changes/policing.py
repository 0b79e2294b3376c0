"""Asks the Policies: expressions of the Judge, commands of the checkers; each says what it has against a Change."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import islice

from trimtab.core.decide.policy import SUBJECTS_MAX, Proposal, Question, Unreadable, checked, questions, subjects, verdicts
from trimtab.core.model.change import Check
from trimtab.core.model.policy import Policy
from trimtab.ports.checker import Checkers
from trimtab.ports.judge import Judge, Unsaid

NOBODY = Unreadable("this server cannot evaluate expressions")


class Policing:
    def __init__(self, judge: Judge | None, checkers: Checkers) -> None:
        self._judge, self._checkers = judge, checkers

    async def judge(self, policies: Iterable[Policy], proposal: Proposal) -> list[Check]:
        """A Check for each Policy, those with rules first, each in order of name."""
        every = sorted(policies, key=lambda one: one.name)
        rules = [policy for policy in every if policy.spec.rule]
        asked = questions(rules, proposal)
        commands = [self._external(policy, proposal) for policy in every if policy.spec.command]
        return [*verdicts(rules, await self._answers(asked)), *await asyncio.gather(*commands)]

    async def _answers(self, asked: list[Question]) -> list[tuple[Question, object]]:
        if self._judge is None:
            return [(question, NOBODY) for question in asked]
        answers = await self._judge.answers([(one.policy.spec.rule, one.subject.values) for one in asked])
        return [
            (question, Unreadable(answer.reason) if isinstance(answer, Unsaid) else answer)
            for question, answer in zip(asked, answers, strict=True)
        ]

    async def _external(self, policy: Policy, proposal: Proposal) -> Check:
        """One run for all that the Policy asks about."""
        asked = [subject.values for subject in islice(subjects(policy, proposal), SUBJECTS_MAX)]
        if not asked:
            return checked(policy, ())
        return checked(policy, await self._checkers.check(policy.spec.command, {"policy": policy.name, "subjects": asked}))
