"""What scripts rely on: the ready line, signals, discovery, exit codes, the shapes of JSON, the closed door."""

from __future__ import annotations

import json
import re
import signal
import stat
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from trimtab.testing.served import Served, lives, program, run, until

from .conftest import World, process, several, task, text_file

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
REFERENCE = {"apiVersion", "kind", "namespace", "name"}
PROBLEM = {"file", "line", "field", "message", "remedy"}
DEPLOYMENT = {"application", "environment", "phase", "health", "since", "message", "object", "lastLogLine", "supersededBy"}
SHOP = several(process("web"), text_file("motd", "hello\n"), task("migrate", "echo done"))


@pytest.fixture(scope="module")
def shop(worlds: Any) -> tuple[World, Served, str]:
    """A server with one healthy application, which the tests below only ask."""
    world: World = worlds("contract")
    commit = world.repository.commit({"shop/all.yaml": SHOP})
    served = world.serve()
    served.healthy(commit)
    return world, served, commit


def holds(document: dict[str, Any], fields: set[str]) -> None:
    """The document has at least these fields: a shape is extended, never bent."""
    assert fields <= document.keys(), f"missing: {fields - document.keys()}"


# --- its life ---------------------------------------------------------------------------------------------------------------


def test_it_says_that_it_is_ready_in_one_line_and_ends_within_five_seconds_while_what_it_runs_lives_on(world: World) -> None:
    commit = world.repository.commit({"shop/all.yaml": SHOP})
    served = world.server().launch()
    assert served.process is not None
    assert served.process.stdout is not None
    line = served.process.stdout.readline()
    assert re.fullmatch(r"trimtab ready http://127\.0\.0\.1:\d+\n", line)
    served.url = line.split()[2]
    served.healthy(commit)
    (pid,) = served.pids("shop", "web")
    assert served.process.stdout is not None
    stdout = served.process.stdout
    served.process.stdout = None
    assert served.stop() < 5
    assert stdout.read() == ""
    stdout.close()
    assert lives(pid)
    assert not (world.data / "server.json").exists()
    done = served.down()
    assert done.code == 0
    assert "ended" in done.out
    assert not lives(pid)
    assert served.processes() == {}


def test_down_ends_a_server_that_runs_and_all_that_it_manages(world: World) -> None:
    commit = world.repository.commit({"shop/all.yaml": SHOP})
    served = world.serve()
    served.healthy(commit)
    pids = [served.pid, *served.processes()]
    done = served.down()
    assert (done.code, done.err) == (0, "")
    until(lambda: not any(lives(pid) for pid in pids), 2)


def test_down_on_what_is_no_data_directory_fails_and_says_so(tmp_path: Path) -> None:
    done = run("down", "--data", str(tmp_path))
    assert done.code == 1
    assert "no data directory of Trimtab" in done.err


def test_a_server_that_was_told_to_end_before_it_was_ready_ends_too(world: World) -> None:
    world.repository.commit({"shop/all.yaml": SHOP})
    served = world.server().launch()
    until(lambda: (world.data / "lock").exists())
    began = time.monotonic()
    assert served.end(signal.SIGTERM) in (0, -signal.SIGTERM)
    assert time.monotonic() - began < 5


# --- finding it -------------------------------------------------------------------------------------------------------------


def test_clients_find_it_by_data_by_server_or_by_variables(shop: tuple[World, Served, str]) -> None:
    world, served, commit = shop
    data, token = str(world.data), (world.data / "token").read_text().strip()
    answers = [
        run("status", "--output", "json", "--data", data),
        run("status", "--output", "json", environment={"TRIMTAB_DATA": data}),
        run("status", "--output", "json", "--server", served.url, environment={"TRIMTAB_TOKEN": token}),
        run("status", "--output", "json", environment={"TRIMTAB_SERVER": served.url, "TRIMTAB_TOKEN": token}),
        run("status", "--output", "json", "--data", data, "--server", served.url),
        run("status", "--output", "json", environment={"TRIMTAB_SERVER": served.url, "TRIMTAB_DATA": data}),
    ]
    assert [(done.code, done.json["revision"]) for done in answers] == [(0, commit)] * 6


def test_a_server_that_does_not_run_or_was_not_named_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    for done in (run("status", "--data", str(tmp_path)), run("status"), run("status", "--server", "http://127.0.0.1:1")):
        assert done.code == 1
        assert "trimtab serve --repository" in done.err


def test_it_listens_on_a_unix_socket(world: World) -> None:
    commit = world.repository.commit({"shop/motd.yaml": text_file("motd", "hello\n")})
    path = world.root / "trimtab.sock"
    served = world.serve("--listen", f"unix:{path}")
    assert served.url == f"unix:{path}"
    assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
    assert served.cli("status", commit, "--wait", "healthy", "--timeout", "10s").code == 0


# --- the closed door --------------------------------------------------------------------------------------------------------


