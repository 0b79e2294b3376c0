"""Processes on this machine, with a real supervisord and a real front."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from trimtab.core.model.names import Key
from trimtab.core.model.plan import Action, Applied, Failed, Step
from trimtab.targets.host import pids

from .conftest import World, get, manifest, quickly, server, sleeper


def address(seen) -> str:
    return seen.status["addresses"]["http"]


def only(seen) -> dict:
    (instance,) = seen.status["instances"]
    return instance


def states(seen) -> list[str]:
    return [each["state"] for each in seen.status["instances"]]


@asynccontextmanager
async def load(where: str) -> AsyncIterator[list[str]]:
    """Requests one after the other, from several clients; yields what failed."""
    failed: list[str] = []
    ending = asyncio.Event()

    async def client() -> None:
        while not ending.is_set():
            try:
                await get(where)
            except (OSError, AssertionError) as error:
                failed.append(repr(error))
            await asyncio.sleep(0.001)

    clients = [asyncio.create_task(client()) for _ in range(3)]
    yield failed
    ending.set()
    await asyncio.gather(*clients)


async def test_a_process_goes_live_and_answers(world: World) -> None:
    """Applied, it gets ready, and its stable address answers."""
    seen = await world.run(server())
    assert (await get(address(seen))).startswith("1 ")
    bodies = (await world.target.preview([server()])).bodies
    assert seen.body == bodies[server().identity], "what is observed has the shape of what is previewed"
    assert seen.owner is not None
    assert seen.owner.application == "shop"


async def test_a_killed_process_is_back_at_once(world: World) -> None:
    """Its end is noticed through its pidfd; no second of waiting for supervisord's tick."""
    seen = await world.run(sleeper())
    took = []
    for _ in range(5):
        pid = only(seen)["pid"]
        begin = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        seen = await world.until(sleeper(), lambda seen, _, pid=pid: only(seen)["pid"] not in (0, pid))
        took.append(time.monotonic() - begin)
    assert min(took) < 0.5
    assert only(seen)["restarts"] == 5
    assert only(seen)["lastExit"] == "terminated by SIGKILL"


async def test_a_connection_waits_for_a_restart(world: World) -> None:
    """The front holds it until the process listens again."""
    seen = await world.run(server())
    os.kill(only(seen)["pid"], signal.SIGKILL)
    while await reachable(f"127.0.0.1:{only(seen)['ports']['http']}"):
        await asyncio.sleep(0)
    assert (await get(address(seen))).startswith("1 ")


async def test_a_rolling_release_drops_no_request(world: World) -> None:
    """New instances are ready before old ones stop; requests go on all the while."""
    seen = await world.run(server(replicas=2))
    async with load(address(seen)) as failed:
        for release in ("2", "3"):
            await world.run(server(replicas=2, release=release))
            await asyncio.sleep(0.1)
    assert failed == []
    assert (await get(address(seen))).startswith("3 ")
    seen = await world.until(server(), lambda seen, _: len(seen.status["instances"]) == 2)


async def test_a_bad_release_leaves_the_old_one_serving(world: World) -> None:
    """It never gets ready, is degraded after startupSeconds, and the fix goes live."""
    seen = await world.run(server())
    bad = server(release="2", environment={"NEVER": "1"}, startupSeconds=0.3)
    async with load(address(seen)) as failed:
        assert isinstance(await world.apply(bad), Applied)
        await world.until(bad, lambda _, health: health.status == "degraded")
        health = world.target.assess(await world.look(bad.ref), bad)
        assert "not ready after" in health.message
        assert "status 503" in health.message
        assert health.last_log_line == "serving release 2"
        assert (await get(address(seen))).startswith("1 ")
        await world.run(server(release="3"))
    assert failed == []
    assert (await get(address(seen))).startswith("3 ")


async def test_a_restart_of_the_server_changes_nothing(world: World) -> None:
    """The same process serves on, and is known and watched afterwards."""
    seen = await world.run(server())
    before = only(seen)["pid"]
    async with load(address(seen)) as failed:
        await world.restart()
        after = await world.healthy(server())
    assert failed == []
    assert only(after)["pid"] == before
    assert (after.uid, after.owner, after.digest, after.body) == (seen.uid, seen.owner, seen.digest, seen.body)
    os.kill(before, signal.SIGKILL)
    await world.until(server(), lambda seen, _: only(seen)["pid"] not in (0, before))


