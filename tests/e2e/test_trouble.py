"""Trouble around the server: a remote that is rewritten, gone or damaged, a full disk, a directory that cannot be written, a port that
is taken, a second server, a supervisord that is killed. It is told; what runs goes on; when the trouble is over all is well again.
"""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import signal
import socket
import subprocess
import time
from contextlib import closing
from pathlib import Path

from trimtab.testing.served import Served, lives, until

from .conftest import World, application, environment, process, several, text_file


def serving(world: World, **files: str) -> tuple[Served, int, str]:
    """A server with one healthy process, its pid, and the commit."""
    served = world.server()
    commit = world.repository.commit({"shop/web.yaml": process("web"), **files})
    served.start().healthy(commit)
    return served, served.pids("shop", "web")[0], commit


# --- remotes ----------------------------------------------------------------------------------------------------------------


def test_an_empty_repository_is_told_and_its_first_commit_is_taken_at_once(world: World) -> None:
    served = world.serve("--poll-seconds", "3600")
    (row,) = until(lambda: [row for row in served.json("repository", "list")["repositories"] if row["message"]])
    assert "no commit yet" in row["message"]
    assert served.cli("doctor").code == 1
    commit = world.repository.commit({"shop/web.yaml": process("web")})
    assert served.cli("status", commit, "--wait", "healthy", "--timeout", "10s").code == 0
    assert served.cli("doctor").code == 0


def test_a_rewritten_history_waits_until_somebody_accepts_it(world: World) -> None:
    served, pid, first = serving(world)
    second = world.repository.commit({"shop/motd.yaml": text_file("motd", "2")})
    served.healthy(second)
    world.repository.git("reset", "--quiet", "--hard", first)
    forced = world.repository.commit({"shop/web.yaml": process("web", "sleep", "7")})
    command = f"trimtab repository accept {world.repository.path} {forced}"
    until(lambda: any(command in event["message"] for event in served.events(kind="repository.rewritten")))
    status = served.cli("status", "--output", "json")
    assert (status.code, status.json["revision"]) == (1, second)
    assert "the history was rewritten" in status.json["errors"][0]["message"]
    assert served.pids("shop", "web") == [pid]
    assert served.cli("repository", "list").code == 1
    wrong = served.cli("repository", "accept", str(world.repository.path), "f" * 40)
    assert wrong.code == 1
    assert served.cli("repository", "accept", str(world.repository.path), forced).code == 0
    served.healthy(forced)
    assert served.pids("shop", "web") != [pid]


def test_a_branch_that_is_deleted_and_a_remote_that_vanishes_or_is_damaged_change_nothing_that_runs(world: World) -> None:
    world.repository.commit({"apps/shop/web.yaml": process("web")})
    world.repository.git("branch", "stable")
    served = world.server("--poll-seconds", "0.3")
    first = world.repository.commit({
        ".trimtab/all.yaml": several(application("shop", source={"path": "apps/shop", "revision": "stable"}), application("tools")),
        "apps/tools/motd.yaml": text_file("motd", "1"),
    })  # fmt: skip
    served.start().healthy(first)
    pids = until(lambda: served.pids("shop", "web"))

    world.repository.git("branch", "--delete", "--force", "stable")
    failed = until(lambda: served.events(kind="repository.failed"))
    assert "stable" in failed[-1]["message"]
    assert served.cli("doctor").code == 1
    second = world.repository.commit({"apps/tools/motd.yaml": text_file("motd", "2")})
    until(lambda: served.deployments(second)["tools", "host"]["phase"] == "healthy", what="another head goes on")
    world.repository.git("branch", "stable")
    until(lambda: served.events(kind="repository.recovered"))

    away = world.root / "away"
    world.repository.path.rename(away)
    until(lambda: len(served.events(kind="repository.failed")) == 2)
    assert served.cli("status", second).code == 1
    away.rename(world.repository.path)
    until(lambda: len(served.events(kind="repository.recovered")) == 2)

    third = world.repository.commit({"apps/tools/motd.yaml": text_file("motd", "3")})
    served.settled(third)
    head = world.repository.git("commit-tree", "HEAD^{tree}", "-p", "HEAD", "-m", "to be damaged")
    damaged = world.repository.path / ".git" / "objects" / head[:2] / head[2:]
    good = damaged.read_bytes()
    damaged.chmod(0o644)
    damaged.write_bytes(b"rubbish")
    (world.repository.path / ".git" / "refs" / "heads" / "main").write_text(head + "\n")
    until(lambda: len(served.events(kind="repository.failed")) == 3)
    assert served.pids("shop", "web") == pids
    assert served.get("/status")["revision"] == third
    damaged.write_bytes(good)
    until(lambda: served.get("/status")["revision"] == head)
    assert served.pids("shop", "web") == pids


# --- this machine -----------------------------------------------------------------------------------------------------------


def test_a_second_server_on_the_same_data_is_refused_and_the_first_does_not_notice(world: World) -> None:
    served, pid, _ = serving(world)
    second = world.server().launch()
    assert second.ended() == 1
    assert f"another server, process {served.pid}, uses it" in second.logged()
    assert "--data" in second.logged()
    assert served.alive
    assert served.pids("shop", "web") == [pid]
    assert served.cli("doctor").code == 0