def test_the_token_is_readable_by_its_user_alone_and_nothing_answers_without_it(shop: tuple[World, Served, str]) -> None:
    world, served, _ = shop
    assert stat.S_IMODE((world.data / "token").stat().st_mode) == 0o600
    assert stat.S_IMODE(world.data.stat().st_mode) == 0o700
    for method, path in [
        ("GET", "/status"), ("GET", "/applications"), ("GET", "/events"), ("GET", "/doctor"), ("POST", "/wake"),
        ("POST", "/applications/shop/sync"), ("GET", "/nothing"),
    ]:  # fmt: skip
        for token in ("", "wrong"):
            status, _ = served.request(method, path, "{}" if method == "POST" else None, token=token)
            assert status == 401, path
    assert served.request("GET", "/status")[0] == 200


def test_it_does_not_listen_on_an_address_that_others_reach(world: World) -> None:
    world.repository.commit({"a.yaml": text_file("a", "a")})
    done = run("serve", "--repository", str(world.repository.path), "--data", str(world.data), "--listen", "0.0.0.0:0")
    assert done.code in (1, 2)
    assert "loopback" in done.err


# --- shapes -----------------------------------------------------------------------------------------------------------------


def test_render_prints_manifests_and_errors(shop: tuple[World, Served, str]) -> None:
    world, _, _ = shop
    done = run("render", str(world.repository.path), "--output", "json")
    assert done.code == 0
    assert done.json.keys() >= {"manifests", "errors"}
    assert len(done.json["manifests"]) == 3
    for manifest in done.json["manifests"]:
        holds(manifest, {*REFERENCE, "source", "object"})
        assert manifest["source"] == {"file": "shop/all.yaml", "line": manifest["source"]["line"]}
    assert sorted(manifest["source"]["line"] for manifest in done.json["manifests"]) == [1, 3, 5]


def test_render_errors_have_file_line_field_message_and_remedy(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "web.yaml").write_text("apiVersion: host.trimtab.dev/v1\nkind: Process\nmetadata: {name: [}\n")
    done = run("render", str(tmp_path), "--output", "json")
    assert done.code == 1
    (error,) = done.json["errors"]
    assert error.keys() == PROBLEM
    assert (error["file"], error["line"]) == ("shop/web.yaml", 3)
    assert error["remedy"]


def test_plan_prints_hash_steps_holds_and_errors(shop: tuple[World, Served, str]) -> None:
    world, _, _ = shop
    done = run("plan", str(world.repository.path), "--output", "json")
    assert done.code == 3
    plan = done.json
    holds(plan, {"hash", "steps", "holds", "errors"})
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", plan["hash"])
    for step in plan["steps"]:
        holds(step, {"action", "object", "application", "environment", "changes"})
        assert step["object"].keys() == REFERENCE
        assert step["action"] == "create"
    same = run("plan", str(world.repository.path), "--data", str(world.data), "--output", "json")
    assert (same.code, same.json["steps"], same.json["holds"]) == (0, [], [])


def test_plan_names_each_field_that_would_change(shop: tuple[World, Served, str], tmp_path: Path) -> None:
    world, _, _ = shop
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "all.yaml").write_text(SHOP.replace("hello", "good morning"))
    done = run("plan", str(tmp_path), "--data", str(world.data), "--output", "json")
    assert done.code == 3
    (step,) = done.json["steps"]
    assert (step["action"], step["object"]["name"]) == ("update", "motd")
    changes = {change["path"]: change for change in step["changes"]}
    assert all(change.keys() == {"path", "from", "to"} for change in changes.values())
    assert any(change["from"] == "hello\n" and change["to"] == "good morning\n" for change in changes.values())


def test_status_prints_revision_and_deployments(shop: tuple[World, Served, str]) -> None:
    _, served, commit = shop
    view = served.json("status", commit)
    holds(view, {"revision", "deployments"})
    (deployment,) = view["deployments"]
    holds(deployment, DEPLOYMENT)
    assert TIME.fullmatch(deployment["since"])
    assert (deployment["phase"], deployment["health"], deployment["object"]) == ("healthy", "healthy", None)


def test_app_list_prints_applications(shop: tuple[World, Served, str]) -> None:
    _, served, commit = shop
    view = served.json("app", "list")
    (row,) = view["applications"]
    holds(row, {"name", "environment", "revision", "sync", "health", "message"})
    assert (row["name"], row["environment"], row["revision"], row["sync"], row["health"]) == (
        "shop",
        "host",
        commit,
        "synced",
        "healthy",
    )


def test_events_prints_a_line_for_each(shop: tuple[World, Served, str]) -> None:
    _, served, commit = shop
    done = served.cli("events", "--output", "json")
    assert done.code == 0
    events = [json.loads(line) for line in done.out.splitlines()]
    fields = ["id", "time", "kind", "application", "environment", "revision", "message", "data"]
    assert all(list(event) == fields and TIME.fullmatch(event["time"]) for event in events)
    assert [event["id"] for event in events] == sorted({event["id"] for event in events})
    kinds = [event["kind"] for event in events]
    wanted = ["server.started", "repository.fetched", "deployment.started", "step.applied", "deployment.healthy"]
    assert [kind for kind in dict.fromkeys(kinds) if kind in wanted] == wanted
    assert events[kinds.index("deployment.healthy")]["revision"] == commit


