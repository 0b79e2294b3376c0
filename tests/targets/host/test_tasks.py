"""Tasks: once for each change of their inputs, and never lost."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from trimtab.core.model.plan import Action, Applied, Step
from trimtab.ports.target import LogWish
from trimtab.targets.host import pids

from .conftest import World, manifest, quickly, server


def task(tmp_path: Path, text: str = "true", name: str = "migrate", **spec: object):
    return manifest("Task", name, {"command": ["sh", "-c", f"echo ran >>{tmp_path}/ran; {text}"], **spec})


def runs(tmp_path: Path) -> int:
    return (tmp_path / "ran").read_text().count("ran") if (tmp_path / "ran").exists() else 0


async def test_a_task_runs_once_for_its_inputs(world: World, tmp_path: Path) -> None:
    """Applied again it does nothing; with another command it runs again."""
    await world.run(task(tmp_path))
    await world.run(task(tmp_path))
    await world.run(task(tmp_path, timeoutSeconds=5), application="shop")
    assert runs(tmp_path) == 1
    await world.run(task(tmp_path, "exit 0"))
    assert runs(tmp_path) == 2
    await world.restart()
    await world.healthy(task(tmp_path))
    await asyncio.sleep(0.1)
    assert runs(tmp_path) == 2


async def test_a_failed_task_is_tried_again_as_often_as_it_says(world: World, tmp_path: Path) -> None:
    """Then it is degraded, with its exit status and last line."""
    bad = task(tmp_path, "echo 'no table'; exit 3", retries=1)
    await world.apply(bad)
    await world.until(bad, lambda _, health: health.status == "degraded")
    health = world.target.assess(await world.look(bad.ref), bad)
    assert health.message == "exit status 3 (attempt 2)"
    assert health.last_log_line == "no table"
    assert runs(tmp_path) == 2


async def test_a_task_ends_while_the_server_is_away(world: World, tmp_path: Path) -> None:
    """Neither lost nor repeated: it is found ended."""
    slow = task(tmp_path, f"sleep 0.4; touch {tmp_path}/done")
    await world.apply(slow)

    async def started() -> bool:
        return runs(tmp_path) == 1

    await quickly(started)
    await world.targets.close()
    await asyncio.sleep(0.6)
    await world.start()
    await world.healthy(slow)
    assert runs(tmp_path) == 1
    assert (tmp_path / "done").exists()


async def test_a_task_survives_a_killed_supervisord(world: World, tmp_path: Path) -> None:
    """It runs on and its end is seen."""
    slow = task(tmp_path, "sleep 0.5")
    await world.apply(slow)

    async def started() -> bool:
        return runs(tmp_path) == 1

    await quickly(started)
    os.kill(world.targets.host.supervisor.pid, signal.SIGKILL)
    await world.healthy(slow)
    assert runs(tmp_path) == 1


async def test_a_task_that_takes_too_long_is_killed(world: World, tmp_path: Path) -> None:
    """timeoutSeconds holds for its whole group."""
    slow = task(tmp_path, f"echo $$$$ >{tmp_path}/pid; sleep 1000", timeoutSeconds=0.3)
    await world.apply(slow)
    await world.until(slow, lambda _, health: health.status == "degraded" and "timeoutSeconds" in health.message)
    assert pids.start_time(int((tmp_path / "pid").read_text())) is None


async def test_a_removed_task_is_ended(world: World, tmp_path: Path) -> None:
    """What still runs of it is stopped, and nothing is left."""
    slow = task(tmp_path, f"echo $$$$ >{tmp_path}/pid; sleep 1000")
    await world.apply(slow)

    async def started() -> bool:
        return (tmp_path / "pid").exists() and (tmp_path / "pid").read_text() != ""

    await quickly(started)
    assert isinstance(await world.remove(slow.ref), Applied)
    assert pids.start_time(int((tmp_path / "pid").read_text())) is None
    assert await world.look(slow.ref) is None


async def test_a_task_knows_the_addresses_of_the_application(world: World, tmp_path: Path) -> None:
    """Also of processes that start after it."""
    web, before = server(), task(tmp_path, f"echo $(TRIMTAB_WEB_HTTP_ADDRESS) >{tmp_path}/address")
    await world.target.preview([web, before])
    await world.target.apply(Step(Action.CREATE, before.ref, "shop", "host", manifest=before), "r1")
    await world.healthy(before)
    seen = await world.run(web)
    assert (tmp_path / "address").read_text().strip() == seen.status["addresses"]["http"]


async def test_what_a_task_has_printed_can_be_read_after_its_end(world: World, tmp_path: Path) -> None:
    one = task(tmp_path, "echo three rows moved")
    await world.run(one)
    assert [line.text async for line in world.target.logs(one.ref, LogWish(10, follow=False))] == ["three rows moved"]
