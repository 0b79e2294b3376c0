"""Changes with stock git alone on the developers' side: cloned by HTTP with a token, pushed, refused, reviewed, merged, pulled, proven."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from trimtab.testing.served import Done, Served, until

from .conftest import World, application, document, environment, process, several

COMMAND_SECONDS_MAX = 90


def declared(kind: str, called: str, **spec: object) -> str:
    return document(kind, called, spec, api="trimtab.dev/v1")


FILES = {
    ".trimtab/places.yaml": several(environment("staging"), environment("production", approvals={"required": 1})),
    ".trimtab/shop.yaml": application("shop", environments=["staging", {"name": "production", "after": ["staging"]}]),
    ".trimtab/people.yaml": several(
        *(declared("User", name, name=name.title(), emails=[f"{name}@example.org"]) for name in ("ada", "sue", "rob", "fay")),
        declared("Grant", "authors", role="author", users=["ada", "rob"]),
        declared("Grant", "reviewers", role="reviewer", users=["sue"]),
        declared("Grant", "fire", role="author", users=["fay"], emergency=True),
        declared("Grant", "deployers", role="deployer", users=["sue"]),
    ),
    ".trimtab/policies.yaml": declared(
        "Policy",
        "calm",
        kinds=["Process"],
        rule="object.spec.command[1] != '666'",
        message="666 is not slept",
        remedy="Sleep 667",
    ),
    "apps/shop/web.yaml": process("web", "sleep", "1001"),
}


@dataclass
class Person:
    """Somebody with a clone, a token that git keeps for them, and the command line in that clone."""

    name: str
    home: Path
    token: str = ""

    @property
    def clone(self) -> Path:
        return self.home / "shop"

    def run(self, *command: str, directory: Path | None = None, typed: str = "") -> Done:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "TRIMTAB_"))},
            "HOME": str(self.home),
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_CONFIG_NOSYSTEM": "1",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        done = subprocess.run(
            command,
            cwd=directory or self.clone,
            env=environment,
            input=typed,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS_MAX,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def git(self, *arguments: str, code: int = 0) -> str:
        """Both of what it prints, without `remote:` and what stands behind it."""
        done = self.run("git", *arguments)
        assert done.code == code, done.err
        lines = [line.removeprefix("remote: ").rstrip() for line in (done.out + done.err).splitlines()]
        return "\n".join(lines)

    def trimtab(self, *arguments: str, code: int = 0) -> str:
        done = self.run("trimtab", *arguments)
        assert done.code == code, done.out + done.err
        return done.out + done.err

    def commit(self, seconds: int, message: str) -> None:
        (self.clone / "apps" / "shop" / "web.yaml").write_text(process("web", "sleep", f"{seconds}"))
        self.git("commit", "--quiet", "--all", "-m", message)


@dataclass
class Shop:
    world: World
    served: Served

    def person(self, name: str, *, header: bool = False) -> Person:
        """With a clone. The token is kept by git's credential helper, or sent as a header."""
        home = self.world.root / name
        home.mkdir()
        person = Person(name, home)
        url = f"{self.served.url}/git/shop.git"
        person.token = self.served.json("token", "create", "--user", name)["secret"]
        for key, value in (("user.name", name.title()), ("user.email", f"{name}@example.org"), ("push.default", "current")):
            person.run("git", "config", "--global", key, value, directory=home)
        if header:
            key = f"http.{self.served.url}/.extraHeader"
            person.run("git", "config", "--global", key, f"Authorization: Bearer {person.token}", directory=home)
        else:
            person.run("git", "config", "--global", "credential.helper", "store", directory=home)
            host = self.served.url.removeprefix("http://")
            filled = f"protocol=http\nhost={host}\nusername={name}\npassword={person.token}\n\n"
            assert person.run("git", "credential", "approve", directory=home, typed=filled).code == 0
        done = person.run("git", "clone", "--quiet", url, "shop", directory=home)
        assert done.code == 0, done.err
        return person

    def sleeps(self, environment: str) -> str:
        """What web is told in ``environment``, as its process shows."""
        pids = self.served.pids("shop", "web", environment)
        return Path(f"/proc/{pids[0]}/cmdline").read_bytes().split(b"\0")[1].decode() if pids else ""

    def until_sleeps(self, seconds: int, *environments: str) -> None:
        for one in environments:
            until(lambda one=one: self.sleeps(one) == f"{seconds}", what=f"{one} sleeps {seconds}")


