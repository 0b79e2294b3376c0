"""The Judge port: expressions and rules of the configuration in a sandbox, each asked about once while nothing about it changes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from trimtab.core.model.config import Configuration, Ignore
from trimtab.core.model.errors import Problem
from trimtab.core.model.manifest import Body, digest
from trimtab.core.model.policy import PolicySpec
from trimtab.core.model.text import one_line
from trimtab.plumbing.sandbox import Sandbox, Unanswered
from trimtab.ports.judge import Unsaid

EXPRESSION_SECONDS = 1.0
ANSWERS_MAX = 50_000
EXPRESSION_CHARACTERS_MAX = 10_000


class SandboxJudge:
    """Starts no process before there is something to ask; `close` ends it."""

    def __init__(self, *, seconds: float = EXPRESSION_SECONDS) -> None:
        self._sandbox = Sandbox(["cel"], seconds)
        self._answers: OrderedDict[tuple[str, str], bool | str] = OrderedDict()
        self._examined: dict[str, tuple[Problem, ...]] = {}

    async def close(self) -> None:
        await self._sandbox.end()

    async def examine(self, configuration: Configuration) -> Sequence[Problem]:
        problems: list[Problem] = []
        for name, environment in sorted(configuration.environments.items()):
            problems += _placed(configuration, f"Environment/{name}", await self._ignores(environment.spec.ignore))
            if environment.target_kind == "kubernetes" and environment.target_settings.get("health"):
                wrong = await self._health(environment.target_settings["health"])
                problems += _placed(configuration, f"Environment/{name}", wrong)
        for name, application in sorted(configuration.applications.items()):
            problems += _placed(configuration, f"Application/{name}", await self._ignores(application.spec.ignore))
        for name, policy in sorted(configuration.policies.items()):
            problems += _placed(configuration, f"Policy/{name}", [one async for one in self._policy(policy.spec)])
        return problems

    async def answers(self, questions: Sequence[tuple[str, Mapping[str, Any]]]) -> Sequence[Any]:
        found: list[Any] = []
        while len(found) < len(questions):
            rest = [{"language": "cel", "rule": rule, "values": dict(values)} for rule, values in questions[len(found) :]]
            for answer in await self._sandbox.ask(rest):
                wrong = str(answer) if isinstance(answer, Unanswered) else str(answer.get("wrong", ""))
                found.append(Unsaid(one_line(wrong)) if isinstance(answer, Unanswered) or wrong else answer.get("value"))
        return found

    async def _policy(self, spec: PolicySpec) -> AsyncIterator[Problem]:
        if len(spec.rule) > EXPRESSION_CHARACTERS_MAX:
            yield Problem(
                f"it is longer than {EXPRESSION_CHARACTERS_MAX} characters", field="spec.rule", remedy="Use two Policies"
            )
        elif spec.rule:
            (answer,) = await self._sandbox.ask([{"language": "cel", "rule": spec.rule}])
            wrong = str(answer) if isinstance(answer, Unanswered) else str(answer.get("wrong", ""))
            if wrong:
                yield Problem(one_line(wrong), field="spec.rule", remedy="Correct the expression: see the reference of policies")
        try:
            ZoneInfo(spec.timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            remedy = "Write a name of the IANA database, as Europe/Berlin"
            yield Problem("there is no such time zone", field="spec.timezone", remedy=remedy)

    async def holds(self, questions: Sequence[tuple[str, Body]]) -> Sequence[bool | str]:
        keys = [(expression, digest(body)) for expression, body in questions]
        new = {key: question for key, question in zip(keys, questions, strict=True) if key not in self._answers}
        known = {key: self._answers[key] for key in keys if key in self._answers}
        known |= await self._asked(new)
        return [known[key] for key in keys]

    async def _asked(self, new: dict[tuple[str, str], tuple[str, Body]]) -> dict[tuple[str, str], bool | str]:
        found: dict[tuple[str, str], bool | str] = {}
        while len(found) < len(new):
            rest = [key for key in new if key not in found]
            requests = [{"language": "cel", "rule": new[key][0], "object": new[key][1]} for key in rest]
            for key, answer in zip(rest, await self._sandbox.ask(requests), strict=False):
                found[key] = (
                    str(answer) if isinstance(answer, Unanswered) else str(answer.get("wrong", "")) or bool(answer["true"])
                )
                if not isinstance(answer, Unanswered):  # what was stopped is asked again at the next look
                    self._answers[key] = found[key]
        while len(self._answers) > ANSWERS_MAX:
            self._answers.popitem(last=False)
        return found

    async def _ignores(self, rules: Sequence[Ignore]) -> list[Problem]:
        return [
            Problem(one_line(wrong), field=f"spec.ignore[{number}]", remedy=remedy)
            for number, rule in enumerate(rules)
            async for wrong, remedy in self._wrong(rule)
        ]

    async def _wrong(self, rule: Ignore):  # type: ignore[no-untyped-def]
        if not rule.pointers and not rule.writers:
            yield "the rule names no field: it has neither pointers nor writers", "Name the fields, or who may write them"
        if len(rule.when) > EXPRESSION_CHARACTERS_MAX:
            yield f"`when` is longer than {EXPRESSION_CHARACTERS_MAX} characters", "Say it in fewer words"
        elif rule.when:
            (answer,) = await self.holds([(rule.when, {"kind": "", "apiVersion": "", "metadata": {}})])
            if isinstance(answer, str):
                yield f"`when`: {answer}", 'Write an expression such as object.metadata.labels["scale"] == "auto"'

    async def _health(self, rules: object) -> tuple[Problem, ...]:
        """Once for each text of the rules."""
        from trimtab.targets.kubernetes.rules import Rules
        from trimtab.targets.kubernetes.settings import UserRule

        name = digest(rules)
        if name not in self._examined:
            made = Rules(msgspec.convert(rules, list[UserRule]))
            try:
                found = await made.check()
            finally:
                await made.close()
            self._examined = {**dict(list(self._examined.items())[-20:]), name: found}
        return self._examined[name]


def _placed(configuration: Configuration, document: str, problems: Sequence[Problem]) -> Iterator[Problem]:
    origin = configuration.origins.get(document)
    for problem in problems:
        yield problem if origin is None else msgspec.structs.replace(problem, file=origin.file, line=origin.line)