async def test_a_process_is_restarted_while_the_server_is_away(world: World) -> None:
    """supervisord does it alone, within its tick; the restart is counted when we are back."""
    seen = await world.run(server())
    await world.targets.close()
    os.kill(only(seen)["pid"], signal.SIGKILL)
    while await reachable(f"127.0.0.1:{only(seen)['ports']['http']}"):
        await asyncio.sleep(0)
    assert (await get(address(seen))).startswith("1 "), "the front holds the connection"
    await world.start()
    after = await world.healthy(server())
    assert only(after)["restarts"] == 1
    assert only(after)["lastExit"] == "terminated by SIGKILL"


async def test_a_killed_supervisord_is_replaced_without_a_dropped_request(world: World) -> None:
    """What it held serves on as orphans; supervised instances take over by ordinary rolling."""
    seen = await world.run(server(replicas=2))
    old = {each["pid"] for each in seen.status["instances"]}
    async with load(address(seen)) as failed:
        os.kill(world.targets.host.supervisor.pid, signal.SIGKILL)
        await world.until(
            server(),
            lambda seen, _: (
                len(seen.status["instances"]) == 2
                and all(each["supervised"] and each["pid"] not in old for each in seen.status["instances"])
            ),
        )
    assert failed == []
    assert all(pids.start_time(pid) is None for pid in old)


async def test_supervisord_killed_while_the_server_is_away(world: World) -> None:
    """The next server finds the orphans by pid, start time and mark, and replaces them the same way."""
    seen = await world.run(server())
    old = only(seen)["pid"]
    await world.targets.close()
    os.kill(world.targets.host.supervisor.pid, signal.SIGKILL)
    async with load(address(seen)) as failed:
        await world.start()
        await world.until(
            server(), lambda seen, _: len(seen.status["instances"]) == 1 and only(seen)["supervised"] and only(seen)["ready"]
        )
    assert failed == []
    assert pids.start_time(old) is None


async def test_everything_is_started_again_after_all_was_ended(world: World) -> None:
    """As after a reboot: nothing runs, the records stay, the next start brings it back under its address."""
    seen = await world.run(server())
    await world.targets.down()
    assert pids.start_time(only(seen)["pid"]) is None
    await world.start()
    assert address(await world.healthy(server())) == address(seen)
    assert (await get(address(seen))).startswith("1 ")


async def test_a_removed_process_is_gone(world: World) -> None:
    """Process, directory, program, port and record."""
    seen = await world.run(server())
    assert isinstance(await world.remove(server().ref), Applied)
    assert await world.look(server().ref) is None
    assert pids.start_time(only(seen)["pid"]) is None
    host = world.targets.host
    assert [path.name for path in (host.root / "instances").iterdir()] == ["front"]
    assert [path.name for path in (host.root / "conf.d").iterdir()] == ["front.conf"]
    assert not any((host.root / "trees").iterdir())
    assert host.fronts.table == {}
    assert not await reachable(address(seen))
    await world.restart()
    assert await world.look(server().ref) is None


async def reachable(where: str) -> bool:
    host, _, port = where.rpartition(":")
    try:
        # While a listener dies, the kernel may drop a first packet and stay silent for seconds.
        _, writer = await asyncio.wait_for(asyncio.open_connection(host, int(port)), 0.2)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def test_a_taken_port_is_told_and_nothing_is_touched(world: World, free_port: int) -> None:
    """Another program has it: Failed with the port; the release before serves on."""
    seen = await world.run(server())
    with socket.socket() as other:
        other.bind(("127.0.0.1", free_port))
        other.listen()
        outcome = await world.apply(server(release="2", ports=[{"name": "http", "listen": free_port}]))
        assert isinstance(outcome, Failed)
        assert f"127.0.0.1:{free_port} cannot be had" in outcome.message
        assert (await get(address(seen))).startswith("1 ")
    await world.run(server(release="2", ports=[{"name": "http", "listen": free_port}]))
    assert (await get(f"127.0.0.1:{free_port}")).startswith("2 ")
    assert not await reachable(address(seen)), "the port before is closed"


async def test_two_processes_cannot_have_one_port(world: World, free_port: int) -> None:
    """The second one fails, with the name of the first."""
    await world.run(server("a", ports=[{"name": "http", "listen": free_port}]))
    outcome = await world.apply(server("b", ports=[{"name": "http", "listen": free_port}]))
    assert isinstance(outcome, Failed)
    assert "that of Process/a" in outcome.message


