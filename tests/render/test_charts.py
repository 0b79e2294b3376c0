"""Charts of chart repositories: pinned by digest, fetched by us, kept, and refused when they are not what was pinned."""

from __future__ import annotations

import tarfile
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from trimtab.core.decide.limits import sourced_elsewhere
from trimtab.core.model.config import Chart, Metadata, Project, ProjectSpec
from trimtab.core.model.errors import TransientError, UserError
from trimtab.core.model.limits import DEFAULT
from trimtab.render import archive as archives
from trimtab.render import lock
from trimtab.render.credentials import Credentials
from trimtab.render.fetching import Charts, digest_of
from trimtab.render.lock import Pin, Wanted
from trimtab.render.renderer import TreeRenderer
from trimtab.render.resolving import resolve
from trimtab.testing.trees import MemoryTree, Node

from .charts import HEADER, SHOP, archive, asked, packed
from .registries import Registry, serving

SECRET = "s3cret-word"


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    charts = {("web", version): packed("web", version) for version in ("1.2.0", "1.10.0", "2.0.0", "2.1.0-rc.1", "3.0.0+a")}
    async with serving(charts) as made:
        yield made


@pytest.fixture
async def charts(tmp_path: Path) -> AsyncIterator[Charts]:
    made = Charts(tmp_path / "kept", Credentials(tmp_path / "netrc"), DEFAULT)
    yield made
    await made.close()


@pytest.fixture
async def renderer(tmp_path: Path) -> AsyncIterator[TreeRenderer]:
    made = TreeRenderer(tmp_path / "cache", netrc=tmp_path / "netrc")
    yield made
    await made.close()


def pinned(*pins: Pin, **more: Node) -> MemoryTree:
    return MemoryTree({"README": "", lock.FILE: lock.written({pin.wanted: pin for pin in pins}), **more})


def pin_of(registry: Registry, version: str = "1.2.0", *, data: bytes | None = None) -> Pin:
    digest = digest_of(data or registry.charts["web", version])
    return Pin(registry.http, "web", version, version, f"{registry.http}/web-{version}.tgz", digest)


def chart_of(pin: Pin) -> Chart:
    return Chart(pin.repository, pin.name, pin.version)


# --- settling -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "resolved"),
    [("1.2.0", "1.2.0"), ("^1.2", "1.10.0"), (">=1 <3", "2.0.0"), ("2.1.0-rc.1", "2.1.0-rc.1"), ("3.0.0+a", "3.0.0+a")],
)
@pytest.mark.parametrize("over", ["http", "oci"])
async def test_a_range_is_settled_to_its_newest_version(
    registry: Registry, charts: Charts, over: str, version: str, resolved: str
) -> None:
    """With the digest of its content, whichever way it is offered."""
    repository = registry.http if over == "http" else registry.oci
    pin = await resolve(charts, Wanted(repository, "web", version))
    assert (pin.resolved, pin.digest, pin.version) == (resolved, digest_of(registry.charts["web", resolved]), version)
    assert await charts.archive(pin) == registry.charts["web", resolved]


