"""The acts of the demo, in order. Each shows commands and what they print, and checks what it says by looking at the real thing:
over HTTP, at processes and files, and in the JSON that `trimtab` prints.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

from trimtab.cli.demo.checks import Checks, milliseconds
from trimtab.cli.demo.customers import Customers
from trimtab.cli.demo.running import RunningShop
from trimtab.cli.demo.screen import Screen
from trimtab.cli.demo.shop import ENVIRONMENTS, OBJECTS, PRICES, release
from trimtab.cli.demo.stage import Stage, exists
from trimtab.cli.output import short
from trimtab.cli.times import parse_time

STAGING, PRODUCTION = ENVIRONMENTS
WAIT = ("--wait", "healthy", "--timeout", "60s")

Meddle = Callable[[str], None]
"""Called between the lines of the story with the name of the moment. Tests make something untrue there."""


def nothing(moment: str) -> None:
    """Nobody meddles."""


class Story:
    def __init__(self, stage: Stage, screen: Screen, checks: Checks, meddle: Meddle = nothing) -> None:
        self.stage = stage
        self.screen = screen
        self.checks = checks
        self.meddle = meddle
        self.shop = RunningShop(stage)
        self.commits: dict[str, str] = {}
        self.committed = 0.0

    def play(self) -> None:
        """Raises Untrue at the first thing that is not as it is told."""
        self.begin()
        self.goes_live()
        self.kept_so()
        with Customers([self.shop.address(environment) for environment in ENVIRONMENTS]) as customers:
            self.bad_release(customers)
            self.fix(customers)
            self.emptied(customers)
        self.recorded()
        self.where()

    # --- 1

    def begin(self) -> None:
        self.screen.act(
            "A repository says what should run",
            "A small shop: two processes (web calls api), a file (the price list) and a task (the migration), in staging and in "
            "production. Everything is in one Git repository. Trimtab follows it.",
        )
        self.stage.make()
        self.stage.serve()
        self.screen.command("cat .trimtab/shop.yaml")
        self.screen.output((self.stage.repository / ".trimtab" / "shop.yaml").read_text(), words=False)
        self.stage.git("add", ".")
        self.commit("the shop", "-m", "Open the shop")
        self.stage.trimtab("status", "HEAD", *WAIT, wrap=True)
        for environment in ENVIRONMENTS:
            self.browse(environment)
            text = self.shop.visit(environment).text
            self.checks.check(f"{environment} is open", "release 1" in text, seen=text, measured=self.shop.address(environment))

    # --- 2

    def goes_live(self) -> None:
        self.screen.act(
            "A commit goes live",
            "First in staging. When it is healthy there, the same commit goes on to production. A new process is ready before the old "
            "one stops.",
        )
        self.edit(2)
        self.commit("release 2", "-am", "Release 2")
        self.meddle("release 2 is committed")
        for environment, claim in ((STAGING, "release 2 serves in staging"), (PRODUCTION, "then release 2 serves in production")):
            self.serves(environment, "release 2", claim)
            self.checks.check(claim, True, measured=f"{milliseconds(time.monotonic() - self.committed)} after the commit")
        self.stage.trimtab("status", "HEAD", *WAIT, wrap=True)
        staging, production = (self.shop.deployment("HEAD", environment) for environment in ENVIRONMENTS)
        self.checks.check(
            "both run the same commit, production after staging",
            staging["revision"] == production["revision"] == self.commits["release 2"]
            and parse_time(staging["since"]) <= parse_time(production["since"]),
            seen=(staging, production),
            measured=short(self.commits["release 2"]),
        )

    # --- 3

    def kept_so(self) -> None:
        self.screen.act(
            "What Git says is kept so",
            "Somebody kills a process in production, and edits the price list by hand. Trimtab hears of both at once: it watches, and "
            "does not poll.",
        )
        self.killed()
        self.edited()

    def killed(self) -> None:
        before = self.shop.pids(PRODUCTION, "web")
        pid = self.shop.visit(PRODUCTION).pid
        self.checks.require("Trimtab runs the process that answers", pid in before, seen=f"{pid} is not among {before}")
        self.screen.command(f"kill -9 {pid}")
        os.kill(pid, signal.SIGKILL)
        began = time.monotonic()
        new = self.checks.wait(
            "a killed process runs again", lambda: self.shop.visit(PRODUCTION).pid, lambda found: found not in (0, *before)
        )
        measured = f"serves {milliseconds(time.monotonic() - began)} later"
        self.checks.check(f"process {pid} is gone, and {new} took its place", not exists(pid), seen=pid, measured=measured)

    def edited(self) -> None:
        prices = self.stage.directory / PRODUCTION / PRICES
        wanted = (self.stage.repository / PRICES).read_bytes()
        self.meddle("before the price list is edited")
        self.screen.command(f"""echo '{{"coffee": 0.01}}' > {os.path.relpath(prices, self.stage.repository)}""")
        prices.write_text('{"coffee": 0.01}\n')
        began = time.monotonic()
        self.checks.wait("an edited file is put back", prices.read_bytes, lambda found: found == wanted)
        measured = f"{milliseconds(time.monotonic() - began)} later"
        self.checks.check("the price list is what Git says again", True, measured=measured)
        text = self.shop.visit(PRODUCTION).text
        self.checks.check("coffee is not given away", "coffee 4.20" in text, seen=text, measured="4.20")
        self.checks.wait("the healed drift is on the record", lambda: self.shop.drifts(PRODUCTION), bool)
        self.stage.trimtab("events", "--kind", "drift.healed", "--environment", PRODUCTION)

    # --- 4

    def bad_release(self, customers: Customers) -> None:
        self.screen.act(
            "A bad release never gets ready",
            "Release 3 asks the api for /discounts, which no api has. Meanwhile customers visit staging and production, all the time.",
        )
        self.edit(3, needs="/discounts")
        self.commit("release 3", "-am", "Release 3: discounts")
        self.meddle("release 3 is committed")
        claim = "release 3 has failed in staging"
        found = self.until(claim, "HEAD", STAGING, "failed", customers)
        self.stage.trimtab("status", "HEAD", codes=(1,), wrap=True)
        cause = found[STAGING]["object"] or {}
        self.checks.check(claim, cause.get("name") == "web", seen=found, measured=f"{cause.get('kind')}/{cause.get('name')}")
        line = found[STAGING]["lastLogLine"]
        self.checks.check("the last line that it printed says why", "/discounts" in line, seen=line)
        self.checks.check(
            "production waits for staging, and was never touched", found[PRODUCTION]["phase"] == "pending", seen=found
        )
        for environment in ENVIRONMENTS:
            self.browse(environment)
        self.only_release_2(customers)

    # --- 5

    def fix(self, customers: Customers) -> None:
        self.screen.act("The fix is a commit", "No button takes it back: Git does, and everybody can read when and why.")
        self.revert("the fix")
        self.stage.trimtab("status", "HEAD", *WAIT, wrap=True)
        self.healthy_everywhere()
        self.only_release_2(customers)

    # --- 6

    def emptied(self, customers: Customers) -> None:
        self.screen.act(
            "A commit that would remove everything is held",
            "Somebody tidies up, and with one commit nothing is left of production. That is rarely meant, so a person is asked first.",
        )
        before = self.shop.pids(PRODUCTION, "web", "api")
        self.stage.git("rm", "-r", "--quiet", PRODUCTION)
        self.commit("the empty directory", "-m", "Tidy up")
        self.meddle("production is emptied")
        found = self.until("the removal is held", "HEAD", PRODUCTION, "held", customers)
        self.stage.trimtab("status", "HEAD", codes=(3,), wrap=True)
        self.held()
        self.checks.check("what runs in production is untouched", self.shop.pids(PRODUCTION, "web", "api") == before, seen=found)
        self.revert("production is back")
        self.stage.trimtab("status", "HEAD", *WAIT, wrap=True)
        self.healthy_everywhere()
        after = self.shop.pids(PRODUCTION, "web", "api")
        self.checks.check("nothing was removed", after == before, seen=after, measured=f"{len(after)} processes as before")
        self.only_release_2(customers)

    def held(self) -> None:
        shown = self.stage.trimtab("app", "plan", "shop", "--environment", PRODUCTION, codes=(3,))
        holds = self.stage.part("holds", "app", "plan", "shop", "--environment", PRODUCTION)
        names = sorted(hold["object"]["name"] for hold in holds if hold["object"])
        measured = f"{len(names)} of {len(OBJECTS)}"
        self.checks.check("all objects of production are held", names == sorted(OBJECTS), seen=holds, measured=measured)
        hashes = {hold["hash"] for hold in holds}
        approvable = len(hashes) == 1 and f"plan {holds[0]['hash']}" in shown
        measured = holds[0]["hash"][:14]
        self.checks.check("only approving that very plan, or a commit, lifts it", approvable, seen=holds, measured=measured)

    # --- 7

    def recorded(self) -> None:
        self.screen.act(
            "The record is Git's too", "Each Deployment is a note on its commit, for everybody who has the repository."
        )
        for name, environment, phase in (("release 2", PRODUCTION, "healthy"), ("release 3", STAGING, "failed")):
            self.noted(name, environment, phase)
        self.stage.git(
            "log", "--notes=trimtab", "--format=%h %s%n%N", "-2", short(self.commits["release 3"]), lines=12, wrap=True
        )
        self.checks.check("the notes say that release 2 was healthy, and that release 3 failed", True)

    # --- 8

    def where(self) -> None:
        self.screen.act("Where is my commit?", "The question of whoever wrote it, answered for any commit, at any time.")
        commit = short(self.commits["release 3"])
        self.stage.trimtab("status", commit, wrap=True)
        found = self.shop.deployment(commit, STAGING)
        by = short(found["supersededBy"])
        claim = "release 3 was taken back in staging, by the revert"
        self.checks.check(claim, (found["phase"], by) == ("reverted", short(self.commits["the fix"])), seen=found, measured=by)
        self.stage.trimtab("status", "HEAD", wrap=True)
        self.healthy_everywhere()

    # --- what the acts share

    def edit(self, number: int, *, needs: str = "") -> None:
        release(self.stage.repository, number, needs=needs)
        self.screen.command("git diff --unified=0")
        text = self.stage.git("diff", "--unified=0", shown=False, lines=100)
        changed = [line for line in text.splitlines() if line.startswith(("+", "-")) and not line.startswith(("+++", "---"))]
        self.screen.output("\n".join(changed))

    def commit(self, name: str, *arguments: str) -> None:
        self.stage.git("commit", *arguments)
        self.committed = time.monotonic()
        self.commits[name] = self.stage.head()

    def revert(self, name: str) -> None:
        self.stage.git("revert", "--no-edit", "HEAD")
        self.commits[name] = self.stage.head()

    def healthy_everywhere(self) -> None:
        phases = {environment: self.shop.deployment("HEAD", environment)["phase"] for environment in ENVIRONMENTS}
        self.checks.check("staging and production are healthy", set(phases.values()) == {"healthy"}, seen=phases)

    def only_release_2(self, customers: Customers) -> None:
        strange = sorted(text for text in customers.said if "release 2" not in text)
        self.checks.require("customers see release 2 only", not strange, seen=strange)
        self.checks.check(
            "not one request failed",
            not customers.failures and customers.answered > 0,
            seen="; ".join(customers.failures),
            measured=f"{customers.told()}, slowest {milliseconds(customers.slowest)}",
        )

    def serves(self, environment: str, text: str, claim: str) -> None:
        self.checks.wait(claim, lambda: self.shop.visit(environment).text, lambda found: text in found)

    def until(self, claim: str, commit: str, environment: str, phase: str, customers: Customers) -> dict[str, Any]:
        """Look at the status until ``environment`` is in ``phase``; customers are counted on the screen meanwhile."""

        def look() -> dict[str, Any]:
            self.screen.progress(customers.told())
            return self.shop.deployments(commit)

        found = self.checks.wait(claim, look, lambda found: environment in found and found[environment]["phase"] == phase)
        self.screen.progress("")
        return found

    def browse(self, environment: str) -> None:
        self.screen.command(f"curl {self.shop.address(environment)}")
        self.screen.output(self.shop.visit(environment).text)

    def noted(self, name: str, environment: str, phase: str) -> None:
        claim = f"the note of {name} says that it was {phase} in {environment}"
        self.checks.wait(claim, lambda: self.shop.notes(self.commits[name]), lambda found: (environment, phase) in found)
