"""What runs to an end: Job and CronJob.

https://kubernetes.io/docs/concepts/workloads/controllers/job/#terminal-job-conditions
https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#schedule-suspension
"""

from __future__ import annotations

from trimtab.core.model.health import HEALTHY, Health
from trimtab.core.model.manifest import Body

from .reading import Table, always, conditions, degraded, is_true, mapping, number, progressing, said, suspended
from .shapes import paused_by


def job(obj: Body) -> Health:
    spec, status = mapping(obj, "spec"), mapping(obj, "status")
    found = conditions(status)
    for name in ("Failed", "FailureTarget"):
        if is_true(found.get(name)):
            return degraded(f"it has failed: {said(found[name]) or 'no reason given'}")
    if is_true(found.get("Complete")):
        return HEALTHY
    if spec.get("suspend") is True or is_true(found.get("Suspended")):
        return suspended("it is suspended: spec.suspend is set")
    wanted = number(spec, "completions", number(spec, "parallelism", 1))
    ended, active, failed = (number(status, name) for name in ("succeeded", "active", "failed"))
    tries = f", {failed} failed" if failed else ""
    return progressing(f"{ended} of {wanted} succeeded, {active} active{tries}")


TABLE: Table = {"batch": {"Job": job, "CronJob": paused_by("spec.suspend", always, "it is suspended: {path} is set")}}
