"""The Judge port in this very process: quick, for rules that a test has written itself. A real one can be stopped."""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Mapping, Sequence
from typing import Any

from trimtab.core.model.config import Configuration
from trimtab.core.model.errors import Problem
from trimtab.core.model.manifest import Body
from trimtab.ports.judge import Unsaid


class DirectJudge:
    async def examine(self, configuration: Configuration) -> Sequence[Problem]:
        return ()

    async def holds(self, questions: Sequence[tuple[str, Body]]) -> Sequence[bool | str]:
        answers = [_value(rule, {"object": body}) for rule, body in questions]
        return [answer if isinstance(answer, bool) else str(answer) for answer in answers]

    async def answers(self, questions: Sequence[tuple[str, Mapping[str, Any]]]) -> Sequence[Any]:
        return [_value(rule, values) for rule, values in questions]


def _value(rule: str, values: Mapping[str, Any]) -> Any:
    sys.modules.setdefault("cel.cli", types.ModuleType("cel.cli"))  # nobody needs its command line
    cel = importlib.import_module("cel")
    context = cel.Context(variables=dict(values))
    importlib.import_module("cel.stdlib").add_stdlib_to_context(context)
    try:
        return cel.compile(rule).execute(context)
    except KeyError as error:
        return Unsaid(f"there is no {error}; ask with has() first")
    except (RuntimeError, TypeError, ValueError, IndexError, OverflowError, ArithmeticError) as error:
        return Unsaid(str(error))
