"""Charts in OCI registries (the distribution specification, 1.1): tags, the manifest of one, its content; with an anonymous or a named token.

A chart is an artifact whose manifest has one layer of Helm's media type; the digest of that layer is the digest of the archive.
"""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import urlencode, urljoin, urlsplit

import msgspec

from trimtab.core.model.errors import TransientError, UserError
from trimtab.core.model.limits import Limits
from trimtab.core.model.text import escaped

from .download import Answer, Downloads, is_loopback, refused

SCHEME: Final = "oci://"
LAYER: Final = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
_SMALL_BYTES_MAX: Final = 4 * 1024 * 1024
_PAGES_MAX: Final = 100
_PARAMETER: Final = re.compile(r'([a-z]+)="([^"]*)"')


async def tags(downloads: Downloads, chart: str, doing: str) -> list[str]:
    """All of them. ``chart`` is ``oci://HOST/PATH``."""
    found: list[str] = []
    host, path = _split(chart)
    url = f"{host}/v2/{path}/tags/list?n=1000"
    for _ in range(_PAGES_MAX):
        answer = await _ask(downloads, url, doing, bytes_max=_SMALL_BYTES_MAX)
        found += [tag for tag in _decoded(answer, doing).get("tags") or [] if isinstance(tag, str)]
        following = re.match(r'<([^>]+)>; *rel="?next', answer.headers.get("Link", ""))
        if following is None:
            return found
        url = urljoin(url, following[1])
    raise UserError(f"{doing}: it has more than {_PAGES_MAX} pages of tags", remedy="Name an exact version")


async def layer(downloads: Downloads, chart: str, tag: str, doing: str) -> str:
    """The digest of the chart's content at a tag."""
    host, path = _split(chart)
    answer = await _ask(
        downloads, f"{host}/v2/{path}/manifests/{tag}", doing, bytes_max=_SMALL_BYTES_MAX, headers={"Accept": _MANIFEST}
    )
    layers = _decoded(answer, doing).get("layers")
    for each in layers if isinstance(layers, list) else []:
        if isinstance(each, dict) and each.get("mediaType") == LAYER and isinstance(each.get("digest"), str):
            return str(each["digest"])
    raise UserError(f"{doing}: {escaped(tag)} is there, but is no chart", remedy="Name a chart")


async def content(downloads: Downloads, url: str, doing: str, limits: Limits) -> bytes:
    """What ``oci://HOST/PATH@DIGEST`` names."""
    chart, _, digest = url.partition("@")
    host, path = _split(chart)
    return (await _ask(downloads, f"{host}/v2/{path}/blobs/{digest}", doing, bytes_max=limits.download_bytes)).body


def _split(chart: str) -> tuple[str, str]:
    """The address of the registry and the path in it. Only this machine is spoken to without encryption."""
    host, _, path = chart.removeprefix(SCHEME).partition("/")
    name = urlsplit(f"//{host}").hostname or ""
    return f"{'http' if is_loopback(name) else 'https'}://{host}", path.strip("/")


async def _ask(downloads: Downloads, url: str, doing: str, *, bytes_max: int, headers: dict[str, str] | None = None) -> Answer:
    answer = await downloads.ask(url, doing, bytes_max=bytes_max, headers=headers)
    challenge = answer.headers.get("WWW-Authenticate", "")
    if answer.status == 401 and challenge.lower().startswith("bearer "):
        token = await _token(downloads, dict(_PARAMETER.findall(challenge)), url, doing)
        told = {**(headers or {}), "Authorization": f"Bearer {token}"}
        answer = await downloads.ask(url, doing, bytes_max=bytes_max, headers=told)
    if answer.status != 200:
        raise refused(answer, doing)
    return answer


async def _token(downloads: Downloads, asked: dict[str, str], url: str, doing: str) -> str:
    """The token that a registry wants to see, from where it says; as whom the file of credentials says we are to the registry."""
    realm = asked.get("realm", "")
    if urlsplit(realm).scheme != "https" and not is_loopback(urlsplit(realm).hostname or ""):
        raise UserError(f"{doing}: the registry sends us to {escaped(realm)} for a token, which is not https")
    query = [(name, asked[name]) for name in ("service", "scope") if name in asked]
    authorization = downloads.authorization(url)
    answer = await downloads.ask(
        f"{realm}?{urlencode(query)}",
        doing,
        bytes_max=_SMALL_BYTES_MAX,
        headers={"Authorization": authorization} if authorization else None,
    )
    if answer.status != 200:
        raise refused(answer, doing)
    found = _decoded(answer, doing)
    token = found.get("token") or found.get("access_token")
    if not isinstance(token, str):
        raise TransientError(f"{doing}: the answer of {escaped(realm)} has no token")
    return token


def _decoded(answer: Answer, doing: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(answer.body, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise TransientError(f"{doing}: the answer makes no sense") from error
