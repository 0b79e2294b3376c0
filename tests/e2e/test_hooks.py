"""A hook of the host: a Task that is run for each deployment, by the annotations that hold on every target."""

from __future__ import annotations

from tests.e2e.conftest import World, document, process, until


def hook(script: str, **notes: str) -> str:
    return document("Task", "migrate", {"command": ["sh", "-c", script]}, annotations={"trimtab.dev/hook": "pre", **notes})


def test_a_task_that_is_a_hook_runs_for_each_deployment_and_a_failing_one_stops_it(world: World) -> None:
    """Once each, although its own inputs have not changed; not when the server is started again; what runs goes on."""
    told = world.root / "told"
    repository = world.repository
    shop = {"shop/migrate.yaml": hook(f"echo x >> {told}"), "shop/web.yaml": process("web")}
    first = repository.commit(shop)
    server = world.serve()
    assert server.cli("status", first, "--wait", "healthy", "--timeout", "30s").code == 0
    assert told.read_text() == "x\n"
    second = repository.commit({"shop/web.yaml": process("web", environment={"VERSION": "2"})})
    assert server.cli("status", second, "--wait", "healthy", "--timeout", "30s").code == 0
    assert told.read_text() == "x\nx\n"
    server.stop()
    server.start()
    until(lambda: server.json("app", "show", "shop")["applications"][0]["sync"] == "synced", 15)
    assert told.read_text() == "x\nx\n"
    running = server.processes()
    third = repository.commit(
        {"shop/migrate.yaml": hook("exit 3"), "shop/web.yaml": process("web", environment={"VERSION": "3"})}
    )
    done = server.cli("status", third, "--wait", "healthy", "--timeout", "30s")
    assert done.code == 1
    assert "the pre hook Task/migrate failed: exit status 3" in done.out
    assert running.keys() <= server.processes().keys()
