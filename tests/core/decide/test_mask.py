"""Nothing secret is shown, and a change of a secret still is."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from trimtab.core.decide.diff import changes
from trimtab.core.decide.mask import hidden, mask, mask_changes, mask_text
from trimtab.core.model.names import ObjectRef
from trimtab.core.model.plan import FieldChange

SECRET = ObjectRef("v1", "Secret", "", "s")
PROCESS = ObjectRef("host.trimtab.dev/v1", "Process", "", "p")


def test_a_secret_shows_its_keys_only() -> None:
    """The data of a Secret is masked, key by key, and what kubectl keeps of it in an annotation too."""
    last = "kubectl.kubernetes.io/last-applied-configuration"
    body = {
        "kind": "Secret",
        "metadata": {"name": "s", "annotations": {last: '{"data": 1}', "a": "b"}},
        "data": {"a": "eA=="},
        "stringData": {"b": "x"},
        "type": "Opaque",
    }
    assert mask(body) == {
        "kind": "Secret",
        "metadata": {"name": "s", "annotations": {last: "***", "a": "b"}},
        "data": {"a": "***"},
        "stringData": {"b": "***"},
        "type": "Opaque",
    }


def test_of_a_secret_only_what_names_it_shows() -> None:
    """Whoever mistypes `stringData` has not said that it is no secret; nor has who puts the Secret into a list. A reference is readable."""
    body = {"kind": "Secret", "metadata": {"name": "s"}, "stringDat": {"a": "x"}, "more": "y"}
    assert mask(body) == {"kind": "Secret", "metadata": {"name": "s"}, "stringDat": {"a": "***"}, "more": "***"}
    assert mask({"kind": "List", "items": [{"kind": "Secret", "data": {"a": "eA=="}}]})["items"][0]["data"] == {"a": "***"}
    reference = {"spec": {"from": {"kind": "Secret", "name": "s", "key": "a"}}}
    assert mask(reference) == reference


def test_copies_of_whole_objects_in_annotations_do_not_show() -> None:
    """Of any kind: what is masked in the object stands in its copy as a text."""
    copy = '{"env": [{"name": "DB_PASSWORD", "value": "x"}]}'
    names = ("kubectl.kubernetes.io/last-applied-configuration", "kapp.k14s.io/original")
    body = {"kind": "Deployment", "metadata": {"annotations": dict.fromkeys(names, copy) | {"owner": "ada"}}}
    assert mask(body)["metadata"]["annotations"] == dict.fromkeys(names, "***") | {"owner": "ada"}
    path = "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration"
    deployment = ObjectRef("apps/v1", "Deployment", "", "web")
    (change,) = mask_changes(deployment, [FieldChange(path, from_=copy, to=f"{copy} ")])
    assert (change.from_, change.to) == ("***", "*** (changed)")


def test_what_is_hidden_of_an_object() -> None:
    """Each text that a mask stands for, those in a copy of the object among them."""
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": '{"kind": "Secret", "data": {"a": "b25l"}}', "seen": "yes"}
    body = {
        "kind": "Secret",
        "metadata": {"annotations": annotations, "name": "s"},
        "data": {"a": "dHdv", "n": 3},
        "odd": [{"deep": "four"}],
    }
    assert hidden(body) == {"b25l", "dHdv", "3", "four"}
    assert hidden({"kind": "Process", "spec": {"environment": {"API_KEY": "k", "PORT": "1"}}}) == {"k"}


def test_fields_and_entries_that_are_named_as_secret() -> None:
    """Fields and environment entries with telling names are masked; references and file paths are not."""
    body: dict[str, Any] = {
        "kind": "Process",
        "spec": {
            "environment": {"DB_PASSWORD": "x", "API_KEY": "y", "PORT": "1", "apiToken": "z", "TOKEN_FILE": "/run/t"},
            "secretEnvironment": {"DB_PASSWORD": "/etc/shop/password"},
            "env": [{"name": "SECRET_KEY_BASE", "value": "x"}, {"name": "A", "value": "b"}],
            "secretName": "s",
            "valueFrom": {"secretKeyRef": {"name": "s", "key": "password"}},
            "automountServiceAccountToken": False,
            "private_key": "k",
            "args": ["--password=abc", "--port=1", "postgres://user:pw@db/x"],
            "script": "-----BEGIN RSA PRIVATE KEY-----\nabc",
        },
    }
    spec = mask(body)["spec"]
    assert spec["environment"] == {"DB_PASSWORD": "***", "API_KEY": "***", "PORT": "1", "apiToken": "***", "TOKEN_FILE": "/run/t"}
    assert spec["secretEnvironment"] == {"DB_PASSWORD": "/etc/shop/password"}
    assert spec["env"] == [{"name": "SECRET_KEY_BASE", "value": "***"}, {"name": "A", "value": "b"}]
    assert spec["secretName"] == "s"
    assert spec["valueFrom"] == {"secretKeyRef": {"name": "s", "key": "password"}}
    assert spec["automountServiceAccountToken"] is False
    assert spec["private_key"] == "***"
    assert spec["args"] == ["--password=***", "--port=1", "postgres://user:***@db/x"]
    assert spec["script"] == "***"


def test_a_changed_secret_is_seen_to_have_changed() -> None:
    """Of a changed secret, both sides are hidden and the change is told; whole objects are masked on both sides."""
    shown = mask_changes(
        PROCESS,
        [
            FieldChange("/spec/environment/DB_PASSWORD", "a", "b"),
            FieldChange("/spec/environment/DB_TOKEN", None, "b"),
            FieldChange("/spec/environment/URL", "http://u:a@h/", "http://u:b@h/"),
            FieldChange("/spec/env/0/value", "a", "b"),
            FieldChange("/spec/replicas", 1, 2),
            FieldChange("", None, {"kind": "Process", "spec": {"password": "x"}}),
        ],
    )
    assert [(one.from_, one.to) for one in shown] == [
        ("***", "*** (changed)"),
        (None, "***"),
        ("http://u:***@h/", "http://u:***@h/ (changed)"),
        ("***", "*** (changed)"),
        (1, 2),
        (None, {"kind": "Process", "spec": {"password": "***"}}),
    ]
    secret = mask_changes(SECRET, [FieldChange("/data/x", "a", "b"), FieldChange("/stringData", None, {"a": "b"})])
    assert [(one.from_, one.to) for one in secret] == [("***", "*** (changed)"), (None, {"a": "***"})]


def test_text() -> None:
    """Passwords in addresses and arguments are masked in plain text."""
    assert mask_text("clone https://me:hunter2@git.example/x failed") == "clone https://me:***@git.example/x failed"
    assert mask_text("TOKEN=abc run") == "TOKEN=*** run"


VALUES = st.recursive(st.text(max_size=5) | st.integers() | st.booleans() | st.none(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3), max_leaves=6)  # fmt: skip
HIDDEN = "hunter2-hunter2"


@given(VALUES, st.sampled_from(["password", "DB_TOKEN", "clientSecret", "api-key", "PRIVATE_KEY"]), VALUES)
def test_a_secret_never_shows(around: Any, name: str, other: Any) -> None:
    """Wherever a secret field stands, neither the object nor its changes show its value, and masking changes nothing in place."""
    body = {"kind": "Process", "a": {"b": [around, {name: HIDDEN, "x": {name: [HIDDEN]}}]}}
    before = repr(body)
    assert HIDDEN not in repr(mask(body))
    for old, new in ((body, {"kind": "Process", "a": other}), (None, body), (body, None), ({"kind": "Process"}, body)):
        assert HIDDEN not in repr(mask_changes(PROCESS, changes(old, new)))
    secret = {"kind": "Secret", "data": {"x": HIDDEN}, "stringData": around}
    for old in ({"kind": "Secret", "data": {"x": "1"}}, {"kind": "Secret"}, None):
        assert HIDDEN not in repr(mask_changes(SECRET, changes(old, secret)))
    assert repr(body) == before
