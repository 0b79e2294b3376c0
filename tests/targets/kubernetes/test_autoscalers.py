"""Whether something still scales an object: asked where it has to be, remembered where that does no harm."""

from __future__ import annotations

import asyncio
from typing import Any

from trimtab.core.model.errors import TransientError
from trimtab.core.model.leaving import Leave
from trimtab.core.model.names import ObjectRef
from trimtab.targets.kubernetes.autoscalers import SEEN_SECONDS, Autoscalers
from trimtab.targets.kubernetes.errors import Forbidden
from trimtab.targets.kubernetes.leaving import Other, is_to_be_found, left
from trimtab.testing.factories import manifest

REPLICAS = b'{"f:spec":{"f:replicas":{}}}'
WEB = manifest("Deployment", "web", api_version="apps/v1", replicas=1)


class Item:
    def __init__(self, **target: str) -> None:
        self.target = target

    def body(self) -> dict[str, Any]:
        return {"spec": {"scaleTargetRef": self.target}}


class Server:
    """The cluster, its client, and the clock; ``there`` is what is listed by kind, an exception is raised."""

    def __init__(self, **there: Any) -> None:
        self.there, self.asked, self.now = there, 0, 0.0
        self.client = self

    async def resource(self, ref: ObjectRef) -> str | None:
        return ref.kind if ref.kind in self.there else None

    async def list(self, kind: str, _: object) -> Any:
        self.asked += 1
        await asyncio.sleep(0)
        if isinstance(self.there[kind], Exception):
            raise self.there[kind]
        return self.there[kind]

    def monotonic(self) -> float:
        self.now += 0.001
        return self.now


def asker(server: Server) -> Autoscalers:
    return Autoscalers(server, server)  # type: ignore[arg-type]


async def test_one_that_stands_there_is_remembered_for_a_while_and_that_there_is_none_never() -> None:
    """So an object that is scaled all the time costs next to nothing, and one that has just come is not fought."""
    server = Server(HorizontalPodAutoscaler=[Item(kind="Deployment", name="web")])
    scalers = asker(server)
    assert [await scalers.scales("shop", "Deployment", "web") for _ in range(5)] == [True] * 5
    assert server.asked == 1
    assert [await scalers.scales("shop", "Deployment", "db") for _ in range(3)] == [False] * 3
    assert server.asked == 4
    server.there["HorizontalPodAutoscaler"] = []
    assert await scalers.scales("shop", "Deployment", "web")
    server.now += SEEN_SECONDS
    assert not await scalers.scales("shop", "Deployment", "web")


async def test_many_objects_of_one_namespace_ask_together() -> None:
    server = Server(HorizontalPodAutoscaler=[])
    scalers = asker(server)
    assert not any(await asyncio.gather(*(scalers.scales("shop", "Deployment", f"web-{number}") for number in range(50))))
    assert server.asked <= 2


async def test_one_of_keda_scales_a_deployment_unless_it_says_otherwise() -> None:
    server = Server(HorizontalPodAutoscaler=[], ScaledObject=[Item(name="web"), Item(kind="StatefulSet", name="db"), Item()])
    scalers = asker(server)
    assert await scalers.scales("shop", "Deployment", "web")
    assert await scalers.scales("shop", "StatefulSet", "db")
    assert not await scalers.scales("shop", "StatefulSet", "web")


async def test_what_cannot_be_asked_is_not_gone() -> None:
    for error in (Forbidden("no", 403), TransientError("busy")):
        assert await asker(Server(HorizontalPodAutoscaler=error)).scales("shop", "Deployment", "web")


async def test_when_one_was_removed_it_is_asked_anew() -> None:
    server = Server(HorizontalPodAutoscaler=[Item(kind="Deployment", name="web")])
    scalers = asker(server)
    assert await scalers.scales("shop", "Deployment", "web")
    server.there["HorizontalPodAutoscaler"] = []
    scalers.forget()
    assert not await scalers.scales("shop", "Deployment", "web")


def test_only_what_an_autoscaler_that_can_be_found_has_scaled_is_asked_about() -> None:
    """Not what others write, not where Git has one beside it; and what is left when it has gone is what cannot be known to be."""
    scaled = {
        name: Other(name, "scale", REPLICAS) for name in ("kube-controller-manager", "keda-operator", "pod-autoscaler", "kubectl")
    }
    beside = frozenset({("Deployment", "", "web")})
    assert [name for name, other in scaled.items() if is_to_be_found(WEB.ref, [other], frozenset())] == [
        "kube-controller-manager",
        "keda-operator",
    ]
    assert not is_to_be_found(WEB.ref, list(scaled.values()), beside)
    assert is_to_be_found(WEB.ref, [Other("program", "scale", REPLICAS), Other("program", "status", b"{}")], frozenset())
    kept = {name: left(WEB, [other], Leave(), frozenset(), gone=True) for name, other in scaled.items()}
    assert [name for name, found in kept.items() if found] == ["pod-autoscaler"]
    assert left(WEB, [scaled["keda-operator"]], Leave(writers=("keda*",)), frozenset(), gone=True), "a rule says so"
