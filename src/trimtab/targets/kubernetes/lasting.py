"""Objects that do not last: a Job with `ttlSecondsAfterFinished` is removed by the cluster when it has ended. Made again, it would run again.

So of each such Job that went while we were watching it is remembered how it had ended. What somebody removes before its end is missing
like anything else.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from trimtab.core.model.health import Health, HealthStatus
from trimtab.core.model.manifest import Manifest

if TYPE_CHECKING:
    from .cluster import Cluster
    from .known import Known

REMEMBERED_MAX = 1_000
JOB = ("batch", "Job")
_HOW = "it has ended and was cleared away, as its ttlSecondsAfterFinished says"


class Went:
    """How objects of one kind were when they went, by where they were and what had been applied."""

    def __init__(self) -> None:
        self._ends: OrderedDict[tuple[str, str, str], Health] = OrderedDict()
        self._before: dict[str, Health] = {}

    def going(self, before: Known | None, after: Known) -> None:
        """Once it is being deleted its health says nothing else any more."""
        if after.deleting and before is not None and not before.deleting and _is_job(after):
            self._before[after.uid] = before.health

    def gone(self, known: Known) -> None:
        if not _is_job(known):
            return
        self._ends[known.namespace, known.ref.name, known.digest] = self._before.pop(known.uid, known.health)
        while len(self._ends) > REMEMBERED_MAX:
            self._ends.popitem(last=False)

    def get(self, namespace: str, name: str, digest: str) -> Health | None:
        return self._ends.get((namespace, name, digest))


def went(cluster: Cluster, manifest: Manifest) -> Health | None:
    """None of what is there to stay; unknown of what nobody saw go."""
    spec = manifest.body.get("spec")
    if (
        (manifest.ref.group, manifest.ref.kind) != JOB
        or not isinstance(spec, dict)
        or spec.get("ttlSecondsAfterFinished") is None
    ):
        return None
    namespace = manifest.ref.namespace or cluster.namespace
    kind = cluster.kinds.get((*JOB, namespace if cluster.settings.namespaces else ""))
    found = kind.went(namespace, manifest.ref.name, manifest.digest) if kind is not None else None
    if found is None:
        return Health(HealthStatus.UNKNOWN, _HOW)
    return Health(found.status, found.message or _HOW, found.object, found.last_log_line)


def _is_job(known: Known) -> bool:
    return (known.ref.group, known.ref.kind) == JOB
