"""Kinds are looked up once, found as soon as they are served, and never said to be missing because a server is down."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from trimtab.core.model.errors import TransientError
from trimtab.targets.kubernetes import catalog, errors
from trimtab.targets.kubernetes.catalog import Catalog, Served
from trimtab.targets.kubernetes.discovery import Discovery, Unavailable, UnknownKind
from trimtab.targets.kubernetes.requests import Request
from trimtab.targets.kubernetes.resources import Resource
from trimtab.targets.kubernetes.transport import Answer


class HandClock:
    seconds = 0.0

    def now(self) -> Any:
        raise AssertionError("nobody asks for the time of day")

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds


def listed(*kinds: str) -> dict[str, Any]:
    resources = [{"name": f"{kind.lower()}s", "kind": kind, "namespaced": True, "verbs": ["get", "list"]} for kind in kinds]
    return {"kind": "APIResourceList", "resources": resources}


def version(name: str, *kinds: str, stale: bool = False) -> dict[str, Any]:
    resources = [
        {
            "resource": f"{kind.lower()}s",
            "responseKind": {"group": "", "version": "", "kind": kind},
            "scope": "Namespaced",
            "verbs": ["get", "list"],
            "subresources": [{"subresource": "status", "verbs": ["get"]}],
        }
        for kind in kinds
    ]
    return {"version": name, "freshness": "Stale" if stale else "Current", "resources": resources}


def aggregated(**groups: list[dict[str, Any]]) -> dict[str, Any]:
    items = [{"metadata": {"name": name.replace("_", ".")}, "versions": versions} for name, versions in groups.items()]
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "items": items}


class Server:
    """Documents by path; what is not there is 404, an exception is raised."""

    def __init__(self, **documents: Any) -> None:
        self.documents: dict[str, Any] = {
            "/api": aggregated(**{"": [version("v1", "Pod", "Secret")]}),
            "/apis": aggregated(apps=[version("v1", "Deployment"), version("v1beta1", "Deployment", "Old")]),
            **documents,
        }
        self.asked: list[str] = []

    async def send(self, request: Request) -> Answer:
        self.asked.append(request.target)
        document = self.documents.get(request.target, errors.NotFound(request.doing, "404 page not found", code=404))
        if isinstance(document, Exception):
            raise document
        return Answer(200, {}, msgspec.json.encode(document))


DOWN = errors.ServerError("read", "service unavailable", code=503)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


async def test_everything_is_read_in_two_requests(clock: HandClock) -> None:
    server = Server()
    discovery = Discovery(server.send, clock)
    found = await discovery.resource("apps/v1", "Deployment")
    assert found == Resource("apps", "v1", "deployments", "Deployment", True, frozenset({"get", "list"}), frozenset({"status"}))
    assert (await discovery.resource("v1", "Pod")).path("a", "b") == "/api/v1/namespaces/a/pods/b"
    assert sorted(server.asked) == ["/api", "/apis"]


async def test_a_kind_is_found_as_soon_as_it_is_served(clock: HandClock) -> None:
    server = Server()
    discovery = Discovery(server.send, clock)
    with pytest.raises(UnknownKind):
        await discovery.resource("shop.dev/v1", "Cart")
    server.documents["/apis/shop.dev/v1"] = listed("Cart")
    with pytest.raises(UnknownKind):
        await discovery.resource("shop.dev/v1", "Cart")  # asked a moment ago
    clock.seconds += 0.2
    assert (await discovery.resource("shop.dev/v1", "Cart")).plural == "carts"
    assert server.asked.count("/apis/shop.dev/v1") == 3  # a 404 is believed the second time
    await discovery.resource("shop.dev/v1", "Cart")
    assert server.asked.count("/apis/shop.dev/v1") == 3


async def test_an_unknown_kind_comes_with_a_guess(clock: HandClock) -> None:
    discovery = Discovery(Server().send, clock)
    with pytest.raises(UnknownKind, match="Did you mean Deployment"):
        await discovery.resource("apps/v1", "Deploymnet")
    with pytest.raises(UnknownKind, match="It serves Deployment in apps/v1"):
        await discovery.resource("extensions/v1beta1", "Deployment")
    with pytest.raises(UnknownKind, match="Install its CustomResourceDefinition"):
        await discovery.resource("shop.dev/v1", "Zebra")


@pytest.mark.parametrize("listing", ["stale", "missing", "there"])
async def test_a_server_that_is_down_never_reads_as_no_such_kind(clock: HandClock, listing: str) -> None:
    groups = {"stale": {"shop_dev": [version("v1", stale=True)]}, "missing": {}, "there": {"shop_dev": [version("v1", "Other")]}}
    server = Server(**{"/apis": aggregated(**groups[listing]), "/apis/shop.dev/v1": DOWN, "/apis/shop.dev": DOWN})
    discovery = Discovery(server.send, clock)
    with pytest.raises(
        Unavailable, match=r"shop\.dev/v1 is not available: service unavailable. Look at the APIService v1\.shop\.dev"
    ):
        await discovery.resource("shop.dev/v1", "Cart")
    with pytest.raises(TransientError):
        await discovery.find("shop.dev", "Cart", version="v1")


async def test_a_server_that_comes_back_is_noticed(clock: HandClock) -> None:
    server = Server(**{"/apis": aggregated(shop_dev=[version("v1", stale=True)]), "/apis/shop.dev/v1": DOWN})
    discovery = Discovery(server.send, clock)
    with pytest.raises(Unavailable):
        await discovery.resource("shop.dev/v1", "Cart")
    assert (await discovery.catalog()).unavailable == (("shop.dev", "v1"),)
    server.documents["/apis/shop.dev/v1"] = listed("Cart")
    clock.seconds += 1
    assert (await discovery.resource("shop.dev/v1", "Cart")).plural == "carts"
    assert (await discovery.catalog()).unavailable == ()


async def test_an_object_is_found_in_another_version_when_its_own_is_gone(clock: HandClock) -> None:
    server = Server(**{"/apis/apps": {"versions": [{"version": "v1"}, {"version": "v1beta1"}]}})
    discovery = Discovery(server.send, clock)
    assert (await discovery.find("apps", "Deployment", version="v1beta2")).version == "v1"
    assert (await discovery.find("apps", "Deployment", version="v1beta1")).version == "v1beta1"
    assert (await discovery.find("apps", "Old")).version == "v1beta1"
    assert len(server.asked) == 2
    with pytest.raises(UnknownKind):
        await discovery.find("apps", "Gone", version="v1")


async def test_a_new_version_of_a_group_is_found(clock: HandClock) -> None:
    server = Server(**{"/apis/shop.dev": {"versions": [{"version": "v2"}]}, "/apis/shop.dev/v2": listed("Cart")})
    assert (await Discovery(server.send, clock).find("shop.dev", "Cart", version="v1")).version == "v2"


async def test_a_kind_that_went_is_forgotten_when_the_server_says_so(clock: HandClock) -> None:
    server = Server(**{"/apis/apps/v1": listed("Deployment")})
    discovery = Discovery(server.send, clock)
    deployments = await discovery.resource("apps/v1", "Deployment")
    assert await discovery.served(deployments)
    server.documents["/apis/apps/v1"] = DOWN
    with pytest.raises(Unavailable):
        await discovery.served(deployments)
    del server.documents["/apis/apps/v1"]
    assert not await discovery.served(deployments)
    with pytest.raises(UnknownKind):
        await discovery.resource("apps/v1", "Deployment")


async def test_an_old_server_is_asked_group_by_group(clock: HandClock) -> None:
    groups = [
        {"name": "apps", "versions": [{"version": "v1beta1"}, {"version": "v1"}], "preferredVersion": {"version": "v1"}},
        {"name": "shop.dev", "versions": [{"version": "v1"}]},
    ]
    pods = {"name": "pods", "kind": "Pod", "namespaced": True, "verbs": ["get"]}
    server = Server(
        **{
            "/api": {"kind": "APIVersions", "versions": ["v1"]},
            "/apis": {"kind": "APIGroupList", "groups": groups},
            "/api/v1": {"resources": [pods, {"name": "pods/log", "kind": "Pod", "namespaced": True, "verbs": ["get"]}]},
            "/apis/apps/v1": listed("Deployment"),
            "/apis/apps/v1beta1": listed("Deployment"),
            "/apis/shop.dev/v1": DOWN,
        }
    )
    discovery = Discovery(server.send, clock)
    assert (await discovery.resource("v1", "Pod")).subresources == frozenset({"log"})
    assert (await discovery.find("apps", "Deployment")).version == "v1"
    assert (await discovery.catalog()).unavailable == (("shop.dev", "v1"),)


@pytest.mark.parametrize("path", ["/api", "/apis"])
async def test_half_a_catalog_is_none(clock: HandClock, path: str) -> None:
    server = Server(**{path: DOWN})
    discovery = Discovery(server.send, clock)
    with pytest.raises(TransientError):
        await discovery.resource("apps/v1", "Deployment")
    server.documents[path] = Server().documents[path]
    assert await discovery.resource("apps/v1", "Deployment")


@pytest.mark.parametrize("nonsense", [[], 5, {"kind": "APIGroupDiscoveryList", "items": 5}])
async def test_nonsense_is_not_an_empty_catalog(clock: HandClock, nonsense: Any) -> None:
    with pytest.raises(TransientError, match="makes no sense"):
        await Discovery(Server(**{"/apis": nonsense}).send, clock).catalog()


async def test_a_refresh_reads_everything_again(clock: HandClock) -> None:
    server = Server()
    discovery = Discovery(server.send, clock)
    await discovery.catalog()
    server.documents["/apis"] = aggregated(batch=[version("v1", "Job")])
    found = await discovery.refresh()
    assert [resource.kind for resource in found.resources()] == ["Pod", "Secret", "Job"]
    assert found.api_versions() == ["v1", "v1/Pod", "v1/Secret", "batch/v1", "batch/v1/Job"]


def test_each_kind_counts_once_in_its_preferred_version() -> None:
    one = Resource("g", "v2", "as", "A", namespaced=True)
    other = Resource("g", "v1", "as", "A", namespaced=True)
    known = Catalog([Served("g", "v2", {"A": one}), Served("g", "v1", {"A": other})])
    assert list(known.resources()) == [one]


@pytest.mark.parametrize("read", [catalog.aggregated, catalog.legacy, lambda data: catalog.resources("g", "v1", data)])
def test_documents_without_anything_are_read(read: Callable[[bytes], Any]) -> None:
    read(b'{"kind": "Whatever"}')