def test_an_address_that_is_taken_is_an_error_and_what_runs_does_not_notice(world: World) -> None:
    served, pid, _ = serving(world)
    served.stop()
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        again = world.server("--listen", f"127.0.0.1:{taken.getsockname()[1]}").launch()
        assert again.ended() == 1
    last = again.logged().splitlines()[-3:]
    assert any("--listen" in line for line in last), last
    assert not any("Traceback" in line for line in again.logged().splitlines())
    assert lives(pid)


def test_a_port_of_a_process_that_is_taken_is_told_and_had_once_it_is_free(world: World) -> None:
    served, pid, _ = serving(world)
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        commit = world.repository.commit({"shop/api.yaml": process("api", ports=[{"name": "http", "listen": port}])})
        until(lambda: f"127.0.0.1:{port}" in served.deployments(commit)["shop", "host"]["message"])
        deployment = served.deployments(commit)["shop", "host"]
        assert deployment["phase"] in ("applying", "failed")
        assert "cannot be had" in deployment["message"]
        assert served.pids("shop", "web") == [pid]
    served.healthy(commit)
    assert served.pids("shop", "web") == [pid]


def test_a_directory_that_cannot_be_written_fails_the_file_alone_and_is_tried_again(world: World) -> None:
    place = world.root / "etc"
    place.mkdir()
    rules = environment("host", target={"allowedRoots": [str(place)]})
    served = world.server(prepare=without_power_over_files)
    first = world.repository.commit(
        {".trimtab/all.yaml": several(rules, application("shop")), "apps/shop/web.yaml": process("web")}
    )
    served.start().healthy(first)
    pids = served.pids("shop", "web")
    place.chmod(0o555)
    try:
        second = world.repository.commit({"apps/shop/motd.yaml": text_file("motd", "hello\n", str(place / "motd"))})
        failed = until(lambda: (one := served.deployments(second)["shop", "host"])["phase"] == "failed" and one)
        assert str(place) in failed["message"]
        assert "ermission" in failed["message"]
        assert served.pids("shop", "web") == pids
    finally:
        place.chmod(0o755)
    served.cli("app", "sync", "shop")
    until(lambda: (place / "motd").exists())
    served.healthy(second)


def test_a_data_directory_that_cannot_be_written_is_refused_with_a_remedy(world: World) -> None:
    world.repository.commit({"shop/web.yaml": process("web")})
    locked = world.root / "locked"
    locked.mkdir(mode=0o555)
    served = world.server(data=locked / "data", prepare=without_power_over_files).launch()
    assert served.ended() == 1
    assert "--data" in served.logged()
    assert "Traceback" not in served.logged()
    locked.chmod(0o755)


def test_a_full_disk_stops_nothing_that_runs_and_all_goes_on_when_there_is_room(world: World) -> None:
    """No file of the server may grow: for it that is a full disk, and needs neither a mount nor a privilege."""
    served, pid, first = serving(world)
    soft, hard = resource.prlimit(served.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(served.pid, resource.RLIMIT_FSIZE, (0, hard))
    second = world.repository.commit({"shop/motd.yaml": text_file("motd", "2")})
    time.sleep(2)
    assert served.alive
    assert served.pids("shop", "web") == [pid]
    assert served.deployments(first)["shop", "host"]["phase"] == "healthy"
    findings = served.get("/doctor")["findings"]
    assert any(finding["state"] == "failed" and finding["remedy"] for finding in findings), findings
    resource.prlimit(served.pid, resource.RLIMIT_FSIZE, (soft, hard))
    served.healthy(second, 30)
    assert served.pids("shop", "web") == [pid]
    assert served.stop() < 5


def test_a_killed_supervisord_is_started_again_and_what_it_held_is_never_doubled_or_lost(world: World) -> None:
    served, _, commit = serving(world)
    supervisord = int((world.data / "host" / "supervisord.pid").read_text())
    os.kill(supervisord, signal.SIGKILL)
    until(lambda: (world.data / "host" / "supervisord.pid").read_text().strip() not in ("", str(supervisord)))

    def one_runs() -> bool:
        running = [pid for pid, command in served.processes().items() if command == "sleep 100000"]
        return len(running) == 1 and served.pids("shop", "web") == running

    until(one_runs)
    until(lambda: served.deployments(commit)["shop", "host"]["health"] == "healthy")
    assert served.deployments(commit)["shop", "host"]["phase"] == "healthy"
    assert served.cli("doctor").code == 0


def test_a_damaged_cache_and_lost_mirrors_are_made_again(world: World) -> None:
    served, pid, first = serving(world)
    served.stop()
    for path in (world.data / "cache").rglob("*"):
        if path.is_file():
            path.write_bytes(b"rubbish")
    shutil.rmtree(world.data / "git")
    served.start()
    served.healthy(first)
    assert served.pids("shop", "web") == [pid]
    second = world.repository.commit({"shop/motd.yaml": text_file("motd", "2")})
    served.healthy(second)


def without_power_over_files() -> None:
    """Permissions hold for root too, from the next program on (capabilities(7)); for others they do anyway."""
    drop, dac_override, dac_read_search = 24, 1, 2
    libc = ctypes.CDLL(None)
    for capability in (dac_override, dac_read_search):
        libc.prctl(drop, capability, 0, 0, 0)


def test_the_helper_above_takes_the_power_away(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    done = subprocess.run(
        ["touch", str(tmp_path / "file")], preexec_fn=without_power_over_files, capture_output=True, check=False
    )
    tmp_path.chmod(0o755)
    assert done.returncode == 1