@pytest.fixture
def shop(world: World) -> Shop:
    """A server on a hosted repository, with people, two environments and a policy, all of which came with the first push."""
    served = world.serve("--poll-seconds", "3600", repository="hosted:shop")
    world.repository.commit(FILES)
    token = (world.data / "token").read_text().strip()
    url = f"{served.url.replace('http://', f'http://operator:{token}@')}/git/shop.git"
    world.repository.git("push", "--quiet", url, "HEAD:main")
    made = Shop(world, served)
    made.until_sleeps(1001, "staging")
    # The first content of a protected Environment is approved like any other.
    plan = until(lambda: _held(served), what="production is held")
    assert served.cli("app", "approve", "shop", plan, "--environment", "production").code == 0
    made.until_sleeps(1001, "production")
    return made


def _held(served: Served) -> str:
    plan = served.json("app", "plan", "shop", "--environment", "production")
    return next((hold["hash"] for hold in plan["holds"]), "")


def test_a_whole_session_with_git_alone(shop: Shop) -> None:
    """Clone, propose, a policy says no, fix, review, approve, merge, pull: what was approved is what runs, and what the merge says."""
    ada, sue = shop.person("ada"), shop.person("sue", header=True)
    ada.git("switch", "--quiet", "--create", "calmer")
    ada.commit(666, "Sleep longer\n\nMondays are long.")
    said = ada.git("push", "-o", "change", "origin", "calmer")
    assert "change 1: Sleep longer\n  trimtab change show 1\n" in said
    assert "✗ policy/calm" in said
    assert "apps/shop/web.yaml:1: Process/web in production: 666 is not slept. Sleep 667" in said
    assert "production asks for 1 more approval" in said

    ada.commit(1002, "Sleep 1002")
    said = ada.git("push", "origin", "calmer")
    assert "production: 1 replaced" in said or "production: 1 otherwise" in said or "production: 1 updated" in said, said
    assert "✗" not in said
    assert shop.sleeps("production") == "1001", "nothing happens before the merge"

    listed = ada.trimtab("change", "list")
    assert "1       Sleep longer  ada     open" in listed
    assert "Mondays are long." in ada.trimtab("change", "show", "1", code=3)
    assert '-{"apiVersion"' in ada.trimtab("change", "diff", "1")

    refused = ada.trimtab("change", "approve", "1", "--environment", "production", "--yes", code=1)
    assert "ada may not review" in refused
    assert "Ask sue" in refused
    assert "rob may not merge" in shop.person("rob").trimtab("change", "merge", "1", code=1)
    said = sue.run(
        "trimtab", "--token-file", str(_token_file(sue)), "change", "comment", "1", "Sure?", "--at", "apps/shop/web.yaml:1"
    )
    assert (said.code, "thread 1 at apps/shop/web.yaml:1, open" in said.out) == (0, True), said
    ada.trimtab("change", "comment", "1", "Sure.", "--reply", "1", "--resolve", "1")

    plan = json.loads(ada.trimtab("change", "show", "1", "--output", "json", code=3))["environments"]
    [wanted] = [one["hash"] for one in plan if one["environment"] == "production"]
    reviewing = ("trimtab", "--token-file", str(_token_file(sue)), "change")
    done = sue.run(*reviewing, "approve", "1", "--environment", "production", "--plan", wanted)
    assert done.code == 0, done.err
    assert "Process/web" in done.out, "the plan is shown before the act"
    assert f"approved: production {wanted}" in done.out
    done = sue.run(*reviewing, "merge", "1", "--wait")
    assert (done.code, done.out.startswith("change 1: merged into main as ")) == (0, True), done
    shop.until_sleeps(1002, "staging", "production")

    ada.git("switch", "--quiet", "main")
    ada.git("pull", "--quiet")
    merge = ada.git("log", "-1", "--format=%an%n%B")
    assert merge.startswith("Ada\nMerge change 1: Sleep longer\n")
    assert merge.rstrip().splitlines()[-4:-2] == ["Change: 1", "Approved-by: Sue <sue@example.org>"]
    assert f"Plan-production: {wanted}" in merge


