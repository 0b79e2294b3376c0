"""What a chart that is asked for is today: the newest version that its range admits, where its content is, and which digest that has.

Only `trimtab chart lock` asks; rendering takes the answer from the lock.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final
from urllib.parse import urljoin

from trimtab.core.decide import documents, semver
from trimtab.core.model.errors import UserError
from trimtab.core.model.limits import DEFAULT
from trimtab.core.model.text import escaped

from . import archive, registry
from .download import Downloads
from .fetching import Charts, digest_of
from .lock import Pin, Wanted

INDEX_BYTES_MAX: Final = 64 * 1024 * 1024


async def resolve(charts: Charts, wanted: Wanted) -> Pin:
    """Raises UserError when no version fits or what is there is no chart, TransientError when the repository does not answer."""
    doing = f"look up the chart {wanted}"
    if wanted.repository.startswith(registry.SCHEME):
        pin = await _in_registry(charts.downloads, wanted, doing)
    else:
        pin = await _in_index(charts.downloads, wanted, doing)
    data = await charts.archive(pin)
    try:
        archive.unpack(data, DEFAULT)
    except archive.ArchiveError as error:
        raise UserError(f"{doing}: {error}", remedy="Name another version") from error
    return pin


async def _in_registry(downloads: Downloads, wanted: Wanted, doing: str) -> Pin:
    chart = f"{wanted.repository.rstrip('/')}/{wanted.name}"
    # A tag has no "+"; Helm writes "_" in its place.
    if semver.version(wanted.version) is not None:
        resolved = wanted.version
    else:
        found = [tag.replace("_", "+") for tag in await registry.tags(downloads, chart, doing)]
        resolved = _best(found, wanted, doing)
    digest = await registry.layer(downloads, chart, resolved.replace("+", "_"), doing)
    return Pin(wanted.repository, wanted.name, wanted.version, resolved, f"{chart}@{digest}", digest)


async def _in_index(downloads: Downloads, wanted: Wanted, doing: str) -> Pin:
    base = wanted.repository.rstrip("/") + "/"
    data = await downloads.get(f"{base}index.yaml", doing, bytes_max=INDEX_BYTES_MAX)
    read = documents.read(data, "index.yaml", limits=replace(DEFAULT, file_bytes=INDEX_BYTES_MAX))
    entries: Any = (
        read.documents[0].value.get("entries") if read.documents and isinstance(read.documents[0].value, dict) else None
    )
    versions = entries.get(wanted.name) if isinstance(entries, dict) else None
    if not isinstance(versions, list):
        raise UserError(f"{doing}: it has no chart of that name", remedy="Correct the name or the repository")
    known = {one["version"]: one for one in versions if isinstance(one, dict) and isinstance(one.get("version"), str)}
    resolved = wanted.version if wanted.version in known else _best(list(known), wanted, doing)
    urls = known[resolved].get("urls")
    if not isinstance(urls, list) or not urls or not isinstance(urls[0], str):
        raise UserError(f"{doing}: it does not say where {escaped(resolved)} is", remedy="Tell who publishes it")
    url = urljoin(base, urls[0])
    if url.startswith(registry.SCHEME):
        at, _, tag = url.removeprefix(registry.SCHEME).rpartition(":")
        digest = await registry.layer(downloads, f"{registry.SCHEME}{at}", tag, doing)
        return Pin(wanted.repository, wanted.name, wanted.version, resolved, f"{registry.SCHEME}{at}@{digest}", digest)
    found = digest_of(await downloads.get(url, doing, bytes_max=DEFAULT.download_bytes))
    said = known[resolved].get("digest")
    if isinstance(said, str) and said and said.removeprefix("sha256:") != found.removeprefix("sha256:"):
        raise UserError(f"{doing}: its index says {escaped(said)}, and what is there is {found}", remedy="Tell who publishes it")
    return Pin(wanted.repository, wanted.name, wanted.version, resolved, url, found)


def _best(versions: list[str], wanted: Wanted, doing: str) -> str:
    among = semver.parse_range(wanted.version)
    if among is None:
        raise UserError(f"{doing}: that is neither a version nor a range", remedy='Write one such as 1.2.3 or ">=1.2 <2"')
    best = semver.best(versions, among)
    if best is None:
        shown = ", ".join(escaped(one) for one in versions[:10]) or "none"
        raise UserError(f"{doing}: no version fits", remedy=f"There are: {shown}")
    return best
