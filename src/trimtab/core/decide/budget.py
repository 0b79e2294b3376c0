"""How much one commit may remove before a person has to say yes.

Removing is the most dangerous act there is, so the question is asked twice: of the Application, and of the Environment as a
whole (a commit that takes a little from each of many Applications is as dangerous as one that takes much from one).
"""

from __future__ import annotations

from trimtab.core.model.config import RemovalBudget


def held_because(
    budget: RemovalBudget, *, removals: int, owned: int, desired: int, removed_elsewhere: int, owned_in_environment: int
) -> str:
    """Why ``removals`` may not go ahead, "" when they may.

    ``removals`` counts what the Revision has removed of the Application so far and what is to go now, ``owned`` the objects that it
    had before the Revision (what is added makes a removal no smaller), ``desired`` those that Git wants. ``removed_elsewhere`` counts
    what other Applications of the Environment remove at the same Revision, ``owned_in_environment`` all objects before that.
    """
    if removals == 0:
        return ""
    if desired == 0 and budget.empty_render == "hold":
        return f"nothing would be left of the application: all of its {_objects(owned)} would be removed"
    if _exceeds(budget, removals, owned):
        return f"{removals} of {_objects(owned)} of the application would be removed, more than the budget of {_limit(budget)}"
    together = removals + removed_elsewhere
    if removed_elsewhere and _exceeds(budget, together, owned_in_environment):
        return (
            f"this revision would remove {together} of {_objects(owned_in_environment)} of the environment, "
            f"more than the budget of {_limit(budget)}"
        )
    return ""


def _exceeds(budget: RemovalBudget, removals: int, total: int) -> bool:
    return removals > budget.objects and removals * 100 > total * budget.percent


def _limit(budget: RemovalBudget) -> str:
    return f"{budget.percent} % (and {_objects(budget.objects)})"


def _objects(count: int) -> str:
    return "1 object" if count == 1 else f"{count} objects"
