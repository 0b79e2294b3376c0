"""The acts of the demo, in order. Each shows commands and what they print, and checks what it says by looking at the real thing:
over HTTP, at processes and files, and in the JSON that `trimtab` prints.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from typing import Any

from trimtab.cli.demo.checks import Checks, Untrue, milliseconds
from trimtab.cli.demo.customers import Customers
from trimtab.cli.demo.running import NOTES, RunningShop
from trimtab.cli.demo.screen import Screen
from trimtab.cli.demo.shop import ENVIRONMENTS, OBJECTS, PRICES, release, replicas
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
        self.proposed()
        self.goes_live()
        self.kept_so()
        with Customers([self.shop.address(environment) for environment in ENVIRONMENTS]) as customers:
            self.bad_release(customers)
            self.fix(customers)
            self.emptied(customers)
        self.moved()
        self.recorded()
        self.where()

    # --- 1

    def begin(self) -> None:
        self.screen.act(
            "A repository says what should run",
            "A small shop: two processes (web calls api), a file (the price list) and a task (the migration), in staging and in "
            "production. Everything is in one Git repository, which the server itself keeps, with who may do what.",
        )
        self.stage.make()
        self.stage.serve()
        self.screen.command("cat .trimtab/shop.yaml")
        self.screen.output((self.stage.seed / ".trimtab" / "shop.yaml").read_text(), words=False)
        self.stage.git("add", ".")
        self.commit("the shop", "-m", "Open the shop")
        self.stage.push_first()
        self.first_approval()
        self.stage.trimtab("status", "HEAD", *WAIT, wrap=True)
        for environment in ENVIRONMENTS:
            self.browse(environment)
            text = self.shop.visit(environment).text
            self.checks.check(f"{environment} is open", "release 1" in text, seen=text, measured=self.shop.address(environment))
        self.stage.clone("ada")
        self.stage.token("ben")

    def first_approval(self) -> None:
        """Production asks for an approval of what happens there, the first time too."""
        claim = "production waits until somebody approves its first plan"
        self.checks.wait(
            claim,
            lambda: self.shop.deployments("HEAD"),
            lambda found: PRODUCTION in found and found[PRODUCTION]["phase"] == "held",
        )
        holds = self.stage.part("holds", "app", "plan", "shop", "--environment", PRODUCTION)
        self.checks.check(claim, len({hold["hash"] for hold in holds}) == 1, seen=holds, measured=holds[0]["hash"][:14])
        self.stage.trimtab("app", "approve", "shop", holds[0]["hash"], "--environment", PRODUCTION)

    # --- 2

    def proposed(self) -> None:
        self.screen.act(
            "A change is proposed, and shown before it happens",
            "Ada edits in her clone and pushes. The push prints what would happen, against what really runs, and what the rules say.",
        )
        replicas(self.stage.repository, 9)
        self.edit(2)
        self.stage.git("switch", "--quiet", "--create", "release-2")
        self.stage.git("commit", "-am", "Release 2")
        said = self.stage.pushed("-o", "change")
        self.checks.check("the push shows the plan for both", _planned(said), seen=said)
        claim = "the policy says no, with file, line and remedy"
        self.checks.check(claim, "production/web.yaml" in said and "Take 4, or fewer" in said, seen=said, measured="thrift")
        replicas(self.stage.repository, ENVIRONMENTS[PRODUCTION])
        self.stage.git("commit", "-am", "Two are enough")
        said = self.stage.pushed()
        self.checks.check("corrected, an approval is all that is missing", _only_an_approval(said), seen=said)
        refused = self.stage.by("ada", "change", "approve", "1", "--yes", "--environment", PRODUCTION, codes=(1,))
        self.checks.check("Ada cannot approve her own change", "ada may not review" in refused, seen=refused)
        texts = {self.shop.visit(environment).text for environment in ENVIRONMENTS}
        self.checks.check("nothing has happened yet", all("release 1" in text for text in texts), seen=texts)

    # --- 3

    def goes_live(self) -> None:
        self.screen.act(
            "Approved, merged, live",
            "Ben sees the plan for production and approves that very plan. First it goes to staging. When it is healthy there, the same "
            "commit goes on to production. A new process is ready before the old one stops.",
        )
        shown = self.stage.by("ben", "change", "approve", "1", "--yes", "--environment", PRODUCTION, lines=16)
        approved = shown.rpartition("approved: production ")[2].split()[0]
        self.checks.check(
            "what is approved is a plan, by its hash", approved.startswith("sha256:"), seen=shown, measured=approved[:14]
        )
        self.merged("release 2", 1)
        self.meddle("release 2 is committed")
        for environment, claim in ((STAGING, "release 2 serves in staging"), (PRODUCTION, "then release 2 serves in production")):
            self.serves(environment, "release 2", claim)
            self.checks.check(
                claim, True, measured=f"{milliseconds(time.monotonic() - self.committed)} after the merge was asked for"
            )
        self.stage.trimtab("status", "HEAD", *WAIT, wrap=True)
        staging, production = (self.shop.deployment("HEAD", environment) for environment in ENVIRONMENTS)
        self.checks.check(
            "both run the same commit, production after staging",
            staging["revision"] == production["revision"] == self.commits["release 2"]
            and parse_time(staging["since"]) <= parse_time(production["since"]),
            seen=(staging, production),
            measured=short(self.commits["release 2"]),
        )
        message = self.stage.git("log", "-1", "--format=%B", lines=8)
        self.checks.check(
            "the merge says who approved which plan",
            "Approved-by: Ben Bell <ben@example.org>" in message and f"Plan-production: {approved}" in message,
            seen=message,
        )

    # --- 4

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

    # --- 5

    def bad_release(self, customers: Customers) -> None:
        self.screen.act(
            "A bad release never gets ready",
            "Release 3 asks the api for /discounts, which no api has. Meanwhile customers visit staging and production, all the time.",
        )
        self.edit(3, needs="/discounts")
        self.change("release 3", "-am", "Release 3: discounts")
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

    # --- 6

    def fix(self, customers: Customers) -> None:
        self.screen.act("The fix is a commit", "No button takes it back: Git does, and everybody can read when and why.")
        self.revert("the fix")
        self.stage.trimtab("status", "HEAD", *WAIT, wrap=True)
        self.healthy_everywhere()
        self.only_release_2(customers)

    # --- 7

    def emptied(self, customers: Customers) -> None:
        self.screen.act(
            "A change that would remove everything says so first",
            "Somebody tidies up, and nothing would be left of production. That is rarely meant, and it is seen before anything happens.",
        )
        before = self.shop.pids(PRODUCTION, "web", "api")
        self.stage.git("switch", "--quiet", "--create", "tidy-up")
        self.stage.git("rm", "-r", "--quiet", PRODUCTION)
        self.stage.git("commit", "-m", "Tidy up")
        said = self.stage.pushed("-o", "change")
        self.meddle("production is emptied")
        number = _number(said)
        self.stage.by("ben", "change", "plan", number, "--environment", PRODUCTION, codes=(3,))
        self.held(number)
        self.stage.by("ben", "change", "close", number, "--reason", "we need it still")
        self.stage.git("switch", "--quiet", "main")
        after = self.shop.pids(PRODUCTION, "web", "api")
        self.checks.check("nothing was removed", after == before, seen=after, measured=f"{len(after)} processes as before")
        self.only_release_2(customers)

    def held(self, number: str) -> None:
        [plan] = self.stage.part("environments", "change", "plan", number, "--environment", PRODUCTION)
        names = sorted(hold["object"]["name"] for hold in plan["plan"]["holds"] if hold["object"])
        measured = f"{len(names)} of {len(OBJECTS)}"
        self.checks.check("all objects of production are held", names == sorted(OBJECTS), seen=plan, measured=measured)
        lifted = {hold["liftedBy"] for hold in plan["plan"]["holds"]}
        claim = "only approving that very plan lifts it"
        self.checks.check(
            claim, bool(lifted) and all("approving this plan" in one for one in lifted), seen=lifted, measured=plan["hash"][:14]
        )

    # --- 8

    def moved(self) -> None:
        self.screen.act(
            "What was approved is what happens, or nothing",
            "Ben approves one more replica. Before it is merged, another change goes live, and production is not what he saw any more.",
        )
        replicas(self.stage.repository, ENVIRONMENTS[PRODUCTION] + 1)
        self.stage.git("switch", "--quiet", "--create", "one-more")
        self.stage.git("commit", "-am", "One more replica")
        number = _number(self.stage.pushed("-o", "change"))
        self.stage.by("ben", "change", "approve", number, "--yes", "--environment", PRODUCTION)
        self.stage.git("switch", "--quiet", "main")
        release(self.stage.repository, 3)
        self.change("release 3 again", "-am", "Release 3, without discounts", quiet=True)
        self.serves(PRODUCTION, "release 3", "release 3 serves in production")
        self.meddle("the plan has moved")
        claim = "the approval is void: it was of another plan"
        view = self.checks.wait(claim, lambda: self.stage.ask("change", "show", number), lambda found: bool(found["withdrawn"]))
        self.checks.check(claim, not view["approvals"], seen=view["approvals"], measured=view["withdrawn"][0]["hash"][:14])
        said = self.stage.by("ben", "change", "merge", number, codes=(3,))
        self.checks.check("so it is not merged", "1 more approval" in said, seen=said)
        self.stage.by("ben", "change", "approve", number, "--yes", "--environment", PRODUCTION)
        view = self.checks.wait(
            "approved anew, it is merged",
            lambda: self.stage.ask("change", "show", number),
            lambda found: found["stage"] == "merged",
        )
        self.stage.git("pull", "--quiet", shown=False)
        self.stage.trimtab("status", "HEAD", *WAIT, wrap=True)
        count = len(self.shop.pids(PRODUCTION, "web"))
        self.checks.check(
            "approved anew, it is live", count == ENVIRONMENTS[PRODUCTION] + 1, seen=count, measured=f"{count} replicas"
        )

    # --- 9

    def recorded(self) -> None:
        self.screen.act(
            "The record is Git's too", "Each Deployment is a note on its commit, for everybody who has the repository."
        )
        self.stage.git("fetch", "--quiet", "origin", NOTES)
        for name, environment, phase in (("release 2", PRODUCTION, "healthy"), ("release 3", STAGING, "failed")):
            self.noted(name, environment, phase)
        self.stage.git(
            "log",
            "--first-parent",
            "--notes=trimtab",
            "--format=%h %s%n%N",
            "-1",
            short(self.commits["release 3"]),
            lines=6,
            wrap=True,
        )
        self.checks.check("the notes say that release 2 was healthy, and that release 3 failed", True)
        self.stage.trimtab("audit", "verify", "--clone", ".", wrap=True)
        known = {one["change"]: one for one in self.stage.part("merges", "audit", "rebuild", ".")}
        who = {who for one in known.values() for who in one["approvedBy"]}
        claim = "a clone alone knows every merge, and who approved it"
        self.checks.check(claim, who == {"Ben Bell <ben@example.org>"}, seen=known, measured=f"{len(known)} changes")

    # --- 10

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
        self.commits[name] = self.stage.head()

    def change(self, name: str, *arguments: str, quiet: bool = False) -> None:
        """Ada proposes, Ben approves, and it is merged."""
        branch = name.replace(" ", "-") + "-b"
        self.stage.git("switch", "--quiet", "--create", branch, shown=False)
        self.stage.git("commit", *arguments)
        self.propose(name, quiet=quiet)

    def revert(self, name: str) -> None:
        self.stage.git("switch", "--quiet", "--create", name.replace(" ", "-"), shown=False)
        self.stage.git("revert", "--no-edit", "-m", "1", "HEAD")
        said = self.stage.pushed("-o", "change", lines=8)
        claim = "production was never touched, so nobody has to approve that"
        self.checks.check(claim, "nothing is missing" in said and PRODUCTION not in said, seen=said)
        self.merged(name, int(_number(said)))

    def propose(self, name: str, *, quiet: bool = False) -> None:
        number = _number(self.stage.pushed("-o", "change", lines=2 if quiet else 8))
        self.stage.by("ben", "change", "approve", number, "--yes", "--environment", PRODUCTION, lines=1)
        self.merged(name, int(number))

    def merged(self, name: str, number: int) -> None:
        self.committed = time.monotonic()
        self.stage.by("ben", "change", "merge", str(number), "--wait")
        self.stage.git("switch", "--quiet", "main", shown=False)
        self.stage.git("pull", "--quiet")
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


def _number(said: str) -> str:
    """Of the Change that a push has told of."""
    found = re.search(r"change (\d+):", said)
    if found is None:
        raise Untrue("the push tells the number of its change", said)
    return found[1]


def _planned(said: str) -> bool:
    return all(re.search(rf"{environment}: .*updated.*sha256:", said) for environment in ENVIRONMENTS)


def _only_an_approval(said: str) -> bool:
    missing = said.partition("still missing:")[2]
    return "✗" not in said and missing.count("  - ") == 1 and "1 more approval" in missing
