"""What is written on every object of ours, and whose an object is by what is written on it."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.kubernetes.targets import config_map, manifest

from trimtab.core.model.observed import Owner
from trimtab.targets.kubernetes.ownership import (
    OURS,
    itself,
    keeps,
    may_be_unknown,
    owner_of,
    removal,
    replaces,
    selector,
    stamped,
)

OWNER = Owner("here", "prod", "shop")
MARKS = st.dictionaries(st.sampled_from([*OURS, "app", "note"]), st.text(max_size=5))


def stamp(body: dict[str, Any], **given: Any) -> dict[str, Any]:
    return stamped(manifest(body), OWNER, **{"namespace": "space", "placed": True, **given})


@given(MARKS, MARKS)
def test_what_is_stamped_is_ours_whatever_it_claims(labels: dict[str, str], annotations: dict[str, str]) -> None:
    """And everything else on it stays as it is."""
    body = config_map()
    body["metadata"] |= {"labels": labels, "annotations": annotations}
    metadata = stamp(body)["metadata"]
    assert owner_of(itself("", "ConfigMap", "space", "one"), metadata["labels"], metadata["annotations"]) == OWNER
    for given_, written in ((labels, metadata["labels"]), (annotations, metadata["annotations"])):
        assert {name: written[name] for name in given_.keys() - OURS} == {name: given_[name] for name in given_.keys() - OURS}


@given(st.sampled_from(["ConfigMap", "Secret"]), st.sampled_from(["space", "other"]), st.sampled_from(["one", "two"]))
def test_a_copy_is_nobodys(kind: str, namespace: str, name: str) -> None:
    """Labels and annotations that stand on another object than the one they are about say nothing."""
    metadata = stamp(config_map())["metadata"]
    mine = (kind, namespace, name) == ("ConfigMap", "space", "one")
    found = owner_of(itself("", kind, namespace, name), metadata["labels"], metadata["annotations"])
    assert found == (OWNER if mine else None)


def test_what_only_a_server_writes_is_not_applied() -> None:
    """Status, managedFields, versions and the like in a manifest: as they come out of `kubectl get -o yaml`."""
    body = {**config_map(a="1"), "status": {"phase": "fine"}}
    body["metadata"] |= {"managedFields": [], "resourceVersion": "5", "uid": "x", "creationTimestamp": None, "generation": 3}
    written = stamp(body)
    assert set(written) == {"apiVersion", "kind", "metadata", "data"}
    assert set(written["metadata"]) == {"name", "labels", "annotations"}
    assert stamp(body, uid="u")["metadata"]["uid"] == "u"


def test_the_manifest_itself_is_left_alone() -> None:
    """It is shared with every other look."""
    body = config_map(a="1")
    stamp(body)
    assert body == config_map(a="1")


def test_text_of_a_secret_is_applied_as_data() -> None:
    """So that our fields are those that are there; text wins over data of the same name, as on the server."""
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}, "data": {"a": "eA==", "b": "eQ=="}}
    written = stamp({**secret, "stringData": {"a": "ü"}})
    assert "stringData" not in written
    assert written["data"] == {"a": base64.b64encode("ü".encode()).decode(), "b": "eQ=="}
    odd = stamp({**secret, "stringData": {"a": 1}})
    assert odd["stringData"] == {"a": 1}  # for the server to refuse


def test_annotations_that_keep_an_object() -> None:
    """Ours, Flux's, one of Argo CD's options, Helm's."""
    assert keeps({"trimtab.dev/prune": "disabled"})
    assert keeps({"kustomize.toolkit.fluxcd.io/prune": "disabled"})
    assert keeps({"argocd.argoproj.io/sync-options": "ServerSideApply=true, Prune=false"})
    assert keeps({"helm.sh/resource-policy": "keep"})
    assert not keeps({"argocd.argoproj.io/sync-options": "Prune=confirm", "trimtab.dev/prune": "enabled"})


def test_the_selector_asks_for_one_environment_of_ours() -> None:
    """Two installations and two environments never see each other's objects."""
    assert selector("here", "prod") == "trimtab.dev/installation=here,trimtab.dev/environment=prod"


@pytest.mark.parametrize(
    ("annotations", "prune", "end"),
    [
        ({}, "", ""),
        ({"trimtab.dev/prune": "disabled"}, "disabled", ""),
        ({"trimtab.dev/prune": "confirm", "trimtab.dev/end": "disabled"}, "confirm", "disabled"),
        ({"argocd.argoproj.io/sync-options": "Prune=false"}, "disabled", ""),
        ({"argocd.argoproj.io/sync-options": "Prune=confirm, Delete=confirm"}, "confirm", "confirm"),
        ({"argocd.argoproj.io/sync-options": "Validate=false,Delete=false"}, "", "disabled"),
        ({"helm.sh/resource-policy": "keep"}, "disabled", ""),
        ({"trimtab.dev/prune": "nonsense"}, "", ""),
    ],
)
def test_what_annotations_say_about_a_removal(annotations: dict[str, str], prune: str, end: str) -> None:
    """In our words, whoever's they are: of the object alone, and when the whole application goes."""
    found = dict(removal(annotations))
    assert (found.get("trimtab.dev/prune", ""), found.get("trimtab.dev/end", "")) == (prune, end)


def test_sync_options_about_replacing_and_unknown_kinds() -> None:
    """Replace and Force are our `trimtab.dev/replace`."""
    options = "argocd.argoproj.io/sync-options"
    assert replaces({"trimtab.dev/replace": "true"})
    assert replaces({options: "Force=true, Replace=true"})
    assert not replaces({options: "Replace=false"})
    assert may_be_unknown({options: "SkipDryRunOnMissingResource=true"})
    assert not may_be_unknown({})
