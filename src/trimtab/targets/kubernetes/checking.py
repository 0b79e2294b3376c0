"""What `trimtab doctor` asks of a cluster: its version, our clocks, how long our credentials last, and the rights that are missing.

Rights are asked for one by one (SelfSubjectAccessReview), as whoever would use them: the watches are Trimtab's own, the rest is the account's
that acts. Each that is missing is told as the rule that would give it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

import msgspec

from trimtab.core.model.names import ObjectRef
from trimtab.core.model.text import one_line
from trimtab.core.model.views import Finding
from trimtab.ports.clock import Clock

from . import requests
from .client import Client, Version
from .cluster import Cluster, Outside
from .credentials import Credential
from .errors import Forbidden, ServerError
from .expiry import certificate_ends, token_ends
from .resources import Resource

VERSION_MIN = (1, 27)
"""The first whose strict validation of fields is there for good (KEP-2885)."""
SKEW_SECONDS = 5.0
ENDING = timedelta(days=7)
REVIEWS_AT_ONCE = 16
REVIEWS_MAX = 600
MISSING_SHOWN_MAX = 10
REVIEW = Resource("authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", namespaced=False)
LOOKING = ("list", "watch")
ACTING = ("get", "create", "patch", "delete")


@dataclass(frozen=True)
class Right:
    """``namespace`` "" is the whole cluster."""

    namespace: str
    group: str
    plural: str
    verb: str


class _Status(msgspec.Struct, frozen=True):
    allowed: bool = False


class _Review(msgspec.Struct, frozen=True):
    status: _Status = _Status()


async def check_server(cluster: Cluster, clock: Clock) -> list[Finding]:
    """Raises TransientError when it does not answer."""
    request = requests.path("/version", "read the server's version")
    began = clock.now()
    answer = await cluster.client.send(request)
    try:
        version = msgspec.json.decode(answer.body, type=Version)
    except msgspec.DecodeError as error:
        raise ServerError(request.doing, f"the answer makes no sense: {one_line(str(error))}") from error
    middle = began + (clock.now() - began) / 2
    credential, renews = await cluster.client.transport.credential(request)
    catalog = await cluster.client.discovery.refresh()
    return [
        _version(version),
        _clock(answer.headers.get("Date", ""), middle),
        _credential(credential, clock.now(), renews=renews),
        _served([f"{group}/{name}" for group, name in catalog.unavailable]),
    ]


async def check_rights(cluster: Cluster, acting: Client, account: str, refs: Iterable[ObjectRef]) -> list[Finding]:
    """What is missing of what objects like ``refs`` need: of Trimtab's own to watch them, of ``account`` ("": Trimtab's own) to act."""
    looking, doing = await _needed(cluster, refs)
    if not account:
        return [await _rights("rights", cluster.client, [*looking, *doing])]
    return [
        await _rights(f"rights to watch for {account}", cluster.client, looking),
        await _rights(f"rights of {account}", acting, doing),
    ]


async def _rights(name: str, client: Client, rights: Sequence[Right]) -> Finding:
    try:
        missing = await _denied(client, rights)
    except Forbidden as error:
        return Finding(name, "failed", error.message, "Let Trimtab's account act as this one (impersonate)")
    if missing:
        return Finding(name, "failed", _told(missing), f"Add {_rules(missing)}")
    kinds = len({(right.group, right.plural) for right in rights})
    return Finding(name, "ok", f"all that {kinds} kinds in use need" if kinds else "no kind is in use yet")


async def _needed(cluster: Cluster, refs: Iterable[ObjectRef]) -> tuple[list[Right], list[Right]]:
    looking: set[Right] = set()
    acting: set[Right] = set()
    for ref in refs:
        resource = await cluster.served(ref)
        if resource is None or len(looking) + len(acting) > REVIEWS_MAX:
            continue
        try:
            place = cluster.place(resource, ref)
        except Outside:
            continue  # which is a mistake in Git, not a right that is missing
        within = place if cluster.settings.namespaces else ""
        looking |= {Right(within, resource.group, resource.plural, verb) for verb in LOOKING}
        acting |= {Right(place, resource.group, resource.plural, verb) for verb in ACTING}
    return sorted(looking, key=_order), sorted(acting, key=_order)


def _order(right: Right) -> tuple[str, str, str, int]:
    return right.namespace, right.group, right.plural, (*LOOKING, *ACTING).index(right.verb)


async def _denied(client: Client, rights: Sequence[Right]) -> list[Right]:
    places = asyncio.Semaphore(REVIEWS_AT_ONCE)

    async def may(right: Right) -> bool:
        asked = {"verb": right.verb, "group": right.group, "resource": right.plural, "namespace": right.namespace}
        body = {"apiVersion": REVIEW.api_version, "kind": REVIEW.kind, "spec": {"resourceAttributes": asked}}
        async with places:
            answer = await client.send(requests.create(REVIEW, "", body, manager=client.manager))
        try:
            return msgspec.json.decode(answer.body, type=_Review).status.allowed
        except msgspec.DecodeError as error:
            raise ServerError(f"review {right.verb} {right.plural}", f"the answer makes no sense: {error}") from error

    allowed = await asyncio.gather(*(may(right) for right in rights))
    return [right for right, yes in zip(rights, allowed, strict=True) if not yes]


def _by_kind(missing: Iterable[Right]) -> dict[tuple[str, str, str], list[str]]:
    found: dict[tuple[str, str, str], list[str]] = {}
    for right in missing:
        found.setdefault((right.namespace, right.group, right.plural), []).append(right.verb)
    return found


def _told(missing: Iterable[Right]) -> str:
    kinds = _by_kind(missing)
    told = [
        f"may not {', '.join(verbs)} {f'{plural}.{group}' if group else plural}{f' in {namespace}' if namespace else ''}"
        for (namespace, group, plural), verbs in kinds.items()
    ]
    more = len(told) - MISSING_SHOWN_MAX
    return "; ".join(told[:MISSING_SHOWN_MAX]) + (f"; and {more} more" if more > 0 else "")


def _rules(missing: Iterable[Right]) -> str:
    return "; ".join(
        f"to its {f'Role in {namespace}' if namespace else 'ClusterRole'}: "
        f'{{apiGroups: ["{group}"], resources: [{plural}], verbs: [{", ".join(verbs)}]}}'
        for (namespace, group, plural), verbs in list(_by_kind(missing).items())[:MISSING_SHOWN_MAX]
    )


def _version(version: Version) -> Finding:
    minor = re.match(r"\d+", version.minor)
    known = (int(version.major), int(minor[0])) if version.major.isdigit() and minor is not None else (0, 0)
    shown = one_line(version.git_version) or "it does not say which version it is"
    if known < VERSION_MIN:
        wanted = ".".join(str(part) for part in VERSION_MIN)
        return Finding("server", "failed", shown, f"Upgrade it to {wanted} or later: older ones let unknown fields pass")
    return Finding("server", "ok", f"Kubernetes {shown}")


def _clock(date: str, now: datetime) -> Finding:
    try:
        # It has no fractions of a second.
        seconds = (parsedate_to_datetime(date) - now).total_seconds() + 0.5
    except (TypeError, ValueError):
        return Finding("clock", "warning", "the server does not say what time it has")
    if abs(seconds) > SKEW_SECONDS:
        way = "ahead of" if seconds > 0 else "behind"
        message = f"the server's clock is {abs(seconds):.0f} s {way} this machine's"
        return Finding("clock", "warning", message, "Set both by NTP: tokens and certificates are judged by the clock")
    return Finding("clock", "ok", "the server has the same time")


def _credential(credential: Credential, now: datetime, *, renews: bool) -> Finding:
    found = {"token": token_ends(credential.token), "client certificate": certificate_ends(credential.certificate or b"")}
    known = {name: end for name, end in found.items() if end is not None}
    if not known:
        return Finding("credentials", "ok", "accepted; they do not say when they end")
    name, end = min(known.items(), key=lambda item: item[1])
    words = (
        f"the {name} {'ended' if end <= now else 'ends'} at {end:%Y-%m-%d %H:%M}Z{', and is renewed by itself' if renews else ''}"
    )
    if end <= now:
        return Finding("credentials", "failed", words, "Get new ones into the kubeconfig")
    if not renews and end - now < ENDING:
        return Finding("credentials", "warning", words, "Get new ones into the kubeconfig before that")
    return Finding("credentials", "ok", words)


def _served(unavailable: Sequence[str]) -> Finding:
    if not unavailable:
        return Finding("api groups", "ok", "all that are listed answer")
    shown = ", ".join(one_line(each) for each in unavailable[:MISSING_SHOWN_MAX])
    return Finding("api groups", "warning", f"these do not answer: {shown}", "Mend their APIService, or remove it")
