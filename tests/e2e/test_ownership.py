"""What is ours, and how little of it one commit may take away: removal budget and approval, hand-over, adoption, ignore rules,
suspension, other repositories and revisions, and a record that was lost.
"""

from __future__ import annotations

import os
import shutil
import signal

from trimtab.testing.served import Repository, lives, until

from .conftest import World, application, environment, process, several, task, text_file

PARTS = ("a", "b", "c", "d", "e")


def parts(*names: str) -> dict[str, str | bytes | None]:
    return {f"apps/shop/{name}.yaml": text_file(name, f"this is {name}\n") for name in names}


def held(world: World, commit: str) -> dict[str, object]:
    served = world.servers[-1]
    return until(lambda: (one := served.deployments(commit)["shop", "host"])["phase"] == "held" and one)


def test_a_commit_that_removes_too_much_is_held_until_that_very_plan_is_approved(world: World) -> None:
    files = {".trimtab/shop.yaml": application("shop"), **parts(*PARTS), "apps/shop/web.yaml": process("web")}
    served = world.server()
    first = world.repository.commit(files)
    served.start().healthy(first)
    (pid,) = served.pids("shop", "web")
    root = next(world.data.glob("host/files/*"))
    assert sorted(path.name for path in root.glob("*.txt")) == [f"{name}.txt" for name in PARTS]
    four_gone = world.repository.commit(dict.fromkeys(parts("a", "b", "c", "d")))
    message = str(held(world, four_gone)["message"])
    assert "4 of 6 objects of the application would be removed" in message
    assert served.cli("status", four_gone, "--wait", "healthy", "--timeout", "10s").code == 3
    plan = served.cli("app", "plan", "shop", "--output", "json")
    assert plan.code == 3
    assert sorted(hold["object"]["name"] for hold in plan.json["holds"]) == ["a", "b", "c", "d"]
    assert all("trimtab app approve shop sha256:" in hold["liftedBy"] for hold in plan.json["holds"])
    stale = plan.json["holds"][0]["hash"]
    assert sorted(path.name for path in root.glob("*.txt")) == [f"{name}.txt" for name in PARTS], "nothing has gone"

    five_gone = world.repository.commit({"apps/shop/e.yaml": None})
    until(lambda: len(served.json("app", "plan", "shop")["holds"]) == 5)
    held(world, five_gone)
    refused = served.cli("app", "approve", "shop", stale)
    assert refused.code == 1
    assert "trimtab app plan shop" in refused.err
    fresh = served.json("app", "plan", "shop")["holds"][0]["hash"]
    assert served.cli("app", "approve", "shop", fresh).code == 0
    served.healthy(five_gone)
    assert list(root.glob("*.txt")) == []
    assert served.pids("shop", "web") == [pid]
    (approval,) = served.events(kind="plan.approved")
    assert fresh in approval["message"]


def test_a_commit_that_empties_an_application_is_held_and_a_fix_takes_the_hold_away(world: World) -> None:
    served = world.server()
    good = world.repository.commit({".trimtab/shop.yaml": application("shop"), "apps/shop/web.yaml": process("web")})
    served.start().healthy(good)
    (pid,) = served.pids("shop", "web")
    empty = world.repository.remove("apps/shop")
    assert "nothing would be left" in str(held(world, empty)["message"])
    fixed = world.repository.commit({"apps/shop/web.yaml": process("web")})
    served.healthy(fixed)
    assert served.pids("shop", "web") == [pid]


def test_less_than_the_budget_goes_at_once_and_the_budget_is_the_environments(world: World) -> None:
    rules = environment("host", removal={"percent": 100, "objects": 100, "emptyRender": "allow"})
    served = world.server()
    files = {".trimtab/all.yaml": several(rules, application("shop")), **parts(*PARTS)}
    served_first = world.repository.commit(files)
    served.start().healthy(served_first)
    root = next(world.data.glob("host/files/*"))
    served.healthy(world.repository.commit(dict.fromkeys(parts("a", "b", "c", "d"))))
    assert [path.name for path in root.glob("*.txt")] == ["e.txt"]
    gone = world.repository.commit({".trimtab/all.yaml": rules, "apps/shop/e.yaml": None})
    until(lambda: served.events(kind="application.removed"))
    assert list(root.glob("*.txt")) == []
    assert served.settled(gone)["errors"] == []


