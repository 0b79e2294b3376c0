"""What a server answers becomes an error that says the next move. The texts are those of Kubernetes 1.36."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.core.model.errors import Problem, Refused, TransientError, UserError
from trimtab.core.model.text import is_safe_line
from trimtab.targets.kubernetes import errors
from trimtab.targets.kubernetes.errors import Cause, FieldConflict


def status(code: int, message: str = "", reason: str = "", **details: Any) -> errors.ApiError:
    body = {"kind": "Status", "apiVersion": "v1", "code": code, "message": message, "reason": reason, "details": details}
    return errors.from_answer("apply x", code, msgspec.json.encode(body), {})


@pytest.mark.parametrize(
    ("code", "reason", "kind", "move"),
    [
        (400, "BadRequest", errors.Invalid, UserError),
        (401, "Unauthorized", errors.Unauthorized, TransientError),
        (403, "Forbidden", errors.Forbidden, Refused),
        (404, "NotFound", errors.NotFound, UserError),
        (405, "MethodNotAllowed", errors.Invalid, UserError),
        (409, "Conflict", errors.Conflict, TransientError),
        (409, "AlreadyExists", errors.AlreadyExists, TransientError),
        (410, "Expired", errors.Gone, TransientError),
        (413, "RequestEntityTooLarge", errors.Invalid, UserError),
        (422, "Invalid", errors.Invalid, UserError),
        (429, "TooManyRequests", errors.TooManyRequests, TransientError),
        (500, "InternalError", errors.ServerError, TransientError),
        (503, "ServiceUnavailable", errors.ServerError, TransientError),
        (504, "Timeout", errors.ServerError, TransientError),
        (302, "", errors.ServerError, TransientError),
    ],
)
def test_the_code_says_what_comes_next(code: int, reason: str, kind: type, move: type) -> None:
    error = status(code, "words", reason)
    assert type(error) is kind
    assert isinstance(error, move)
    assert str(error).startswith("apply x: words")


def test_a_conflict_names_the_other_managers_and_their_fields() -> None:
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": 'conflict with "kubectl-client-side-apply" using apps/v1',
            "field": ".spec.replicas",
        },
        {
            "reason": "FieldManagerConflict",
            "message": 'conflict with "hpa" with subresource "scale" using autoscaling/v1',
            "field": ".spec.x",
        },
        {"reason": "FieldManagerConflict", "message": 'conflict with "other"', "field": ".data.a"},
        {"reason": "FieldManagerConflict", "message": "something new", "field": ".data.b"},
    ]
    error = status(409, "Apply failed with 4 conflicts", "Conflict", causes=causes)
    assert isinstance(error, errors.Conflict)
    assert error.fields == (
        FieldConflict("kubectl-client-side-apply", "spec.replicas", "apps/v1"),
        FieldConflict("hpa", "spec.x", "autoscaling/v1", "scale"),
        FieldConflict("other", "data.a"),
        FieldConflict("", "data.b"),
    )


def test_an_invalid_object_names_its_fields_and_those_that_cannot_change() -> None:
    causes = [
        {"reason": "FieldValueInvalid", "message": 'Invalid value: {"a":"c"}: field is immutable', "field": "spec.selector"},
        {"reason": "FieldValueRequired", "message": "Required value", "field": "spec.template"},
    ]
    error = status(422, "Deployment.apps is invalid", "Invalid", causes=causes)
    assert isinstance(error, errors.Invalid)
    assert (error.immutable, error.fixed) == (("spec.selector",), ())
    assert [cause.field for cause in error.fields] == ["spec.selector", "spec.template"]
    assert error.problems[1] == Problem(message="Required value", field="spec.template")


def test_wrong_base64_is_a_mistake_in_the_commit() -> None:
    """A server calls it an internal error; sending it again would be of no use. A conversion webhook that is down is another thing."""
    words = "failed to convert new object (/keys; /v1, Kind=Secret) to proper version (/v1): "
    found = status(
        500, words + "unable to convert unstructured object to /v1, Kind=Secret: illegal base64 data at input byte 4", ""
    )
    assert isinstance(found, errors.Invalid)
    (problem,) = found.problems
    assert problem.field == "data"
    assert "is no base64: illegal base64 data at input byte 4; plain text goes into stringData" in problem.message
    down = status(500, words + 'conversion webhook for x failed: Post "https://x": connection refused', "")
    assert isinstance(down, errors.ServerError)


TYPED = (
    "failed to create typed patch object (/f; t.dev/v1, Kind=Foo): errors:\n  .spec.a: expected numeric (int or float), got string\n"
    '  .spec.containers[name="c"].imagee: field not declared in schema'
)


def test_an_unknown_field_of_an_apply_is_the_users_although_the_server_says_500() -> None:
    error = status(500, TYPED)
    assert isinstance(error, errors.Invalid)
    assert error.fields == (
        Cause("FieldValueInvalid", "expected numeric (int or float), got string", "spec.a"),
        Cause("FieldValueInvalid", "field not declared in schema", 'spec.containers[name="c"].imagee'),
    )


def test_strict_decoding_names_its_fields_too() -> None:
    error = status(400, 'strict decoding error: unknown field "spec.foo", duplicate field "spec.bar"', "BadRequest")
    assert isinstance(error, errors.Invalid)
    assert error.fields == (
        Cause("FieldValueInvalid", "unknown field", "spec.foo"),
        Cause("FieldValueInvalid", "duplicate field", "spec.bar"),
    )


def test_a_missing_object_a_missing_namespace_and_a_missing_kind_are_told_apart() -> None:
    found = status(404, 'namespaces "shop" not found', "NotFound", kind="namespaces", name="shop")
    kind = errors.from_answer("read x", 404, b"404 page not found\n", {})
    assert isinstance(found, errors.NotFound)
    assert (found.kind, found.name, found.names_object) == ("namespaces", "shop", True)
    assert isinstance(kind, errors.NotFound)
    assert not kind.names_object


def test_a_refusal_says_whether_rights_or_something_else_is_the_reason() -> None:
    rights = status(403, 'pods is forbidden: User "u" cannot list resource "pods" in API group ""', "Forbidden")
    quota = status(403, "exceeded quota: compute", "Forbidden")
    going = status(
        403, "being terminated", "Forbidden", causes=[{"reason": "NamespaceTerminating", "field": "metadata.namespace"}]
    )
    assert [isinstance(each, errors.Forbidden) and (each.by_rights, each.terminating) for each in (rights, quota, going)] == [
        (True, False),
        (False, False),
        (False, True),
    ]


@pytest.mark.parametrize(
    ("header", "seconds", "expected"),
    [("3", 0, 3.0), (None, 2, 2.0), (None, 0, None), ("Wed, 21 Oct 2015 07:28:00 GMT", 0, None), ("-1", 0, None)],
)
def test_the_time_to_wait_is_that_of_the_header_or_of_the_body(header: str | None, seconds: int, expected: float | None) -> None:
    body = msgspec.json.encode({"kind": "Status", "code": 429, "details": {"retryAfterSeconds": seconds}})
    assert errors.from_answer("x", 429, body, {} if header is None else {"Retry-After": header}).retry_after == expected


def test_the_page_of_a_proxy_is_an_error_with_its_words() -> None:
    error = errors.from_answer("list pods", 502, b"<html>\n<h1>502 Bad\x1b[31m Gateway</h1>", {})
    assert isinstance(error, errors.ServerError)
    assert str(error) == "list pods: <html> <h1>502 Bad Gateway</h1>"


@given(st.binary(max_size=300), st.integers(300, 599))
def test_whatever_the_answer_is_there_is_one_line_about_it(body: bytes, code: int) -> None:
    assert is_safe_line(str(errors.from_answer("x", code, body, {})))


def test_a_server_cannot_flood_us() -> None:
    error = status(422, "m" * 100_000, "Invalid", causes=[{"message": "x" * 10_000, "field": "f" * 10_000}] * 1_000)
    assert len(str(error)) < 2_000
    assert len(error.causes) == errors.CAUSES_MAX


@pytest.mark.parametrize(
    "words",
    [
        'Invalid value: {"app":"other"}: field is immutable',
        "Invalid value: " + "x" * 5_000 + ": field is immutable",
        'Invalid value: ["10.0.0.7"]: may not change once set',
        "Invalid value: {}: cannot change roleRef",
        "Forbidden: updates to statefulset spec for fields other than 'replicas' and 'template' are forbidden",
        "Forbidden: updates to provisioner are forbidden.",
        "Forbidden: pod updates may not change fields other than `spec.containers[*].image`",
        "Forbidden: field is immutable when `immutable` is set",
        "Forbidden: spec is immutable after creation except resources.requests for bound claims",
        "Invalid value: 3: field is immutable for unsuspended job once set",
        "Invalid value: may not be changed in an update.",
        "Invalid value: Value is immutable",
    ],
)
def test_a_field_that_cannot_be_changed_is_known_by_the_words_of_each_kind(words: str) -> None:
    """Those of Kubernetes' own kinds and of definitions, however long the value that is quoted before them."""
    error = status(422, "x is invalid", "Invalid", causes=[{"reason": "FieldValueInvalid", "message": words, "field": "spec.it"}])
    assert isinstance(error, errors.Invalid)
    assert error.fixed == ("spec.it",)
    assert all(len(cause.message) <= 1_000 for cause in error.causes)
