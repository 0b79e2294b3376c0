"""Housekeeping of repositories: packs that pile up become few, and nothing is lost by it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from trimtab.git.hosting import upkeep
from trimtab.git.hosting.upkeep import Upkeep
from trimtab.ports.hosting import Push, Redirect, RefUpdate, Verdict

from .conftest import Served, Work


@pytest.fixture
async def keeper(served: Served, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Upkeep]:
    monkeypatch.setattr(upkeep, "PACKS_MAX", 4)
    made = Upkeep(served.hosting, quiet_seconds=0)
    yield made
    await made.close()


def packs(served: Served) -> int:
    return len(list((served.hosting.path("shop") / "objects" / "pack").glob("*.pack")))


async def test_many_pushes_end_in_few_packs(served: Served, keeper: Upkeep, work: Work):
    """By itself, in packs of growing size; and what only a Change's ref names stays."""

    async def verdict(push: Push) -> Verdict:
        return Verdict((Redirect("refs/changes/1/1"),))

    served.engine.verdict = verdict
    change = await work.commit("for review", a="review\n")
    await work.git("push", "--quiet", "origin", "HEAD:refs/for/main")
    await work.git("reset", "--quiet", "--hard", "HEAD~1")
    served.engine.verdict = None
    for number in range(8):
        await work.commit(f"change {number}", a=f"{number}\n")
        await work.git("push", "--quiet", "origin", "HEAD:main")
    async with asyncio.timeout(20):
        while packs(served) > 6 or served.hosting.place("shop").upkeep:
            await asyncio.sleep(0.05)
    assert served.hosting.history("shop").tree(change).read("a", bytes_max=99) == b"review\n"
    await Work(served.hosting.path("shop")).git("fsck", "--strict")
    assert await (await served.clone("shop", "other")).head() == await work.head()


async def test_a_push_ends_the_housekeeping(served: Served, keeper: Upkeep, work: Work, monkeypatch: pytest.MonkeyPatch):
    """It does not wait for it, and the repository is sound."""
    begun = asyncio.Event()
    local = served.hosting.git.local

    async def slow(directory: object, *arguments: str, **options: object) -> object:
        if "repack" in arguments:
            begun.set()
            await asyncio.sleep(60)
        return await local(directory, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(served.hosting.git, "local", slow)
    monkeypatch.setattr(upkeep, "PACKS_MAX", 1)
    looking = asyncio.ensure_future(keeper.look("shop"))
    async with asyncio.timeout(10):
        await begun.wait()
        commit = await work.commit("second", a="2\n")
        await work.git("push", "--quiet", "origin", "HEAD:main")
        assert await looking is False
    assert await served.hosting.refs("shop") == {"refs/heads/main": commit}


async def test_nothing_is_done_while_a_push_is_under_way(served: Served, work: Work):
    made = Upkeep(served.hosting, quiet_seconds=3600)
    place = served.hosting.place("shop")
    place.pushes = 1
    for number in range(30):
        await served.hosting.update_refs("shop", [RefUpdate(f"refs/heads/b{number}", "", await work.head())])
    assert await made.look("shop") is False
    place.pushes = 0
    await made.close()
