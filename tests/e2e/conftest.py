"""A real `trimtab serve` on a repository and a data directory of its own, taken down after the test; whatever then still runs
fails the test.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from trimtab.testing.served import Repository, Served, until

API = "host.trimtab.dev/v1"
SLEEP = ["sleep", "100000"]


class World:
    """A repository and the servers on it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.repository = Repository(root / "repository")
        self.data = root / "data"
        self.servers: list[Served] = []

    def server(self, *arguments: str, data: Path | None = None, repository: Path | str | None = None, **options: Any) -> Served:
        """One that is not started yet."""
        served = Served(repository or self.repository.path, data or self.data, arguments=arguments, **options)
        self.servers.append(served)
        return served

    def serve(self, *arguments: str, **options: Any) -> Served:
        """One that is ready."""
        return self.server(*arguments, **options).start()

    def close(self) -> list[str]:
        """Take everything down. Returns what was left running all the same."""
        left: list[str] = []
        for served in {served.data: served for served in self.servers}.values():
            done = served.down() if (served.data / "installation").exists() else None
            if done is not None and done.code:
                left.append(f"down: {done.err}")
        for served in self.servers:
            if served.process is not None:
                try:
                    served.ended()
                except subprocess.TimeoutExpired:
                    left.append("a server")
                    served.kill()
            with suppress(AssertionError):
                until(lambda served=served: not served.processes(), 3)
            for pid, command in served.processes().items():
                left.append(f"{pid} {command}")
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        return left


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    left = made.close()
    if left:
        pytest.fail(f"left running: {left}")


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], World]]:
    """Worlds that the tests of a module share."""
    made: dict[str, World] = {}

    def of(name: str) -> World:
        if name not in made:
            made[name] = World(tmp_path_factory.mktemp(name))
        return made[name]

    yield of
    left = [line for one in made.values() for line in one.close()]
    if left:
        pytest.fail(f"left running: {left}")


# --- documents: JSON, which is YAML too ---------------------------------------------------------------------------------------


def document(kind: str, name: str, spec: dict[str, Any], *, api: str = API, **metadata: Any) -> str:
    return json.dumps({"apiVersion": api, "kind": kind, "metadata": {"name": name, **metadata}, "spec": spec}) + "\n"


def process(name: str, *command: str, **spec: Any) -> str:
    return document("Process", name, {"command": list(command or SLEEP), "stop": {"graceSeconds": 2, "drainSeconds": 0}, **spec})


def task(name: str, script: str, **spec: Any) -> str:
    return document("Task", name, {"command": ["sh", "-c", script], **spec})


def text_file(name: str, content: str, path: str = "", **metadata: Any) -> str:
    return document("File", name, {"path": path or f"{name}.txt", "content": content}, **metadata)


def application(name: str, path: str = "", *, environments: list[Any] | None = None, **spec: Any) -> str:
    places = [one if isinstance(one, dict) else {"name": one} for one in environments or ["host"]]
    source = spec.pop("source", {"path": path or f"apps/{name}"})
    return document("Application", name, {"source": source, "environments": places, **spec}, api="trimtab.dev/v1")


def environment(name: str, **spec: Any) -> str:
    return document("Environment", name, spec, api="trimtab.dev/v1")


def several(*documents: str) -> str:
    return "---\n".join(documents)
