"""The configuration repository lives in the server: stock git pushes to it, and what was pushed runs. From outside, as people do it."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from trimtab.testing.served import Served, until

from .conftest import World, process


def git(directory: Path, *arguments: str, code: int = 0) -> str:
    """Standard output and standard error."""
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_SSH_COMMAND": "false"}
    done = subprocess.run(["git", *arguments], cwd=directory, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def address(served: Served, name: str) -> str:
    """As somebody who knows the token of the machine."""
    token = (served.data / "token").read_text().strip()
    return f"{served.url.replace('http://', f'http://operator:{token}@')}/git/{name}.git"


def clone(world: World, served: Served, name: str) -> Path:
    git(world.root, "clone", "--quiet", address(served, name), name)
    return world.root / name


def push(work: Path, number: int) -> str:
    place = work / "shop" / "web.yaml"
    place.parent.mkdir(exist_ok=True)
    place.write_text(process("web", "sleep", f"{number}"))
    git(work, "add", "--all")
    git(work, "commit", "--quiet", "-m", f"sleep {number}")
    # The first push makes main; after that it moves by Changes, or in an emergency.
    git(work, "push", "--quiet", "-o", "emergency=a test of the server itself", "origin", "HEAD:main")
    return git(work, "rev-parse", "HEAD").strip()


def test_what_is_pushed_to_the_server_runs_at_once(world: World) -> None:
    """The repository is made at the first start; no poll is needed; it is there after a restart, and after kill -9."""
    served = world.serve("--poll-seconds", "3600", repository="hosted:configuration")
    work = clone(world, served, "configuration")
    first = push(work, 1001)
    begun = time.monotonic()
    served.healthy(first)
    second = push(work, 1002)
    served.healthy(second)
    assert time.monotonic() - begun < 30
    rows = served.json("repository", "list")
    assert [(row["repository"], row["revision"]) for row in rows["repositories"]] == [("hosted:configuration", second)]
    served.kill()
    again = world.serve("--poll-seconds", "3600", repository="hosted:configuration")
    git(work, "remote", "set-url", "origin", address(again, "configuration"))
    again.healthy(push(work, 1003))


def test_repositories_are_made_imported_shown_and_deleted(world: World) -> None:
    """By the command line; each is on the record, and what is deleted is kept aside."""
    head = world.repository.commit({"a/b.txt": "hello\n"})
    served = world.serve()
    made = served.json("repository", "create", "team/shop")
    assert made == {
        "repository": "hosted:team/shop",
        "path": "/git/team/shop.git",
        "defaultBranch": "main",
        "head": "",
        "bytes": made["bytes"],
        "signer": made["signer"],
    }
    imported = served.json("repository", "import", "copy", str(world.repository.path))
    assert imported["head"] == head
    assert (clone(world, served, "copy") / "a" / "b.txt").read_text() == "hello\n"
    assert [row["repository"] for row in served.json("repository", "list")["hosted"]] == ["hosted:copy", "hosted:team/shop"]
    assert served.json("repository", "show", "copy")["head"] == head
    aside = served.json("repository", "delete", "copy")["message"].split()[-1]
    assert (Path(aside) / "HEAD").is_file()
    assert "there is no hosted repository" in git(world.root, "ls-remote", address(served, "copy"), code=128)
    kinds = until(lambda: [line for line in served.cli("events").out.splitlines() if "hosted:" in line])
    assert len([line for line in kinds if "repository.created" in line]) == 2
    assert len([line for line in kinds if "repository.deleted" in line]) == 1


def test_the_configuration_repository_is_not_deleted(world: World) -> None:
    served = world.serve(repository="hosted:configuration")
    assert "it is the configuration repository" in served.cli("repository", "delete", "configuration").err


def test_nobody_pushes_without_a_token(world: World) -> None:
    served = world.serve(repository="hosted:configuration")
    plain = f"{served.url}/git/configuration.git"
    assert "could not read Username" in git(world.root, "ls-remote", plain, code=128)
    assert "Authentication failed" in git(world.root, "ls-remote", plain.replace("http://", "http://operator:wrong@"), code=128)