def test_events_follow_prints_what_comes_until_it_is_interrupted(shop: tuple[World, Served, str]) -> None:
    world, served, _ = shop
    command = [*program(), "events", "--follow", "--limit", "1", "--output", "json", "--data", str(world.data)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        first = json.loads(follower.stdout.readline())
        assert served.cli("app", "suspend", "shop", "--reason", "a look", "--for", "1h").code == 0
        suspended = json.loads(follower.stdout.readline())
        assert served.cli("app", "resume", "shop").code == 0
        resumed = json.loads(follower.stdout.readline())
        follower.send_signal(2)
        assert follower.wait(5) == 130
    assert first["id"] < suspended["id"] < resumed["id"]
    assert [suspended["kind"], resumed["kind"]] == ["application.suspended", "application.resumed"]


def test_environments_are_listed_and_shown(shop: tuple[World, Served, str]) -> None:
    _, served, _ = shop
    (row,) = served.json("environment", "list")["environments"]
    assert (row["name"], row["target"], row["applications"], row["objects"], row["health"]) == ("host", "host", 1, 3, "healthy")
    shown = served.json("environment", "show", "host")
    assert shown["spec"]["removal"] == {"percent": 50, "objects": 3, "emptyRender": "hold"}
    missing = served.cli("environment", "show", "hots")
    assert missing.code == 1
    assert "Environments: host" in missing.err


def test_doctor_finds_everything_well(shop: tuple[World, Served, str]) -> None:
    _, served, _ = shop
    done = served.cli("doctor", "--output", "json")
    assert done.code == 0
    assert {finding["state"] for finding in done.json["findings"]} == {"ok"}


@pytest.mark.parametrize("kind", ["Application", "Environment", "Project", "Process", "File", "Task"])
def test_the_schema_of_every_kind_is_a_json_schema(kind: str) -> None:
    done = run("schema", kind)
    assert done.code == 0
    schema = done.json
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema_errors(schema) == []


def schema_errors(schema: Any, root: Any = None, where: str = "#") -> list[str]:
    """What is wrong with a schema, by the parts of the meta-schema that we use; every reference has to lead somewhere."""
    root = schema if root is None else root
    types = {"object", "array", "string", "number", "integer", "boolean", "null"}
    if isinstance(schema, bool):
        return []
    errors = []
    if not isinstance(schema, dict):
        return [f"{where}: {schema!r} is no schema"]
    given = schema.get("type", [])
    if not set([given] if isinstance(given, str) else given) <= types:
        errors.append(f"{where}: type {given}")
    if "pattern" in schema:
        re.compile(schema["pattern"])
    if "$ref" in schema:
        found: Any = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found.get(part, {}) if isinstance(found, dict) else {}
        errors += [] if found else [f"{where}: {schema['$ref']} leads nowhere"]
    if not set(schema.get("required", [])) <= schema.get("properties", {}).keys() and "properties" in schema:
        errors.append(f"{where}: required {schema['required']}")
    for name in ("properties", "$defs"):
        for key, value in schema.get(name, {}).items():
            errors += schema_errors(value, root, f"{where}/{name}/{key}")
    for name in ("items", "additionalProperties"):
        if name in schema:
            errors += schema_errors(schema[name], root, f"{where}/{name}")
    for name in ("anyOf", "allOf", "oneOf"):
        for number, value in enumerate(schema.get(name, [])):
            errors += schema_errors(value, root, f"{where}/{name}/{number}")
    return errors


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_valid(shell: str) -> None:
    done = run("completion", shell)
    assert done.code == 0
    assert "trimtab" in done.out
    if shell == "bash":
        assert subprocess.run(["bash", "-n"], input=done.out, text=True, check=False, capture_output=True).stderr == ""


# --- exit codes -------------------------------------------------------------------------------------------------------------


def test_exit_codes_say_done_failed_usage_and_different(shop: tuple[World, Served, str]) -> None:
    world, served, commit = shop
    assert served.cli("status", commit).code == 0
    assert served.cli("app", "plan", "shop").code == 0
    assert served.cli("app", "show", "nothing").code == 1
    assert served.cli("status", "f" * 40).code == 1
    assert run("plan", str(world.repository.path)).code == 3
    assert [run("status", "--wait", "happy").code, run("nonsense").code, run("serve").code] == [2, 2, 2]


def test_waiting_for_what_does_not_come_fails_when_the_time_is_over(shop: tuple[World, Served, str]) -> None:
    _, served, _ = shop
    began = time.monotonic()
    done = served.cli("status", "0" * 40, "--wait", "healthy", "--timeout", "1s")
    assert done.code == 1
    assert "not healthy after" in done.err
    assert time.monotonic() - began < 4
