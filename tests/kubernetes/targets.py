"""Kubernetes targets for tests, and how the engine uses one, without an engine.

async with opened(cluster.kubeconfig, namespace) as target:
    await settle(target, [manifest])          look, plan, act, as often as it takes
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from trimtab.core.decide.abroad import NOBODY, Abroad
from trimtab.core.decide.plan import Situation, plan
from trimtab.core.model.config import Environment, EnvironmentSpec, Metadata, RemovalBudget
from trimtab.core.model.inventory import Entry, Inventory
from trimtab.core.model.leaving import Leave
from trimtab.core.model.manifest import Manifest
from trimtab.core.model.names import Identity, Key, ObjectRef
from trimtab.core.model.observed import Scope
from trimtab.core.model.plan import Action, Applied, Outcome, Plan
from trimtab.engine.looking import freshest
from trimtab.plumbing.clock import SystemChance, SystemClock
from trimtab.ports.clock import Clock
from trimtab.targets.kubernetes.target import KubernetesTarget, KubernetesTargets

ENVIRONMENT = "host"


def environment(kubeconfig: Path, namespace: str, **settings: Any) -> Environment:
    given = {"kind": "kubernetes", "kubeconfig": str(kubeconfig), "namespace": namespace, **settings}
    return Environment(metadata=Metadata(name=ENVIRONMENT), spec=EnvironmentSpec(target=given))


def installation_name() -> str:
    return f"test-{secrets.token_hex(4)}"


@asynccontextmanager
async def opened(
    kubeconfig: Path,
    namespace: str,
    installation: str = "",
    name: str = ENVIRONMENT,
    *,
    clock: Clock | None = None,
    **settings: Any,
) -> AsyncIterator[KubernetesTarget]:
    made = installation or installation_name()
    targets = KubernetesTargets(installation=made, clock=clock or SystemClock(), chance=SystemChance())
    try:
        yield targets.get(name, environment(kubeconfig, namespace, **settings))
    finally:
        await targets.close()
        # TLS connections end by themselves, a moment after they were told to; until then the loop is needed.
        await asyncio.sleep(0.05)


def manifest(body: dict[str, Any], file: str = "apps/all.yaml", line: int = 1) -> Manifest:
    metadata = body["metadata"]
    return Manifest(
        ObjectRef(body["apiVersion"], body["kind"], metadata.get("namespace", ""), metadata["name"]), body, file, line
    )


def config_map(name: str = "one", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


class World:
    """One application's view: an inventory, and what an engine would do with it."""

    def __init__(self, target: KubernetesTarget, application: str = "shop") -> None:
        self.target = target
        self.application = application
        self.inventory = Inventory(())

    async def plan(
        self,
        manifests: Sequence[Manifest],
        *,
        adopt: bool = False,
        leave: Leave | None = None,
        abroad: Mapping[Identity, Abroad] = NOBODY,
    ) -> Plan:
        """Raises AssertionError with what the target refuses. ``leave`` is what rules leave of each object."""
        leaves = {manifest.identity: leave for manifest in manifests} if leave is not None else {}
        refs = {entry.ref.identity: entry.ref for entry in self.inventory.of(self.application).values()}
        refs |= {manifest.identity: manifest.ref for manifest in manifests}
        seen = await self.target.observe(Scope(self.target.name, tuple(refs.values())))
        preview = await self.target.preview(manifests, leaves, shown=False)
        assert preview.problems == (), [str(problem) for problem in preview.problems]
        return plan(
            Situation(
                key=Key(self.target.name, self.application),
                installation=self.target.cluster.installation,
                desired=manifests,
                predicted=preview.bodies,
                observed=freshest(seen, preview),
                inventory=self.inventory,
                waves={manifest.identity: self.target.wave(manifest) for manifest in manifests},
                adopt=adopt,
                abroad=abroad,
                leave=leaves,
                left=preview.left,
                fixed=preview.fixed,
                budget=RemovalBudget(objects=1_000, empty_render="allow"),
            )
        )

    async def act(self, made: Plan) -> list[Outcome]:
        """Every Step at once."""
        outcomes = await asyncio.gather(
            *(self.target.remove(step) if step.action is Action.REMOVE else self.target.apply(step, "r1") for step in made.steps)
        )
        for step, outcome in zip(made.steps, outcomes, strict=True):
            if isinstance(outcome, Applied) and step.manifest is not None:
                digest = step.manifest.digest
                self.inventory.put(Entry(self.target.name, self.application, step.ref, digest, step.wave, "applied", outcome.uid))
            elif isinstance(outcome, Applied):
                self.inventory.drop(step.ref.identity)
        return list(outcomes)

    async def settle(self, manifests: Sequence[Manifest], *, adopt: bool = False) -> Plan:
        """One round that does everything; returns what it did. Raises AssertionError when something fails or is left to do."""
        made = await self.plan(manifests, adopt=adopt)
        outcomes = await self.act(made)
        assert all(isinstance(outcome, Applied) for outcome in outcomes), outcomes
        again = await self.plan(manifests, adopt=adopt)
        assert again.empty, again
        return made

    async def seen(self, ref: ObjectRef, holds: Any, seconds: float = 5.0) -> Any:
        """What is known of an object, once that is as wanted: the watch may be a moment late."""
        for _ in range(int(seconds / 0.01)):
            resource = await self.target.cluster.served(ref)
            assert resource is not None
            namespace = self.target.cluster.place(resource, ref)
            known = (await self.target.cluster.kind(resource, namespace)).get(namespace, ref.name)
            if holds(known):
                return known
            await asyncio.sleep(0.01)
        raise AssertionError(f"{ref} did not become as wanted: {known}")
