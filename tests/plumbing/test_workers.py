"""Children that stay: one serves many requests, and one that ends takes nobody along."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from trimtab.plumbing.workers import SaidTooMuch, TookTooLong, WorkerFailed, Workers

CHILD = """import os, struct, sys, time
while header := sys.stdin.buffer.read(4):
    request = sys.stdin.buffer.read(struct.unpack(">I", header)[0])
    if request == b"die":
        print("my last words", file=sys.stderr, flush=True)
        os._exit(1)
    if request == b"hang":
        time.sleep(60)
    if request == b"chatter":
        print("x" * 1_000_000, file=sys.stderr, flush=True)
    if request == b"lie":
        sys.stdout.buffer.write(struct.pack(">I", 3_000_000_000) + b"y" * 1_000_000)
    answer = b"z" * 2_000_000 if request == b"much" else b"%d " % os.getpid() + request
    sys.stdout.buffer.write(struct.pack(">I", len(answer)) + answer)
    sys.stdout.buffer.flush()
"""


@pytest.fixture
async def workers() -> AsyncIterator[Workers]:
    made = Workers([sys.executable, "-I", "-S", "-c", CHILD], {}, most=2)
    yield made
    await made.close()


async def ask(workers: Workers, request: bytes, *, seconds: float = 5.0) -> bytes:
    return await workers.ask(request, timeout_seconds=seconds, answer_bytes_max=1_000_000)


async def test_one_child_answers_many_requests(workers: Workers) -> None:
    answers = {(await ask(workers, b"one")).partition(b" ")[0] for _ in range(20)}
    assert (len(answers), workers.started) == (1, 1)


async def test_no_more_children_than_allowed(workers: Workers) -> None:
    """However many ask at once."""
    answers = await asyncio.gather(*(ask(workers, b"%d" % number) for number in range(20)))
    assert [answer.partition(b" ")[2] for answer in answers] == [b"%d" % number for number in range(20)]
    assert workers.started == 2


@pytest.mark.parametrize(
    ("request_", "error", "words"),
    [
        (b"die", WorkerFailed, "ended without an answer"),
        (b"hang", TookTooLong, r"killed after 0\.5 s"),
        (b"much", SaidTooMuch, "an answer of 2000000 bytes"),
        (b"lie", SaidTooMuch, "an answer of 3000000000 bytes"),
    ],
)
async def test_one_that_fails_takes_nobody_along(
    workers: Workers, request_: bytes, error: type[WorkerFailed], words: str
) -> None:
    """The one beside it answers, the next one has a new child, and the one that failed is gone at once."""
    failed, well = await asyncio.gather(ask(workers, request_, seconds=0.5), ask(workers, b"well"), return_exceptions=True)
    assert isinstance(failed, error)
    with pytest.raises(error, match=words):
        raise failed
    assert isinstance(well, bytes)
    before = time.monotonic()
    assert (await ask(workers, b"next")).endswith(b"next")
    assert time.monotonic() - before < 2


async def test_the_last_words_are_kept(workers: Workers) -> None:
    with pytest.raises(WorkerFailed) as raised:
        await ask(workers, b"die")
    assert raised.value.stderr == b"my last words\n"


async def test_one_that_talks_to_itself_is_not_held_up(workers: Workers) -> None:
    assert (await ask(workers, b"chatter")).endswith(b"chatter")


async def test_a_request_that_is_given_up_ends_its_child(workers: Workers) -> None:
    """Nobody else gets the answer to it."""
    task = asyncio.create_task(ask(workers, b"hang"))
    await asyncio.sleep(0.3)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (await ask(workers, b"after")).endswith(b"after")
    assert workers.started == 2


async def test_children_with_nothing_to_do_are_ended() -> None:
    workers = Workers([sys.executable, "-I", "-S", "-c", CHILD], {}, most=2, idle_seconds=0.05)
    pid = int((await ask(workers, b"x")).partition(b" ")[0])
    for _ in range(200):
        if not Path(f"/proc/{pid}").exists():
            break
        await asyncio.sleep(0.02)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert (await ask(workers, b"again")).endswith(b"again")
    await workers.close()


async def test_a_program_that_is_not_there() -> None:
    with pytest.raises(OSError, match="No such file"):
        await ask(Workers(["/nowhere"], {}, most=1), b"x")
