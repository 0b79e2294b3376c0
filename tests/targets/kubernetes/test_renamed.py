"""Which elements somebody has given another key, from what Git says, what is there and who owns it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from trimtab.targets.kubernetes.objects import Manager
from trimtab.targets.kubernetes.renamed import put_back, renamed, taken_back

OURS = "trimtab"


def port(number: int, **more: Any) -> dict[str, Any]:
    return {"port": number, "protocol": "TCP", **more}


def key(number: int) -> str:
    return f'k:{{"port":{number},"protocol":"TCP"}}'


def entry(manager: str, *numbers: int, operation: str = "Update", version: str = "v1", subresource: str = "") -> Manager:
    fields = {"f:ports": {key(number): {"f:port": {}, "f:name": {}} for number in numbers}, "f:selector": {}}
    return Manager(manager, operation, version, subresource, fields=msgspec.Raw(msgspec.json.encode(fields)))


def body(*ports: dict[str, Any]) -> dict[str, Any]:
    return {"ports": [*ports]}


WANTED = body({"port": 80, "name": "http"})


def found(live: dict[str, Any], *entries: Manager) -> list[int]:
    return [one.element["port"] for one in renamed(WANTED, live, entries, OURS)]


def test_what_an_editor_has_put_in_the_place_of_ours_is_found() -> None:
    live = body(port(81, name="http"))
    entries = [entry(OURS, operation="Apply"), entry("kubectl-edit", 81)]
    assert found(live, *entries) == [81]
    assert put_back(live, renamed(WANTED, live, entries, OURS)) == body(port(80, name="http"))


@pytest.mark.parametrize(
    "theirs",
    [entry("mesh", 81, operation="Apply"), entry("scaler", 81, subresource="status"), entry(OURS, 81, operation="Apply")],
)
def test_what_is_rightfully_there_is_left_alone(theirs: Manager) -> None:
    assert found(body(port(81, name="http")), entry("kubectl-edit", 81), theirs) == []


def test_what_says_something_else_is_not_ours_by_another_key() -> None:
    assert found(body(port(81, name="other")), entry("kubectl-edit", 81)) == []


def test_nothing_is_taken_when_it_could_be_either_or_ours_is_there() -> None:
    both = body(port(81, name="http"), port(82, name="http"))
    assert found(both, entry("kubectl-edit", 81, 82)) == []
    assert found(body(port(80, name="http"), port(81, name="http")), entry(OURS, 80), entry("kubectl-edit", 81)) == []


def test_who_takes_back_owns_alone_and_others_keep_the_rest() -> None:
    live = body(port(81, name="http"), port(90, name="added"))
    entries = [entry(OURS, operation="Apply"), entry("kubectl-edit", 81, 90), entry("other", 81)]
    managers = taken_back(renamed(WANTED, live, entries, OURS), entries, OURS)
    assert managers is not None
    owned = {one["manager"]: list(one["fieldsV1"].get("f:ports", {})) for one in managers}
    assert owned == {"kubectl-edit": [key(90)], "other": [], OURS: [key(81)]}
    assert all(one["fieldsV1"]["f:selector"] == {} for one in managers)


def test_fields_of_another_version_cannot_be_taken() -> None:
    live = body(port(81, name="http"))
    entries = [entry(OURS, operation="Apply"), entry("kubectl-edit", 81, version="v2")]
    assert taken_back(renamed(WANTED, live, entries, OURS), entries, OURS) is None
