"""Heads move only forward, and trouble is told when it begins, changes or ends."""

from __future__ import annotations

import asyncio

from trimtab.testing.factories import app, environment, manifest
from trimtab.testing.faults import Fault
from trimtab.testing.stage import URL, Stage, on_stage

WEB = manifest("Process", "web")


def trouble(stage: Stage) -> list[str]:
    return [event.kind for event in stage.events if event.kind.startswith("repository.") and event.kind != "repository.fetched"]


def test_a_vanished_repository_is_told_once_and_nothing_running_changes() -> None:
    """Not at every poll; and its return is told too."""

    async def story(stage: Stage) -> None:
        _, task = stage.start()
        stage.commit(environment(), app("shop"), shop=[WEB])
        await asyncio.sleep(10)
        stage.remote.vanish()
        await asyncio.sleep(1000)
        assert (trouble(stage), stage.there().keys()) == (["repository.failed"], {"web"})
        stage.remote.repair()
        await asyncio.sleep(70)
        assert trouble(stage) == ["repository.failed", "repository.recovered"]
        await stage.stop(task)

    on_stage(story)


def test_a_deleted_branch_changes_nothing_and_may_come_back() -> None:
    """It goes on from where it was."""

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        stage.commit(environment(), app("shop"), shop=[WEB])
        await asyncio.sleep(10)
        commit = stage.remote.refs["refs/heads/main"]
        stage.remote.delete_branch("main")
        await asyncio.sleep(100)
        assert (trouble(stage), stage.there().keys()) == (["repository.failed"], {"web"})
        stage.remote.refs["refs/heads/main"] = commit
        stage.remote.repair()
        await asyncio.sleep(70)
        assert trouble(stage)[-1] == "repository.recovered"
        assert engine.current().world.heads[URL, ""].revision == commit.revision
        await stage.stop(task)

    on_stage(story)


def test_a_rewritten_history_with_the_same_files_is_taken() -> None:
    """A commit message that was amended changes nothing that runs."""

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        stage.commit(environment(), app("shop"), shop=[WEB])
        stage.remote.commit({"README": b"one"})
        await asyncio.sleep(10)
        amended = stage.remote.force_push({"README": b"one"})
        await asyncio.sleep(10)
        assert trouble(stage) == []
        assert engine.current().world.heads[URL, ""].revision == amended
        await stage.stop(task)

    on_stage(story)


def test_the_move_of_one_head_is_not_lost_when_the_next_one_cannot_be_recorded() -> None:
    """Two branches move; the write of the second fails; both are applied a little later."""

    async def story(stage: Stage) -> None:
        release = app("cart", source={"path": "apps/cart", "revision": "release"})
        documents = (environment(), app("shop"), release)
        stage.commit(*documents, shop=[WEB], cart=[])
        stage.remote.set_branch("release", stage.remote.head())
        _, task = stage.start()
        await asyncio.sleep(10)
        stage.faults.plan("store.write:before", Fault.FAILED, skip=1)
        stage.remote.wakes._watchers.clear()  # both moves are seen at one poll
        stage.commit(*documents, shop=[WEB, manifest("Process", "new")], cart=[])
        stage.remote.commit({**stage.remote.refs["refs/heads/release"].files, "apps/cart/README": b"2"}, branch="release")
        await asyncio.sleep(200)
        assert stage.there().keys() == {"web", "new"}
        await stage.stop(task)

    on_stage(story)


def test_a_machine_whose_mirror_lacks_the_commit_waits_for_it() -> None:
    """Another one has seen it; as soon as this one gets it, it goes on."""

    async def story(stage: Stage) -> None:
        documents = (environment(), app("shop", source={"path": "apps/shop", "revision": "release"}))
        stage.commit(*documents, shop=[WEB])
        stage.remote.set_branch("release", stage.remote.head())
        _, task = stage.start("a")
        await asyncio.sleep(10)
        await stage.stop(task)
        commit = stage.remote.commit({"apps/shop/README": b"2"}, branch="release")
        _, task = stage.start("a2")
        await asyncio.sleep(10)
        await stage.stop(task)
        there = stage.remote.refs.pop("refs/heads/release")
        _, task = stage.start("b")
        await asyncio.sleep(30)
        stage.targets.get("host").delete(WEB.identity)
        stage.remote.refs["refs/heads/release"] = there
        await asyncio.sleep(200)
        assert stage.there().keys() == {"web"}
        assert commit == there.revision
        await stage.stop(task)

    on_stage(story)
