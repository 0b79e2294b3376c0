"""Objects are read no further than somebody looks."""

from __future__ import annotations

import msgspec
import pytest

from trimtab.targets.kubernetes.objects import Object, page
from trimtab.targets.kubernetes.resources import Resource

DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment", namespaced=True)
LIVE = {
    "metadata": {
        "name": "web",
        "namespace": "shop",
        "uid": "u1",
        "resourceVersion": "7",
        "generation": 2,
        "labels": {"a": "b"},
        "ownerReferences": [{"apiVersion": "v1", "kind": "X", "name": "x", "uid": "u0"}],
        "deletionTimestamp": "2030-01-01T00:00:00Z",
        "managedFields": [
            {
                "manager": "trimtab",
                "operation": "Apply",
                "apiVersion": "apps/v1",
                "time": "t",
                "fieldsType": "FieldsV1",
                "fieldsV1": {"f:spec": {}},
            },
            {"manager": "kcm", "operation": "Update", "subresource": "status"},
        ],
        "something": {"new": True},
    },
    "spec": {"replicas": 12345678901234567890},
    "status": {"ready": 1},
}


def test_metadata_is_there_at_once_and_the_rest_when_asked() -> None:
    item = Object(DEPLOYMENTS, msgspec.json.encode(LIVE))
    assert (item.name, item.namespace, item.uid, item.resource_version) == ("web", "shop", "u1", "7")
    assert (item.labels, item.annotations, item.deleting) == ({"a": "b"}, {}, True)
    assert item.status() == {"ready": 1}
    assert item.body() == {**LIVE, "apiVersion": "apps/v1", "kind": "Deployment"}
    assert [each.manager for each in item.managers()] == ["trimtab", "kcm"]
    assert bytes(item.managers()[0].fields) == b'{"f:spec":{}}'
    assert item.managers()[1].subresource == "status"


def test_an_item_of_a_page_can_outlive_the_page() -> None:
    document = {
        "kind": "DeploymentList",
        "metadata": {"resourceVersion": "9", "continue": "c"},
        "items": [LIVE, {"metadata": {}}],
    }
    found = page(DEPLOYMENTS, msgspec.json.encode(document))
    assert (found.resource_version, found.more, len(found.items)) == ("9", "c", 2)
    kept = found.items[0].keep()
    assert isinstance(kept.raw, bytes)
    assert kept.body()["spec"] == LIVE["spec"]
    assert found.items[1].status() == {}
    assert found.items[1].managers() == []


@pytest.mark.parametrize("data", [b"", b"null", b"[]", b'{"metadata": null}', b'{"metadata": {"name": 5}}', b"{"])
def test_what_is_no_object_is_an_error(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        Object(DEPLOYMENTS, data)


@pytest.mark.parametrize("items", ["null", "[]"])
def test_an_empty_list_is_a_list(items: str) -> None:
    assert page(DEPLOYMENTS, b'{"metadata": {"resourceVersion": "1"}, "items": %s}' % items.encode()).items == []


def test_an_answer_that_is_no_list_is_not_an_empty_one() -> None:
    with pytest.raises(msgspec.DecodeError):
        page(DEPLOYMENTS, b'{"kind": "Status", "status": "Success"}')
