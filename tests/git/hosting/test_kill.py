"""A server that is killed in the middle of pushes: what was told to be pushed is there, what was not is wholly there or not at all."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from pathlib import Path

from trimtab.git.hosting import GitHosting

from .conftest import Work

TIMES = 12
SERVER = """
import asyncio, sys
from pathlib import Path
import uvicorn
from trimtab.git.hosting import GitHosting, GitServer
from trimtab.ports.hosting import Accept, Verdict

class Anybody:
    name = "ann"

class Open:
    async def authenticate(self, headers, address):
        return Anybody()
    async def permit(self, principal, repository, right):
        return None
    async def judge(self, push):
        return Verdict(tuple(Accept() for _ in push.updates))
    async def received(self, push, moved):
        yield "received"

async def main():
    app = GitServer(GitHosting(Path(sys.argv[1])), entry=Open(), receiver=Open())
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off", ws="none", http="h11"))
    task = asyncio.ensure_future(server.serve())
    while not server.started:
        await asyncio.sleep(0.005)
    print(server.servers[0].sockets[0].getsockname()[1], flush=True)
    await task

asyncio.run(main())
"""


async def started(root: Path) -> tuple[asyncio.subprocess.Process, int]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SERVER, str(root)), stdout=asyncio.subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    return process, int(await process.stdout.readline())


async def killed(process: asyncio.subprocess.Process) -> None:
    os.kill(process.pid, signal.SIGKILL)
    await process.wait()


async def test_kill_nine_at_random_moments_of_pushes_loses_and_breaks_nothing(tmp_path: Path):
    """Twelve moments; each push makes two refs, which move together."""
    chance = random.Random(5)
    root = tmp_path / "repositories"
    await GitHosting(root).create("shop")
    work = Work(tmp_path / "work")
    await work.git("init", "--quiet", "--initial-branch=main")
    promised: list[tuple[int, str]] = []
    for number in range(TIMES):
        commit = await work.commit(f"change {number}", **{f"f{number}": f"{number}\n" * 5000})
        process, port = await started(root)
        url = f"http://127.0.0.1:{port}/git/shop.git"
        pushing = asyncio.ensure_future(work.run("push", url, f"{commit}:refs/heads/a{number}", f"{commit}:refs/heads/b{number}"))
        await asyncio.wait([pushing], timeout=chance.uniform(0.02, 0.35))
        await killed(process)
        if (await pushing).code == 0:
            promised.append((number, commit))

    hosting = GitHosting(root)  # as the next server does
    refs = await hosting.refs("shop")
    for number, commit in promised:
        assert refs[f"refs/heads/a{number}"] == refs[f"refs/heads/b{number}"] == commit
    for number in range(TIMES):
        assert refs.get(f"refs/heads/a{number}") == refs.get(f"refs/heads/b{number}")
    assert list(root.rglob("incoming-*")) == []
    assert [*root.rglob("*.lock")] == []
    repository = Work(hosting.path("shop"))
    await repository.git("fsck", "--strict", "--connectivity-only")
    process, port = await started(root)
    await work.git("push", "--quiet", f"http://127.0.0.1:{port}/git/shop.git", "HEAD:refs/heads/main")
    await killed(process)