@pytest.mark.parametrize("over", ["http", "oci"])
@pytest.mark.parametrize(("version", "words"), [("^9", "no version fits"), ("newest", "neither a version nor a range")])
async def test_what_cannot_be_settled(registry: Registry, charts: Charts, over: str, version: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        await resolve(charts, Wanted(registry.http if over == "http" else registry.oci, "web", version))


async def test_a_chart_that_is_not_there(registry: Registry, charts: Charts) -> None:
    with pytest.raises(UserError, match="no chart of that name"):
        await resolve(charts, Wanted(registry.http, "shop", "1.0.0"))
    with pytest.raises(TransientError, match="answers 404"):
        await resolve(charts, Wanted(registry.oci, "shop", "1.0.0"))


async def test_an_index_that_contradicts_its_content(registry: Registry, charts: Charts) -> None:
    entry = '{"name": "web", "version": "1.2.0", "urls": ["web-1.2.0.tgz"], "digest": "%s"}' % ("0" * 64)
    registry.index = f'{{"entries": {{"web": [{entry}]}}}}'
    with pytest.raises(UserError, match="its index says 000"):
        await resolve(charts, Wanted(registry.http, "web", "1.2.0"))


@pytest.mark.parametrize("index", ["", "not: [yaml", "[]", '{"entries": []}', '{"entries": {"web": [{"version": "1.2.0"}]}}'])
async def test_an_index_that_makes_no_sense(registry: Registry, charts: Charts, index: str) -> None:
    registry.index = index or "# nothing"
    with pytest.raises(UserError):
        await resolve(charts, Wanted(registry.http, "web", "1.2.0"))


# --- rendering what is pinned -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("over", ["http", "oci"])
async def test_a_pinned_chart_is_rendered(registry: Registry, charts: Charts, renderer: TreeRenderer, over: str) -> None:
    """Fetched once; a range needs no look at the repository; the lock is an input."""
    pin = await resolve(charts, Wanted(registry.http if over == "http" else registry.oci, "web", "^1"))
    registry.asked.clear()
    rendered = await renderer.render(asked(".", chart=chart_of(pin)), pinned(pin))
    (one,) = rendered.manifests
    assert (one.ref.name, one.body["data"], one.file) == ("web-web", {"version": "1.10.0"}, "web-1.10.0/templates/one.yaml")
    assert [path for path, _ in rendered.inputs] == [lock.FILE]
    assert not any("index" in path or "tags" in path or "manifests" in path for path in registry.answers)
    registry.down = True
    again = await renderer.render(asked(".", chart=chart_of(pin), release_name="again"), pinned(pin))
    assert again.manifests[0].ref.name == "again-web"


async def test_another_pin_in_the_lock_renders_nothing(registry: Registry, renderer: TreeRenderer) -> None:
    """And the new lock is what is looked at from then on."""
    first, other = pin_of(registry), pin_of(registry, "2.0.0")
    await renderer.render(asked(".", chart=chart_of(first)), pinned(first))
    both = pinned(first, other)
    again = await renderer.render(asked(".", chart=chart_of(first)), both)
    assert again.cached
    assert renderer.current(again.inputs, both)


async def test_a_chart_that_is_not_pinned_is_refused(registry: Registry, renderer: TreeRenderer) -> None:
    """With the command that pins it; the repository is not asked."""
    with pytest.raises(UserError) as raised:
        await renderer.render(asked(".", chart=Chart(registry.http, "web", "1.2.0")), MemoryTree({"README": ""}))
    assert f"the chart web 1.2.0 of {registry.http} is not in charts.lock" in str(raised.value)
    assert "trimtab chart lock ." in raised.value.problems[0].remedy
    assert registry.asked == []


async def test_content_that_has_changed_is_refused(registry: Registry, renderer: TreeRenderer) -> None:
    """Both digests are told; nothing is kept of it."""
    pin = pin_of(registry)
    registry.charts["web", "1.2.0"] = packed("web", "1.2.0", **{"templates/evil.yaml": "a: 1"})
    with pytest.raises(UserError) as raised:
        await renderer.render(asked(".", chart=chart_of(pin)), pinned(pin))
    assert pin.digest in str(raised.value)
    assert "trimtab chart lock . --update" in str(raised.value)


async def test_a_kept_archive_that_was_spoilt_is_fetched_anew(registry: Registry, charts: Charts, tmp_path: Path) -> None:
    pin = pin_of(registry)
    await charts.archive(pin)
    (kept,) = (tmp_path / "kept").glob("*.tgz")
    kept.write_bytes(b"spoilt")
    assert await charts.archive(pin) == registry.charts["web", "1.2.0"]


@pytest.mark.parametrize("over", ["http", "oci"])
async def test_a_repository_that_does_not_answer(registry: Registry, charts: Charts, renderer: TreeRenderer, over: str) -> None:
    """It is tried again: nothing is known of the chart, so nothing is removed."""
    pin = await resolve(charts, Wanted(registry.http if over == "http" else registry.oci, "web", "1.2.0"))
    registry.down = True
    with pytest.raises(TransientError, match="answers 503"):
        await renderer.render(asked(".", chart=chart_of(pin)), pinned(pin))
    nowhere = replace_url(pin, "http://127.0.0.1:9/x.tgz")
    with pytest.raises(TransientError, match="fetch the chart web"):
        await renderer.render(asked(".", chart=chart_of(pin)), pinned(nowhere))


def replace_url(pin: Pin, url: str) -> Pin:
    return Pin(pin.repository, pin.name, pin.version, pin.resolved, url, pin.digest)


async def test_a_subchart_of_a_chart_repository(registry: Registry, renderer: TreeRenderer) -> None:
    """Pinned alike; its range and repository are those of Chart.yaml."""
    pin = pin_of(registry, "2.0.0")
    header = HEADER + f'dependencies: [{{name: web, version: "2.0.0", repository: "{registry.http}"}}]\n'
    tree = pinned(pin, **{**SHOP, "shop/Chart.yaml": header})
    rendered = await renderer.render(asked(), tree)
    assert {one.ref.name for one in rendered.manifests} == {"web-web", "web-shop"} - {"web-shop"}
    assert {one.file for one in rendered.manifests} == {"shop/templates/web.yaml", "shop/charts/web/templates/one.yaml"}
    assert (await renderer.render(asked(), tree)).cached


@pytest.mark.parametrize("kept", [False, True])
async def test_what_a_project_does_not_allow_is_refused_where_it_stands_before_it_is_fetched(
    registry: Registry, renderer: TreeRenderer, kept: bool
) -> None:
    """An archive elsewhere than its repository, in the lock: named with its line, although somebody else has had it rendered already."""
    first = Pin("https://charts.example", "other", "1", "1.0.0", "https://charts.example/other-1.0.0.tgz", f"sha256:{'0' * 64}")
    pin = replace_url(pin_of(registry), f"{registry.http.replace('charts', 'elsewhere')}/web-1.2.0.tgz")
    tree = pinned(first, pin)
    limited = Project(Metadata("team"), ProjectSpec(repositories=[registry.http]))
    if kept:
        await renderer.render(asked(".", chart=chart_of(pin)), pinned(pin_of(registry)))
    registry.asked.clear()
    for _ in range(2):
        with pytest.raises(UserError) as raised:
            await renderer.render(asked(".", chart=chart_of(pin)), tree, limit=partial(sourced_elsewhere, limited))
        (problem,) = raised.value.problems
        assert problem.message == f"the Project team does not allow the archive {pin.url}"
        lines = tree.read(lock.FILE, bytes_max=10_000).decode().splitlines()
        assert (problem.file, lines[problem.line - 1].strip(), problem.field) == (lock.FILE, f"url: {pin.url}", "charts[0].url")
    assert registry.asked == []


async def test_a_subchart_that_a_project_does_not_allow_is_refused_before_it_is_fetched(
    registry: Registry, renderer: TreeRenderer
) -> None:
    """What lies below an allowed repository is fetched."""
    pin = pin_of(registry, "2.0.0")
    header = HEADER + f'dependencies: [{{name: web, version: "2.0.0", repository: "{registry.http}"}}]\n'
    tree = pinned(pin, **{**SHOP, "shop/Chart.yaml": header})
    for allowed, fields in (("https://charts.example/*", ["charts[0].repository"]), (registry.http, [])):
        limit = partial(sourced_elsewhere, Project(Metadata("team"), ProjectSpec(repositories=[allowed])))
        try:
            await renderer.render(asked(), tree, limit=limit)
            found = []
        except UserError as error:
            found = [problem.field for problem in error.problems]
        assert found == fields
        assert bool(registry.asked) == (not fields)


# --- hostile archives and repositories ------------------------------------------------------------------------------------------


def entry(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, to: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.size, made.linkname = kind, size, to
    return made


BAD = {
    "parents": (entry("shop/../../evil", size=1), "no path inside|leaves"),
    "absolute": (entry("/etc/evil", size=1), "no path inside"),
    "link": (entry("shop/link", tarfile.SYMTYPE, to="/etc/passwd"), "a link or a special file"),
    "hard link": (entry("shop/link", tarfile.LNKTYPE, to="shop/Chart.yaml"), "a link or a special file"),
    "device": (entry("shop/null", tarfile.CHRTYPE), "a link or a special file"),
    "two folders": (entry("other/file", size=1), "one folder"),
    "backslash": (entry("shop/..\\evil", size=1), "backslash"),
    "no folder": (entry("file", size=1), "no path inside"),
}


@pytest.mark.parametrize("what", sorted(BAD))
async def test_an_archive_that_is_no_plain_chart(registry: Registry, renderer: TreeRenderer, tmp_path: Path, what: str) -> None:
    """It is refused as a whole, before anything is written."""
    bad, words = BAD[what]
    data = archive({"Chart.yaml": HEADER, "templates/a.yaml": "a: 1"}, more=(bad,))
    registry.charts["web", "1.2.0"] = data
    pin = pin_of(registry)
    with pytest.raises(UserError, match=words):
        await renderer.render(asked(".", chart=chart_of(pin)), pinned(pin))
    assert not list(tmp_path.rglob("*evil*"))


@pytest.mark.parametrize("data", [b"", b"not gzip", archive({"Chart.yaml": HEADER})[:-30], archive({"x": "no chart"})])
def test_bytes_that_are_no_chart(data: bytes) -> None:
    with pytest.raises(archives.ArchiveError):
        archives.unpack(data, DEFAULT)


def test_a_bomb_is_not_unpacked() -> None:
    """A hundred megabytes of zeros in a hundred kilobytes."""
    bomb = archive({"Chart.yaml": HEADER, "zeros": "0" * 100_000_000})
    assert len(bomb) < 200_000
    with pytest.raises(archives.ArchiveError, match="unpacks to more than"):
        archives.unpack(bomb, DEFAULT)


def test_too_many_files_are_not_unpacked() -> None:
    many = archive({"Chart.yaml": HEADER, **{str(number): "" for number in range(20)}})
    with pytest.raises(archives.ArchiveError, match="more than 10 files"):
        archives.unpack(many, replace(DEFAULT, files=10))


async def test_an_answer_that_is_too_large(registry: Registry, tmp_path: Path) -> None:
    charts = Charts(tmp_path, Credentials(), replace(DEFAULT, download_bytes=100))
    try:
        with pytest.raises(UserError, match="more than 100 bytes"):
            await charts.archive(pin_of(registry))
    finally:
        await charts.close()


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://example.org/x"])
async def test_a_redirection_to_what_is_no_http(registry: Registry, charts: Charts, location: str) -> None:
    registry.moved_to = location
    with pytest.raises(UserError, match="redirects to"):
        await charts.archive(pin_of(registry))


async def test_a_redirection_without_end(registry: Registry, charts: Charts) -> None:
    registry.moved_to = f"{registry.http}/web-1.2.0.tgz"
    with pytest.raises(TransientError, match="redirects more than 5 times"):
        await charts.archive(pin_of(registry))


# --- who we are ---------------------------------------------------------------------------------------------------------------


def netrc(tmp_path: Path, text: str, mode: int = 0o600) -> None:
    (tmp_path / "netrc").write_text(text)
    (tmp_path / "netrc").chmod(mode)


@pytest.mark.parametrize("over", ["http", "oci"])
async def test_credentials_come_from_a_netrc(registry: Registry, charts: Charts, tmp_path: Path, over: str) -> None:
    """By host and port; a registry's token is asked for with them."""
    registry.login = ("me", SECRET)
    repository = registry.http if over == "http" else registry.oci
    with pytest.raises(TransientError, match="answers 401") as raised:
        await resolve(charts, Wanted(repository, "web", "1.2.0"))
    assert "credentials" in str(raised.value)
    netrc(tmp_path, f"machine 127.0.0.1:{registry.port} login me password {SECRET}\n")
    assert (await resolve(charts, Wanted(repository, "web", "1.2.0"))).resolved == "1.2.0"


async def test_credentials_do_not_follow_a_redirection(registry: Registry, charts: Charts, tmp_path: Path) -> None:
    """They are for one host and port."""
    netrc(tmp_path, f"machine 127.0.0.1:{registry.port} login me password {SECRET}\n")
    async with serving(registry.charts) as other:
        registry.moved_to = f"{other.http}/web-1.2.0.tgz"
        await charts.archive(pin_of(registry))
        assert registry.asked[-1][1]
        assert [authorization for _, authorization in other.asked] == [""]


async def test_credentials_are_not_sent_in_the_open(charts: Charts, tmp_path: Path) -> None:
    netrc(tmp_path, f"machine charts.example.org login me password {SECRET}\n")
    with pytest.raises(UserError, match="not encrypted") as raised:
        await resolve(charts, Wanted("http://charts.example.org", "web", "1.2.0"))
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [(f"x {SECRET}", 0o600, "form"), ("", 0o644, "chmod 600")],
)
async def test_a_netrc_that_cannot_be_used(
    registry: Registry, charts: Charts, tmp_path: Path, text: str, mode: int, words: str
) -> None:
    """Without a word of what stands in it."""
    netrc(tmp_path, text, mode)
    with pytest.raises(UserError, match=words) as raised:
        await resolve(charts, Wanted(registry.http, "web", "1.2.0"))
    assert SECRET not in repr(raised.value.__context__) + str(raised.value)


def test_a_secret_has_no_words_for_itself(tmp_path: Path) -> None:
    netrc(tmp_path, f"machine a login me password {SECRET}\n")
    assert SECRET not in repr(Credentials(tmp_path / "netrc").of("a", None))


# --- the lock -----------------------------------------------------------------------------------------------------------------


def test_a_lock_reads_back(registry: Registry) -> None:
    pins = {pin.wanted: pin for pin in (pin_of(registry, "2.0.0"), pin_of(registry))}
    text = lock.written(pins)
    assert lock.parse(text.encode()) == pins
    assert lock.written(dict(reversed(pins.items()))) == text


@pytest.mark.parametrize(
    "text",
    [
        "charts: 1",
        "charts: [{name: a}]",
        "a: [",
        "other: 1",
        "charts: [{repository: a, name: b, version: c, resolved: d, url: e, digest: f}]",
    ],
)
def test_a_lock_that_cannot_be_read(text: str) -> None:
    """It is an error with a remedy, and never "nothing is pinned"."""
    with pytest.raises(UserError) as raised:
        lock.parse(text.encode())
    assert lock.COMMAND in raised.value.remedy