def test_an_object_moves_to_another_application_and_an_application_is_renamed_without_a_restart(world: World) -> None:
    served = world.server()
    first = world.repository.commit({
        ".trimtab/all.yaml": several(application("shop"), application("tools")),
        "apps/shop/web.yaml": process("web"), "apps/shop/motd.yaml": text_file("motd", "hello\n"),
        "apps/tools/clock.yaml": process("clock"),
    })  # fmt: skip
    served.start().healthy(first)
    (pid,) = served.pids("shop", "web")
    world.repository.git("mv", "apps/shop/web.yaml", "apps/tools/web.yaml")
    moved = world.repository.commit(message="move web")
    served.healthy(moved)
    until(lambda: served.pids("tools", "web") == [pid])
    assert lives(pid)
    assert any("handover Process/web" in event["message"] for event in served.events(kind="step.applied"))

    renamed = world.repository.commit({".trimtab/all.yaml": several(application("shop"), application("toolbox", "apps/tools"))})
    served.healthy(renamed)
    assert served.cli("status", renamed, "--wait", "healthy", "--timeout", "5s").code == 0
    until(lambda: served.pids("toolbox", "web") == [pid])
    until(lambda: [row["name"] for row in served.json("app", "list")["applications"]] == ["shop", "toolbox"])
    assert lives(pid)
    assert not [event for event in served.events() if "remove Process" in event["message"]]


def test_a_file_that_is_there_already_is_held_until_git_declares_its_adoption(world: World) -> None:
    place = world.root / "etc"
    place.mkdir()
    (place / "motd").write_text("from before\n")
    rules = environment("host", target={"allowedRoots": [str(place)]})
    served = world.server()
    first = world.repository.commit({
        ".trimtab/all.yaml": several(rules, application("shop")),
        "apps/shop/motd.yaml": text_file("motd", "from Git\n", str(place / "motd")),
    })  # fmt: skip
    served.start()
    reason = held(world, first)
    assert "belongs to nobody" in str(reason["message"])
    assert (place / "motd").read_text() == "from before\n"
    annotations = {"trimtab.dev/adopt": "true"}
    declared = text_file("motd", "from Git\n", str(place / "motd"), annotations=annotations)
    served.healthy(world.repository.commit({"apps/shop/motd.yaml": declared}))
    assert (place / "motd").read_text() == "from Git\n"


def test_a_field_that_is_ignored_is_neither_drift_nor_overwritten(world: World) -> None:
    rule = {"kind": "Process", "name": "web", "pointers": ["/spec/replicas"]}
    served = world.server()
    first = world.repository.commit({
        ".trimtab/shop.yaml": application("shop", ignore=[rule]), "apps/shop/web.yaml": process("web", replicas=2),
    })  # fmt: skip
    served.start().healthy(first)
    pids = served.pids("shop", "web")
    assert len(pids) == 2
    second = world.repository.commit({"apps/shop/web.yaml": process("web", replicas=1)})
    served.healthy(second)
    assert served.pids("shop", "web") == pids
    assert served.cli("app", "plan", "shop").code == 0


def test_a_suspended_application_is_left_alone_until_it_is_resumed_or_the_end_comes(world: World) -> None:
    served = world.server()
    first = world.repository.commit({".trimtab/shop.yaml": application("shop"), "apps/shop/motd.yaml": text_file("motd", "1\n")})
    served.start().healthy(first)
    path = next(world.data.glob("host/files/*/motd.txt"))
    assert served.cli("app", "suspend", "shop", "--reason", "disk is being replaced").code == 2
    assert served.cli("app", "suspend", "shop", "--reason", "disk is being replaced", "--for", "1h").code == 0
    second = world.repository.commit({"apps/shop/motd.yaml": text_file("motd", "2\n")})
    until(lambda: served.deployments(second)["shop", "host"]["phase"] == "pending")
    shown = served.json("app", "show", "shop")["applications"][0]
    assert shown["suspension"]["reason"] == "disk is being replaced"
    assert shown["suspension"]["until"].endswith("Z")
    assert "disk is being replaced" in served.cli("app", "explain", "shop").out
    path.write_text("by hand\n")
    assert served.cli("app", "resume", "shop").code == 0
    served.healthy(second)
    until(lambda: path.read_text() == "2\n")

    assert served.cli("app", "suspend", "shop", "--reason", "a short look", "--for", "1s").code == 0
    third = world.repository.commit({"apps/shop/motd.yaml": text_file("motd", "3\n")})
    assert served.cli("status", third, "--wait", "healthy", "--timeout", "10s").code == 0
    assert path.read_text() == "3\n"
    kinds = [event["kind"] for event in served.events() if event["kind"].startswith("application.")]
    assert kinds == ["application.suspended", "application.resumed"] * 2


