"""What the ignore rules leave of each object to others: asked once for each content and set of rules, not at each look."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from trimtab.core.decide.ignoring import expressions, leave
from trimtab.core.model.config import Ignore
from trimtab.core.model.errors import UserError
from trimtab.core.model.leaving import Leave
from trimtab.core.model.manifest import Manifest
from trimtab.core.model.names import Identity, Key
from trimtab.ports.judge import Judge

from .world import Content

Answers = Mapping[tuple[str, Identity], bool]


class Leaving:
    def __init__(self, judge: Judge | None) -> None:
        self._judge = judge
        self._known: dict[Key, tuple[str, tuple[Ignore, ...], Mapping[Identity, Leave]]] = {}

    async def of(self, key: Key, content: Content, rules: tuple[Ignore, ...]) -> Mapping[Identity, Leave]:
        """Only objects of which something is left. Raises UserError when a rule cannot be asked: then nothing is to be overwritten."""
        if not rules:
            self._known.pop(key, None)
            return {}
        known = self._known.get(key)
        if known is None or known[:2] != (content.digest, rules):
            found = await left_of(content.manifests, rules, self._judge)
            known = self._known[key] = (content.digest, rules, found)
        return known[2]


async def left_of(manifests: tuple[Manifest, ...], rules: tuple[Ignore, ...], judge: Judge | None) -> Mapping[Identity, Leave]:
    """As `Leaving.of`, anew."""
    answers = await _answers(manifests, rules, judge)
    found = ((one.identity, leave(rules, one, partial(_holds, answers, one.identity))) for one in manifests)
    return {identity: left for identity, left in found if left}


def _holds(answers: Answers, identity: Identity, when: str) -> bool:
    return answers[when, identity]


async def _answers(manifests: tuple[Manifest, ...], rules: tuple[Ignore, ...], judge: Judge | None) -> Answers:
    questions = [(when, one) for one in manifests for when in dict.fromkeys(expressions(rules, one.ref))]
    if not questions:
        return {}
    if judge is None:
        raise UserError("apply the ignore rules: expressions cannot be evaluated here", remedy="Write the rule without `when`")
    answers: dict[tuple[str, Identity], bool] = {}
    for (when, one), answer in zip(questions, await judge.holds([(when, one.body) for when, one in questions]), strict=True):
        if isinstance(answer, str):
            remedy = "Correct `when` of the rule; until then nothing of this application is written"
            raise UserError(f"apply the ignore rules to {one.ref}: {answer}", remedy=remedy)
        answers[when, one.identity] = answer
    return answers
