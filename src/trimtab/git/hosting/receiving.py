"""A push, from its first byte to the last line on its sender's terminal.

    commands read → pack into quarantine → complete? → the server's own rules → Receiver.judge → [ objects taken over, refs moved ]
    → report → Receiver.received, line by line

What is in brackets happens one push at a time for a repository, and the refs move in one transaction: before it nothing of the push is
visible, and whatever ends it there leaves nothing but a directory that is swept. All that may be said is said on the sender's terminal.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, TypeVar

from trimtab.core.model.errors import TransientError, TrimtabError
from trimtab.core.model.text import one_line, printable
from trimtab.git.objects import Objects
from trimtab.plumbing.processes import ProcessError, TimedOut
from trimtab.ports.hosting import Accept, Principal, Push, Receiver, Redirect, RefUpdate, Refuse, Verdict

from . import commands
from .body import Answer, Body, Gone
from .commands import Request
from .history import GitHistory
from .limits import Limits
from .names import MAGIC, not_pushed, wrong_ref
from .packets import FLUSH, KEEP_ALIVE, line, sideband, told
from .places import REMEDY, Place
from .quarantine import Quarantine, Rejected, quarantine

RESULT = "application/x-git-receive-pack-result"
KEEP_ALIVE_SECONDS = 5.0
REASON_CHARACTERS_MAX = 200

log = logging.getLogger(__name__)
T = TypeVar("T")
Left = Callable[[], Awaitable[None]]


@dataclass
class Outcome:
    """``unpack`` is "ok", or why nothing was taken. ``reasons`` say why a ref stays; ``moved`` is what has moved."""

    unpack: str = "ok"
    reasons: dict[str, str] = field(default_factory=dict)
    redirects: dict[str, Redirect] = field(default_factory=dict)
    moved: tuple[RefUpdate, ...] = ()
    lines: list[str] = field(default_factory=list)
    push: Push | None = None


@dataclass
class Receiving:
    """One push to ``place``. ``left`` returns when the client has gone."""

    place: Place
    principal: Principal
    receiver: Receiver
    limits: Limits
    body: Body
    answer: Answer
    left: Left

    async def run(self) -> None:
        """Raises Gone, Malformed, or what `Body` raises, before anything is answered."""
        pieces = aiter(self.body)
        request = await commands.read(pieces, self.limits)
        if not request.updates:
            return await self.answer.whole(200, RESULT, b"")
        self.place.pushes += 1
        try:
            await self.place.interrupt()
            async with quarantine(self.place, self.limits) as held:
                failed = await self._unpack(held, request, pieces)
                await self.answer.begin(200, RESULT)
                talk = Talk(self.answer, request.capabilities, self.left)
                try:
                    outcome = await self._outcome(held, request, failed, talk)
                    await talk.tell(outcome.lines)
                    await talk.report(request, outcome)
                    if outcome.moved and outcome.push is not None:
                        await self._received(outcome.push, outcome.moved, talk)
                    await talk.end()
                finally:
                    await talk.close()
        finally:
            self.place.pushes -= 1
            self.place.wake()
        return None

    async def _unpack(self, held: Quarantine, request: Request, pieces: AsyncIterator[bytes]) -> str:
        """Why it cannot be taken; "" when it can. In any case all of the body has been read."""
        if not request.with_pack:
            return ""
        try:
            async with held.indexer() as indexer:
                taken = await indexer.write(request.rest)
                held.bytes = len(request.rest)
                async for piece in pieces:
                    held.bytes += len(piece)
                    taken = taken and await indexer.write(piece)
                await indexer.end_input()
                await held.received(indexer)
        except Rejected as rejected:
            return rejected.line
        except TimedOut:
            return "checking it took too long"
        except TransientError as error:
            log.error("push to %s: %s", self.place.title, error)
            return str(error)
        return ""

    async def _outcome(self, held: Quarantine, request: Request, failed: str, talk: Talk) -> Outcome:
        outcome = Outcome()
        try:
            if failed:
                raise Rejected(failed)
            news = sorted({update.new for update in request.updates if update.new})
            if news:
                await talk.meanwhile(held.connected(news))
        except (Rejected, ProcessError, TransientError) as error:
            why = error.line if isinstance(error, Rejected) else str(error)
            outcome.unpack = one_line(why, characters_max=REASON_CHARACTERS_MAX)
            outcome.lines = [f"Nothing was taken: {why}"]
            outcome.reasons = {update.ref: "nothing was taken" for update in request.updates}
            return outcome
        objects = Objects(self.place.path, self.place.title, also=held.path, remedy=REMEDY)
        try:
            await self._judged(held, request, outcome, GitHistory(self.place, objects, held.path), talk)
        finally:
            objects.repository.free()
        return outcome

    async def _judged(self, held: Quarantine, request: Request, outcome: Outcome, history: GitHistory, talk: Talk) -> None:
        made = 0
        for update in request.updates:
            if reason := self._against(update, history, made):
                outcome.reasons[update.ref] = reason
            elif not update.old:
                made += 1
        atomic = "atomic" in request.capabilities
        rest = tuple(update for update in request.updates if update.ref not in outcome.reasons)
        if not rest or (atomic and outcome.reasons):
            return _atomic(request, outcome)
        push = outcome.push = Push(secrets.token_hex(8), self.place.name, self.principal, rest, tuple(request.options), history)
        verdict = await self._ask(push, talk)
        outcome.lines += verdict.lines
        moves = _moves(push, verdict, outcome)
        if not moves or (atomic and outcome.reasons):
            return _atomic(request, outcome)
        await self._move(held, (*moves, *verdict.also), outcome)
        return None

    def _against(self, update: RefUpdate, history: GitHistory, made: int) -> str:
        """What the server itself has against an update, whatever the rules are. ``made`` refs come with this push already."""
        if wrong := not_pushed(update.ref, bytes_max=self.limits.ref_bytes):
            return wrong
        refs = self.place.refs
        now = refs.ids.get(update.ref, "")
        if now != update.old:
            return "it has moved: fetch first"
        if not update.new:
            return "the default branch cannot be deleted" if update.ref == refs.head else "" if update.old else "it is not there"
        if not now and len(refs.ids) + made >= self.limits.refs:
            return f"the repository has its {self.limits.refs} refs already; delete some"
        if not history.has(update.new):
            return "the object it shall name is not here"
        if update.ref.startswith(("refs/heads/", MAGIC)) and history.peel(update.new) != update.new:
            return "a branch names a commit, and this is none"
        return ""

    async def _ask(self, push: Push, talk: Talk) -> Verdict:
        """The Receiver's verdict; a refusal of all where it does not come to one."""
        try:
            asked = asyncio.wait_for(self.receiver.judge(push), self.limits.judge_seconds)
            verdict = await talk.meanwhile(asked)
            if len(verdict.answers) != len(push.updates):
                raise ValueError("a verdict needs one answer for each update")
            return verdict
        except TimeoutError:
            return _refused(
                push, "no verdict in time", f"There was no verdict within {self.limits.judge_seconds:g} s. Push again"
            )
        except TrimtabError as error:
            return _refused(push, one_line(error.message), str(error))
        except Gone:
            raise
        except Exception:
            log.exception("judge push %s to %s", push.id, self.place.title)
            return _refused(push, "the server met an error of its own", "The server met an error of its own; its log has more")

    async def _move(self, held: Quarantine, moves: tuple[RefUpdate, ...], outcome: Outcome) -> None:
        try:
            if await self.place.move(moves, held.take_over):
                outcome.moved = moves
                return
            reason, advice = "a ref moved meanwhile", "Another push came first. Fetch, and push again"
        except TrimtabError as error:
            log.warning("push to %s: %s", self.place.title, error)
            reason, advice = one_line(error.message), str(error)
        assert outcome.push is not None
        outcome.redirects.clear()
        outcome.reasons.update({update.ref: reason for update in outcome.push.updates if update.ref not in outcome.reasons})
        outcome.lines.append(advice)

    async def _received(self, push: Push, moved: tuple[RefUpdate, ...], talk: Talk) -> None:
        """What the Receiver has to tell now, for so long."""
        told_lines = 0
        lines: Any = self.receiver.received(push, moved)
        deadline = asyncio.get_running_loop().time() + self.limits.tell_seconds
        try:
            async with aclosing(lines):
                while told_lines < self.limits.lines:
                    left = deadline - asyncio.get_running_loop().time()
                    text = await talk.meanwhile(asyncio.wait_for(anext(lines, None), max(left, 0.001)))
                    if text is None:
                        return
                    await talk.tell([text])
                    told_lines += 1
        except TimeoutError:
            await talk.tell(["(more is to come; this does not wait for it)"])
        except Gone:
            return
        except Exception:
            log.exception("tell of push %s to %s", push.id, self.place.title)