async def test_a_fixed_port_is_bound_by_the_process_itself(world: World, free_port: int) -> None:
    """No front; the old instance stops before the new one starts."""
    spec = {"ports": [{"name": "http", "fixed": free_port}], "strategy": "recreate"}
    await world.run(server(**spec))
    assert (await get(f"127.0.0.1:{free_port}")).startswith("1 ")
    await world.run(server(release="2", **spec))
    assert (await get(f"127.0.0.1:{free_port}")).startswith("2 ")
    assert world.targets.host.fronts.table == {}


async def test_a_changed_number_of_replicas_restarts_nothing(world: World) -> None:
    """Scaling adds and takes away; what runs, runs on."""
    first = only(await world.run(server()))["pid"]
    seen = await world.run(server(replicas=3))
    assert first in {each["pid"] for each in seen.status["instances"]}
    assert len(seen.status["instances"]) == 3
    await world.apply(server(replicas=1))
    await world.until(server(), lambda seen, _: len(seen.status["instances"]) == 1)
    await world.apply(server(replicas=0))
    await world.until(server(), lambda seen, health: not seen.status["instances"] and health.status == "healthy")


async def test_processes_of_an_application_find_each_other(world: World, tmp_path: Path) -> None:
    """Each is told the stable addresses of all, whichever is applied first."""
    out = tmp_path / "seen"
    web = manifest(
        "Process",
        "web",
        {"command": ["sh", "-c", f"echo $TRIMTAB_API_HTTP_ADDRESS $(TRIMTAB_API_HTTP_ADDRESS) >{out}; exec sleep 1000"]},
    )
    api = server("api")
    await world.target.preview([web, api])
    step = Step(Action.CREATE, web.ref, "shop", "host", manifest=web)
    assert isinstance(await world.target.apply(step, "r1"), Applied)
    await world.healthy(web)
    where = address(await world.run(api))
    assert out.read_text() == f"{where} {where}\n"


async def test_a_command_that_does_not_exist_is_told(world: World) -> None:
    """Exit status 127 in words, with the line from the log, and waiting before the next try."""
    process = manifest("Process", "nope", {"command": ["no-such-command"]})
    await world.apply(process)
    await world.until(process, lambda _, health: health.status == "degraded")
    health = world.target.assess(await world.look(process.ref), process)
    assert "exit status 127: the command was not found, started again in" in health.message
    assert "no-such-command" in health.last_log_line


async def test_a_policy_of_never_leaves_it_ended(world: World) -> None:
    """A process that ends well stays ended and is healthy; one that failed is degraded."""
    good = manifest("Process", "good", {"command": ["true"], "restart": {"policy": "onFailure"}})
    bad = manifest("Process", "bad", {"command": ["false"], "restart": {"policy": "never"}})
    await world.apply(good)
    await world.apply(bad)
    await world.until(good, lambda seen, health: states(seen) == ["ended"] and health.status == "healthy")
    await world.until(bad, lambda seen, health: states(seen) == ["ended"] and health.message == "it has ended: exit status 1")


async def test_liveness_restarts_what_is_stuck(world: World, tmp_path: Path) -> None:
    """After failureThreshold failures it is ended and started again."""
    (tmp_path / "well").touch()
    process = sleeper("stuck")
    process.body["spec"]["liveness"] = {
        "command": ["test", "-e", str(tmp_path / "well")],
        "periodSeconds": 0.1,
        "failureThreshold": 2,
    }
    first = only(await world.run(process))["pid"]
    (tmp_path / "well").unlink()
    seen = await world.until(process, lambda seen, _: only(seen)["pid"] not in (0, first))
    assert only(seen)["lastExit"].startswith("liveness: ")


async def test_readiness_by_log_line_and_tcp(world: World) -> None:
    """A line that matches, or a port that accepts, makes an instance ready."""
    line = {
        "command": ["sh", "-c", "echo starting; sleep 0.2; echo 'ready in 3 ms'; exec sleep 1000"],
        "readiness": {"logLine": "^ready in [0-9]+"},
    }
    await world.run(manifest("Process", "line", line))
    await world.run(server("tcp", readiness={"tcp": {}}))