def test_sources_come_from_a_branch_a_tag_a_range_and_another_repository(world: World) -> None:
    other = Repository(world.root / "library")
    tagged = other.commit({"motd.yaml": text_file("tagged", "v1.0\n")})
    other.git("tag", "v1.0.0")
    other.commit({"motd.yaml": text_file("tagged", "v1.1\n")})
    other.git("tag", "v1.1.0")
    other.commit({"motd.yaml": text_file("tagged", "v2.0\n")})
    other.git("tag", "v2.0.0")

    def source(revision: str) -> dict[str, str]:
        return {"repository": str(other.path), "path": ".", "revision": revision}

    world.repository.commit({"apps/branched/motd.yaml": text_file("branched", "old\n")})
    world.repository.git("branch", "stable")
    commit = world.repository.commit({
        ".trimtab/all.yaml": several(
            environment("one"), environment("two"), environment("three"),
            application("tag", source=source("v1.0.0"), environments=["one"]),
            application("range", source=source(">=1.0 <2"), environments=["two"]),
            application("id", source=source(tagged), environments=["three"]),
            application("branched", source={"path": "apps/branched", "revision": "stable"}),
        ),
        "apps/branched/motd.yaml": text_file("branched", "new\n"),
    })  # fmt: skip
    served = world.serve()
    served.settled(commit)

    def content(where: str, name: str = "tagged") -> str:
        return "".join(path.read_text() for path in world.data.glob(f"host/files/{where}/{name}.txt"))

    until(lambda: content("one") == "v1.0\n" and content("two") == "v1.1\n" and content("three") == "v1.0\n")
    until(lambda: content("host", "branched") == "old\n")
    other.git("switch", "--quiet", "-c", "fixes", "v1.1.0")
    other.commit({"motd.yaml": text_file("tagged", "v1.1.1\n")})
    other.git("tag", "v1.1.1")
    until(lambda: content("two") == "v1.1.1\n")
    world.repository.git("branch", "--force", "stable", "main")
    until(lambda: content("host", "branched") == "new\n")
    assert content("one") == "v1.0\n"
    rows = served.json("repository", "list")["repositories"]
    assert {(row["repository"], row["revision_expression"] if "revision_expression" in row else row["revisionExpression"]) for row in rows} == {
        (str(world.repository.path), ""), (str(world.repository.path), "stable"), (str(other.path), "v1.0.0"),
        (str(other.path), ">=1.0 <2"), (str(other.path), tagged),
    }  # fmt: skip


def test_a_lost_record_is_rebuilt_from_the_target_and_git_and_nothing_restarts(world: World) -> None:
    ran = world.root / "ran"
    served = world.server()
    files = {
        ".trimtab/all.yaml": several(application("shop"), application("tools")),
        "apps/shop/all.yaml": several(
            process("web", replicas=2), text_file("motd", "hello\n"), task("once", f"echo ran >>{ran}")
        ),
        "apps/tools/clock.yaml": process("clock"),
    }
    first = world.repository.commit(files)
    served.start().healthy(first)
    pids = [*served.pids("shop", "web"), *served.pids("tools", "clock")]
    until(lambda: len(world.repository.notes(first)) == 2)
    served.stop()
    for path in world.data.glob("trimtab.db*"):
        path.unlink()
    shutil.rmtree(world.data / "cache")
    world.repository.commit({"apps/shop/all.yaml": several(process("web", replicas=2), text_file("motd", "hello\n"))})
    second = world.repository.commit({"README.md": "words\n"})
    served.start()
    served.healthy(second)
    assert [*served.pids("shop", "web"), *served.pids("tools", "clock")] == pids
    kinds = [event["kind"] for event in served.events()]
    assert "inventory.rebuilt" in kinds
    assert "deployment.held" not in kinds
    assert ran.read_text() == "ran\n"
    owned = {one["object"]["name"] for one in served.json("app", "show", "shop")["applications"][0]["objects"]}
    assert owned == {"web", "motd"}, "the task that Git dropped while the record was lost is gone"
    assert {note["phase"] for note in world.repository.notes(first)} == {"healthy"}


def test_a_server_that_was_killed_goes_on_where_it_was_and_what_ran_did_not_notice(world: World) -> None:
    served = world.server()
    first = world.repository.commit({".trimtab/shop.yaml": application("shop"), "apps/shop/web.yaml": process("web")})
    served.start().healthy(first)
    (pid,) = served.pids("shop", "web")
    served.kill()
    assert lives(pid)
    os.kill(pid, signal.SIGKILL)
    until(lambda: any("sleep 100000" in command for command in served.processes().values()), 5, what="restarted while it is down")
    second = world.repository.commit({"apps/shop/motd.yaml": text_file("motd", "1\n")})
    served.start().healthy(second)
    (after,) = served.pids("shop", "web")
    assert after != pid
    assert len([event for event in served.events(kind="deployment.healthy") if event["revision"] == first]) == 1
