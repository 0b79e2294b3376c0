"""What a server quotes of an object is shown without what nobody may see."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.targets.kubernetes.errors import from_answer
from trimtab.targets.kubernetes.hiding import PIECE, hiding

PATH = "/api/v1/namespaces/shop/secrets/keys?fieldManager=trimtab"
VALUE = 'hunter2-is "long" <enough>\nand has lines'


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def sent(**fields: Any) -> bytes:
    return json.dumps({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, **fields}).encode()


def pieces(text: str) -> set[str]:
    return {text[at : at + PIECE] for at in range(len(text) - PIECE + 1)}


GO = json.dumps(VALUE).replace("<", "\\u003c").replace(">", "\\u003e")
QUOTES = {
    "as it is": VALUE,
    "in quotes": json.dumps(VALUE),
    "as Go escapes it": GO,
    "twice escaped": json.dumps(json.dumps(VALUE)),
    "in base64": encoded(VALUE),
    "cut off": VALUE[:20],
    "the middle of base64": encoded(VALUE)[5:30],
    "as bytes": " ".join(str(byte) for byte in VALUE.encode()),
}


@pytest.mark.parametrize("quote", QUOTES.values(), ids=QUOTES)
@pytest.mark.parametrize("field", [{"data": {"a": encoded(VALUE)}}, {"stringData": {"a": VALUE}}, {"stringDat": {"a": VALUE}}])
def test_a_quoted_value_is_not_shown_however_it_is_written(quote: str, field: dict[str, Any]) -> None:
    """The words around it are."""
    if "stringData" in field or "stringDat" in field:
        quote = encoded(VALUE) if quote.startswith("1") else quote
    found = hiding(PATH, sent(**field))(f"Secret keys is no good: Invalid value: {quote}: must be shorter")
    assert found.startswith("Secret keys is no good: Invalid value: ")
    assert found.endswith(": must be shorter")
    assert not pieces(found) & (pieces(VALUE) | pieces(encoded(VALUE)))
    assert "104 117 110" not in found


@given(st.text(min_size=4, max_size=40), st.text(alphabet="abc {}:\"'", max_size=30), st.text(alphabet="abc {}:\"'", max_size=30))
def test_no_value_shows_whatever_stands_around_it(value: str, before: str, after: str) -> None:
    body = sent(data={"key": encoded(value)})
    for quote in (value, encoded(value)):
        assert quote not in hiding(PATH, body)(f"{before}{quote}{after}") or quote in f"{before}***{after}"


def test_what_is_said_about_another_object_of_the_name_is_not_shown_either() -> None:
    """A webhook may quote what is there, which we have not sent; the removal of a Secret sends nothing of it."""
    there = json.dumps({"kind": "Secret", "data": {"password": "b2xkLXBhc3N3b3Jk"}, "metadata": {"name": "keys"}})
    go = 'Secret{Data:map[string][]uint8{"password":[]uint8{0x6f, 0x6c}}, Type:"Opaque"}'
    for quote in (there, json.dumps(there), go):
        found = hiding(PATH, b'{"preconditions":{"uid":"1"}}')(f"denied: {quote}")
        assert "b2xk" not in found
        assert "0x6f" not in found
        assert found.startswith("denied: ")


def test_a_number_and_a_patch() -> None:
    """A number where a text is wanted is quoted by a server; a JSON patch has its values one level down."""
    assert (
        hiding(PATH, sent(data={"pin": 73519264}))("expected string, got &value{73519264}") == "expected string, got &value{***}"
    )
    patch = json.dumps([{"op": "replace", "path": "/data", "value": {"data": {"a": encoded(VALUE)}}}]).encode()
    assert encoded(VALUE) not in hiding(PATH, patch)(f"no {encoded(VALUE)}")


def test_what_is_secret_in_other_kinds_is_not_quoted() -> None:
    """By its name, as in every diff; the rest of the object is quoted as it is."""
    containers = [{"name": "web", "image": "web:1", "env": [{"name": "DB_PASSWORD", "value": "correct horse"}]}]
    body = json.dumps({"kind": "Deployment", "spec": {"template": {"spec": {"containers": containers}}}}).encode()
    hide = hiding("/apis/apps/v1/namespaces/shop/deployments/web", body)
    assert hide('web:1 with "correct horse" is refused') == 'web:1 with "***" is refused'


def test_words_that_quote_nothing_stay_as_they_are() -> None:
    """Also those of which a short value is a part, and the copy of the whole object that kubectl keeps."""
    copy = {"kubectl.kubernetes.io/last-applied-configuration": sent(data={"a": encoded(VALUE)}).decode()}
    body = sent(metadata={"name": "keys", "annotations": copy}, data={"a": encoded("no")})
    words = 'secrets "keys" is forbidden: User "x" cannot patch resource "secrets" in API group "" in the namespace "shop"'
    assert hiding(PATH, body)(words) == words
    assert encoded(VALUE) not in hiding(PATH, body)(f"no {encoded(VALUE)}")


def test_the_whole_answer_is_rid_of_it() -> None:
    """Its message and every cause, before they are cut to what is shown."""
    causes = [{"reason": "FieldValueInvalid", "field": "data[a]", "message": f"Invalid value: {VALUE * 100!r}: too long"}]
    answer = {"kind": "Status", "code": 422, "message": f"no: {VALUE * 30}", "details": {"causes": causes}}
    error = from_answer("apply", 422, json.dumps(answer).encode(), {}, hiding(PATH, sent(stringData={"a": VALUE * 100})))
    assert "hunter2" not in f"{error} {error.causes} {error.problems}"
    assert error.causes[0].message.startswith("Invalid value: ")
    assert error.causes[0].message.endswith("too long")


def test_a_large_object_costs_little() -> None:
    """Of a megabyte, with an answer that quotes it all."""
    value = base64.b64encode(bytes(range(256)) * 4096).decode()
    began = time.process_time()
    assert value[:20] not in hiding(PATH, sent(data={"a": value}))(f"no good: {value}")
    assert time.process_time() - began < 2
