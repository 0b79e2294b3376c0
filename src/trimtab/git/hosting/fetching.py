"""A fetch or clone: the client's question to `git upload-pack`, its answer to the client, both as they come.

The question for refs (protocol 2, ``ls-refs``) is answered from what is kept, as it is what every poll asks. All else starts one
process, which ends with the client.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from trimtab.core.model.errors import TransientError
from trimtab.git.text import last_words
from trimtab.plumbing.streaming import Streamed

from .advertising import UPLOAD_OPTIONS, Kept, refs_asked
from .body import Answer, Body, Gone
from .limits import Limits
from .places import Place

RESULT = "application/x-git-upload-pack-result"
PIECE_BYTES = 256 * 1024
_LS_REFS = b"command=ls-refs"
_QUESTION_BYTES_MAX = 64 * 1024


async def fetch(
    place: Place, protocol: str, body: Body, answer: Answer, left: Callable[[], Awaitable[None]], kept: Kept, limits: Limits
) -> None:
    """``left`` returns when the client has gone. Raises Gone, or what `Body` raises."""
    pieces = aiter(body)
    first = await anext(pieces, b"")
    if protocol == "version=2" and first[4 : 4 + len(_LS_REFS)] == _LS_REFS:
        question = await _short(first, pieces)
        key = ("ls-refs", place.name, place.state, question)
        await answer.whole(200, RESULT, await kept.get(key, lambda: refs_asked(place, protocol, question)))
        return
    environment = {**place.git.environment(*UPLOAD_OPTIONS), **({"GIT_PROTOCOL": protocol} if protocol else {})}
    arguments = [place.git.settings.program, "upload-pack", "--stateless-rpc", str(place.path)]
    async with Streamed(arguments, environment=environment) as program:
        feeding = asyncio.ensure_future(_feed(program, first, pieces))
        leaving = asyncio.ensure_future(_after(feeding, left))
        try:
            await _pass_on(program, answer, leaving, limits)
            await feeding
        finally:
            feeding.cancel()
            leaving.cancel()
            await asyncio.gather(feeding, leaving, return_exceptions=True)
        if not answer.begun:
            raise TransientError(f"fetch from {place.title}: {last_words(program.stderr) or 'git gave no answer'}")
        await answer.end()


async def _short(first: bytes, pieces: AsyncIterator[bytes]) -> bytes:
    question = first
    async for piece in pieces:
        question += piece
        if len(question) > _QUESTION_BYTES_MAX:
            raise Gone("it asks for too many refs by name")
    return question


async def _feed(program: Streamed, first: bytes, pieces: AsyncIterator[bytes]) -> None:
    taken = await program.write(first)
    async for piece in pieces:
        taken = taken and await program.write(piece)
    await program.end_input()


async def _after(feeding: asyncio.Future[None], left: Callable[[], Awaitable[None]]) -> None:
    """Only when the whole body has come may anybody listen for what comes after it."""
    await asyncio.wait([feeding])
    if feeding.exception() is None:
        await left()


async def _pass_on(program: Streamed, answer: Answer, leaving: asyncio.Future[None], limits: Limits) -> None:
    while chunk := await program.read(PIECE_BYTES, limits.check_seconds):
        if leaving.done():
            raise Gone("the client has left")
        if not answer.begun:
            await answer.begin(200, RESULT)
        await answer.send(chunk)