class Talk:
    """The answer to a push, once it is begun: for people on channel 2, the report for git on channel 1, signs of life in between."""

    def __init__(self, answer: Answer, capabilities: frozenset[str], left: Left) -> None:
        self._answer, self._capabilities = answer, capabilities
        self._banded = "side-band-64k" in capabilities
        self._leaving = asyncio.ensure_future(left())

    async def meanwhile(self, work: Awaitable[T]) -> T:
        """The result of ``work``, with signs of life while it takes its time. Raises Gone, and ends the work, when the client leaves."""
        task = asyncio.ensure_future(work)
        try:
            while True:
                done, _ = await asyncio.wait(
                    {task, self._leaving}, timeout=KEEP_ALIVE_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
                if task in done:
                    return task.result()
                if self._leaving in done:
                    raise Gone("the client has left")
                if self._banded:
                    await self._answer.send(KEEP_ALIVE)
        finally:
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def tell(self, texts: list[str]) -> None:
        lines = [part for text in texts for part in printable(text).split("\n")]
        if lines and self._banded:
            await self._answer.send(told(lines))

    async def report(self, request: Request, outcome: Outcome) -> None:
        if not self._capabilities & {"report-status", "report-status-v2"}:
            return
        text = b"".join(_report(request, outcome, "report-status-v2" in self._capabilities)) + FLUSH
        await self._answer.send(b"".join(sideband(1, text)) if self._banded else text)

    async def end(self) -> None:
        if self._banded:
            await self._answer.send(FLUSH)
        await self._answer.end()

    async def close(self) -> None:
        self._leaving.cancel()
        await asyncio.gather(self._leaving, return_exceptions=True)


def _moves(push: Push, verdict: Verdict, outcome: Outcome) -> list[RefUpdate]:
    """What the verdict lets move; the rest gets its reason."""
    moves = []
    for update, decided in zip(push.updates, verdict.answers, strict=True):
        match decided:
            case Refuse(message):
                outcome.reasons[update.ref] = message
            case Redirect(ref, old) if wrong_ref(ref) == "" and update.new:
                outcome.redirects[update.ref] = decided
                moves.append(RefUpdate(ref, old, update.new))
            case Accept() if not update.ref.startswith(MAGIC):
                moves.append(update)
            case _:
                outcome.reasons[update.ref] = "nothing here takes this ref; push to a branch"
    return moves


def _refused(push: Push, reason: str, advice: str) -> Verdict:
    return Verdict(tuple(Refuse(reason) for _ in push.updates), lines=(advice,))


def _atomic(request: Request, outcome: Outcome) -> None:
    outcome.redirects.clear()
    for update in request.updates:
        outcome.reasons.setdefault(update.ref, "atomic push: another ref was refused")


def _report(request: Request, outcome: Outcome, detailed: bool) -> Iterator[bytes]:
    yield line(f"unpack {outcome.unpack}")
    for update in request.updates:
        if update.ref in outcome.reasons:
            yield line(f"ng {update.ref} {one_line(outcome.reasons[update.ref], characters_max=REASON_CHARACTERS_MAX)}")
            continue
        yield line(f"ok {update.ref}")
        redirect = outcome.redirects.get(update.ref)
        if redirect is not None and detailed:
            yield line(f"option refname {redirect.ref}")
            yield line(f"option old-oid {redirect.old or '0' * 40}")
            yield line(f"option new-oid {update.new}")
