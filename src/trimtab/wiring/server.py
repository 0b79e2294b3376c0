"""The parts list, top to bottom: settings in, a running server out."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from trimtab.core.model.rendering import DETECTED, RenderSettings
from trimtab.engine.access import Access, GitEntry
from trimtab.engine.changes.reception import Reception
from trimtab.engine.commands import Commands
from trimtab.engine.engine import Engine, Parts
from trimtab.engine.queries import Queries
from trimtab.git.hosting import GitServer
from trimtab.git.repositories import GitRepositories
from trimtab.plumbing.clock import SystemChance, SystemClock
from trimtab.ports.target import Targets
from trimtab.store.store import SqlStore
from trimtab.targets.host.target import HostTargets
from trimtab.web.app import create_app
from trimtab.web.guard import Names
from trimtab.web.server import serve as serve_web

from .adapters import SETTINGS, ByKind
from .checkers import CommandCheckers
from .checks import machine
from .data import RECORD, Claimed, absolute, kept_word, named, write
from .gitserver import hosted
from .judge import SandboxJudge
from .logs import log_event, log_to_stderr
from .rendering import served

DEFAULT_LISTEN = "127.0.0.1:0"
CLOSE_SECONDS = 2.0
SHOW_CHANGE = "trimtab change show "
"""What stands before the number of a Change where people are told of it."""
READY_POLL_SECONDS = 0.01


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What `trimtab serve` is told. ``repository`` is a URL, an absolute path, or ``hosted:NAME``."""

    repository: str
    data: Path
    listen: str = DEFAULT_LISTEN
    reachable: bool = False
    installation: str = ""
    poll_seconds: float = 60.0
    log_format: str = "text"
    names: Names = field(default_factory=Names)
    rendering: RenderSettings = DETECTED
    checkers: tuple[str, ...] = ()


@dataclass
class Running:
    """A server that serves. ``ended`` is done when the engine has ended by itself, which it only does by an error."""

    url: str
    engine: Engine
    ended: asyncio.Task[None] = field(repr=False)

    def wake(self) -> None:
        """Look at every repository now."""
        if self.engine.session is not None:
            self.engine.session.follower.wake()


def serve(
    *,
    repository: str,
    data: str,
    listen: str = "",
    reachable: bool = False,
    installation: str = "",
    poll_seconds: float = 60.0,
    log_format: str = "text",
    public_url: str = "",
    allowed_hosts: tuple[str, ...] = (),
    trusted_proxies: tuple[str, ...] = (),
    rendering: RenderSettings = DETECTED,
    checkers: tuple[str, ...] = (),
) -> int:
    """Run the server in the foreground until SIGTERM or SIGINT. Returns the exit code; raises UserError before it serves."""
    settings = Settings(
        repository=absolute(repository),
        data=Path(data).expanduser().resolve(),
        listen=listen or DEFAULT_LISTEN,
        reachable=reachable,
        installation=installation,
        poll_seconds=poll_seconds,
        log_format=log_format,
        names=Names.read(public_url, allowed_hosts, trusted_proxies),
        rendering=rendering,
        checkers=checkers,
    )
    # Young objects of a big rendering are not garbage; the default thresholds would look through them again and again.
    gc.set_threshold(50_000, 20, 100)
    log_to_stderr(log_format)
    return asyncio.run(_serve_until_told(settings))


async def _serve_until_told(settings: Settings) -> int:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    async with running(settings) as server:
        for number in (signal.SIGHUP, signal.SIGUSR1):
            loop.add_signal_handler(number, server.wake)
        print(f"trimtab ready {server.url}", flush=True)  # noqa: T201 - the contract with scripts
        waiting = asyncio.create_task(told.wait())
        await asyncio.wait({waiting, server.ended}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if server.ended.done():
            server.ended.result()
            return 1
    return 0


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Running]:
    """Every part, joined and started; ended in the opposite order. Raises UserError when one cannot be had."""
    async with AsyncExitStack() as stack:
        data = settings.data
        stack.enter_context(Claimed(data))
        newborn = not settings.installation and not (data / "installation").exists()
        installation = named(data / "installation", settings.installation, SystemChance().token)
        token = kept_word(data / "token", SystemChance().token)
        clock, chance = SystemClock(), SystemChance()
        checkers = CommandCheckers(settings.checkers)

        store = SqlStore.open(data / RECORD)
        stack.push_async_callback(store.close)
        hosting = await stack.enter_async_context(hosted(data / "repositories", settings.repository, key=data / "signing-key"))
        repositories = GitRepositories(data / "git", hosted=hosting.root)
        stack.push_async_callback(repositories.close)
        renderer = served(data, settings.rendering)
        stack.push_async_callback(renderer.close)
        targets = HostTargets(data, installation=installation, contents=repositories, clock=clock, chance=chance)

        def clusters() -> Targets:
            from trimtab.targets.kubernetes.target import KubernetesTargets

            made = KubernetesTargets(installation=installation, clock=clock, chance=chance)
            stack.push_async_callback(made.close)
            return made

        await targets.start()
        stack.push_async_callback(targets.close)

        judge = SandboxJudge()
        stack.push_async_callback(judge.close)

        engine = Engine(
            Parts(
                installation=installation,
                newborn=newborn,
                # The lock of the data directory lets in one process at a time, so the next one need not wait for a lease to end.
                holder=installation,
                repository=settings.repository,
                repositories=repositories,
                renderer=renderer,
                targets=ByKind({"host": lambda: targets, "kubernetes": clusters}),
                adapters=SETTINGS,
                store=store,
                clock=clock,
                chance=chance,
                poll_seconds=settings.poll_seconds,
                checks=lambda: machine(data, settings.rendering),
                hosting=hosting,
                judge=judge,
                link=SHOW_CHANGE,
                checkers=checkers,
            )
        )
        engine.journal.on_event(log_event)
        ended = asyncio.create_task(engine.run(), name="engine")
        stack.push_async_callback(_cancel, ended)
        await _ready(engine, ended)

        access = Access(engine, operator_token=token)
        app = create_app(
            Queries(engine),
            Commands(engine),
            access=access,
            ready=lambda: engine.ready,
            names=settings.names,
            git=GitServer(hosting, entry=GitEntry(access), receiver=Reception(engine)),
        )
        web = await serve_web(app, settings.listen, reachable=settings.reachable)
        stack.push_async_callback(web.close, CLOSE_SECONDS)
        write(data / "server.json", msgspec.json.encode({"url": web.url, "pid": os.getpid()}).decode())
        stack.callback((data / "server.json").unlink, missing_ok=True)
        yield Running(web.url, engine, ended)


async def _ready(engine: Engine, ended: asyncio.Task[None]) -> None:
    while not engine.ready and not ended.done():
        await asyncio.sleep(READY_POLL_SECONDS)
    if ended.done():
        ended.result()


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