async def test_whoever_watches_is_told(world: World) -> None:
    """A Key of the application when an instance ends; never what happened."""
    seen = await world.run(sleeper())
    watch = world.target.watch()
    key = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0.01)
    os.kill(only(seen)["pid"], signal.SIGKILL)
    assert await asyncio.wait_for(key, 2) == Key("host", "shop")
    await watch.aclose()


async def test_ownership_is_told_without_a_store(world: World) -> None:
    """Everything that this installation owns in the Environment, from the records alone."""
    from trimtab.core.model.observed import Scope

    await world.run(sleeper())
    await world.run(manifest("File", "note", {"path": "note", "content": "x"}))
    await world.restart()
    found = await world.target.observe(Scope("host", None))
    assert {str(each.ref): each.owner.application for each in found.values() if each.owner} == {
        "Process/worker": "shop",
        "File/note": "shop",
    }


async def test_a_handover_restarts_nothing(world: World) -> None:
    """Another application becomes the owner; the process is the same."""
    first = only(await world.run(sleeper()))["pid"]
    seen = await world.run(sleeper(), application="other", action=Action.HANDOVER)
    assert seen.owner is not None
    assert seen.owner.application == "other"
    assert only(seen)["pid"] == first


async def test_a_removal_of_another_uid_is_refused(world: World) -> None:
    """What came later under the same name is not what was meant."""
    await world.run(sleeper())
    outcome = await world.target.remove(Step(Action.REMOVE, sleeper().ref, "shop", "host", uid="another"))
    assert isinstance(outcome, Failed)
    assert await world.look(sleeper().ref) is not None


async def test_a_full_disk_is_told_and_nothing_is_touched(world: World) -> None:
    """The record cannot be written: Failed, to be tried again; what runs, runs on."""
    await world.run(server())

    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    records = world.targets.host.records
    write, records._write = records._write, full
    outcome = await world.apply(server(release="2"))
    records._write = write
    assert isinstance(outcome, Failed)
    assert outcome.transient
    assert "No space left on device" in outcome.message
    assert (await get(address(await world.healthy(server())))).startswith("1 ")


async def test_nothing_of_ours_is_inherited(world: World) -> None:
    """A managed process has its own three descriptors, and none of the server's environment but the usual."""
    os.environ["TOP_SECRET"] = "x"
    try:
        pid = only(await world.run(sleeper()))["pid"]
    finally:
        del os.environ["TOP_SECRET"]
    assert sorted(path.name for path in Path(f"/proc/{pid}/fd").iterdir()) == ["0", "1", "2"]
    environment = Path(f"/proc/{pid}/environ").read_bytes()
    assert b"TOP_SECRET" not in environment
    assert b"SUPERVISOR" not in environment
    assert os.getsid(pid) != os.getsid(0)


async def test_children_of_a_killed_supervisord_can_still_write(world: World) -> None:
    """Their output goes to a file, not through a pipe that breaks."""
    talker = manifest("Process", "talker", {"command": ["sh", "-c", "while :; do echo tick; sleep 0.02; done"]})
    first = only(await world.run(talker))
    await world.targets.close()
    os.kill(world.targets.host.supervisor.pid, signal.SIGKILL)
    log = world.targets.host.root / "instances" / first["id"] / "log"
    size = log.stat().st_size

    async def grows() -> bool:
        return log.stat().st_size > size + 10

    await quickly(grows)
    assert pids.start_time(first["pid"]) is not None
    await world.start()
    await world.until(talker, lambda seen, _: len(seen.status["instances"]) == 1 and only(seen)["supervised"])


async def test_what_a_process_leaves_behind_is_ended(world: World, tmp_path: Path) -> None:
    """A child that outlives its parent gets the grace, then the last signal; it cannot keep the port of what comes next."""
    text = f"trap '' TERM; (trap '' TERM; echo $$$$; exec sleep 1000) & echo $! >{tmp_path}/child; trap - TERM; wait"
    process = manifest("Process", "parent", {"command": ["sh", "-c", text], "stop": {"graceSeconds": 1}})
    seen = await world.run(process)
    child = int((tmp_path / "child").read_text())
    assert pids.start_time(child) is not None
    os.kill(only(seen)["pid"], signal.SIGKILL)
    await world.until(process, lambda after, _: only(after)["pid"] not in (0, only(seen)["pid"]))
    assert pids.start_time(child) is None
    await world.healthy(process)
    child = int((tmp_path / "child").read_text())
    assert isinstance(await world.remove(process.ref), Applied)
    assert pids.start_time(child) is None
