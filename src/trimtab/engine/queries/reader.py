"""What every query starts from: the engine, and how an Application looks in a row."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from trimtab.core.lifecycle.state import Reconciliation
from trimtab.core.model.deployment import Deployment, Phase
from trimtab.core.model.errors import Problem
from trimtab.core.model.health import HealthStatus
from trimtab.core.model.names import Key
from trimtab.core.model.views import (
    ApplicationRow,
    ProblemView,
)
from trimtab.engine.engine import Engine, Session

LIMIT_MAX = 1_000
WELL = frozenset({HealthStatus.HEALTHY, HealthStatus.SUSPENDED})


class Reader:
    """Holds the engine; a query asks it for the session that leads now."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine


def row_of(session: Session, key: Key) -> ApplicationRow:
    state = session.world.states.get(key, Reconciliation())
    problems = problems_of(session, key)
    slot = state.pending if state.pending is not None and state.pending.phase == Phase.FAILED else state.current or state.pending
    return ApplicationRow(
        name=key.application,
        environment=key.environment,
        revision=revision_of(session, key, state),
        sync=sync_of(state, bool(problems)),
        health=state.health.status,
        message=str(problems[0]) if problems else message_of(state, slot),
        suspended=state.suspension is not None,
        origin=str(session.world.configuration.generated.get(key.application, "")),
    )


def revision_of(session: Session, key: Key, state: Reconciliation) -> str:
    """The newest Revision whose content runs: the head itself when it left this application alone."""
    head = session.declarer.head_of(key)
    if (
        state.pending is None
        and not state.undeclared
        and head is not None
        and head.revision is not None
        and state.current is not None
    ):
        return head.revision
    slot = state.current or state.pending
    return slot.revision if slot is not None else ""


def sync_of(state: Reconciliation, problems: bool) -> str:
    if problems or (state.pending is not None and state.pending.phase == Phase.FAILED):
        return "failed"
    if state.current is not None and state.current.phase == Phase.FAILED and state.attempt:
        return "failed"
    if state.current is not None and state.current.phase == Phase.HELD:
        return "held"
    return state.sync


def message_of(state: Reconciliation, slot: Deployment | None) -> str:
    if state.suspension is not None:
        return f"suspended: {state.suspension.reason}"
    if state.pending is not None and state.pending.message:
        return state.pending.message
    return (slot.message if slot is not None else "") or state.health.message


def problems_of(session: Session, key: Key) -> list[Problem]:
    """What is wrong in what Git wants of ``key``; what stands in no file of its own is told where the Application is declared."""
    origin = session.world.configuration.origins.get(f"Application/{key.application}")
    live = session.world.live.get(key)
    found = [*session.world.problems.get(key, ()), *(live.refused if live is not None else ())]
    if origin is None:
        return found
    return [one if one.file else msgspec.structs.replace(one, file=origin.file, line=origin.line) for one in found]


def errors_of(problems: Iterable[Problem]) -> list[ProblemView]:
    return [ProblemView.of(problem) for problem in problems]