def _token_file(person: Person) -> Path:
    path = person.home / "token"
    path.write_text(person.token)
    return path


def test_what_is_refused_says_what_works_instead(shop: Shop) -> None:
    """A direct push, a rewritten history, a deletion, a moved tag, a strange option, a forged trailer; and no token, a wrong one, a revoked one."""
    ada = shop.person("ada")
    first = ada.git("rev-parse", "HEAD").strip()
    ada.commit(1002, "Sleep 1002")
    said = ada.git("push", "origin", "HEAD:main", code=1)
    assert "main moves by changes alone" in said
    assert "git push origin HEAD:refs/for/main" in said
    assert "[remote rejected]" in said
    assert "cannot be deleted" in ada.git("push", "origin", ":main", code=1)
    assert "no option" in ada.git("push", "-o", "chnge", "origin", "HEAD:refs/heads/x", code=1)
    ada.git("commit", "--quiet", "--amend", "-m", "Sleep\n\nChange: 7\nApproved-by: Sue <sue@example.org>")
    assert "which only merges have" in ada.git("push", "origin", "HEAD:refs/for/main", code=1)
    ada.git("commit", "--quiet", "--amend", "-m", "Sleep 1002")
    assert "change 1: Sleep 1002" in ada.git("push", "origin", "HEAD:refs/for/main"), "the command that was told works"
    assert ada.git("ls-remote", "origin", "refs/heads/main").split()[0] == first
    token = ada.token.split("_")[-1]
    assert shop.served.cli("token", "list").out.count("ada") >= 1
    ids = shop.served.json("token", "list")["tokens"]
    [mine] = [one["id"] for one in ids if one["user"] == "ada"]
    assert shop.served.cli("token", "revoke", mine).code == 0
    assert "Authentication failed" in ada.git("push", "origin", "HEAD:refs/for/main", code=128)
    assert token not in shop.served.logged()


def test_a_stacked_change_waits_for_the_one_below_and_a_change_is_tried_in_a_clone(shop: Shop) -> None:
    """Two of one author, one on top of the other; somebody else fetches the upper one by its number."""
    ada, rob = shop.person("ada"), shop.person("rob")
    ada.git("switch", "--quiet", "--create", "one")
    ada.commit(1002, "Sleep 1002")
    ada.git("push", "--quiet", "-o", "change", "origin", "one")
    ada.git("switch", "--quiet", "--create", "two")
    ada.commit(1003, "Sleep 1003")
    said = ada.git("push", "-o", "change", "origin", "two")
    assert "it is built on change 1, which has to be merged first" in said
    assert "change 2, patch set 1, is branch change-2 here" in rob.trimtab("change", "checkout", "2")
    assert (rob.git("branch", "--show-current"), rob.git("log", "-1", "--format=%s")) == ("change-2", "Sleep 1003")
    ada.commit(1004, "Sleep 1004")
    ada.git("push", "--quiet", "origin", "two")
    rob.trimtab("change", "checkout", "2")
    assert rob.git("log", "-1", "--format=%s") == "Sleep 1004"
    ada.git("switch", "--quiet", "--create", "three", "main")
    ada.commit(1005, "Sleep 1005")
    ada.git("push", "--quiet", "origin", "three")
    made = ada.trimtab("change", "create", "--title", "From a branch", "--draft")
    assert "change 3: From a branch" in made
    assert "it is a draft" in made
    assert "conflicts" not in made
    assert "closed" in ada.trimtab("change", "close", "3", "--reason", "no")
    assert "From a branch" not in ada.trimtab("change", "list")


