"""A Git server on a free port of this machine, with stock git as its client."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from trimtab.git.command import GitSettings
from trimtab.git.hosting import GitHosting, GitServer, Limits
from trimtab.ports.hosting import Accept, Denied, Push, RefUpdate, Right, Verdict

ENVIRONMENT = {
    "HOME": "/nonexistent",
    "LC_ALL": "C",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_AUTHOR_NAME": "Ann",
    "GIT_AUTHOR_EMAIL": "ann@example.org",
    "GIT_COMMITTER_NAME": "Ann",
    "GIT_COMMITTER_EMAIL": "ann@example.org",
}


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


class Work:
    """A developer's clone, driven by stock git without blocking the server beside it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def git(self, *arguments: str, stdin: bytes = b"", **environment: str) -> str:
        done = await self.run(*arguments, stdin=stdin, **environment)
        assert done.code == 0, f"git {' '.join(arguments)}: {done.err}"
        return done.out.strip()

    async def run(self, *arguments: str, stdin: bytes = b"", **environment: str) -> Done:
        if not self.path.exists():
            self.path.mkdir(parents=True)
        process = await asyncio.create_subprocess_exec(
            "git",
            *arguments,
            cwd=self.path,
            env={"PATH": os.environ["PATH"], **ENVIRONMENT, **environment, **_mark()},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate(stdin)
        return Done(process.returncode or 0, out.decode("utf-8", "surrogateescape"), err.decode(errors="replace"))

    async def commit(self, message: str = "change", **files: str) -> str:
        """``a__b`` is a/b."""
        for name, content in files.items():
            place = self.path / name.replace("__", "/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(content)
        await self.git("add", "--all")
        await self.git("commit", "--quiet", "--allow-empty", "-m", message)
        return await self.head()

    async def head(self, revision: str = "HEAD") -> str:
        return await self.git("rev-parse", revision)


def _mark() -> dict[str, str]:
    """So that the house's check for processes left behind finds these too."""
    return {name: value for name, value in os.environ.items() if name == "STARTED_BY_TEST_RUN"}


@dataclass
class Person:
    name: str


class Doors:
    """Ann may write, Rae may read; their tokens are their names."""

    async def authenticate(self, headers: Mapping[str, str], address: str) -> Person | Denied:
        import base64

        given = headers.get("authorization", "")
        if not given.startswith("Basic "):
            return Denied("who is there?")
        user, _, token = base64.b64decode(given[6:]).decode().partition(":")
        if token == "slow-down":
            return Denied("too many failed logins", retry_seconds=30)
        return Person(user) if user == token and user in ("ann", "rae") else Denied("the token is wrong")

    async def permit(self, principal: Any, repository: str, right: Right) -> Denied | None:
        if right == "write" and principal.name != "ann":
            return Denied(f"{principal.name} may not push to {repository}")
        return Denied("not yours") if repository.startswith("private/") else None


@dataclass
class Engine:
    """A Receiver that does as the test says: all is accepted unless ``judge`` is set."""

    verdict: Callable[[Push], Awaitable[Verdict]] | None = None
    lines: Callable[[Push], AsyncIterator[str]] | None = None
    pushes: list[Push] = field(default_factory=list)
    moved: list[RefUpdate] = field(default_factory=list)

    async def judge(self, push: Push) -> Verdict:
        self.pushes.append(push)
        if self.verdict is not None:
            return await self.verdict(push)
        return Verdict(tuple(Accept() for _ in push.updates))

    async def received(self, push: Push, moved: tuple[RefUpdate, ...]) -> AsyncIterator[str]:
        self.moved += moved
        if self.lines is not None:
            async for line in self.lines(push):
                yield line


@dataclass
class Served:
    hosting: GitHosting
    engine: Engine
    address: str
    base: Path

    def url(self, name: str, who: str = "ann") -> str:
        return f"http://{who}:{who}@{self.address}/git/{name}.git"

    async def clone(self, name: str, to: str = "work", *options: str, who: str = "ann") -> Work:
        work = Work(self.base / to)
        await Work(self.base).git("clone", "--quiet", *options, self.url(name, who), str(work.path))
        return work

    @property
    def left_over(self) -> list[Path]:
        return list(self.hosting.root.rglob("incoming-*"))


Serve = Callable[..., Awaitable[Served]]


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Serve]:
    servers: list[tuple[uvicorn.Server, asyncio.Task[None]]] = []

    async def start(limits: Limits | None = None, git: GitSettings | None = None) -> Served:
        hosting, engine = GitHosting(tmp_path / "repositories", git), Engine()
        app = GitServer(hosting, entry=Doors(), receiver=engine, limits=limits)
        config = uvicorn.Config(app, port=0, log_config=None, lifespan="off", ws="none", http="h11", access_log=False)
        server = uvicorn.Server(config)
        server.capture_signals = _no_signals  # type: ignore[method-assign]
        task = asyncio.ensure_future(server.serve())
        servers.append((server, task))
        while not server.started:
            await asyncio.sleep(0.005)
        port = server.servers[0].sockets[0].getsockname()[1]
        return Served(hosting, engine, f"127.0.0.1:{port}", tmp_path)

    yield start
    for server, task in servers:
        server.should_exit = server.force_exit = True
        await task


def _no_signals() -> Any:
    import contextlib

    return contextlib.nullcontext()


@pytest.fixture
async def served(serve: Serve) -> Served:
    return await serve()


@pytest.fixture
async def work(served: Served) -> Work:
    """A clone of the repository ``shop``, which has one commit on main."""
    await served.hosting.create("shop")
    work = await served.clone("shop")
    await work.commit("first", a="1\n", b__c="2\n")
    await work.git("push", "--quiet", "origin", "HEAD:main")
    return work
