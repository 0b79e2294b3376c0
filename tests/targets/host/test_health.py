"""Health from what is observed."""

from __future__ import annotations

from typing import Any

from trimtab.core.model.health import HealthStatus
from trimtab.core.model.observed import Observed
from trimtab.targets.host.health import assess

from .conftest import manifest

WEB = manifest("Process", "web", {"command": ["x"]})


def instance(**fields: Any) -> dict[str, Any]:
    plain = {
        "id": "a", "digest": "d", "state": "starting", "ready": False, "published": False, "exitsRecent": 0, "lastExit": "",
        "waitSeconds": 0, "unreadySeconds": 1.0, "probe": "", "lastLogLine": "last words",
    }  # fmt: skip
    return plain | fields


def judged(*instances: dict[str, Any], replicas: int = 1, trouble: str = "", **spec: Any):
    ready = sum(each["ready"] for each in instances if each["digest"] == "d")
    status = {
        "kind": "Process",
        "replicas": replicas,
        "digest": "d",
        "ready": ready,
        "trouble": trouble,
        "instances": list(instances),
    }
    return assess(Observed(WEB.ref, "u", {"spec": spec}, status=status), WEB)


def test_all_ready_is_healthy() -> None:
    """And an old instance that only ends does not matter."""
    assert judged(instance(ready=True, state="ready")).status is HealthStatus.HEALTHY
    assert judged(instance(ready=True), instance(digest="old", state="stopping")).status is HealthStatus.HEALTHY


def test_some_not_ready_is_progressing() -> None:
    """With the number and what the probe said."""
    health = judged(instance(ready=True), instance(probe="no answer"), replicas=2)
    assert (health.status, health.message) == (HealthStatus.PROGRESSING, "1 of 2 ready: no answer")
    assert health.last_log_line == "last words"


def test_the_release_before_still_serving_is_progressing() -> None:
    """Until the front has left it."""
    assert judged(instance(ready=True), instance(digest="old", published=True)).status is HealthStatus.PROGRESSING


def test_not_ready_in_time_is_degraded() -> None:
    """startupSeconds is over."""
    health = judged(instance(unreadySeconds=61.0))
    assert (health.status, health.message) == (HealthStatus.DEGRADED, "not ready after 61 s: no answer yet")
    assert judged(instance(unreadySeconds=61.0), startupSeconds=100.0).status is HealthStatus.PROGRESSING


def test_a_crash_loop_is_degraded() -> None:
    """With the number of ends, the last one, and when it is tried again."""
    health = judged(instance(state="waiting", exitsRecent=4, lastExit="exit status 1", waitSeconds=8.0))
    assert health.message == "crash loop: 4 exits in 60 s, last: exit status 1, started again in 8 s"


def test_trouble_of_the_machine_is_degraded() -> None:
    """What the controller could not do is said."""
    assert judged(trouble="no space").message == "no space"


def test_tasks_and_files() -> None:
    """A task by its state; a file that is there is well."""
    task = manifest("Task", "t", {"command": ["x"]})
    for state, expected in (("succeeded", "healthy"), ("running", "progressing"), ("failed", "degraded")):
        assert assess(Observed(task.ref, "u", {}, status={"kind": "Task", "state": state}), task).status == expected
    assert assess(Observed(task.ref, "u", {}, status={"kind": "File"}), task).status is HealthStatus.HEALTHY
    assert assess(Observed(task.ref, "u", {}), task).status is HealthStatus.UNKNOWN
