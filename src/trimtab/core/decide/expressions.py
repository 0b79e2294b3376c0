"""CEL, as far as rules need it: compile once, evaluate on plain values, and one kind of error that people can read.

https://github.com/google/cel-spec. Its standard functions are there, and those for texts, lists and sets that the library adds. What
needs more than the processor's time for a bounded value is not: no rule of a repository runs here that was not merged before.
"""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from trimtab.core.model.text import one_line

EXPRESSION_CHARACTERS_MAX = 10_000
PROGRAMS_MAX = 1_000


class WrongExpressionError(Exception):
    """What is wrong with an expression, for its author."""


@lru_cache(PROGRAMS_MAX)
def compiled(expression: str) -> Any:
    """Raises WrongExpressionError for what is no CEL."""
    if len(expression) > EXPRESSION_CHARACTERS_MAX:
        raise WrongExpressionError(f"it is longer than {EXPRESSION_CHARACTERS_MAX} characters")
    try:
        return _cel().compile(expression)
    except ValueError as error:
        lines = str(error).splitlines()
        said = next((line.partition("<input>:")[2] for line in lines if "<input>:" in line), lines[0] if lines else "")
        raise WrongExpressionError(f"it is not CEL: {one_line(said, characters_max=200)}") from None


def evaluate(expression: str, values: Mapping[str, Any]) -> Any:
    """What ``expression`` comes to. Raises WrongExpressionError, also for a field that is not there."""
    cel = _cel()
    context = cel.Context(variables=dict(values))
    importlib.import_module("cel.stdlib").add_stdlib_to_context(context)
    try:
        return compiled(expression).execute(context)
    except KeyError as error:
        raise WrongExpressionError(f"there is no {one_line(str(error), characters_max=100)}; ask with has() first") from None
    except (RuntimeError, TypeError, ValueError, IndexError, OverflowError, ArithmeticError) as error:
        raise WrongExpressionError(one_line(str(error), characters_max=200) or type(error).__name__) from None


@lru_cache(1)
def _cel() -> Any:
    # The package imports its own command line with it, and 25 MB that no rule needs.
    sys.modules.setdefault("cel.cli", types.ModuleType("cel.cli"))
    return importlib.import_module("cel")
