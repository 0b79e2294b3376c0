"""Which new objects a server judges alike, so that its answer about one is its answer about all of them. Pure.

Two objects are alike when they have the same fields with the same values, but for names and free text. Names may differ as long as they are
of one form and length class and the *same* names stand in the same places: a selector that misses its template's labels is not like one
that hits them. Everything else (numbers, words, quantities, addresses) counts as it is. Only kinds are listed whose acceptance hangs on
nothing but the object itself, and values that must be unique in a cluster (a node port, an address) make an object like no other.
"""

from __future__ import annotations

import binascii
import hashlib
import re
from typing import Any

import msgspec

from trimtab.core.model.manifest import Body

KINDS = frozenset(
    {
        ("", "ConfigMap"),
        ("", "Secret"),
        ("", "Service"),
        ("", "ServiceAccount"),
        ("apps", "DaemonSet"),
        ("apps", "Deployment"),
        ("apps", "StatefulSet"),
        ("batch", "CronJob"),
        ("batch", "Job"),
        ("networking.k8s.io", "Ingress"),
        ("networking.k8s.io", "NetworkPolicy"),
        ("policy", "PodDisruptionBudget"),
    }
)
TEXT_BYTES_MAX = 4_096
DATA_BYTES_MAX = 256 * 1024
NAME_LENGTHS = (15, 52, 63)
"""What some kind or other allows for a name: ports 15, CronJobs 52, most things 63."""

_UNIQUE = frozenset(
    {"clusterIP", "clusterIPs", "externalIPs", "finalizers", "generateName", "healthCheckNodePort", "loadBalancerIP", "nodePort"}
    | {"ownerReferences"}
)
_NAMES = frozenset({"claimName", "host", "name", "secretName", "serviceAccount", "serviceAccountName", "serviceName"})
_NAMES_IN = frozenset({"labels", "matchLabels", "selector"})
_TEXTS_IN = frozenset({"annotations", "args", "command"})
_READ_BY_SERVER = "kubernetes.io/"
"""In the key of an annotation that may mean something to the server."""
_ABOUT_CONTAINERS = ("container.", "seccomp.")
_SERVER = frozenset({"status"})
_NAME = re.compile(r"[a-z](?:-?[a-z0-9])*")
_DOMAIN = re.compile(r"[a-z](?:[-.]?[a-z0-9])*")
_IMAGE = re.compile(r"[a-z0-9](?:[-._/:@]?[a-zA-Z0-9])*")
_KEY = re.compile(r"[-_a-zA-Z0-9][-._a-zA-Z0-9]*")


class _UnlikeError(Exception):
    """The object is like no other."""


def likeness(group: str, kind: str, namespace: str, body: Body) -> bytes | None:
    """The same for objects that are alike; None for one that has to be asked about itself."""
    if (group, kind) not in KINDS:
        return None
    content: Body = {name: value for name, value in body.items() if name not in _SERVER}
    try:
        if (group, kind) in (("", "ConfigMap"), ("", "Secret")):
            content = _without_data(content, kind)
        seen = _Names().of(content, "", "")
    except _UnlikeError:
        return None
    return hashlib.blake2b(msgspec.json.encode([group, namespace, seen]), digest_size=16).digest()


class _Names:
    """Walks one object; names are replaced by the order in which they were met."""

    def __init__(self) -> None:
        self._met: dict[str, int] = {}

    def of(self, value: Any, field: str, within: str) -> Any:
        """``value`` of ``field``, which stands in the field ``within``; elements of a list stand where the list does."""
        if isinstance(value, dict):
            return {name: self.of(value[name], name, field) for name in sorted(value)}
        if field in _UNIQUE and value not in (None, "None", ["None"]):
            raise _UnlikeError
        if isinstance(value, list):
            return [self.of(element, field, within) for element in value]
        return self._word(value, field, within) if isinstance(value, str) else value

    def _word(self, word: str, field: str, within: str) -> Any:
        if within == "annotations" and _READ_BY_SERVER in field:
            if field.startswith(_ABOUT_CONTAINERS):
                raise _UnlikeError
            return word
        text = within in _TEXTS_IN or field in _TEXTS_IN or (within, field) == ("env", "value")
        if text and len(word) <= TEXT_BYTES_MAX // 4:
            return {"text": bool(word)}
        if field == "image" and len(word) <= NAME_LENGTHS[-1] * 4 and _IMAGE.fullmatch(word):
            return {"image": True}
        if (field in _NAMES or within in _NAMES_IN) and (form := _form(word)):
            return {form: self._met.setdefault(word, len(self._met))}
        return word


def _form(word: str) -> str:
    """What kind of name it is; "" for none that could stand for another."""
    length = next((most for most in NAME_LENGTHS if len(word) <= most), 0)
    if not length:
        return ""
    if _NAME.fullmatch(word):
        return f"name {length}"
    return f"domain {length}" if _DOMAIN.fullmatch(word) else ""


def _without_data(body: Body, kind: str) -> Body:
    """``body`` with good data named only. A Secret of a type that has rules about its data keeps it, and so does what is not good."""
    if kind == "Secret" and body.get("type", "Opaque") != "Opaque":
        return body
    coded = kind == "Secret"
    fields = ("data", "stringData") if coded else ("data",)
    good: Body = {name: {} for name in fields if name in body and _good(body[name], coded=coded and name == "data")}
    return {**body, **good}


def _good(data: Any, *, coded: bool) -> bool:
    """True for a map of texts that the server takes as it is. Raises _UnlikeError for one that may be too large."""
    if not isinstance(data, dict) or not all(isinstance(text, str) for text in data.values()):
        return False
    if sum(len(name) + len(text) for name, text in data.items()) > DATA_BYTES_MAX:
        raise _UnlikeError
    keys = all(_KEY.fullmatch(name) and len(name) <= 253 for name in data)
    return keys and (not coded or all(_coded(text) for text in data.values()))


def _coded(text: str) -> bool:
    try:
        binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError):
        return False
    return True
