"""Users' own rules of health on a real server: a rule decides, a wrong one is told and leaves it to the tables, one that hangs costs only its
object, and each version of an object is asked about once.
"""

from __future__ import annotations

import asyncio
from typing import Any

from tests.contract.target import look, put, until
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.targets import config_map, manifest, opened

from trimtab.core.model.health import Health, HealthStatus
from trimtab.core.model.manifest import Manifest
from trimtab.core.model.plan import Action
from trimtab.targets.kubernetes.target import KubernetesTarget

SECONDS = 10.0
ARGO = """
hs = {}
hs.status = "Progressing"
hs.message = "not yet"
if obj.data ~= nil and obj.data.state == "done" then
  hs.status = "Healthy"
  hs.message = ""
elseif obj.data ~= nil and obj.data.state == "lost" then
  hs.status = "Degraded"
  hs.message = "the disk of " .. obj.metadata.name .. " is lost"
end
return hs
"""
HANGS = "return {status = string.find(string.rep('a', 5000), string.rep('a-', 30) .. 'b') and 'Healthy' or 'Degraded'}"


def lua(script: str, kind: str = "ConfigMap") -> dict[str, Any]:
    return {"group": "", "kind": kind, "lua": script}


async def health(target: KubernetesTarget, made: Manifest) -> Health:
    seen = await look(target, made.ref)
    assert seen is not None
    return target.assess(seen, made)


async def becomes(target: KubernetesTarget, made: Manifest, status: str) -> Health:
    async def so() -> bool:
        return (await health(target, made)).status == status

    await until(so, SECONDS)
    return await health(target, made)


async def test_a_script_of_argo_cd_decides_and_each_version_is_asked_about_once(cluster: Cluster, namespace: str) -> None:
    """What a look shows follows the object, whoever asks and how often; a write of ours is never healthy on the word of the version before."""
    async with opened(cluster.kubeconfig, namespace, health=[lua(ARGO)]) as target:
        assert target.judging is not None
        done, lost = manifest(config_map(state="done")), manifest(config_map(state="lost"))
        await put(target, done)
        assert await becomes(target, done, "healthy") == Health(HealthStatus.HEALTHY)
        asked = target.judging.evaluations
        for _ in range(20):
            await health(target, done)
            await target.preview([done])
        await asyncio.sleep(0.2)
        assert target.judging.evaluations == asked
        await put(target, lost, Action.UPDATE)
        assert (await health(target, lost)).status in ("progressing", "degraded")
        found = await becomes(target, lost, "degraded")
        assert found.message == "the disk of one is lost"
        assert target.judging.evaluations - asked <= 2


async def test_who_watches_is_told_when_a_rule_has_spoken(cluster: Cluster, namespace: str) -> None:
    """So that nobody has to look again and again."""
    async with opened(cluster.kubeconfig, namespace, health=[lua(ARGO)]) as target:
        made = manifest(config_map(state="lost"))
        watch = target.watch()
        await put(target, made)
        while (await health(target, made)).status != "degraded":
            await asyncio.wait_for(anext(watch), SECONDS)
        await watch.aclose()


async def test_a_rule_that_is_wrong_leaves_it_to_the_tables_and_says_so(cluster: Cluster, namespace: str) -> None:
    """A ConfigMap that is stored is healthy by them."""
    async with opened(cluster.kubeconfig, namespace, health=[lua("return {")]) as target:
        made = manifest(config_map(state="lost"))
        await put(target, made)
        found = await becomes(target, made, "healthy")
        assert "judged without the health rule of ConfigMap, which" in found.message


async def test_a_rule_that_hangs_costs_only_the_health_of_its_kind(cluster: Cluster, namespace: str) -> None:
    """It is killed and told; objects of other kinds are judged, and the loop goes on."""
    cel = {"group": "", "kind": "Secret", "cel": {"healthy": "has(data.state)", "degraded": "!has(data.state)"}}
    async with opened(cluster.kubeconfig, namespace, health=[lua(HANGS), cel]) as target:
        stuck = manifest(config_map(state="done"))
        fine = manifest({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "data": {"state": "eA=="}})
        await asyncio.gather(put(target, stuck), put(target, fine))
        ticks = 0
        while (await health(target, stuck)).status != "unknown":
            ticks += 1
            await asyncio.sleep(0.01)
            assert ticks < 3_000
        assert "took longer" in (await health(target, stuck)).message
        assert ticks > 10  # nothing of ours stood still meanwhile
        await becomes(target, fine, "healthy")


async def test_an_object_that_was_read_just_now_is_judged_by_its_rule_too(cluster: Cluster, namespace: str) -> None:
    """A preview that has to ask the server brings the object anew; its health is the rule's all the same."""
    async with opened(cluster.kubeconfig, namespace, health=[lua(ARGO)]) as target:
        old, new = manifest(config_map(state="lost")), manifest(config_map(state="lost", more="x"))
        await put(target, old)
        await becomes(target, old, "degraded")
        preview = await target.preview([new])
        there = preview.observed[new.identity]
        assert there is not None
        assert target.assess(there, new).status == "degraded"
