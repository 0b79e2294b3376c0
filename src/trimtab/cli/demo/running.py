"""The shop as it runs: what its visitors, its processes, `trimtab` and Git say of it. Reads only."""

from __future__ import annotations

import json
from typing import Any

from trimtab.cli.demo.checks import Untrue
from trimtab.cli.demo.customers import Visit, visit
from trimtab.cli.demo.stage import Stage

NOTES = "+refs/notes/trimtab:refs/notes/trimtab"


class RunningShop:
    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._addresses: dict[str, str] = {}

    def address(self, environment: str) -> str:
        """``host:port`` of web, which stays the same whatever is released."""
        if environment not in self._addresses:
            self._addresses[environment] = str(self._status(environment, "web")["addresses"]["http"])
        return self._addresses[environment]

    def visit(self, environment: str) -> Visit:
        try:
            return visit(self.address(environment))
        except OSError as error:
            raise Untrue(f"{environment} answers", str(error)) from error

    def pids(self, environment: str, *names: str) -> set[int]:
        """Of the processes of these names."""
        return {live["pid"] for name in names for live in self._status(environment, name)["instances"] if live["pid"]}

    def deployments(self, commit: str) -> dict[str, Any]:
        """The Deployments in force at ``commit``, by Environment; empty while the commit has not been seen."""
        view = self._stage.ask("status", commit) or {}
        return {one["environment"]: one for one in view.get("deployments", []) if one["application"] == "shop"}

    def deployment(self, commit: str, environment: str) -> Any:
        found = self.deployments(commit)
        if environment not in found:
            raise Untrue(f"`trimtab status {commit}` knows {environment}", f"{found}")
        return found[environment]

    def drifts(self, environment: str) -> Any:
        """The newest drift that was healed; None when there is none."""
        return self._stage.ask("events", "--kind", "drift.healed", "--environment", environment, "--limit", "1")

    def notes(self, commit: str) -> set[tuple[str, str]]:
        """Environment and phase of each line of the note on a commit."""
        self._stage.git("fetch", "--quiet", "origin", NOTES, shown=False)
        text = self._stage.git("log", "-1", "--notes=trimtab", "--format=%N", commit, shown=False)
        lines = [json.loads(line) for line in text.splitlines() if line.startswith('{"application"')]
        return {(line["environment"], line["phase"]) for line in lines}

    def _status(self, environment: str, name: str) -> Any:
        [application] = self._stage.part("applications", "app", "show", "shop", "--environment", environment)
        found = {one["object"]["name"]: one["status"] for one in application["objects"]}
        if not found.get(name):
            raise Untrue(f"{name} is in {environment}", f"{found}")
        return found[name]
