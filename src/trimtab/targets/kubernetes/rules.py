"""Users' own rules of health: for a kind, CEL expressions or a Lua script as Argo CD takes them.

Rules come from Git, so they are somebody else's programs: they run in one child process (`plumbing/sandbox.py`) that is started with
the first object that a rule is for, and killed and replaced when a rule takes longer than it may. A rule that has been killed
several times is not run again until the rules change. One that is wrong in itself is set aside, and the tables judge in its place.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from trimtab.core.model.errors import Problem
from trimtab.core.model.health import HEALTHY, Health, HealthStatus
from trimtab.core.model.manifest import Body
from trimtab.core.model.text import one_line
from trimtab.plumbing.sandbox import Answer, Request, Sandbox, Stopped, Unanswered

from . import health
from .settings import CelRule, UserRule

RULE_SECONDS = 1.0
STRIKES_MAX = 3
_GIVEN_UP = f"was stopped {STRIKES_MAX} times because it took too long, and is not run again until it changes"
STATUSES = {status.value: status for status in HealthStatus}


class Rules:
    """All rules of one Environment; the first that matches an object's group and kind decides.

    ``rule_seconds`` is the processor time that one evaluation may take. Nothing is started before it is needed; `close` ends what was.
    """

    def __init__(self, rules: Sequence[UserRule] = (), *, rule_seconds: float = RULE_SECONDS) -> None:
        self._rules = tuple(rules)
        self._aside = {rule: wrong for rule in rules if (wrong := rule.problem())}
        self._strikes = dict.fromkeys(self._rules, 0)
        self._sandbox = Sandbox(sorted({rule.language for rule in self._rules}), rule_seconds)

    def match(self, obj: Body) -> UserRule | None:
        """The rule that an object is judged by; None where it is the tables' to judge."""
        version, kind = obj.get("apiVersion"), obj.get("kind")
        if not self._rules or not isinstance(version, str) or not isinstance(kind, str):
            return None
        return self.of(version.rpartition("/")[0], kind)

    def of(self, group: str, kind: str) -> UserRule | None:
        """The rule for objects of a kind."""
        return next((rule for rule in self._rules if fnmatchcase(group, rule.group) and fnmatchcase(kind, rule.kind)), None)

    async def assess(self, obj: Body) -> Health | None:
        """As `assess_all`, for one."""
        return (await self.assess_all([obj]))[0]

    async def assess_all(self, objects: Sequence[Body]) -> list[Health | None]:
        """Health by the user's rules; None where there is none, or when its script returns no status. Never raises for a bad rule:
        that is unknown health, with the reason. An object that is being deleted is on its way, whatever a rule says.
        """
        found: list[Health | None] = []
        asked: list[tuple[int, UserRule]] = []
        for number, obj in enumerate(objects):
            rule = self.match(obj)
            found.append(self._without_asking(rule, obj) if rule is not None else None)
            if rule is not None and found[-1] is None:
                asked.append((number, rule))
        answers = await self._ask([(rule, objects[number]) for number, rule in asked])
        for (number, rule), answer in zip(asked, answers, strict=True):
            found[number] = _unknown(rule, str(answer)) if isinstance(answer, Unanswered) else _health(rule, answer)
        return found

    async def check(self) -> tuple[Problem, ...]:
        """What is wrong with the rules themselves, found by running each on an empty object. What is no program is set aside from then on."""
        sound = [rule for rule in self._rules if rule not in self._aside]
        stopped = {}
        for rule, answer in zip(sound, await self._ask([(rule, {}) for rule in sound]), strict=True):
            if isinstance(answer, Stopped):
                stopped[rule] = str(answer)  # of the objects that it is for it says nothing, and they are not called well
            elif wrong := _wrong(rule, answer):
                self._aside[rule] = wrong
        found = self._aside | stopped
        return tuple(_problem(number, rule, found[rule]) for number, rule in enumerate(self._rules) if rule in found)

    async def close(self) -> None:
        await self._sandbox.end()

    async def _ask(self, asked: Sequence[tuple[UserRule, Body]]) -> list[Answer | Unanswered]:
        """An answer to each. A rule that keeps being stopped is asked no more, so that it does not hold up the others."""
        answers: list[Answer | Unanswered] = []
        while len(answers) < len(asked):
            rule, _ = asked[len(answers)]
            if self._strikes[rule] >= STRIKES_MAX:
                answers.append(Unanswered(_GIVEN_UP))
                continue
            some = list(itertools.takewhile(lambda one: self._strikes[one[0]] < STRIKES_MAX, asked[len(answers) :]))
            found = await self._sandbox.ask([_request(*one) for one in some])
            self._strikes[some[len(found) - 1][0]] += isinstance(found[-1], Stopped)
            answers += found
        return answers

    def _without_asking(self, rule: UserRule, obj: Body) -> Health | None:
        if (going := health.deletion(obj)) is not None:
            return going
        if rule in self._aside:
            return _by_table(rule, self._aside[rule], obj)
        return None


def _request(rule: UserRule, obj: Body) -> Request:
    body: Any = msgspec.to_builtins(rule.cel) if rule.cel is not None else rule.lua
    return {"language": rule.language, "rule": body, "object": obj}


def _wrong(rule: UserRule, answer: Answer | Unanswered) -> str:
    """Why a rule is no use, by its answer about nothing; "" when it is."""
    if isinstance(answer, Unanswered):
        return str(answer)
    wrong = str(answer.get("wrong", ""))
    # A script may well stumble over an object without anything in it; what counts is that it is a script.
    return "" if rule.language == "lua" and "attempt to" in wrong else wrong


def _health(rule: UserRule, found: Answer) -> Health | None:
    if wrong := found.get("wrong"):
        return _unknown(rule, f"failed: {wrong}")
    word, message = str(found.get("status", "")), one_line(str(found.get("message", "")))
    if not word:
        return None
    status = STATUSES.get(word.lower())
    if status is None:
        return _unknown(
            rule, f"returned the status {one_line(word, characters_max=50)!r}, which is none of {', '.join(STATUSES)}"
        )
    return HEALTHY if status == HealthStatus.HEALTHY else Health(status, message or f"its rule says {status.value}")


def _unknown(rule: UserRule, message: str) -> Health:
    return Health(HealthStatus.UNKNOWN, one_line(f"the health rule of {rule.name} {message}"))


def _by_table(rule: UserRule, wrong: str, obj: Body) -> Health:
    judged = health.assess(obj)
    said = f"{judged.message}; " if judged.message else ""
    message = one_line(f"{said}judged without the health rule of {rule.name}, which {wrong}")
    return Health(judged.status, message, judged.object, judged.last_log_line)


def _problem(number: int, rule: UserRule, message: str) -> Problem:
    return Problem(
        one_line(f"the health rule of {rule.name} {message}"),
        field=f"spec.target.health[{number}]",
        remedy="Correct the rule or take it out; until then objects of this kind are judged without it",
    )


__all__ = ["RULE_SECONDS", "STRIKES_MAX", "CelRule", "Rules", "UserRule"]
