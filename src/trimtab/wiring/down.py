"""The end of everything: the server of a data directory, and all that it manages."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import time
from pathlib import Path

from trimtab.core.model.errors import UserError
from trimtab.git.repositories import GitRepositories
from trimtab.plumbing.clock import SystemChance, SystemClock
from trimtab.targets.host.target import HostTargets

from .data import Claimed, kept_word

DOWN_SECONDS = 15.0


def down(data: str) -> str:
    """End the server of a data directory, if one runs, and all that it manages. Returns what was done; raises UserError."""
    directory = Path(data).expanduser().resolve()
    if not (directory / "installation").exists():
        raise UserError(
            f"take down {directory}: this is no data directory of Trimtab", remedy="Name the one given to serve --data"
        )
    ended = _end_server(directory)
    asyncio.run(_down(directory))
    return f"{'the server and ' if ended else ''}every process that it held {'have' if ended else 'has'} ended"


async def _down(data: Path) -> None:
    with Claimed(data):
        installation = kept_word(data / "installation", SystemChance().token)
        repositories = GitRepositories(data / "git")
        targets = HostTargets(data, installation=installation, contents=repositories, clock=SystemClock(), chance=SystemChance())
        try:
            await targets.down()
        finally:
            await repositories.close()


def _end_server(data: Path) -> bool:
    """SIGTERM to the holder of the lock, and wait until it let go. False when none runs."""
    with (data / "lock").open("a+") as file:
        end = time.monotonic() + DOWN_SECONDS
        told = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return told
            except OSError:
                file.seek(0)
                holder = file.read().strip()
                if not told and holder.isdigit():
                    os.kill(int(holder), signal.SIGTERM)
                    told = True
            if time.monotonic() > end:
                raise UserError(
                    f"take down {data}: the server, process {holder}, does not end", remedy=f"End it with: kill -9 {holder}"
                )
            time.sleep(0.05)
