"""What becomes of a commit: each phase for real, the notes, and the ways in which the server learns that there is something to do."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

from trimtab.testing.served import Repository, Served, lives, until

from .conftest import World, application, environment, process, several, task, text_file


def phase(served: Served, commit: str, name: str = "shop", where: str = "host") -> str:
    """ "" while it is not known."""
    return str(served.deployments(commit).get((name, where), {}).get("phase", ""))


def test_a_commit_is_applied_healthy_superseded_and_reverted_and_each_end_is_a_note_on_it(world: World) -> None:
    first = world.repository.commit({"shop/web.yaml": process("web", "sleep", "1001")})
    served = world.serve()
    served.healthy(first)
    second = world.repository.commit({"shop/web.yaml": process("web", "sleep", "1002")})
    served.healthy(second)
    assert phase(served, first) == "superseded"
    assert served.deployments(first)["shop", "host"]["supersededBy"] == second
    third = world.repository.commit({"shop/web.yaml": process("web", "sleep", "1001")})
    served.healthy(third)
    assert phase(served, second) == "reverted"
    notes = until(lambda: (found := world.repository.notes(second)) and found[-1]["phase"] == "reverted" and found)
    assert [note["phase"] for note in notes] == ["healthy", "reverted"]
    assert {(note["application"], note["environment"]) for note in notes} == {("shop", "host")}
    assert notes[-1]["supersededBy"] == third
    assert [note["phase"] for note in until(lambda: world.repository.notes(third))] == ["healthy"]
    history = served.json("app", "history", "shop")["deployments"]
    assert [(row["revision"], row["phase"]) for row in history] == [
        (third, "healthy"),
        (second, "reverted"),
        (first, "superseded"),
    ]


def test_a_release_is_applying_until_it_is_ready(world: World) -> None:
    gate = world.root / "gate"
    script = f"while ! [ -e {gate} ]; do sleep 0.02; done; echo ready; exec sleep 1000"
    commit = world.repository.commit({"shop/web.yaml": process("web", "sh", "-c", script, readiness={"logLine": "^ready$"})})
    served = world.serve()
    until(lambda: served.pids("shop", "web"))
    assert phase(served, commit) == "applying"
    waiting = served.cli("status", commit, "--wait", "healthy", "--timeout", "1s")
    assert (waiting.code, "not healthy after" in waiting.err) == (1, True)
    gate.touch()
    assert served.cli("status", commit, "--wait", "healthy", "--timeout", "10s").code == 0
    assert phase(served, commit) == "healthy"


def test_a_release_that_never_gets_ready_fails_with_its_last_log_line_and_the_old_one_goes_on(world: World) -> None:
    good = world.repository.commit({"shop/web.yaml": process("web")})
    served = world.serve()
    served.healthy(good)
    (pid,) = served.pids("shop", "web")
    bad = world.repository.commit({"shop/web.yaml": process("web", "sh", "-c", "echo no database >&2; exit 3")})
    done = served.cli("status", bad, "--wait", "healthy", "--timeout", "15s", "--output", "json")
    assert done.code == 1
    (failed,) = done.json["deployments"]
    assert (failed["phase"], failed["lastLogLine"], failed["object"]["name"]) == ("failed", "no database", "web")
    assert "exit status 3" in failed["message"]
    assert lives(pid)
    assert served.cli("app", "show", "shop").code == 0
    text = served.cli("status", bad).out
    assert "no database" in text
    fixed = world.repository.commit({"shop/web.yaml": process("web")})
    served.healthy(fixed)
    assert served.pids("shop", "web") == [pid]
    assert until(lambda: [note["phase"] for note in world.repository.notes(bad)] == ["failed", "reverted"])


def test_a_dependant_is_pending_until_what_it_needs_is_healthy_and_then_starts_at_once(world: World) -> None:
    gate = world.root / "gate"
    script = f"while ! [ -e {gate} ]; do sleep 0.02; done; echo ready; exec sleep 1000"
    commit = world.repository.commit({
        ".trimtab/all.yaml": several(application("database"), application("shop", dependsOn=["database"])),
        "apps/database/all.yaml": process("database", "sh", "-c", script, readiness={"logLine": "^ready$"}),
        "apps/shop/all.yaml": process("web"),
    })  # fmt: skip
    served = world.serve()
    until(lambda: served.pids("database", "database"))
    waiting = served.deployments(commit)["shop", "host"]
    assert waiting["phase"] == "pending"
    assert "waits for application database" in waiting["message"]
    explained = served.json("app", "explain", "shop")[0]["reasons"]
    assert any(reason["state"] == "pending" and "database" in reason["reason"] for reason in explained)
    gate.touch()
    served.healthy(commit)
    times = {(event["application"], event["kind"]): event["time"] for event in served.events()}
    assert times["database", "deployment.healthy"] <= times["shop", "deployment.started"]


def test_production_comes_after_staging_and_only_when_staging_is_healthy(world: World) -> None:
    places = ["staging", {"name": "production", "after": ["staging"]}]
    configuration = several(environment("staging"), environment("production"), application("shop", environments=places))
    good = world.repository.commit({".trimtab/all.yaml": configuration, "apps/shop/web.yaml": process("web")})
    served = world.serve()
    served.healthy(good)
    times = {(event["environment"], event["kind"]): event["time"] for event in served.events()}
    assert times["staging", "deployment.healthy"] <= times["production", "deployment.started"]
    (production,) = served.pids("shop", "web", "production")
    bad = world.repository.commit({"apps/shop/web.yaml": process("web", "sh", "-c", "exit 1")})
    until(lambda: phase(served, bad, where="staging") == "failed")
    assert phase(served, bad, where="production") == "pending"
    assert served.cli("status", bad).code == 1
    assert served.pids("shop", "web", "production") == [production]
    row = next(row for row in served.json("app", "list")["applications"] if row["environment"] == "production")
    assert (row["revision"], row["health"]) == (good, "healthy")


def test_waves_go_in_order_and_a_task_runs_once_for_each_change_of_it(world: World) -> None:
    log = world.root / "order"
    files = {
        "shop/before.yaml": task("migrate", f"echo before >>{log}"),
        "shop/web.yaml": process("web", "sh", "-c", f"echo web >>{log}; exec sleep 1000"),
        "shop/after.yaml": task("smoke", f"echo after >>{log}", when="after"),
    }
    served = world.server()
    commit = world.repository.commit(files)
    served.start().healthy(commit)
    assert log.read_text().split() == ["before", "web", "after"]
    served.healthy(world.repository.commit({"shop/web.yaml": process("web", "sh", "-c", f"echo web2 >>{log}; exec sleep 1000")}))
    assert log.read_text().split() == ["before", "web", "after", "web2"]
    served.healthy(world.repository.commit({"shop/before.yaml": task("migrate", f"echo again >>{log}")}))
    assert log.read_text().split() == ["before", "web", "after", "web2", "again"]
    served.stop()
    served.start()
    served.healthy(world.repository.git("rev-parse", "HEAD"))
    assert log.read_text().split() == ["before", "web", "after", "web2", "again"]


def test_drift_is_healed_a_killed_process_and_an_edited_or_deleted_file(world: World) -> None:
    commit = world.repository.commit({"shop/all.yaml": several(process("web"), text_file("motd", "hello\n"))})
    served = world.serve()
    served.healthy(commit)
    (pid,) = served.pids("shop", "web")
    os.kill(pid, signal.SIGKILL)
    until(lambda: (pids := served.pids("shop", "web")) and pids != [pid])
    path = next(world.data.glob("host/files/*/motd.txt"))
    path.write_text("edited")
    until(lambda: path.read_text() == "hello\n", 5)
    path.unlink()
    until(lambda: path.exists() and path.read_text() == "hello\n", 5)
    until(lambda: sum(event["kind"] == "drift.healed" for event in served.events()) >= 2)
    assert phase(served, commit) == "healthy"


def test_a_commit_is_seen_without_polling_by_the_file_system_by_a_signal_and_by_a_request(world: World) -> None:
    first = world.repository.commit({"shop/motd.yaml": text_file("motd", "1")})
    served = world.serve("--poll-seconds", "3600")
    served.healthy(first)
    began = time.monotonic()
    second = world.repository.commit({"shop/motd.yaml": text_file("motd", "2")})
    until(lambda: any(event["revision"] == second for event in served.events(kind="repository.fetched")), 1)
    assert time.monotonic() - began < 1.5
    served.healthy(second)
    looks = len(served.events())
    os.kill(served.pid, signal.SIGUSR1)
    os.kill(served.pid, signal.SIGHUP)
    assert served.post("/wake") == (202, {"message": "fetching"})
    assert served.cli("repository", "wake").code == 0
    time.sleep(0.3)
    assert len(served.events()) == looks, "a wake says: look; there was nothing to see"


def test_a_remote_without_a_watch_is_looked_at_when_a_signal_or_a_request_says_so(world: World) -> None:
    first = world.repository.commit({"shop/motd.yaml": text_file("motd", "1")})
    with over_http(world.repository) as url:
        served = world.serve("--poll-seconds", "3600", repository=url)
        served.healthy(first)
        for number, wake in enumerate((lambda: os.kill(served.pid, signal.SIGUSR1), lambda: served.post("/wake"))):
            commit = world.repository.commit({"shop/motd.yaml": text_file("motd", f"more {number}")})
            world.repository.git("update-server-info")
            time.sleep(0.3)
            assert not served.events(revision=commit)
            wake()
            until(lambda commit=commit: served.events(revision=commit))
            served.healthy(commit)


@contextmanager
def over_http(repository: Repository) -> Iterator[str]:
    """The address of the repository over plain HTTP on this machine."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            return

    repository.git("update-server-info")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(repository.path))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/.git"
        finally:
            server.shutdown()
            thread.join()


def test_a_process_that_is_not_to_be_started_again_stays_ended_when_the_server_comes_back(world: World) -> None:
    log = world.root / "ran"
    once = process("once", "sh", "-c", f"echo ran >>{log}", restart={"policy": "onFailure"})
    served = world.server()
    commit = world.repository.commit({"shop/all.yaml": several(once, process("web"))})
    served.start().healthy(commit)
    (pid,) = served.pids("shop", "web")
    until(lambda: log.exists() and log.read_text() == "ran\n")
    for end in (served.stop, served.kill):
        end()
        served.start()
        served.healthy(commit)
    assert served.pids("shop", "web") == [pid]
    assert log.read_text() == "ran\n"
