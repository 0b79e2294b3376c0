"""`trimtab chart lock`: what a repository asks for, settled and written down; what is right already stays."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.render.charts import HEADER, packed
from tests.render.registries import Registry, serving

from trimtab.core.model.errors import TrimtabError
from trimtab.core.model.views import ChartRow, ChartsView
from trimtab.render import lock
from trimtab.wiring.charts import settled

from .conftest import Line

ROW = ChartRow("web", "https://charts.example.org", "^1", "1.10.0", "sha256:" + "0" * 64, "added")


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    charts = {(name, version): packed(name, version) for name in ("web", "db") for version in ("1.0.0", "1.1.0")}
    async with serving(charts) as made:
        yield made


@pytest.fixture
def repository(tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An Application with a chart, and a chart of its own that needs another; a vendored one asks for nothing."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    top = tmp_path / "top"
    (top / ".trimtab").mkdir(parents=True)
    chart = f"{{repository: '{registry.http}', name: web, version: ^1}}"
    (top / ".trimtab/shop.yaml").write_text(
        f"apiVersion: trimtab.dev/v1\nkind: Application\nmetadata: {{name: shop}}\nspec: {{source: {{chart: {chart}}}}}\n"
    )
    needs = f'dependencies: [{{name: db, version: 1.0.0, repository: "{registry.oci}"}}]\n'
    (top / "own/charts/old").mkdir(parents=True)
    (top / "own/Chart.yaml").write_text(HEADER + needs)
    (top / "own/charts/old/Chart.yaml").write_text(HEADER + needs.replace("1.0.0", "9.9.9"))
    return top


def changes(view: ChartsView) -> list[tuple[str, str, str, str]]:
    return [(row.name, row.change, row.before, row.resolved) for row in view.charts]


async def test_everything_that_is_asked_for_is_pinned(repository: Path, registry: Registry) -> None:
    """By Applications and by charts, over HTTP and from a registry; again, it asks nobody and changes nothing."""
    view = await settled(repository, update=False)
    assert changes(view) == [("web", "added", "", "1.1.0"), ("db", "added", "", "1.0.0")]
    text = (repository / "charts.lock").read_text()
    assert [pin.digest for pin in lock.parse(text.encode()).values()] == [row.digest for row in view.charts]
    registry.asked.clear()
    assert {row.change for row in (await settled(repository, update=False)).charts} == {"kept"}
    assert (registry.asked, (repository / "charts.lock").read_text()) == ([], text)


async def test_a_pin_stays_until_somebody_asks_for_an_update(repository: Path, registry: Registry) -> None:
    await settled(repository, update=False)
    registry.charts["web", "1.2.0"] = packed("web", "1.2.0")
    assert ("web", "kept", "", "1.1.0") in changes(await settled(repository, update=False))
    assert ("web", "changed", "1.1.0", "1.2.0") in changes(await settled(repository, update=True))


async def test_what_nobody_asks_for_goes(repository: Path) -> None:
    """With the last one the file goes too."""
    await settled(repository, update=False)
    (repository / ".trimtab/shop.yaml").unlink()
    assert ("web", "removed", "", "1.1.0") in changes(await settled(repository, update=False))
    (repository / "own/Chart.yaml").write_text(HEADER)
    assert changes(await settled(repository, update=False)) == [("db", "removed", "", "1.0.0")]
    assert not (repository / "charts.lock").exists()


async def test_when_one_cannot_be_settled_nothing_is_written(repository: Path, registry: Registry) -> None:
    await settled(repository, update=False)
    before = (repository / "charts.lock").read_text()
    registry.down = True
    with pytest.raises(TrimtabError, match="answers 503"):
        await settled(repository, update=True)
    assert (repository / "charts.lock").read_text() == before


def test_the_command_tells_what_has_changed(line: Line, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And what to do next."""
    told: list[tuple[str, bool]] = []

    def answer(path: str, *, update: bool) -> ChartsView:
        told.append((path, update))
        return ChartsView("charts.lock", [ROW])

    monkeypatch.setattr("trimtab.wiring.offline_lock", answer)
    result = line("chart", "lock", str(tmp_path), "--update")
    assert result == (0, "added    web 1.10.0 of https://charts.example.org\ncharts.lock is written; commit it\n", "")
    assert told == [(str(tmp_path), True)]
    shown = line("chart", "lock", str(tmp_path), "--output", "json")
    assert json.loads(shown.out)["charts"][0]["resolved"] == "1.10.0"


def test_nothing_to_pin_is_said(line: Line, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def answer(path: str, *, update: bool) -> ChartsView:
        return ChartsView("charts.lock", [])

    monkeypatch.setattr("trimtab.wiring.offline_lock", answer)
    assert line("chart", "lock", str(tmp_path)) == (0, "no chart of a chart repository is asked for\n", "")