def test_an_emergency_passes_is_loud_and_is_reviewed_afterwards(shop: Shop) -> None:
    """Only with its own right, with a reason; it runs at once, and somebody else still has to see it."""
    ada, fay = shop.person("ada"), shop.person("fay")
    ada.commit(1009, "Put it out")
    assert "emergency" in ada.git("push", "-o", "emergency=everything is on fire", "origin", "HEAD:main", code=1)
    fay.commit(1009, "Put it out")
    said = fay.git("push", "-o", "emergency=everything is on fire", "origin", "HEAD:main")
    assert "EMERGENCY: main moves without review" in said
    shop.until_sleeps(1009, "staging", "production")
    shown = fay.trimtab("change", "show", "1", code=3)
    assert "EMERGENCY, pushed past review: everything is on fire" in shown
    assert "everything is on fire" in "".join(event["message"] for event in shop.served.events(kind="change.emergency"))


def test_the_trail_holds_and_a_clone_alone_tells_the_same(shop: Shop) -> None:
    """Verified; exported; rebuilt from trailers and notes; and a server whose trail was cut off is found out by what the clone knows."""
    ada = shop.person("ada")
    ada.git("switch", "--quiet", "--create", "calmer")
    ada.commit(1002, "Sleep 1002")
    ada.git("push", "--quiet", "-o", "change", "origin", "calmer")
    sue = shop.person("sue")
    sue.trimtab("change", "approve", "1", "--yes")
    sue.trimtab("change", "merge", "1", "--wait")
    shop.until_sleeps(1002, "staging", "production")
    sue.git("pull", "--quiet", "origin", "main")
    head = sue.git("rev-parse", "HEAD").strip()
    until(lambda: '"production"' in _notes(sue, head), what="the note is there")

    verified = shop.served.cli("audit", "verify")
    assert verified.code == 0, verified.out
    assert "environment/production" in verified.out
    end = next(line.split()[-1] for line in verified.out.splitlines() if "environment/production" in line)
    assert shop.served.cli("audit", "verify", "--expect", end, "--clone", str(sue.clone)).code == 0
    assert shop.served.cli("audit", "verify", "--expect", "sha256:" + "0" * 64).code == 1

    [merge] = json.loads(sue.trimtab("audit", "rebuild", ".", "--output", "json"))["merges"]
    links = [json.loads(line) for line in shop.served.cli("audit", "export", "--change", "1").out.splitlines()]
    [approved] = [link for link in links if link["kind"] == "change.approved"]
    [merged] = [link for link in links if link["kind"] == "change.merged"]
    assert merge["change"] == merged["data"]["change"] == 1
    assert merge["revision"] == merged["revision"]
    assert merge["approvedBy"] == ["Sue <sue@example.org>"]
    assert merge["plans"]["production"] == approved["data"]["hash"]
    trail = [json.loads(line) for line in shop.served.cli("audit", "export", "-e", "production").out.splitlines()]
    healthy = [link["time"] for link in trail if link["kind"] == "deployment.healthy" and link["revision"] == head]
    told = [one for one in merge["outcomes"] if (one["environment"], one["phase"]) == ("production", "healthy")]
    assert len(healthy) == len(told) == 1
    csv = shop.served.cli("audit", "export", "--format", "csv", "-e", "production").out
    assert csv.count("\n") == len(trail) + 1

    shop.served.stop()
    subprocess.run([sys.executable, "-c", CUT, str(shop.served.data / "trimtab.db")], check=True)
    shop.served.start()
    assert shop.served.cli("audit", "verify").code == 0, "what is left holds"
    found = shop.served.cli("audit", "verify", "--clone", str(sue.clone))
    assert found.code == 1
    assert "links were cut off or replaced" in found.out


CUT = """
import sqlite3, sys
with sqlite3.connect(sys.argv[1]) as base:
    base.execute("delete from link where trail = 'environment/production' and number > 1")
"""


def _notes(person: Person, revision: str) -> str:
    person.run("git", "fetch", "--quiet", "origin", "+refs/notes/trimtab:refs/notes/trimtab")
    return person.run("git", "notes", "--ref", "trimtab", "show", revision).out
