"""docs/reference/kubernetes.md has a row for each setting with its default, each mark that we write, and each rule that it names."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec

from trimtab.core.model.manifest import ADOPT_ANNOTATION, KEEP_ANNOTATIONS, REPLACE_ANNOTATION
from trimtab.targets.kubernetes import (
    cause,
    causes,
    client,
    content,
    foreseeing,
    known,
    lent,
    ownership,
    requests,
    retrying,
    target,
)
from trimtab.targets.kubernetes.settings import KubernetesSettings

TEXT = (Path(__file__).parents[3] / "docs/reference/kubernetes.md").read_text(encoding="utf-8")
FLAT = " ".join(TEXT.split())


def section(title: str) -> str:
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", TEXT, flags=re.MULTILINE | re.DOTALL)
    assert found is not None, title
    return found[1]


def test_every_setting_has_its_row_with_its_default() -> None:
    """In the order of the code, and no row that there is not; `{}` stands for fields of which each has its own default."""
    rows = re.findall(r"^\| `(\w+)` \| `(.*?)` \|", section("The Environment"), flags=re.MULTILINE)
    given = msgspec.to_builtins(KubernetesSettings())
    defaults = {name: {} if isinstance(value, dict) else value for name, value in given.items()}
    assert rows == [
        (field.encode_name, json.dumps(defaults[field.encode_name])) for field in msgspec.structs.fields(KubernetesSettings)
    ]


def test_every_mark_has_its_row() -> None:
    rows = re.findall(r"^\| `(.*?)` \| (?:label|annotation) \|", section("What is written on objects"), flags=re.MULTILINE)
    assert sorted(rows) == sorted(ownership.OURS)


def test_every_annotation_that_is_read_is_named() -> None:
    names = [
        ADOPT_ANNOTATION,
        REPLACE_ANNOTATION,
        content.WITH_CONTENT,
        ownership.CONFLICTS,
        *KEEP_ANNOTATIONS,
        *ownership._KEEPING_OPTIONS,
    ]
    assert [name for name in names if f"`{name}" not in TEXT] == []


def test_numbers_are_those_of_the_code() -> None:
    assert f"field manager is `{client.MANAGER}`" in FLAT
    assert f"deadline of {requests.SECONDS:g} seconds (lists {requests.LIST_SECONDS:g})" in FLAT
    assert f"At most {target.REQUESTS_AT_ONCE_MAX} requests" in FLAT
    assert f"first {cause.PODS_MAX} Pods and {cause.EVENTS_MAX:,} warnings" in FLAT
    assert (retrying.ATTEMPTS_MAX, "up to five times" in FLAT) == (5, True)
    assert (lent.READ_SECONDS, lent.READ_SECONDS_MIN, "once a minute while" in FLAT, "once in five seconds" in FLAT) == (
        60.0,
        5.0,
        True,
        True,
    )
    assert (known.DEAF_SECONDS_MAX, "for more than ten seconds" in FLAT) == (10.0, True)
    assert (target.GONE_SECONDS_MAX, "hold it for more than five seconds" in FLAT) == (5.0, True)
    assert (causes.AFTER_SECONDS, "unwell for two seconds" in FLAT) == (2.0, True)
    assert (causes.AGAIN_SECONDS, "at most every five seconds" in FLAT) == (5.0, True)
    assert (foreseeing.FULL_CHECK_SECONDS, "after half an hour to one and a half" in FLAT) == (3_600.0, True)
