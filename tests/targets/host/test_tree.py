"""What stands behind a Process and a Task, from what `observe` tells."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from trimtab.core.model.health import HealthStatus
from trimtab.core.model.names import ObjectRef
from trimtab.core.model.observed import Observed
from trimtab.core.model.tree import CHILDREN_MAX, NO_TREE
from trimtab.targets.host.tree import tree

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WEB = ObjectRef("host.trimtab.dev/v1", "Process", "", "web")


def observed(kind: str, **status: Any) -> Observed:
    return Observed(WEB, "u1", {}, status={"kind": kind, **status})


def instance(**parts: Any) -> dict[str, Any]:
    given = {
        "id": "web-1",
        "state": "ready",
        "pid": 7,
        "ports": {"http": 8080},
        "ready": True,
        "restarts": 2,
        "runningSeconds": 60,
    }
    return {**given, "probe": "", "lastExit": "", **parts}


def test_each_instance_is_a_child_with_its_process_and_ports() -> None:
    (child,) = tree(observed("Process", instances=[instance()]), NOW).children
    assert (child.object.kind, child.object.name, child.health, child.ready, child.restarts) == (
        "Instance",
        "web-1",
        HealthStatus.HEALTHY,
        "1/1",
        2,
    )
    assert child.message == "ready, pid 7, http on 8080"
    assert child.since == NOW - timedelta(minutes=1)


def test_one_that_waits_says_how_it_ended() -> None:
    waiting = instance(state="waiting", pid=0, ports={}, ready=False, lastExit="exit status 3")
    (child,) = tree(observed("Process", instances=[waiting]), NOW).children
    assert (child.health, child.message, child.since) == (HealthStatus.DEGRADED, "waiting, last: exit status 3", None)


def test_a_task_has_its_run_a_file_has_nothing_and_many_are_counted() -> None:
    (child,) = tree(observed("Task", state="failed", attempt=2, message="exit status 1"), NOW).children
    assert (child.object.name, child.health, child.message) == ("web-2", HealthStatus.DEGRADED, "exit status 1")
    assert tree(observed("File"), NOW) == NO_TREE
    many = tree(observed("Process", instances=[instance()] * (CHILDREN_MAX + 3)), NOW)
    assert (len(many.children), many.more) == (CHILDREN_MAX, 3)
