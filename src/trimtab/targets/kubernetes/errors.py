"""What an API server or the way to it can answer instead of yes, as errors that say the next move: pure.

    ApiError                         core type: what to do
    ├── NotFound        404, UserError      no such object (``names_object``) or no such path
    ├── Conflict        409, TransientError another manager owns fields, or the object moved, or it is another uid
    │   └── AlreadyExists
    ├── Invalid         400 413 415 422 …, UserError  the object is wrong; ``fields`` says where
    ├── Forbidden       403, Refused        RBAC, admission or quota says no
    ├── Unauthorized    401, TransientError credentials are not (any more) accepted, renewed ones neither
    ├── Gone            410, TransientError the version to go on from is history: list again
    ├── TooManyRequests 429, TransientError ``retry_after`` seconds
    ├── ServerError     5xx and nonsense, TransientError
    ├── TooLarge        the answer is bigger than we take in, TransientError
    └── Unreachable     no whole answer, TransientError; ``sent`` when it may have been carried out all the same

In: an answer's status, headers and body (`Status` of meta/v1, or whatever a proxy on the way wrote). The server's words are hostile
text: they are cut, cleaned and rid of secrets before anybody reads them (`hiding`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import msgspec

from trimtab.core.decide.mask import mask_text
from trimtab.core.model.errors import Problem, Refused, TransientError, TrimtabError, UserError
from trimtab.core.model.text import one_line

from .quoting import without_dumps

CAUSES_MAX = 50
MESSAGE_CHARACTERS_MAX = 1_000


class Cause(msgspec.Struct, frozen=True):
    """One reason of several: ``reason`` is a CauseType ("FieldValueInvalid"), ``field`` a path such as `spec.replicas`."""

    reason: str = ""
    message: str = ""
    field: str = ""


class FieldConflict(msgspec.Struct, frozen=True):
    """A field that another ``manager`` owns; ``api_version`` is the one it was written with."""

    manager: str
    field: str
    api_version: str = ""
    subresource: str = ""


class _Details(msgspec.Struct, rename="camel"):
    name: str = ""
    group: str = ""
    kind: str = ""
    causes: list[Cause] | None = None
    retry_after_seconds: int = 0


class Status(msgspec.Struct):
    """meta/v1 Status, as far as we read it."""

    kind: str = ""
    message: str = ""
    reason: str = ""
    code: int = 0
    details: _Details | None = None


_status = msgspec.json.Decoder(Status).decode


class ApiError(TrimtabError):
    """``words`` are the server's own, cleaned; ``doing`` is what we wanted. ``kind`` and ``name`` are those of `details`:
    what the server missed, which need not be what was asked for (a namespace).
    """

    def __init__(
        self,
        doing: str,
        words: str,
        *,
        code: int = 0,
        reason: str = "",
        kind: str = "",
        name: str = "",
        causes: tuple[Cause, ...] = (),
        retry_after: float | None = None,
        remedy: str = "",
        problems: tuple[Problem, ...] = (),
    ) -> None:
        self.doing, self.words = doing, words
        self.code, self.reason, self.kind, self.name = code, reason, kind, name
        self.causes = causes
        self.retry_after = retry_after
        super().__init__(f"{doing}: {words}", remedy=remedy, problems=problems)


class NotFound(ApiError, UserError):  # noqa: N818
    @property
    def names_object(self) -> bool:
        """True when an object of this kind is missing; False when the server does not know the path, so the kind itself."""
        return bool(self.name)


class Conflict(ApiError, TransientError):  # noqa: N818
    @property
    def fields(self) -> tuple[FieldConflict, ...]:
        """Who owns what we wanted to set (server-side apply without force); empty for every other conflict."""
        return tuple(_field_conflict(cause) for cause in self.causes if cause.reason == "FieldManagerConflict")


class AlreadyExists(Conflict): ...


class Invalid(ApiError, UserError):  # noqa: N818
    @property
    def fields(self) -> tuple[Cause, ...]:
        return tuple(cause for cause in self.causes if cause.field)

    @property
    def immutable(self) -> tuple[str, ...]:
        """The fields that cannot change on an object that is there; a new object could have them."""
        return tuple(cause.field for cause in self.causes if _IMMUTABLE.search(cause.message))

    @property
    def fixed(self) -> tuple[str, ...]:
        """As `immutable`, where that is all that is wrong."""
        return self.immutable if len(self.immutable) == len(self.causes) else ()


class Forbidden(ApiError, Refused):  # noqa: N818
    @property
    def by_rights(self) -> bool:
        """True when RBAC says no; False for admission, quota and namespaces that are going."""
        return bool(_RBAC.search(self.words))

    @property
    def terminating(self) -> bool:
        """The namespace is being removed; nothing new may come into it until it is gone."""
        return any(cause.reason == "NamespaceTerminating" for cause in self.causes)


class Unauthorized(ApiError, TransientError):  # noqa: N818
    ...


class Gone(ApiError, TransientError):  # noqa: N818
    ...


class TooManyRequests(ApiError, TransientError):  # noqa: N818
    ...


class ServerError(ApiError, TransientError): ...


class TooLarge(ApiError, TransientError):  # noqa: N818
    """The answer is bigger than we take in; ask for less at once."""


class Unreachable(ApiError, TransientError):  # noqa: N818
    """``sent``: the request may have reached the server and been carried out. ``lasting``: another attempt now is of no use."""

    def __init__(self, doing: str, words: str, *, sent: bool, lasting: bool = False, remedy: str = "") -> None:
        self.sent, self.lasting = sent, lasting
        super().__init__(doing, words, remedy=remedy)


_IMMUTABLE = re.compile(
    r"(?:is|are) immutable|immutable (?:after|when|once)|(?:may|can) ?not be (?:changed|modified)|(?:may not|cannot) change (?:once set|roleRef)"
    r"|updates to .* are forbidden|pod updates may not|(?:primary ipFamily|primary clusterIP) can not be unset",
    re.IGNORECASE,
)
_RBAC = re.compile(r"(?:cannot|can not) (?:\w+ resource|\w+ path|impersonate)|is attempting to grant RBAC permissions")
_MANAGER = re.compile(r'^conflict with "(?P<manager>[^"]*)"(?: with subresource "(?P<sub>[^"]*)")?(?: using (?P<version>\S+))?')
_STRICT = re.compile(r'(unknown|duplicate) field "([^"]+)"')
# Server-side apply tells a schema violation as a plain error, which arrives as 500 without a reason.
_TYPED = re.compile(
    r"failed to create typed patch object|failed to convert .*? to typed|errors:\s*\.|field not declared in schema"
    # What the schema allows and the kind cannot hold: wrong base64, a number out of its range.
    r"|unable to convert unstructured object to"
)
_BASE64 = re.compile(r"illegal base64 data at input byte \d+")
_TYPED_FIELD = re.compile(r"(?:^|[\s:])((?:\.[\w\-/]+(?:\[[^\]]*\])*)+): ([^\n]+?)(?=\s+\.[\w\-]+|$)")

_BY_CODE: dict[int, type[ApiError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    429: TooManyRequests,
}
_REMEDIES: dict[type[ApiError], str] = {
    Unauthorized: "Check the token, certificate or exec plugin of the kubeconfig",
}


def from_answer(
    doing: str, code: int, body: bytes, headers: Mapping[str, str], hide: Callable[[str], str] = mask_text
) -> ApiError:
    """The error for an answer outside 2xx, whoever wrote it. ``hide`` takes out of its words what is not to be seen."""
    return from_status(doing, parse(body, code), _seconds(headers.get("Retry-After")), hide)


def parse(body: bytes, code: int) -> Status:
    """The Status in ``body``, or one made of the text that is there instead (a proxy's page)."""
    try:
        status = _status(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        status = Status()
    if status.kind != "Status":
        return Status(message=body[: 4 * MESSAGE_CHARACTERS_MAX].decode("utf-8", "replace"), code=code)
    return Status(kind="Status", message=status.message, reason=status.reason, code=code or status.code, details=status.details)


def from_status(doing: str, status: Status, retry_after: float | None = None, hide: Callable[[str], str] = mask_text) -> ApiError:
    """The error for a Status: of an answer or of a watch's ERROR event."""
    details = status.details or _Details()
    words = (
        one_line(hide(without_dumps(status.message)), characters_max=MESSAGE_CHARACTERS_MAX)
        or f"the server answered {status.code}"
    )
    causes = tuple(_clean(cause, hide) for cause in (details.causes or ())[:CAUSES_MAX])
    kind = _type_of(status, words)
    if kind is Invalid and not causes:
        causes = _causes_in(words)
    return kind(
        doing,
        words,
        code=status.code,
        reason=one_line(status.reason, characters_max=100),
        kind=one_line(details.kind, characters_max=100),
        name=one_line(details.name, characters_max=300),
        causes=causes,
        retry_after=retry_after if retry_after is not None else (float(details.retry_after_seconds) or None),
        remedy=_REMEDIES.get(kind, ""),
        problems=tuple(Problem(message=cause.message, field=cause.field) for cause in causes if kind is Invalid),
    )


def _type_of(status: Status, words: str) -> type[ApiError]:
    if status.reason == "AlreadyExists":
        return AlreadyExists
    if status.reason == "Expired":
        return Gone
    found = _BY_CODE.get(status.code)
    if found is not None:
        return found
    if 400 <= status.code < 500 or (status.code == 500 and _TYPED.search(words)):
        return Invalid
    return ServerError


def _causes_in(words: str) -> tuple[Cause, ...]:
    """Fields that are named only in the text: strict decoding, and the typed objects of server-side apply."""
    strict = [Cause("FieldValueInvalid", f"{kind} field", field) for kind, field in _STRICT.findall(words)]
    if base64 := _BASE64.search(words):
        return (Cause("FieldValueInvalid", f"a value is no base64: {base64[0]}; plain text goes into stringData", "data"),)
    typed = [Cause("FieldValueInvalid", text.strip(" ,"), field.lstrip(".")) for field, text in _TYPED_FIELD.findall(words)]
    return tuple((strict or typed)[:CAUSES_MAX])


def _clean(cause: Cause, hide: Callable[[str], str]) -> Cause:
    return Cause(
        one_line(cause.reason, characters_max=100),
        one_line(_both_ends(hide(without_dumps(cause.message))), characters_max=MESSAGE_CHARACTERS_MAX),
        one_line(cause.field, characters_max=300),
    )


def _both_ends(message: str) -> str:
    """A long message quotes the value first, and says at its end what is wrong with it."""
    half = MESSAGE_CHARACTERS_MAX // 2 - 2
    return message if len(message) <= MESSAGE_CHARACTERS_MAX else f"{message[:half]} … {message[-half:]}"


def _field_conflict(cause: Cause) -> FieldConflict:
    found = _MANAGER.search(cause.message)
    if found is None:
        return FieldConflict("", cause.field.lstrip("."))
    return FieldConflict(found["manager"], cause.field.lstrip("."), found["version"] or "", found["sub"] or "")


def _seconds(header: str | None) -> float | None:
    """Kubernetes writes seconds only; the date form of RFC 9110 counts as not said."""
    return float(header) if header and header.isascii() and header.isdigit() else None
